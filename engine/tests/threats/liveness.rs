//! W16, W19, W21, W22: clients that say too much, too slowly, or nothing, and those that do not
//! listen.

use std::io::Write;
use std::time::Duration;

use fanfare::node::{Server, Settings};
use fanfare::rule::{HistoryRule, Rule, Rules, Window};
use socket2::SockRef;

use crate::site::on_both;
use crate::support::step_timer::undisturbed;
use crate::support::{Client, NEVER_MS, publish, publish_all, wait_until};
use crate::wire::{ended_by_node, ends, frame, is_heard};

fn websocket(node: &Server) -> Client {
    Client::websocket(node.addresses().listen, "/ws?channels=a")
}

#[test]
fn w16_pings_and_pongs() {
    on_both(
        |_| {},
        |site| {
            site.case("W16: a pong for each ping, in order", |node| {
                let mut client = websocket(node);
                let pings: Vec<_> = (0..20).map(|n| format!("ping {n}").into_bytes()).collect();
                client.send(&pings.iter().flat_map(|ping| frame(0x89, ping)).collect::<Vec<_>>());
                for ping in pings {
                    assert_eq!(client.frame(), (0x8a, ping));
                }
            });
            site.case("W16: 10,000 pings", |node| {
                let mut client = websocket(node);
                let pings = frame(0x89, b"ping").repeat(10_000);
                for piece in pings.chunks(997) {
                    client.send(piece); // a ping has ten bytes, so they are cut anywhere
                }
                assert_eq!(client.close_code(), 4529);
                ends(client, "W16: said, and not torn down by RST");
            });
            site.case("W16: pongs that nobody asked for", |node| {
                let mut client = websocket(node);
                client.send(&frame(0x8a, b"pong").repeat(1_000));
                is_heard(&mut client, "W16");
            });
        },
    );
}

/// How long a message may take.
const MESSAGE_MS: u64 = 300;

#[test]
fn w19_a_message_that_drips() {
    let change = |settings: &mut Settings| {
        settings.limits.client_message_ms = MESSAGE_MS;
        settings.limits.close_ms = NEVER_MS;
    };
    on_both(change, |site| {
        for (row, first) in [("in a frame", 0x82), ("in fragments", 0x02), ("in a header", 0x82)] {
            site.case("W19: a byte now and then", |node| {
                let mut client = websocket(node);
                let whole = match row {
                    "in a frame" => frame(first, &[0; 1_000]),
                    "in fragments" => [frame(first, b""), frame(0x00, b"").repeat(100)].concat(),
                    _ => vec![first],
                };
                client.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                for byte in whole {
                    client.send(&[byte]);
                    if client.socket.peek(&mut [0]).is_ok() {
                        break;
                    }
                }
                client.socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
                assert_eq!(client.close_code(), 1008, "{row}");
                // The socket stays until the client has answered: what it still says tears nothing.
                for _ in 0..5 {
                    std::thread::sleep(Duration::from_millis(20));
                    client.send(&[0]);
                }
                ends(client, row);
            });
        }
        site.case("messages in time, for longer than one may take", |node| {
            let patience = Duration::from_millis(MESSAGE_MS);
            undisturbed("each message has its own time", patience, |timer| {
                let mut client = websocket(node);
                for _ in 0..20 {
                    let message = frame(0x81, b"in time");
                    let _ = client.socket.write_all(&message[..7]);
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = client.socket.write_all(&message[7..]);
                    timer.step();
                }
                let _ = client.socket.write_all(&frame(0x89, b"heard?"));
                client.frame().0 == 0x8a
            });
        });
    });
}

