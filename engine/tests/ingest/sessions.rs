//! Sessions on a real socket: what a new connection is told of an old one.

use fanfare_protocol::ingest::session::{Open, SessionId};
use fanfare_protocol::ingest::{PublishFrame, write};

use crate::node::{Client, Node, asks, until};

const ONE: SessionId = SessionId([1; 16]);
const TWO: SessionId = SessionId([2; 16]);

fn opening(session: SessionId, resumes: bool, confirmed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write::session_preface(&mut out);
    write::open(&Open { session, resumes, confirmed }, &mut out);
    out
}

fn open(node: &Node, session: SessionId, resumes: bool, confirmed: u64) -> (Client, String) {
    let mut client = node.connect();
    client.send(&opening(session, resumes, confirmed));
    let hello = client.reply();
    (client, hello)
}

fn kept(node: &Node, sessions: u64) {
    until("the session is kept", || node.metrics.ingest.sessions.read() == sessions);
}

#[test]
fn outcomes_that_were_not_confirmed_are_told_again_on_another_connection() {
    let node = Node::start();
    let (mut client, hello) = open(&node, ONE, false, 0);
    assert_eq!(hello, "hello, not known");
    client.publish(&[
        PublishFrame::new("demo", b"1"),
        asks("demo", b"2"),
        asks("bad*", b"3"),
        asks("demo", b"4"),
    ]);
    let told = ["answer 2 2/2", "refused 3 460", "answer 4 3/3"];
    assert_eq!(client.outcomes(4), told);
    drop(client);
    kept(&node, 1);
    let (mut client, hello) = open(&node, ONE, true, 2);
    assert_eq!(hello, "hello, 4 taken");
    assert_eq!(client.replies(3), ["refused 3 460", "answer 4 3/3", "ack 4"]);
    // The next message is the fifth, whatever this connection has sent.
    client.publish(&[asks("demo", b"5")]);
    assert_eq!(client.outcomes(5), ["answer 5 4/4"]);
    let mut confirm = Vec::new();
    write::confirm(5, &mut confirm);
    client.send(&confirm);
    client.publish(&[PublishFrame::new("demo", b"6")]);
    assert_eq!(client.reply(), "ack 6");
    drop(client);
    kept(&node, 1);
    let (mut client, hello) = open(&node, ONE, true, 5);
    assert_eq!((hello.as_str(), client.reply().as_str()), ("hello, 6 taken", "ack 6"));
    assert_eq!(node.sequencer.payloads(), [&b"1"[..], b"2", b"4", b"5", b"6"]);
    assert_eq!(node.metrics.ingest.sessions_resumed.read(), 2);
}

#[test]
fn results_find_the_session_wherever_it_is() {
    let node = Node::with_inbox(100, |_| {});
    let (mut client, _) = open(&node, ONE, false, 0);
    node.sequencer.deafen();
    client.publish(&[asks("demo", b"1"), PublishFrame::new("demo", b"2")]);
    // The half of a third one is never taken.
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", b"3"), &mut frame);
    client.send(&frame[..9]);
    let (mut other, hello) = open(&node, ONE, true, 0);
    assert_eq!(hello, "hello, 2 taken");
    let farewell = client.replies(2);
    assert!(farewell[0].starts_with("error 409 at ") && farewell[1] == "end", "{farewell:?}");
    drop(other);
    // The end of the stream is not the end of the session, but its outcomes are waited for.
    other = node.connect();
    other.send(&opening(ONE, true, 0));
    assert_eq!(other.reply(), "hello, 2 taken");
    node.sequencer.hear();
    assert_eq!(other.outcomes(2), ["answer 1 1/1"]);
    assert_eq!(node.sequencer.payloads(), [&b"1"[..], b"2"]);
}

/// All of them are read in one turn, and some have hung up by then.
#[test]
fn of_many_that_want_one_session_the_newest_has_it() {
    let node = Node::with(|settings| settings.limits.publishers = 20);
    let (mut client, _) = open(&node, ONE, false, 0);
    client.publish(&[PublishFrame::new("demo", b"1")]);
    assert_eq!(client.reply(), "ack 1");
    let _blocker = node.stand_still();
    let mut others: Vec<Client> = (0..10)
        .map(|_| {
            let mut other = node.connect();
            other.send(&opening(ONE, true, 1));
            other
        })
        .collect();
    let mut newest = others.pop().unwrap();
    others.truncate(5); // the others of them are closed
    node.sequencer.hear();
    assert_eq!(newest.reply(), "hello, 1 taken");
    newest.publish(&[PublishFrame::new("demo", b"2")]);
    assert_eq!(newest.reply(), "ack 2");
    for mut other in others.into_iter().chain([client]) {
        let last = std::iter::from_fn(|| Some(other.reply()).filter(|reply| reply != "end")).last();
        assert!(last.as_ref().is_some_and(|last| last.starts_with("error 409")), "{last:?}");
    }
}

