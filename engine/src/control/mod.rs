//! The control thread: publish API, metrics, health.
//!
//! It is ordinary on purpose: axum on one thread of its own, far from the shards. It speaks to the
//! sequencer's inbox and to nothing else, and it never waits for room there: a full inbox is a 503.
//! Whatever a backend can make it hold is bounded: connections, heads, bodies, and the time of each
//! step.

/// The thread's name.
pub const THREAD: &str = "fanfare-control";

mod answer;
mod api;
mod ask;
mod batch;
mod body;
mod caller;
mod channels;
mod connection;
mod connections;
mod described;
mod encoding;

mod gate;
mod inquire;
mod json_object;
pub mod metrics_page;
mod page;
mod publish;
mod read;
mod reload;
mod routes;
mod stated_reason;
mod stream;
mod target;
mod tokens;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_protocol::limits::POLL_BYTES_MAX;
use tokio::sync::watch;

use api::Api;
pub use api::{Bounds, ControlConfig};
use caller::Refusals;
use inquire::Inquirers;
pub use reload::{ApiChanges, Reload, Reloaded};
pub use tokens::Judge;

use crate::channel::Tenant;
use crate::in_flight::InFlight;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sequencer::command::{HistoryPage, Publication};
use crate::sequencer::inbox::Inbox;
use crate::vigil::Guard;

/// The running control thread.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    changes: ApiChanges,
    thread: JoinHandle<()>,
}

impl Control {
    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What may be changed of it while it runs.
    pub fn changes(&self) -> ApiChanges {
        self.changes.clone()
    }

    /// Accepts no more, and lets requests that have begun end for `patience` at most. The sequencer
    /// must still answer meanwhile.
    pub fn begin_to_stop(&self, patience: Duration) {
        // The thread is gone already when nobody hears this; then the join says so.
        let _ = self.stop.send(Some(patience));
    }

    /// As [`Control::begin_to_stop`], and joins the thread.
    pub fn stop(self, patience: Duration) {
        self.begin_to_stop(patience);
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked: this is a bug in Fanfare");
        }
    }
}

/// Starts the control thread, under `guard`, on a listener that is bound.
///
/// # Errors
/// The machine's: no thread, no descriptors.
pub fn serve(
    listener: TcpListener,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    config: ControlConfig,
    guard: Guard,
) -> io::Result<Control> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loopback = address.ip().is_loopback();
    let inbox = inbox.paying(InFlight::of(&metrics, &config.limits));
    let changes = ApiChanges::new(config.api_keys.clone());
    let (refusals, inquirers) = (Refusals::default(), Inquirers::default());
    let api = Arc::new(Api {
        changes: changes.clone(),
        inbox,
        metrics,
        config,
        refusals,
        loopback,
        inquirers,
    });
    let (stop, stopped) = watch::channel(None);
    let thread = std::thread::Builder::new().name(THREAD.into()).spawn(move || {
        guard.watch(|| runtime.block_on(connection::accept(listener, api, stopped)));
    })?;
    Ok(Control { address, stop, changes, thread })
}

/// A page of a channel's history as it is answered, without HTTP: for simulations.
pub(crate) fn page_body(channel: &str, page: &mut HistoryPage) -> Vec<u8> {
    page::history(channel, page, POLL_BYTES_MAX)
}

/// One message as a JSON body names it, without HTTP: for simulations. `None` where the API would
/// refuse it, or where the body names several.
pub(crate) fn read_one(body: &[u8], tenant: &Tenant, limits: &Limits) -> Option<Publication> {
    match batch::read(body, None, tenant, limits) {
        Ok(batch::PublishRequest::One(asked)) => Some(asked.publication),
        Ok(batch::PublishRequest::Many(_)) | Err(_) => None,
    }
}
