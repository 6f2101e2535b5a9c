//! What waits for the order keeps within its budget, as the process's memory shows: while nothing
//! is placed, publishers on the Unix socket and over HTTP hand over the most that they may and
//! read nothing; then all of it gets through.

#[path = "support/publisher.rs"]
mod publisher;
mod stand_in;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fanfare::channel::Tenant;
use fanfare::clock::Clock;
use fanfare::control::metrics_page::Build;
use fanfare::limits::Limits;
use fanfare::metrics::Metrics;
use fanfare::vigil::Vigil;
use fanfare::{control, ingest};
use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{PublishFrame, write};

use publisher::Publisher;
use stand_in::{StandIn, epoch};

/// A publisher of which nothing is taken for so long is not read.
const BLOCKED: Duration = Duration::from_secs(3);
const MIB: usize = 1 << 20;
const MESSAGE_BYTES: usize = 256 << 10;
/// Of each publisher on the socket.
const MESSAGES: usize = 12;
const PUBLISHERS: usize = 32;
const REQUESTS: usize = 24;
/// What a publisher takes beside what it has in flight: see `doctor`.
const PUBLISHER_BYTES: usize = 128 << 10;
/// Of a thread of this test, which is in the same process: its stack, and an arena of its own.
const THREAD_BYTES: usize = 96 << 10;
/// Memory that the allocator has not given back, whatever was asked of it.
const ALLOCATOR_BYTES: usize = 6 << 20;

fn limits() -> Limits {
    Limits {
        message_bytes: MESSAGE_BYTES,
        in_flight_bytes: 16 * MIB,
        bodies_bytes: 4 * MIB,
        publishers: PUBLISHERS,
        // However slowly the machine reads, no time ends what it reads.
        head_ms: 3_600_000,
        publisher_stall_ms: 3_600_000,
        stall_ms: 3_600_000,
        ..Limits::default()
    }
}

/// Memory of this process that no file stands behind.
fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1_024
}

