//! A node inside of this process: messages go straight into the sequencer's inbox.
//!
//! The sequencer tells outcomes on its own thread and must not wait, so callbacks of the program
//! run on another one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, unbounded};
use fanfare::channel::{ChannelName, Tenant};
use fanfare::config;
use fanfare::ingest;
use fanfare::node::{self, Server};
use fanfare::sequencer::command::{
    BatchAnswer, BatchSummary, Command, Publication, PublishAnswer, Published, Refusal,
};
use fanfare::sequencer::inbox::{Inbox, NotTaken};
use fanfare::vigil::Vigil;
use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::limits::IngestLimits;

use crate::code::{
    Code, FANFARE_E_AGAIN, FANFARE_E_CONFIG, FANFARE_E_PANIC, FANFARE_E_PIPE, FANFARE_E_TIMEOUT,
    FANFARE_E_TOO_LARGE, FANFARE_E_UNAVAILABLE, of_own_refusal, of_refusal,
};
use crate::outcome::{Done, Flushed, Outcome, OutcomeSender, Placed, is_recalling, recall};
use crate::terms::{Counters, Failure, PublisherSettings, SHAPE, Stats};

/// Between two offers of a flush to an inbox that is full.
const INBOX_NAP: Duration = Duration::from_micros(200);

type Call = Box<dyn FnOnce(Outcome) + Send>;

/// What the thread of callbacks is given.
enum Errand {
    Call(Call, Outcome),
    /// Everything before this was called.
    Flushed(Sender<()>),
}

/// A node of our own.
pub(crate) struct Embedded {
    /// `None` once it is closed: then nothing is taken.
    way: RwLock<Option<Way>>,
    stopping: Mutex<Option<(Server, JoinHandle<()>)>>,
    shared: Arc<Shared>,
    vigil: Arc<Vigil>,
    settings: PublisherSettings,
    limits: IngestLimits,
    tenant: Tenant,
    /// The channel that one message was published to last.
    recent: Mutex<Option<ChannelName>>,
    epoch: u64,
    ports: (u16, u16),
}

struct Way {
    inbox: Inbox,
    errands: Sender<Errand>,
}

impl Way {
    fn offer(&self, command: Command) -> Result<(), Code> {
        self.inbox.offer(command).map_err(|refused| {
            let (command, code) = match refused {
                NotTaken::Full(command) => (command, FANFARE_E_AGAIN),
                NotTaken::Ended(command) => (command, FANFARE_E_PIPE),
            };
            recall(command);
            code
        })
    }
}

/// Numbers that both a message's callers and the sequencer's thread change.
#[derive(Default)]
struct Shared {
    counters: Counters,
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// Room in the queue for messages at the sequencer; whatever becomes of them, it is given back.
struct Room {
    shared: Arc<Shared>,
    messages: usize,
    bytes: usize,
    /// Messages of which nobody has told an outcome.
    open: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
        if self.open > 0 && !is_recalling() {
            self.shared.counters.unknown.fetch_add(self.open, Relaxed);
        }
    }
}

impl Room {
    /// Before anybody is told: whoever was told finds nothing pending.
    fn give_back(&mut self) {
        self.shared.messages.fetch_sub(std::mem::take(&mut self.messages), Relaxed);
        self.shared.bytes.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }

    /// One message has its outcome.
    fn settle(&mut self, sender: OutcomeSender, result: Result<Published, Refusal>) {
        let outcome = outcome(result);
        self.open -= 1;
        self.shared.counters.count(&outcome);
        sender.send(outcome);
    }

    /// All messages have their outcomes, and nobody hears them: they are counted.
    fn settle_unheard(&mut self, all: &BatchSummary) {
        let Self { shared, open, .. } = self;
        *open = 0;
        shared.counters.published.fetch_add(all.placed as u64, Relaxed);
        shared.counters.duplicates.fetch_add(all.duplicates as u64, Relaxed);
        shared.counters.refused.fetch_add(all.refused.len() as u64, Relaxed);
    }
}

