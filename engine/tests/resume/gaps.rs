//! What is kept no more is told before anything else, exactly, and then what is kept follows.

use std::time::Duration;

use fanfare::node::{Server, Settings};
use fanfare::rule::{HistoryRule, Window};
use fanfare_protocol::id::Id;

use crate::reader::{Reader, Transport};
use crate::support::step_timer::{StepTimer, undisturbed};
use crate::support::{Client, keep, publish_all, rules, wait_until};
use crate::{everywhere, fill, gap, on_both, unbounded};

fn with_history(history: HistoryRule) -> impl Fn(&mut Settings) {
    move |settings| settings.rules = rules(&[("a", history, Window::DEFAULT)])
}

/// The place before the first message's.
fn before(id: Id) -> String {
    Id { position: id.position - 1, ..id }.to_string()
}

#[test]
fn trimmed_by_count() {
    everywhere(with_history(keep(5)), |node, transport| {
        // On odd positions only, so that a position need not be a message's.
        let both = (1..=20).flat_map(|number| [("a", number), ("noise", number)]);
        let places = publish_all(node, both.map(|(channel, data)| (channel, data.to_string())));
        let listen = node.addresses().listen;
        let id = |offset: u64| match offset {
            0 => before(places[0].id),
            offset => places[offset as usize * 2 - 2].id.to_string(),
        };
        for seen in [0, 1, 3, 14] {
            let mut reader = Reader::open(listen, transport, "a", Some(&id(seen)));
            assert_eq!(reader.gaps, [gap("a", seen + 1, 15, "trimmed")]);
            assert_eq!(reader.offsets(5), [16, 17, 18, 19, 20]);
        }
        for seen in [15, 16, 20] {
            let mut reader = Reader::open(listen, transport, "a", Some(&id(seen)));
            assert_eq!(reader.gaps.len(), 0, "after {seen} nothing is missing");
            fill(node, "noise", 1..=1);
            assert_eq!(reader.offsets(20 - seen as usize), Vec::from_iter(seen + 1..=20));
        }
        let mut reader = Reader::open(listen, transport, "noise,a", Some(&id(19)));
        assert_eq!(reader.gaps.len(), 0);
        let seen = reader.messages(3);
        assert_eq!(seen[1].channel, "a");
        assert_eq!((seen[0].offset, seen[1].offset, seen[2].offset), (19, 20, 20));
    });
}

#[test]
fn trimmed_by_bytes() {
    // A message costs 160 bytes and its own: five of these fit, or four beside a longer one.
    let history = HistoryRule { count: 1_000, bytes: 1_000, age_ms: 600_000 };
    everywhere(with_history(history), |node, transport| {
        let listen = node.addresses().listen;
        let text = |length: usize| ("a", "x".repeat(length));
        let first = publish_all(node, (0..8).map(|_| text(40)))[0].id;
        let since = before(first);
        let mut reader = Reader::open(listen, transport, "a", Some(&since));
        assert_eq!(reader.gaps, [gap("a", 1, 3, "trimmed")]);
        assert_eq!(reader.offsets(5), [4, 5, 6, 7, 8]);
        publish_all(node, [text(41)]);
        assert_eq!(reader.offsets(1), [9], "who is here loses nothing");
        let mut reader = Reader::open(listen, transport, "a", Some(&since));
        assert_eq!(reader.gaps, [gap("a", 1, 5, "trimmed")]);
        assert_eq!(reader.offsets(4), [6, 7, 8, 9]);
        // One that history cannot keep: nothing before it is kept either.
        publish_all(node, [text(900)]);
        if transport != Transport::Poll {
            assert_eq!(reader.offsets(1), [10], "who is connected gets it");
        }
        let mut reader = Reader::open(listen, transport, "a", Some(&since));
        assert_eq!(reader.gaps, [gap("a", 1, 10, "trimmed")]);
        publish_all(node, [text(1)]);
        assert_eq!(reader.offsets(1), [11]);
    });
}

/// How long messages are kept where age takes them.
const AGE_MS: u64 = 4_000;

#[test]
fn expired_by_age() {
    let change = |settings: &mut Settings| {
        let history = HistoryRule { age_ms: AGE_MS, ..keep(1_000) };
        settings.rules = rules(&[("**", history, Window::DEFAULT)]);
    };
    on_both(change, |node| {
        let mut names = 0;
        undisturbed("what is young", Duration::from_millis(AGE_MS / 4), |timer| {
            names += 1;
            expires(node, &format!("a:{names}"), timer)
        });
    });
}

