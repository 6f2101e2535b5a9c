//! What is cited exists: a file by its path, a row of docs/THREATS.md by its number.
//!
//! A reader who follows a comment to a page that was never committed, or to a row that another
//! table has dropped, is worse off than without it.

use std::fs;
use std::path::Path;

use super::{Complaint, PASSED_OVER};

/// Where the rows are.
const TABLE: &str = "docs/THREATS.md";

/// Files whose cases are named by rows: there a row counts wherever it stands.
const CASES: [&str; 6] = [
    "engine/tests/threats",
    "engine/tests/ingest/",
    "engine/tests/api/hostile.rs",
    "engine/tests/idempotent.rs",
    "protocol/src/ws/tests.rs",
    "protocol/tests/threats_http.rs",
];

/// What there is to cite.
struct Shelf {
    /// From the top of the workspace.
    files: Vec<String>,
    rows: Vec<String>,
}

impl Shelf {
    fn has_file(&self, cited: &str) -> bool {
        let cited = cited.trim_start_matches("./").trim_start_matches("../");
        let is_it = |file: &String| {
            file.strip_suffix(cited)
                .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        self.files.iter().any(is_it)
    }

    /// What `text` cites and is not there.
    fn missing(&self, name: &str, text: &str) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (nth, line) in text.lines().enumerate() {
            let prose = if name.ends_with(".rs") { comment(line) } else { line };
            for path in paths(prose).filter(|path| !self.has_file(path)) {
                complaints.push(Complaint::new(nth + 1, format!("`{path}` is cited and not here")));
            }
            let cases = CASES.iter().any(|cases| name.starts_with(cases));
            let cited = if cases { line } else { line.split_once("THREATS").unwrap_or_default().1 };
            for row in rows(cited).filter(|row| !self.rows.iter().any(|there| there == row)) {
                complaints.push(Complaint::new(nth + 1, format!("{row} is no row of {TABLE}")));
            }
        }
        complaints
    }
}

/// The comment of a line of Rust, which is no part of an address.
fn comment(line: &str) -> &str {
    let start = ["// ", "//! "].iter().filter_map(|sign| line.find(sign)).min();
    start.map_or("", |start| &line[start..])
}

/// Words that can only be files of ours: what ends in `.rs` or `.md` and is no address.
fn paths(prose: &str) -> impl Iterator<Item = &str> {
    let part = |char: char| char.is_ascii_alphanumeric() || "_-./:".contains(char);
    prose
        .split(move |char| !part(char))
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| word.ends_with(".rs") || word.ends_with(".md"))
        .map(|word| word.trim_start_matches('/'))
        .filter(|word| !word.contains(':') && !word.starts_with('.') || word.starts_with("../"))
}

/// Letters of the table with a number, where they stand by themselves.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let inside = |char: char| char.is_ascii_alphanumeric() || "_%\\#".contains(char);
    text.split(move |char| !inside(char)).filter(|word| {
        let (letter, number) = word.split_at(word.len().min(1));
        let known = ["H", "W", "E", "L", "P", "D", "C", "G"].contains(&letter);
        known && (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The table's own: the first cell of each line of it.
fn rows_of_table(table: &str) -> Vec<String> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    cells.flat_map(rows).map(str::to_owned).collect()
}

#[test]
fn what_is_cited_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is in a workspace");
    let mut files = Vec::new();
    collect(top, top, &mut files);
    let table = fs::read_to_string(top.join(TABLE)).expect("the table is there");
    let rows = rows_of_table(&table);
    assert!(files.len() > 200 && rows.len() > 80, "{} files, {} rows", files.len(), rows.len());
    let shelf = Shelf { files, rows };
    let mut told = String::new();
    for file in &shelf.files {
        if file == "engine/tests/tidy/citations.rs" {
            continue; // the bad samples below
        }
        let kinds = ["rs", "md", "c", "h", "go", "py", "sh", "toml"];
        if !kinds.iter().any(|kind| file.ends_with(&format!(".{kind}"))) {
            continue;
        }
        let text =
            fs::read_to_string(top.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for Complaint { line, what } in shelf.missing(file, &text) {
            told.push_str(&format!("{file}:{line}: {what}\n"));
        }
    }
    assert!(told.is_empty(), "\n\n{told}");
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read to its end").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if PASSED_OVER.contains(&name.as_str()) || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(top, &path, files);
        } else {
            files.push(path.strip_prefix(top).expect("below the top").display().to_string());
        }
    }
}

#[cfg(test)]
fn lines_of(name: &str, text: &str) -> Vec<usize> {
    let files = ["docs/THREATS.md", "docs/TESTING.md", "engine/src/shard/sweep.rs"];
    let rows = rows_of_table("| # | input |\n|---|---|\n| W21 | x (W99) | y |\n| C4 | x | y |\n");
    let shelf = Shelf { files: files.map(str::to_owned).to_vec(), rows };
    shelf.missing(name, text).iter().map(|complaint| complaint.line).collect()
}

#[test]
fn what_is_not_there_is_found() {
    for (name, text) in [
        ("engine/src/x.rs", "/// As WATER.md says."),
        ("engine/src/x.rs", "f(); // see shard/sweeping.rs"),
        ("docs/TESTING.md", "[the table](DREAMS.md#here)"),
        ("engine/src/x.rs", "/// It is ended (THREATS W22)."),
        ("ffi/tests/c/x.c", "/* THREATS C4, C5. */"),
        ("engine/src/x.rs", "/// THREATS W99: in a cell, but no row."),
        ("engine/tests/threats/x.rs", "site.case(\"W1: no mask\", |node| {"),
    ] {
        assert_eq!(lines_of(name, text), [1], "{name}: {text}");
    }
}

#[test]
fn what_is_there_is_not() {
    for (name, text) in [
        ("engine/src/x.rs", "/// `docs/TESTING.md`, and `shard/sweep.rs`; sweep.rs."),
        ("engine/src/x.rs", "const A: &str = \"none.rs\";"),
        ("docs/TESTING.md", "[here](../engine/src/shard/sweep.rs), https://example.org/x.md"),
        ("engine/src/x.rs", "/// THREATS W21; and no other."),
        ("engine/tests/threats/x.rs", "get(\"%C3%A4\", \"\\xC3\") // W21, C4"),
    ] {
        assert_eq!(lines_of(name, text), [0; 0], "{name}: {text}");
    }
}
