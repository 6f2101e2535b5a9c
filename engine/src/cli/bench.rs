//! `fanfare bench`: flags to a plan, a report to standard output.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::exit::{self, Failure};
use crate::bench::plan::{Driver, Follows, Mode, Plan, Way};
use crate::bench::target::Url;
use crate::bench::{self, plot, table};
use crate::config::default_socket;
use crate::config::units::{self, OptionalAddress};
use crate::node::DriverChoice;

pub(super) const AFTER_HELP: &str = "\
Modes:
  connect    connects and upgrades: rate, failures
  idle       connects and waits: memory for each client (with --server-pid), CPU at rest
  paced      --rate messages/s: latency to each receiver and to the last; a late send is charged
             from when it was due (coordinated omission)
  saturate   --window messages always on the way: deliveries/s, CPU for each delivery
  burst      --messages at once, --rounds times: time until the last client has all
  fairness   a client on a channel of its own, first in peace, then beside a saturating broadcast
  slow       a --share of the clients stops reading: the others' latency, memory, what they are told
  storm      all clients are reset at once and resume: time until all are back and have all
  churn      --churn-rate clients/s are replaced while messages flow
  unicast    each client has a channel of its own, and messages go to one after the other, --window
             of them on the way: deliveries/s, CPU for each delivery, latency
  channels   memory (with --server-pid): of --fill channels that keep a message each, of clients on
             one shared channel, on --follow of them, and on one of their own (Fanfare only)

In every mode each message is counted at each client: lost, twice, out of order. A run that is not
sound ends with 65, after its result.

Against Fanfare, with nothing but its address (the Unix socket publishes):
  fanfare bench paced --ws 5000 --sse 1000 --poll 500 --rate 10 --seconds 30
  fanfare bench saturate --ws 15000 --window 16 --server-pid $(pidof fanfare) --json

Against any other server: every client that connects is in the channel, a publish reaches all.
  fanfare bench burst --ws 5000 --url ws://127.0.0.1:9001/ --publish-url http://127.0.0.1:9001/pub
  fanfare bench paced --sse 1000 --url http://127.0.0.1:8080/sub/{channel} \\
                      --publish-url http://127.0.0.1:8080/pub/{channel}
A server that is told to subscribe: --subscribe-frame '{\"join\":\"{channel}\"}'

On io_uring a thread holds as many clients as `ulimit -n` says, so 100,000 need six threads and no
root; clients come from addresses in 127.64.0.0/9, 12,000 from each. Where io_uring is blocked, all
clients together are bounded by `ulimit -n`.

Only this machine is loaded, unless you say --i-own-this-server.

Exit codes:
  64 wrong flags   65 the run was not sound   69 no server, or not all clients were connected";

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What to measure
    #[arg(value_enum)]
    mode: Mode,
    /// WebSocket clients [default: 1000, unless --sse or --poll]
    #[arg(long, value_name = "N")]
    ws: Option<u32>,
    /// SSE clients
    #[arg(long, value_name = "N", default_value_t = 0)]
    sse: u32,
    /// Long-poll clients (Fanfare only)
    #[arg(long, value_name = "N", default_value_t = 0)]
    poll: u32,
    /// The server. Without a path it is Fanfare; {channel} in a path is replaced
    #[arg(
        long,
        env = "FANFARE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7070"
    )]
    url: String,
    /// Publish by POST to this URL; {channel} is replaced, and Fanfare's path needs not be said
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    publish_url: Option<String>,
    /// Publish over Fanfare's Unix socket
    /// [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH", env = "FANFARE_SOCKET", hide_env_values = true,
        value_parser = units::socket_or_none)]
    socket: Option<OptionalAddress<PathBuf>>,
    /// Text that each WebSocket client sends first; {channel} is replaced
    #[arg(long, value_name = "TEXT")]
    subscribe_frame: Option<String>,
    /// Channel
    #[arg(long, value_name = "NAME", default_value = "bench")]
    channel: String,
    /// Bytes of a message, at least 36
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    size: usize,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    seconds: f64,
    /// Messages per second, where they are paced
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    rate: f64,
    /// Messages on the way at once: saturate, fairness, unicast
    #[arg(long, value_name = "N", default_value_t = 16)]
    window: u32,
    /// Messages of a burst
    #[arg(long, value_name = "N", default_value_t = 100)]
    messages: u32,
    /// Bursts
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Share of the clients that stops reading (slow) or comes and goes (churn)
    #[arg(long, value_name = "0..1", default_value_t = 0.25)]
    share: f64,
    /// Clients replaced per second: churn
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    churn_rate: f64,
    /// Channels that get one message each: channels
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    fill: u32,
    /// Shared channels that each client follows: channels
    #[arg(long, value_name = "N", default_value_t = 50)]
    follow: u32,
    /// Connections per second [default: as many as go]
    #[arg(long, value_name = "N")]
    connect_rate: Option<f64>,
    /// Receive buffer of clients that stop reading
    #[arg(long, value_name = "BYTES", default_value_t = 8_192)]
    slow_receive_buffer: u32,
    /// The server's process: its CPU and memory are in the result
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Addresses of the server to use, from --url's on (for one that listens at 0.0.0.0)
    #[arg(long, value_name = "N", default_value_t = 1)]
    destinations: u32,
    /// Threads of clients [default: as many as clients and limits need]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// auto, uring or epoll
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = units::driver)]
    driver: DriverChoice,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    /// Draw the latency distribution
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Load a server that is not on this machine
    #[arg(long)]
    i_own_this_server: bool,
}

