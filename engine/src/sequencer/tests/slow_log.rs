//! A log that takes its time: what it has not is not answered, who follows does not wait for it,
//! and whoever publishes too much for it does.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use fanfare_protocol::id::Epoch;

use super::super::command::*;
use super::super::inbox::{Inbox, NotTaken, inbox};
use super::super::{Sequencer, SequencerConfig, Step, Ticket};
use super::node::{EPOCH, Recorded, SECRET, name, publication, requester, rule, rules};
use crate::bodies::BodyShare;
use crate::clock::{Clock, Millis};
use crate::limits::Limits;
use crate::log::{Item, Log, Memory, ThreadWaker};
use crate::metrics::Metrics;
use crate::sim::slow_log::{Hand, LogTemper, SlowLog};

type Answers = mpsc::Receiver<Vec<Result<Published, Refusal>>>;

struct Rig {
    sequencer: Sequencer<Recorded, SlowLog<Memory<Ticket>, Ticket>>,
    backends: Inbox,
    clients: Inbox,
    hand: Hand,
    metrics: Arc<Metrics>,
    now: Millis,
    entries: Vec<Entry>,
}

/// A log that is held from the beginning and has room for three messages.
fn rig() -> Rig {
    rig_with(Limits { inbox_commands: 4, ..Limits::default() })
}

fn rig_with(limits: Limits) -> Rig {
    let (backends, commands) = inbox(limits.inbox_commands);
    let (hand, metrics) = (Hand::default(), Arc::new(Metrics::new(1)));
    hand.hold();
    let temper = LogTemper { room: 3, ..LogTemper::PROMPT };
    let log = SlowLog::new(Memory::default(), temper, hand.clone(), 1);
    let rules = rules(vec![rule("brief", 9, 900, 200)]);
    let config = SequencerConfig {
        epoch: Epoch::from_random(EPOCH),
        secret: SECRET,
        shards: 1,
        limits,
        rules,
    };
    let ring = Recorded::boundless();
    let sequencer = Sequencer::new(log, config, commands, ring, Arc::clone(&metrics));
    let clients = backends.for_clients();
    Rig { sequencer, backends, clients, hand, metrics, now: Millis(1_000), entries: Vec::new() }
}

impl Rig {
    /// So many steps that nothing is left to do but to wait: what the log was given in one may be
    /// read in the next.
    fn run(&mut self) -> Step {
        let mut idle = 0;
        loop {
            let step = self.sequencer.step(self.now);
            self.entries
                .extend(self.sequencer.performer.ring.drain().into_iter().map(|(_, entry)| entry));
            self.sequencer.invariants();
            idle = if step == Step::Worked { 0 } else { idle + 1 };
            if idle == 3 {
                return step;
            }
        }
    }

    fn batch(&mut self, channels: &[&str]) -> Answers {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |results| answer.send(results).unwrap());
        let batch = channels.iter().map(|channel| publication(channel, 10)).collect();
        assert!(
            self.backends.offer(Command::PublishBatch(batch, BatchAnswer::Each(answer))).is_ok()
        );
        self.run();
        heard
    }

    fn publish_for_client(&mut self, request: u32) {
        let answer = PublishAnswer::Connection {
            requester: requester(0, 1, request),
            body: BodyShare::default(),
        };
        let command = Command::Publish(publication("said", 10), answer);
        assert!(self.clients.offer(command).is_ok());
        self.run();
    }

    /// Follows a channel; where it begins, by position and offset.
    fn follow(&mut self, channel: &str) -> (u64, u64) {
        let channels = [(name(channel), Since::Now)].into();
        let subscribe = Subscribe { requester: requester(0, 0, 1), channels };
        assert!(self.clients.offer(Command::Subscribe(Box::new(subscribe))).is_ok());
        self.run();
        match self.entries.pop() {
            Some(Entry::Subscribed(reply)) => (reply.present, reply.channels[0].next),
            other => panic!("answered by {other:?}"),
        }
    }

    fn history(&mut self, channel: &str) -> usize {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |page| answer.send(page).unwrap());
        let query = HistoryQuery { channel: name(channel), since: None, limit: 9, answer };
        assert!(self.backends.offer(Command::History(Box::new(query))).is_ok());
        self.run();
        let page: HistoryPage = heard.try_recv().expect("nobody waits for the log");
        page.messages.len()
    }

    /// Messages that shards were given since they were asked for last.
    fn told(&mut self) -> Vec<u64> {
        let told = self.entries.iter().filter_map(|entry| match entry {
            Entry::Message(message) => Some(message.offset),
            _ => None,
        });
        let told = told.collect();
        self.entries.clear();
        told
    }

    /// How each request of clients ended that was answered since the last call.
    fn answered(&mut self) -> Vec<(u32, Result<u64, Refusal>)> {
        let answers = self.entries.iter().filter_map(|entry| match entry {
            Entry::Published(to, result) => Some((to.request, result.clone().map(|it| it.offset))),
            _ => None,
        });
        let answers = answers.collect();
        self.entries.clear();
        answers
    }
}

