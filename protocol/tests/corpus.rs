//! Replays the committed fuzz corpora, so that what fuzzing once found stays found where only Rust
//! is installed.

use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

/// Directory under `fuzz/corpus`, and what the target of that name runs.
const TARGETS: &[(&str, Target)] = &[
    ("request_head", fanfare_protocol::ws::fuzz::request_head),
    ("sse_writer", fanfare_protocol::sse::fuzz::round_trip),
    ("websocket", fanfare_protocol::ws::fuzz::every_split),
    ("ingest_frames", fanfare_protocol::ingest::fuzz::frames),
    ("position", fanfare_protocol::id::fuzz::position),
    ("checkpoint", fanfare_protocol::record::fuzz::checkpoint),
    ("record", fanfare_protocol::record::fuzz::record),
    ("proxy_header", fanfare_protocol::proxy::fuzz::header),
];

#[test]
fn corpora_replay() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, run) in TARGETS {
        // Absent in a published crate, which has no fuzz directory beside it.
        let Ok(entries) = fs::read_dir(corpus.join(name)) else { continue };
        let mut replayed = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            println!("{}", path.display()); // shown when the run panics
            run(&fs::read(&path).unwrap());
            replayed += 1;
        }
        assert!(replayed >= 10, "{name} has {replayed} inputs: its corpus was lost");
    }
}
