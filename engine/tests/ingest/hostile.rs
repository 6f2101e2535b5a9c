//! Strangers, broken clients, and those that do not read.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use fanfare::channel::Tenant;
use fanfare::tenancy::{PeerId, SocketPeer};
use fanfare_protocol::ingest::{PublishFrame, write};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::node::{Client, Node, PATIENCE, asks, until};
use crate::stand_in::{FULL, LOST};
use crate::step_timer::undisturbed;

/// A publisher is still served, and nobody else holds a place.
fn still_serves(node: &Node) {
    until("the places are free", || node.metrics.ingest.publishers.read() == 0);
    let mut client = node.publisher();
    client.publish(&[PublishFrame::new("canary", b"alive")]);
    assert_eq!(client.reply(), "ack 1");
}

/// D1.
#[test]
fn strangers_are_told_so() {
    // This test runs as some user; as root it cannot be a stranger to itself, so it becomes one.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let node = Node::with(|settings| (settings.mode, settings.users) = (0o666, vec![4_321]));
    let directory = node.path.parent().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory, open).unwrap();
    let try_as = |user: u32| {
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                      s.sendall(b'FANFARE\\x01'); print(s.recv(4096)[4])";
        let mut command = std::process::Command::new("python3");
        std::os::unix::process::CommandExt::uid(&mut command, user);
        let output = command.args(["-c", script]).arg(&node.path).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u8>().ok()
    };
    let Some(type_of_root) = try_as(0) else { return }; // no Python here
    const HELLO: u8 = 0x81;
    const ERROR: u8 = 0x85;
    assert_eq!(type_of_root, HELLO);
    assert_eq!(try_as(4_321), Some(HELLO));
    assert_eq!(try_as(4_322), Some(ERROR));
    assert_eq!(node.metrics.ingest.turned_away.read(), 1);
    still_serves(&node);
}

/// D1: whose channels a publisher names is by its user or group, and not by what it says.
#[test]
fn publishers_have_the_tenant_of_their_user_or_group() {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let named = |who, tenant| SocketPeer { who, tenant: Tenant::new(tenant) };
    for (who, expected) in [
        (PeerId::User(own.0), "acme"),
        (PeerId::Group(own.1), "acme"),
        (PeerId::User(own.0.wrapping_add(1)), "default"),
    ] {
        let node = Node::with(|settings| settings.peers = vec![named(who, "acme")]);
        let mut client = node.publisher();
        client.publish(&[PublishFrame::new("room", b"1")]);
        assert_eq!(client.reply(), "ack 1");
        let published = node.sequencer.published.lock().unwrap();
        assert_eq!(published[0].channel.tenant.as_str(), expected, "{who:?}");
    }
}

/// D4: what is wrong, and at which byte.
#[test]
fn malformed_streams_are_ended_where_they_break() {
    let node = Node::start();
    let mut good = Vec::new();
    write::publish(&PublishFrame::new("demo", b"1"), &mut good);
    let after = |frame: &[u8]| [b"FANFARE\x01", &good[..], frame].concat();
    let at = 8 + good.len();
    let cases: [(Vec<u8>, &str); 7] = [
        (b"GET / HTTP/1.1\r\n".to_vec(), "error 400 at 0"),
        (b"FANFARX\x01".to_vec(), "error 400 at 6"),
        (b"FANFARE\x09".to_vec(), "error 426 at 7"),
        (after(&[0, 0, 0, 0]), &format!("error 400 at {at}")),
        (after(&[0xff, 0xff, 0xff, 0x7f]), &format!("error 413 at {at}")),
        (after(&[1, 0, 0, 0, 0x7f]), &format!("error 400 at {}", at + 4)),
        (after(&[2, 0, 0, 0, 1, 0]), &format!("error 400 at {}", at + 5)),
    ]
    .map(|(bytes, error)| (bytes, Box::leak(error.to_owned().into_boxed_str()) as &str));
    let mut published = 0;
    for (stream, expected) in cases {
        let mut client = node.connect();
        client.send(&stream);
        let last = std::iter::from_fn(|| Some(client.reply())).find(|r| r.starts_with("error"));
        assert_eq!(last.as_deref(), Some(expected), "{stream:?}");
        assert_eq!(client.reply(), "end");
        // What stood before the fault has its place.
        published += usize::from(stream.len() > at);
        assert_eq!(node.sequencer.count(), published, "{stream:?}");
    }
    still_serves(&node);
}

#[test]
fn outcomes_come_before_the_error() {
    let node = Node::start();
    node.sequencer.deafen();
    let mut client = node.publisher();
    client.publish(&[PublishFrame { answer: true, ..PublishFrame::new("demo", b"1") }]);
    client.send(&[0, 0, 0, 0]);
    std::thread::sleep(Duration::from_millis(50));
    node.sequencer.hear();
    let replies = client.replies(4);
    assert_eq!(replies[..2], ["answer 1 1/1", "ack 1"]);
    assert!(replies[2].starts_with("error 400 at "), "{replies:?}");
    assert_eq!(replies[3], "end");
}

