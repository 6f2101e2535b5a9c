//! What is rendered stays within its budget, whatever strangers ask for and do not read: answers
//! share their pages, who is stuck in a message of its own is ended for it, and formats do not
//! multiply what there is.

mod support;

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use fanfare::node::{Server, Settings};
use fanfare::rule::{Pattern, Rule, Rules, Slow, Window};

use support::{Client, DRIVERS, keep, node_with, publish_all, rules, wait_until};

const MIB: u64 = 1 << 20;

fn on_both(change: impl Fn(&mut Settings) + Sync, run: impl Fn(&Server) + Sync) {
    thread::scope(|scope| {
        for driver in DRIVERS {
            let (change, run) = (&change, &run);
            scope.spawn(move || {
                let node = node_with(driver, |settings| {
                    settings.shards = Some(1);
                    change(settings);
                });
                run(&node);
                node.stop();
            });
        }
    });
}

/// Says at its end that it is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// So many texts of a length, each of a letter.
fn texts(count: usize, bytes: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |nth| char::from(b'a' + (nth % 26) as u8).to_string().repeat(bytes))
}

#[test]
fn unread_answers_share_their_pages() {
    on_both(
        |settings| settings.rules = rules(&[("c", keep(1_000), Window::DEFAULT)]),
        |node| {
            let first = publish_all(node, [("c", "first".to_string())]).remove(0).id;
            publish_all(node, texts(95, 10_000).map(|text| ("c", text)));
            let listen = node.addresses().listen;
            let ask = format!(
                "GET /poll?channels=c&since={first}&wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            );
            let mut clients: Vec<Client> = (0..100).map(|_| Client::narrow(listen)).collect();
            clients.iter_mut().for_each(|client| client.send(ask.as_bytes()));
            let shard = &node.metrics().shards[0];
            wait_until("all are answered", || shard.deliveries.read() == 100 * 95);
            let rendered = shard.rendered_bytes.read();
            assert!(rendered < 2 * MIB, "{rendered} bytes for the same answer a hundred times");
            let body = clients[0].answer().1;
            let said: serde_json::Value = serde_json::from_str(&body).expect("it is whole");
            let said = said["messages"].as_array().unwrap();
            assert!(said.iter().map(|it| it["data"].as_str().unwrap()).eq(texts(95, 10_000)));
            assert!(clients[1..].iter_mut().all(|client| client.answer().1 == body));
        },
    );
}

#[test]
fn who_is_stuck_in_a_message_of_its_own_is_ended_where_there_is_no_room() {
    const CLIENTS: u64 = 24;
    on_both(
        |settings| {
            settings.limits.rendered_bytes = 8 * MIB as usize;
            let rule = Rule {
                pattern: Pattern::parse("**").unwrap(),
                history: keep(1),
                window: Window { count: 1, bytes: 2 << 20 },
                slow: Slow::Latest,
                ..Rule::default()
            };
            settings.rules = Rules::new(vec![rule], keep(1), Window::DEFAULT);
        },
        |node| {
            let shard = &node.metrics().shards[0];
            let mut stuck = Vec::new();
            for nth in 1..=CLIENTS {
                let mut client = Client::narrow(node.addresses().listen);
                client.send(b"GET /sse?channels=big HTTP/1.1\r\nHost: localhost\r\n\r\n");
                client.head();
                client.opening();
                publish_all(node, texts(1, 1_000_000).map(|text| ("big", text)));
                client.socket.read_exact(&mut [0; 16]).expect("it comes, when there is room");
                stuck.push(client);
                let rendered = shard.rendered_bytes.read();
                assert!(rendered <= 10 * MIB, "{rendered} bytes after {nth}");
            }
            wait_until("there is room again", || shard.rendered_bytes.read() <= 8 * MIB);
            let ended = shard.holders_closed.read();
            assert!((8..CLIENTS).contains(&ended), "{ended} were ended");
        },
    );
}

/// Groups of clients that take nothing, each in the middle of the same long answer, and behind them
/// somebody who reads.
#[test]
fn crowds_wait_for_room_and_who_reads_alone_is_not_ended_for_them() {
    const GROUPS: u64 = 14;
    const GROUP: u64 = 30;
    const LIMIT: u64 = 8 * MIB;
    const MESSAGE_BYTES: usize = 1_000_000;
    // One driver after the other: these are many descriptors.
    for driver in DRIVERS {
        let node = node_with(driver, |settings| {
            settings.shards = Some(1);
            settings.limits.rendered_bytes = LIMIT as usize;
            settings.rules = Rules::new(Vec::new(), keep(1), Window::DEFAULT);
        });
        let (shard, listen) = (&node.metrics().shards[0], node.addresses().listen);
        let names: Vec<String> = (0..=GROUPS).map(|nth| format!("c{nth}")).collect();
        names.iter().for_each(|name| {
            publish_all(&node, texts(1, MESSAGE_BYTES).map(|text| (&**name, text)));
        });
        let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    let now = shard.rendered_bytes.read() + shard.window_bytes.read();
                    most.fetch_max(now, SeqCst);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let _over = Over(&over); // also where this thread panics
            let poll = |name: &str| format!("/poll?channels={name}&since=earliest&wait=0");
            let mut crowd = Vec::new();
            for name in &names[..GROUPS as usize] {
                let ask = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", poll(name));
                for _ in 0..GROUP {
                    let mut client = Client::narrow(listen);
                    client.send(ask.as_bytes());
                    crowd.push(client);
                }
            }
            let asked = || shard.polls.read() + shard.deliveries.read() == GROUPS * GROUP;
            wait_until("all have asked", asked);
            let mut reader = Client::get(listen, &poll(&names[GROUPS as usize]));
            let answer = reader.answer().1;
            assert!(answer.contains(&texts(1, MESSAGE_BYTES).next().unwrap()), "it is whole");
            wait_until("nobody waits any more", || shard.polls.read() == 0);
        });
        let (most, ended) = (most.load(SeqCst), shard.holders_closed.read());
        let slack = LIMIT / 16 + MESSAGE_BYTES as u64 + 50_000;
        assert!(most <= LIMIT + slack, "{driver:?}: {most} bytes where {LIMIT} may be");
        assert!(most > LIMIT / 2, "{driver:?}: {most} bytes");
        assert!((6 * GROUP..=8 * GROUP).contains(&ended), "{driver:?}: {ended} were ended");
        node.stop();
    }
}

