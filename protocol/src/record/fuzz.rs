//! The body of the fuzz target `record`: what is read is written back as the same, a prefix of it
//! is never read, and a sequence of records tells the same however much of it is there.
//!
//! And of the target `checkpoint`: whatever comes is no harm, and is the same however it is cut.
//!
//! `cargo test` replays `fuzz/corpus/record` and `fuzz/corpus/checkpoint` through them.

use super::checkpoint::{self, Unreadable};
use super::{Item, Record, Violation, Writer, frames};

/// Longer records are cut at some places only: the work is quadratic.
const CUTS_MAX: usize = 200;

/// Reads `data` as a record, and as a sequence of records; panics where it matters.
pub fn record(data: &[u8]) {
    match Record::read(data) {
        Ok(record) => {
            written_back(&record);
            for end in (0..data.len()).step_by(data.len() / CUTS_MAX + 1) {
                let cut = Record::read(&data[..end]);
                assert!(cut.is_err_and(|violation| violation.offset <= end as u64), "cut at {end}");
            }
        }
        Err(violation) => assert!(violation.offset <= data.len() as u64, "it names what came"),
    }
    let (told, wrong) = tell(data);
    for end in (0..data.len()).step_by(data.len() / CUTS_MAX + 1) {
        let (less, earlier) = tell(&data[..end]);
        assert!(told.starts_with(&less), "cut at {end}");
        assert!(earlier.is_none() || earlier == wrong, "cut at {end}");
    }
}

/// Reads `data` as a checkpoint, whole and in pieces; panics where it matters.
pub fn checkpoint(data: &[u8]) {
    let whole = told(data, data.len().max(1));
    for piece in [1, 2, 3, 47, 1_000] {
        assert_eq!(told(data, piece), whole, "in pieces of {piece}");
    }
}

/// Every item of a checkpoint whose bytes come in pieces, and what is wrong with it.
pub(super) fn told(data: &[u8], piece: usize) -> (Vec<String>, Result<(), Unreadable>) {
    let (mut reader, mut items) = (checkpoint::Reader::default(), Vec::new());
    let mut left = Vec::new();
    for piece in data.chunks(piece) {
        left.extend_from_slice(piece);
        let mut rest = left.as_slice();
        let read = reader.read(&mut rest, |_, item| {
            items.push(format!("{item:?}"));
            Ok(())
        });
        if let Err(unreadable) = read {
            return (items, Err(unreadable));
        }
        left = rest.to_vec();
    }
    let end = reader.end(&left);
    (items, end)
}

/// Every record of a sequence, and what is wrong with the one after them.
fn tell(mut bytes: &[u8]) -> (Vec<String>, Option<Violation>) {
    let mut told = Vec::new();
    loop {
        match frames(&mut bytes) {
            Ok(Some(record)) => {
                let items: Vec<(u16, Item<'_>)> = record.items().collect();
                assert!(items.is_sorted_by_key(|(number, _)| *number));
                assert!(items.len() <= usize::from(record.count()));
                told.push(format!("{:?} {items:?}", record.header));
            }
            Ok(None) => return (told, None),
            Err(violation) => return (told, Some(violation)),
        }
    }
}

/// Writes what was read and reads it again; what is skipped is lost on the way.
fn written_back(record: &Record<'_>) {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&record.header, &mut bytes);
    record.items().for_each(|(_, item)| writer.item(&item));
    let again = Record::read(&bytes).expect("we write what we read");
    assert_eq!(again.header, record.header);
    let items = |record: &Record<'_>| record.items().map(|(_, item)| format!("{item:?}")).collect();
    let (before, after): (Vec<_>, Vec<_>) = (items(record), items(&again));
    assert_eq!(before, after);
}
