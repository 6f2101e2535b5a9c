//! Records row by row: what is refused where, what is skipped, and round trips.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::checkpoint::{Begin, End, Key, LifeItem, Positions, Time};
use super::fuzz;
use super::*;
use crate::id::Epoch;
use crate::message::{Change, Kind};

fn header() -> Header {
    Header {
        epoch: Epoch::from_random(0x12_3456_789a),
        incarnation: 1,
        number: 2,
        seen: 3,
        chain: 4,
        state: 5,
    }
}

fn publication<'a>(names: &'a [&'a str], data: &'a [u8]) -> Publication<'a> {
    Publication {
        tenant: "",
        channels: Channels::of(names),
        kind: Kind::Text,
        event: None,
        key: None,
        delivery: Delivery::Kept,
        except: None,
        data,
    }
}

const PRESENCE: Presence<'static> =
    Presence { change: Change::Join, tenant: "t", channel: "c", member: "m", info: b"{}" };

fn written(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&header(), &mut bytes);
    items.iter().for_each(|item| writer.item(item));
    bytes
}

/// An item, byte by byte, as another language would write it.
fn raw(number: u8, body: &[u8]) -> Vec<u8> {
    [&[number][..], &(body.len() as u32).to_le_bytes(), body].concat()
}

/// A record of these items.
fn record(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = written(&[]);
    bytes[HEADER_BYTES - 2..].copy_from_slice(&(items.len() as u16).to_le_bytes());
    [bytes, items.concat()].concat()
}

fn raw_publication(kind: u8, channels: u8, names: &[u8], fields: &[u8]) -> Vec<u8> {
    let length = (fields.len() as u16).to_le_bytes();
    raw(128, &[&[kind, channels][..], &length, names, fields, b"data"].concat())
}

#[test]
fn what_is_broken_is_named() {
    let good = raw_publication(1, 1, b"\x01\x00a", b"");
    let fields = |fields: &[u8]| record(&[raw_publication(1, 1, b"\x01\x00a", fields)]);
    let mut version = record(&[]);
    version[0] = 2;
    let mut flag = record(&[]);
    flag[1] = 1;
    let mut many = record(&[]);
    many[HEADER_BYTES - 1] = 0x10; // 4,096
    let mut trailing = record(std::slice::from_ref(&good));
    trailing.push(0);
    let mut missing = record(std::slice::from_ref(&good));
    missing[HEADER_BYTES - 2] = 2;
    let no_text = [&[0; 68][..], b"\x01\x00\xff"].concat();
    // A header is 41 bytes and an item's type and length 5: a body begins at 46, a publication's
    // names at 50, and after one name of one byte its fields at 53.
    for (name, bytes, offset, fault) in [
        ("nothing", Vec::new(), 0, Fault::Truncated),
        ("half a header", record(&[])[..20].to_vec(), 20, Fault::Truncated),
        ("no count", record(&[])[..40].to_vec(), 39, Fault::Truncated),
        ("another version", version, 0, Fault::Version),
        ("a flag", flag, 1, Fault::Flag),
        ("too many", many, 39, Fault::TooManyItems),
        ("bytes behind", trailing, 57, Fault::TrailingBytes),
        ("an item less", missing, 57, Fault::Truncated),
        ("an unknown item", record(&[raw(200, b"")]), 41, Fault::UnknownItem(200)),
        ("a heartbeat that says something", record(&[raw(129, b"x")]), 46, Fault::ItemLength),
        ("a short secret", record(&[raw(130, &[0; 15])]), 46, Fault::ItemLength),
        ("a long secret", record(&[raw(130, &[0; 17])]), 46, Fault::ItemLength),
        ("a short order", record(&[raw(131, &[0; 55])]), 46, Fault::ItemLength),
        ("a life without a name", record(&[raw(132, &[0; 68])]), 46, Fault::ItemLength),
        ("a life with half a flag", record(&[raw(132, &[2; 70])]), 46, Fault::ItemLength),
        ("a life of no UTF-8", record(&[raw(132, &no_text)]), 116, Fault::Name),
        ("positions without a count", record(&[raw(134, &[0; 25])]), 46, Fault::ItemLength),
        ("a long time", record(&[raw(135, &[0; 18])]), 46, Fault::ItemLength),
        ("a short end", record(&[raw(136, &[0; 15])]), 46, Fault::ItemLength),
        ("a long key", record(&[raw(133, &[0; 49])]), 46, Fault::ItemLength),
        ("a join without a member", record(&[raw(1, b"\0\0\x01\0c")]), 46, Fault::ItemLength),
        ("a leave of no UTF-8", record(&[raw(2, b"\0\0\x01\0\xff\0\0")]), 50, Fault::Name),
        (
            "a join of no length",
            record(&[raw(1, b"\x04\0\0\0\0\0\x01\0\0")]),
            46,
            Fault::ItemLength,
        ),
        ("a join's field 0", record(&[raw(1, b"\x03\0\0\0\0\0\0\0\0")]), 52, Fault::Field),
        (
            "a join's unknown field",
            record(&[raw(1, b"\x03\0\0\0\0\0\x81\0\0")]),
            52,
            Fault::UnknownField(129),
        ),
        ("kind", record(&[raw_publication(3, 1, b"\x01\x00a", b"")]), 46, Fault::Kind),
        ("no channel", record(&[raw_publication(1, 0, b"", b"")]), 47, Fault::NoChannel),
        ("a long name", record(&[raw_publication(1, 1, b"\xff\x00a", b"")]), 46, Fault::ItemLength),
        ("not UTF-8", record(&[raw_publication(1, 1, b"\x01\x00\xff", b"")]), 52, Fault::Name),
        ("half a field", fields(b"\x01\x00"), 53, Fault::Field),
        ("a field too long", fields(b"\x01\x02\x00a"), 53, Fault::Field),
        ("field 0", fields(b"\x00\x00\x00"), 53, Fault::Field),
        ("a field twice", fields(b"\x01\x00\x00\x01\x00\x00"), 56, Fault::Field),
        ("an unknown delivery", fields(b"\x82\x01\x00\x02"), 56, Fault::Kind),
        ("a delivery of two", fields(b"\x82\x02\x00\x00\x00"), 53, Fault::Field),
        ("an origin of a byte", fields(b"\x83\x01\x00a"), 53, Fault::Field),
        ("an origin of 0", fields(b"\x83\x08\x00\0\0\0\0\0\0\0\0"), 53, Fault::Field),
        ("an unknown field", fields(b"\xff\x00\x00"), 53, Fault::UnknownField(255)),
    ] {
        assert_eq!(Record::read(&bytes), Err(Violation { offset, fault }), "{name}");
        fuzz::record(&bytes);
    }
}

