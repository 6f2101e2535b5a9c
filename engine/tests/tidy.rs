//! What can be checked is checked by a test, not by a reviewer: the house rules, on each Rust file.
//!
//! Needs nothing but Rust. Each rule is a function from a file to complaints, and each has a test
//! that shows it a bad sample: a rule that finds nothing because it looks at nothing would fail.
//! (The idea is TigerBeetle's `tidy.zig`.)

#[path = "tidy/citations.rs"]
mod citations;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Folders with Rust files of ours, from the top of the workspace. Those to come may be absent.
const FOLDERS: [&str; 6] = ["protocol", "identity", "engine", "ffi", "benches", "fuzz"];

/// Folders with files that others wrote or that a build makes.
const PASSED_OVER: [&str; 4] = ["target", "node_modules", "corpus", "artifacts"];

/// Every rule there is.
const RULES: [fn(&Source) -> Vec<Complaint>; 9] = [
    rules::opens_with_its_reason,
    rules::lines_fit,
    rules::files_are_small,
    rules::functions_fit_a_screen,
    rules::unsafe_stays_at_home,
    rules::clocks_are_read_in_one_place,
    rules::tenants_come_from_configuration,
    rules::dialects_know_no_framing,
    imports::run_one_way,
];

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    /// From 1.
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl Complaint {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

#[test]
fn every_file_keeps_the_house_rules() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is in a workspace");
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&top.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 20, "only {} files were found below {}", paths.len(), top.display());
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(top).expect("found below the top").display().to_string();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Source::new(&name, &text)
    };
    let mut sources: Vec<_> = paths.iter().map(read).collect();
    let tests: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    let mut told = String::new();
    for source in &mut sources {
        source.mark_tests(&tests);
        for Complaint { line, what } in RULES.iter().flat_map(|rule| rule(source)) {
            told.push_str(&format!("{}:{line}: {what}\n", source.path));
        }
    }
    for twice in names::defined_twice(&sources) {
        told.push_str(&format!("{twice}\n"));
    }
    assert!(told.is_empty(), "\n\n{told}");
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder can be read to its end").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !PASSED_OVER.contains(&name.as_str()) && !name.starts_with('.') {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
