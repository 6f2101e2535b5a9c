//! The live window: who is connected and reads loses nothing, whatever history keeps.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use fanfare::rule::Window;

use crate::reader::{Reader, Transport, poll};
use crate::support::{Client, keep, publish_all, rules, wait_for, wait_until};
use crate::{everywhere, fill, gap, on_both};

#[test]
fn a_burst_to_a_healthy_client_of_a_short_history_loses_nothing() {
    everywhere(
        |settings| settings.rules = rules(&[("a", keep(5), Window::DEFAULT)]),
        |node, transport| {
            let listen = node.addresses().listen;
            if transport == Transport::Poll {
                return; // between two polls nobody is connected
            }
            let mut reader = Reader::open(listen, transport, "a", None);
            let mut both = Reader::open(listen, transport, "b,a", None);
            for burst in 0..3 {
                let (from, to) = (burst * 1_000 + 1, burst * 1_000 + 1_000);
                fill(node, "a", from..=to);
                assert_eq!(reader.offsets(1_000), Vec::from_iter(from..=to));
                assert_eq!(both.offsets(1_000), Vec::from_iter(from..=to));
            }
            // Another one that comes back now has five messages and a notice.
            let epoch = reader.id.split_once('-').unwrap().0;
            let mut late = Reader::open(listen, transport, "a", Some(&format!("{epoch}-0")));
            assert_eq!(late.gaps, [gap("a", 1, 2_995, "trimmed")]);
            assert_eq!(late.offsets(5), [2_996, 2_997, 2_998, 2_999, 3_000]);
        },
    );
}

#[test]
fn a_poll_that_waits_loses_nothing_by_a_burst() {
    // The window is much shorter than the burst, and history keeps nothing.
    let narrow = Window { count: 4, bytes: 1_000_000 };
    on_both(
        |settings| settings.rules = rules(&[("a", keep(0), narrow)]),
        |node| {
            let listen = node.addresses().listen;
            for burst in 0..5 {
                let mut client = Client::get(listen, "/poll?channels=a,b&wait=20");
                let waits = || node.metrics().shards.iter().any(|shard| shard.polls.read() == 1);
                wait_until("a poll waits", waits);
                publish_all(node, (0..200).map(|number| ("a", number.to_string())));
                let (_, body) = client.answer();
                let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
                assert_eq!(answer.get("gaps"), None);
                assert_eq!(answer["messages"][0]["offset"], burst * 200 + 1, "from the first on");
                // The next poll is told what came after the answer, exactly.
                let messages = answer["messages"].as_array().unwrap();
                let last = messages.last().unwrap()["offset"].as_u64().unwrap();
                let id = answer["id"].as_str().unwrap();
                wait_until("all is published", || {
                    node.metrics().sequencer.published.read() == (burst + 1) * 200
                });
                let next = poll(listen, &format!("channels=a,b&since={id}&wait=0"));
                let end = (burst + 1) * 200;
                let expected = (last < end).then(|| gap("a", last + 1, end, "trimmed"));
                assert_eq!(next.get("gaps").map(|gaps| &gaps[0]), expected.as_ref());
            }
        },
    );
}

#[test]
fn a_burst_to_a_large_audience_loses_nobody_who_reads() {
    // More members than one tick visits, and a burst of several windows. All of it fits the
    // kernel's buffers, so whoever loses anything was not too slow: the node was.
    on_both(
        |settings| {
            settings.shards = Some(1);
            settings.rules = rules(&[("a", keep(5), Window { count: 64, bytes: 1_000_000 })]);
        },
        |node| {
            let listen = node.addresses().listen;
            let clients = (0..1_200).map(|_| Client::websocket(listen, "/ws?channels=a"));
            let mut clients: Vec<Client> = clients.collect();
            let window_bytes = &node.metrics().shards[0].window_bytes;
            let over = AtomicBool::new(false);
            let longest = std::thread::scope(|scope| {
                let watch = scope.spawn(|| {
                    let mut longest = 0;
                    while !over.load(SeqCst) {
                        longest = longest.max(window_bytes.read());
                    }
                    longest
                });
                fill(node, "a", 1..=1_000);
                let deliveries = || node.metrics().shards[0].deliveries.read();
                wait_for("all is sent", 1_200 * 1_000, deliveries);
                over.store(true, SeqCst);
                watch.join().unwrap()
            });
            // Two windows, and what is read at once; each of these costs at most 164 bytes.
            assert!(longest <= (2 * 64 + 8) * 164, "{longest} bytes were kept");
            for client in &mut clients {
                for number in 1..=1_000 {
                    assert_eq!(client.text_frame(), number.to_string());
                }
            }
        },
    );
}

