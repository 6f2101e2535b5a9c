//! Wakes the order's thread where it sleeps: when something is sent to it, and when a log that
//! works elsewhere has something to say.

use std::sync::atomic::{Ordering::SeqCst, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes the thread that sleeps over an inbox and a log.
///
/// It is called after each command of a backend, and once for all that a tick of a shard offers. A
/// wake exchanges one word where nobody sleeps, and holds no lock: one that the woken thread needs
/// next would have both threads change places twice for each command, where they share a core.
#[derive(Clone, Debug, Default)]
pub struct ThreadWaker(Arc<OnceLock<Thread>>);

impl ThreadWaker {
    /// There may be something new: whoever sleeps looks again, and whoever does not will before it
    /// sleeps.
    pub fn wake(&self) {
        // Between what was done before this and the look for a sleeper: a thread that is not found
        // here has not looked for work yet.
        fence(SeqCst);
        if let Some(sleeper) = self.0.get() {
            sleeper.unpark();
        }
    }

    /// From here on this thread is the one that is woken. It looks for what there is afterwards.
    pub(crate) fn attach(&self) {
        self.0.get_or_init(thread::current);
        fence(SeqCst);
    }

    /// Sleeps until it was woken since the last sleep, or for so long. It may end sooner: the
    /// caller looks for itself.
    ///
    /// # Panics
    /// In debug builds, on a thread that it does not wake.
    pub(crate) fn sleep(&self, most: Duration) {
        debug_assert_eq!(self.0.get().map(Thread::id), Some(thread::current().id()));
        thread::park_timeout(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::waker::tests::wakes_are_heard;

    /// Nobody waits for so long: a wake that is slept through hangs its test.
    const HANG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_wake_before_the_sleep_ends_it() {
        let waker = ThreadWaker::default();
        waker.attach();
        waker.wake();
        waker.sleep(HANG);
    }

    #[test]
    fn whatever_was_done_before_a_wake_is_seen_and_no_wake_is_slept_through() {
        let waker = ThreadWaker::default();
        waker.attach();
        let others = waker.clone();
        wakes_are_heard(move || others.wake(), || waker.sleep(HANG));
    }
}
