//! Checkpoints: what contradicts itself is refused with its place, and whatever is done to the
//! bytes of one, it is not read as another.

use proptest::prelude::*;

use super::*;
use crate::id::Epoch;
use crate::record::fuzz::{self, told};
use crate::record::{Header, Item, Secret};

fn header() -> Header {
    let epoch = Epoch::from_random(0x12_3456_789a);
    Header { epoch, incarnation: 1, number: 0, seen: 5, chain: 4, state: 5 }
}

fn order() -> Item<'static> {
    let secret = Secret([3; 16]);
    let epoch_began = Some(2);
    Item::Begin(Begin { position: 900, at: 50, watermark: 7, state: 1, secret, epoch_began })
}

/// Offsets 1 to 9 of which 1 to 4 are forgotten, 5 and 6 trimmed, 7 to 9 kept.
const LIFE: LifeItem<'static> = LifeItem {
    offset: 9,
    position: 800,
    used: 40,
    used_at: 700,
    used_nth: 1,
    began: 10,
    unknown_before: 7,
    floor: 7,
    forgotten: 14,
    expired: true,
    tenant: "acme",
    name: "room",
};
const TRIMMED: Positions<'static> =
    Positions { offset: 5, first: 20, begun: 3, count: 2, deltas: &[0x80 | 2, 1] };
const KEPT: Positions<'static> =
    Positions { offset: 7, first: 200, begun: 0, count: 3, deltas: &[1, 0xd7, 4] };
const KEY: Key<'static> =
    Key { key: [1, 2], body: 3, position: 900, offset: 2, at: 50, also: &[7, 0, 0, 0, 0, 0, 0, 0] };
const TIME: Time = Time { at: 5, position: 20, is_coarse: true };

fn items() -> Vec<Item<'static>> {
    vec![
        order(),
        Item::Time(TIME),
        Item::Time(Time { at: 50, position: 900, is_coarse: false }),
        Item::Life(LifeItem { offset: 1, position: 30, floor: 2, forgotten: 30, ..LIFE }),
        Item::Key(Key { at: 8, ..KEY }),
        Item::Life(LIFE),
        Item::Positions(TRIMMED),
        Item::Positions(KEPT),
        Item::Key(KEY),
    ]
}

