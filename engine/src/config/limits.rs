//! The `[limits]` table: one row for each key, read, checked, shown and explained from here.
//!
//! A row holds the bounds within which a value is sane; [`RELATIONS`] holds what must be true of
//! two of them together, each with its reason.

use std::collections::BTreeMap;

use fanfare_protocol::limits::{CHANNEL_NAME_BYTES_MAX, FIELDS_MAX, MESSAGE_CHANNELS_MAX};
use toml::de::DeValue;

use super::document::Section;
use super::source::{Problem, Source, Sourced};
use super::{read, units};
use crate::limits::Limits;

/// Where a limit lives and what it counts.
pub(super) enum LimitSlot<'a> {
    Count(&'a mut usize),
    Count32(&'a mut u32),
    Bytes(&'a mut usize),
    Time(&'a mut u64),
    Switch(&'a mut bool),
}

/// One key of the table.
pub(super) struct Row {
    pub(super) key: &'static str,
    /// What it bounds, for the commented defaults.
    pub(super) about: &'static str,
    slot: fn(&mut Limits) -> LimitSlot<'_>,
    /// Sane values, in the slot's unit: a number, bytes, milliseconds.
    min: u64,
    max: u64,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

macro_rules! row {
    ($key:literal, $kind:ident $($field:ident).+, $min:expr, $max:expr, $about:literal) => {
        Row {
            key: $key,
            about: $about,
            slot: |limits| LimitSlot::$kind(&mut limits.$($field).+),
            min: $min,
            max: $max,
        }
    };
}

/// Every key, in the order in which they are shown.
#[rustfmt::skip] // one row, one line
pub(super) static ROWS: &[Row] = &[
    row!("connections_per_address", Count connections_per_address, 0, 64 << 20,
        "connections of one peer address; 0 for no limit"),
    row!("heads_per_address", Count heads_per_address, 0, 64 << 20,
        "connections of one peer address that have not finished a request head; 0 for no limit"),
    row!("handshakes_per_address", Count32 handshakes_per_address, 0, 1 << 20,
        "connections that one peer address begins in a second; behind a trusted proxy: requests"),
    row!("handshakes_burst", Count32 handshakes_burst, 1, 1 << 20,
        "how many of them may come at once"),
    row!("count_loopback", Switch count_loopback, 0, 1,
        "whether the four above hold for loopback peers too"),
    row!("handshakes", Count32 handshakes, 0, 1 << 24,
        "connections that the node accepts in a second, the others wait; 0 for no limit"),
    row!("channels", Count channels, 1, 1 << 32,
        "channels that were published to and are not forgotten"),
    row!("followed_channels", Count followed_channels, 1, 1 << 32,
        "channels that clients follow, whether they were published to or not"),
    row!("channels_per_connection", Count channels_per_connection, 1, 1 << 20,
        "channels that one connection follows"),
    row!("channels_per_message", Count channels_per_message, 1, MESSAGE_CHANNELS_MAX as u64,
        "channels of one published message"),
    row!("message_bytes", Bytes message_bytes, 1, GIB,
        "one published message; with 4KiB more the longest frame that clients get"),
    row!("subscribe_bytes", Bytes subscribe_bytes, 64, 64 * MIB,
        "a body of POST or QUERY that says what to follow"),
    row!("bodies_bytes", Bytes bodies_bytes, 64 * KIB, TIB,
        "all request bodies that are being read; strangers' may have half; at least 9 messages"),
    row!("batch_messages", Count batch_messages, 1, 1 << 20,
        "messages of one publish request"),
    row!("idempotency_keys", Count idempotency_keys, 0, 1 << 26,
        "idempotency keys that are remembered, of 150 bytes each; 0 for none"),
    row!("history_bytes", Bytes history_bytes, MIB, TIB,
        "all history of the node together"),
    row!("rendered_bytes", Bytes rendered_bytes, 64 * KIB, TIB,
        "messages as clients get them, of all shards; at least 4 of the longest for each shard"),
    row!("ring_entries", Count ring_entries, 64, 1 << 24,
        "places of the broadcast ring; a power of two"),
    row!("ring_bytes", Bytes ring_bytes, 64 * KIB, TIB,
        "bytes that the broadcast ring may hold"),
    row!("inbox_commands", Count inbox_commands, 16, 1 << 24,
        "commands that may wait for the sequencer: of publishers, and as many of clients"),
    row!("in_flight_bytes", Bytes in_flight_bytes, 64 * KIB, TIB,
        "what waits for the order, of publishers and clients; at least one of the largest"),
    row!("private_bytes", Bytes private_bytes, MIB, TIB,
        "what clients hold, each for itself: parts of requests, answers that are not taken"),
    row!("head_bytes", Bytes http.head_bytes, KIB, MIB,
        "a request head, up to and with its empty line"),
    row!("head_fields", Count http.fields, 8, FIELDS_MAX as u64,
        "header fields of a request"),
    row!("target_bytes", Bytes http.target_bytes, CHANNEL_NAME_BYTES_MAX as u64 * 3 + 128, MIB,
        "a request target: path and query"),
    row!("client_message_bytes", Bytes ws.message_bytes, 1, GIB,
        "one message of a WebSocket client, over all its fragments"),
    row!("client_message_fragments", Count32 ws.fragments, 1, 1 << 20,
        "fragments of one message of a WebSocket client"),
    row!("control_frames_per_s", Count32 control_frames_per_s, 1, 1 << 20,
        "pings that a WebSocket client may send in a second"),
    row!("publishers", Count publishers, 1, 1 << 16,
        "publishers that are connected to the Unix socket"),
    row!("publisher_stall", Time publisher_stall_ms, 10, HOUR,
        "a publisher on the Unix socket that does not read what waits for it"),
    row!("publisher_sessions", Count publisher_sessions, 0, 1 << 20,
        "sessions of publishers that are kept without a connection; 0 for none"),
    row!("head_time", Time head_ms, 10, HOUR,
        "from a connection's beginning to the end of its request head"),
    row!("auth_time", Time auth_ms, 10, HOUR,
        "from a WebSocket's beginning without a token to the token; from a token to its keys"),
    row!("client_message_time", Time client_message_ms, 10, HOUR,
        "from the first byte of a client's message to its last"),
    row!("ping", Time ping_ms, 100, HOUR,
        "from one WebSocket ping of ours to the next"),
    row!("pong", Time pong_ms, 10, HOUR,
        "how long a client may take to answer a ping"),
    row!("heartbeat", Time heartbeat_ms, 100, HOUR,
        "from one comment to the next on an SSE stream that is silent"),
    row!("retry", Time retry_ms, 1, HOUR,
        "how long SSE clients are told to wait before they come back"),
    row!("idle", Time idle_ms, 100, 24 * HOUR,
        "a kept connection that asks for nothing"),
    row!("stall", Time stall_ms, SECOND, HOUR,
        "a client for which bytes wait and which takes none"),
    row!("detached_sessions", Count detached_sessions, 0, 1 << 20,
        "sessions of clients over many sockets that no request is held for"),
    row!("detached", Time detached_ms, 100, HOUR,
        "how long such a session waits for the next request"),
    row!("close", Time close_ms, 10, MINUTE,
        "from a close frame of ours to the end of the socket"),
    row!("interest", Time interest_ms, 0, 24 * HOUR,
        "how long a shard keeps following a channel that its last client has left"),
    row!("channel_idle", Time channel_idle_ms, SECOND, 366 * 24 * HOUR,
        "how long a silent channel's offsets are remembered beyond what it keeps"),
    row!("idempotency_age", Time idempotency_age_ms, SECOND, 24 * HOUR,
        "how long an idempotency key is remembered"),
    row!("publisher_session_age", Time publisher_session_age_ms, SECOND, 24 * HOUR,
        "how long a session of a publisher is kept without a connection"),
    row!("shutdown", Time shutdown_ms, 10, HOUR,
        "from the signal to the end of the process"),
];

/// `small * times + plus <= large`, and why.
struct Relation {
    small: &'static str,
    times: u64,
    plus: u64,
    large: &'static str,
    why: &'static str,
}

#[rustfmt::skip]
static RELATIONS: &[Relation] = &[
    Relation { small: "target_bytes", times: 1, plus: 64, large: "head_bytes",
        why: "the target is a part of the head and leaves at least 64 bytes for the rest" },
    Relation { small: "message_bytes", times: 2, plus: 512, large: "ring_bytes",
        why: "one message must not fill more than half of the broadcast ring" },
    Relation { small: "message_bytes", times: 1, plus: 512, large: "history_bytes",
        why: "a message that is larger than all history could never be kept" },
    Relation { small: "message_bytes", times: 4, plus: 16 << 10, large: "rendered_bytes",
        why: "the longest messages must have room as clients get them, a few at a time" },
    Relation { small: "pong", times: 1, plus: 0, large: "ping",
        why: "a ping is answered, or given up, before the next one is sent" },
    Relation { small: "close", times: 1, plus: 0, large: "shutdown",
        why: "at a shutdown clients are told farewell and have that long to close" },
];

/// What the table said.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitsTable {
    pub(super) limits: Limits,
    /// Who said each key that was said.
    pub(super) sources: BTreeMap<&'static str, Source>,
}

/// Reads the table.
pub(super) fn read(section: Section<'_, '_>) -> LimitsTable {
    let mut table = LimitsTable::default();
    for row in ROWS {
        let said = match (row.slot)(&mut table.limits) {
            LimitSlot::Count(slot) => {
                put(slot, row.number(&section, read::whole, |n| n.to_string()))
            }
            LimitSlot::Count32(slot) => {
                put(slot, row.number(&section, read::whole, |n| n.to_string()))
            }
            LimitSlot::Bytes(slot) => {
                put(slot, row.number(&section, read::size, units::bytes_text))
            }
            LimitSlot::Time(slot) => {
                put(slot, row.number(&section, read::time, units::millis_text))
            }
            LimitSlot::Switch(slot) => section.value(row.key, read::switch).map(|said| {
                *slot = said.value;
                said.source
            }),
        };
        table.sources.extend(said.map(|source| (row.key, source)));
    }
    section.end();
    table
}

fn put<T: TryFrom<u64>>(slot: &mut T, said: Option<Sourced<u64>>) -> Option<Source> {
    let said = said?;
    *slot = T::try_from(said.value).ok().expect("a row's bounds fit into its slot");
    Some(said.source)
}

impl Row {
    fn number(
        &self,
        section: &Section<'_, '_>,
        read: fn(&DeValue<'_>) -> Result<u64, String>,
        text: fn(u64) -> String,
    ) -> Option<Sourced<u64>> {
        section.value(self.key, |value| {
            let number = read(value)?;
            if (self.min..=self.max).contains(&number) {
                return Ok(number);
            }
            let (min, max) = (text(self.min), text(self.max));
            Err(format!("{} is not between {min} and {max} ({})", text(number), self.about))
        })
    }

    /// The value as TOML.
    pub(super) fn toml(&self, limits: &Limits) -> String {
        match (self.slot)(&mut limits.clone()) {
            LimitSlot::Count(count) => count.to_string(),
            LimitSlot::Count32(count) => count.to_string(),
            LimitSlot::Bytes(bytes) => format!("\"{}\"", units::bytes_text(*bytes as u64)),
            LimitSlot::Time(millis) => format!("\"{}\"", units::millis_text(*millis)),
            LimitSlot::Switch(on) => on.to_string(),
        }
    }

    fn as_number(&self, limits: &Limits) -> u64 {
        match (self.slot)(&mut limits.clone()) {
            LimitSlot::Count(number) | LimitSlot::Bytes(number) => *number as u64,
            LimitSlot::Count32(number) => u64::from(*number),
            LimitSlot::Time(millis) => *millis,
            LimitSlot::Switch(on) => u64::from(*on),
        }
    }
}

fn row(key: &str) -> &'static Row {
    ROWS.iter().find(|row| row.key == key).expect("relations name rows")
}

/// What is wrong with the limits taken together.
pub(super) fn check(table: &LimitsTable) -> Vec<Problem> {
    let limits = &table.limits;
    let mut problems = Vec::new();
    let mut complain = |keys: &[&str], what: String| {
        let said = keys.iter().filter_map(|key| table.sources.get(key)).next_back();
        problems.push(Problem::new(said.cloned().unwrap_or(Source::Default), what));
    };
    if !limits.ring_entries.is_power_of_two() {
        let near = limits.ring_entries.next_power_of_two();
        let asked = limits.ring_entries;
        complain(
            &["ring_entries"],
            format!("ring_entries: {asked} is not a power of two; {near} is the next one"),
        );
    }
    for Relation { small, times, plus, large, why } in RELATIONS {
        let (less, more) = (row(small), row(large));
        if less.as_number(limits).saturating_mul(*times) + plus > more.as_number(limits) {
            let (less, more) = (less.toml(limits), more.toml(limits));
            let what = format!(
                "[limits] {small} = {less} does not go with {large} = {more}: {why}; \
                 lower {small} or raise {large}"
            );
            complain(&[small, large], what);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_lie_within_their_own_bounds() {
        let limits = Limits::default();
        for row in ROWS {
            let value = row.as_number(&limits);
            assert!((row.min..=row.max).contains(&value), "{} = {value}", row.key);
        }
        assert_eq!(check(&LimitsTable::default()), []);
    }

    #[test]
    fn bounds_fit_their_slots() {
        for row in ROWS {
            let mut limits = Limits::default();
            let fits = match (row.slot)(&mut limits) {
                LimitSlot::Count32(_) => u32::try_from(row.max).is_ok(),
                LimitSlot::Count(_) | LimitSlot::Bytes(_) => usize::try_from(row.max).is_ok(),
                LimitSlot::Time(_) | LimitSlot::Switch(_) => true,
            };
            assert!(fits && row.min <= row.max, "{}", row.key);
        }
    }

    #[test]
    fn no_two_rows_share_a_key_or_a_slot() {
        for (nth, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..nth].iter().all(|earlier| earlier.key != row.key), "{}", row.key);
            let mut limits = Limits::default();
            let before = limits.clone();
            match (row.slot)(&mut limits) {
                LimitSlot::Count(slot) | LimitSlot::Bytes(slot) => *slot += 1,
                LimitSlot::Count32(slot) => *slot += 1,
                LimitSlot::Time(slot) => *slot += 1,
                LimitSlot::Switch(slot) => *slot = !*slot,
            }
            let changed = ROWS.iter().filter(|r| r.as_number(&limits) != r.as_number(&before));
            assert_eq!(changed.count(), 1, "{}", row.key);
        }
    }

    #[test]
    fn relations_are_held_to() {
        type Change = fn(&mut Limits);
        let broken: [(Change, &str); 7] = [
            (|limits| limits.http.target_bytes = limits.http.head_bytes, "target_bytes"),
            (|limits| limits.message_bytes = limits.ring_bytes / 2, "message_bytes"),
            (|limits| limits.history_bytes = limits.message_bytes, "message_bytes"),
            (|limits| limits.rendered_bytes = 2 * limits.message_bytes, "rendered_bytes"),
            (|limits| limits.pong_ms = limits.ping_ms + 1, "pong"),
            (|limits| limits.shutdown_ms = limits.close_ms - 1, "close"),
            (|limits| limits.ring_entries = 1000, "1024"),
        ];
        for (change, word) in broken {
            let mut table = LimitsTable::default();
            change(&mut table.limits);
            let problems = check(&table);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].what.contains(word), "{problems:?}");
        }
    }
}
