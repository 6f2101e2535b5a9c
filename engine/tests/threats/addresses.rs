//! H27: more connections from one address than it may have.

use std::thread;
use std::time::{Duration, Instant};

use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, Cut, accepted, connect, ends, get, is_heard, upgrade};

fn counted(settings: &mut Settings) {
    settings.limits.count_loopback = true;
}

/// Turned away before a byte of it was read.
fn turned_away(node: &Server) {
    let mut client = connect(node);
    let answer = Answer::read(&mut client);
    assert_eq!(answer.status, 429);
    assert_eq!(answer.error(), "too_many_from_address");
    assert_eq!(answer.field("Retry-After"), Some("1"));
    assert_eq!(answer.field("Connection"), Some("close"));
    client.send(get("/healthz", "X-Forwarded-For: 192.0.2.7\r\n").as_bytes()); // read and dropped
    ends(client, "H27");
}

#[test]
fn h27_connections_of_one_address() {
    on_both(counted, |site| {
        for _ in 0..2 {
            site.case("H27: the 65th connection", |node| {
                let shard = &node.metrics().shards[0];
                let before = shard.turned_away.read();
                // H29: what a stranger says about his address is not believed.
                let mut clients: Vec<Client> = (0..63)
                    .map(|n| {
                        let mut client = connect(node);
                        let told = format!("X-Forwarded-For: 192.0.2.{n}\r\n");
                        client.send(upgrade("/ws?channels=a", &told).as_bytes());
                        client.head();
                        client
                    })
                    .collect();
                turned_away(node);
                turned_away(node);
                assert_eq!(shard.turned_away.read(), before + 2);
                clients.iter_mut().for_each(|client| is_heard(client, "H27"));
                let connections = shard.connections.read();
                drop(clients.pop());
                wait_until("one has left", || shard.connections.read() < connections);
                accepted(node, "there is room again", get("/healthz", "").as_bytes());
            });
        }
    });
}

#[test]
fn h27_unfinished_heads_of_one_address() {
    let change = |settings: &mut Settings| {
        counted(settings);
        settings.limits.heads_per_address = 5;
    };
    on_both(change, |site| {
        site.case("H27: heads that do not end", |node| {
            let shard = &node.metrics().shards[0];
            let before = shard.connections.read();
            let mut slow: Vec<Client> = (0..5).map(|_| connect(node)).collect();
            slow.iter_mut().for_each(|client| client.send(b"GET /healthz HTTP/1.1\r\n"));
            wait_until("they are there", || shard.connections.read() == before + 5);
            turned_away(node);
            slow[0].send(b"Host: a\r\n\r\n");
            assert_eq!(Answer::read(&mut slow[0]).status, 200);
            // One whose head is whole leaves its room to another's head.
            accepted(node, "there is room again", get("/healthz", "").as_bytes());
        });
    });
}

/// Comes until it is told that it comes too often. A token comes back each second, so the first may
/// be served; and one that is too many is ended without a word.
fn too_fast(node: &Server) {
    for _ in 0..200 {
        let mut client = connect(node);
        Cut::Whole.send(&mut client, get("/healthz", "Connection: close\r\n").as_bytes());
        let (_, told) = client.end();
        let told = String::from_utf8(told).unwrap();
        if told.starts_with("HTTP/1.1 429 ") {
            assert!(told.contains("\r\nRetry-After: 1\r\n"), "{told}");
            return assert!(told.contains("\"too_fast_from_address\""), "{told}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody is told");
}

#[test]
fn h27_handshakes_of_one_address_in_a_second() {
    let change = |settings: &mut Settings| {
        counted(settings);
        // So slow that none comes back while this runs: a busy machine may take its time.
        settings.limits.handshakes_per_address = 1;
        settings.limits.handshakes_burst = 7_200;
        settings.limits.connections_per_address = 0;
    };
    on_both(change, |site| {
        site.case("H27: it comes and goes, and comes again", |node| {
            let shard = &node.metrics().shards[0];
            let before = shard.address_rate_refused.read();
            let came = (0..20_000)
                .take_while(|_| {
                    let client = connect(node);
                    drop(client);
                    shard.address_rate_refused.read() == before
                })
                .count();
            assert!(came >= 7_190, "{came} of a burst of 7,200, less what this site needs");
            wait_until("the refusals are over", || shard.connections.read() == 1);
            too_fast(node);
        });
    });
}

/// Whoever is turned away holds a place for a second at most, and few do so at once: the others are
/// ended without a word.
#[test]
fn h27_a_flood_of_one_address_holds_few_places() {
    let change = |settings: &mut Settings| {
        counted(settings);
        settings.limits.connections_per_address = 1; // the canary
    };
    on_both(change, |site| {
        site.case("H27: hundreds at once", |node| {
            let shard = &node.metrics().shards[0];
            let (told, silent) = (shard.turned_away.read(), shard.refused_silently.read());
            let flood: Vec<Client> = (0..400).map(|_| connect(node)).collect();
            wait_until("all are judged", || shard.turned_away.read() == told + 400);
            let silent = shard.refused_silently.read() - silent;
            assert!(silent >= 100, "{silent} of 400 went without a word");
            assert!(shard.connections.read() < 302, "the others wait for their FIN");
            let answered = flood.into_iter().filter(|client| {
                let mut byte = [0];
                client.socket.peek(&mut byte).is_ok_and(|count| count == 1)
            });
            assert!(answered.count() >= 32, "the first are told why");
        });
    });
}

/// What the node accepts in a second is bounded by waiting, not by refusing: everyone is served.
#[test]
fn h27_handshakes_of_all_wait_for_their_turn() {
    let change = |settings: &mut Settings| settings.limits.handshakes = 50;
    on_both(change, |site| {
        site.case("H27: a storm", |node| {
            let began = Instant::now();
            let storm: Vec<Client> = (0..60)
                .map(|_| {
                    let mut client = connect(node);
                    client.send(get("/healthz", "").as_bytes());
                    client
                })
                .collect();
            for mut client in storm {
                assert_eq!(Answer::read(&mut client).status, 200);
            }
            // 32 may be told in one poll; the other 28 come at 50 a second.
            assert!(began.elapsed().as_millis() >= 400, "{:?}", began.elapsed());
        });
    });
}