/// D5.
#[test]
fn a_frame_that_is_not_finished_in_time() {
    let node = Node::with(|settings| settings.limits.head_ms = 200);
    let begun = Instant::now();
    let mut silent = node.connect();
    let mut half = node.publisher_in_time();
    half.send(&[9, 0, 0, 0, 1]);
    let mut idle = node.publisher_in_time();
    assert_eq!(half.replies(2), ["error 408 at 13", "end"]);
    assert_eq!(silent.replies(2), ["error 408 at 0", "end"]);
    let took = begun.elapsed();
    assert!((Duration::from_millis(190)..PATIENCE).contains(&took), "{took:?}");
    // Silence between two frames is nobody's fault.
    std::thread::sleep(Duration::from_millis(300));
    idle.publish(&[PublishFrame::new("demo", b"1")]);
    assert_eq!(idle.reply(), "ack 1");
    drop(idle);
    still_serves(&node);
}

/// It is the silence that is bounded: a slow frame may take longer, as long as it goes on.
#[test]
fn a_frame_that_comes_slowly() {
    const PATIENCE_MS: u64 = 400;
    let node = Node::with(|settings| settings.limits.head_ms = PATIENCE_MS);
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", b"1"), &mut frame);
    undisturbed("the frame goes on", Duration::from_millis(PATIENCE_MS), |timer| {
        let mut client = node.publisher_in_time();
        for bytes in frame[..8].chunks(1).chain([&frame[8..]]) {
            let _ = client.stream.write_all(bytes);
            std::thread::sleep(Duration::from_millis(PATIENCE_MS / 4));
            timer.step();
        }
        client.reply() == "ack 1"
    });
}

#[test]
fn a_frame_that_ends_early() {
    let node = Node::start();
    let mut client = node.publisher();
    client.send(&[9, 0, 0, 0, 1]);
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.replies(2), ["error 400 at 13", "end"]);
    still_serves(&node);
}

/// D6: the descriptor that was sent is closed here, so the pipe ends when its sender lets go of it.
#[test]
fn descriptors_are_not_taken() {
    let node = Node::start();
    let mut client = node.publisher();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [std::os::fd::AsFd::as_fd(&writer)];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", b"1"), &mut frame);
    sendmsg(&client.stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL).unwrap();
    drop(writer);
    assert_eq!(client.replies(2), ["error 400 at 8", "end"]);
    let mut nothing = Vec::new();
    reader.read_to_end(&mut nothing).unwrap();
    assert_eq!(nothing, b"");
    assert_eq!(node.sequencer.count(), 0);
    drop(client);
    still_serves(&node);
}

/// D7: it is read no more, and after the patience it is ended; others do not notice. Its replies
/// are whole frames when it reads at last, and the last one says why.
#[test]
fn one_that_reads_no_replies() {
    let node = Node::with(|settings| settings.limits.publisher_stall_ms = 500);
    for frame in [PublishFrame::new("bad*", b"1"), asks(FULL, b"1")] {
        let mut deaf = node.publisher();
        let mut bytes = Vec::new();
        write::publish(&frame, &mut bytes);
        let sent = flood(&mut deaf, &bytes, || {
            // Backpressure; a well-behaved neighbour is served meanwhile.
            let mut other = node.publisher();
            other.publish(&[PublishFrame::new("demo", b"1")]);
            assert_eq!(other.reply(), "ack 1");
        });
        until("its place is free", || node.metrics.ingest.publishers.read() == 0);
        let replies: Vec<_> =
            std::iter::from_fn(|| Some(deaf.reply()).filter(|reply| reply != "end")).collect();
        let (last, outcomes) = replies.split_last().unwrap();
        let offset = last.strip_prefix("error 429 at ").expect(last);
        assert!(offset.parse::<usize>().unwrap() <= sent + 8, "{last} of {sent}");
        let told = outcomes.iter().filter(|reply| !reply.starts_with("ack ")).count();
        assert!(told > 100, "{told} outcomes");
        let last = outcomes.last().unwrap();
        assert_eq!(last.split(' ').nth(1), Some(told.to_string().as_str()), "{last}");
    }
    still_serves(&node);
}