fn offsets(answers: &Answers) -> Vec<Result<u64, Refusal>> {
    let results = answers.try_recv().expect("it was answered");
    results.into_iter().map(|result| result.map(|published| published.offset)).collect()
}

#[test]
fn a_publish_is_answered_when_its_record_stands_and_who_follows_does_not_wait() {
    let mut rig = rig();
    let first = rig.batch(&["a"]);
    assert!(first.try_recv().is_err(), "it is in no record yet");
    assert_eq!(rig.follow("a"), (0, 1), "at the last place that there is");
    assert_eq!((rig.history("a"), rig.told()), (0, vec![]));
    assert!(!rig.sequencer.is_settled());
    rig.hand.let_go();
    rig.run();
    assert_eq!(offsets(&first), [Ok(1)]);
    assert_eq!((rig.history("a"), rig.told()), (1, vec![1]), "it is what comes next");
    assert!(rig.sequencer.is_settled());
}

/// The log has room for three, and what is behind them waits where it came from.
#[test]
fn who_publishes_more_than_the_log_takes_waits_and_nobody_else() {
    let mut rig = rig();
    let first = rig.batch(&["a", "a", "a", "a", "a"]);
    let mut waiting = Vec::new();
    let refused = loop {
        let (answer, heard) = mpsc::channel();
        let answer = PublishAnswer::Callback(Box::new(move |result| answer.send(result).unwrap()));
        let command = Command::Publish(publication("a", 10), answer);
        match rig.backends.offer(command) {
            Ok(()) => waiting.push(heard),
            Err(refused) => break refused,
        }
        rig.run();
        assert!(waiting.len() <= 4, "there are four places in the inbox");
    };
    assert!(matches!(refused, NotTaken::Full(_)));
    assert_eq!((waiting.len(), rig.follow("a")), (4, (0, 1)));
    rig.hand.let_go();
    rig.run();
    assert_eq!(offsets(&first), [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)], "one answer, nothing between");
    for (offset, heard) in (6..).zip(&waiting) {
        assert_eq!(
            heard.try_recv().unwrap().unwrap().offset,
            offset,
            "in the order that they came"
        );
    }
    assert_eq!(rig.told(), (1..=9).collect::<Vec<_>>());
}

#[test]
fn publishes_of_clients_do_not_hold_up_their_other_requests_and_too_many_are_refused() {
    let mut rig = rig();
    // Three are on their way, 256 wait, and the next ones are told so.
    (1..=3 + 256).for_each(|request| rig.publish_for_client(request));
    assert_eq!(rig.answered(), []);
    rig.publish_for_client(900);
    assert_eq!(rig.answered(), [(900, Err(Refusal::Busy))]);
    assert_eq!(rig.follow("a"), (0, 1));
    // A backend's comes behind them.
    let batch = rig.batch(&["said"]);
    rig.hand.let_go();
    rig.run();
    let expected: Vec<_> = (1..=3 + 256).map(|nth| (nth, Ok(u64::from(nth)))).collect();
    assert_eq!(rig.answered(), expected);
    assert_eq!(offsets(&batch), [Ok(260)]);
}

#[test]
fn a_log_that_fails_is_said_to_all_who_publish_and_those_who_read_are_served_on() {
    let mut rig = rig();
    rig.hand.let_go();
    let before = rig.batch(&["a"]);
    assert_eq!(offsets(&before), [Ok(1)]);
    rig.hand.hold();
    let under_way = rig.batch(&["a", "a"]);
    let in_the_middle = rig.batch(&["a", "a", "a"]);
    rig.publish_for_client(7);
    assert!(under_way.try_recv().is_err());
    rig.hand.fail();
    rig.run();
    assert_eq!(offsets(&under_way), [Err(Refusal::LogFailed); 2]);
    assert_eq!(offsets(&in_the_middle), [Err(Refusal::LogFailed); 3]);
    assert_eq!(rig.answered(), [(7, Err(Refusal::LogFailed))]);
    rig.publish_for_client(8);
    assert_eq!(rig.answered(), [(8, Err(Refusal::LogFailed))]);
    assert_eq!(offsets(&rig.batch(&["b"])), [Err(Refusal::LogFailed)]);
    assert!(rig.sequencer.is_settled());
    assert_eq!((rig.history("a"), rig.follow("a").1), (1, 2));
    assert_eq!(rig.metrics.sequencer.refused.read(), 8);
}

/// Lives of channels end by the log's time, which it may take a while to say.
#[test]
fn time_is_asked_for_once_until_the_log_has_said_it() {
    let mut rig = rig_with(Limits { channel_idle_ms: 500, ..Limits::default() });
    rig.hand.let_go();
    rig.batch(&["brief"]);
    rig.hand.hold();
    rig.now = rig.now.plus(10_000);
    for _ in 0..5 {
        rig.run();
        assert!(rig.sequencer.performer.order.next_due(true).is_some_and(|due| due <= rig.now));
        let due = rig.sequencer.performer.order.next_due(false);
        assert!(due.is_none_or(|due| due > rig.now), "who sleeps is not woken for it again");
    }
    assert_eq!((rig.hand.times_asked(), rig.sequencer.performer.order.lives.len()), (1, 1));
    rig.hand.let_go();
    rig.run();
    assert_eq!((rig.hand.times_asked(), rig.sequencer.performer.order.lives.len()), (1, 0));
}

