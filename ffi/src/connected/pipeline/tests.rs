//! Every way that a message can take through a pipeline.

use super::*;
use crate::outcome::{Done, Ticket};
use fanfare_protocol::ingest::client::Answer;
use fanfare_protocol::ingest::session::Standing;
use fanfare_protocol::ingest::{ChannelReceipts, GoodbyeCode};
use std::time::Duration;

fn item(number: u64, done: Done) -> Item {
    let frame = number.to_le_bytes().into();
    Item { number, ..Item::new(frame, OutcomeSender::new(done)) }
}

const FIRST: SessionId = SessionId([1; 16]);
const SECOND: SessionId = SessionId([2; 16]);

/// A server in this life that has the session, or not, and took so many.
fn hello(life: u64, known: bool, taken: u64) -> Hello {
    let (epoch, limits) = (Epoch::from_random(life), IngestLimits::DEFAULT);
    let session = Some(Standing { known, taken, limits: SessionLimits::DEFAULT, life: epoch });
    Hello { version: 2, epoch, limits, session }
}

/// Connects to the first server that is met.
fn pipeline(messages: u64) -> Pipeline {
    let mut pipeline = Pipeline::new(100, FIRST);
    let open = Open { session: FIRST, resumes: false, confirmed: 0 };
    assert_eq!(pipeline.opening(), open);
    assert_eq!(pipeline.greet(&hello(5, false, 0), SECOND), Greeting::Open);
    pipeline.add((1..=messages).map(|number| item(number, Done::Nobody)));
    pipeline
}

/// Messages are eight bytes each, a confirmation is 13 and comes first.
fn numbers(out: &[u8]) -> Vec<u64> {
    let messages = &out[if out.len() % 8 == 5 { 13 } else { 0 }..];
    messages.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
}

fn fill(pipeline: &mut Pipeline, now: u64) -> Vec<u64> {
    let mut out = Vec::new();
    pipeline.fill(&mut out, Millis(now));
    numbers(&out)
}

fn settled(pipeline: &mut Pipeline) -> Vec<(u64, Result<u64, i32>)> {
    let settled = pipeline.take_settled();
    settled.into_iter().map(|(item, out)| (item.number, out.map(|p| p.position))).collect()
}

fn answer(sequence: u64, position: u64) -> Reply<'static> {
    let (duplicate, offset, subscribers) = (false, 1, 0);
    let (also, epoch) = (ChannelReceipts::default(), None);
    Reply::Answer(Answer { sequence, duplicate, position, offset, subscribers, also, epoch })
}

fn goodbye(last: u64) -> Reply<'static> {
    Reply::Goodbye { last, code: GoodbyeCode::EPOCH }
}

fn refused(sequence: u64, code: RefusalCode) -> Reply<'static> {
    Reply::Refused { sequence, code, text: "" }
}

#[test]
fn outcomes_come_in_any_order_and_once() {
    let mut pipeline = pipeline(5);
    assert_eq!(fill(&mut pipeline, 0), [1, 2, 3, 4, 5]);
    pipeline.handle(&answer(3, 30));
    pipeline.handle(&refused(2, RefusalCode::BAD_DATA));
    pipeline.handle(&answer(3, 31));
    assert_eq!(settled(&mut pipeline), [(3, Ok(30)), (2, Err(-463))]);
    assert_eq!(pipeline.first_open(), Some(1));
    pipeline.handle(&Reply::Ack(4));
    assert_eq!(settled(&mut pipeline), [(1, Ok(0)), (4, Ok(0))]);
    for nonsense in [Reply::Ack(2), answer(0, 1), answer(99, 1), goodbye(9)] {
        pipeline.handle(&nonsense);
    }
    assert_eq!(pipeline.first_open(), Some(5));
    pipeline.handle(&Reply::Ack(u64::MAX));
    assert_eq!(settled(&mut pipeline), [(5, Ok(0))]);
    assert_eq!(pipeline.first_open(), None);
}

