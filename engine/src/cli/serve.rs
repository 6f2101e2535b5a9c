//! `fanfare serve`: from a configuration to a running node, and from a signal to its end.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use crossbeam_channel::{Receiver, bounded, select, unbounded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, info, warn};

use super::exit::{self, Failure};
use super::serve_flags::Serve;
use crate::config::{self, Config, Overrides, Problems};
use crate::control::Reload;
use crate::error::StartError;
use crate::node::{self, Server, Settings};
use crate::vigil::Vigil;

/// Beyond the time of an ordinary end, for one without a thread.
const LOST_GRACE: Duration = Duration::from_secs(1);
/// How often an insecure node says that it is.
const WARNING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Runs a node until a signal ends it. `warnings`, of what was noticed before, go to its log.
pub(super) fn run(
    arguments: &Serve,
    matches: &ArgMatches,
    warnings: &[String],
) -> Result<ExitCode, Failure> {
    let overrides = arguments.overrides(matches);
    let overrides = overrides.map_err(|what| Failure::new(exit::CONFIG, what))?;
    let config = load(arguments, matches)?;
    crate::diagnostics::start().map_err(|what| Failure::new(exit::CONFIG, what))?;
    warnings.iter().chain(&config.warnings()).for_each(|warning| warn!("{warning}"));
    let Config { settings, .. } = config;
    raise_descriptor_limit();
    refuse_huge_pages();
    // Before anything is started: a signal that comes during the start must not be lost.
    let has_file = overrides.file.is_some();
    let signals = watch_signals(has_file)
        .map_err(|error| format!("cannot watch signals: {error}"))
        .map_err(|what| Failure::new(exit::UNAVAILABLE, what))?;
    let insecure = settings.insecure;
    let for_others = !(settings.origins.is_empty() && settings.hosts.is_empty());
    let running = node::start(settings.clone()).map_err(failure)?;
    let reload = has_file.then(|| running.reload_by(settings, move || read_again(&overrides)));
    greet(&running);
    if running.development() && for_others {
        warn!(
            "development mode is on although origins or hosts are listed: behind a proxy, where \
             others are served, it is to be ended (--no-dev)"
        );
    }
    match wait(&signals, running.vigil(), insecure, reload.as_ref()) {
        End::Signal(signal) => {
            info!(signal, "stopping: clients are told to come back; a second signal ends at once");
            running.stop();
            info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        End::Lost(thread) => Err(without(&thread, running)),
    }
}

/// The settings of the same flags, environment and file as they are now.
fn read_again(overrides: &Overrides) -> Result<Settings, String> {
    let config = config::load(overrides.clone()).map_err(|problems| problems.to_string())?;
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    Ok(config.settings)
}

/// Ends a node that has lost a thread: those who can still be served are told to come back, as far
/// as that goes without the lost one. A part that waits for it in vain does not keep the process.
fn without(name: &str, running: Server) -> Failure {
    let patience = Duration::from_millis(running.limits().shutdown_ms) + LOST_GRACE;
    let (done, stopped) = bounded(1);
    let stopping = thread::Builder::new().name("stopping".into()).spawn(move || {
        running.stop();
        let _ = done.send(());
    });
    if stopping.is_ok() {
        let _ = stopped.recv_timeout(patience);
    }
    Failure::new(
        exit::BUG,
        format!(
            "the thread {name} has panicked, which is a bug in Fanfare: please report what it said \
             above. The node has ended, as it would serve only a part of its clients from here \
             on; whoever watches over it (systemd: Restart=on-failure) should start it again"
        ),
    )
}

/// The configuration of the command line, or the failure that tells everything that is wrong.
pub(super) fn load(arguments: &Serve, matches: &ArgMatches) -> Result<Config, Failure> {
    let wrong = |what: String| Failure::new(exit::CONFIG, what);
    let overrides = arguments.overrides(matches).map_err(wrong)?;
    config::load(overrides).map_err(|problems: Problems| wrong(problems.to_string()))
}

fn failure(error: StartError) -> Failure {
    Failure::new(error.exit_code(), error.to_string())
}

/// Raises the soft limit of open files to the hard one: nothing here uses select(2), which is what
/// the low soft limit protects, and the io_uring table of sockets is bounded by it too.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(from = limit.current, to = limit.maximum, "raised the open files limit"),
        Err(error) => warn!(%error, limit = limit.current, "cannot raise the open files limit"),
    }
}

