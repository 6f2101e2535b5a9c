//! docs/ARCHITECTURE.md names every folder of the four `src`: a room that it passes over is one
//! that a newcomer finds by accident.

use std::fs;
use std::path::Path;

const PAGE: &str = "docs/ARCHITECTURE.md";

/// The folders of `src` that `page` does not name.
fn unnamed(page: &str, folders: &[String]) -> Vec<String> {
    let spans: Vec<_> = page.split('`').skip(1).step_by(2).collect();
    let is_named = |folder: &&String| {
        spans.iter().any(|span| span.trim_end_matches('/').split('/').next_back() == Some(folder))
    };
    folders.iter().filter(|folder| !is_named(folder)).cloned().collect()
}

#[test]
fn every_room_is_named() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is in a workspace");
    let page = fs::read_to_string(top.join(PAGE)).expect("the page is there");
    let mut folders = Vec::new();
    for source in ["protocol/src", "identity/src", "engine/src", "ffi/src"] {
        for entry in fs::read_dir(top.join(source)).expect("it is one of ours") {
            let entry = entry.expect("the folder can be read");
            if entry.path().is_dir() {
                folders.push(entry.file_name().into_string().expect("our names are text"));
            }
        }
    }
    assert!(folders.len() > 20, "only {} folders were found", folders.len());
    let unnamed = unnamed(&page, &folders);
    assert!(unnamed.is_empty(), "{PAGE} names none of {unnamed:?}");
}

#[test]
fn a_room_is_named_by_its_path_or_its_name() {
    let folders = ["ring", "log", "os", "sim"].map(str::to_owned);
    let page = "| `engine/src/ring`, `log` | os | `driver/sim.rs` |";
    assert_eq!(unnamed(page, &folders), ["os", "sim"]);
}
