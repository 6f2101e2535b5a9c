//! The page at `/`: it follows channels, and in development mode it publishes.

use std::sync::LazyLock;

const DEVELOPMENT: &str = include_str!("../../assets/playground.html");

/// The page that only follows: what is for development mode is hidden, and what says why is not. A
/// form that nobody would take is no form.
static PRODUCTION: LazyLock<String> = LazyLock::new(|| {
    DEVELOPMENT
        .replace(" data-development>", " hidden>")
        .replace(" data-production hidden>", " data-production>")
});

/// The page, whole.
pub(super) fn page(dev: bool) -> &'static [u8] {
    if dev { DEVELOPMENT.as_bytes() } else { PRODUCTION.as_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The opening tag of the element with this id.
    fn tag(page: &'static [u8], id: &str) -> String {
        let text = std::str::from_utf8(page).unwrap();
        let at = text.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"));
        let begin = text[..at].rfind('<').unwrap();
        text[begin..].split_once('>').unwrap().0.to_owned()
    }

    #[test]
    fn only_a_form_that_works_is_shown() {
        for (id, of_development) in
            [("publish-form", true), ("shell-publish", true), ("no-publish", false)]
        {
            for dev in [true, false] {
                let tag = tag(page(dev), id);
                assert_eq!(tag.ends_with(" hidden"), dev != of_development, "{tag}, {dev}");
            }
        }
    }
}