fn outcome(result: Result<Published, Refusal>) -> Outcome {
    result.map_err(of_own_refusal).map(|published| Placed {
        epoch: published.id.epoch.number(),
        position: published.id.position,
        offset: published.offset,
        subscribers: published.subscribers,
        duplicate: published.duplicate,
        also: published.also,
    })
}

impl Embedded {
    pub(crate) fn open(text: &str, settings: PublisherSettings) -> Result<Self, Failure> {
        let fail = |code, text: String| Failure { code, text };
        let config = config::load_text("the configuration", text)
            .map_err(|problems| fail(FANFARE_E_CONFIG, problems.to_string()))?;
        let node = config.settings;
        let shape = |limit| u32::try_from(limit).unwrap_or(u32::MAX);
        let limits = IngestLimits {
            message_bytes: shape(node.limits.message_bytes),
            channels: shape(node.limits.channels_per_message),
            ..SHAPE
        };
        let running = node::start(node).map_err(|error| {
            let is_config = error.exit_code() == 78;
            fail(
                if is_config { FANFARE_E_CONFIG } else { FANFARE_E_UNAVAILABLE },
                error.to_string(),
            )
        })?;
        Self::around(running, limits, settings)
    }

    fn around(
        running: Server,
        limits: IngestLimits,
        settings: PublisherSettings,
    ) -> Result<Self, Failure> {
        let (errands, heard) = unbounded();
        let thread =
            std::thread::Builder::new().name("fanfare-callbacks".into()).spawn(move || {
                for errand in heard {
                    match errand {
                        Errand::Call(call, outcome) => call(outcome),
                        Errand::Flushed(tell) => drop(tell.send(())),
                    }
                }
            });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                running.stop();
                let text = format!("a thread could not be started: {error}");
                return Err(Failure { code: FANFARE_E_UNAVAILABLE, text });
            }
        };
        let (addresses, epoch) = (running.addresses(), running.epoch().number());
        let tenant = running.tenant().clone();
        let ports = (addresses.listen.port(), addresses.api.map_or(0, |api| api.port()));
        Ok(Self {
            way: RwLock::new(Some(Way { inbox: running.inbox().clone(), errands })),
            vigil: Arc::clone(running.vigil()),
            stopping: Mutex::new(Some((running, thread))),
            shared: Arc::default(),
            settings,
            limits,
            tenant,
            recent: Mutex::default(),
            epoch,
            ports,
        })
    }

    /// A node that has lost a thread serves only a part of what it should: every call says so, and
    /// none waits for what never comes.
    fn sound(&self) -> Result<(), Code> {
        if self.vigil.lost().is_some() { Err(FANFARE_E_PANIC) } else { Ok(()) }
    }

    /// Offers one message, without the vectors that a batch needs.
    pub(crate) fn offer_one(&self, message: &PublishFrame<'_>, done: Done) -> Result<(), Code> {
        self.sound()?;
        let publication = self.publication(message)?;
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        let way = way.as_ref().ok_or(FANFARE_E_PIPE)?;
        let mut room = self.admit(1, cost(&publication))?;
        let sender = OutcomeSender::new(forward(done, &way.errands));
        let answer = Box::new(move |result| {
            room.give_back();
            room.settle(sender, result);
        });
        way.offer(Command::Publish(publication, PublishAnswer::Callback(answer)))
    }

    /// The message as the order takes it. Where another thread publishes at this very moment, the
    /// channel that was published to last is not looked at.
    fn publication(&self, message: &PublishFrame<'_>) -> Result<Publication, Code> {
        let mut recent = self.recent.try_lock().ok();
        let before = recent.as_deref().and_then(Option::as_ref);
        let publication = ingest::publication(before, message, &self.limits, &self.tenant)
            .map_err(|refusal| of_refusal(refusal.code))?;
        let is_same = before.is_some_and(|it| Arc::ptr_eq(&it.name, &publication.channel.name));
        if let Some(recent) = recent.as_deref_mut().filter(|_| !is_same) {
            *recent = Some(publication.channel.clone());
        }
        Ok(publication)
    }

    pub(crate) fn offer(&self, messages: &[PublishFrame<'_>], done: Vec<Done>) -> Result<(), Code> {
        self.sound()?;
        let mut publications: Vec<Publication> = Vec::with_capacity(messages.len());
        for message in messages {
            let before = publications.last().map(|before| &before.channel);
            let read = ingest::publication(before, message, &self.limits, &self.tenant);
            publications.push(read.map_err(|refusal| of_refusal(refusal.code))?);
        }
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        let way = way.as_ref().ok_or(FANFARE_E_PIPE)?;
        let mut room = self.admit(publications.len(), publications.iter().map(cost).sum())?;
        if !done.iter().any(Done::wants_place) {
            let answer = BatchAnswer::Summary(Box::new(move |all| room.settle_unheard(&all)));
            return way.offer(Command::PublishBatch(publications, answer));
        }
        let senders = done.into_iter().map(|done| OutcomeSender::new(forward(done, &way.errands)));
        let senders: Vec<OutcomeSender> = senders.collect();
        let answer = BatchAnswer::Each(Box::new(move |results: Vec<_>| {
            room.give_back();
            senders.into_iter().zip(results).for_each(|(sender, result)| {
                room.settle(sender, result);
            });
        }));
        way.offer(Command::PublishBatch(publications, answer))
    }

    /// Takes room in the queue for all of them.
    fn admit(&self, count: usize, bytes: usize) -> Result<Room, Code> {
        let shared = &self.shared;
        if count > self.settings.queue_messages || bytes > self.settings.queue_bytes {
            return Err(FANFARE_E_TOO_LARGE);
        }
        let messages = shared.messages.fetch_add(count, Relaxed) + count;
        let all_bytes = shared.bytes.fetch_add(bytes, Relaxed) + bytes;
        if messages > self.settings.queue_messages || all_bytes > self.settings.queue_bytes {
            shared.messages.fetch_sub(count, Relaxed);
            shared.bytes.fetch_sub(bytes, Relaxed);
            return Err(FANFARE_E_AGAIN);
        }
        Ok(Room { shared: Arc::clone(shared), messages: count, bytes, open: count as u64 })
    }

    /// The inbox is a queue: when a question that is asked now is answered, all before it was done.
    pub(crate) fn flush(&self, patience: Duration) -> Result<(), Code> {
        let (tell, heard) = bounded(1);
        let mut waited = Duration::ZERO;
        loop {
            self.sound()?;
            let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
            let Way { inbox, errands } = way.as_ref().ok_or(FANFARE_E_PIPE)?;
            let (errands, tell) = (errands.clone(), tell.clone());
            let answer = Box::new(move |_| drop(errands.send(Errand::Flushed(tell))));
            let nobody = ChannelName::new(self.tenant.clone(), "");
            match inbox.offer(Command::Stats(nobody, answer)) {
                Ok(()) => break,
                Err(NotTaken::Ended(_)) => return Err(FANFARE_E_PIPE),
                Err(NotTaken::Full(_)) if waited >= patience => return Err(FANFARE_E_TIMEOUT),
                Err(NotTaken::Full(_)) => {}
            }
            drop(way);
            std::thread::sleep(INBOX_NAP);
            waited += INBOX_NAP;
        }
        drop(tell);
        let heard = heard.recv_timeout(patience.saturating_sub(waited));
        self.sound()?;
        heard.map_err(|error| match error {
            RecvTimeoutError::Timeout => FANFARE_E_TIMEOUT,
            RecvTimeoutError::Disconnected => FANFARE_E_PIPE,
        })
    }

    /// As [`Embedded::flush`], for one who does not wait.
    pub(crate) fn flush_then(&self, done: Flushed) -> Result<(), Code> {
        self.sound()?;
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        let way = way.as_ref().ok_or(FANFARE_E_PIPE)?;
        // An `OutcomeSender` tells it also where the question is lost with its node.
        let call = Box::new(|outcome: Outcome| done(outcome.map(drop).map_err(|_| FANFARE_E_PIPE)));
        let sender = OutcomeSender::new(forward(Done::Call(call), &way.errands));
        let answer = Box::new(move |_| sender.send(Ok(Placed::default())));
        let nobody = ChannelName::new(self.tenant.clone(), "");
        way.offer(Command::Stats(nobody, answer))
    }

    pub(crate) fn stats(&self) -> Stats {
        let Shared { counters, messages, .. } = &*self.shared;
        let is_open = self.way.read().unwrap_or_else(PoisonError::into_inner).is_some();
        Stats {
            pending: messages.load(Relaxed) as u64,
            published: counters.published.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unknown: counters.unknown.load(Relaxed),
            duplicates: counters.duplicates.load(Relaxed),
            resent: 0,
            connects: 1,
            epoch: self.epoch,
            connected: is_open && self.sound().is_ok(),
            last_error: self.sound().err().unwrap_or(0),
            listen_port: self.ports.0,
            api_port: self.ports.1,
        }
    }

    pub(crate) fn close(&self) {
        let way = self.way.write().unwrap_or_else(PoisonError::into_inner).take();
        let running = self.stopping.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((running, thread)) = running else { return };
        running.stop();
        // The last sender: the thread ends when it has called everything.
        drop(way);
        let _ = thread.join();
    }
}