/// Runs, and prints what it came to.
pub(super) fn run(arguments: &Bench) -> Result<ExitCode, Failure> {
    let usage = |what: String| Failure::new(exit::USAGE, what);
    let plan = plan(arguments).map_err(usage)?;
    plan.check().map_err(usage)?;
    let title = format!("{} at {}", plan.mode.name(), plan.url.text);
    let show = std::io::stderr().is_terminal();
    let report = bench::run(plan, show).map_err(|what| Failure::new(exit::UNAVAILABLE, what))?;
    let text = match arguments.json {
        true => format!("{}\n", report.json),
        false => table::render(&report.json),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| exit::output(&error))?;
    if let Some(path) = &arguments.plot {
        let svg = plot::svg(&title, &report.curves);
        std::fs::write(path, svg).map_err(|error| {
            Failure::new(exit::IO, format!("{} cannot be written: {error}", path.display()))
        })?;
    }
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::from(exit::DATA) })
}

fn plan(arguments: &Bench) -> Result<Plan, String> {
    let owned = arguments.i_own_this_server;
    let url = Url::parse(&arguments.url, owned)?;
    let way = match (&arguments.publish_url, &arguments.socket) {
        (Some(text), _) => Some((Way::Http(Url::parse(text, owned)?), true)),
        (None, Some(OptionalAddress::At(path))) => Some((Way::Socket(path.clone()), true)),
        (None, Some(OptionalAddress::Off)) => None,
        (None, None) if url.path.is_some() => None,
        (None, None) => Some((Way::Socket(default_socket()), false)),
    };
    let others = arguments.sse + arguments.poll;
    Ok(Plan {
        mode: arguments.mode,
        url,
        destinations: arguments.destinations,
        ws: arguments.ws.unwrap_or(if others > 0 { 0 } else { 1_000 }),
        sse: arguments.sse,
        poll: arguments.poll,
        way,
        channel: arguments.channel.clone(),
        follows: match arguments.mode {
            Mode::Unicast => Follows::Own,
            Mode::Channels => Follows::Shared(arguments.follow),
            _ => Follows::Shared(1),
        },
        fill: arguments.fill,
        subscribe_frame: arguments.subscribe_frame.clone(),
        size: arguments.size,
        rate: arguments.rate,
        seconds: arguments.seconds,
        window: arguments.window,
        messages: arguments.messages,
        rounds: arguments.rounds,
        share: arguments.share,
        churn_rate: arguments.churn_rate,
        connect_rate: arguments.connect_rate,
        threads: arguments.threads,
        driver: match arguments.driver {
            DriverChoice::Auto => Driver::Auto,
            DriverChoice::Uring => Driver::Uring,
            DriverChoice::Epoll => Driver::Epoll,
        },
        server_pid: arguments.server_pid,
        slow_receive_bytes: arguments.slow_receive_buffer,
    })
}
