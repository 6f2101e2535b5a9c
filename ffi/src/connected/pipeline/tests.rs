//! Every way that a message can take through a pipeline.

use super::*;
use crate::outcome::{Done, Ticket};
use fanfare_protocol::ingest::client::Answer;
use std::time::Duration;

fn item(number: u64, done: Done) -> Item {
    let frame = number.to_le_bytes().into();
    Item { number, ..Item::new(frame, Courier::new(done)) }
}

fn pipeline(messages: u64) -> Pipeline {
    let mut pipeline = Pipeline::new(100);
    pipeline.add((1..=messages).map(|number| item(number, Done::Nobody)));
    pipeline
}

fn epoch() -> Epoch {
    Epoch::from_random(5)
}

fn numbers(out: &[u8]) -> Vec<u64> {
    out.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
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
    Reply::Answer(Answer { sequence, duplicate, position, offset, subscribers })
}

fn refused(sequence: u64, code: RefusalCode) -> Reply<'static> {
    Reply::Refused { sequence, code, text: "" }
}

#[test]
fn outcomes_come_in_any_order_and_once() {
    let mut pipeline = pipeline(5);
    assert_eq!(fill(&mut pipeline, 0), [1, 2, 3, 4, 5]);
    pipeline.handle(&answer(3, 30), epoch());
    pipeline.handle(&refused(2, RefusalCode::BAD_DATA), epoch());
    pipeline.handle(&answer(3, 31), epoch());
    assert_eq!(settled(&mut pipeline), [(3, Ok(30)), (2, Err(-463))]);
    assert_eq!(pipeline.first_open(), Some(1));
    pipeline.handle(&Reply::Ack(4), epoch());
    assert_eq!(settled(&mut pipeline), [(1, Ok(0)), (4, Ok(0))]);
    for nonsense in [Reply::Ack(2), answer(0, 1), answer(99, 1), Reply::Goodbye(9)] {
        pipeline.handle(&nonsense, epoch());
    }
    assert_eq!(pipeline.first_open(), Some(5));
    pipeline.handle(&Reply::Ack(u64::MAX), epoch());
    assert_eq!(settled(&mut pipeline), [(5, Ok(0))]);
    assert_eq!(pipeline.first_open(), None);
}

#[test]
fn what_has_no_outcome_is_sent_again_in_order_with_new_numbers() {
    let mut pipeline = pipeline(4);
    fill(&mut pipeline, 0);
    pipeline.add([item(5, Done::Nobody)]);
    pipeline.handle(&answer(2, 20), epoch());
    pipeline.lose();
    assert_eq!(fill(&mut pipeline, 1), [1, 3, 4, 5]);
    assert_eq!(pipeline.take_resent(), 3);
    pipeline.handle(&answer(2, 21), epoch());
    assert_eq!(settled(&mut pipeline), [(2, Ok(20)), (3, Ok(21))]);
}

#[test]
fn what_was_sent_too_long_ago_is_unknown_and_what_was_not_published_is_no_riddle() {
    let mut pipeline = pipeline(4);
    fill(&mut pipeline, 0);
    assert_eq!(pipeline.handle(&Reply::Goodbye(2), epoch()), Then::Leave);
    pipeline.lose();
    assert_eq!(pipeline.next_expiry(), Some(Millis(100)));
    pipeline.expire(Millis(99));
    assert_eq!(settled(&mut pipeline), []);
    pipeline.expire(Millis(100));
    let unknown = Err(FANFARE_E_UNKNOWN);
    assert_eq!(settled(&mut pipeline), [(1, unknown), (2, unknown)]);
    assert_eq!(fill(&mut pipeline, 500), [3, 4]);
    assert_eq!(pipeline.take_resent(), 0);
    assert_eq!(pipeline.handle(&refused(1, RefusalCode::SHUTTING_DOWN), epoch()), Then::Leave);
    pipeline.end();
    assert_eq!(settled(&mut pipeline), [(3, Err(FANFARE_E_PIPE)), (4, unknown)]);
}

#[test]
fn a_frame_that_ends_the_connection_is_not_sent_for_ever() {
    let mut pipeline = pipeline(3);
    fill(&mut pipeline, 0);
    pipeline.handle(&Reply::Ack(1), epoch());
    settled(&mut pipeline);
    let code = ErrorCode::MALFORMED;
    let error = Reply::Error { code, offset: 9, versions: (1, 1), text: "" };
    assert_eq!(pipeline.handle(&error, epoch()), Then::Leave);
    assert_eq!(settled(&mut pipeline), [(2, Err(-400))]);
    pipeline.lose();
    assert_eq!(fill(&mut pipeline, 0), [3]);
}

#[test]
fn the_server_says_how_large_and_how_many() {
    let mut pipeline = pipeline(20);
    pipeline.greet(IngestLimits { window: 2, ..IngestLimits::DEFAULT });
    assert_eq!(fill(&mut pipeline, 0).len(), 2 * WINDOWS);
    assert!(!pipeline.may_fill());
    pipeline.handle(&Reply::Ack(8), epoch());
    settled(&mut pipeline);
    pipeline.greet(IngestLimits { frame_bytes: 3, ..IngestLimits::DEFAULT });
    assert_eq!(fill(&mut pipeline, 0), [0; 0]);
    assert_eq!(settled(&mut pipeline).len(), 12);
}

#[test]
fn an_acknowledgement_without_the_answer_that_was_asked_for_is_no_success() {
    let ticket = Ticket::new(1);
    let mut pipeline = Pipeline::new(100);
    pipeline.add([item(1, Done::Wait(ticket.clone(), 0))]);
    fill(&mut pipeline, 0);
    pipeline.handle(&Reply::Ack(1), epoch());
    pipeline.take_settled().into_iter().for_each(|(item, outcome)| item.deliver(outcome));
    assert_eq!(ticket.wait(Duration::ZERO), [Some(Err(FANFARE_E_UNKNOWN))]);
}
