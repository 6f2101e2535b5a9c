//! `publish` against a server that is played by hand.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Answer, Hello};
use fanfare_protocol::ingest::server::{Decoder, Event};
use fanfare_protocol::ingest::{
    ChannelReceipt, ChannelReceipts, DeclaredKind, ErrorCode, GoodbyeCode, RefusalCode, write,
};
use fanfare_protocol::limits::IngestLimits;
use tempfile::TempDir;

use crate::{Process, fanfare, run};

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    sequence: u64,
    answer: bool,
    kind: DeclaredKind,
    channel: String,
    event: Option<String>,
    ephemeral: bool,
    except: Option<String>,
    also: Vec<String>,
    data: String,
}

/// What the played server does with a message: append frames, or end the connection.
type Act = fn(&Got, &mut Vec<u8>) -> bool;

const LIMITS: IngestLimits = IngestLimits { message_bytes: 100, ..IngestLimits::DEFAULT };

/// Serves one publisher as `act` says, and gives what it sent.
fn play(act: Act) -> (TempDir, JoinHandle<Vec<Got>>) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("fanfare.sock")).unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(stream, act)
    });
    (folder, thread)
}

fn serve(mut stream: UnixStream, act: Act) -> Vec<Got> {
    let (mut decoder, mut got, mut buffer) = (Decoder::new(LIMITS), Vec::new(), [0; 4_096]);
    loop {
        let bytes = stream.read(&mut buffer).unwrap();
        if bytes == 0 {
            decoder.finish().unwrap();
            return got;
        }
        let (mut input, mut out) = (&buffer[..bytes], Vec::new());
        let mut on = true;
        while let Some(event) = decoder.next(&mut input).unwrap() {
            match event {
                Event::Preface => {
                    let epoch = Epoch::from_random(1);
                    let session = None;
                    let hello = Hello { version: 1, epoch, limits: LIMITS, session };
                    write::hello(&hello, &mut out);
                }
                Event::Publish { sequence, frame } => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let message = Got {
                        sequence,
                        answer: frame.answer,
                        kind: frame.kind,
                        channel: text(frame.channel),
                        event: frame.event.map(text),
                        ephemeral: frame.ephemeral,
                        except: frame.except.map(text),
                        also: frame.also.map(text).collect(),
                        data: text(frame.data),
                    };
                    on &= act(&message, &mut out);
                    got.push(message);
                }
                other => panic!("the command does not send {other:?}"),
            }
        }
        stream.write_all(&out).unwrap();
        if !on {
            return got;
        }
    }
}

fn accept(got: &Got, out: &mut Vec<u8>) -> bool {
    if got.answer {
        let (sequence, position) = (got.sequence, 40 + got.sequence);
        let places = vec![ChannelReceipt { offset: 3, subscribers: 0 }; got.also.len()];
        let also = ChannelReceipts::of(&places);
        let (duplicate, offset, subscribers, epoch) = (false, sequence, 7, None);
        let answer = Answer { sequence, duplicate, position, offset, subscribers, also, epoch };
        write::answer(&answer, out);
    } else {
        write::ack(got.sequence, out);
    }
    true
}

fn refuse_the_second(got: &Got, out: &mut Vec<u8>) -> bool {
    if got.sequence == 2 {
        write::refused(2, RefusalCode::BAD_DATA, "the data is odd", out);
        return true;
    }
    accept(got, out)
}

#[test]
fn one_message_is_answered_with_its_place() {
    let (folder, server) = play(accept);
    let mut command = fanfare(folder.path());
    let sent = run(command.args(["publish", "demo", "hi", "--event", "greeting"]), "");
    sent.expect(0, &[]);
    assert_eq!(sent.out, "{\"id\":\"00000001-41\",\"offset\":1,\"subscribers\":7}\n");
    let expected = Got {
        sequence: 1,
        answer: true,
        kind: DeclaredKind::Detect,
        channel: "demo".into(),
        event: Some("greeting".into()),
        ephemeral: false,
        except: None,
        also: Vec::new(),
        data: "hi".into(),
    };
    assert_eq!(server.join().unwrap(), [expected]);
}

