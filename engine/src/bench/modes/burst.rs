//! `burst`: many messages at one moment, and the time until the last client has the last of them.

use serde_json::json;

use crate::bench::run::Run;

/// Runs the rounds. Their times are read off the arrivals at the end, by these sequences.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    run.phase(0, "all");
    let (messages, rounds) = (run.plan().messages, run.plan().rounds);
    let mut ends = Vec::new();
    for _ in 0..rounds {
        let now = run.now();
        run.publishers[0].publish(messages, now)?;
        ends.push(run.publishers[0].last());
        run.drain();
    }
    run.found.insert("burst_ends".into(), json!(ends));
    Ok(())
}
