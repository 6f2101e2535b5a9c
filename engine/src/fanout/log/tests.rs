//! What a log keeps, what it drops, and what it still knows of that.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::Change;
use proptest::prelude::*;

use super::super::entry::LogEntry;
use super::super::lives::EndedBy;
use super::super::sample::{self, name};
use super::super::views::ViewNumber;
use super::*;
use crate::rule::{HistoryRule, Pattern, Window};

/// A log of a channel that keeps much and whose window is two messages.
fn log_after(last: u64) -> ChannelLog {
    log_with(last, Window { count: 2, bytes: 1 << 20 })
}

fn log_with(last: u64, window: Window) -> ChannelLog {
    let rule = Rule {
        pattern: Pattern::parse("**").unwrap(),
        history: HistoryRule { count: 100, bytes: 1 << 20, age_ms: 60_000 },
        window,
        slow: Slow::Latest,
        ..Rule::default()
    };
    ChannelLog::after(ChannelId(1), name(), Arc::new(rule), last)
}

fn message(offset: u64, floor: u64) -> Arc<Message> {
    message_at(offset * 100, offset, false, floor)
}

fn message_at(position: u64, offset: u64, ephemeral: bool, floor: u64) -> Arc<Message> {
    sample::message(position, offset, ephemeral, floor, position.to_string().into_bytes())
}

fn event(position: u64) -> Arc<presence::PlacedPresence> {
    let (member, info) = (position.to_string().into(), Box::default());
    let change = Change::Join;
    Arc::new(presence::PlacedPresence {
        channel: ChannelId(1),
        name: name(),
        position,
        change,
        member,
        info,
    })
}

fn append(log: &mut ChannelLog, message: Arc<Message>) {
    log.append(message);
}

fn trim(log: &mut ChannelLog) -> Vec<u64> {
    let mut dropped = Vec::new();
    log.trim(&mut dropped, &mut Pages::default());
    dropped
}

fn import(log: &mut ChannelLog, messages: &[Arc<Message>]) {
    log.import(messages, &mut Pages::default());
}

fn renderer() -> Renderer {
    Renderer::new(Epoch::from_random(7))
}

/// Renders everything from `seq` on, page by page.
fn read_from(log: &mut ChannelLog, seq: u64, encoding: Encoding, renderer: &mut Renderer) {
    let rendition = Rendition { encoding, view: ViewNumber::default() };
    let mut want = Want { seq, before: u64::MAX, bytes: usize::MAX, ahead: true };
    while let Some(run) = log.run(want, rendition, renderer).expect("there is room") {
        want.seq = run.next;
    }
    assert_eq!(want.seq, log.entries.end().max(seq));
}

/// First offset of the log, and offset of the next kept message.
fn offsets(log: &ChannelLog) -> (u64, u64) {
    (log.entries.first_offset(), log.entries.next_offset())
}

#[test]
fn what_history_promises_stays_although_the_window_is_smaller() {
    let mut log = log_after(10);
    import(&mut log, &(1..=10).map(|offset| message(offset, 1)).collect::<Vec<_>>());
    log.raise_floor(1); // as the reply says that brought the import
    trim(&mut log);
    assert_eq!(offsets(&log), (1, 11), "an import is kept");
    for offset in 11..=20 {
        append(&mut log, message(offset, 1));
    }
    assert!(!log.is_over());
    trim(&mut log);
    assert_eq!(offsets(&log), (1, 21), "and so is what comes after it");
    append(&mut log, message(21, 5));
    assert!(log.is_over() && !log.is_far_over(), "four are two windows");
    append(&mut log, message(22, 6));
    assert!(log.is_far_over(), "five are more");
    trim(&mut log);
    assert_eq!(offsets(&log).0, 6, "what history drops goes");
    log.raise_floor(23);
    trim(&mut log);
    assert_eq!(offsets(&log).0, 21, "but for what the window holds");
    assert!(!log.is_over() && !log.is_far_over());
}

#[test]
fn a_log_without_an_import_keeps_what_history_promises() {
    let mut log = log_after(10);
    log.raise_floor(1); // as the reply says to a client that begins with the next message
    for offset in 11..=20 {
        append(&mut log, message(offset, 1));
    }
    trim(&mut log);
    assert_eq!(offsets(&log), (11, 21));
    import(&mut log, &(1..=10).map(|offset| message(offset, 1)).collect::<Vec<_>>());
    log.raise_floor(1);
    assert_eq!(offsets(&log), (1, 21));
}

