//! What comes back from a checkpoint when log or limits are not what they were, how it is written
//! piece by piece, and what is refused.

use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::GapReason;
use fanfare_protocol::record::checkpoint::{Unreadable, Wrong};
use fanfare_protocol::record::{self, Header};

use super::super::checkpoint::{CheckpointMark, Written};
use super::super::command::*;
use super::super::keys::Seen;
use super::super::restore::{Replay, Restoring};
use super::super::resume::Start;
use super::journal::{Journal, NAMES, Replica, assert_same, said, small_limits, small_rules};
use super::node::{EPOCH, SECRET, name, publication, rule, rules};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::log::RECORD_ITEMS;
use crate::rule::Rules;

/// A node that leads, over a journal of its own.
fn leading() -> (Journal, Replica) {
    let journal = Journal::default();
    let replica = Replica::new(&journal, true, small_limits(), small_rules());
    (journal, replica)
}

fn publish(replica: &mut Replica, now: u64, publication: Publication) {
    replica.send(Command::Publish(publication, PublishAnswer::Nobody));
    replica.run(Millis(now));
}

fn saved(replica: &mut Replica, units: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    replica.sequencer.begin_checkpoint(CheckpointMark { incarnation: 3, chain: 4 });
    while replica.sequencer.write_checkpoint(units, &mut bytes) == Written::More {}
    bytes
}

fn restoring(bytes: &[u8], limits: Limits, rules: Rules) -> Result<Replay, Unreadable> {
    let (mut restoring, mut rest) = (Restoring::new(1, limits, rules), bytes);
    restoring.read(&mut rest)?;
    restoring.replay(rest)
}

/// A limit that nobody meets.
fn wide() -> Limits {
    Limits { channels: 5_000, inbox_commands: 8, ..Limits::default() }
}

#[test]
fn what_the_log_does_not_have_any_more_is_a_gap_with_its_bounds() {
    let (journal, mut node) = leading();
    for nth in 0..6 {
        publish(&mut node, 1_000 + nth, publication("other", 10));
    }
    let bytes = saved(&mut node, 1);
    // Where a record is gone, what stands before it is of no use; the last one may be, too.
    for (gone, expected) in [(2, vec![4, 5, 6]), (5, vec![])] {
        let mut replay = restoring(&bytes, small_limits(), small_rules()).expect("it is ours");
        assert_eq!((replay.from(), replay.epoch().number()), (RECORD_ITEMS, EPOCH));
        (0..6).filter(|nth| *nth != gone).for_each(|nth| replay.apply(journal.read(nth).unwrap()));
        let restored = Replica::restored(&journal, replay);
        restored.sequencer.invariants();
        let order = &restored.sequencer.performer.order;
        let channel = order.channels.named(&name("other"));
        let channel = channel.expect("its life goes on");
        let kept: Vec<u64> = channel.history.range(0, 99).map(|message| message.offset).collect();
        assert_eq!((channel.life.offset, &kept), (6, &expected));
        let (floor, last) = (gone as u64 + 2, gone as u64 + 1);
        let gap = Gap { bounds: Some((2, last)), reason: GapReason::Trimmed };
        assert_eq!(channel.start(Start::After(RECORD_ITEMS), 0), (floor, Some(gap)));
    }
}

#[test]
fn lower_limits_trim_histories_and_end_no_life() {
    let (journal, mut node) = leading();
    for (nth, channel) in ["few:1", "other", "brief:1", "few:1", "other"].into_iter().enumerate() {
        let key = Some(nth);
        publish(&mut node, 1_000, said(channel, 10, key));
    }
    let bytes = saved(&mut node, 1);
    let limits = Limits { channels: 1, idempotency_keys: 2, ..small_limits() };
    let table = rules(vec![rule("few:*", 1, usize::MAX, 300), rule("other", 9, 1, 300)]);
    let mut replay = restoring(&bytes, limits, table).expect("it is ours");
    (0..5).for_each(|nth| replay.apply(journal.read(nth).unwrap()));
    let restored = Replica::restored(&journal, replay);
    restored.sequencer.invariants();
    let order = &restored.sequencer.performer.order;
    let kept = |text| {
        let channel = order.channels.named(&name(text));
        channel.map(|channel| (channel.life.offset, channel.history.len()))
    };
    assert_eq!(kept("few:1"), Some((2, 1)));
    assert_eq!(kept("other"), Some((2, 0)));
    assert_eq!(kept("brief:1"), Some((1, 1)));
    assert_eq!(order.keys.len(), 2, "the newest");
    let again = order.keys.look(&said("other", 10, Some(4)), Millis(1_000));
    assert!(matches!(again, Seen::Before(_)));
}

