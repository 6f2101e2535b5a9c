//! A node on threads, with sockets and ways in for backends.
//!
//! Start: bind every address, so that nothing runs when one is taken; then the sequencer, the
//! shards, and last the ways in. Stop goes the other way round: listeners, publishers, what the
//! inbox holds, the end entry, farewells.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;

use super::driver_choice::{Chosen, choose_driver, machine};
use super::listening;
use super::parts::{NodeParts, Plans};
use super::plan::{self, RESERVE};
use super::posting::ContextPost;
use super::reload::{self, Changing};
use super::settings::Settings;
use super::threads::{Threads, unavailable};
use crate::api_tls::ApiTls;
use crate::authority::Authority;
use crate::channel::Tenant;
use crate::clock::{self, Clock, Wall};
use crate::control::{self, Control, Judge, Reload};
use crate::error::StartError;
use crate::in_flight::InFlight;
use crate::ingest;
use crate::keys::{self, KeyPlan, KeyRenewal};
use crate::limits::Limits;
use crate::log::{Log, Memory};
use crate::metrics::Metrics;
use crate::node_state::NodeState;
use crate::os::waker::Waker;
use crate::ring::Wake;
use crate::sequencer::Ticket;
use crate::sequencer::command::Command;
use crate::sequencer::inbox::Inbox;
use crate::session::machine::Machines;
use crate::transport::Context;
use crate::transport::door::Door;
use crate::vigil::Vigil;

/// Where a node is.
#[derive(Clone, Debug)]
pub struct ServerAddresses {
    /// Clients.
    pub listen: SocketAddr,
    /// Backends over HTTP.
    pub api: Option<SocketAddr>,
    /// Backends over the Unix socket.
    pub socket: Option<PathBuf>,
}

/// A node that runs. Dropping it without [`Server::stop`] leaves its threads running.
pub struct Server {
    addresses: ServerAddresses,
    api_tls: Option<Arc<ApiTls>>,
    driver: &'static str,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    context: Arc<Context>,
    post: ContextPost,
    keys: Option<KeyRenewal>,
    life: Arc<NodeState>,
    wakers: Vec<Arc<Waker>>,
    ready: Arc<AtomicBool>,
    vigil: Arc<Vigil>,
    clock: Clock,
    sequencer: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
    control: Option<Control>,
    ingest: Option<ingest::Handle>,
}

/// Starts a node whose clients only listen.
///
/// # Errors
/// What cannot be had, why, and what to do: nothing runs then.
pub fn start(settings: Settings) -> Result<Server, StartError> {
    start_node(settings, None, None, Memory::default())
}

/// Starts a node whose WebSocket clients have commands: each is heard by what `machine` makes.
///
/// # Errors
/// As [`start`].
pub fn start_with(
    settings: Settings,
    machine: impl Fn() -> Box<dyn Machine> + Send + Sync + 'static,
) -> Result<Server, StartError> {
    start_node(settings, Some(Arc::new(machine)), None, Memory::default())
}

/// The same, where a client may also come over many sockets, by requests that `door` knows.
///
/// # Errors
/// As [`start`].
pub fn start_with_door(
    settings: Settings,
    machine: impl Fn() -> Box<dyn Machine> + Send + Sync + 'static,
    door: impl Door + 'static,
) -> Result<Server, StartError> {
    start_node(settings, Some(Arc::new(machine)), Some(Arc::new(door)), Memory::default())
}

/// Starts a node whose clients only listen, over this log.
///
/// # Errors
/// As [`start`].
pub fn start_over<L: Log<Ticket> + Send + 'static>(
    settings: Settings,
    log: L,
) -> Result<Server, StartError> {
    start_node(settings, None, None, log)
}

fn start_node<L: Log<Ticket> + Send + 'static>(
    settings: Settings,
    machines: Option<Machines>,
    door: Option<Arc<dyn Door>>,
    log: L,
) -> Result<Server, StartError> {
    let clock = Clock::start();
    let chosen = choose_driver(&settings)?;
    let plan = plan::plan(&settings, machine(chosen.tables))?;
    let (listen, listeners) = listening::clients(&settings, plan.shards)?;
    let api = settings.api.map(listening::api).transpose()?;
    let api_tls = api_tls(&settings)?;

    let context = context(&settings, plan.connections, listen)?;
    let wakers = make_wakers(plan.shards)?;
    let plans = Plans {
        epoch: Epoch::from_random(random()?),
        context,
        secret: secret()?,
        rules: settings.rules.clone(),
        machines,
        door,
        wakers: wakers.iter().map(|waker| Arc::clone(waker) as Arc<dyn Wake>).collect(),
        connections_max: plan.capacity - RESERVE,
    };
    let parts = NodeParts::join(plans, log);
    let NodeParts { sequencer, commands, shards, inbox, contexts, life, metrics } = parts;
    let context = contexts.context();
    let ready = Arc::new(AtomicBool::new(true));
    let vigil = Vigil::new(Arc::clone(&ready));
    let threads = Threads { wakers, life: Arc::clone(&life), vigil: Arc::clone(&vigil), clock };
    let sequencer = threads.start_order(sequencer, commands)?;
    let shards =
        threads.start_shards(shards, listeners, &chosen, plan.capacity).inspect_err(|_| {
            let _ = inbox.send(Command::Shutdown); // the shards that did start end with it
        })?;
    let mut running = Server {
        addresses: ServerAddresses { listen, api: None, socket: None },
        api_tls,
        driver: chosen.name,
        inbox: inbox.paying(InFlight::of(&metrics, &context.limits)),
        metrics,
        context,
        post: ContextPost { contexts, wakers: threads.wakers.clone().into() },
        keys: None,
        life,
        wakers: threads.wakers,
        ready,
        vigil,
        clock,
        sequencer,
        shards,
        control: None,
        ingest: None,
    };
    match running.open_ways_in(&settings, api, &chosen, clock) {
        Ok(()) => Ok(running),
        Err(error) => {
            running.stop();
            Err(error)
        }
    }
}