/// Has memory in pages of 4 KiB. The allocator asks for pages of 2 MiB, which the kernel gives
/// whole wherever a thread needs the first 64 KiB of one: an empty node of six shards takes 46 MB
/// so and 10 MB without, and 100,000 idle clients 465 bytes each instead of 169. What is gained by
/// them elsewhere, fewer misses of the address cache, is little here: what is hot is small.
fn refuse_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        debug!(%error, "huge pages stay: this kernel does not let a process refuse them");
    }
}

/// The signals that end the node, one by one. From the second on the process ends in the signal
/// itself, whatever its threads do, with the code that a shell gives for that signal.
fn watch_signals(has_file: bool) -> std::io::Result<Receiver<&'static str>> {
    let seen = Arc::new(AtomicBool::new(false));
    let ends = ending_signals(has_file);
    for signal in ends.clone() {
        // In this order: actions run as they were registered, so the first signal finds it unset.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, seen.clone())?;
    }
    for signal in ends.clone() {
        signal_hook::flag::register(signal, seen.clone())?;
    }
    let reloads = has_file.then_some(SIGHUP);
    let mut signals = Signals::new(ends.into_iter().chain(reloads))?;
    let (sender, receiver) = unbounded();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let name = match signal {
                SIGINT => "SIGINT",
                SIGHUP => "SIGHUP",
                _ => "SIGTERM",
            };
            if sender.send(name).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// The signals that end a node. A terminal that goes away sends SIGHUP, and clients are told of
/// that end too; but who started us so that it is ignored (`nohup`) wants us to stay. A node with a
/// configuration file reads that again instead, as services do.
fn ending_signals(has_file: bool) -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let mut signals = vec![SIGINT, SIGTERM];
    if !has_file && ignored & (1 << (SIGHUP - 1)) == 0 {
        signals.push(SIGHUP);
    }
    signals
}

/// What ends a node.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Signal(&'static str),
    /// A thread of this name has panicked.
    Lost(String),
}

/// Waits for the end; an insecure node says that it is again and again meanwhile.
fn wait(
    signals: &Receiver<&'static str>,
    vigil: &Vigil,
    insecure: bool,
    reload: Option<&Reload>,
) -> End {
    let mut is_time_to_warn = true;
    loop {
        if insecure && is_time_to_warn {
            warn!(
                "INSECURE: other machines reach a listener that asks nobody who they are \
                 (--i-understand-insecure)"
            );
        }
        select! {
            recv(vigil.losses()) -> name => {
                return End::Lost(name.expect("the vigil holds both ends"));
            }
            recv(signals) -> signal => match (signal, reload) {
                (Ok("SIGHUP"), Some(reload)) => {
                    is_time_to_warn = false;
                    let _ = reload(); // what came of it is in the log
                }
                (signal, _) => {
                    return End::Signal(signal.unwrap_or("the end of the signal thread"));
                }
            },
            default(WARNING_INTERVAL) => is_time_to_warn = true,
        }
    }
}

