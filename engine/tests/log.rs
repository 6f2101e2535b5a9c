//! A whole server over a log of somebody else's: one that writes on a thread of its own, many
//! messages at a time, and that fails.

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use fanfare::clock::Millis;
use fanfare::log::{Item, Log, Memory, Readiness, ThreadWaker};
use fanfare::node::{self, Server, Settings};
use fanfare::sequencer::Ticket;
use fanfare::sequencer::command::Publication;

use support::{Client, DRIVERS};

type Offer = (Publication, Ticket, Millis);

/// How many messages each record had.
type Lengths = Arc<Mutex<Vec<usize>>>;

/// What the log and its thread both have.
#[derive(Default)]
struct Written {
    standing: VecDeque<Offer>,
    lost: VecDeque<Ticket>,
    has_failed: bool,
}

/// A log that hands what a step has offered to a thread, as one record.
struct Elsewhere {
    memory: Memory<Ticket>,
    collected: Vec<Offer>,
    records: Sender<Vec<Offer>>,
    /// What its thread is given, until it is started.
    for_thread: Option<(Receiver<Vec<Offer>>, Lengths)>,
    written: Arc<Mutex<Written>>,
    fails: Arc<AtomicBool>,
}

impl Elsewhere {
    /// One that fails when it is told to, and says how long its records were.
    fn new(fails: &Arc<AtomicBool>, lengths: &Lengths) -> Self {
        let (records, taken) = channel();
        Self {
            memory: Memory::default(),
            collected: Vec::new(),
            records,
            for_thread: Some((taken, Arc::clone(lengths))),
            written: Arc::default(),
            fails: Arc::clone(fails),
        }
    }
}

impl Log<Ticket> for Elsewhere {
    fn wake_by(&mut self, waker: ThreadWaker) {
        let (records, lengths) = self.for_thread.take().expect("it is called once");
        let (written, fails) = (Arc::clone(&self.written), Arc::clone(&self.fails));
        std::thread::spawn(move || {
            for record in records {
                lengths.lock().unwrap().push(record.len());
                let mut written = written.lock().unwrap();
                written.has_failed |= fails.load(Ordering::SeqCst);
                match written.has_failed {
                    true => written.lost.extend(record.into_iter().map(|(_, ticket, _)| ticket)),
                    false => written.standing.extend(record),
                }
                drop(written);
                waker.wake();
            }
        });
    }

    fn readiness(&self) -> Readiness {
        let has_failed = self.written.lock().unwrap().has_failed;
        if has_failed { Readiness::Failed } else { Readiness::Ready }
    }

    fn offer(&mut self, publication: Publication, ticket: Ticket, now: Millis) {
        self.collected.push((publication, ticket, now));
    }

    fn submit(&mut self) {
        if !self.collected.is_empty() {
            let _ = self.records.send(std::mem::take(&mut self.collected));
        }
    }

    fn pass(&mut self, now: Millis) {
        self.memory.pass(now);
    }

    fn next(&mut self) -> Option<Item<Ticket>> {
        let item = self.memory.next();
        if item.is_some() {
            return item;
        }
        let (publication, ticket, now) = self.written.lock().unwrap().standing.pop_front()?;
        self.memory.offer(publication, ticket, now);
        self.memory.next()
    }

    fn take_lost(&mut self) -> Option<Ticket> {
        self.written.lock().unwrap().lost.pop_front()
    }
}

/// Publishes to channel `a` over the API; status and body.
fn post(node: &Server, body: &str) -> (String, String) {
    let mut api = Client::connect(node.addresses().api.unwrap());
    let head = "POST /v1/channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    api.send(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
    let (head, body) = api.answer();
    (head.lines().next().unwrap().to_string(), body)
}

#[test]
fn a_server_runs_over_a_log_that_works_elsewhere_and_outlives_it() {
    for driver in DRIVERS {
        let (fails, lengths) = (Arc::<AtomicBool>::default(), Lengths::default());
        let settings = Settings { driver, ..Settings::on_loopback() };
        let log = Elsewhere::new(&fails, &lengths);
        let node = node::start_over(settings, log).expect("a node starts");
        let mut stream = Client::get(node.addresses().listen, "/sse?channels=a");
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        stream.opening();
        let (status, answer) = post(&node, "one");
        assert_eq!(status, "HTTP/1.1 200 OK", "{answer}");
        assert!(answer.contains(r#""offset":1"#), "{answer}");
        assert!(stream.block().starts_with("data: one\n"));
        assert_eq!(*lengths.lock().unwrap(), [1]);

        fails.store(true, Ordering::SeqCst);
        for body in ["lost", "never"] {
            let (status, answer) = post(&node, body);
            assert_eq!(status, "HTTP/1.1 503 Service Unavailable", "{answer}");
            assert!(answer.contains("log_failed"), "{answer}");
        }
        let mut late = Client::get(node.addresses().listen, "/sse?channels=a&since=earliest");
        assert!(late.head().starts_with("HTTP/1.1 200 "));
        late.opening();
        assert!(late.block().starts_with("data: one\n"), "who reads is served on");
        node.stop();
        assert_eq!(stream.farewell(), "restart");
    }
}