/// What the API speaks TLS with: read before anything runs.
fn api_tls(settings: &Settings) -> Result<Option<Arc<ApiTls>>, StartError> {
    let files = settings.api_tls.clone().filter(|_| settings.api.is_some());
    let loaded = files.map(ApiTls::load).transpose().map_err(StartError::Config)?;
    Ok(loaded.map(Arc::new))
}

impl Server {
    /// The ways in for backends, last: whoever can publish is heard.
    fn open_ways_in(
        &mut self,
        settings: &Settings,
        api: Option<TcpListener>,
        chosen: &Chosen,
        clock: Clock,
    ) -> Result<(), StartError> {
        if self.context.authority.is_some() {
            self.keys = Some(self.watch_keys(settings)?);
        }
        if let Some(path) = &settings.socket {
            let ingest = ingest::IngestConfig {
                path: path.clone(),
                mode: settings.socket_mode,
                users: settings.socket_users.clone(),
                peers: settings.tenancy.peers.clone(),
                limits: self.context.limits.clone(),
                epoch: self.epoch(),
                life: self.epoch(),
                tenant: self.context.tenant.clone(),
            };
            let metrics = Arc::clone(&self.metrics);
            let (inbox, guard) =
                (self.inbox.clone(), self.vigil.guard(ingest::THREAD, || {}).with_short_slices());
            self.ingest = Some(ingest::spawn(ingest, inbox, metrics, clock, guard)?);
            self.addresses.socket = Some(path.clone());
        }
        if let Some(listener) = api {
            let config = control::ControlConfig {
                tenant: self.context.tenant.clone(),
                build: control::metrics_page::Build {
                    version: env!("CARGO_PKG_VERSION"),
                    driver: chosen.name,
                    driver_fallback: chosen.fallback,
                    insecure: settings.insecure,
                    development: self.context.dev,
                    started_unix_s: clock::unix_seconds(),
                },
                api_keys: settings.backends(),
                tls: self.api_tls.clone(),
                limits: self.context.limits.clone(),
                bounds: control::Bounds::default(),
                origins_key: self.context.origins_key,
                ready: Arc::clone(&self.ready),
            };
            let metrics = Arc::clone(&self.metrics);
            let (inbox, guard) =
                (self.inbox.clone(), self.vigil.guard(control::THREAD, || {}).with_short_slices());
            let control = control::serve(listener, inbox, metrics, config, guard)
                .map_err(|error| unavailable("the API's thread could not be started", &error))?;
            let (post, again) = (self.post.clone(), self.post.clone());
            control.changes().set_judge(Judge {
                authority: Arc::new(move || post.context().authority.clone()),
                ask_again: Arc::new(move || again.ask_again()),
            });
            self.addresses.api = Some(control.address());
            self.control = Some(control);
        }
        Ok(())
    }

    /// Has `read` give the settings when the configuration is to be read again, by the API or by
    /// what is returned. `settings` are those that it was started with.
    pub fn reload_by(
        &self,
        settings: Settings,
        read: impl Fn() -> Result<Settings, String> + Send + Sync + 'static,
    ) -> Reload {
        let api = self.control.as_ref().map(Control::changes);
        let changing = Changing {
            api: api.clone(),
            post: Some(self.post.clone()),
            keys: self.keys.as_ref().map(KeyRenewal::plans),
        };
        let reload = reload::reload(settings, changing, Arc::clone(&self.metrics), read);
        if let Some(api) = api {
            api.set_reload(Arc::clone(&reload));
        }
        reload
    }

