//! What a run's threads tell each other while it goes: numbers that one writes and others read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

use fanfare_protocol::id::Id;

/// What one thread of clients has come to. Only that thread writes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that are open now.
    pub open: AtomicU64,
    /// Connections that were opened, again and again included.
    pub opened: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Clients that will not come (again).
    pub over: AtomicU64,
    /// Clients that have had a message of this run.
    pub called: AtomicU64,
    /// Messages that arrived.
    pub delivered: AtomicU64,
    /// The first sequence that not all main clients have.
    pub incomplete: AtomicU32,
    /// Commands that were obeyed.
    pub obeyed: AtomicU64,
    /// When the last client was opened, on the run's clock.
    pub last_open_nanos: AtomicU64,
}

impl Progress {
    /// Sets a number of one's own.
    pub fn set(number: &AtomicU64, value: u64) {
        number.store(value, Relaxed);
    }
}

/// Who waits for clients to get on, if anyone does.
#[derive(Debug)]
pub struct Waiter {
    thread: Thread,
    waits: AtomicBool,
}

impl Waiter {
    /// The thread that calls this.
    pub fn this_thread() -> Self {
        Self { thread: std::thread::current(), waits: AtomicBool::new(false) }
    }

    /// Whether it wants to be woken.
    pub fn wants(&self, wants: bool) {
        self.waits.store(wants, Relaxed);
    }

    /// Wakes it, where it wants to be.
    pub fn wake(&self) {
        if self.waits.load(Relaxed) {
            self.thread.unpark();
        }
    }
}

/// The ids that the server gave to messages, by sequence: what a client resumes from. Known to the
/// publisher, so no client has to keep one.
#[derive(Debug, Default)]
pub struct Ids {
    by_sequence: Mutex<HashMap<u32, Id>>,
}

impl Ids {
    /// A message has its place.
    pub fn set(&self, sequence: u32, id: Id) {
        self.by_sequence.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, id);
    }

    /// The id of a message, if it is known yet.
    pub fn text(&self, sequence: u32) -> Option<String> {
        let ids = self.by_sequence.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(&sequence).map(ToString::to_string)
    }
}
