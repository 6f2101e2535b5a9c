//! Who comes for the first time begins with what is kept, with the last so many, or with a time; on
//! every transport, with no hole before what is live.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::node::Server;
use fanfare::rule::Window;

use crate::reader::{Reader, Transport};
use crate::support::{keep, rules};
use crate::{everywhere, fill, gap, on_both};

/// This moment, as `since` says it, with nothing published within 300 ms of it.
fn moment() -> String {
    std::thread::sleep(Duration::from_millis(300));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    format!("@{}.{:03}", now.as_secs(), now.subsec_millis())
}

/// Offsets of `a` that a newcomer gets, who says what is live from `live` on.
fn given(node: &Server, transport: Transport, from: &str, count: u64, live: u64) -> Vec<u64> {
    let mut reader = Reader::open(node.addresses().listen, transport, "a", Some(from));
    assert_eq!(reader.gaps, [] as [serde_json::Value; 0], "{from}");
    fill(node, "a", live..=live);
    reader.offsets(count as usize + 1)
}

#[test]
fn a_newcomer_begins_where_it_says() {
    everywhere(
        |_| {},
        |node, transport| {
            fill(node, "a", 1..=4);
            fill(node, "other", 1..=3);
            let between = moment();
            fill(node, "a", 5..=6);
            for (nth, (from, count)) in [
                // Each publishes one more than there was.
                ("earliest", 6),
                ("last=2", 2),
                ("last=0", 0),
                ("last=100", 9),
                ("1h", 10),
                (between.as_str(), 7),
                ("0ms", 0),
            ]
            .into_iter()
            .enumerate()
            {
                let live = 7 + nth as u64;
                std::thread::sleep(Duration::from_millis(5)); // of "0ms" nothing is that young
                let expected = Vec::from_iter(live - count..=live);
                assert_eq!(given(node, transport, from, count, live), expected, "{from}");
            }
        },
    );
}

#[test]
fn several_channels_begin_each_with_its_own_last() {
    everywhere(
        |_| {},
        |node, transport| {
            fill(node, "a", 1..=5);
            fill(node, "b", 1..=2);
            fill(node, "c", 1..=5);
            let listen = node.addresses().listen;
            let mut reader = Reader::open(listen, transport, "a,b,c", Some("last=3"));
            let got = reader.messages(8);
            let got: Vec<_> = got.iter().map(|it| (it.channel.as_str(), it.offset)).collect();
            let expected: Vec<_> = [("a", 3..=5), ("b", 1..=2), ("c", 3..=5)]
                .into_iter()
                .flat_map(|(channel, offsets)| offsets.map(move |offset| (channel, offset)))
                .collect();
            assert_eq!(got, expected, "by their places in the one order");
        },
    );
}

#[test]
fn what_was_published_since_and_is_kept_no_more_is_told() {
    everywhere(
        |settings| settings.rules = rules(&[("a", keep(3), Window::DEFAULT)]),
        |node, transport| {
            let listen = node.addresses().listen;
            let begun = moment();
            fill(node, "a", 1..=5);
            let between = moment();
            fill(node, "a", 6..=10);
            let after = moment();
            for (since, missed) in
                [(begun.as_str(), 1), ("@0", 1), ("1d", 1), (between.as_str(), 6)]
            {
                let mut reader = Reader::open(listen, transport, "a", Some(since));
                assert_eq!(reader.gaps, [gap("a", missed, 7, "trimmed")], "{since}");
                assert_eq!(reader.offsets(3), [8, 9, 10], "{since}");
            }
            // Who asks for what there is misses nothing.
            for (since, first) in [("earliest", 8), ("last=99", 8), ("last=1", 10)] {
                let mut reader = Reader::open(listen, transport, "a", Some(since));
                assert_eq!(reader.gaps.len(), 0, "{since}");
                assert_eq!(reader.offsets(11 - first as usize), Vec::from_iter(first..=10));
            }
            let mut reader = Reader::open(listen, transport, "a", Some(&after));
            fill(node, "a", 11..=11);
            assert_eq!((reader.gaps.len(), reader.offsets(1)), (0, vec![11]));
        },
    );
}

#[test]
fn between_what_is_kept_and_what_is_live_there_is_no_hole() {
    const ALL: u64 = 400_000;
    /// As fast as the node takes them; the others come for as long as the slowest readers read.
    const FAST: u64 = 50_000;
    on_both(
        |settings| {
            settings.rules = rules(&[("a", keep(ALL), Window { count: ALL, bytes: 1 << 30 })])
        },
        |node| {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for nth in 1..ALL {
                        if over.load(SeqCst) {
                            return;
                        }
                        fill(node, "a", nth..=nth);
                        if nth > FAST {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                });
                let race = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    for nth in 0..60 {
                        let transport = Transport::ALL[nth % 3];
                        let since = ["earliest", "last=50", "20ms", "1h"][nth / 3 % 4];
                        let listen = node.addresses().listen;
                        let mut reader = Reader::open(listen, transport, "a", Some(since));
                        assert_eq!(reader.gaps.len(), 0, "{since}");
                        let got = reader.offsets(150);
                        let expected = Vec::from_iter(got[0]..got[0] + 150);
                        assert_eq!(got, expected, "{transport:?} {since}");
                        let first = matches!(since, "earliest" | "1h");
                        assert!(!first || got[0] == 1, "{since} began at {}", got[0]);
                    }
                }));
                over.store(true, SeqCst);
                race.unwrap();
            });
        },
    );
}
