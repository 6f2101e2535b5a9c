//! The modes: what is done between the roll call and the count. One file each where there is
//! something to say; `pace` has the two ways to publish that they share.

mod burst;
mod churn;
mod fairness;
mod pace;
mod saturate;
mod slow;
mod storm;
mod unicast;
pub(super) mod wait;

use std::sync::atomic::AtomicBool;

use self::pace::{nanos, publish_at_rate};
use super::plan::Mode;
use super::run::Run;

/// Runs the plan's mode.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    match run.plan().mode {
        // They publish nothing before the end, and are run elsewhere.
        Mode::Connect | Mode::Idle | Mode::Channels => Ok(()),
        Mode::Paced => paced(run),
        Mode::Saturate => {
            run.phase(0, "all");
            let nanos = nanos(run.plan().seconds);
            saturate::saturate(run, nanos)
        }
        Mode::Burst => burst::run(run),
        Mode::Fairness => fairness::run(run),
        Mode::Slow => slow::run(run),
        Mode::Storm => storm::run(run),
        Mode::Churn => churn::run(run),
        Mode::Unicast => unicast::run(run),
    }
}

/// Messages at a fixed rate. A message that goes out late is charged from when it should have gone
/// (coordinated omission).
fn paced(run: &mut Run) -> Result<(), String> {
    run.phase(0, "all");
    let (shared, until) = (run.shared.clone(), run.now() + nanos(run.plan().seconds));
    let never = AtomicBool::new(false);
    let mut publisher = run.publishers.remove(0);
    let paced = publish_at_rate(&mut publisher, &shared, until, &never, &mut || run.show("paced"));
    run.publishers.insert(0, publisher);
    paced
}
