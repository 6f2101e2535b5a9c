//! Starts the threads of a node and joins them.
//!
//! ```text
//! control (tokio) ──┐                       ┌── shard 0
//! ingest (unix)  ───┼─ inbox ─ sequencer ─ ring ── shard 1
//! shards         ───┘                       └── ...
//! ```
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

use fanfare_protocol::id::Epoch;

use crate::auth::address::Addresses as PeerAddresses;
use crate::channel::Tenant;
use crate::clock::{self, Clock, Wall};
use crate::control::{self, Control};
use crate::driver::listener::{self, Inherited};
use crate::driver::{choose, waker::Waker};
use crate::error::StartError;
use crate::in_flight::InFlight;
use crate::ingest;
use crate::life::Life;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::ring::{self, Reader, Wake};
use crate::sequencer::command::{Command, Entry};
use crate::sequencer::inbox::{Inbox, inbox, refuse_until_shutdown};
use crate::sequencer::{self, Sequencer};
use crate::session::machine::{Machine, Machines};
use crate::transport::Context;
use crate::vigil::{Guard, Vigil};

pub(crate) mod plan;
mod settings;
mod shards;

pub use settings::{DriverChoice, Settings};

/// The name of the sequencer's thread.
const SEQUENCER: &str = "fanfare-sequencer";
/// How many ports are tried where any will do.
const PORT_TRIES: usize = 20;

/// Where a node is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Clients.
    pub listen: SocketAddr,
    /// Backends over HTTP.
    pub api: Option<SocketAddr>,
    /// Backends over the Unix socket.
    pub socket: Option<PathBuf>,
}