#[test]
fn the_newest_to_go_on_with_is_kept_where_one_is() {
    let mut log = log_after(0);
    for (position, offset, ephemeral) in [(100, 1, false), (200, 2, false), (300, 3, true)] {
        append(&mut log, message_at(position, offset, ephemeral, 1));
    }
    let newest = log.resumes_at().expect("it goes on");
    assert_eq!(log.entries.position(newest), Some(200), "what was said in passing comes behind it");
    let mut log = log_after(0);
    append(&mut log, message_at(300, 1, true, 1));
    assert_eq!(log.resumes_at().and_then(|newest| log.entries.position(newest)), Some(300));
}

#[test]
fn of_a_life_that_ends_what_came_behind_its_last_message_stays() {
    let mut log = log_after(0);
    append(&mut log, message_at(1, 1, false, 1));
    log.append_presence(event(2));
    append(&mut log, message_at(3, 2, true, 1));
    let had_all_messages = log.entries.end();
    log.append_presence(event(4));
    log.append_presence(event(5));
    log.begin_anew(&mut Pages::default());
    assert_eq!((log.entries.first(), log.lives.ended(had_all_messages)), (had_all_messages, None));
    assert_eq!(
        log.lives.ended(had_all_messages - 1),
        Some(EndedBy::Forgetting),
        "it lacks a message"
    );
    append(&mut log, message_at(6, 1, false, 1));
    log.invariants(&mut renderer());
    let all = (log.entries.first()..=log.entries.end()).map(|seq| log.entries.offset_at(seq));
    let all: Vec<u64> = all.collect();
    assert_eq!(all, [1, 1, 1, 2]);
    let newest = log.entries.end() - 1;
    assert_eq!(log.entries.told_within(log.entries.first()..newest + 1, Encoding::ALL[0]), 1);
    log.begin_epoch(&mut Pages::default());
    assert_eq!(
        (log.entries.first(), log.lives.ended(newest + 1)),
        (log.entries.end(), Some(EndedBy::Epoch))
    );
    check(&log, 0, 1);
}

/// What one reader does, against which the log is held: it has a cursor, is lagging, and is let
/// move with it.
#[derive(Debug)]
struct Laggard {
    cursor: u64,
    /// Kept messages that it has not had, and ephemeral ones.
    owed: Vec<(u64, bool)>,
}

proptest! {
    /// A thousand ephemeral messages between two kept ones cost no more than the window, and of
    /// every laggard it is known exactly which kept ones it lost.
    #[test]
    fn gaps_stay_exact_and_logs_bounded_whatever_is_ephemeral(
        steps in prop::collection::vec((0..10u8, 0..4u64), 1..400),
        count in 1..8u64,
        bytes in 1..2_000usize,
        lag in prop::collection::vec(0..400usize, 0..6),
        tells: bool,
    ) {
        let mut log = log_with(0, Window { count, bytes });
        let told = Encoding::ALL.into_iter().find(|encoding| encoding.tells_presence());
        let encoding = if tells { told.unwrap() } else { Encoding::ALL[0] };
        let mut renderer = renderer();
        let mut laggards: Vec<Laggard> = Vec::new();
        let (mut last, mut floor) = (0_u64, 1_u64);
        for (step, (kind, keep)) in steps.into_iter().enumerate() {
            let begins = lag.iter().filter(|at| **at == step);
            let cursor = log.entries.end();
            laggards.extend(begins.map(|_| Laggard { cursor, owed: Vec::new() }));
            let ephemeral = kind < 7;
            if !ephemeral {
                last += 1;
                floor = floor.max((last + 1).saturating_sub(keep * 3)).max(1);
            }
            let offset = last + u64::from(ephemeral);
            match kind {
                // Presence is one more ephemeral entry.
                0..3 => log.append_presence(event(step as u64 + 1)),
                _ => append(&mut log, message_at(step as u64 + 1, offset, ephemeral, floor)),
            }
            let from = log.entries.first() + lag.get(step % 7).map_or(0, |lag| *lag as u64 % 9);
            read_from(&mut log, from, encoding, &mut renderer);
            laggards.iter_mut().for_each(|it| it.owed.push((offset, ephemeral)));
            if kind % 2 == 0 {
                let dropped = trim(&mut log);
                prop_assert!(dropped.is_sorted());
                for laggard in &mut laggards {
                    let (cursor, lost) = moved_up(laggard.cursor, &dropped);
                    laggard.cursor = cursor;
                    let ephemeral = laggard.owed.iter().filter(|(_, ephemeral)| *ephemeral);
                    prop_assert!(ephemeral.count() as u64 >= lost);
                }
                check(&log, last, floor);
                for laggard in &laggards {
                    check_owed(&log, laggard);
                }
            }
        }
    }
}