#[test]
fn a_message_that_waits_for_its_turn_stays_though_the_window_is_one() {
    on_both(
        |settings| {
            let one = Window { count: 1, bytes: 1_000_000 };
            settings.rules = rules(&[("a", keep(0), one)]);
        },
        |node| {
            // Each has a page of its own, and a tick sends two pages to one client.
            let mut client = Client::websocket(node.addresses().listen, "/ws?channels=a");
            for _ in 0..50 {
                publish_all(node, (0..4).map(|number| ("a", number.to_string().repeat(17_000))));
                for number in 0..4 {
                    assert_eq!(client.text_frame(), number.to_string().repeat(17_000));
                }
            }
        },
    );
}

#[test]
fn a_client_that_reads_too_late_is_told_so_and_resumes() {
    let narrow = Window { count: 16, bytes: 1 << 30 };
    everywhere(
        |settings| settings.rules = rules(&[("a", keep(20), narrow)]),
        |node, transport| {
            let listen = node.addresses().listen;
            let target = match transport {
                Transport::WebSocket => "/ws?channels=a&format=json",
                Transport::EventStream => "/sse?channels=a&format=json",
                Transport::Poll => return, // holds no stream to be slow on
            };
            let mut client = Client::narrow(listen);
            match transport {
                Transport::WebSocket => client.send(crate::support::upgrade(target).as_bytes()),
                _ => client
                    .send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()),
            }
            assert!(client.head().contains(" 200 ") || transport == Transport::WebSocket);
            for _ in 0..20 {
                publish_all(node, (0..10).map(|_| ("a", "x".repeat(20_000))));
            }
            let slow =
                || node.metrics().shards.iter().map(|shard| shard.slow_closed.read()).sum::<u64>();
            wait_until("it left the window", || slow() == 1);
            let (last, id) = match transport {
                Transport::WebSocket => read_frames(&mut client),
                _ => read_blocks(client),
            };
            assert!((1..180).contains(&last), "{last} of 200");
            let mut reader = Reader::open(listen, transport, "a", Some(&id));
            assert_eq!(reader.gaps, [gap("a", last + 1, 180, "trimmed")]);
            assert_eq!(reader.offsets(20), Vec::from_iter(181..=200));
        },
    );
}

/// Dense whole messages up to a close 4508: the last one's offset and id.
fn read_frames(client: &mut Client) -> (u64, String) {
    let (mut last, mut id) = (0, String::new());
    loop {
        let (first, payload) = client.frame();
        if first == 0x88 {
            assert_eq!(payload[..2], 4508u16.to_be_bytes());
            return (last, id);
        }
        let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        id = message["id"].as_str().unwrap().into();
        if message.get("event").is_none() {
            last += 1;
            assert_eq!(message["offset"], last);
        }
    }
}

/// What a stream ends with that was too slow.
const SLOW: &str = "\n\nretry: 1000\nevent: fanfare.close\n\
    data: {\"event\":\"fanfare.close\",\"reason\":\"slow\"}\n\n";

/// Dense whole messages up to the end: the last one's offset and id.
fn read_blocks(client: Client) -> (u64, String) {
    let (reset, bytes) = client.end();
    let stream = crate::support::text(&bytes);
    assert!(!reset && stream.ends_with(SLOW), "the last frame is whole");
    let (mut last, mut id) = (0, String::new());
    for line in stream.lines() {
        if let Some(line) = line.strip_prefix("id: ") {
            id = line.into();
        } else if let Some(line) = line.strip_prefix("data: ") {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            if message.get("offset").is_some() {
                last += 1; // else it is the opening
                assert_eq!(message["offset"], last);
            }
        }
    }
    (last, id)
}