#[test]
fn what_was_not_taken_is_sent_again_and_the_rest_is_waited_for() {
    let mut pipeline = pipeline(4);
    fill(&mut pipeline, 0);
    pipeline.add([item(5, Done::Nobody)]);
    pipeline.handle(&Reply::Ack(1));
    pipeline.handle(&answer(3, 30));
    pipeline.lose(0);
    let again = Open { session: FIRST, resumes: true, confirmed: 1 };
    assert_eq!(pipeline.opening(), again);
    assert_eq!(pipeline.greet(&hello(5, true, 3), SECOND), Greeting::Open);
    assert_eq!(fill(&mut pipeline, 1), [4, 5]);
    assert_eq!(pipeline.take_resent(), 1);
    pipeline.handle(&answer(3, 30));
    pipeline.handle(&answer(5, 50));
    pipeline.handle(&Reply::Ack(5));
    let expected = [(1, Ok(0)), (3, Ok(30)), (5, Ok(50)), (2, Ok(0)), (4, Ok(0))];
    assert_eq!(settled(&mut pipeline), expected);
    // What was heard is confirmed by what is written next.
    pipeline.add([item(6, Done::Nobody)]);
    let mut out = Vec::new();
    pipeline.fill(&mut out, Millis(2));
    let mut confirm = Vec::new();
    write::confirm(5, &mut confirm);
    assert_eq!(out, [&confirm[..], &6_u64.to_le_bytes()].concat());
}

#[test]
fn no_server_takes_less_than_it_acknowledged_or_more_than_there_was() {
    for (taken, greeting) in [
        (1, Greeting::Nonsense),
        (2, Greeting::Open),
        (4, Greeting::Open),
        (5, Greeting::Nonsense),
        (u64::MAX, Greeting::Nonsense),
    ] {
        let mut pipeline = pipeline(4);
        fill(&mut pipeline, 0);
        pipeline.handle(&Reply::Ack(2));
        pipeline.lose(0);
        assert_eq!(pipeline.greet(&hello(5, true, taken), SECOND), greeting, "{taken}");
    }
    let plain = Hello { version: 1, session: None, ..hello(5, true, 0) };
    assert_eq!(pipeline(0).greet(&plain, SECOND), Greeting::Nonsense);
}

#[test]
fn a_session_that_was_forgotten_leaves_riddles_and_another_life_none() {
    let another = Greeting::Another(Open { session: SECOND, resumes: false, confirmed: 0 });
    for (life, told, sent) in [(5, 2, vec![4, 5]), (6, 0, vec![2, 3, 4, 5])] {
        let mut pipeline = pipeline(4);
        fill(&mut pipeline, 0);
        pipeline.add([item(5, Done::Nobody)]);
        pipeline.handle(&Reply::Ack(1));
        settled(&mut pipeline);
        // The last message was never given to the socket.
        pipeline.lose(8 + 3);
        assert_eq!(pipeline.greet(&hello(life, false, 0), SECOND), another);
        let unknown = Err(FANFARE_E_UNKNOWN);
        assert_eq!(settled(&mut pipeline), [(2, unknown), (3, unknown)][..told]);
        assert_eq!(pipeline.greet(&hello(life, false, 0), FIRST), Greeting::Open);
        assert_eq!(fill(&mut pipeline, 1), sent, "life {life}");
        pipeline.handle(&answer(1, 10));
        assert_eq!(settled(&mut pipeline), [(sent[0], Ok(10))]);
    }
}