#[test]
fn a_message_for_those_who_follow_now_has_no_place() {
    let brief: Act = |got, out| {
        let also = ChannelReceipts::default();
        let (sequence, position, offset, subscribers) = (1, 41, 0, 7);
        let (duplicate, epoch) = (false, None);
        let answer = Answer { sequence, duplicate, position, offset, subscribers, also, epoch };
        write::answer(&answer, out);
        got.ephemeral
    };
    let (folder, server) = play(brief);
    let words =
        ["publish", "demo", "hi", "--ephemeral", "--except", "3f9c0a51b7e2d846", "--kind", "text"];
    let sent = run(fanfare(folder.path()).args(words), "");
    sent.expect(0, &[]);
    assert_eq!(sent.out, "{\"subscribers\":7}\n");
    let got = server.join().unwrap().remove(0);
    assert_eq!((got.ephemeral, got.except.as_deref()), (true, Some("3f9c0a51b7e2d846")));
}

#[test]
fn a_message_in_several_channels_is_answered_with_a_place_in_each() {
    let (folder, server) = play(accept);
    let words = ["publish", "demo", "hi", "--also", "a,b", "--also", "news"];
    let sent = run(fanfare(folder.path()).args(words), "");
    sent.expect(0, &[]);
    let told = "{\"id\":\"00000001-41\",\"channels\":[{\"offset\":1,\"subscribers\":7},\
                {\"offset\":3,\"subscribers\":0},{\"offset\":3,\"subscribers\":0}]}\n";
    assert_eq!(sent.out, told);
    assert_eq!(server.join().unwrap()[0].also, ["a,b", "news"]);
}

#[test]
fn lines_are_messages_in_their_order() {
    let (folder, server) = play(accept);
    let input: String = (1..=5_000).map(|n| format!("line {n}\n")).collect();
    let sent = run(fanfare(folder.path()).args(["publish", "demo", "-", "--kind", "text"]), &input);
    sent.expect(0, &[]);
    assert_eq!(sent.out.lines().count(), 5_000);
    let got = server.join().unwrap();
    assert_eq!(got.len(), 5_000);
    for (nth, got) in got.iter().enumerate() {
        assert_eq!(got.data, format!("line {}", nth + 1));
        let text = fanfare_protocol::message::Kind::Text;
        assert_eq!(got.kind, DeclaredKind::Known(text));
    }
}

