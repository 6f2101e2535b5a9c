//! Golden vectors of records: the bytes of `records.txt` are read as what stands beside them, and
//! that is written as these bytes. A change of the format is a change of that file.

use fanfare_protocol::record::{Record, Writer};

const VECTORS: &str = include_str!("records.txt");

/// Name, bytes, and a line for the header and each item.
fn vectors() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let mut all = Vec::new();
    for line in VECTORS.lines() {
        match line.split_at_checked(2) {
            Some(("# ", name)) => all.push((name, Vec::new(), Vec::new())),
            Some(("  ", hex)) => {
                let bytes = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap());
                all.last_mut().unwrap().1.extend(bytes);
            }
            Some(_) => all.last_mut().unwrap().2.push(line),
            None => {}
        }
    }
    all
}

#[test]
fn the_bytes_say_what_stands_beside_them() {
    let all = vectors();
    for (name, bytes, lines) in &all {
        let record =
            Record::read(bytes).unwrap_or_else(|violation| panic!("{name}: {violation:?}"));
        let items = record.items().map(|(number, item)| format!("{number}: {item:?}"));
        let told: Vec<String> = [format!("{:?}", record.header)].into_iter().chain(items).collect();
        assert_eq!(told, *lines, "{name}");
        let mut written = Vec::new();
        let mut writer = Writer::new(&record.header, &mut written);
        record.items().for_each(|(_, item)| writer.item(&item));
        let skips = name.ends_with("skipped");
        assert_eq!(written != *bytes, skips, "{name}: {written:02x?}");
    }
    assert!(all.len() >= 5, "the vectors were lost");
}
