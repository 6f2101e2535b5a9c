//! Publishing: kinds, outcomes and their order, batches, backpressure, farewell.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use fanfare_protocol::ingest::{DeclaredKind, PublishFrame, write};
use fanfare_protocol::message::Kind;

use crate::node::{Node, PATIENCE, asks, until};
use crate::stand_in::FULL;

#[test]
fn a_message_arrives_as_it_was_sent() {
    let node = Node::start();
    let mut client = node.publisher();
    let known = |kind, data| PublishFrame {
        kind: DeclaredKind::Known(kind),
        event: Some(b"tick"),
        idempotency_key: Some(b"\x00key"),
        ..asks("demo", data)
    };
    client.publish(&[
        known(Kind::Json, b"{\"n\": 1.0}"),
        known(Kind::Text, b"[1]"),
        known(Kind::Binary, b"hi"),
        asks("demo", b"[1]"),
        asks("other", b"hi"),
        asks("demo", b"\xff"),
    ]);
    let expected = [
        "answer 1 1/1",
        "answer 2 2/2",
        "answer 3 3/3",
        "answer 4 4/4",
        "answer 5 5/1",
        "answer 6 6/5",
    ];
    assert_eq!(client.outcomes(6), expected);
    let published = node.sequencer.published.lock().unwrap();
    let kinds: Vec<_> = published.iter().map(|p| p.kind).collect();
    use Kind::{Binary, Json, Text};
    assert_eq!(kinds, [Json, Text, Binary, Json, Text, Binary]);
    assert_eq!(&*published[0].data, b"{\"n\": 1.0}");
    assert_eq!(published[0].event.as_deref(), Some("tick"));
    assert_eq!(published[0].idempotency_key.as_deref(), Some(&b"\x00key"[..]));
    assert_eq!(
        (published[3].event.as_deref(), published[3].idempotency_key.as_deref()),
        (None, None)
    );
    assert_eq!(&*published[4].channel.name, "other");
    assert_eq!(published[4].channel.tenant.as_str(), "default");
}

#[test]
fn refusals_stand_at_their_place_and_before_the_acknowledgement() {
    let node = Node::start();
    let mut client = node.publisher();
    let large = [b'x'; 1_001];
    client.publish(&[
        PublishFrame::new("demo", b"1"),
        PublishFrame::new("bad*name", b"2"),
        asks("demo", b"3"),
        asks(FULL, b"4"),
        PublishFrame { event: Some(b"fanfare.gap"), ..PublishFrame::new("demo", b"5") },
        PublishFrame::new("demo", b""),
        PublishFrame::new("demo", &large),
        PublishFrame { kind: DeclaredKind::Known(Kind::Json), ..PublishFrame::new("demo", b"{") },
        PublishFrame { idempotency_key: Some(b""), ..PublishFrame::new("demo", b"9") },
        PublishFrame {
            kind: DeclaredKind::Known(Kind::Text),
            ..PublishFrame::new("demo", b"\xff")
        },
        PublishFrame::new("demo", b"11"),
    ]);
    let expected = [
        "refused 2 460",
        "answer 3 2/2",
        "refused 4 507",
        "refused 5 461",
        "refused 6 463",
        "refused 7 413",
        "refused 8 463",
        "refused 9 462",
        "refused 10 463",
    ];
    assert_eq!(client.outcomes(11), expected);
    assert_eq!(node.sequencer.payloads(), [&b"1"[..], b"3", b"11"]);
    assert_eq!(node.metrics.ingest.refused.read(), 8);
}

/// Whoever reads acknowledgements alone knows when all is told, whatever its messages asked for.
#[test]
fn every_run_of_outcomes_ends_with_an_acknowledgement() {
    let node = Node::start();
    let mut client = node.publisher();
    client.publish(&[asks("demo", b"1")]);
    assert_eq!(client.replies(2), ["answer 1 1/1", "ack 1"]);
    client.publish(&[PublishFrame::new("bad*name", b"2")]);
    assert_eq!(client.replies(2), ["refused 2 460", "ack 2"]);
    client.publish(&[PublishFrame::new("demo", b"3")]);
    assert_eq!(client.reply(), "ack 3");
    // With the outcomes that it covers in one write, and not a moment later.
    let (four, five) = (asks("demo", b"4"), asks(FULL, b"5"));
    let mut batch = Vec::new();
    write::batch(&[four, five], &mut batch);
    client.send(&batch);
    assert_eq!(client.reply(), "answer 4 3/3");
    assert!(client.has_unread(), "the others came in another write");
    assert_eq!(client.replies(2), ["refused 5 507", "ack 5"]);
}

