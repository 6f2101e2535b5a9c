//! Many at once, and in the middle of things.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use fanfare::rule::Window;

use crate::reader::{Reader, Transport, poll};
use crate::support::{PATIENCE, keep, publish_all, rules};
use crate::{fill, on_both};

#[test]
fn five_hundred_clients_resume_one_channel_at_once() {
    on_both(
        |_| {},
        |node| {
            let data = "x".repeat(100);
            let all = (0..500).map(|_| ("a", data.clone()));
            let since = publish_all(node, all)[0].id.to_string();
            let listen = node.addresses().listen;
            let mut readers: Vec<Reader> = (0..500)
                .map(|nth| Reader::ask(listen, Transport::ALL[nth % 3], "a", Some(&since)))
                .collect();
            fill(node, "a", 501..=510);
            for reader in &mut readers {
                reader.hello();
                assert_eq!(reader.gaps.len(), 0);
                assert_eq!(reader.offsets(509), Vec::from_iter(2..=510));
            }
            fill(node, "a", 511..=512);
            for reader in &mut readers {
                assert_eq!(reader.offsets(2), [511, 512]);
            }
        },
    );
}

#[test]
fn a_subscription_that_races_with_publishes_starts_at_an_exact_place() {
    // The history is too short to hide a hole. It is the only channel of the node, so the nth of
    // all positions is that of offset n.
    let window = Window { count: 1_000_000, bytes: 1 << 30 };
    on_both(
        |settings| settings.rules = rules(&[("a", keep(5), window)]),
        |node| {
            let (listen, over) = (node.addresses().listen, AtomicBool::new(false));
            let positions = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(SeqCst) {
                        let places = publish_all(node, (0..20).map(|_| ("a", "x".to_owned())));
                        let new = places.iter().map(|place| place.id.position);
                        positions.lock().unwrap().extend(new);
                    }
                });
                // Whatever happens here, the publisher ends.
                let race = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    (0..300).for_each(|nth| race(listen, nth, &positions));
                }));
                over.store(true, SeqCst);
                race.unwrap();
            });
        },
    );
}

fn race(listen: std::net::SocketAddr, nth: usize, positions: &Mutex<Vec<u64>>) {
    // How many were published at or before a place: known once something after it is.
    let offset_at = |id: &str| {
        let position = id.split_once('-').unwrap().1.parse::<u64>().unwrap();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let known = positions.lock().unwrap();
            if known.last().is_some_and(|last| *last > position) {
                return known.partition_point(|known| *known <= position) as u64;
            }
            drop(known);
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("nothing was published after {id}");
    };
    match Transport::ALL[nth % 3] {
        Transport::Poll => {
            let begin = poll(listen, "channels=a&wait=0")["id"].as_str().unwrap().to_owned();
            let answer = poll(listen, &format!("channels=a&since={begin}&wait=20"));
            let first = offset_at(&begin) + 1;
            let mut next = first;
            if let Some(gaps) = answer["gaps"].as_array() {
                assert_eq!(gaps[0]["from"], next, "{gaps:?}");
                next = gaps[0]["to"].as_u64().unwrap() + 1;
            }
            for message in answer["messages"].as_array().unwrap() {
                assert_eq!(message["offset"], next);
                next += 1;
            }
            assert!(next > first, "{answer}");
        }
        transport => {
            let mut reader = Reader::open(listen, transport, "a", None);
            let opened = reader.id.clone();
            let (offsets, begin) = (reader.offsets(40), offset_at(&opened));
            assert_eq!(offsets, Vec::from_iter(begin + 1..=begin + 40), "{transport:?}");
        }
    }
}