#[test]
fn a_session_that_is_not_known_is_not_made_by_resuming_it() {
    let node = Node::start();
    for _ in 0..2 {
        let (mut client, hello) = open(&node, ONE, true, 7);
        assert_eq!(hello, "hello, not known");
        let mut again = Vec::new();
        write::open(&Open { session: TWO, resumes: false, confirmed: 0 }, &mut again);
        write::publish(&PublishFrame::new("demo", b"1"), &mut again);
        write::end(&mut again);
        client.send(&again);
        // It has ended its session, so that it is new the next time.
        assert_eq!(client.replies(3), ["hello, not known", "ack 1", "end"]);
    }
    assert_eq!(node.metrics.ingest.sessions_forgotten.read(), 0);
    kept(&node, 0);
}

/// Who has read the end may be back before the node has seen its connection go.
#[test]
fn a_session_that_was_ended_is_forgotten_when_its_publisher_reads_so() {
    let node = Node::start();
    for _ in 0..200 {
        let (mut client, hello) = open(&node, ONE, false, 0);
        assert_eq!(hello, "hello, not known");
        client.publish(&[PublishFrame::new("demo", b"1")]);
        let mut end = Vec::new();
        write::end(&mut end);
        client.send(&end);
        assert_eq!(client.replies(2), ["ack 1", "end"]);
    }
    kept(&node, 0);
}

#[test]
fn sessions_without_a_connection_are_bounded_in_number_and_age() {
    let node = Node::with(|settings| {
        settings.limits.publisher_sessions = 2;
        settings.limits.publisher_session_age_ms = 600;
    });
    for (nth, byte) in [1, 2, 3].into_iter().enumerate() {
        let (mut client, _) = open(&node, SessionId([byte; 16]), false, 0);
        client.publish(&[PublishFrame::new("demo", b"1")]);
        assert_eq!(client.reply(), "ack 1");
        drop(client);
        let metrics = &node.metrics.ingest;
        let expected = (nth as u64 + 1).min(2);
        until("it is kept", || metrics.sessions.read() == expected || nth == 2);
        until("the oldest goes", || nth < 2 || metrics.sessions_forgotten.read() >= 1);
    }
    assert_eq!(open(&node, ONE, true, 1).1, "hello, not known");
    kept(&node, 0);
    assert_eq!(node.metrics.ingest.sessions_forgotten.read(), 3);
    assert_eq!(open(&node, SessionId([3; 16]), true, 1).1, "hello, not known");
}

#[test]
fn what_a_session_may_not_do_ends_the_connection_and_not_the_session() {
    let node = Node::start();
    let (mut client, _) = open(&node, ONE, false, 0);
    let mut confirm = Vec::new();
    write::confirm(1, &mut confirm);
    client.send(&confirm);
    assert_eq!(client.replies(2), ["error 400 at 43", "end"]);
    drop(client);
    let (mut client, _) = open(&node, ONE, false, 0);
    client.publish(&[PublishFrame::new("demo", b"1")]);
    assert_eq!(client.reply(), "ack 1");
    let (_, ahead) = open(&node, ONE, true, 2);
    assert_eq!(ahead, "error 400 at 30");
    assert_eq!(open(&node, TWO, false, 1).1, "error 400 at 30", "a new one has no outcomes");
    client.publish(&[PublishFrame::new("demo", b"2")]);
    assert_eq!(client.reply(), "ack 2", "who asks wrongly takes nothing over");
    // 8 windows of 10 may be unconfirmed.
    client.publish(&[PublishFrame::new("demo", b"x"); 80]);
    let replies: Vec<String> =
        std::iter::from_fn(|| Some(client.reply()).filter(|reply| reply != "end")).collect();
    let last = replies.len() - 2;
    assert!(replies[last] == "ack 80" && replies[last + 1].starts_with("error 413"), "{replies:?}");
    drop(client);
    assert_eq!(open(&node, ONE, true, 80).1, "hello, 80 taken");
    assert_eq!(node.sequencer.count(), 80);
}

/// A simple one, which remembers no more than its messages.
#[test]
fn a_publisher_that_says_it_has_seen_less_than_it_confirmed_is_served() {
    let node = Node::start();
    let (mut client, _) = open(&node, ONE, false, 0);
    // As many as may be unconfirmed, all of them confirmed.
    for last in (10..=80).step_by(10) {
        client.publish(&[asks("demo", b"x"); 10]);
        assert_eq!(client.outcomes(last).len(), 10);
        let mut confirm = Vec::new();
        write::confirm(last - 1, &mut confirm);
        client.send(&confirm);
    }
    drop(client);
    kept(&node, 1);
    let (mut client, hello) = open(&node, ONE, true, 0);
    assert_eq!(hello, "hello, 80 taken");
    assert_eq!(client.replies(2), ["answer 80 80/80", "ack 80"]);
    client.publish(&[PublishFrame::new("demo", b"81")]);
    assert_eq!(client.reply(), "ack 81");
    let mut confirm = Vec::new();
    write::confirm(81, &mut confirm);
    client.send(&confirm);
    drop(client);
    kept(&node, 1);
    let (mut client, hello) = open(&node, ONE, true, 0);
    assert_eq!(hello, "hello, 81 taken");
    assert_eq!(client.reply(), "ack 81", "nothing is kept, but it waits for something");
}