#[test]
fn frames_of_one_read_are_few_commands_and_a_batch_is_one() {
    let node = Node::start();
    let mut client = node.publisher();
    let texts: Vec<_> = (0..25).map(|n| n.to_string()).collect();
    let frames: Vec<_> = texts.iter().map(|t| PublishFrame::new("demo", t.as_bytes())).collect();
    client.publish(&frames);
    assert_eq!(client.outcomes(25), [""; 0]);
    assert_eq!(node.sequencer.commands.lock().unwrap().iter().sum::<usize>(), 25);
    assert!(node.sequencer.commands.lock().unwrap().len() <= 5);
    node.sequencer.commands.lock().unwrap().clear();
    let mut batch = Vec::new();
    write::batch(&frames[..10], &mut batch);
    // In two pieces: it is one command however it arrives.
    client.send(&batch[..20]);
    std::thread::sleep(Duration::from_millis(30));
    client.send(&batch[20..]);
    assert_eq!(client.outcomes(35), [""; 0]);
    assert_eq!(*node.sequencer.commands.lock().unwrap(), [10]);
    let all: Vec<_> = (0..25).chain(0..10).map(|n: u32| n.to_string().into_bytes()).collect();
    assert_eq!(node.sequencer.payloads(), all);
}

#[test]
fn many_publishers_keep_each_their_order() {
    let node = Node::start();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let mut client = node.publisher();
            scope.spawn(move || {
                for n in 0..500u32 {
                    let text = n.to_string();
                    client.publish(&[PublishFrame::new(name, text.as_bytes())]);
                }
                assert_eq!(client.outcomes(500), [""; 0]);
            });
        }
    });
    let published = node.sequencer.published.lock().unwrap();
    for name in ["a", "b", "c", "d"] {
        let own = published.iter().filter(|p| &*p.channel.name == name);
        let own: Vec<u32> =
            own.map(|p| std::str::from_utf8(&p.data).unwrap().parse().unwrap()).collect();
        assert_eq!(own, (0..500).collect::<Vec<_>>(), "{name}");
    }
}

/// Nothing that is published depends on chance: who was accepted first has its turn first.
#[test]
fn publishers_that_wait_have_their_turns_as_they_were_accepted() {
    let node = Node::start();
    let mut clients: Vec<_> = (0..32_u8).map(|nth| (nth, node.publisher())).collect();
    let _blocker = node.stand_still();
    for (nth, client) in clients.iter_mut().rev() {
        client.publish(&[PublishFrame::new("demo", &[b'A' + *nth])]);
    }
    node.sequencer.hear();
    for (_, client) in &mut clients {
        assert_eq!(client.reply(), "ack 1");
    }
    let payloads = node.sequencer.payloads();
    let (_, theirs) = payloads.split_at(payloads.len() - clients.len());
    let theirs: Vec<u8> = theirs.concat();
    assert!(theirs.is_sorted(), "{theirs:?}");
}

#[test]
fn a_full_inbox_is_felt_in_the_publishers_write() {
    let node = Node::start();
    let mut client = node.publisher();
    node.sequencer.deafen();
    let data = [b'x'; 900];
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", &data), &mut frame);
    let stream = frame.repeat(2_000);
    let sent = client.send_until_blocked(&stream, Duration::from_millis(200));
    assert!(sent < stream.len(), "all was taken while nobody sequenced");
    node.sequencer.hear();
    client.send(&stream[sent..]);
    assert_eq!(client.outcomes(2_000), [""; 0]);
    assert_eq!(node.sequencer.count(), 2_000);
}

#[test]
fn outcomes_are_told_to_one_that_has_ended_its_side() {
    let node = Node::start();
    let mut client = node.publisher();
    client.publish(&[asks("demo", b"1"), PublishFrame::new("", b"2")]);
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let replies = client.replies(4);
    assert_eq!(replies, ["answer 1 1/1", "refused 2 460", "ack 2", "end"]);
    drop(client);
    until("the place is free", || node.metrics.ingest.publishers.read() == 0);
}