/// The most that it ever was while this looked.
fn watch(over: &AtomicBool, peak: &AtomicU64) {
    while !over.load(SeqCst) {
        peak.fetch_max(memory_bytes(), SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads until the outcomes of so many messages were told.
fn hear(publisher: &mut Publisher, messages: u64) {
    let mut acknowledged = 0;
    while acknowledged < messages {
        let heard = publisher.hear(|reply| match reply {
            Reply::Ack(sequence) => acknowledged = sequence,
            Reply::Hello(_) => {}
            other => panic!("{other:?}"),
        });
        assert!(heard.is_some(), "it ended after {acknowledged}");
    }
}

/// A batch that is as long as a request may be.
fn request() -> Vec<u8> {
    let data = "x".repeat(MESSAGE_BYTES - 1_000);
    let message = format!(r#"{{"channel":"demo","data":"{data}"}}"#);
    let body = format!(r#"{{"messages":[{message},{message},{message}]}}"#);
    let fields = "Content-Type: application/json\r\nConnection: close\r\nHost: localhost";
    let length = body.len();
    format!("POST /v1/publish HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

/// The status of the answer, and whether it says when to come back.
fn ask(address: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    // What is refused may be answered before it was read.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let says_when = answer.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n");
    (answer.get(9..12).unwrap_or_default().to_owned(), says_when)
}

fn start_api(sequencer: &StandIn, metrics: &Arc<Metrics>) -> control::Control {
    let config = control::ControlConfig {
        tls: None,
        tenant: Tenant::default(),
        build: Build {
            driver: "epoll",
            driver_fallback: false,
            insecure: false,
            development: false,
            version: "0.0.0",
            started_unix_s: 1,
        },
        api_keys: fanfare_identity::ApiKeys::default(),
        limits: limits(),
        bounds: control::Bounds {
            answer_ms: 3_600_000,
            body_ms: 3_600_000,
            ..control::Bounds::default()
        },
        origins_key: 0,
        ready: Arc::new(AtomicBool::new(true)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let guard = Vigil::new(Arc::default()).guard("control", || {});
    control::serve(listener, sequencer.inbox.clone(), Arc::clone(metrics), config, guard).unwrap()
}

fn start_socket(path: &Path, sequencer: &StandIn, metrics: &Arc<Metrics>) -> ingest::Handle {
    let settings = ingest::IngestConfig {
        path: path.into(),
        mode: 0o600,
        users: Vec::new(),
        peers: Vec::new(),
        limits: limits(),
        epoch: epoch(),
        life: epoch(),
        tenant: Tenant::default(),
    };
    let guard = Vigil::new(Arc::default()).guard("ingest", || {});
    let inbox = sequencer.inbox.clone();
    ingest::spawn(settings, inbox, Arc::clone(metrics), Clock::start(), guard).unwrap()
}

/// Lets publishers write the rest of a stream of which so much was taken, and hear of all of it.
///
/// All at once: one that has begun a frame may be the one that is let end it, and the others wait
/// until it has.
fn go_on(publishers: Vec<(Publisher, usize)>, stream: &[u8]) {
    std::thread::scope(|scope| {
        for (mut publisher, sent) in publishers {
            let mut writer = publisher.stream.try_clone().unwrap();
            scope.spawn(move || writer.write_all(&stream[sent..]).unwrap());
            scope.spawn(move || hear(&mut publisher, MESSAGES as u64));
        }
    });
}

#[test]
fn what_publishers_hand_over_takes_no_more_memory_than_was_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fanfare.sock");
    let sequencer = StandIn::start(100_000);
    let metrics = Arc::new(Metrics::new(1));
    let handle = start_socket(&path, &sequencer, &metrics);
    let api = start_api(&sequencer, &metrics);

    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", &vec![b'x'; MESSAGE_BYTES]), &mut frame);
    let (stream, request) = (frame.repeat(MESSAGES), request());
    let address = api.address();
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    sequencer.deafen();
    let before = memory_bytes();
    // Judged when all is over: a test that fails in here would wait for its own threads.
    let (held, sent, answers) = std::thread::scope(|scope| {
        scope.spawn(|| watch(&over, &peak));
        let publishers: Vec<_> = (1..PUBLISHERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut publisher = Publisher::connect(&path);
                    let sent = publisher.send_until_blocked(&stream, BLOCKED);
                    (publisher, sent)
                })
            })
            .collect();
        let requests: Vec<_> =
            (0..REQUESTS).map(|_| scope.spawn(|| ask(address, &request))).collect();
        let publishers: Vec<_> = publishers.into_iter().map(|one| one.join().unwrap()).collect();

        over.store(true, SeqCst);
        let held = metrics.in_flight.held();
        let sent: Vec<usize> = publishers.iter().map(|(_, sent)| *sent).collect();

        // One who has handed nothing over yet has not to wait until others have read.
        let mut last = Publisher::connect(&path);
        let mut small = Vec::new();
        write::publish(&PublishFrame::new("demo", b"hi"), &mut small);
        last.send(&small);
        sequencer.hear();
        hear(&mut last, 1);
        go_on(publishers, &stream);
        let answers: Vec<_> = requests.into_iter().map(|one| one.join().unwrap()).collect();
        (held, sent, answers)
    });
    let sum = limits().all_in_flight() + limits().all_bodies() + PUBLISHERS * PUBLISHER_BYTES;
    let threads = (PUBLISHERS + REQUESTS) * THREAD_BYTES;
    let grown = (peak.load(SeqCst).saturating_sub(before) as usize).saturating_sub(threads);
    eprintln!("{held} bytes were in flight; the process grew by {grown}, {sum} were said");
    assert!(held > limits().all_in_flight() / 2, "it is used: {held}");
    assert!(
        grown <= sum + sum / 10 + ALLOCATOR_BYTES,
        "the process grew by {grown}, {sum} were said"
    );
    assert!(sent.iter().all(|sent| *sent < stream.len()), "everyone waits: {sent:?}");
    let of = |status: &str| answers.iter().filter(|(said, _)| said == status).count();
    assert_eq!(of("200") + of("503"), REQUESTS, "{answers:?}");
    assert!(of("503") > 0, "bodies have less room than these take: {answers:?}");
    assert!(answers.iter().all(|(said, says_when)| said == "200" || *says_when));
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while metrics.in_flight.held() > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(metrics.in_flight.held(), 0, "all is given back");
    assert_eq!(ask(address, &request).0, "200", "there is room again");
    handle.stop();
    api.stop(Duration::from_millis(100));
}
