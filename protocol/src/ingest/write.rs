//! Frames of both ends as bytes, appended to a `Vec` that the caller sends and clears.

use super::client::{Answer, Hello};
use super::code::{ErrorCode, GoodbyeCode, RefusalCode};
use super::numbers::{
    FLAG_DUPLICATE, FLAG_EPOCH, MAGIC, VERSION, VERSION_WITH_SESSIONS, VERSIONS, field, frame_type,
};
use super::publish::{FLAG_ANSWER, PublishFrame};
use super::session::{FLAG_KNOWN, FLAG_RESUME, Open};
use crate::id::Epoch;
use crate::limits::INGEST_TEXT_BYTES_MAX;

/// Appends what a publisher sends first, without sessions.
pub fn preface(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
}

/// Appends what a publisher sends first, with sessions; [`open`] follows.
pub fn session_preface(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(VERSION_WITH_SESSIONS);
}

/// Appends an OPEN frame.
pub fn open(open: &Open, out: &mut Vec<u8>) {
    frame(frame_type::OPEN, out, |out| {
        out.push(if open.resumes { FLAG_RESUME } else { 0 });
        out.extend_from_slice(&open.session.0);
        out.extend_from_slice(&open.confirmed.to_le_bytes());
    });
}

/// Appends a CONFIRM frame.
pub fn confirm(sequence: u64, out: &mut Vec<u8>) {
    frame(frame_type::CONFIRM, out, |out| out.extend_from_slice(&sequence.to_le_bytes()));
}

/// Appends an END frame; nothing may follow it.
pub fn end(out: &mut Vec<u8>) {
    frame(frame_type::END, out, |_| {});
}

/// Appends a PUBLISH frame.
///
/// # Panics
/// When a name, key or payload is longer than its length field can say: 65,535 bytes for names and
/// keys, 4 GiB for the frame. Limits are far below; the caller checks them.
pub fn publish(message: &PublishFrame<'_>, out: &mut Vec<u8>) {
    frame(frame_type::PUBLISH, out, |out| write_message(message, out));
}

/// Bytes that [`publish`] appends: for a buffer that is allocated once.
pub fn publish_bytes(message: &PublishFrame<'_>) -> usize {
    // Length, type, flags, kind, and the lengths of channel, fields and data.
    const FIXED_BYTES: usize = 4 + 1 + 1 + 1 + 2 + 2 + 4;
    FIXED_BYTES + message.channel.len() + fields_bytes(message) + message.data.len()
}

/// Appends a BATCH frame.
///
/// # Panics
/// As [`publish`], and when there is no message: no such frame may be sent.
pub fn batch<'a, 'm: 'a>(
    messages: impl IntoIterator<Item = &'a PublishFrame<'m>>,
    out: &mut Vec<u8>,
) {
    frame(frame_type::BATCH, out, |out| {
        out.push(0);
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut count: u32 = 0;
        for message in messages {
            count += 1;
            write_message(message, out);
        }
        assert!(count > 0, "a batch has at least one message");
        out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    });
}

/// Appends a HELLO frame.
pub fn hello(hello: &Hello, out: &mut Vec<u8>) {
    frame(frame_type::HELLO, out, |out| {
        let limits = hello.limits;
        out.push(hello.version);
        out.extend_from_slice(&hello.epoch.number().to_le_bytes());
        let numbers =
            [limits.frame_bytes, limits.message_bytes, limits.batch_messages, limits.window];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(standing) = hello.session {
            out.push(if standing.known { FLAG_KNOWN } else { 0 });
            out.extend_from_slice(&standing.taken.to_le_bytes());
            let limits = standing.limits;
            for number in [limits.unconfirmed, limits.sessions, limits.age_s] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&standing.life.number().to_le_bytes());
        }
    });
}

