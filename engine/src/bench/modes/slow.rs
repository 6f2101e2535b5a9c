//! `slow`: some clients stop reading. What does it cost the others, how much memory does it take,
//! and what are the slow ones told when they read again?

use super::pace::{nanos, publish_beside};
use crate::bench::run::{Memory, Run};
use crate::bench::worker::Command;

/// Half of the time all read; then the odd clients do not; then they read what is left for them.
pub(super) fn run(run: &mut Run) -> Result<(), String> {
    let half = nanos(run.plan().seconds / 2.0);
    for (phase, stall) in [("all read", false), ("some do not read", true)] {
        run.phase(0, phase);
        let before = Memory::now(run.plan().server_pid);
        if stall {
            run.crew.tell(Command::Stall(true));
        }
        let until = run.now() + half;
        publish_beside(run, &[0], until, |run| run.wait_for(half, phase, |_| false))?;
        if stall {
            run.note_memory(&before, "memory_while_slow");
        }
    }
    run.phase(0, "the slow catch up");
    run.crew.tell(Command::Stall(false));
    Ok(())
}
