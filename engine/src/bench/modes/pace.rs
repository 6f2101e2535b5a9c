//! Publishing at the plan's rate: on the run's own thread, or on threads beside it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::bench::publish::Publisher;
use crate::bench::run::Run;
use crate::bench::shared::Shared;

/// Longest sleep of a pacer, so that it hears when it is to stop.
const SLEEP_NANOS_MAX: u64 = 20_000_000;

/// Publishes at the plan's rate until a time, or until told to stop. `between` is called between
/// messages, and often enough.
pub(super) fn publish_at_rate(
    publisher: &mut Publisher,
    shared: &Shared,
    until: u64,
    stop: &AtomicBool,
    between: &mut dyn FnMut(),
) -> Result<(), String> {
    let (began, step) = (shared.clock.nanos(), 1e9 / shared.plan.rate);
    for nth in 0u64.. {
        let due = began + (nth as f64 * step) as u64;
        loop {
            let now = shared.clock.nanos();
            if stop.load(Relaxed) || due >= until {
                return Ok(());
            }
            between();
            if now >= due {
                break;
            }
            thread::sleep(Duration::from_nanos((due - now).min(SLEEP_NANOS_MAX)));
        }
        publisher.publish(1, due)?;
    }
    Ok(())
}

/// Publishes both streams at the plan's rate on threads of their own until a time or until `watch`
/// has returned; `watch` runs on this thread meanwhile.
pub(super) fn publish_beside<T>(
    run: &mut Run,
    streams: &[usize],
    until: u64,
    watch: impl FnOnce(&mut Run) -> T,
) -> Result<T, String> {
    let stop = AtomicBool::new(false);
    let shared = run.shared.clone();
    let mut publishers = std::mem::take(&mut run.publishers);
    let (watched, paced) = thread::scope(|scope| {
        let (shared, stop) = (&shared, &stop);
        let mut threads = Vec::new();
        for (number, publisher) in publishers.iter_mut().enumerate() {
            if streams.contains(&number) {
                threads
                    .push(scope.spawn(move || {
                        publish_at_rate(publisher, shared, until, stop, &mut || {})
                    }));
            }
        }
        let watched = watch(run);
        stop.store(true, Relaxed);
        let paced: Result<(), String> = threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a pacer failed".into())));
        (watched, paced)
    });
    run.publishers = publishers;
    paced.map(|()| watched)
}

/// Seconds in nanoseconds.
pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
