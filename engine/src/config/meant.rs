//! What somebody meant who wrote a name that there is not.

/// Of `all`, the one whose name is nearest to `word`, unless all are too far to be meant: a letter
/// in three may be wrong.
pub(crate) fn nearest<'a>(
    word: &str,
    all: impl Iterator<Item = &'a String>,
    name: impl Fn(&'a String) -> &'a str,
) -> Option<&'a String> {
    let distance = |one: &'a String| strsim::damerau_levenshtein(word, name(one));
    let (distance, nearest) =
        all.map(|one| (distance(one), one)).min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(nearest)
}