/// Writes the frame again and again and reads nothing, until the socket fails; how many bytes were
/// taken. Each time that it has to wait it calls `waits`.
fn flood(client: &mut Client, frame: &[u8], waits: impl Fn()) -> usize {
    let flood = frame.repeat(1_000);
    client.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    let begun = Instant::now();
    let failed = loop {
        match client.stream.write(&flood[sent % frame.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => waits(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
        assert!(begun.elapsed() < PATIENCE, "{sent} bytes and no end");
    };
    assert!(matches!(failed.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    sent
}

/// The kernel tells us of room only when most of its buffer is free, which takes one that reads
/// slowly longer than the patience.
#[test]
fn one_that_reads_slowly_is_not_ended() {
    const STALL_MS: u64 = 2_000;
    let node = Node::with(|settings| settings.limits.publisher_stall_ms = STALL_MS);
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("bad*", b"1"), &mut frame);
    undisturbed("it reads on", Duration::from_millis(STALL_MS), |timer| {
        let mut slow = node.publisher();
        let sent = slow.send_until_blocked(&frame.repeat(100_000), Duration::from_millis(300));
        for _ in 0..10 {
            let mut piece = [0; 16 << 10];
            slow.stream.read_exact(&mut piece).unwrap();
            slow.take(&piece);
            timer.step();
            std::thread::sleep(Duration::from_millis(STALL_MS / 5));
        }
        // Of a frame that was cut by the wait the rest is sent, so that what it has is whole.
        let _ = slow.stream.write_all(&frame[sent % frame.len()..]);
        let count = sent.div_ceil(frame.len()) as u64;
        let mut told = 0;
        while told < count {
            let reply = slow.reply();
            if reply == "end" {
                return false;
            }
            told += u64::from(reply.starts_with("refused "));
            timer.step();
        }
        true
    });
}

/// As many as may be, and one more.
#[test]
fn publishers_are_bounded() {
    let node = Node::with(|settings| settings.limits.publishers = 2);
    let (one, mut two) = (node.publisher(), node.publisher());
    let mut three = node.connect();
    assert_eq!(three.replies(2), ["error 503 at 0", "end"]);
    assert_eq!(node.metrics.ingest.turned_away.read(), 1);
    assert_eq!(node.metrics.ingest.publishers.read(), 2);
    two.publish(&[PublishFrame::new("demo", b"1")]);
    assert_eq!(two.reply(), "ack 1");
    drop(one);
    until("a place is free", || node.metrics.ingest.publishers.read() == 1);
    node.publisher();
    drop((two, three));
    still_serves(&node);
}

/// One that closes a connection and opens the next is not in its own way, even where the thread
/// hears of both at once.
#[test]
fn a_place_is_free_as_soon_as_its_publisher_has_hung_up() {
    let node = Node::with(|settings| settings.limits.publishers = 2);
    let old = node.publisher();
    let _blocker = node.stand_still();
    drop(old);
    // These were never read before they hung up: one said nothing, one has published.
    drop(node.connect());
    let mut brief = node.connect();
    let mut said = Vec::new();
    write::preface(&mut said);
    brief.send(&said);
    write::publish(&PublishFrame::new("bad*", b"1"), &mut said);
    brief.send(&said[8..]);
    drop(brief);
    let mut next = node.connect();
    next.send(&said[..8]);
    let mut one_more = node.connect();
    node.sequencer.hear();
    assert_eq!(next.reply(), "hello");
    // Who stays is in the way as before.
    assert_eq!(one_more.replies(2), ["error 503 at 0", "end"]);
    assert_eq!(node.metrics.ingest.turned_away.read(), 1);
}

/// Messages without an outcome are bounded too, however much room the inbox has.
#[test]
fn the_window_is_kept() {
    let node = Node::with_inbox(10_000, |_| {});
    let mut client = node.publisher();
    node.sequencer.deafen();
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", &[b'x'; 900]), &mut frame);
    let stream = frame.repeat(5_000);
    let sent = client.send_until_blocked(&stream, Duration::from_millis(300));
    assert!(sent < stream.len() / 2, "{sent} bytes were taken while none had an outcome");
    node.sequencer.hear();
    client.send(&stream[sent..]);
    assert_eq!(client.outcomes(5_000), [""; 0]);
    assert_eq!(node.sequencer.count(), 5_000);
}

/// D7, before the patience is over: refusals wait, so their publisher does.
#[test]
fn replies_that_nobody_reads_are_bounded() {
    let node = Node::start();
    let mut client = node.publisher();
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("bad*", b"1"), &mut frame);
    let stream = frame.repeat(100_000);
    let sent = client.send_until_blocked(&stream, Duration::from_millis(300));
    assert!(sent < stream.len() / 2, "{sent} bytes were taken while no reply was");
    let mut writer = client.stream.try_clone().unwrap();
    let rest = std::thread::spawn(move || writer.write_all(&stream[sent..]).unwrap());
    assert_eq!(client.outcomes(100_000).len(), 100_000);
    rest.join().unwrap();
}

/// D8: nobody knows whether it was published, so it is not acknowledged.
#[test]
fn an_outcome_that_nobody_knows() {
    let node = Node::start();
    let mut client = node.publisher();
    client.publish(&[PublishFrame::new("demo", b"1")]);
    assert_eq!(client.reply(), "ack 1");
    client.publish(&[PublishFrame::new(LOST, b"2")]);
    let replies = client.replies(2);
    assert!(replies[0].starts_with("error 500 at "), "{replies:?}");
    assert_eq!(replies[1], "end");
    drop(client);
    still_serves(&node);
}
