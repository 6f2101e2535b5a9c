//! What callers and the publisher's thread share.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare::os::coalescing_waker::CoalescingWaker;
use fanfare_protocol::id::Epoch;

use super::pipeline::Item;
use super::talk::{Lost, Retry};
use crate::code::{self, Code, FANFARE_E_UNAVAILABLE};
use crate::outcome::Flushed;
use crate::terms::{Counters, Failure};

/// What callers and the thread share.
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    /// Notified when something of the queue changed that somebody waits for.
    pub(super) changed: Condvar,
    /// Wakes the thread when something came into the queue.
    pub(super) waker: CoalescingWaker,
    pub(super) counters: Counters,
}

/// What waits for the thread, and what it tells.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) incoming: Vec<Item>,
    /// Messages that were taken so far.
    pub(super) taken: u64,
    /// All up to this many have their outcome.
    pub(super) settled: u64,
    /// Messages without an outcome, here and at the thread.
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Who hears when all up to a number have their outcome.
    pub(super) flushes: Vec<(u64, Flushed)>,
    pub(super) closing: bool,
    /// The thread has ended.
    pub(super) over: bool,
    pub(super) epoch: u64,
    pub(super) connected: bool,
    pub(super) last_error: Code,
    /// Why messages are refused, where no attempt to connect can succeed.
    pub(super) refused: Option<Code>,
    /// Why the server or the kernel turned us away, for people.
    pub(super) turned_away: Option<String>,
    pub(super) waiters: usize,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so; `false` when the time is over.
    pub(super) fn wait(&self, patience: Duration, is_so: impl Fn(&Queue) -> bool) -> bool {
        let mut queue = self.lock();
        queue.waiters += 1;
        let waited = self.changed.wait_timeout_while(queue, patience, |queue| !is_so(queue));
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.waiters -= 1;
        is_so(&queue)
    }

    /// The session is open.
    pub(super) fn greeted(&self, epoch: Option<Epoch>) {
        let mut queue = self.lock();
        queue.connected = true;
        (queue.last_error, queue.refused, queue.turned_away) = (0, None, None);
        if let Some(epoch) = epoch {
            queue.epoch = epoch.number();
        }
        self.changed.notify_all();
    }

    /// The connection is lost, or was not made.
    pub(super) fn lost(&self, Lost { code, text, retry }: Lost) {
        let mut queue = self.lock();
        queue.connected = false;
        queue.last_error = code;
        queue.refused = (retry == Retry::Never).then_some(code);
        queue.turned_away = text.filter(|_| retry != Retry::Soon);
        self.changed.notify_all();
    }

    /// Why there is no connection now.
    pub(super) fn failure(&self, path: &Path, patience: Duration) -> Option<Failure> {
        let queue = self.lock();
        if queue.connected {
            return None;
        }
        let code = if queue.last_error == 0 { FANFARE_E_UNAVAILABLE } else { queue.last_error };
        let path = path.display();
        let text = match &queue.turned_away {
            Some(why) => format!("{path} cannot be published to: {why}"),
            None => format!(
                "no server answered at {path} in {} ms: {}. Is it running, and is this its socket?",
                patience.as_millis(),
                code::text(code).to_string_lossy()
            ),
        };
        Some(Failure { code, text })
    }
}
