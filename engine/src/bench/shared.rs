//! What the threads of a run share.

use super::plan::Plan;
use super::progress::{Ids, Progress, Waiter};
use super::request::Requests;
use crate::clock::Clock;

/// What the threads of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What is run.
    pub plan: Plan,
    /// Which run, so that its messages are known.
    pub run: u32,
    /// The run's clock.
    pub clock: Clock,
    /// What clients say.
    pub requests: Requests,
    /// Where clients may resume.
    pub ids: Ids,
    /// Each thread's numbers.
    pub progress: Vec<Progress>,
    /// Who waits for them.
    pub waiter: Waiter,
}