/// Appends an ANSWER frame.
pub fn answer(answer: &Answer<'_>, out: &mut Vec<u8>) {
    frame(frame_type::ANSWER, out, |out| {
        out.extend_from_slice(&answer.sequence.to_le_bytes());
        let duplicate = if answer.duplicate { FLAG_DUPLICATE } else { 0 };
        out.push(duplicate | if answer.epoch.is_some() { FLAG_EPOCH } else { 0 });
        let epoch = answer.epoch.map(Epoch::number);
        let numbers = [answer.position, answer.offset, answer.subscribers];
        for number in numbers.into_iter().chain(epoch) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for place in answer.also {
            out.extend_from_slice(&place.offset.to_le_bytes());
            out.extend_from_slice(&place.subscribers.to_le_bytes());
        }
    });
}

/// Appends a REFUSED frame. A text of more than 512 bytes is cut between two characters.
pub fn refused(sequence: u64, code: RefusalCode, text: &str, out: &mut Vec<u8>) {
    frame(frame_type::REFUSED, out, |out| {
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&code.0.to_le_bytes());
        write_text(text, out);
    });
}

/// Appends an ACK frame.
pub fn ack(sequence: u64, out: &mut Vec<u8>) {
    frame(frame_type::ACK, out, |out| out.extend_from_slice(&sequence.to_le_bytes()));
}

/// Appends an ERROR frame; nothing may follow it. A text of more than 512 bytes is cut between two
/// characters.
pub fn error(code: ErrorCode, offset: u64, text: &str, out: &mut Vec<u8>) {
    frame(frame_type::ERROR, out, |out| {
        out.extend_from_slice(&code.0.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&[VERSIONS.0, VERSIONS.1]);
        write_text(text, out);
    });
}

/// Appends a GOODBYE frame; nothing may follow it. `sequence` is the last message that has its
/// outcome.
pub fn goodbye(sequence: u64, code: GoodbyeCode, out: &mut Vec<u8>) {
    frame(frame_type::GOODBYE, out, |out| {
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&code.0.to_le_bytes());
    });
}

/// Length, type, and what `body` appends.
fn frame(number: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(number);
    body(out);
    let length = u32::try_from(out.len() - start - 4).expect("a frame is shorter than 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn write_message(message: &PublishFrame<'_>, out: &mut Vec<u8>) {
    let fields_bytes = fields_bytes(message);
    out.push(if message.answer { FLAG_ANSWER } else { 0 });
    out.push(message.kind.number());
    write_u16(message.channel.len(), out);
    write_u16(fields_bytes, out);
    let data_bytes = u32::try_from(message.data.len()).expect("a payload is shorter than 4 GiB");
    out.extend_from_slice(&data_bytes.to_le_bytes());
    out.extend_from_slice(message.channel);
    for (number, value) in fields(message) {
        out.push(number);
        write_u16(value.len(), out);
        out.extend_from_slice(value);
    }
    if !message.also.is_empty() {
        out.push(field::ALSO);
        write_u16(message.also.bytes(), out);
        for name in message.also {
            write_u16(name.len(), out);
            out.extend_from_slice(name);
        }
    }
    out.extend_from_slice(message.data);
}

fn fields_bytes(message: &PublishFrame<'_>) -> usize {
    let also = if message.also.is_empty() { 0 } else { 3 + message.also.bytes() };
    fields(message).map(|(_, value)| 3 + value.len()).sum::<usize>() + also
}

/// The fields that are there and are one value, by their numbers.
fn fields<'a>(message: &PublishFrame<'a>) -> impl Iterator<Item = (u8, &'a [u8])> {
    let fields = [
        (field::EVENT, message.event),
        (field::IDEMPOTENCY_KEY, message.idempotency_key),
        (field::EPHEMERAL, message.ephemeral.then_some(&[][..])),
        (field::EXCEPT, message.except),
    ];
    fields.into_iter().filter_map(|(number, value)| Some((number, value?)))
}

fn write_u16(length: usize, out: &mut Vec<u8>) {
    let length = u16::try_from(length).expect("names and fields are at most 65,535 bytes");
    out.extend_from_slice(&length.to_le_bytes());
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let text = &text[..text.floor_char_boundary(INGEST_TEXT_BYTES_MAX)];
    write_u16(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}
