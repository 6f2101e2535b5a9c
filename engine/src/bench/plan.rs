//! What a run is to do: everything that flags say, checked.

use std::path::PathBuf;

use super::probe::PROBE_BYTES;
use super::target::{Spread, Url};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Connects and upgrades: rate and failures.
    Connect,
    /// Connects and waits: memory for each client.
    Idle,
    /// Messages at a fixed rate: latency, coordinated omission counted.
    Paced,
    /// A window of messages always under way: throughput and CPU for each delivery.
    Saturate,
    /// Many messages at once: time until the last client has all.
    Burst,
    /// A channel of one client while another channel saturates: its latency.
    Fairness,
    /// Some clients stop reading: memory, the others' latency, what the slow are told.
    Slow,
    /// All clients are reset at once: time until all are back and have what they missed.
    Storm,
    /// Clients come and go while messages flow.
    Churn,
    /// Each client has a channel of its own, and messages go to one after the other: deliveries,
    /// CPU and latency of each.
    Unicast,
    /// Memory of channels that keep a message, of clients and of what they follow.
    Channels,
}

impl Mode {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Paced => "paced",
            Self::Saturate => "saturate",
            Self::Burst => "burst",
            Self::Fairness => "fairness",
            Self::Slow => "slow",
            Self::Storm => "storm",
            Self::Churn => "churn",
            Self::Unicast => "unicast",
            Self::Channels => "channels",
        }
    }

    /// Whether a client on a channel of its own is measured beside the others.
    pub fn has_lone(self) -> bool {
        matches!(self, Self::Fairness | Self::Storm)
    }

    /// Whether its messages go out at a rate.
    pub fn is_paced(self) -> bool {
        use Mode::{Burst, Channels, Connect, Idle, Saturate, Unicast};
        !matches!(self, Connect | Idle | Saturate | Burst | Unicast | Channels)
    }

    /// Whether the mode means something without publishing.
    pub fn may_be_silent(self) -> bool {
        matches!(self, Self::Connect | Self::Idle)
    }
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RFC 6455.
    WebSocket = 0,
    /// `text/event-stream`.
    EventStream = 1,
    /// Fanfare's long-poll.
    LongPoll = 2,
}

/// Clients that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Those that get every message.
    Main = 0,
    /// The one on a channel of its own.
    Lone = 1,
    /// Those that stop reading, or come and go.
    Odd = 2,
}

impl Group {
    /// All groups, by number.
    pub const ALL: [Self; 3] = [Self::Main, Self::Lone, Self::Odd];

    /// Which of the run's channels it follows.
    pub fn stream(self) -> u8 {
        u8::from(self == Self::Lone)
    }
}

/// What a client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The run's channel, and so many more that all follow.
    Shared(u32),
    /// A channel of its own.
    Own,
}

/// How messages are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// POST of the message as body; `{channel}` in the URL is replaced.
    Http(Url),
    /// Fanfare's Unix socket.
    Socket(PathBuf),
}

/// Which driver the clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where it works.
    Auto,
    /// io_uring.
    Uring,
    /// epoll: every client is a descriptor.
    Epoll,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is measured.
    pub mode: Mode,
    /// The server.
    pub url: Url,
    /// Addresses of it that are used.
    pub destinations: u32,
    /// WebSocket clients.
    pub ws: u32,
    /// SSE clients.
    pub sse: u32,
    /// Long-poll clients.
    pub poll: u32,
    /// The way to publish, and whether somebody named it.
    pub way: Option<(Way, bool)>,
    /// The channel's name. A lone client's has `-lone` behind it.
    pub channel: String,
    /// What each client follows. A channel of its own has the client's number behind the name.
    pub follows: Follows,
    /// Channels that get a message each before anybody connects.
    pub fill: u32,
    /// A text frame that is sent after the upgrade; `{channel}` is replaced.
    pub subscribe_frame: Option<String>,
    /// Bytes of a message.
    pub size: usize,
    /// Messages per second, where they are paced.
    pub rate: f64,
    /// Seconds of measuring.
    pub seconds: f64,
    /// Messages under way at once, where they are not paced.
    pub window: u32,
    /// Messages of a burst.
    pub messages: u32,
    /// Bursts.
    pub rounds: u32,
    /// Share of clients in [`Group::Odd`].
    pub share: f64,
    /// Clients that are replaced per second.
    pub churn_rate: f64,
    /// Connections per second; `None` for as many as go.
    pub connect_rate: Option<f64>,
    /// Threads; `None` for as many as are needed.
    pub threads: Option<usize>,
    /// Which driver.
    pub driver: Driver,
    /// The server's process.
    pub server_pid: Option<u32>,
    /// Receive buffer of clients that stop reading, in bytes.
    pub slow_receive_bytes: u32,
}

