//! The only place that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the process began, monotonic. Tests make their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This much later, saturating.
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long since `earlier`; 0 where it lies in the future.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A monotonic clock that every thread of one server shares.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the clock was started.
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the clock was started, for measuring.
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The time of day as a thread tells it that reads its own clock anyway.
#[derive(Clone, Copy, Debug)]
pub enum Wall {
    /// The machine's, which may be set while we run.
    System,
    /// The zero of [`Millis`] was this many milliseconds after the beginning of 1970: for tests,
    /// which make time.
    Since(u64),
}

impl Wall {
    /// Milliseconds since 1970; never for ordering.
    pub fn unix_millis(self, now: Millis) -> u64 {
        let read = || SystemTime::now().duration_since(UNIX_EPOCH);
        match self {
            Self::System => read().map_or(0, |since| since.as_millis() as u64),
            Self::Since(zero) => zero.saturating_add(now.0),
        }
    }
}

/// Milliseconds since 1970, for threads that keep no time of their own; never for ordering.
pub fn unix_millis() -> u64 {
    Wall::System.unix_millis(Millis(0))
}

/// Seconds since 1970, for logs and build facts; never for ordering.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
