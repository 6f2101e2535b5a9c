//! How shards say that a token waits for keys: by a flag, without waiting themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use fanfare_identity::keys::EndpointId;
use tokio::sync::Notify;

/// Endpoints that a configuration may name: there is a flag for each.
pub const ENDPOINTS_MAX: usize = 256;

/// Which endpoints are to be asked before their time. However many tokens wait for one, it is one
/// flag that is up.
#[derive(Clone, Debug)]
pub struct KeyAsks(Arc<Flags>);

#[derive(Debug)]
struct Flags {
    wanted: [AtomicBool; ENDPOINTS_MAX],
    raised: Notify,
}

impl KeyAsks {
    pub(super) fn new() -> Self {
        let wanted = [const { AtomicBool::new(false) }; ENDPOINTS_MAX];
        Self(Arc::new(Flags { wanted, raised: Notify::new() }))
    }

    /// A token waits for a key that this endpoint may have. It is asked as soon as it may be, and
    /// the keys are told then, whatever came of it.
    pub fn wanted(&self, endpoint: EndpointId) {
        // Relaxed: whoever is woken by the notice sees what was before it.
        if let Some(flag) = self.0.wanted.get(endpoint.index())
            && !flag.swap(true, Relaxed)
        {
            self.0.raised.notify_waiters();
        }
    }

    /// The endpoint was asked.
    pub(super) fn lower(&self, endpoint: EndpointId) {
        self.0.wanted[endpoint.index()].store(false, Relaxed);
    }

    /// Waits until somebody wants this endpoint's keys.
    pub(super) async fn raised(&self, endpoint: EndpointId) {
        loop {
            // It hears of notices from here on, so none between the look and the wait is missed.
            let notice = self.0.raised.notified();
            if self.0.wanted[endpoint.index()].load(Relaxed) {
                return;
            }
            notice.await;
        }
    }
}