#[test]
fn what_was_sent_too_long_ago_is_unknown_and_what_was_not_published_is_no_riddle() {
    let mut pipeline = pipeline(4);
    fill(&mut pipeline, 0);
    assert_eq!(pipeline.handle(&goodbye(2)), Then::Leave);
    pipeline.lose(0);
    assert_eq!(pipeline.next_expiry(), Some(Millis(100)));
    pipeline.expire(Millis(99));
    assert_eq!(settled(&mut pipeline), []);
    pipeline.expire(Millis(100));
    let unknown = Err(FANFARE_E_UNKNOWN);
    assert_eq!(settled(&mut pipeline), [(1, unknown), (2, unknown)]);
    // It is the same life all the same, and it took all of them.
    assert_eq!(pipeline.greet(&hello(5, true, 4), SECOND), Greeting::Open);
    assert_eq!(fill(&mut pipeline, 500), [3, 4]);
    assert_eq!(pipeline.handle(&refused(5, RefusalCode::SHUTTING_DOWN)), Then::Leave);
    pipeline.close();
    assert_eq!(settled(&mut pipeline), [(3, Err(FANFARE_E_PIPE)), (4, unknown)]);
}

#[test]
fn where_there_is_no_hope_nobody_waits() {
    let mut pipeline = pipeline(1);
    fill(&mut pipeline, 0);
    pipeline.add([item(2, Done::Nobody)]);
    pipeline.lose(0);
    pipeline.end(-403, SECOND);
    assert_eq!(settled(&mut pipeline), [(1, Err(FANFARE_E_UNKNOWN)), (2, Err(-403))]);
    // What was told unknown is not asked for again.
    let open = Open { session: SECOND, resumes: false, confirmed: 0 };
    assert_eq!(pipeline.opening(), open);
}

#[test]
fn a_frame_that_ends_the_connection_is_not_sent_for_ever() {
    let mut pipeline = pipeline(3);
    fill(&mut pipeline, 0);
    pipeline.handle(&Reply::Ack(1));
    settled(&mut pipeline);
    let code = ErrorCode::MALFORMED;
    let error = Reply::Error { code, offset: 9, versions: (1, 1), text: "" };
    assert_eq!(pipeline.handle(&error), Then::Leave);
    assert_eq!(settled(&mut pipeline), [(2, Err(-400))]);
    pipeline.lose(0);
    // Its number is free again.
    assert_eq!(pipeline.greet(&hello(5, true, 1), SECOND), Greeting::Open);
    assert_eq!(fill(&mut pipeline, 0), [3]);
    pipeline.handle(&answer(2, 7));
    assert_eq!(settled(&mut pipeline), [(3, Ok(7))]);
}

#[test]
fn the_server_says_how_large_and_how_many() {
    let mut pipeline = pipeline(20);
    let limited = |window, frame_bytes, unconfirmed| {
        let limits = IngestLimits { window, frame_bytes, ..IngestLimits::DEFAULT };
        let limits_of_sessions = SessionLimits { unconfirmed, ..SessionLimits::DEFAULT };
        let hello = hello(5, true, 0);
        let session = hello.session.map(|it| Standing { limits: limits_of_sessions, ..it });
        Hello { limits, session, ..hello }
    };
    pipeline.greet(&limited(2, 99, 99), SECOND);
    assert_eq!(fill(&mut pipeline, 0).len(), 2 * WINDOWS);
    assert!(!pipeline.may_fill());
    pipeline.greet(&limited(2, 99, 5), SECOND);
    assert_eq!(fill(&mut pipeline, 0).len(), 5);
    pipeline.handle(&Reply::Ack(5));
    settled(&mut pipeline);
    pipeline.limits.frame_bytes = 3;
    let mut out = Vec::new();
    pipeline.fill(&mut out, Millis(0));
    assert_eq!(out.len(), 13, "a confirmation alone");
    assert_eq!(settled(&mut pipeline).len(), 15);
}

#[test]
fn an_acknowledgement_without_the_answer_that_was_asked_for_is_no_success() {
    let ticket = Ticket::new(1);
    let mut pipeline = pipeline(0);
    pipeline.add([item(1, Done::Wait(ticket.clone(), 0))]);
    fill(&mut pipeline, 0);
    pipeline.handle(&Reply::Ack(1));
    pipeline.take_settled().into_iter().for_each(|(item, outcome)| item.deliver(outcome));
    assert_eq!(ticket.wait(Duration::ZERO), [Some(Err(FANFARE_E_UNKNOWN))]);
}
