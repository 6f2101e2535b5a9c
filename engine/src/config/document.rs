//! A TOML document that is read key by key: what is asked for is known, the rest is a mistake.
//!
//! The reader asks each table for its keys; whatever a table holds beyond that is reported with its
//! line, its column and the nearest key that was asked for. So there is no list of known keys that
//! could disagree with the code, and one reading reports every mistake, not only the first.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::meant;
use super::source::{Problem, Source, Sourced};

/// The text of a file and what was found wrong with it.
pub(super) struct Document<'t> {
    name: Arc<str>,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    /// Full paths of all keys that were asked for.
    known: RefCell<Vec<String>>,
    strangers: RefCell<Vec<Stranger>>,
}

/// A key that nobody asked for.
struct Stranger {
    section: String,
    key: String,
    source: Source,
}

impl<'t> Document<'t> {
    /// A document; `name` is how messages call it.
    pub(super) fn new(name: &str, text: &'t str) -> Self {
        Self {
            name: name.into(),
            text,
            problems: RefCell::default(),
            known: RefCell::default(),
            strangers: RefCell::default(),
        }
    }

    /// Parses the text. A document that is not TOML is reported, and what can be read of it is
    /// not returned: values near a mistake are guesses.
    pub(super) fn parse(&self) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let name = self.text.get(span.clone()).unwrap_or_default().trim();
            let what = match error.message() {
                "duplicate key" => {
                    format!("\"{name}\" is said twice: remove one of the two")
                }
                message => match self.bare_text(span.start) {
                    Some((key, text)) => {
                        format!("text stands between quotes: write {key} = \"{text}\"")
                    }
                    None => format!("this is not TOML: {message}"),
                },
            };
            self.complain(&span, what);
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// Key and value of the line at a byte, where the value is text without quotes: addresses,
    /// sizes and names are what people write so.
    fn bare_text(&self, at: usize) -> Option<(&'t str, &'t str)> {
        let start = self.text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
        let (key, value) = self.text[start..].lines().next()?.split_once('=')?;
        let (key, value) = (key.trim(), value.split(" #").next()?.trim());
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_text = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\[]{}=,#".contains(&byte);
        let bare = !value.is_empty() && value.bytes().all(is_text);
        (bare && !key.is_empty() && key.bytes().all(is_key)).then_some((key, value))
    }

    /// The outermost table.
    pub(super) fn root<'d>(&'d self, table: &'d DeTable<'t>) -> Section<'d, 't> {
        Section::new(self, String::new(), table, 0..0)
    }

    /// Every problem, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let known = self.known.into_inner();
        let mut problems = self.problems.into_inner();
        for stranger in self.strangers.into_inner() {
            let what = stranger.sentence(&known);
            problems.push(Problem::new(stranger.source, what));
        }
        problems.sort_by_key(|problem| match problem.source {
            Source::File { line, column, .. } => (line, column),
            _ => (usize::MAX, 0),
        });
        problems
    }

    fn source(&self, span: &Range<usize>) -> Source {
        source_at(&self.name, self.text, span.start)
    }

    fn complain(&self, span: &Range<usize>, what: String) {
        self.problems.borrow_mut().push(Problem::new(self.source(span), what));
    }
}

impl Stranger {
    fn sentence(&self, known: &[String]) -> String {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            known.iter().partition(|path| split(path).0 == self.section);
        let place = match self.section.as_str() {
            "" => "at the top of the file".to_owned(),
            section => format!("in {}", table_name(section)),
        };
        let start = format!("\"{}\" is not a key {place}", self.key);
        // The same word in another table is a better guess than a like word in this one.
        if let Some(path) = elsewhere.iter().find(|path| split(path).1 == self.key) {
            return format!("{start}: it belongs {}", where_to(path));
        }
        if let Some(path) = nearest(&self.key, &here) {
            return format!("{start}; did you mean \"{}\"?", split(path).1);
        }
        if let Some(path) = nearest(&self.key, &elsewhere) {
            return format!("{start}; did you mean \"{}\", {}?", split(path).1, where_to(path));
        }
        let keys: Vec<_> = here.iter().map(|path| split(path).1).collect();
        format!("{start}; the keys here are {}", keys.join(", "))
    }
}

