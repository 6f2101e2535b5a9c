//! How the order is woken where it sleeps: by what is sent to it, and by a log that works
//! elsewhere.

use std::sync::atomic::{Ordering::SeqCst, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes the thread that sleeps over an inbox and a log.
///
/// It is rung behind each command. So a ring exchanges one word where nobody sleeps, and holds
/// nothing while it wakes: a lock that the woken one needs next has both threads change places
/// twice for each command, where they share a core.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// There may be something new: whoever sleeps looks again, and whoever does not will before it
    /// sleeps.
    pub fn ring(&self) {
        // Between what was done before and this look: whoever is not heard of here has not looked.
        fence(SeqCst);
        if let Some(sleeper) = self.0.get() {
            sleeper.unpark();
        }
    }

    /// From here on this thread is the one that is woken. It looks for what there is afterwards.
    pub(crate) fn hear(&self) {
        self.0.get_or_init(thread::current);
        fence(SeqCst);
    }

    /// Sleeps until it was rung since the last sleep, or for so long. It may end sooner: the caller
    /// looks for itself.
    ///
    /// # Panics
    /// In debug builds, on a thread that does not hear it.
    pub(crate) fn sleep(&self, most: Duration) {
        debug_assert_eq!(self.0.get().map(Thread::id), Some(thread::current().id()));
        thread::park_timeout(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::{Acquire, Release};

    /// Nobody waits for so long: a ring that is slept through hangs its test.
    const HANG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_ring_before_the_sleep_ends_it() {
        let bell = Bell::default();
        bell.hear();
        bell.ring();
        bell.sleep(HANG);
    }

    #[test]
    fn whatever_was_done_before_a_ring_is_seen_and_no_ring_is_slept_through() {
        const RINGS: usize = 20_000;
        let (bell, done) = (Bell::default(), Arc::new(AtomicUsize::new(0)));
        let ringer = thread::spawn({
            let (bell, done) = (bell.clone(), Arc::clone(&done));
            move || {
                for nth in 1..=RINGS {
                    done.store(nth, Release);
                    bell.ring();
                    if nth % 64 == 0 {
                        thread::yield_now(); // so that the other falls asleep now and then
                    }
                }
            }
        });
        bell.hear();
        while done.load(Acquire) < RINGS {
            bell.sleep(HANG);
        }
        ringer.join().unwrap();
    }
}
