//! How much of each kind of work a shard does before it looks at the next: the numbers behind
//! "every step is bounded".
//!
//! Each is a trade between what a tick costs by itself (two or three calls into the kernel) and how
//! long everything else waits for it. `cargo bench -p fanfare --bench batches` draws the curves (of
//! `entries`: `cargo bench -p fanfare --bench engine entries`), and for them these are values, not
//! constants.

/// Bounds of one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickBudget {
    /// Ring entries that are read.
    pub entries: usize,
    /// Channels that clients begin or cease to follow, those of polls that are answered, messages
    /// that are imported: of each part of the tick. One request goes over it by what it alone is.
    pub units: usize,
    /// Connections that are received from.
    pub receives: usize,
    /// Batches of sends.
    pub batches: usize,
    /// Visits in one turn of one channel, and of each queue in one batch.
    pub quantum: usize,
}

impl TickBudget {
    /// What production runs.
    pub const DEFAULT: Self =
        Self { entries: 256, units: 256, receives: 64, batches: 1, quantum: 64 };
}

impl Default for TickBudget {
    fn default() -> Self {
        Self::DEFAULT
    }
}
