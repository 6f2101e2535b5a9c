//! Watches over the threads of a node. One that panics is a bug of ours, and whatever it did is
//! done no more: nobody may wait for it in silence, and the node must not look healthy.
//!
//! Each thread runs under a [`Guard`]. `serve` waits for a loss beside the signals and ends the
//! process; an embedder asks in each of its calls. Where the sequencer is lost, no end entry will
//! ever come, so shards look for that and take leave of their clients by themselves.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::os::short_slices::ask_for_short_slices;

/// What is known of a node's threads.
#[derive(Debug)]
pub struct Vigil {
    first: OnceLock<String>,
    /// What `/readyz` says.
    ready: Arc<AtomicBool>,
    tell: Sender<String>,
    losses: Receiver<String>,
}

/// What one thread runs under.
pub struct Guard {
    vigil: Arc<Vigil>,
    name: String,
    at_loss: Box<dyn FnOnce() + Send>,
    short_slices: bool,
}

impl Vigil {
    /// Nothing is lost. `ready` is lowered with the first loss.
    pub fn new(ready: Arc<AtomicBool>) -> Arc<Self> {
        let (tell, losses) = bounded(1);
        Arc::new(Self { first: OnceLock::new(), ready, tell, losses })
    }

    /// The name of the first thread that has panicked, if one has.
    pub fn lost(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// Gives that name once, when it happens: for one who waits.
    pub fn losses(&self) -> &Receiver<String> {
        &self.losses
    }

    /// Watches over the thread of this name. Where it panics, `at_loss` does on it what is to be
    /// done in its place; it may last until the node ends.
    pub fn guard(self: &Arc<Self>, name: &str, at_loss: impl FnOnce() + Send + 'static) -> Guard {
        let (vigil, name, at_loss) = (Arc::clone(self), name.into(), Box::new(at_loss));
        Guard { vigil, name, at_loss, short_slices: false }
    }
}

impl Guard {
    /// The thread only passes things on, and is not to wait for those that work long
    /// ([`crate::os::short_slices`]).
    pub fn with_short_slices(self) -> Self {
        Self { short_slices: true, ..self }
    }

    /// The whole body of the thread. A panic goes on when its loss was told, so a join hears of it.
    pub fn watch(self, run: impl FnOnce()) {
        if self.short_slices {
            ask_for_short_slices();
        }
        // Nothing is used afterwards that the panic may have left half done: `run` owns it all.
        let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return };
        let Self { vigil, name, at_loss, .. } = self;
        tracing::error!(thread = name, "a thread has panicked: this is a bug in Fanfare");
        vigil.ready.store(false, Relaxed);
        if vigil.first.set(name.clone()).is_ok() {
            let _ = vigil.tell.try_send(name); // there is room for the first
        }
        at_loss();
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_heard_and_an_ordinary_end_is_not() {
        let ready = Arc::new(AtomicBool::new(true));
        let vigil = Vigil::new(Arc::clone(&ready));
        let run = |name: &str, work: fn()| {
            let guard = vigil.guard(name, || {});
            std::thread::spawn(move || guard.watch(work)).join()
        };
        assert!(run("good", || {}).is_ok());
        assert!(vigil.lost().is_none() && vigil.losses().is_empty() && ready.load(Relaxed));
        assert!(run("bad", || panic!("as it was told")).is_err());
        assert!(run("worse", || panic!("as it was told")).is_err());
        assert_eq!(vigil.lost(), Some("bad"));
        assert_eq!(vigil.losses().try_iter().collect::<Vec<_>>(), ["bad"]);
        assert!(!ready.load(Relaxed));
    }
}
