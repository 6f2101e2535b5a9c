//! `churn`: clients come and go while messages flow. Who stays must not notice, and who comes has
//! everything from its first message on.

use serde_json::json;

use super::pace::{nanos, publish_beside};
use crate::bench::run::Run;
use crate::bench::worker::Command;

/// Until everyone is back at the end.
const BACK_NANOS: u64 = 20_000_000_000;

/// Replaces clients for the time of the run.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    run.phase(0, "all");
    let whole = nanos(run.plan().seconds);
    let before = run.crew.sum(|p| &p.opened);
    let began = run.now();
    run.crew.tell(Command::Churn(run.plan().churn_rate));
    let until = run.now() + whole;
    publish_beside(run, &[0], until, |run| run.wait_for(whole, "churning", |_| false))?;
    run.crew.tell(Command::Churn(0.0));
    let everyone = u64::from(run.plan().everyone());
    run.wait_for(BACK_NANOS, "waiting for the last to connect", |crew| {
        crew.sum(|p| &p.open) + crew.sum(|p| &p.over) >= everyone
    });
    let seconds = (run.now() - began) as f64 / 1e9;
    let replaced = run.crew.sum(|p| &p.opened) - before;
    let per_second = crate::bench::run::round(replaced as f64 / seconds);
    run.found.insert("churn".into(), json!({ "replaced": replaced, "per_second": per_second }));
    Ok(())
}