/// Callbacks do not run where outcomes are told.
fn forward(done: Done, errands: &Sender<Errand>) -> Done {
    match done {
        Done::Call(call) => {
            let errands = errands.clone();
            Done::Call(Box::new(move |outcome| {
                let _ = errands.send(Errand::Call(call, outcome));
            }))
        }
        other => other,
    }
}

/// As [`fanfare::message::cost_in`] counts it.
fn cost(publication: &Publication) -> usize {
    let Publication { also, data, event, .. } = publication;
    fanfare::message::cost_in(1 + also.len(), data.len(), event.as_deref())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    use fanfare_protocol::dialect::machine::{Answer, Machine, Piece, Turn};

    use super::*;
    use crate::outcome::Ticket;

    /// Longest wait for anything: a failure, not a measure.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Panics;

    impl Machine for Panics {
        fn piece(&mut self, _: Piece<'_>, _: &mut dyn Turn) {
            panic!("injected by a test");
        }

        fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
    }

    fn embedded() -> Embedded {
        let settings = node::Settings { shards: Some(1), ..node::Settings::on_loopback() };
        let running = node::start_with(settings, || Box::new(Panics)).expect("a node starts");
        let limits = IngestLimits { message_bytes: 1_000, ..SHAPE };
        let shape = PublisherSettings {
            queue_messages: 100,
            queue_bytes: 1 << 20,
            ..PublisherSettings::default()
        };
        Embedded::around(running, limits, shape)
            .unwrap_or_else(|failure| panic!("{}", failure.text))
    }

    #[test]
    fn what_clients_could_not_take_is_refused_here_too() {
        use fanfare_protocol::ingest::DeclaredKind;
        let embedded = embedded(); // of messages of 1,000 bytes
        let json = |data| PublishFrame {
            kind: DeclaredKind::Known(fanfare_protocol::message::Kind::Json),
            ..PublishFrame::new("demo", data)
        };
        let deep = [[b'['; 65], [b']'; 65]].concat();
        let breaks = PublishFrame::new("demo", &[b'\n'; 1_000]);
        let offer = |message: &PublishFrame<'_>| {
            let one = embedded.offer_one(message, Done::Nobody);
            assert_eq!(embedded.offer(std::slice::from_ref(message), vec![Done::Nobody]), one);
            one
        };
        assert_eq!(offer(&json(&deep)), Err(crate::code::FANFARE_E_BAD_DATA));
        assert_eq!(offer(&json(b"1E400")), Err(crate::code::FANFARE_E_BAD_DATA));
        assert_eq!(offer(&json(&deep[1..129])), Ok(()));
        assert_eq!(offer(&PublishFrame::new("demo", &deep)), Ok(()), "detected as text");
        assert_eq!(offer(&breaks), Err(FANFARE_E_TOO_LARGE));
        embedded.close();
    }

    #[test]
    fn one_message_is_in_as_many_channels_as_the_configuration_says() {
        use fanfare_protocol::ingest::ChannelNames;
        let text = "listen = \"127.0.0.1:0\"\napi = \"none\"\nsocket = \"none\"\n\
                    shards = 1\n[limits]\nchannels_per_message = 2\n";
        let embedded = Embedded::open(text, PublisherSettings::default())
            .unwrap_or_else(|failure| panic!("{}", failure.text));
        let offer = |also: &[&[u8]]| {
            let also = ChannelNames::of(also);
            let message = PublishFrame { also, ..PublishFrame::new("demo", b"x") };
            embedded.offer_one(&message, Done::Nobody)
        };
        assert_eq!(offer(&[b"a"]), Ok(()));
        assert_eq!(offer(&[b"a", b"b"]), Err(crate::code::FANFARE_E_BAD_CHANNELS));
        embedded.close();
    }

    /// Every call says it, and none hangs.
    fn assert_says_so(embedded: &Embedded) {
        let began = Instant::now();
        while embedded.vigil.lost().is_none() {
            assert!(began.elapsed() < PATIENCE, "nothing is lost");
            std::thread::yield_now();
        }
        let message = PublishFrame::new("demo", b"y");
        assert_eq!(embedded.offer_one(&message, Done::Nobody), Err(FANFARE_E_PANIC));
        assert_eq!(embedded.offer(&[message], vec![Done::Nobody]), Err(FANFARE_E_PANIC));
        let began = Instant::now();
        assert_eq!(embedded.flush(2 * PATIENCE), Err(FANFARE_E_PANIC));
        assert!(began.elapsed() < PATIENCE, "it waits for nobody");
        let stats = embedded.stats();
        assert_eq!((stats.connected, stats.last_error), (false, FANFARE_E_PANIC));
        embedded.close();
        assert_eq!(
            embedded.offer_one(&PublishFrame::new("demo", b"z"), Done::Nobody),
            Err(FANFARE_E_PANIC)
        );
    }

    #[test]
    fn a_lost_shard_is_said_by_every_call() {
        let embedded = embedded();
        let mut client = TcpStream::connect(("127.0.0.1", embedded.ports.0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let upgrade = "GET /ws?channels=demo HTTP/1.1\r\nHost: localhost\r\n\
                       Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(upgrade.as_bytes()).unwrap();
        // A read with a timeout is not begun again by the kernel when a signal comes.
        client.read_exact(&mut [0; 1]).unwrap();
        client.write_all(&[0x81, 0x80, 0, 0, 0, 0]).unwrap();
        assert_says_so(&embedded);
    }

    #[test]
    fn a_lost_sequencer_is_said_by_every_call_and_leaves_no_outcome_open() {
        let embedded = embedded();
        // Its answer waits on the sequencer's thread until a message is surely behind it.
        let (go, wait) = bounded::<()>(1);
        let answer = Box::new(move |_| {
            let _ = wait.recv();
            panic!("injected by a test");
        });
        let nobody = ChannelName::new(Tenant::default(), "");
        let way = embedded.way.read().unwrap().as_ref().unwrap().inbox.clone();
        assert!(way.offer(Command::Stats(nobody, answer)).is_ok());
        let ticket = Ticket::new(1);
        let done = Done::Wait(Arc::clone(&ticket), 0);
        assert_eq!(embedded.offer_one(&PublishFrame::new("demo", b"x"), done), Ok(()));
        go.send(()).unwrap();
        assert_eq!(ticket.wait(PATIENCE), [Some(Err(FANFARE_E_PIPE))]);
        assert_says_so(&embedded);
    }
}
