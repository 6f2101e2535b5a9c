//! `unicast`: each client has a channel of its own, and messages go to one after the other. Nothing
//! is shared between two deliveries but the way to them: what one costs, and how soon it is there.

use std::time::Duration;

use super::pace::nanos;
use crate::bench::publish::Publisher;
use crate::bench::run::Run;

/// Messages that do not arrive for so long will not arrive any more.
const STUCK_NANOS: u64 = 5_000_000_000;
const PARK: Duration = Duration::from_millis(5);

/// Keeps a window of messages on the way for the time of the run, and ends with everyone having had
/// as many.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    run.phase(0, "all");
    let mut publisher = run.publishers.remove(0);
    let shared = run.shared.clone();
    shared.waiter.wants(true);
    let outcome = keep_full(run, &mut publisher)
        .and_then(|()| publisher.publish_each(publisher.left(), run.now()));
    shared.waiter.wants(false);
    run.publishers.insert(0, publisher);
    outcome
}

fn keep_full(run: &mut Run, publisher: &mut Publisher) -> Result<(), String> {
    let window = u64::from(run.plan().window);
    let until = run.now() + nanos(run.plan().seconds);
    let before = run.crew.sum(|p| &p.delivered);
    let mut sent = 0;
    let mut moved = (0, run.now());
    loop {
        let now = run.now();
        if now >= until {
            return Ok(());
        }
        let delivered = run.crew.sum(|p| &p.delivered) - before;
        // Some may have come twice, which is counted elsewhere.
        let room = window.saturating_sub(u64::saturating_sub(sent, delivered));
        if room > 0 {
            publisher.publish_each(room as u32, now)?;
            sent += room;
            moved = (delivered, now);
        } else if delivered != moved.0 {
            moved = (delivered, now);
        } else if now - moved.1 > STUCK_NANOS {
            run.found.insert("stuck_at".into(), delivered.into());
            return Ok(());
        } else {
            std::thread::park_timeout(PARK);
        }
        run.show("unicast");
    }
}
