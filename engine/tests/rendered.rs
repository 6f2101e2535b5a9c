//! What is rendered stays within its budget, whatever strangers ask for and do not read: answers
//! share their pages, who is stuck in a message of its own is ended for it, and formats do not
//! multiply what there is.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

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
                stuck.push(client);
                let before = shard.sends.read();
                publish_all(node, texts(1, 1_000_000).map(|text| ("big", text)));
                wait_until("it is sent", || shard.sends.read() > before);
                let rendered = shard.rendered_bytes.read();
                assert!(rendered <= 10 * MIB, "{rendered} bytes after {nth}");
            }
            wait_until("there is room again", || shard.rendered_bytes.read() <= 8 * MIB);
            let ended = shard.holders_closed.read();
            assert!((8..CLIENTS).contains(&ended), "{ended} were ended");
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
