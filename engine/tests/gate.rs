//! The gate: a shard that stands still stops the publishers, loses nothing, and is named.
//!
//! The shard is held by what hears its clients' messages, which runs on the shard's thread and is
//! the embedder's to choose: here it waits until the test says. So a real node is held in the
//! middle of a tick, on both drivers, and nothing in it was built for this.

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanfare::node::{DriverChoice, Server};
use fanfare::rule::Window;
use fanfare_protocol::dialect::machine::{Answer, Machine, Piece, Turn};
use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{PublishFrame, write};

use support::publisher::Publisher;
use support::{Client, DRIVERS, PATIENCE, keep, node_hearing, rules, wait_until};

/// Entries that the ring holds; messages are one each.
const RING: usize = 64;
/// Far more than ring, inbox and socket buffers hold together.
const MESSAGES: u64 = 4_000;
const BYTES: usize = 1_024;
/// The publisher's patience before it looks again whether there is room.
const LOOK: Duration = Duration::from_millis(500);
/// Clients of each shard.
const CLIENTS: usize = 3;

/// Where shards wait.
#[derive(Default)]
struct Gate {
    /// The name of the thread that waits.
    held: Mutex<Option<String>>,
    opened: Mutex<bool>,
    turned: Condvar,
}

/// Holds the shard of whichever client speaks until the gate is opened.
struct Holds(Arc<Gate>);

impl Machine for Holds {
    fn piece(&mut self, _: Piece<'_>, _: &mut dyn Turn) {
        *self.0.held.lock().unwrap() = thread::current().name().map(str::to_owned);
        let opened = self.0.opened.lock().unwrap();
        let (_opened, late) =
            self.0.turned.wait_timeout_while(opened, PATIENCE, |opened| !*opened).unwrap();
        assert!(!late.timed_out(), "nobody opened the gate");
    }

    fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
}

/// A client that reads all the time, and checks that message `n` comes `n`th.
struct Listener {
    shard: usize,
    speaks: TcpStream,
    heard: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn connect(node: &Server) -> Self {
        let counts = || -> Vec<u64> {
            node.metrics().shards.iter().map(|shard| shard.subscriptions.read()).collect()
        };
        let before = counts();
        let mut client = Client::websocket(node.addresses().listen, "/ws?channels=gate");
        let shard = (0..before.len()).find(|shard| counts()[*shard] > before[*shard]);
        let heard = Arc::new(AtomicU64::new(0));
        let speaks = client.socket.try_clone().unwrap();
        let thread = thread::spawn({
            let heard = Arc::clone(&heard);
            move || {
                for nth in 1..=MESSAGES {
                    let text = client.text_frame();
                    let number = text.split(';').next();
                    assert_eq!(number, Some(nth.to_string().as_str()), "in order, none lost");
                    assert_eq!(text.len(), BYTES);
                    heard.store(nth, SeqCst);
                }
            }
        });
        let shard = shard.expect("a client that was answered is counted");
        Self { shard, speaks, heard, thread }
    }
}

/// Some of each shard. The kernel spreads by a hash of ports.
fn listeners(node: &Server) -> Vec<Listener> {
    let mut all = Vec::new();
    let of = |all: &[Listener], shard| all.iter().filter(|one| one.shard == shard).count();
    while of(&all, 0) < CLIENTS || of(&all, 1) < CLIENTS {
        assert!(all.len() < 60, "the kernel gives one shard everything");
        all.push(Listener::connect(node));
    }
    all
}

/// A publisher on the Unix socket that knows no pause but the socket's.
struct Flood {
    written: Arc<AtomicU64>,
    /// How long it has waited for room in its socket: so many looks.
    waits: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    threads: [JoinHandle<()>; 2],
}

impl Flood {
    fn start(path: &Path) -> Self {
        let mut stream = UnixStream::connect(path).unwrap();
        let answers = Publisher::of(stream.try_clone().unwrap());
        // Of the socket, and so of what reads its answers, which writes nothing.
        stream.set_write_timeout(Some(LOOK)).unwrap();
        let (written, waits, acknowledged) = (Arc::default(), Arc::default(), Arc::default());
        let writes = thread::spawn({
            let written: Arc<AtomicU64> = Arc::clone(&written);
            let waits: Arc<AtomicU64> = Arc::clone(&waits);
            move || {
                let mut out = Vec::new();
                write::preface(&mut out);
                for nth in 1..=MESSAGES {
                    let data = format!("{:.<BYTES$}", format!("{nth};"));
                    write::publish(&PublishFrame::new("gate", data.as_bytes()), &mut out);
                    while !out.is_empty() {
                        match stream.write(&out) {
                            Ok(count) => {
                                waits.store(0, SeqCst);
                                out.drain(..count);
                            }
                            Err(error) if error.kind() == ErrorKind::Interrupted => {}
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                                waits.fetch_add(1, SeqCst);
                            }
                        }
                    }
                    written.store(nth, SeqCst);
                }
            }
        });
        let reads = thread::spawn({
            let acknowledged = Arc::clone(&acknowledged);
            move || read_acknowledgements(answers, &acknowledged)
        });
        Self { written, waits, acknowledged, threads: [writes, reads] }
    }
}