#[test]
fn what_may_be_skipped_is_and_counts() {
    let good = raw_publication(1, 1, b"\x01\x00a", b"\x01\x01\x00e\x02\x01\x00!\x4d\x02\x00??");
    let bytes = record(&[raw(3, b"a goodbye"), good, raw(127, b""), raw(129, b"")]);
    let read = Record::read(&bytes).unwrap();
    assert_eq!(read.count(), 4);
    let expected = Publication { event: Some("e"), ..publication(&["a"], b"data") };
    let expected = [(1, Item::Publication(expected)), (3, Item::Heartbeat)];
    assert_eq!(read.items().collect::<Vec<_>>(), expected);
    fuzz::record(&bytes);
}

#[test]
fn presence_stands_in_a_record_as_any_language_writes_it() {
    let body = b"\x08\x00\x01\x00c\x01\x00m\x01\x01\x00?\x80\x01\x00t{}";
    let bytes = record(&[raw(1, body), raw(2, b"\0\0\x01\0c\x01\0m")]);
    let read = Record::read(&bytes).unwrap();
    let leave = Presence { change: Change::Leave, tenant: "", info: b"", ..PRESENCE };
    let expected = [(0, Item::Presence(PRESENCE)), (1, Item::Presence(leave))];
    assert_eq!(read.items().collect::<Vec<_>>(), expected);
    let again = written(&[Item::Presence(PRESENCE)]);
    let skipped = [&raw(1, b"\x04\x00\x01\x00c\x01\x00m\x80\x01\x00t{}")[..]].concat();
    assert_eq!(again, record(&[skipped]), "but for what was skipped");
    fuzz::record(&bytes);
}

