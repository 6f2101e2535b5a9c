//! H4 and H32: clients that take their time, or do not listen to the answer.

use std::time::Duration;

use fanfare::server::{Running, Settings};

use crate::site::on_both;
use crate::support::Client;
use crate::wire::{Answer, connect, ended_by_node, ends, get};

fn impatient(settings: &mut Settings) {
    settings.limits.head_ms = 300;
    settings.limits.idle_ms = 300;
}

/// Says a byte of `bytes` now and then, for ever, until the node has answered.
fn drip(client: &mut Client, bytes: &str) {
    client.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut chunk = [0; 1];
    for byte in bytes.bytes().chain(std::iter::repeat(b'x')).take(2_000) {
        client.send(&[byte]);
        if client.socket.peek(&mut chunk).is_ok() {
            client.socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
            return;
        }
    }
    panic!("the node waits for ever");
}

fn is_told(mut client: Client, row: &str) {
    let answer = Answer::read(&mut client);
    assert_eq!((answer.status, answer.field("Connection")), (408, Some("close")), "{row}");
    assert_eq!(answer.error(), "head_deadline");
    ends(client, row);
}

#[test]
fn h4_slow_heads() {
    let rows = [
        ("a byte now and then", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "),
        ("a field now and then", "GET /sse?channels=a HTTP/1.1\r\nHost: a\r\nX:x\r\nY:y\r\nZ:"),
        ("a target", "GET /"),
    ];
    on_both(impatient, |site| {
        for (row, bytes) in rows {
            site.case("H4", |node| {
                let mut client = connect(node);
                drip(&mut client, bytes);
                is_told(client, row);
            });
        }
        site.case("H4: not a byte", |node| is_told(connect(node), "H4"));
        site.case("H4: the second head has a deadline too", |node| {
            let mut client = connect(node);
            client.send(get("/healthz", "").as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
            drip(&mut client, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ");
            is_told(client, "H4");
        });
        site.case("H4: and so has a body", |node| {
            let mut client = connect(node);
            let line = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n";
            drip(&mut client, &format!("{line}Content-Length: 10000\r\n\r\n"));
            is_told(client, "H4");
        });
        site.case("who has asked and asks no more is left in silence", |node| {
            let mut client = connect(node);
            client.send(get("/healthz", "").as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
            assert_eq!(ended_by_node(client, "idle"), b"");
        });
    });
}

#[test]
fn h32_answers_that_nobody_reads() {
    on_both(impatient, |site| {
        site.case("H32: a thousand pages asked for and none read", |node| pile_up(node, ""));
        site.case("H32: and then a refusal", |node| pile_up(node, "no request\r\n\r\n"));
        site.case("H32: refusals that wait for nobody", |node| {
            let mut clients: Vec<Client> = (0..50).map(|_| connect(node)).collect();
            clients.iter_mut().for_each(|client| client.send(b"\x16\x03\x01"));
            for client in clients {
                ended_by_node(client, "H32");
            }
        });
    });
}

/// Asks for more than the kernel buffers, and reads nothing until the node has given up.
fn pile_up(node: &Running, last: &str) {
    use std::io::Write;
    let before = node.metrics().shards[0].connections.read();
    let mut client = connect(node);
    client.socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let requests = get("/", "").repeat(1_000) + last;
    let _ = client.socket.write_all(requests.as_bytes()); // the node stops reading at some time
    crate::support::wait_until("the node gives up", || {
        node.metrics().shards[0].connections.read() == before
    });
    ended_by_node(client, "H32");
}