/// Says where the node is: a friendly block on a terminal, one event of the log elsewhere.
fn greet(running: &Server) {
    if std::io::stderr().is_terminal() {
        return super::say::say_all(&greeting(running));
    }
    let addresses = running.addresses();
    info!(
        listen = %addresses.listen,
        api = addresses.api.map(|api| api.to_string()),
        socket = addresses.socket.as_ref().map(|path| path.display().to_string()),
        driver = running.driver(),
        shards = running.shards(),
        mode = if running.development() { "development" } else { "production" },
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
}

fn greeting(running: &Server) -> String {
    let addresses = running.addresses();
    let (listen, shards) = (addresses.listen, running.shards());
    let scheme = if running.api_speaks_tls() { "https://" } else { "http://" };
    let plural = if shards == 1 { "" } else { "s" };
    let mut text = format!(
        "\n  Fanfare {} is ready ({}, {shards} shard{plural}).\n\n",
        env!("CARGO_PKG_VERSION"),
        running.driver(),
    );
    let mut line = |name: &str, value: String| {
        writeln!(text, "  {name:<12} {value}").expect("a String takes all");
    };
    if running.development() {
        line("mode", "development, for this machine alone; --no-dev behind a proxy".into());
        line("playground", format!("http://{listen}/"));
    } else {
        line("mode", "production: the playground only follows".into());
    }
    line("clients", format!("http://{listen}/sse?channels=demo  (or /ws, /poll)"));
    if let Some(api) = addresses.api {
        line("API", format!("{scheme}{api}/v1/channels/demo"));
    }
    if let Some(socket) = &addresses.socket {
        line("socket", socket.display().to_string());
    }
    line("follow", format!("curl -N '{listen}/sse?channels=demo'"));
    match addresses.api {
        Some(api) => {
            let scheme = if running.api_speaks_tls() { scheme } else { "" };
            line("publish", format!("curl -d hello {scheme}{api}/v1/channels/demo"));
        }
        None if addresses.socket.is_some() => line("publish", "fanfare publish demo hello".into()),
        None => {}
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::message::Kind;

    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use crate::node::Settings;
    use crate::sequencer::command::{Command, Publication, PublishAnswer};

    /// A node whose sequencer has panicked: in the answer to a publish, which runs on its thread.
    fn node_without_sequencer() -> Server {
        let mut settings = Settings { shards: Some(1), ..Settings::on_loopback() };
        settings.limits.shutdown_ms = 3_600_000; // which is no end of this test
        let running = node::start(settings).expect("a node starts");
        let publication = Publication {
            channel: ChannelName::new(Tenant::default(), "demo"),
            also: Box::default(),
            kind: Kind::Text,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data: b"x"[..].into(),
        };
        let answer = PublishAnswer::Callback(Box::new(|_| panic!("injected by a test")));
        assert!(running.inbox().send(Command::Publish(publication, answer)).is_ok());
        running
    }

    #[test]
    fn a_lost_thread_ends_the_node_and_is_named() {
        let running = node_without_sequencer();
        let (_signal, signals) = unbounded();
        let end = wait(&signals, running.vigil(), false, None);
        assert_eq!(end, End::Lost("fanfare-sequencer".into()));
        let (say, hear) = std::sync::mpsc::channel();
        std::thread::spawn(move || say.send(without("fanfare-sequencer", running)));
        let failure = hear.recv_timeout(Duration::from_secs(60));
        let failure = failure.expect("nobody waits for what never comes");
        assert_eq!(failure.code, 101);
        assert!(failure.what.contains("the thread fanfare-sequencer has panicked"), "{failure:?}");
    }

    #[test]
    fn a_signal_ends_the_node_in_order() {
        let vigil = Vigil::new(Arc::default());
        let (signal, signals) = unbounded();
        signal.send("SIGTERM").unwrap();
        assert_eq!(wait(&signals, &vigil, false, None), End::Signal("SIGTERM"));
        // With a file to be read again, SIGHUP is no end.
        let (count, counted) = unbounded();
        let reload: Reload = Arc::new(move || {
            count.send(()).unwrap();
            Err("it is wrong".into())
        });
        for name in ["SIGHUP", "SIGHUP", "SIGINT"] {
            signal.send(name).unwrap();
        }
        assert_eq!(wait(&signals, &vigil, false, Some(&reload)), End::Signal("SIGINT"));
        assert_eq!(counted.try_iter().count(), 2);
        signal.send("SIGHUP").unwrap();
        assert_eq!(wait(&signals, &vigil, false, None), End::Signal("SIGHUP"));
    }
}
