//! Replays the committed fuzz corpus, so that what fuzzing once found stays found where only Rust
//! is installed.

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_of_tokens_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/token");
    // Absent in a published crate, which has no fuzz directory beside it.
    let Ok(entries) = fs::read_dir(corpus) else { return };
    let mut replayed = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        println!("{}", path.display()); // shown when the run panics
        fanfare_identity::token::fuzz::token(&fs::read(&path).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "there are {replayed} inputs: the corpus was lost");
}