#[test]
fn quiet_asks_for_no_answers() {
    let (folder, server) = play(accept);
    let sent = run(fanfare(folder.path()).args(["publish", "-q", "demo"]), "a\n\nb\n");
    sent.expect(0, &["1 empty line was passed over"]);
    assert_eq!(sent.out, "");
    let got = server.join().unwrap();
    assert_eq!(got.iter().map(|got| got.data.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(got.iter().all(|got| !got.answer));
}

#[test]
fn a_line_is_sent_when_it_is_typed() {
    let (folder, server) = play(accept);
    let mut command = fanfare(folder.path());
    let mut process = Process::start(command.args(["publish", "demo"]).stdin(Stdio::piped()));
    let mut stdin = process.child.stdin.take().unwrap();
    for offset in 1..=3 {
        stdin.write_all(b"typed\n").unwrap();
        assert!(process.out_line().contains(&format!("\"offset\":{offset}")));
    }
    drop(stdin);
    process.end().expect(0, &[]);
    assert_eq!(server.join().unwrap().len(), 3);
}

#[test]
fn a_refusal_is_told_and_the_rest_is_published() {
    for flags in [&["publish", "demo"][..], &["publish", "demo", "--quiet"]] {
        let (folder, server) = play(refuse_the_second);
        let sent = run(fanfare(folder.path()).args(flags), "a\nb\nc\n");
        sent.expect(65, &["message 2 was refused: the data is odd (463)"]);
        assert_eq!(server.join().unwrap().len(), 3);
    }
}

#[test]
fn what_is_too_long_is_not_sent() {
    let (folder, server) = play(accept);
    let input = format!("short\n{}\nshort\n", "x".repeat(101));
    let sent = run(fanfare(folder.path()).args(["publish", "demo"]), &input);
    sent.expect(65, &["line 2 is longer than the 100 bytes"]);
    assert_eq!(server.join().unwrap().len(), 2);

    let (folder, server) = play(accept);
    let sent = run(fanfare(folder.path()).args(["publish", "demo", &"x".repeat(101)]), "");
    sent.expect(65, &["has 101 bytes and may have 100"]);
    assert_eq!(server.join().unwrap(), []);
}

#[test]
fn a_server_that_vanishes_leaves_outcomes_unknown() {
    let vanish: Act = |got, out| got.sequence == 1 && accept(got, out);
    let (folder, server) = play(vanish);
    let sent = run(fanfare(folder.path()).args(["publish", "demo"]), "a\nb\n");
    sent.expect(69, &["1 of 2 messages had no outcome", "may or may not"]);
    assert_eq!(server.join().unwrap().len(), 2);
}

#[test]
fn a_server_that_vanishes_between_two_lines_is_told() {
    for flags in [&["publish", "demo"][..], &["publish", "-q", "demo"]] {
        let vanish: Act = |got, out| accept(got, out) && got.sequence < 2;
        let (folder, server) = play(vanish);
        let mut command = fanfare(folder.path());
        let mut process = Process::start(command.args(flags).stdin(Stdio::piped()));
        let mut stdin = process.child.stdin.take().unwrap();
        stdin.write_all(b"a\nb\n").unwrap();
        // Both have their outcome, and more would have come.
        assert_eq!(server.join().unwrap().len(), 2);
        process.end().expect(69, &["ended the connection", "after message 2 was not published"]);
        drop(stdin);
    }
}

#[test]
fn nothing_is_sent_that_nobody_hears_of() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let count: Act = |got, out| {
        SEEN.store(got.sequence, SeqCst);
        accept(got, out)
    };
    let (folder, server) = play(count);
    let input: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let mut command = fanfare(folder.path());
    let command = command.args(["publish", "demo"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let typist = thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    // Standard output is a pipe that nobody reads yet: it fills with some 1,300 lines, and beside
    // them a window is open. Whoever sends more has time for it.
    thread::sleep(std::time::Duration::from_millis(500));
    let seen = SEEN.load(SeqCst);
    assert!(seen <= 1_600 + u64::from(LIMITS.window), "{seen} sent, and nobody reads of them");
    let mut lines = String::new();
    out.read_to_string(&mut lines).unwrap();
    assert_eq!(lines.lines().count(), 20_000);
    assert!(child.wait().unwrap().success());
    typist.join().unwrap();
    assert_eq!(server.join().unwrap().len(), 20_000);
}

#[test]
fn a_shutdown_and_an_error_are_told() {
    let goodbye: Act = |got, out| {
        accept(got, out);
        write::goodbye(got.sequence, GoodbyeCode::RESTART, out);
        false
    };
    let (folder, _server) = play(goodbye);
    // Standard input stays open: the server's end is the end.
    let mut command = fanfare(folder.path());
    let mut process = Process::start(command.args(["publish", "demo"]).stdin(Stdio::piped()));
    let mut stdin = process.child.stdin.take().unwrap();
    stdin.write_all(b"a\n").unwrap();
    process.end().expect(69, &["shutting down", "after message 1"]);
    drop(stdin);

    let error: Act = |_, out| {
        write::error(ErrorCode::FORBIDDEN, 0, "you are not on the list", out);
        false
    };
    let (folder, _server) = play(error);
    let sent = run(fanfare(folder.path()).args(["publish", "demo", "hi"]), "");
    sent.expect(77, &["you are not on the list (403)"]);
}
