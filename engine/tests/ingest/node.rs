//! A node's Unix socket and a publisher that says whatever it is told.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::channel::Tenant;
use fanfare::clock::Clock;
use fanfare::error::StartError;
use fanfare::ingest::{Handle, IngestConfig, spawn};
use fanfare::limits::Limits;
use fanfare::metrics::Metrics;
use fanfare::vigil::Vigil;
use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::session::Standing;
use fanfare_protocol::ingest::{PublishFrame, write};

use crate::publisher::Publisher;
use crate::stand_in::{StandIn, epoch};

/// Longest wait for anything: a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A time of the node that no test lives to see.
const NEVER_MS: u64 = 3_600_000;

pub(crate) struct Node {
    pub(crate) path: PathBuf,
    pub(crate) sequencer: StandIn,
    pub(crate) metrics: Arc<Metrics>,
    handle: Option<Handle>,
    _directory: tempfile::TempDir,
}

pub(crate) fn limits() -> Limits {
    Limits {
        message_bytes: 1_000,
        batch_messages: 10,
        // What a slow machine must not end; some tests change one of them.
        head_ms: NEVER_MS,
        publisher_stall_ms: NEVER_MS,
        shutdown_ms: NEVER_MS,
        ..Limits::default()
    }
}

/// For our own user and root.
pub(crate) fn settings(path: PathBuf) -> IngestConfig {
    let (users, tenant) = (Vec::new(), Tenant::default());
    IngestConfig {
        path,
        mode: 0o600,
        users,
        peers: Vec::new(),
        limits: limits(),
        epoch: epoch(),
        life: epoch(),
        tenant,
    }
}

/// A node's ingest on `settings`, without its sequencer's fate.
pub(crate) fn start(
    settings: IngestConfig,
    sequencer: &StandIn,
    metrics: &Arc<Metrics>,
) -> Result<Handle, StartError> {
    let guard = Vigil::new(Arc::default()).guard("ingest", || {});
    spawn(settings, sequencer.inbox.clone(), Arc::clone(metrics), Clock::start(), guard)
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut IngestConfig)) -> Self {
        Self::with_inbox(4, change)
    }

    pub(crate) fn with_inbox(commands: usize, change: impl FnOnce(&mut IngestConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fanfare.sock");
        let mut settings = settings(path.clone());
        change(&mut settings);
        let sequencer = StandIn::start(commands);
        let metrics = Arc::new(Metrics::new(1));
        let handle = start(settings, &sequencer, &metrics).unwrap();
        Self { path, sequencer, metrics, handle: Some(handle), _directory: directory }
    }

    /// A connection on which nothing was said.
    pub(crate) fn connect(&self) -> Client {
        Client(Publisher::silent(&self.path))
    }

    /// A publisher that was greeted.
    pub(crate) fn publisher(&self) -> Client {
        let mut client = self.connect();
        let mut preface = Vec::new();
        write::preface(&mut preface);
        client.send(&preface);
        assert_eq!(client.reply(), "hello");
        client
    }

    /// A publisher that was greeted, though it has little time to say what it is: a machine that
    /// stands still may take that time away.
    pub(crate) fn publisher_in_time(&self) -> Client {
        let mut preface = Vec::new();
        write::preface(&mut preface);
        let greeted = std::iter::repeat_with(|| {
            let mut client = self.connect();
            // It may be told already that it was late.
            let _ = client.stream.write_all(&preface);
            (client.reply() == "hello").then_some(client)
        });
        greeted.take(1_000).flatten().next().expect("one of them is in time")
    }

    /// Makes the thread wait for room in the inbox until the sequencer hears again; what happens
    /// meanwhile it finds all at once. One of the places for publishers is taken by what is
    /// returned. The inbox must be the small one.
    pub(crate) fn stand_still(&self) -> Client {
        let mut blocker = self.publisher();
        self.sequencer.deafen();
        let mut frame = Vec::new();
        write::publish(&PublishFrame::new("blocker", b"x"), &mut frame);
        // Six commands of ten.
        blocker.send(&frame.repeat(60));
        // Read at once and by the last of a turn: the thread does nothing before it has the room.
        until("all is read", || self.metrics.in_flight.held() >= 60 * 100);
        blocker
    }

    pub(crate) fn stop(&mut self) {
        self.handle.take().unwrap().stop();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.sequencer.deaf.store(false, std::sync::atomic::Ordering::SeqCst);
        if let Some(handle) = self.handle.take() {
            handle.stop();
        }
    }
}

/// A publisher whose replies are words.
pub(crate) struct Client(Publisher);

impl Deref for Client {
    type Target = Publisher;

    fn deref(&self) -> &Publisher {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Publisher {
        &mut self.0
    }
}

impl Client {
    /// The next reply in words; "end" where the connection ends.
    pub(crate) fn reply(&mut self) -> String {
        self.0.hear(words).unwrap_or_else(|| "end".into())
    }

    pub(crate) fn replies(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// All replies up to the acknowledgement of `sequence`, without other acknowledgements.
    pub(crate) fn outcomes(&mut self, sequence: u64) -> Vec<String> {
        let last = format!("ack {sequence}");
        let replies = std::iter::from_fn(|| Some(self.reply()).filter(|reply| *reply != last));
        replies.filter(|reply| !reply.starts_with("ack ")).collect()
    }
}

/// A message that wants an answer.
pub(crate) fn asks<'a>(channel: &'a str, data: &'a [u8]) -> PublishFrame<'a> {
    PublishFrame { answer: true, ..PublishFrame::new(channel, data) }
}

fn greeting(standing: Standing) -> String {
    match (standing.known, standing.taken) {
        (true, taken) => format!("hello, {taken} taken"),
        (false, 0) => "hello, not known".into(),
        (false, taken) => panic!("{taken} messages of a session that is not known"),
    }
}

fn words(reply: Reply<'_>) -> String {
    match reply {
        Reply::Hello(hello) => {
            assert_eq!(hello.epoch, epoch());
            assert_eq!((hello.limits.message_bytes, hello.limits.batch_messages), (1_000, 10));
            let version = if hello.session.is_some() { 2 } else { 1 };
            assert_eq!(hello.version, version);
            match hello.session {
                None => "hello".into(),
                Some(standing) => {
                    assert_eq!(standing.limits.unconfirmed, 80);
                    greeting(standing)
                }
            }
        }
        Reply::Answer(a) => {
            assert_eq!((a.subscribers, a.duplicate), (3, false));
            format!("answer {} {}/{}", a.sequence, a.position, a.offset)
        }
        Reply::Refused { sequence, code, text } => {
            assert!(text.len() > 20, "{text}");
            format!("refused {sequence} {}", code.0)
        }
        Reply::Ack(sequence) => format!("ack {sequence}"),
        Reply::Error { code, offset, versions, text } => {
            assert_eq!(versions, (1, 2));
            assert!(text.len() > 20, "{text}");
            // They wait in the socket, where nobody knows of them.
            assert!(code.0 != 429 || text.contains("may not have been told"), "{text}");
            format!("error {} at {offset}", code.0)
        }
        Reply::Goodbye { last, code } => format!("goodbye {last} {}", code.0),
    }
}

/// Waits for what another thread will do, but not for ever.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}