fn where_to(path: &str) -> String {
    match split(path).0 {
        "" => "at the top of the file, before the first table".into(),
        section => format!("in {}", table_name(section)),
    }
}

/// A section as it is written in the file.
fn table_name(section: &str) -> String {
    if section.starts_with('[') { section.into() } else { format!("[{section}]") }
}

/// A path's section and key.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The path whose key is nearest to `key`, unless all are too far to be meant.
fn nearest<'p>(key: &str, paths: &[&'p String]) -> Option<&'p String> {
    meant::nearest(key, paths.iter().copied(), |path| split(path).1)
}

/// The place of a byte of a file.
pub(super) fn source_at(name: &str, text: &str, offset: usize) -> Source {
    let (line, column) = line_and_column(text, offset);
    Source::File { name: name.into(), line, column }
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// One table of a document.
pub(super) struct Section<'d, 't> {
    document: &'d Document<'t>,
    path: String,
    /// `None` for a table that the document does not have: it is asked for its keys all the same,
    /// so that they are known.
    table: Option<&'d DeTable<'t>>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
    ended: Cell<bool>,
}

impl<'d, 't> Section<'d, 't> {
    fn new(
        document: &'d Document<'t>,
        path: String,
        table: impl Into<Option<&'d DeTable<'t>>>,
        span: Range<usize>,
    ) -> Self {
        let (asked, ended) = Default::default();
        Self { document, path, table: table.into(), span, asked, ended }
    }

    /// The value of `key`, through `read`, whose error is a sentence.
    pub(super) fn value<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Sourced<T>> {
        self.read(key, |value| read(value.get_ref()).map_err(|what| (value.span(), what)))
    }

    /// The list at `key`, each entry through `read`; a complaint names the entry's own place.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        read: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Sourced<Vec<T>>> {
        self.read(key, |value| {
            let entries = value
                .get_ref()
                .as_array()
                .ok_or_else(|| (value.span(), expected("a list, as in [ … ]", value.get_ref())))?;
            let one = |entry: &Spanned<DeValue<'t>>| {
                read(entry.get_ref()).map_err(|what| (entry.span(), what))
            };
            entries.iter().map(one).collect()
        })
    }

    /// The table at `key`; an empty one where the document has none.
    pub(super) fn section(&self, key: &'static str) -> Section<'d, 't> {
        let value = self.ask(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            let what = format!("{key}: {}", expected("a table", value.get_ref()));
            self.document.complain(&value.span(), what);
        }
        let span = value.map_or(0..0, Spanned::span);
        Section::new(self.document, self.path_of(key), table, span)
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d, 't>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            let what = format!("write [[{key}]], once for each: this is one {}", kind(value));
            self.document.complain(&value.span(), what);
            return Vec::new();
        };
        let path = format!("[[{}]]", self.path_of(key));
        let mut sections = Vec::new();
        for entry in entries.iter() {
            match entry.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(self.document, path.clone(), table, entry.span()));
                }
                None => {
                    let what = format!("{key}: {}", expected("a table", entry.get_ref()));
                    self.document.complain(&entry.span(), what);
                }
            }
        }
        sections
    }

    /// A complaint about the table as a whole.
    pub(super) fn complain(&self, what: impl Into<String>) {
        self.document.complain(&self.span, what.into());
    }

    /// A complaint at the place where something of the document was said; a default has none, and
    /// then the table is to blame.
    pub(super) fn complain_at(&self, source: &Source, what: String) {
        match source {
            Source::File { .. } => {
                self.document.problems.borrow_mut().push(Problem::new(source.clone(), what));
            }
            _ => self.complain(what),
        }
    }

    /// Where the table begins.
    pub(super) fn source(&self) -> Source {
        self.document.source(&self.span)
    }

    /// The same for people, without a column: `fanfare.toml:12`.
    pub(super) fn place(&self) -> Arc<str> {
        let (line, _) = line_and_column(self.document.text, self.span.start);
        format!("{}:{line}", self.document.name).into()
    }

    /// Whether the document has this key here.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Reports the keys that nobody asked for. Every section ends with it.
    pub(super) fn end(self) {
        self.ended.set(true);
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            if !asked.contains(&key.get_ref().as_ref()) {
                self.document.strangers.borrow_mut().push(Stranger {
                    section: self.path.clone(),
                    key: key.get_ref().to_string(),
                    source: self.document.source(&key.span()),
                });
            }
        }
    }

    fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Spanned<DeValue<'t>>) -> Result<T, (Range<usize>, String)>,
    ) -> Option<Sourced<T>> {
        let value = self.ask(key)?;
        match read(value) {
            Ok(read) => Some(Sourced { value: read, source: self.document.source(&value.span()) }),
            Err((span, what)) => {
                self.document.complain(&span, format!("{key}: {what}"));
                None
            }
        }
    }

    fn ask(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        let path = self.path_of(key);
        let mut known = self.document.known.borrow_mut();
        if !known.contains(&path) {
            known.push(path);
        }
        self.table?.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }
}