#[test]
fn a_sequence_is_read_as_far_as_it_is_there() {
    let one = written(&[Item::Heartbeat]);
    let two = [(one.len() as u32).to_le_bytes().as_slice(), &one].concat().repeat(2);
    for end in 0..two.len() {
        let mut rest = &two[..end];
        let whole = std::iter::from_fn(|| frames(&mut rest).unwrap()).count();
        assert_eq!(whole, end / (one.len() + 4), "{end} bytes");
        assert_eq!(rest.len(), end % (one.len() + 4), "what was not read stays");
    }
    let mut wrong = two.clone();
    wrong[one.len() + 8] = 9; // the version of the second
    let mut rest = wrong.as_slice();
    assert!(frames(&mut rest).is_ok());
    assert_eq!(frames(&mut rest), Err(Violation { offset: 4, fault: Fault::Version }));
}

#[test]
#[should_panic(expected = "a record has room")]
fn a_record_has_one_item_less_than_positions() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&header(), &mut bytes);
    for _ in 0..ITEMS_MAX {
        writer.item(&Item::Heartbeat);
    }
    assert_eq!(writer.count(), 4_095);
    writer.item(&Item::Heartbeat);
}

fn text() -> impl Strategy<Value = String> {
    "[a-z:\u{e4}]{1,9}"
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        epoch: u64,
        numbers: [u64; 8],
        hashes: [u32; 2],
        names in prop::collection::vec(text(), 1..4),
        tenant in prop_oneof![Just(String::new()), text()],
        event in prop::option::of(text()),
        except: Option<NonZeroU64>,
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
        (kind, delivery) in (0..3u8, any::<bool>()),
        data in prop::collection::vec(any::<u8>(), 0..50),
        secret: [u8; 16],
        is_flag: bool,
    ) {
        let secret = Secret(secret);
        let [a, b, c, d, e, f, g, h] = numbers;
        let [chain, state] = hashes;
        let epoch = Epoch::from_random(epoch);
        let header = Header { epoch, incarnation: a, number: b, seen: c, chain, state };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let publication = Publication {
            tenant: &tenant,
            channels: Channels::of(&names),
            kind: Kind::from_number(kind).unwrap(),
            event: event.as_deref(),
            key: key.as_deref(),
            delivery: if delivery { Delivery::Ephemeral } else { Delivery::Kept },
            except,
            data: &data,
        };
        let presence = Presence {
            change: Change::Join, tenant: &tenant, channel: names[0],
            member: names[names.len() - 1], info: &data,
        };
        let life = LifeItem {
            offset: a, position: b, used: c, used_at: d, began: e, unknown_before: f, floor: g,
            used_nth: chain as u8,
            forgotten: h, expired: is_flag, tenant: &tenant, name: names[0],
        };
        let epoch_began = is_flag.then_some(e >> 1);
        let order =
            Begin { position: a, at: b, watermark: c, state: d, secret, epoch_began };
        let positions =
            Positions { offset: a, first: b, begun: c, count: chain as u16, deltas: &data };
        let items = [
            Item::Publication(publication),
            Item::Presence(presence),
            Item::Presence(Presence { change: Change::Leave, info: b"", ..presence }),
            Item::Heartbeat,
            Item::Genesis(secret),
            Item::Begin(order),
            Item::Life(life),
            Item::Positions(positions),
            Item::Key(Key { key: [a, b], body: c, position: d, offset: e, at: f, also: &secret.0 }),
            Item::Time(Time { at: a, position: b, is_coarse: is_flag }),
            Item::End(End { digest: [a, b] }),
        ];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&header, &mut bytes);
        items.iter().for_each(|item| writer.item(item));
        let read = Record::read(&bytes).unwrap();
        prop_assert_eq!(read.header, header);
        let expected: Vec<_> = (0..).zip(items).collect();
        prop_assert_eq!(read.items().collect::<Vec<_>>(), expected);
        fuzz::record(&bytes);
        fuzz::record(&[&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat());
    }

    #[test]
    fn whatever_comes_is_no_harm(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        is_ours: bool,
    ) {
        if is_ours {
            bytes = written(&[
                Item::Publication(Publication { event: Some("e"), ..publication(&["a"], &bytes) }),
                Item::Heartbeat,
                Item::Presence(Presence { info: &bytes, ..PRESENCE }),
            ]);
        }
        for (at, byte) in changed {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        fuzz::record(&bytes);
    }
}