/// A node that runs. Dropping it without [`Server::stop`] leaves its threads running.
pub struct Server {
    addresses: Addresses,
    driver: &'static str,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    context: Arc<Context>,
    life: Arc<Life>,
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
pub fn start(settings: Settings) -> Result<Server, StartError> {
    start_node(settings, None)
}

/// Starts a node whose WebSocket clients have commands: each is heard by what `machine` makes.
pub fn start_with(
    settings: Settings,
    machine: impl Fn() -> Box<dyn Machine> + Send + Sync + 'static,
) -> Result<Server, StartError> {
    start_node(settings, Some(Arc::new(machine)))
}

fn start_node(settings: Settings, machines: Option<Machines>) -> Result<Server, StartError> {
    let clock = Clock::start();
    let chosen = choose_driver(&settings)?;
    let plan = plan::plan(&settings, machine(chosen.tables))?;
    let (listen, listeners) = listen(&settings, plan.shards)?;
    let api = settings.api.map(bind_api).transpose()?;

    let mut limits = settings.limits.clone();
    limits.connections = plan.connections;
    limits.bodies_bytes = limits.all_bodies();
    let metrics = Arc::new(Metrics::new(plan.shards));
    let life: Arc<Life> = Arc::default();
    let ready = Arc::new(AtomicBool::new(true));
    let vigil = Vigil::new(Arc::clone(&ready));
    let order = start_order(&settings, &limits, plan.shards, &metrics, &life, &vigil, clock)?;
    let context = Arc::new(Context {
        loopback: listen.ip().is_loopback(),
        origins: settings.origins.clone(),
        hosts: settings.hosts.clone(),
        dev: settings.development(),
        wall: Wall::System,
        ..Context::new(order.epoch, limits.clone(), settings.tenant.clone())
    });
    let shards = shards::Start {
        plan,
        tables: chosen.tables,
        entries: chosen.entries,
        context: Arc::clone(&context),
        life: Arc::clone(&life),
        addresses: Arc::new(PeerAddresses::new(&limits)),
        metrics: Arc::clone(&metrics),
        inbox: order.inbox.paying(InFlight::of(&metrics, &limits)),
        vigil: Arc::clone(&vigil),
        clock,
    };
    let shards =
        shards.spawn(listeners, order.readers, &order.wakers, machines).inspect_err(|_| {
            let _ = order.inbox.send(Command::Shutdown); // the shards that did start end with it
        })?;
    let mut running = Server {
        addresses: Addresses { listen, api: None, socket: None },
        driver: chosen.name,
        inbox: order.inbox.paying(InFlight::of(&metrics, &limits)),
        metrics,
        context,
        life,
        wakers: order.wakers,
        ready,
        vigil,
        clock,
        sequencer: order.thread,
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

/// The sequencer's thread, and both ends of what it speaks through.
struct Order {
    epoch: Epoch,
    inbox: Inbox,
    /// One for each shard, as are the wakers that end their sleep.
    readers: Vec<Reader<Entry>>,
    wakers: Vec<Arc<Waker>>,
    thread: JoinHandle<()>,
}

/// Starts the one order of the node.
fn start_order(
    settings: &Settings,
    limits: &Limits,
    shards: usize,
    metrics: &Arc<Metrics>,
    life: &Arc<Life>,
    vigil: &Arc<Vigil>,
    clock: Clock,
) -> Result<Order, StartError> {
    let epoch = Epoch::from_random(random()?);
    let wakers = (0..shards)
        .map(|_| Waker::new())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unavailable("a waker could not be made", &error))?;
    let (inbox, commands) = inbox(limits.inbox_commands);
    let left = commands.clone();
    let ring_wakers = wakers.iter().map(|waker| Arc::clone(waker) as Arc<dyn Wake>).collect();
    let (writer, readers) = ring::ring(limits.ring_entries, limits.ring_bytes, ring_wakers);
    let (limits, rules) = (limits.clone(), settings.rules.clone());
    let settings = sequencer::Config { epoch, shards, limits, rules };
    let sequencer = Sequencer::new(settings, commands, writer, Arc::clone(metrics));
    let (life, sleepers) = (Arc::clone(life), wakers.clone());
    let guard = vigil.guard(SEQUENCER, move || {
        life.lose_order();
        sleepers.iter().for_each(|waker| waker.wake());
        refuse_until_shutdown(&left);
    });
    let guard = guard.with_short_turns();
    let thread = spawn(SEQUENCER, guard, move || sequencer.run(clock))?;
    Ok(Order { epoch, inbox, readers, wakers, thread })
}

impl Server {
    /// The ways in for backends, last: whoever can publish is heard.
    fn open_ways_in(
        &mut self,
        settings: &Settings,
        api: Option<std::net::TcpListener>,
        chosen: &Chosen,
        clock: Clock,
    ) -> Result<(), StartError> {
        if let Some(path) = &settings.socket {
            let ingest = ingest::Config {
                path: path.clone(),
                mode: settings.socket_mode,
                users: settings.socket_users.clone(),
                limits: self.context.limits.clone(),
                epoch: self.context.epoch,
                tenant: self.context.tenant.clone(),
            };
            let metrics = Arc::clone(&self.metrics);
            let (inbox, guard) =
                (self.inbox.clone(), self.vigil.guard(ingest::THREAD, || {}).with_short_turns());
            self.ingest = Some(ingest::spawn(ingest, inbox, metrics, clock, guard)?);
            self.addresses.socket = Some(path.clone());
        }
        if let Some(listener) = api {
            let facts = control::Facts {
                epoch: self.context.epoch,
                tenant: self.context.tenant.clone(),
                build: control::metrics_page::Build {
                    version: env!("CARGO_PKG_VERSION"),
                    driver: chosen.name,
                    driver_fallback: chosen.fallback,
                    insecure: settings.insecure,
                    development: self.context.dev,
                    started_unix_s: clock::unix_seconds(),
                },
                api_key: settings.api_key.clone(),
                limits: self.context.limits.clone(),
                bounds: control::Bounds::default(),
                ready: Arc::clone(&self.ready),
            };
            let metrics = Arc::clone(&self.metrics);
            let (inbox, guard) =
                (self.inbox.clone(), self.vigil.guard(control::THREAD, || {}).with_short_turns());
            let control = control::serve(listener, inbox, metrics, facts, guard)
                .map_err(|error| unavailable("the API's thread could not be started", &error))?;
            self.addresses.api = Some(control.address());
            self.control = Some(control);
        }
        Ok(())
    }

    /// Where it is.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The identity of its order.
    pub fn epoch(&self) -> Epoch {
        self.context.epoch
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

/// What the ladder came to.
struct Chosen {
    name: &'static str,
    tables: bool,
    fallback: bool,
    /// Entries of each shard's ring.
    entries: usize,
}

fn choose_driver(settings: &Settings) -> Result<Chosen, StartError> {
    let epoll = Chosen { name: "epoll", tables: false, fallback: false, entries: 0 };
    if settings.driver == DriverChoice::Epoll {
        return Ok(epoll);
    }
    let shards = plan::shards(settings, machine(true));
    match choose::probe(machine(true).descriptors, shards) {
        choose::Support::Uring { entries, advice } => {
            if let Some(advice) = advice {
                tracing::warn!("{advice}");
            }
            Ok(Chosen { name: "uring", tables: true, fallback: false, entries })
        }
        choose::Support::NoRoom(advice) => Err(StartError::Unavailable(advice)),
        choose::Support::Blocked(why) if settings.driver == DriverChoice::Uring => {
            Err(StartError::Unavailable(format!(
                "the driver uring was asked for and cannot be used: {why}"
            )))
        }
        choose::Support::Blocked(why) => {
            tracing::warn!(
                "io_uring cannot be used, so connections are served by epoll, which is slower and \
                 bounded by the open files limit: {why}"
            );
            Ok(Chosen { fallback: true, ..epoll })
        }
    }
}

/// What this process may use, with the limits that it has now.
pub(crate) fn machine(tables: bool) -> plan::Machine {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    plan::Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        descriptors: limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        tables,
    }
}

/// Listens for clients, before anything is started: one listener for each shard. Port 0 becomes a
/// real one, the same for all; between the probe that finds it and the listeners, which join it,
/// another process may have been given it, so another is tried then.
fn listen(
    settings: &Settings,
    shards: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    let inherited = Inherited::for_stall_limit(settings.limits.stall_ms);
    let mut tries = if settings.listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let address = probe("clients", settings.listen)?;
        let opened = (0..shards).map(|_| listener::open(address, &inherited));
        match opened.collect::<Result<_, _>>() {
            Ok(listeners) => return Ok((address, listeners)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(taken("clients", address, &error)),
        }
    }
}

/// Finds out whether an address is free; port 0 becomes a real one.
fn probe(who: &str, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener::probe(address).map_err(|error| taken(who, address, &error))
}

fn bind_api(address: SocketAddr) -> Result<TcpListener, StartError> {
    let address = if address.port() == 0 { address } else { probe("the API", address)? };
    TcpListener::bind(address).map_err(|error| taken("the API", address, &error))
}

/// Why an address cannot be listened on, and what to do.
pub(crate) fn taken(who: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    let message = format!("cannot listen on {address} for {who}: {error}");
    match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::Unavailable(format!(
            "{message}. Another process has the port (`ss -ltnp` names it): stop it, or choose \
             another address (--listen, --api)"
        )),
        std::io::ErrorKind::AddrNotAvailable => {
            StartError::Config(format!("{message}. This machine does not have that address"))
        }
        std::io::ErrorKind::PermissionDenied => StartError::Config(format!(
            "{message}. Ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        )),
        _ => StartError::Unavailable(message),
    }
}

fn unavailable(what: &str, error: &std::io::Error) -> StartError {
    let advice = error.raw_os_error().and_then(choose::advice);
    let advice = advice.map_or_else(String::new, |advice| format!(". {advice}"));
    StartError::Unavailable(format!("{what}: {error}{advice}"))
}

fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| {
        StartError::Unavailable(format!("the kernel gave no random number for the epoch: {error}"))
    })
}

fn spawn(
    name: &str,
    guard: Guard,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || guard.watch(run))
        .map_err(|error| unavailable("a thread could not be started", &error))
}
