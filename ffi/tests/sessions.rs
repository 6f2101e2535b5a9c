//! What others and the server's limits do to a publisher whose link is broken: the real library,
//! a real node, and between them a proxy that swallows what the node says.

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::node::{self, DriverChoice, Server, Settings};
use fanfare_ffi::code::{FANFARE_E_AGAIN, FANFARE_E_UNKNOWN, FANFARE_E_VERSION};
use fanfare_ffi::outcome::{Done, Ticket};
use fanfare_ffi::publisher::{Publisher, PublisherSettings};
use fanfare_protocol::ingest::{ErrorCode, PublishFrame, write};

const PATIENCE: Duration = Duration::from_secs(120);
const MESSAGES: usize = 500;

fn node(socket: &Path, change: impl FnOnce(&mut Settings)) -> Server {
    let mut settings = Settings {
        socket: Some(socket.into()),
        driver: DriverChoice::Epoll,
        shards: Some(1),
        ..Settings::on_loopback()
    };
    change(&mut settings);
    node::start(settings).unwrap()
}

/// How often each payload stands in a channel.
type Counts = HashMap<Vec<u8>, usize>;

fn history(node: &Server, channel: &str) -> Counts {
    let mut counts = Counts::new();
    for (_, data) in support::history(node, channel) {
        *counts.entry(data).or_default() += 1;
    }
    counts
}

/// Of its first connection the publisher hears HELLO and nothing more, until that is cut.
struct Hole {
    path: PathBuf,
    is_cut: Arc<AtomicBool>,
    /// Bytes that the publisher was to be told and was not.
    swallowed: Arc<AtomicU64>,
}