/// Somebody who says how long a message may be, so that each that may be longer is rendered to see
/// whether it is, follows more such than there is room for.
#[test]
fn who_says_a_length_gets_one_message_after_the_other_and_holds_up_nobody() {
    const CHANNELS: usize = 24;
    const MESSAGE_BYTES: usize = 900_000;
    on_both(
        |settings| {
            settings.limits.rendered_bytes = 8 * MIB as usize;
            settings.rules = Rules::new(Vec::new(), keep(1), Window::DEFAULT);
        },
        |node| {
            let names: Vec<String> = (0..=CHANNELS).map(|nth| format!("c{nth}")).collect();
            for (name, text) in names.iter().zip(texts(CHANNELS + 1, MESSAGE_BYTES)) {
                publish_all(node, [(&**name, text)]);
            }
            let listen = node.addresses().listen;
            // What comes first in the order is looked at last.
            let list: Vec<&str> = names[..CHANNELS].iter().rev().map(|it| &**it).collect();
            let list = list.join(",");
            let mut since = "earliest".to_string();
            for text in texts(CHANNELS, MESSAGE_BYTES) {
                let ask = format!("/poll?channels={list}&since={since}&max=1000000&wait=0");
                let body = Client::get(listen, &ask).answer().1;
                let said: serde_json::Value = serde_json::from_str(&body).expect("it is whole");
                let messages = said["messages"].as_array().unwrap();
                assert!(messages.len() == 1 && messages[0]["data"] == *text, "its next message");
                since = said["id"].as_str().unwrap().to_string();
            }
            let ask = format!("/poll?channels={}&since=earliest&wait=0", names[CHANNELS]);
            assert!(Client::get(listen, &ask).answer().1.len() > MESSAGE_BYTES);
            assert_eq!(node.metrics().shards[0].holders_closed.read(), 0);
        },
    );
}

#[test]
fn formats_do_not_multiply_what_there_is() {
    const CHANNELS: usize = 40;
    on_both(
        |settings| {
            settings.limits.rendered_bytes = 8 * MIB as usize;
            settings.limits.history_bytes = 2 * MIB as usize;
        },
        |node| {
            let names: Vec<String> = (0..CHANNELS).map(|nth| format!("c{nth}")).collect();
            let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
            let shard = &node.metrics().shards[0];
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(SeqCst) {
                        let now = shard.rendered_bytes.read() + shard.window_bytes.read();
                        most.fetch_max(now, SeqCst);
                        thread::yield_now();
                    }
                });
                let _over = Over(&over); // also where this thread panics
                let ways = ["/ws?format=json", "/ws?format=raw"];
                let mut clients: Vec<Client> = ways
                    .iter()
                    .map(|way| {
                        let target = format!("{way}&channels={}", names.join(","));
                        Client::websocket(node.addresses().listen, &target)
                    })
                    .collect();
                assert!(clients[0].text_frame().contains("open"), "raw has no opening");
                for round in texts(30, 20_000) {
                    publish_all(node, names.iter().map(|name| (&**name, round.clone())));
                    for client in &mut clients {
                        (0..CHANNELS).for_each(|_| assert!(client.text_frame().contains(&round)));
                    }
                }
            });
            let most = most.load(SeqCst);
            assert!(most <= 9 * MIB, "{most} bytes where 8 MiB may be");
            assert_eq!((shard.gaps.read(), shard.slow_closed.read()), (0, 0), "all keep up");
        },
    );
}