/// A piece is no longer than it was asked to be, whatever happens between two of them.
#[test]
fn a_checkpoint_of_many_channels_stops_nobody() {
    let journal = Journal::default();
    let mut node = Replica::new(&journal, true, wide(), rules(Vec::new()));
    for nth in 0..3_000 {
        publish(&mut node, 1_000, publication(&format!("channel:{nth}"), 3));
    }
    // More messages than fit one item, of which most are trimmed.
    for _ in 0..700 {
        publish(&mut node, 1_000, publication("long", 3));
    }
    let (state, position) = (node.state(), node.sequencer.performer.order.applied.position);
    let mut bytes = Vec::new();
    node.sequencer.begin_checkpoint(CheckpointMark::default());
    let (mut pieces, mut written) = (0, Written::More);
    while written == Written::More {
        let before = bytes.len();
        written = node.sequencer.write_checkpoint(100, &mut bytes);
        assert!(bytes.len() - before < 100 * 150 + 4_000, "{} bytes", bytes.len() - before);
        pieces += 1;
        // The last channels of the table first: they are written before their turn, once.
        publish(&mut node, 1_001, publication(&format!("channel:{}", 3_000 - pieces), 3));
        publish(&mut node, 1_001, publication("long", 3));
    }
    assert!(pieces > 20, "{pieces} pieces");
    let mut replay = restoring(&bytes, wide(), rules(Vec::new())).expect("it is ours");
    (0..3_700).for_each(|nth| replay.apply(journal.read(nth).unwrap()));
    assert_eq!(replay.position(), position);
    let restored = Replica::restored(&journal, replay);
    assert_same(&state, &restored.state());
}

#[test]
fn nonsense_is_refused_and_does_no_harm() {
    let (_, mut node) = leading();
    for nth in 0..9 {
        publish(&mut node, 1_000 + 20 * nth, said(NAMES[nth as usize % 3], 20, Some(1)));
        publish(&mut node, 1_000 + 20 * nth, publication(NAMES[nth as usize % 3], 200));
    }
    let bytes = saved(&mut node, usize::MAX);
    assert!(restoring(&bytes, small_limits(), small_rules()).is_ok());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        assert!(restoring(&changed, small_limits(), small_rules()).is_err(), "byte {at}");
        assert!(restoring(&bytes[..at], small_limits(), small_rules()).is_err(), "{at} bytes");
    }
    // Written as it should be, by one who is mistaken.
    let header = Header {
        epoch: Epoch::from_random(EPOCH),
        incarnation: 1,
        number: 0,
        seen: 0,
        chain: 0,
        state: 0,
    };
    let order = record::checkpoint::Begin {
        position: 90,
        at: 5,
        watermark: 0,
        state: 0,
        secret: SECRET,
        epoch_began: None,
    };
    let life = |name| record::checkpoint::LifeItem {
        offset: 1,
        position: 80,
        used: 4,
        used_at: 80,
        used_nth: 0,
        began: 80,
        unknown_before: 0,
        floor: 2,
        forgotten: 80,
        expired: false,
        tenant: "",
        name,
    };
    for names in [["a", "a"], ["a", "no\nname"]] {
        let (mut writer, mut bytes) = (record::checkpoint::Writer::new(header), Vec::new());
        writer.item(&record::Item::Begin(order));
        names.iter().for_each(|name| writer.item(&record::Item::Life(life(name))));
        writer.end(&mut bytes);
        let refused = restoring(&bytes, small_limits(), small_rules()).err();
        let expected = (Some(2), Wrong::Channel);
        assert_eq!(refused.map(|it| (it.item, it.wrong)), Some(expected), "{names:?}");
    }
}
