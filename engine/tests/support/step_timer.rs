//! Clients that must go on, on machines that stand still.
#![allow(dead_code)] // each test binary uses its part

use std::time::{Duration, Instant};

/// Steps of a client of which none may take as long as the node has patience.
#[derive(Debug)]
pub struct StepTimer {
    last: Instant,
    longest: Duration,
}

impl StepTimer {
    /// What was done was not to be done in time: the next step begins.
    pub fn step_from_here(&mut self) {
        self.last = Instant::now();
    }

    /// One step is done.
    pub fn step(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}

/// Runs a client that is in time if none of its steps takes `patience`, again and again until none
/// did: where the machine stood still for longer, it is the test that was late. What it gives says
/// whether the node took it to be in time.
pub fn undisturbed(what: &str, patience: Duration, mut run: impl FnMut(&mut StepTimer) -> bool) {
    for _ in 0..100 {
        let mut timer = StepTimer { last: Instant::now(), longest: Duration::ZERO };
        let is_in_time = run(&mut timer);
        if is_in_time {
            return;
        }
        assert!(timer.longest >= patience, "{what}: late, and the longest pause is {timer:?}");
    }
    panic!("{what}: this machine never goes on for {patience:?}");
}