impl Drop for Section<'_, '_> {
    fn drop(&mut self) {
        debug_assert!(
            self.ended.get() || std::thread::panicking(),
            "the section {:?} was not ended: its unknown keys would pass",
            self.path
        );
    }
}

/// What stands there instead of what belongs there.
pub(super) fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("this is {what}, and here stands {}", article(found.type_str()))
}

fn kind(value: &Spanned<DeValue<'_>>) -> &'static str {
    value.get_ref().type_str()
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &DeValue<'_>) -> Result<String, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| expected("a string", value))
    }

    /// Reads `color` and `[shape] corners, corner_names`, and returns the complaints.
    fn complaints(toml: &str) -> Vec<String> {
        let document = Document::new("f", toml);
        if let Some(table) = document.parse() {
            let root = document.root(&table);
            root.value("color", text);
            let shape = root.section("shape");
            shape.value("corners", text);
            shape.list("corner_names", text);
            shape.end();
            root.end();
        }
        document.into_problems().iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_right_document_has_no_complaint() {
        assert_eq!(complaints(""), [""; 0]);
        assert_eq!(complaints("color = 'x'\n[shape]\ncorner_names = ['a', 'b']\n"), [""; 0]);
    }

    #[test]
    fn unknown_keys_have_a_place_and_a_neighbour() {
        assert_eq!(
            complaints("# first\n  colour = 'red'\n"),
            ["f:2:3: \"colour\" is not a key at the top of the file; did you mean \"color\"?"]
        );
        assert_eq!(
            complaints("[shape]\n\"é\" = 1\ncorers = 'x'\n"),
            [
                "f:2:1: \"é\" is not a key in [shape]; the keys here are corners, corner_names",
                "f:3:1: \"corers\" is not a key in [shape]; did you mean \"corners\"?",
            ]
        );
    }

    #[test]
    fn keys_in_the_wrong_table_are_sent_home() {
        let home = "at the top of the file, before the first table";
        assert_eq!(
            complaints("[shape]\ncolor = 'red'\n"),
            [format!("f:2:1: \"color\" is not a key in [shape]: it belongs {home}")]
        );
        assert_eq!(
            complaints("cornesr = 'x'\n"),
            ["f:1:1: \"cornesr\" is not a key at the top of the file; did you mean \"corners\", \
              in [shape]?"]
        );
    }

    #[test]
    fn wrong_types_duplicates_and_broken_text_have_a_place() {
        assert_eq!(
            complaints("color = 5\nshape = 'round'\n"),
            [
                "f:1:9: color: this is a string, and here stands an integer",
                "f:2:9: shape: this is a table, and here stands a string",
            ]
        );
        assert_eq!(
            complaints("[shape]\ncorner_names = ['é', 2]\n"),
            ["f:2:22: corner_names: this is a string, and here stands an integer"]
        );
        assert_eq!(
            complaints("color = 'a'\n\ncolor = 'b'\n"),
            ["f:3:1: \"color\" is said twice: remove one of the two"]
        );
        let broken = complaints("color = \n");
        assert!(broken[0].starts_with("f:1:"), "{broken:?}");
        assert!(broken[0].contains("this is not TOML"), "{broken:?}");
        for bare in ["127.0.0.1:7070", "10MiB", "room:*", "/run/fanfare.sock # here"] {
            let text = bare.split(' ').next().unwrap();
            let said = complaints(&format!("\ncolor = {bare}\nnumber = 1\n"));
            let hint = format!("text stands between quotes: write color = \"{text}\"");
            assert!(said[0].starts_with("f:2:") && said[0].ends_with(&hint), "{said:?}");
        }
    }
}