fn read_acknowledgements(mut publisher: Publisher, acknowledged: &AtomicU64) {
    while acknowledged.load(SeqCst) < MESSAGES {
        let heard = publisher.hear(|reply| match reply {
            Reply::Hello(_) => {}
            Reply::Ack(sequence) => acknowledged.store(sequence, SeqCst),
            other => panic!("{other:?}"),
        });
        heard.expect("the node goes on");
    }
}

/// An answer of the API.
fn api(node: &Server, line: &str, body: &str) -> (String, String) {
    let mut client = Client::connect(node.addresses().api.unwrap());
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    client.send((head + body).as_bytes());
    client.answer()
}

fn lag(node: &Server, shard: usize) -> u64 {
    node.metrics().shards[shard].ring_lag.read()
}

#[test]
fn a_stopped_shard_stops_the_publishers_and_loses_nothing_uring() {
    stopped_shard(DRIVERS[0]);
}

#[test]
fn a_stopped_shard_stops_the_publishers_and_loses_nothing_epoll() {
    stopped_shard(DRIVERS[1]);
}

fn stopped_shard(driver: DriverChoice) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.sock");
    let gate = Arc::new(Gate::default());
    let node = node_hearing(
        driver,
        |settings| {
            settings.socket = Some(path.clone());
            settings.limits.ring_entries = RING;
            settings.limits.inbox_commands = RING;
            // More than is ever in flight: only the gate may stop this publisher.
            settings.limits.batch_messages = 10_000;
            let window = Window { count: 2 * MESSAGES, bytes: 1 << 30 };
            settings.rules = rules(&[("**", keep(10), window)]);
        },
        {
            let gate = Arc::clone(&gate);
            move || Box::new(Holds(Arc::clone(&gate)))
        },
    );
    let opener = Opener(&gate);
    let mut all = listeners(&node);
    let held = all[0].shard;
    let other = 1 - held;
    all[0].speaks.write_all(&[0x81, 0x80, 0, 0, 0, 0]).unwrap();
    wait_until("the shard is held", || gate.held.lock().unwrap().is_some());
    assert_eq!(*gate.held.lock().unwrap(), Some(format!("fanfare-shard-{held}")));

    let publisher = Flood::start(&path);
    wait_until("the ring is full", || node.metrics().sequencer.ring_full.read() > 0);
    wait_until("the other shard has read it", || lag(&node, other) == 0);
    let taken = assert_publishers_wait(&node, &publisher);
    assert_named(&node, held, other, taken);
    // What the ring took went out to everyone else, and to nobody of the shard that stands.
    for listener in &all {
        let expected = if listener.shard == other { taken } else { 0 };
        wait_until("all that was published", || listener.heard.load(SeqCst) == expected);
    }

    drop(opener);
    for listener in all {
        listener.thread.join().expect("every client hears every message, in order");
    }
    for thread in publisher.threads {
        thread.join().expect("the publisher goes on to its end");
    }
    wait_until("nothing waits", || lag(&node, held) + lag(&node, other) == 0);
    for shard in &node.metrics().shards {
        assert_eq!((shard.gaps.read(), shard.slow_closed.read()), (0, 0));
    }
    assert_eq!(node.metrics().sequencer.published.read(), MESSAGES);
    node.stop();
}

/// Nothing moves: the socket is not read, what was not published is not acknowledged, and HTTP is
/// told to come again, at once. Gives how many messages the ring has taken.
fn assert_publishers_wait(node: &Server, publisher: &Flood) -> u64 {
    let numbers = || (publisher.written.load(SeqCst), publisher.acknowledged.load(SeqCst));
    wait_until("the publisher stands", || publisher.waits.load(SeqCst) > 3);
    let (written, acknowledged) = numbers();
    assert!(written < MESSAGES, "the publisher must be held up by its socket");
    let taken = node.metrics().sequencer.published.read();
    // A publish that may end an interest too asks for room for both.
    assert!((RING as u64 - 2..=RING as u64).contains(&taken), "{taken} in a ring of {RING}");
    assert!(acknowledged <= taken, "{acknowledged} of {taken} acknowledged");
    let (head, body) = api(node, "POST /v1/channels/gate", "a message");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\nretry-after: 1\r"), "{head}");
    assert!(body.contains(r#""busy""#), "{body}");
    taken
}

/// The metrics say which shard it is, though that shard can say nothing.
fn assert_named(node: &Server, held: usize, other: usize, taken: u64) {
    let (_, page) = api(node, "GET /metrics", "");
    for line in [
        format!("fanfare_ring_lag_entries{{shard=\"{held}\"}} {taken}"),
        format!("fanfare_ring_lag_entries{{shard=\"{other}\"}} 0"),
    ] {
        assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
    }
    // Once at least: the other shard may have been in the way too, for a moment.
    let waited = page.lines().find_map(|line| line.strip_prefix("fanfare_ring_full_total "));
    assert_ne!(waited, Some("0"), "the sequencer waits for room");
    assert!(waited.is_some(), "and that is told");
}

/// Opens the gate when it is dropped: whatever fails, no shard is left waiting.
struct Opener<'a>(&'a Gate);

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        *self.0.opened.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.turned.notify_all();
    }
}