/// Everything promised is there, not much else is, and the lane says the same as the entries.
fn check(log: &ChannelLog, last: u64, floor: u64) {
    let promised = (last + 1).saturating_sub(floor);
    assert!(offsets(log).0 <= floor.max(1) || promised == 0);
    let window = log.rule.window;
    let most = 2 * (promised + window.count) + 2;
    let entries = log.entries.len() as u64;
    assert!(entries <= most.max(1), "{entries} entries, of which {promised} are promised");
    assert!(!log.is_over() && !log.is_far_over());
    log.invariants(&mut renderer());
}

/// What a laggard lost of kept messages is what it is told, and the rest is what it gets.
fn check_owed(log: &ChannelLog, laggard: &Laggard) {
    let kept = laggard.owed.iter().filter(|(_, ephemeral)| !*ephemeral);
    let owed: Vec<u64> = kept.map(|(offset, _)| *offset).collect();
    let first_owed = owed.first().copied().unwrap_or(log.entries.next_offset());
    if laggard.cursor < log.entries.first() {
        assert_eq!(
            log.entries.offset_at(laggard.cursor),
            first_owed,
            "the gap begins there: {laggard:?}"
        );
    }
    let begins = laggard.cursor.max(log.entries.first());
    let given = (begins..log.entries.end()).map(|seq| log.entries.at(seq));
    let given = given.filter(|entry| !entry.is_ephemeral());
    let given: Vec<u64> = given.map(LogEntry::offset).collect();
    let told = log.entries.offset_at(begins);
    let expected: Vec<u64> = owed.into_iter().filter(|offset| *offset >= told).collect();
    assert_eq!(given, expected, "{laggard:?}");
}

#[test]
fn ephemeral_messages_between_kept_ones_cost_no_more_than_the_window() {
    let mut log = log_with(0, Window { count: 4, bytes: 1 << 20 });
    let (mut position, mut longest, mut renderer) = (0, 0, renderer());
    for offset in 1..=3 {
        position += 1;
        append(&mut log, message_at(position, offset, false, 1));
        for _ in 0..10_000 {
            position += 1;
            append(&mut log, message_at(position, offset + 1, true, 1));
            let newest = log.entries.end() - 1;
            read_from(&mut log, newest, Encoding::ALL[0], &mut renderer);
            trim(&mut log);
            longest = longest.max(log.entries.len());
        }
    }
    assert_eq!(offsets(&log), (1, 4), "all that history promises is there");
    assert!(longest <= 3 + 3 + 4, "{longest} entries");
    let memory = log.lanes.pages().map(|page| page.memory()).sum::<usize>();
    assert!(memory < 1_000 && renderer.pages.bytes() == memory, "{memory} bytes of pages");
}

/// Of a page whose first entry was dropped the rest stays, and what is imported gets its number.
#[test]
fn what_is_imported_is_not_taken_for_what_was_dropped() {
    let (mut log, mut renderer) = (log_after(2), renderer());
    log.raise_floor(2);
    for (position, ephemeral) in [(300, true), (301, true), (302, true)] {
        append(&mut log, message_at(position, 3, ephemeral, 2));
    }
    let first = log.entries.first();
    read_from(&mut log, first, Encoding::ALL[0], &mut renderer);
    assert_eq!(trim(&mut log), [first]);
    log.invariants(&mut renderer.another());
    import(&mut log, &[message(2, 2)]);
    log.invariants(&mut renderer.another());
    read_from(&mut log, first, Encoding::ALL[0], &mut renderer);
    log.invariants(&mut renderer.another());
}