#[test]
fn w22_no_pong() {
    let change = |settings: &mut Settings| {
        settings.limits.ping_ms = 300;
        settings.limits.pong_ms = 300;
        settings.limits.close_ms = 1_000;
    };
    on_both(change, |site| {
        site.case("W22: no pong", |node| {
            let missed = node.metrics().shards[0].pong_missed.read();
            let mut client = websocket(node);
            assert_eq!(client.frame(), (0x89, Vec::new()));
            assert_eq!(client.close_code(), 4512);
            assert_eq!(node.metrics().shards[0].pong_missed.read(), missed + 1);
            ended_by_node(client, "W22: it closes whether or not the client answers");
        });
        site.case("W22: other words are no pong", |node| {
            let mut client = websocket(node);
            assert_eq!(client.frame(), (0x89, Vec::new()));
            client.send(&frame(0x81, b"I am here"));
            assert_eq!(client.close_code(), 4512);
        });
        site.case("who answers stays", |node| {
            // A ping that comes late was not answered late: the longest pause has both.
            undisturbed("it answers", Duration::from_millis(600), |timer| {
                let mut client = websocket(node);
                (0..4).all(|_| {
                    let ping = client.frame();
                    let _ = client.socket.write_all(&frame(0x8a, b""));
                    timer.step();
                    ping.0 == 0x89
                })
            });
        });
    });
}

/// A window of four messages, so that a client leaves it soon.
fn narrow(settings: &mut Settings) {
    let history = HistoryRule { count: 4, bytes: 1_000_000, age_ms: 100 };
    let mut rules: Vec<Rule> = settings.rules.common().map(|rule| Rule::clone(rule)).collect();
    rules.pop();
    settings.rules = Rules::new(rules, history, Window { count: 4, bytes: 1_000_000 });
}

/// A client with small buffers that reads nothing for now.
fn deaf(node: &Server, target: &str) -> Client {
    let mut client = Client::websocket(node.addresses().listen, target);
    SockRef::from(&client.socket).set_recv_buffer_size(8 << 10).unwrap();
    is_heard(&mut client, "it listens at first");
    client
}

/// Publishes more than the buffers and the window hold, until a client was found too slow;
/// how many.
fn overwhelm(node: &Server) -> usize {
    let slow = &node.metrics().shards[0].slow_closed;
    let (before, mut published) = (slow.read(), 0);
    wait_until("it is too slow", || {
        publish(node, "a", &published.to_string().repeat(10_000));
        published += 1;
        slow.read() > before
    });
    published
}

#[test]
fn w21_a_client_that_does_not_read() {
    on_both(narrow, |site| {
        site.case("W21: told when it reads again", |node| {
            let mut client = deaf(node, "/ws?channels=a");
            let published = overwhelm(node);
            let mut got = 0;
            loop {
                let (first, payload) = client.frame();
                if first == 0x88 {
                    assert_eq!(payload[..2], 4508u16.to_be_bytes());
                    break;
                }
                let expected = got.to_string().repeat(10_000);
                got += 1;
                assert_eq!((first, payload), (0x81, expected.into_bytes()), "whole, in order");
            }
            assert!(got < published, "some were lost, which is why it was closed");
            ends(client, "W21");
        });
        site.case("W21: cut off when it never does", |node| {
            let client = deaf(node, "/ws?channels=a");
            overwhelm(node);
            let shard = &node.metrics().shards[0];
            wait_until("it is cut off", || shard.connections.read() == 1);
            let (reset, _) = client.end();
            assert!(reset, "RST: its bytes are thrown away");
        });
    });
}

#[test]
fn w22_a_client_that_takes_no_byte() {
    let change = |settings: &mut Settings| {
        settings.limits.stall_ms = 500;
        settings.limits.ping_ms = 200;
        settings.limits.pong_ms = 200;
    };
    on_both(change, |site| {
        site.case("W22: bytes wait and none is taken", |node| {
            let shard = &node.metrics().shards[0];
            // No pong is owed while bytes wait, and one may be before they do.
            undisturbed("it is ended as slow", Duration::ZERO, |_| {
                let (slow, missed) = (shard.slow_closed.read(), shard.pong_missed.read());
                let client = Client::websocket(node.addresses().listen, "/ws?channels=a");
                SockRef::from(&client.socket).set_recv_buffer_size(8 << 10).unwrap();
                // More than the buffers hold, less than the window.
                publish_all(node, (0..12).map(|_| ("a", "x".repeat(60_000))));
                wait_until("it is ended", || shard.connections.read() == 1);
                let (reset, _) = client.end();
                assert!(reset, "RST: its bytes are thrown away");
                shard.slow_closed.read() > slow && shard.pong_missed.read() == missed
            });
        });
    });
}
