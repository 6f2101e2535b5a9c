//! `saturate`: as much as goes, with a bounded number of messages on the way.
//!
//! A message is on the way until every client has it. So a window of 1 measures single sends, and a
//! larger one what coalescing brings.

use std::time::Duration;

use crate::bench::run::Run;

/// A window that does not move for so long will not move any more: a message was lost.
const STUCK_NANOS: u64 = 5_000_000_000;
const PARK: Duration = Duration::from_millis(5);

/// Keeps the window full for so long.
pub(super) fn saturate(run: &mut Run, nanos: u64) -> Result<(), String> {
    let mut publisher = run.publishers.remove(0);
    let window = run.plan().window;
    let until = run.now() + nanos;
    let mut moved = (0, run.now());
    let shared = run.shared.clone();
    shared.waiter.wants(true);
    let outcome = loop {
        let now = run.now();
        if now >= until {
            break Ok(());
        }
        let incomplete = run.crew.incomplete().min(publisher.last() + 1);
        let room = window.saturating_sub(publisher.last() + 1 - incomplete);
        if room > 0 {
            if let Err(why) = publisher.publish(room, now) {
                break Err(why);
            }
            moved = (incomplete, now);
        } else if incomplete != moved.0 {
            moved = (incomplete, now);
        } else if now - moved.1 > STUCK_NANOS {
            run.found.insert("stuck_at".into(), incomplete.into());
            break Ok(());
        } else {
            std::thread::park_timeout(PARK);
        }
        run.show("saturating");
    };
    shared.waiter.wants(false);
    run.publishers.insert(0, publisher);
    outcome
}
