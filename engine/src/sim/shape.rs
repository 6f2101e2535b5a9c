//! What kind of node a world has, and how its surroundings are.

use std::sync::Arc;

use super::slow_log::LogTemper;
use crate::driver::sim::Temper;
use crate::limits::Limits;
use crate::rule::{HistoryRule, Slow, Window};
use crate::session::machine::Machines;
use crate::shard::tick_budget::TickBudget;
use crate::transport::door::Door;

/// What is to be decided before a world begins.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) shards: usize,
    pub(crate) temper: Temper,
    pub(crate) limits: Limits,
    pub(crate) history: HistoryRule,
    pub(crate) window: Window,
    /// What becomes of slow clients of each channel; those beyond it disconnect.
    pub(crate) slow: Vec<Slow>,
    /// Sockets of a shard, and how many of them it serves.
    pub(crate) capacity: (usize, usize),
    /// Bounds of a tick.
    pub(crate) budget: TickBudget,
    /// How prompt the log is.
    pub(crate) log: LogTemper,
    /// Publishers on the Unix socket.
    pub(crate) backends: usize,
    /// What hears clients.
    pub(crate) machines: Option<Machines>,
    /// What knows the requests of those who come over many sockets: then all shards are on one
    /// network, so that sockets can be handed from one to another.
    pub(crate) door: Option<Arc<dyn Door>>,
}

/// The bounds that directed tests count ticks by, whatever production runs.
pub(crate) const COUNTED: TickBudget =
    TickBudget { entries: 256, units: 256, receives: 64, batches: 2, quantum: 256 };

impl Shape {
    /// One shard, a truthful network, defaults.
    pub(crate) fn plain() -> Self {
        let limits =
            Limits { connections_per_address: 0, heads_per_address: 0, ..Limits::default() };
        Self {
            seed: 1,
            shards: 1,
            temper: Temper::HONEST,
            limits,
            history: HistoryRule::DEFAULT,
            window: Window::DEFAULT,
            slow: Vec::new(),
            capacity: (64, 64),
            budget: COUNTED,
            log: LogTemper::PROMPT,
            backends: 0,
            machines: None,
            door: None,
        }
    }
}