/// Whether all that was young was there in time; what is old is gone in any case.
fn expires(node: &Server, channel: &str, timer: &mut StepTimer) -> bool {
    let listen = node.addresses().listen;
    let first = fill(node, channel, 1..=3)[0].id;
    // A log that reaches back is there: age takes its messages too.
    let since = before(first);
    let mut early = Reader::open(listen, Transport::WebSocket, channel, Some(&since));
    if !early.gaps.is_empty() {
        timer.step();
        return false;
    }
    assert_eq!(early.offsets(3), [1, 2, 3]);
    std::thread::sleep(Duration::from_millis(AGE_MS)); // it is full, and then it is empty
    wait_until("history is empty", || node.metrics().sequencer.history_messages.read() == 0);
    for transport in Transport::ALL {
        let reader = Reader::open(listen, transport, channel, Some(&since));
        assert_eq!(reader.gaps, [gap(channel, 1, 3, "expired")]);
    }
    timer.step_from_here();
    fill(node, channel, 4..=5);
    for transport in Transport::ALL {
        let mut reader = Reader::open(listen, transport, channel, Some(&first.to_string()));
        if reader.gaps != [gap(channel, 2, 3, "expired")] {
            timer.step();
            return false;
        }
        assert_eq!(reader.offsets(2), [4, 5]);
    }
    assert_eq!(early.offsets(2), [4, 5]);
    true
}

#[test]
fn the_nodes_budget_trims_the_oldest_of_all_channels() {
    let budget = 20_000;
    everywhere(
        |settings| settings.limits.history_bytes = budget,
        |node, transport| {
            let channels = ["a", "b", "c", "d"];
            let data = "x".repeat(40);
            let messages = (0..50).flat_map(|_| channels.map(|channel| (channel, data.clone())));
            let first = publish_all(node, messages)[0].id;
            let metrics = &node.metrics().sequencer;
            // A step's numbers are told when it ends, which is after its answer.
            let kept = || metrics.history_messages.read();
            wait_until("numbers are told", || kept() > 0);
            let kept = kept();
            assert!(metrics.history_bytes.read() <= budget as u64);
            assert!((80..100).contains(&kept), "{kept} of 200 bytes each fit");
            let listen = node.addresses().listen;
            let mut reader = Reader::open(listen, transport, "a,b,c,d", Some(&before(first)));
            let trimmed: Vec<u64> =
                reader.gaps.iter().map(|gap| gap["missed"].as_u64().unwrap()).collect();
            assert_eq!(trimmed.iter().sum::<u64>(), 200 - kept);
            // The oldest went, whatever their channel.
            assert!(trimmed.iter().max().unwrap() - trimmed.iter().min().unwrap() <= 1);
            for (channel, trimmed) in channels.iter().zip(&trimmed) {
                assert!(reader.gaps.contains(&gap(channel, 1, *trimmed, "trimmed")));
            }
            let messages = reader.messages(kept as usize);
            for (channel, trimmed) in channels.iter().zip(&trimmed) {
                let of_channel = messages.iter().filter(|message| message.channel == *channel);
                let offsets: Vec<u64> = of_channel.map(|message| message.offset).collect();
                assert_eq!(offsets, Vec::from_iter(trimmed + 1..=50));
            }
        },
    );
}

#[test]
fn beyond_the_remembered_positions_bounds_are_null_and_what_is_kept_follows() {
    on_both(with_history(keep(5)), |node| {
        let total = 68_000;
        let mut ids = Vec::with_capacity(total);
        while ids.len() < total {
            let from = ids.len() as u64 + 1;
            ids.extend(fill(node, "a", from..=from + 999).iter().map(|place| place.id.to_string()));
        }
        let listen = node.addresses().listen;
        for transport in Transport::ALL {
            let mut reader = Reader::open(listen, transport, "a", Some(&ids[999]));
            assert_eq!(reader.gaps, [unbounded("a", "trimmed")]);
            assert_eq!(reader.offsets(5), [67_996, 67_997, 67_998, 67_999, 68_000]);
            // The last 65,536 that were trimmed are remembered.
            let seen = 67_995 - 65_536;
            let mut reader = Reader::open(listen, transport, "a", Some(&ids[seen - 1]));
            assert_eq!(reader.gaps, [gap("a", seen as u64 + 1, 67_995, "trimmed")]);
            assert_eq!(reader.offsets(5), [67_996, 67_997, 67_998, 67_999, 68_000]);
        }
    });
}

#[test]
fn a_channel_without_history_delivers_live_and_tells_the_rest() {
    everywhere(with_history(keep(0)), |node, transport| {
        let listen = node.addresses().listen;
        let mut live = Reader::open(listen, transport, "a", None);
        if transport == Transport::Poll {
            // Between two polls nothing is kept, so only one that waits gets a message.
            let mut client = Client::get(listen, "/poll?channels=a&wait=20");
            let waits = || node.metrics().shards.iter().any(|shard| shard.polls.read() == 1);
            wait_until("a poll waits", waits);
            fill(node, "a", 1..=1);
            let (_, body) = client.answer();
            assert!(body.contains(r#""offset":1,"data":"1""#) && !body.contains("gaps"), "{body}");
        } else {
            fill(node, "a", 1..=1);
            assert_eq!(live.offsets(1), [1]);
        }
        let second = fill(node, "a", 2..=4)[0].id;
        let mut reader = Reader::open(listen, transport, "a", Some(&second.to_string()));
        assert_eq!(reader.gaps, [gap("a", 3, 4, "trimmed")]);
        if transport != Transport::Poll {
            fill(node, "a", 5..=5);
            assert_eq!(reader.offsets(1), [5]);
            assert_eq!(live.offsets(4), [2, 3, 4, 5]);
        }
    });
}
