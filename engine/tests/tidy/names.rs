//! One word, one meaning: a type of the engine that more than its own file can name is defined
//! once.
//!
//! Where `Table` may be any of three, a reader looks at the imports of each file to know what is
//! meant. Types that one file keeps to itself are seen beside their definition, and are free.

use std::collections::BTreeMap;

use super::Source;

const ROOMS: &str = "engine/src/";

/// Programs of their own beside the server, which takes nothing from them: each may use a word of
/// the server for what it means there (a client's connection in the load generator), but not for
/// two things.
const PROGRAMS: [&str; 3] = ["bench", "cli", "sim"];

const KINDS: [&str; 5] = ["struct ", "enum ", "trait ", "type ", "union "];

/// The names that are defined more than once, each with its places.
pub(super) fn defined_twice(sources: &[Source]) -> Vec<String> {
    let mut places: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for source in sources {
        let Some(path) = source.path.strip_prefix(ROOMS) else { continue };
        let program = PROGRAMS.into_iter().find(|program| path.starts_with(&format!("{program}/")));
        for (line, code) in source.lines().filter(|(line, _)| !source.is_test(*line)) {
            if let Some(name) = visible_type(code) {
                let place = format!("{}:{line}", source.path);
                places.entry((program.unwrap_or("server"), name)).or_default().push(place);
            }
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    twice
        .map(|((_, name), places)| {
            format!(
                "`{name}` names more than one type, call each what it is: {}",
                places.join(", ")
            )
        })
        .collect()
}

/// The type that a line at the left edge makes visible outside of its file.
fn visible_type(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(") ")?.1,
        None => rest.strip_prefix(' ')?,
    };
    let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let name = KINDS.iter().find_map(|kind| rest.strip_prefix(kind))?;
    name.split(|char: char| !char.is_alphanumeric() && char != '_').next()
}

#[test]
fn a_name_of_two_types_is_found() {
    let file = |path: &str, text: &str| Source::new(path, text);
    let table = "pub(super) struct Table<T>(T);\n";
    let found = defined_twice(&[
        file("engine/src/shard/table.rs", table),
        file("engine/src/config/limits.rs", "\npub enum Table {}\n"),
        file("engine/src/bench/table.rs", table),
        file(
            "engine/src/node/plan.rs",
            "struct Table;\n#[cfg(test)]\nmod tests {\npub struct Table;\n}\n",
        ),
        file("protocol/src/table.rs", table),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("engine/src/shard/table.rs:1, engine/src/config/limits.rs:2"));
}

#[test]
fn a_program_beside_the_server_has_one_meaning_for_a_word_too() {
    let twice = ["a", "b"].map(|file| {
        Source::new(&format!("engine/src/bench/{file}.rs"), "pub(crate) trait Table {\n}\n")
    });
    assert_eq!(defined_twice(&twice).len(), 1);
}
