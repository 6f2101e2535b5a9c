//! H27: more connections from one address than it may have.

use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, accepted, connect, ends, get, is_heard, upgrade};

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