impl Plan {
    /// What is wrong with it, as a sentence.
    ///
    /// # Errors
    /// The first thing that is.
    pub fn check(&self) -> Result<(), String> {
        let positive = |what: &str, number: f64| match number.is_finite() && number > 0.0 {
            true => Ok(()),
            false => Err(format!("{what} is {number}: it must be a number above 0")),
        };
        positive("--seconds", self.seconds)?;
        positive("--rate", self.rate)?;
        positive("--churn-rate", self.churn_rate)?;
        positive("--connect-rate", self.connect_rate.unwrap_or(1.0))?;
        if !(0.0..1.0).contains(&self.share) || self.share.is_nan() {
            return Err(format!("--share is {}: it must lie from 0 to below 1", self.share));
        }
        if self.clients() == 0 {
            return Err("nobody is to connect: say --ws, --sse or --poll with a number".into());
        }
        if self.size < PROBE_BYTES {
            return Err(format!(
                "--size is {}: a message holds a probe of {PROBE_BYTES} bytes",
                self.size
            ));
        }
        for (what, number) in [
            ("--window", self.window),
            ("--messages", self.messages),
            ("--rounds", self.rounds),
            ("--destinations", self.destinations),
            ("--fill", self.fill.max(u32::from(self.mode != Mode::Channels))),
            ("--follow", self.shared().max(u32::from(self.mode != Mode::Channels))),
        ] {
            if number == 0 {
                return Err(format!("{what} is 0: it must be at least 1"));
            }
        }
        if self.mode == Mode::Channels && self.server_pid.is_none() {
            return Err("channels measures the server's memory: say --server-pid".into());
        }
        self.check_server()
    }

    fn check_server(&self) -> Result<(), String> {
        let kinds = [self.ws, self.sse, self.poll].iter().filter(|count| **count > 0).count();
        let Some(path) = &self.url.path else {
            return match self.subscribe_frame {
                None => Ok(()),
                Some(_) => Err("Fanfare takes no subscribe frame: give --url the path of the \
                                server that does"
                    .into()),
            };
        };
        if self.mode == Mode::Channels {
            return Err(
                "channels asks for many channels at once, which Fanfare alone reads: give \
                        --url without a path"
                    .into(),
            );
        }
        if kinds > 1 {
            return Err(format!(
                "the path {path} can serve one transport: give one of --ws, --sse and --poll, or \
                 leave the path away for Fanfare's own"
            ));
        }
        let published = matches!(&self.way, Some((Way::Http(url), _)) if url.path.is_some());
        let named = format!("{path}{}", self.subscribe_frame.as_deref().unwrap_or_default());
        let many = self.mode.has_lone() || self.follows == Follows::Own;
        if many && !named.contains("{channel}") {
            return Err(format!(
                "{} needs more than one channel: write {{channel}} in --url or --subscribe-frame, \
                 and in --publish-url",
                self.mode.name()
            ));
        }
        if !published
            && !self.mode.may_be_silent()
            && !matches!(self.way, Some((Way::Socket(_), true)))
        {
            return Err("say how this server is published to: --publish-url, or --socket".into());
        }
        Ok(())
    }

    /// Clients, without the lone one.
    pub fn clients(&self) -> u32 {
        self.ws + self.sse + self.poll
    }

    /// Clients, the lone one included, who is the last.
    pub fn everyone(&self) -> u32 {
        self.clients() + u32::from(self.mode.has_lone())
    }

    /// How the `nth` client is connected.
    pub fn transport(&self, nth: u32) -> Transport {
        let nth = nth % self.clients();
        if nth < self.ws {
            Transport::WebSocket
        } else if nth < self.ws + self.sse {
            Transport::EventStream
        } else {
            Transport::LongPoll
        }
    }

    /// With whom the `nth` client is counted. The odd ones are spread evenly.
    pub fn group(&self, nth: u32) -> Group {
        if nth >= self.clients() {
            return Group::Lone;
        }
        let share = if matches!(self.mode, Mode::Slow | Mode::Churn) { self.share } else { 0.0 };
        let until = |nth: u32| (f64::from(nth) * share).floor();
        if until(nth + 1) > until(nth) { Group::Odd } else { Group::Main }
    }

    /// Clients of a group.
    pub fn count(&self, group: Group) -> u32 {
        (0..self.everyone()).filter(|nth| self.group(*nth) == group).count() as u32
    }

    /// The name of the channel in which the client with this number gets a stream.
    pub fn channel_of(&self, stream: u8, client: u32) -> String {
        match (stream, self.follows) {
            (0, Follows::Shared(_)) => self.channel.clone(),
            (0, Follows::Own) => format!("{}-{client}", self.channel),
            _ => format!("{}-lone", self.channel),
        }
    }