impl Hole {
    fn before(folder: &Path, node: PathBuf) -> Self {
        let path = folder.join("hole");
        let listener = UnixListener::bind(&path).unwrap();
        let (is_cut, swallowed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (cut, count) = (Arc::clone(&is_cut), Arc::clone(&swallowed));
        thread::spawn(move || {
            for (nth, publisher) in listener.incoming().enumerate() {
                let (publisher, node) = (publisher.unwrap(), UnixStream::connect(&node).unwrap());
                if nth == 0 {
                    let (publisher, node) =
                        (publisher.try_clone().unwrap(), node.try_clone().unwrap());
                    let cut = Arc::clone(&cut);
                    thread::spawn(move || {
                        while !cut.load(SeqCst) {
                            thread::sleep(Duration::from_millis(1));
                        }
                        let _ = (publisher.shutdown(Shutdown::Both), node.shutdown(Shutdown::Both));
                    });
                }
                let back = (node.try_clone().unwrap(), publisher.try_clone().unwrap());
                let count = Arc::clone(&count);
                thread::spawn(move || pump(back.0, back.1, (nth == 0).then_some(&*count)));
                thread::spawn(move || pump(publisher, node, None));
            }
        });
        Self { path, is_cut, swallowed }
    }
}

/// Passes on all, or the first piece and no more.
fn pump(mut from: UnixStream, mut to: UnixStream, swallows: Option<&AtomicU64>) {
    let mut buffer = [0; 65_536];
    let mut pieces = 0;
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        match swallows {
            Some(count) if pieces > 0 => {
                count.fetch_add(bytes as u64, SeqCst);
            }
            _ if to.write_all(&buffer[..bytes]).is_err() => break,
            _ => pieces += 1,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn publish(publisher: &Publisher, channel: &str, data: &[u8], done: impl Fn() -> Done) {
    let begun = Instant::now();
    loop {
        match publisher.offer(&PublishFrame::new(channel, data), done()) {
            Ok(()) => return,
            Err(FANFARE_E_AGAIN) => thread::sleep(Duration::from_millis(1)),
            Err(code) => panic!("{code}"),
        }
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// Publishes into a hole; when the node has had all of it, `meanwhile` happens and the link is cut.
fn through_a_hole(
    change: impl FnOnce(&mut Settings),
    meanwhile: impl FnOnce(&Path),
    after: impl FnOnce(&Server),
) -> (Vec<Result<(), i32>>, Counts) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node");
    let node = node(&socket, change);
    let hole = Hole::before(folder.path(), socket.clone());
    let url = format!("unix:{}", hole.path.display());
    let publisher = Publisher::open(&url, PublisherSettings::default()).unwrap();
    let ticket = Ticket::new(MESSAGES);
    for nth in 0..MESSAGES {
        let data = format!("message {nth}");
        let done = || Done::Wait(Arc::clone(&ticket), nth);
        publish(&publisher, "hole", data.as_bytes(), done);
    }
    let begun = Instant::now();
    while history(&node, "hole").len() < MESSAGES || hole.swallowed.load(SeqCst) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the node does not get them");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(ticket.wait(Duration::ZERO).iter().all(Option::is_none), "the hole is none");
    meanwhile(&socket);
    after(&node);
    hole.is_cut.store(true, SeqCst);
    assert_eq!(publisher.flush(PATIENCE), Ok(()));
    let outcomes = ticket.wait(PATIENCE).into_iter().map(|outcome| outcome.unwrap().map(|_| ()));
    let outcomes = outcomes.collect();
    let kept = history(&node, "hole");
    publisher.close();
    node.stop();
    (outcomes, kept)
}

/// Another publisher uses every key that the node remembers, and more.
fn turn_keys_over(socket: &Path) {
    let other =
        Publisher::open(&format!("unix:{}", socket.display()), PublisherSettings::default())
            .unwrap();
    for nth in 0..2_000 {
        let key = format!("key {nth}");
        let frame = PublishFrame {
            idempotency_key: Some(key.as_bytes()),
            ..PublishFrame::new("other", b"y")
        };
        while other.offer(&frame, Done::Nobody) == Err(FANFARE_E_AGAIN) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(other.flush(PATIENCE), Ok(()));
    other.close();
}

#[test]
fn others_who_use_up_the_window_of_keys_make_nothing_stand_twice() {
    let (outcomes, kept) = through_a_hole(
        |settings| settings.limits.idempotency_keys = 1_000,
        turn_keys_over,
        |node| {
            // The numbers of a step are written behind its answers.
            let begun = Instant::now();
            while node.metrics().sequencer.keys_pushed_out.read() < 900 {
                assert!(begun.elapsed() < PATIENCE, "the window is not turned over");
                thread::sleep(Duration::from_millis(1));
            }
        },
    );
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let twice = kept.values().filter(|count| **count > 1).count();
    assert_eq!((kept.len(), twice), (MESSAGES, 0), "messages, and those that stand twice");
}

#[test]
fn a_server_that_keeps_no_sessions_makes_riddles_and_no_second_copies() {
    let (outcomes, kept) =
        through_a_hole(|settings| settings.limits.publisher_sessions = 0, |_| {}, |_| {});
    // The library may be back before the server has noticed that it was gone.
    let unknown = outcomes.iter().filter(|outcome| **outcome == Err(FANFARE_E_UNKNOWN)).count();
    assert!(unknown == MESSAGES || outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(kept.values().all(|count| *count == 1));
}

#[test]
fn a_publisher_that_is_closed_leaves_no_session_behind() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node");
    let node = node(&socket, |_| {});
    let settings = PublisherSettings { connect_ms: 60_000, ..PublisherSettings::default() };
    let publisher = Publisher::open(&format!("unix:{}", socket.display()), settings).unwrap();
    publish(&publisher, "demo", b"1", || Done::Nobody);
    assert_eq!(publisher.flush(PATIENCE), Ok(()));
    publisher.close();
    let begun = Instant::now();
    let ingest = &node.metrics().ingest;
    while ingest.publishers.read() > 0 {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!((ingest.sessions.read(), ingest.sessions_forgotten.read()), (0, 0));
    node.stop();
}

/// A socket at which everyone is told the same ERROR.
fn turns_away(folder: &Path, code: ErrorCode, text: &'static str) -> String {
    let path = folder.join("refuses");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut out) = (stream.unwrap(), Vec::new());
            write::error(code, 0, text, &mut out);
            // Of a server that speaks version 1 alone.
            let versions = out.len() - 2 - text.len() - 2;
            out[versions..versions + 2].copy_from_slice(&[1, 1]);
            let _ = (stream.write_all(&out), stream.shutdown(Shutdown::Write));
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    format!("unix:{}", path.display())
}

#[test]
fn who_is_refused_for_good_is_told_at_once_and_why() {
    for (code, result, says) in [
        (ErrorCode::FORBIDDEN, -403, "you may not"),
        (ErrorCode::BAD_VERSION, FANFARE_E_VERSION, "versions 1 to 1"),
        (ErrorCode::NO_ROOM, -503, "you may not"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = turns_away(folder.path(), code, "you may not");
        let settings = PublisherSettings { connect_ms: 3_600_000, ..PublisherSettings::default() };
        let failure = Publisher::open(&url, settings).err().expect("it is refused");
        assert_eq!(failure.code, result);
        assert!(failure.text.contains(says), "{}", failure.text);
    }
    // Without waiting it opens, and what is published meanwhile hears why it is not.
    let folder = tempfile::tempdir().unwrap();
    let url = turns_away(folder.path(), ErrorCode::FORBIDDEN, "no");
    let publisher = Publisher::open(&url, PublisherSettings::default()).unwrap();
    let ticket = Ticket::new(1);
    let offered = publisher.offer(&PublishFrame::new("demo", b"1"), Done::Wait(ticket.clone(), 0));
    if offered.is_ok() {
        assert_eq!(ticket.wait(PATIENCE), [Some(Err(-403))]);
    }
    let begun = Instant::now();
    while publisher.offer(&PublishFrame::new("demo", b"1"), Done::Nobody) != Err(-403) {
        assert!(begun.elapsed() < PATIENCE, "calls are not refused");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(publisher.flush(PATIENCE), Ok(()), "nothing waits");
    publisher.close();
}