#[test]
fn one_that_leaves_has_published() {
    let node = Node::start();
    node.sequencer.deafen();
    let mut client = node.publisher();
    client.publish(&[PublishFrame::new("demo", b"1")]);
    until("it is read", || node.metrics.in_flight.held() > 0);
    drop(client);
    node.sequencer.hear();
    until("it is published", || node.sequencer.count() == 1);
    until("the place is free", || node.metrics.ingest.publishers.read() == 0);
    let mut next = node.publisher();
    next.publish(&[asks("demo", b"2")]);
    assert_eq!(next.outcomes(1), ["answer 1 2/2"]);
}

#[test]
fn a_stop_tells_outcomes_and_goodbye() {
    let mut node = Node::start();
    let mut busy = node.publisher();
    let mut idle = node.publisher();
    busy.publish(&[PublishFrame::new("demo", b"1"), asks("demo", b"2")]);
    assert_eq!(busy.outcomes(2), ["answer 2 2/2"]);
    node.sequencer.deafen();
    busy.publish(&[asks("demo", b"3")]);
    until("it is read", || node.metrics.in_flight.held() > 0);
    let deaf = std::sync::Arc::clone(&node.sequencer.deaf);
    let reader = std::thread::spawn(move || {
        let idle = idle.replies(2);
        // The stop has begun, and waits for this outcome.
        deaf.store(false, SeqCst);
        (busy.replies(4), idle)
    });
    node.stop();
    let (busy, idle) = reader.join().unwrap();
    assert_eq!(busy, ["answer 3 3/3", "ack 3", "goodbye 3 503", "end"]);
    assert_eq!(idle, ["goodbye 0 503", "end"]);
    assert!(!node.path.exists());
}

#[test]
fn a_stop_is_bounded() {
    let mut node = Node::with(|settings| settings.limits.shutdown_ms = 800);
    let mut client = node.publisher();
    node.sequencer.deafen();
    client.publish(&[PublishFrame::new("demo", b"1")]);
    until("it is read", || node.metrics.in_flight.held() > 0);
    let begun = Instant::now();
    node.stop();
    let took = begun.elapsed();
    assert!((Duration::from_millis(190)..PATIENCE).contains(&took), "{took:?}");
    assert_eq!(client.reply(), "end");
}

#[test]
fn json_that_common_parsers_refuse_is_refused_with_the_rule_or_detected_as_text() {
    let node = Node::start();
    let mut client = node.publisher();
    let json = |data| PublishFrame { kind: DeclaredKind::Known(Kind::Json), ..asks("demo", data) };
    let deep = [[b'['; 65], [b']'; 65]].concat();
    client.publish(&[
        json(&deep),
        json(b"[1E400]"),
        json(b"\"\\udc00\""),
        json(b"\xef\xbb\xbf{}"),
        json(b"[\xff]"),
        json(&deep[1..129]),
        asks("demo", &deep),
        asks("demo", b"[1E400]"),
        asks("demo", b"\xef\xbb\xbf{}"),
    ]);
    let outcomes = client.outcomes(9);
    let refused = outcomes.iter().filter(|outcome| outcome.starts_with("refused"));
    let refused: Vec<_> = refused.map(String::as_str).collect();
    assert_eq!(refused.len(), 4, "{outcomes:?}");
    assert!(refused.iter().all(|outcome| outcome.contains("463")), "{refused:?}");
    let published = node.sequencer.published.lock().unwrap();
    let kinds: Vec<_> = published.iter().map(|p| (p.kind, p.data.len())).collect();
    use Kind::{Json, Text};
    // A byte order mark is no part of JSON, said or found out.
    assert_eq!(kinds, [(Json, 2), (Json, 128), (Text, 130), (Text, 7), (Json, 2)]);
}

#[test]
fn a_message_that_grows_beyond_a_frame_is_refused() {
    let node = Node::start(); // of messages of 1,000 bytes
    let mut client = node.publisher();
    let (breaks, controls) = ([b'\n'; 1_000], [1; 1_000]);
    client.publish(&[asks("demo", &breaks), asks("demo", &controls), asks("demo", &[b'x'; 1_000])]);
    let outcomes = client.outcomes(3);
    assert!(outcomes[..2].iter().all(|outcome| outcome.contains("413")), "{outcomes:?}");
    assert_eq!(node.sequencer.published.lock().unwrap().len(), 1);
}