    /// Has the keys by which clients are judged, as they are at any time.
    fn watch_keys(&self, settings: &Settings) -> Result<KeyRenewal, StartError> {
        let plan = KeyPlan::of(&settings.tenancy).map_err(StartError::Config)?;
        let (post, metrics) = (self.post.clone(), Arc::clone(&self.metrics));
        let guard = self.vigil.guard(keys::THREAD, || {}).with_short_slices();
        let renewal = KeyRenewal::start(plan, metrics, self.clock, guard, move |_, keys| {
            post.change_authority(|authority| authority.keys = keys);
        })
        .map_err(|error| unavailable("the thread that fetches keys could not start", &error))?;
        let asks = renewal.asks();
        self.post.change_authority(|authority| {
            authority.wanted = Some(Arc::new(move |endpoint| {
                asks.wanted(endpoint);
                true
            }));
        });
        Ok(renewal)
    }

    /// What clients are served by, to be replaced.
    pub fn post(&self) -> &ContextPost {
        &self.post
    }

    /// Where it is.
    pub fn addresses(&self) -> &ServerAddresses {
        &self.addresses
    }

    /// Whether its API speaks TLS.
    pub fn api_speaks_tls(&self) -> bool {
        self.api_tls.is_some()
    }

    /// The identity of its order, as it is now.
    pub fn epoch(&self) -> Epoch {
        Epoch::from_random(self.metrics.sequencer.epoch.read())
    }

    /// `uring` or `epoll`.
    pub fn driver(&self) -> &'static str {
        self.driver
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Whether it is in development mode.
    pub fn development(&self) -> bool {
        self.context.dev
    }

    /// Connections that it may hold.
    pub fn connections_max(&self) -> usize {
        self.context.limits.connections
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.context.limits
    }

    /// Whose channels its publishers and clients name, until identity exists.
    pub fn tenant(&self) -> &Tenant {
        &self.context.tenant
    }

    /// Its numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether all of its threads live. One that has panicked does not come back: stop the node.
    pub fn vigil(&self) -> &Arc<Vigil> {
        &self.vigil
    }

    /// The way in for publishers inside this process.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Stops it, within [`crate::limits::Limits::shutdown_ms`]: whatever was published before is
    /// delivered, clients are told to come back. The ways in have a quarter of that time, side by
    /// side, and the clients whatever is left of it.
    pub fn stop(self) {
        let limit_ms = self.context.limits.shutdown_ms;
        let for_ways_in = Duration::from_millis(limit_ms / 4);
        self.ready.store(false, Ordering::Relaxed);
        self.life.drain_until(self.clock.now().plus(limit_ms));
        self.wakers.iter().for_each(|waker| waker.wake());
        if let Some(control) = &self.control {
            control.begin_to_stop(for_ways_in);
        }
        if let Some(keys) = self.keys {
            keys.stop();
        }
        if let Some(ingest) = self.ingest {
            ingest.stop();
        }
        if let Some(control) = self.control {
            control.stop(for_ways_in);
        }
        let _ = self.inbox.send(Command::Shutdown);
        let threads = std::iter::once(self.sequencer).chain(self.shards);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the engine panicked: this is a bug in Fanfare");
            }
        }
    }
}

/// What clients are served by first.
fn context(
    settings: &Settings,
    connections: usize,
    listen: SocketAddr,
) -> Result<Context, StartError> {
    let mut limits = settings.limits.clone();
    limits.connections = connections;
    limits.bodies_bytes = limits.all_bodies();
    limits.tenants = settings.tenancy.limits();
    Ok(Context {
        loopback: listen.ip().is_loopback(),
        origins: settings.origins.clone(),
        hosts: settings.hosts.clone(),
        proxies: settings.proxies.clone(),
        dev: settings.development(),
        wall: Wall::System,
        origins_key: random()?,
        authority: authority(settings)?,
        ..Context::new(limits, settings.tenant.clone())
    })
}

/// Who decides who may do what, where clients are asked; with the keys for which no endpoint has to
/// be asked, since the first client may come before the first answer.
fn authority(settings: &Settings) -> Result<Option<Arc<Authority>>, StartError> {
    if !settings.tenancy.on {
        return Ok(None);
    }
    let plan = KeyPlan::of(&settings.tenancy).map_err(StartError::Config)?;
    let tenants = settings.tenancy.tenants.len() + 1; // and the one that there always is
    let (rules, keys) = (Arc::new(settings.rules.clone()), Arc::new(plan.sources.snapshot()));
    Ok(Some(Arc::new(Authority {
        keys,
        ..Authority::new(&settings.tenancy.tokens, rules, tenants)
    })))
}

/// Who ends the sleep of each shard.
fn make_wakers(shards: usize) -> Result<Vec<Arc<Waker>>, StartError> {
    let wakers = (0..shards).map(|_| Waker::new()).collect::<Result<_, _>>();
    wakers.map_err(|error| unavailable("a waker could not be made", &error))
}

fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(no_random)
}

fn secret() -> Result<Secret, StartError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(Secret(bytes))
}

fn no_random(error: getrandom::Error) -> StartError {
    StartError::Unavailable(format!("the kernel gave no random number for the epoch: {error}"))
}
