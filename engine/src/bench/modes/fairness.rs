//! `fairness`: does a broadcast to many delay a message to one?
//!
//! One client has a channel of its own, with messages at a fixed rate. For a third of the time the
//! other clients are left in peace; then their channel saturates. The two latencies of the one are
//! the result.

use super::pace::{self, nanos, publish_beside};
use super::saturate;
use crate::bench::run::Run;

const LONE: usize = 1;

/// Runs both phases.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    let third = nanos(run.plan().seconds / 3.0);
    run.phase(0, "all");
    run.phase(1, "alone");
    let until = run.now() + third;
    publish_beside(run, &[LONE], until, |run| {
        run.wait_for(third, "one client alone", |_| false);
    })?;
    run.phase(1, "beside a broadcast");
    let until = run.now() + 2 * third;
    // The broadcast's publisher is this thread's; the lone one's goes to another.
    let mut lone = run.publishers.remove(LONE);
    let shared = run.shared.clone();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (broadcast, paced) = std::thread::scope(|scope| {
        let pacer =
            scope.spawn(|| pace::publish_at_rate(&mut lone, &shared, until, &stop, &mut || {}));
        let broadcast = saturate::saturate(run, 2 * third);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (broadcast, pacer.join().unwrap_or_else(|_| Err("a pacer failed".into())))
    });
    run.publishers.push(lone);
    broadcast.and(paced)
}