    /// Channels beside the first that all clients follow.
    pub fn others(&self) -> impl Iterator<Item = String> {
        (1..self.shared()).map(|nth| format!("{}-shared-{nth}", self.channel))
    }

    fn shared(&self) -> u32 {
        match self.follows {
            Follows::Shared(channels) => channels,
            Follows::Own => 1,
        }
    }

    /// Publications for one message to everyone.
    pub fn publications(&self) -> u32 {
        if self.follows == Follows::Own { self.clients() } else { 1 }
    }

    /// Whether the server is Fanfare, whose ids can be resumed from.
    pub fn is_fanfare(&self) -> bool {
        self.url.path.is_none()
    }

    /// From where to where the clients of a run go.
    pub fn spread(&self, run: u32) -> Spread {
        Spread { first: self.url.address, destinations: self.destinations, run }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run against Fanfare that is well formed.
    pub(in crate::bench) fn plan(mode: Mode) -> Plan {
        Plan {
            mode,
            url: Url::parse("http://127.0.0.1:7070", false).unwrap(),
            destinations: 1,
            ws: 10,
            sse: 6,
            poll: 4,
            way: None,
            channel: "bench".into(),
            follows: Follows::Shared(1),
            fill: 0,
            subscribe_frame: None,
            size: 128,
            rate: 10.0,
            seconds: 1.0,
            window: 16,
            messages: 100,
            rounds: 1,
            share: 0.25,
            churn_rate: 10.0,
            connect_rate: None,
            threads: None,
            driver: Driver::Auto,
            server_pid: None,
            slow_receive_bytes: 8_192,
        }
    }

    #[test]
    fn clients_are_dealt_out() {
        let slow = plan(Mode::Slow);
        assert_eq!((slow.count(Group::Main), slow.count(Group::Odd)), (15, 5));
        assert_eq!(slow.transport(0), Transport::WebSocket);
        assert_eq!(slow.transport(10), Transport::EventStream);
        assert_eq!(slow.transport(19), Transport::LongPoll);
        let fairness = plan(Mode::Fairness);
        assert_eq!(fairness.count(Group::Main), 20);
        assert_eq!((fairness.everyone(), fairness.group(20)), (21, Group::Lone));
        assert_eq!(fairness.transport(20), Transport::WebSocket);
    }

    #[test]
    fn channels_have_the_names_of_who_follows_them() {
        let shared = Plan { follows: Follows::Shared(3), ..plan(Mode::Fairness) };
        assert_eq!(shared.channel_of(0, 7), "bench");
        assert_eq!(shared.channel_of(1, 7), "bench-lone");
        assert_eq!(shared.others().collect::<Vec<_>>(), ["bench-shared-1", "bench-shared-2"]);
        assert_eq!(shared.publications(), 1);
        let own = Plan { follows: Follows::Own, ..plan(Mode::Unicast) };
        assert_eq!((own.channel_of(0, 7).as_str(), own.publications()), ("bench-7", 20));
        assert_eq!(own.others().count(), 0);
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        let why = |change: fn(&mut Plan)| {
            let mut plan = plan(Mode::Fairness);
            change(&mut plan);
            plan.check().expect_err("it cannot be run")
        };
        assert_eq!(plan(Mode::Fairness).check(), Ok(()));
        assert!(why(|plan| plan.seconds = 0.0).contains("--seconds"));
        assert!(why(|plan| plan.rate = f64::NAN).contains("--rate"));
        assert!(why(|plan| plan.share = 1.0).contains("--share"));
        assert!(why(|plan| plan.size = 35).contains("--size"));
        assert!(why(|plan| plan.window = 0).contains("--window"));
        assert!(why(|plan| (plan.ws, plan.sse, plan.poll) = (0, 0, 0)).contains("nobody"));
        let channels = |plan: &mut Plan| {
            (plan.mode, plan.fill, plan.follows) = (Mode::Channels, 1, Follows::Shared(2));
        };
        assert!(why(channels).contains("--server-pid"));
        assert!(
            why(|plan| {
                plan.mode = Mode::Channels;
                (plan.server_pid, plan.follows) = (Some(1), Follows::Shared(2));
            })
            .contains("--fill")
        );
        let frame = |plan: &mut Plan| plan.subscribe_frame = Some("x".into());
        assert!(why(frame).contains("subscribe frame"));
        assert!(why(|plan| plan.url.path = Some("/x".into())).contains("one transport"));
        assert!(
            why(|plan| {
                plan.url.path = Some("/x".into());
                (plan.sse, plan.poll) = (0, 0);
            })
            .contains("{channel}")
        );
        assert!(
            why(|plan| {
                plan.url.path = Some("/{channel}".into());
                (plan.sse, plan.poll) = (0, 0);
            })
            .contains("--publish-url")
        );
    }
}
