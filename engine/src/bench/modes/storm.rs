//! `storm`: all clients are reset at once, as by a proxy that restarts, and come back at once,
//! while messages flow. How long until all are back, until all have what they missed, and what does
//! a client that was not reset notice?

use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;

use super::pace::{nanos, publish_beside};
use crate::bench::run::{Run, round};
use crate::bench::worker::Command;

const BOTH: [usize; 2] = [0, 1];
/// What coming back may take, and for each client beside.
const PATIENCE_NANOS: u64 = 30_000_000_000;
const PATIENCE_EACH_NANOS: u64 = 2_000_000;

/// A third of the time in peace, the storm, a third in peace.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    let third = nanos(run.plan().seconds / 3.0);
    quiet(run, third, "before")?;
    run.phase(0, "storm");
    run.phase(1, "storm");
    let everyone = u64::from(run.plan().everyone());
    let patience = PATIENCE_NANOS + everyone * PATIENCE_EACH_NANOS;
    let last = run.publishers[0].watch_last();
    let until = run.now() + patience;
    let storm = publish_beside(run, &BOTH, until, |run| {
        let began = run.now();
        run.crew.tell(Command::Reset);
        let back = run.wait_for(patience, "all were reset", |crew| {
            crew.sum(|p| &p.open) + crew.sum(|p| &p.over) >= everyone
        });
        let back_ms = run.last_open().saturating_sub(began) as f64 / 1e6;
        let (missed, open) = (last.load(Relaxed), run.crew.sum(|p| &p.open));
        let whole =
            back && run.wait_for(patience, "catching up", |crew| crew.incomplete() > missed);
        let resumed_ms = (run.now() - began) as f64 / 1e6;
        json!({
            "reset": everyone - 1,
            "back": open,
            "back_ms": back.then_some(round(back_ms)),
            "resumed_ms": whole.then_some(round(resumed_ms)),
            "resumes": run.plan().is_fanfare(),
        })
    })?;
    run.found.insert("storm".into(), storm);
    quiet(run, third, "after")
}

fn quiet(run: &mut Run, nanos: u64, phase: &'static str) -> Result<(), String> {
    run.phase(0, phase);
    run.phase(1, phase);
    let until = run.now() + nanos;
    publish_beside(run, &BOTH, until, |run| run.wait_for(nanos, phase, |_| false)).map(|_| ())
}
