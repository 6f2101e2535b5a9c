//! H4 and H32: clients that take their time, or do not listen to the answer.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use fanfare::node::{Server, Settings};
use fanfare::rule::HistoryRule;
use socket2::SockRef;

use crate::site::{on_both, with_history};
use crate::support::step_timer::{StepTimer, undisturbed};
use crate::support::{Client, publish, wait_until};
use crate::wire::{Answer, connect, ended_by_node, ends, field, get};

fn impatient(settings: &mut Settings) {
    settings.limits.head_ms = 300;
    settings.limits.idle_ms = 300;
    settings.limits.stall_ms = STALL_MS;
}

const STALL_MS: u64 = 1_000;

/// One that has asked in time and was answered.
fn answered(node: &Server) -> Client {
    loop {
        let mut client = connect(node);
        client.send(get("/healthz", "").as_bytes());
        match Answer::read(&mut client).status {
            408 => {} // on a machine that stood still
            status => {
                assert_eq!(status, 200);
                return client;
            }
        }
    }
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
            let mut client = answered(node);
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
            let client = answered(node);
            assert_eq!(ended_by_node(client, "idle"), b"");
        });
    });
}

/// A megabyte, more than the kernel takes at once, and a client that takes its time with it.
#[test]
fn an_answer_may_be_read_slowly() {
    with_history(HistoryRule::DEFAULT, impatient, |site| {
        for fields in ["", "Connection: close\r\n"] {
            site.case("a long answer, read bit by bit", |node| {
                for _ in 0..15 {
                    publish(node, "long", &"x".repeat(60_000));
                }
                let request =
                    get(&format!("/poll?channels=long&since={}", beginning(node)), fields);
                undisturbed("it takes some", Duration::from_millis(STALL_MS), |timer| {
                    reads_slowly(connect(node), &request, timer)
                });
            });
        }
    });
}

/// Whether all of the answer came.
fn reads_slowly(mut client: Client, request: &str, timer: &mut StepTimer) -> bool {
    SockRef::from(&client.socket).set_recv_buffer_size(64 << 10).unwrap();
    client.send(request.as_bytes());
    let head = client.head();
    if head.starts_with("HTTP/1.1 408") {
        timer.step();
        return false;
    }
    let length: usize = field(&head, "Content-Length").unwrap().parse().unwrap();
    assert!(length > 15 * 60_000);
    let mut chunk = [0; 40_000];
    while client.buffer.len() < length {
        std::thread::sleep(Duration::from_millis(50)); // longer than idle, all in all
        timer.step();
        match client.socket.read(&mut chunk) {
            Ok(0) => return false,
            Ok(count) => client.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
            Err(error) => panic!("{error} after {}", client.buffer.len()),
        }
    }
    true
}

/// Where the node's order begins.
fn beginning(node: &Server) -> String {
    let mut answer = String::new();
    wait_until("it is asked in time", || {
        let mut client = Client::get(node.addresses().listen, "/poll?channels=other&wait=0");
        let Answer { status, body, .. } = Answer::read(&mut client);
        answer = body;
        status == 200
    });
    let body: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let (epoch, _) = body["id"].as_str().unwrap().split_once('-').unwrap();
    format!("{epoch}-0")
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
fn pile_up(node: &Server, last: &str) {
    use std::io::Write;
    let before = node.metrics().shards[0].connections.read();
    let mut client = connect(node);
    client.socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let requests = get("/", "").repeat(1_000) + last;
    let _ = client.socket.write_all(requests.as_bytes()); // the node stops reading at some time
    wait_until("the node gives up", || node.metrics().shards[0].connections.read() == before);
    ended_by_node(client, "H32");
}