/// Nobody waits for ever: not who publishes, and not who comes behind.
#[test]
fn a_log_that_stands_still_is_said_to_those_who_wait_for_it() {
    let mut rig = rig_with(Limits { shutdown_ms: 4_000, ..Limits::default() });
    let batch = rig.batch(&["a", "a", "a", "a", "a"]);
    let behind = rig.batch(&["b"]);
    rig.now = rig.now.plus(999);
    rig.run();
    assert!(behind.try_recv().is_err());
    rig.now = rig.now.plus(1);
    rig.run();
    assert_eq!(offsets(&behind), [Err(Refusal::Busy)]);
    assert_eq!(offsets(&rig.batch(&["b"])), [Err(Refusal::Busy)], "at once");
    rig.hand.let_go();
    rig.run();
    let (taken, not) = ([Ok(1), Ok(2), Ok(3)], [Err(Refusal::Busy); 2]);
    assert_eq!(offsets(&batch), [&taken[..], &not].concat(), "each of it has its own");
    assert_eq!(offsets(&rig.batch(&["b"])), [Ok(1)], "it takes again");
}

#[test]
fn the_end_waits_for_the_log_and_not_for_ever() {
    for arrives in [true, false] {
        let mut rig = rig_with(Limits { shutdown_ms: 1_000, ..Limits::default() });
        let batch = rig.batch(&["a", "a", "a"]);
        assert!(rig.backends.offer(Command::Shutdown).is_ok());
        assert_eq!(rig.run(), Step::Idle);
        let late = rig.batch(&["a"]);
        assert_eq!(offsets(&late), [Err(Refusal::ShuttingDown)]);
        rig.now = rig.now.plus(499);
        assert_eq!(rig.run(), Step::Idle);
        if arrives {
            rig.hand.let_go();
        } else {
            rig.now = rig.now.plus(1);
        }
        assert_eq!(rig.run(), Step::Ended);
        assert!(matches!(rig.entries.pop(), Some(Entry::End)));
        assert_eq!(batch.try_recv().is_ok(), arrives);
        rig.sequencer.run(Clock::start()); // which ends at once
    }
}

/// Nothing else happens that would wake the order.
#[test]
fn a_log_that_works_elsewhere_wakes_the_order_that_sleeps() {
    let (backends, commands) = inbox(4);
    let (go, going) = mpsc::channel();
    let log = Elsewhere { memory: Memory::default(), waker: None, given: None, go, back: None };
    let config = SequencerConfig {
        epoch: Epoch::from_random(EPOCH),
        secret: SECRET,
        shards: 1,
        limits: Limits::default(),
        rules: rules(Vec::new()),
    };
    let metrics = Arc::new(Metrics::new(1));
    let sequencer = Sequencer::new(log, config, commands, Recorded::boundless(), metrics);
    let order = std::thread::spawn(move || sequencer.run(Clock::start()));
    let (answer, heard) = mpsc::channel();
    let answer = PublishAnswer::Callback(Box::new(move |result| answer.send(result).unwrap()));
    assert!(backends.send(Command::Publish(publication("a", 10), answer)).is_ok());
    let (waker, done): (ThreadWaker, mpsc::Sender<()>) = going.recv().expect("it is offered");
    assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "it does not stand yet");
    done.send(()).unwrap();
    waker.wake();
    let published = heard.recv_timeout(Duration::from_secs(30)).expect("the order woke up");
    assert_eq!(published.unwrap().offset, 1);
    assert!(backends.send(Command::Shutdown).is_ok());
    order.join().unwrap();
}

/// A log whose one message stands when somebody else says so.
struct Elsewhere {
    memory: Memory<Ticket>,
    waker: Option<ThreadWaker>,
    given: Option<(Publication, Ticket, Millis)>,
    go: mpsc::Sender<(ThreadWaker, mpsc::Sender<()>)>,
    back: Option<mpsc::Receiver<()>>,
}

impl Log<Ticket> for Elsewhere {
    fn wake_by(&mut self, waker: ThreadWaker) {
        self.waker = Some(waker);
    }

    fn offer(&mut self, publication: Publication, ticket: Ticket, now: Millis) {
        self.given = Some((publication, ticket, now));
    }

    fn submit(&mut self) {
        if self.given.is_some() && self.back.is_none() {
            let (done, back) = mpsc::channel();
            self.back = Some(back);
            self.go.send((self.waker.clone().expect("it was given one"), done)).unwrap();
        }
    }

    fn pass(&mut self, _: Millis) {}

    fn next(&mut self) -> Option<Item<Ticket>> {
        self.back.as_ref()?.try_recv().ok()?;
        let (publication, ticket, now) = self.given.take()?;
        self.memory.offer(publication, ticket, now);
        self.memory.next()
    }
}