/// Each item in a record of its own, and the end.
fn written(items: &[Item<'_>]) -> Vec<u8> {
    let (mut writer, mut bytes) = (Writer::new(header()), Vec::new());
    for item in items {
        writer.item(item);
        writer.take(&mut bytes);
    }
    writer.end(&mut bytes);
    bytes
}

#[test]
fn a_checkpoint_is_read_however_it_is_cut() {
    let (mut writer, mut together) = (Writer::new(header()), Vec::new());
    items().iter().for_each(|item| writer.item(item));
    assert!(!writer.is_empty() && writer.len() > 400);
    writer.end(&mut together);
    let expected: Vec<String> = items().iter().map(|item| format!("{item:?}")).collect();
    for bytes in [written(&items()), together] {
        for piece in 1..=bytes.len() {
            let (mut items, end) = told(&bytes, piece);
            assert_eq!(end, Ok(()), "in pieces of {piece}");
            assert!(items.pop().unwrap().starts_with("End"));
            assert_eq!(items, expected);
        }
    }
    let mut seen = Vec::new();
    assert_eq!(KEPT.walk(|position| seen.push(position)), Some(800));
    assert_eq!(seen, [200, 201, 800]);
}

#[test]
fn what_was_cut_off_or_changed_is_no_checkpoint() {
    let bytes = written(&items());
    for end in 0..bytes.len() {
        let (_, read) = told(&bytes[..end], end.max(1));
        let wrong = read.expect_err("it is not whole").wrong;
        let known = [Wrong::NoEnd, Wrong::Record(Fault::Truncated)];
        assert!(known.contains(&wrong), "{end} bytes: {wrong:?}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let (_, read) = told(&changed, changed.len());
            let unreadable = read.expect_err("it was changed");
            assert!(unreadable.offset <= bytes.len() as u64, "byte {at}: {unreadable}");
        }
    }
    let behind = [bytes.as_slice(), &[0]].concat();
    assert_eq!(told(&behind, 999).1.unwrap_err().wrong, Wrong::BehindEnd);
    let twice = [bytes.as_slice(), &bytes].concat();
    assert_eq!(told(&twice, 999).1.unwrap_err().wrong, Wrong::BehindEnd);
}

/// Record, item and what is wrong, of a checkpoint of these items, each in its record.
fn refused(items: &[Item<'_>]) -> Option<(u64, Option<u16>, Wrong)> {
    let bytes = written(items);
    fuzz::checkpoint(&bytes);
    let Unreadable { record, item, wrong, .. } = told(&bytes, bytes.len()).1.err()?;
    Some((record, item, wrong))
}

/// Each is refused at the first item of this record.
fn all_refused<const N: usize>(cases: [(&str, Vec<Item<'_>>, u64, Wrong); N]) {
    for (name, items, record, wrong) in cases {
        assert_eq!(refused(&items), Some((record, Some(0), wrong)), "{name}");
    }
}

fn with_life(life: LifeItem<'static>) -> Vec<Item<'static>> {
    vec![order(), Item::Life(life)]
}

#[test]
fn a_life_that_contradicts_itself_is_refused() {
    use Wrong as W;
    let life = with_life;
    all_refused([
        ("no offset", life(LifeItem { offset: 0, floor: 1, ..LIFE }), 1, W::Life),
        ("the last offset of all", life(LifeItem { offset: u64::MAX, ..LIFE }), 1, W::Life),
        ("a floor of 0", life(LifeItem { floor: 0, ..LIFE }), 1, W::Life),
        ("a floor in the air", life(LifeItem { floor: 11, ..LIFE }), 1, W::Life),
        ("no beginning", life(LifeItem { began: 0, unknown_before: 0, ..LIFE }), 1, W::Life),
        ("unknown within its life", life(LifeItem { unknown_before: 10, ..LIFE }), 1, W::Life),
        ("unknown beyond all", life(LifeItem { unknown_before: 8, ..LIFE }), 1, W::Life),
        ("a last one before its life", life(LifeItem { position: 9, ..LIFE }), 1, W::Life),
        ("a last one to come", life(LifeItem { position: 901, ..LIFE }), 1, W::Life),
        ("used before its life", life(LifeItem { used_at: 9, ..LIFE }), 1, W::Life),
        ("used in the future", life(LifeItem { used_at: 901, ..LIFE }), 1, W::Life),
        ("used at a time to come", life(LifeItem { used: 51, ..LIFE }), 1, W::Life),
        ("forgotten behind the last", life(LifeItem { forgotten: 801, ..LIFE }), 1, W::Life),
        ("forgotten before its life", life(LifeItem { forgotten: 9, ..LIFE }), 1, W::Life),
        ("forgotten and kept", life(LifeItem { floor: 1, ..LIFE }), 1, W::Life),
    ]);
}

#[test]
fn positions_that_are_not_those_of_their_life_are_refused() {
    use Wrong as W;
    let life = with_life;
    let with = |trimmed: Positions<'static>, kept: Positions<'static>| {
        let positions = [Item::Positions(trimmed), Item::Positions(kept)];
        [life(LIFE), positions.to_vec()].concat()
    };
    all_refused([
        ("no positions", life(LIFE), 2, W::Positions),
        ("positions of nothing", vec![order(), Item::Positions(KEPT)], 1, W::Positions),
        ("a hole", with(TRIMMED, Positions { offset: 8, count: 2, ..KEPT }), 3, W::Positions),
        ("one twice", with(TRIMMED, Positions { offset: 6, ..KEPT }), 3, W::Positions),
        ("too many", with(TRIMMED, Positions { count: 4, ..KEPT }), 3, W::Positions),
        ("none", with(Positions { count: 0, ..TRIMMED }, KEPT), 2, W::Positions),
        ("kept is trimmed", with(TRIMMED, Positions { begun: 1, ..KEPT }), 3, W::Positions),
        ("trimmed is kept", with(Positions { begun: 0, ..TRIMMED }, KEPT), 2, W::Positions),
        ("over the floor", with(Positions { count: 3, ..TRIMMED }, KEPT), 2, W::Positions),
        ("forgotten is known", with(Positions { first: 14, ..TRIMMED }, KEPT), 2, W::Positions),
        ("no rise", with(Positions { deltas: &[0], ..TRIMMED }, KEPT), 2, W::Positions),
        (
            "a long spelling",
            with(Positions { deltas: &[0x81, 0], ..TRIMMED }, KEPT),
            2,
            W::Positions,
        ),
        ("half a delta", with(Positions { deltas: &[0x81], ..TRIMMED }, KEPT), 2, W::Positions),
        ("a delta too many", with(Positions { deltas: &[1, 1], ..TRIMMED }, KEPT), 2, W::Positions),
        (
            "an endless delta",
            with(Positions { deltas: &[0xff; 11], ..TRIMMED }, KEPT),
            2,
            W::Positions,
        ),
        ("no rise between", with(TRIMMED, Positions { first: 150, ..KEPT }), 3, W::Positions),
        ("another last", with(TRIMMED, Positions { deltas: &[1, 1], ..KEPT }), 4, W::Positions),
    ]);
}

#[test]
fn what_is_out_of_order_is_refused() {
    use Wrong as W;
    let key = |at| Item::Key(Key { at, ..KEY });
    let time = |at, position, is_coarse| Item::Time(Time { at, position, is_coarse });
    let Item::Begin(known) = order() else { panic!("it is one") };
    let early = Begin { position: 6, ..known };
    let to_begin = Begin { epoch_began: Some(51), ..known };
    all_refused([
        ("no order", vec![Item::Life(LIFE)], 0, W::Begin),
        ("two orders", vec![order(), order()], 1, W::Begin),
        ("a watermark in the future", vec![Item::Begin(early)], 0, W::Begin),
        ("an epoch to come", vec![Item::Begin(to_begin)], 0, W::Begin),
        ("a message", vec![order(), Item::Heartbeat], 1, W::Item),
        ("a key to come", vec![order(), key(51)], 1, W::Key),
        ("a key out of order", vec![order(), key(9), key(8)], 2, W::Key),
        ("a place to come", vec![order(), Item::Key(Key { position: 901, ..KEY })], 1, W::Key),
        ("a time to come", vec![order(), time(51, 3, false)], 1, W::Time),
        ("a position to come", vec![order(), time(50, 901, false)], 1, W::Time),
        ("a time of nothing", vec![order(), time(50, 0, false)], 1, W::Time),
        ("a time twice", vec![order(), time(9, 3, false), time(9, 4, false)], 2, W::Time),
        ("a place twice", vec![order(), time(9, 3, false), time(10, 3, false)], 2, W::Time),
        ("coarse late", vec![order(), time(9, 3, false), time(10, 4, true)], 2, W::Time),
        ("an end within", vec![order(), Item::End(End { digest: [0; 2] })], 1, W::Digest),
    ]);
    assert_eq!(refused(&items()), None);
}

#[test]
fn records_of_two_checkpoints_are_told_apart() {
    let bytes = written(&items());
    let first = 4 + u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let missing = told(&bytes[first..], 999).1.unwrap_err();
    assert_eq!((missing.record, missing.wrong), (0, Wrong::Header));
    let mut writer = Writer::new(Header { incarnation: 2, ..header() });
    let mut other = Vec::new();
    items().iter().for_each(|item| writer.item(item));
    writer.end(&mut other);
    let mixed = [&bytes[..first], &other].concat();
    let unreadable = told(&mixed, 999).1.unwrap_err();
    assert_eq!((unreadable.record, unreadable.wrong), (1, Wrong::Header));
    assert_eq!(unreadable.offset, first as u64);
    assert_eq!(
        unreadable.to_string(),
        format!(
            "byte {first}, record 1: it belongs to another checkpoint, or one before it is missing"
        )
    );
    let endless = (RECORD_BYTES_MAX as u32 + 1).to_le_bytes();
    assert_eq!(told(&endless, 4).1.unwrap_err().wrong, Wrong::TooLong);
}

#[test]
fn a_record_is_bounded_and_the_end_stands_alone() {
    let (mut writer, mut bytes) = (Writer::new(header()), Vec::new());
    writer.item(&order());
    for nth in 0..20_000 {
        writer.item(&Item::Key(Key { at: nth / 400, ..KEY }));
    }
    writer.end(&mut bytes);
    let (items, end) = told(&bytes, 10_000);
    assert_eq!((items.len(), end), (20_002, Ok(())));
    let (mut rest, mut counts) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let before = rest.len();
        counts.push(crate::record::frames(&mut rest).unwrap().unwrap().count());
        assert!(before - rest.len() <= RECORD_BYTES + 100);
    }
    assert_eq!(counts.pop(), Some(1));
    assert!(counts.len() > 10 && counts.iter().rev().skip(1).all(|count| *count > 1_000));
}

proptest! {
    #[test]
    fn whatever_comes_is_no_harm(
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = written(&items());
        for (at, byte) in changed {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz::checkpoint(&bytes);
        fuzz::checkpoint(&noise);
    }
}
