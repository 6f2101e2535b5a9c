//! `idle`: nothing, for as long as it was asked for; what the server does meanwhile is the result.

use super::pace::nanos;
use crate::bench::run::Run;

/// Waits.
pub(in crate::bench) fn run(run: &mut Run) {
    let nanos = nanos(run.plan().seconds);
    run.wait_for(nanos, "idle", |_| false);
}
