//! `fanfare serve`: from a configuration to a running node, and from a signal to its end.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, info, warn};

use super::arguments::Serve;
use super::exit::{self, Failure};
use crate::config::{self, Config, Problems};
use crate::error::StartError;
use crate::server::{self, Running};

/// How often an insecure node says that it is.
const WARNING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Runs a node until a signal ends it.
pub(super) fn run(arguments: &Serve, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Config { settings, .. } = load(arguments, matches)?;
    crate::log::start().map_err(|what| Failure::new(exit::CONFIG, what))?;
    raise_descriptor_limit();
    // Before anything is started: a signal that comes during the start must not be lost.
    let signals = watch_signals()
        .map_err(|error| format!("cannot watch signals: {error}"))
        .map_err(|what| Failure::new(exit::UNAVAILABLE, what))?;
    let (dev, insecure) = (settings.dev, settings.insecure);
    let running = server::start(settings).map_err(failure)?;
    greet(&running, dev);
    let signal = wait(&signals, insecure);
    info!(signal, "stopping: clients are told to come back; a second signal ends at once");
    running.stop();
    info!("stopped");
    Ok(ExitCode::SUCCESS)
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
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(from = limit.current, to = limit.maximum, "raised the open files limit"),
        Err(error) => warn!(%error, limit = limit.current, "cannot raise the open files limit"),
    }
}

/// The signals that end the node, one by one. From the second on the process ends in the signal
/// itself, whatever its threads do, with the code that a shell gives for that signal.
fn watch_signals() -> std::io::Result<Receiver<&'static str>> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: actions run as they were registered, so the first signal finds it unset.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, seen.clone())?;
    }
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, seen.clone())?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            if sender.send(name).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Waits for a signal; an insecure node says so again and again meanwhile.
fn wait(signals: &Receiver<&'static str>, insecure: bool) -> &'static str {
    loop {
        if insecure {
            warn!(
                "INSECURE: other machines reach a listener that asks nobody who they are \
                 (--i-understand-insecure)"
            );
        }
        match signals.recv_timeout(WARNING_INTERVAL) {
            Ok(signal) => return signal,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return "the end of the signal thread",
        }
    }
}

/// Says where the node is: a friendly block on a terminal, one event of the log elsewhere.
fn greet(running: &Running, dev: bool) {
    if std::io::stderr().is_terminal() {
        // A terminal that went away is no reason to end.
        let _ = std::io::stderr().write_all(greeting(running, dev).as_bytes());
        return;
    }
    let addresses = running.addresses();
    info!(
        listen = %addresses.listen,
        api = addresses.api.map(|api| api.to_string()),
        socket = addresses.socket.as_ref().map(|path| path.display().to_string()),
        driver = running.driver(),
        shards = running.shards(),
        dev,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
}

fn greeting(running: &Running, dev: bool) -> String {
    let addresses = running.addresses();
    let (listen, shards) = (addresses.listen, running.shards());
    let plural = if shards == 1 { "" } else { "s" };
    let mut text = format!(
        "\n  Fanfare {} is ready ({}, {shards} shard{plural}).\n\n",
        env!("CARGO_PKG_VERSION"),
        running.driver(),
    );
    let mut line = |name: &str, value: String| {
        writeln!(text, "  {name:<12} {value}").expect("a String takes all");
    };
    if dev {
        line("playground", format!("http://{listen}/"));
    }
    line("clients", format!("http://{listen}/sse?channels=demo  (or /ws, /poll)"));
    if let Some(api) = addresses.api {
        line("API", format!("http://{api}/v1/channels/demo"));
    }
    if let Some(socket) = &addresses.socket {
        line("socket", socket.display().to_string());
    }
    line("follow", format!("curl -N '{listen}/sse?channels=demo'"));
    match addresses.api {
        Some(api) => line("publish", format!("curl -d hello {api}/v1/channels/demo")),
        None if addresses.socket.is_some() => line("publish", "fanfare publish demo hello".into()),
        None => {}
    }
    text.push('\n');
    text
}
