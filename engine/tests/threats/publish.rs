//! The playground's publish, and a page that asks for more than it may; what backends may say is in
//! the tests of the API and of the Unix socket.

use std::io::Write;

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, connect, ends, refused, reset};

fn post(target: &str, fields: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

fn with_length(target: &str, body: &str) -> String {
    post(target, &format!("Content-Length: {}\r\n", body.len()), body)
}

const TARGET: &str = "/playground/publish?channel=a";

#[test]
fn in_development_mode_only() {
    on_both(
        |settings| settings.dev = false,
        |site| {
            site.case("not in development", |node| {
                let published = node.metrics().sequencer.published.read();
                let answer = refused(node, "P8", with_length(TARGET, "hi").as_bytes(), 403);
                assert_eq!(answer.error(), "not_in_development");
                assert_eq!(node.metrics().sequencer.published.read(), published);
            });
        },
    );
    on_both(
        |_| {},
        |site| {
            site.case("in development", |node| {
                let mut follower = Client::websocket(node.addresses().listen, "/ws?channels=a");
                let mut client = connect(node);
                client.send(with_length(TARGET, "hi").as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!(answer.status, 200);
                assert!(answer.body.ends_with("\"offset\":1,\"subscribers\":1}"), "{answer:?}");
                assert_eq!(follower.text_frame(), "hi");
            });
        },
    );
}

#[test]
fn p1_to_p5_bodies() {
    let change = |settings: &mut fanfare::node::Settings| settings.limits.message_bytes = 1_000;
    let long = "x".repeat(1_001);
    on_both(change, |site| {
        site.case("P1, P2, P3, L5: none, too long, of no length", |node| {
            let published = node.metrics().sequencer.published.read();
            let newlines = "Content-Length: 8388608\r\n";
            for (bytes, status, word) in [
                (with_length(TARGET, ""), 400, "empty_body"),
                (post(TARGET, "", ""), 400, "empty_body"),
                (with_length(TARGET, &long), 413, "body_too_long"),
                (post(TARGET, newlines, &"\n".repeat(100_000)), 413, "body_too_long"),
                (
                    post(TARGET, "Content-Length: 18446744073709551615\r\n", ""),
                    413,
                    "body_too_long",
                ),
                (
                    post(TARGET, "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                    411,
                    "length_required",
                ),
                (with_length(TARGET, &"\n".repeat(1_000)), 413, "message_too_large"),
                (
                    post(TARGET, "Content-Encoding: gzip\r\nContent-Length: 2\r\n", "hi"),
                    415,
                    "bad_encoding",
                ),
                (with_length("/playground/publish", "hi"), 400, "no_channels"),
                (with_length("/playground/publish?channel=", "hi"), 400, "bad_channel"),
                (with_length("/playground/publish?channel=a*", "hi"), 400, "bad_channel"),
                (with_length("/playground/publish?channel=%00", "hi"), 400, "bad_parameter"),
            ] {
                assert_eq!(refused(node, "P1 to P5", bytes.as_bytes(), status).error(), word);
            }
            assert_eq!(node.metrics().sequencer.published.read(), published);
        });
        site.case("one of exactly the limit", |node| {
            let mut follower = Client::websocket(node.addresses().listen, "/ws?channels=a");
            let mut client = connect(node);
            client.send(with_length(TARGET, &long[1..]).as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
            assert_eq!(follower.text_frame(), long[1..]);
        });
        site.case("P11: gone before the answer, published all the same", |node| {
            let mut follower = Client::websocket(node.addresses().listen, "/ws?channels=a");
            let mut client = connect(node);
            client.send(with_length(TARGET, "last words").as_bytes());
            reset(client);
            let mut client = connect(node);
            client.send(with_length(TARGET, "and more").as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
            // RST throws away what the node has not read yet: the first may be lost, never half.
            let first = follower.text_frame();
            assert!(["last words", "and more"].contains(&first.as_str()), "{first}");
            ends(client, "P11");
        });
    });
}

/// A body that has begun and does not end holds memory; all of them together hold a bounded amount.
#[test]
fn bodies_that_do_not_end_share_one_budget() {
    let change = |settings: &mut fanfare::node::Settings| {
        settings.limits.message_bytes = 1_000_000; // strangers have 4.5 MB of 9
        settings.limits.bodies_bytes = 9_000_000;
        settings.limits.head_ms = 6_000;
    };
    on_both(change, |site| {
        site.case("over it: 503 before anything is read", |node| {
            let bodies = &node.metrics().bodies;
            let begin = |sent: usize| {
                let mut client = connect(node);
                client.send(post(TARGET, "Content-Length: 1000000\r\n", "").as_bytes());
                client.send(&vec![b'x'; sent]);
                client
            };
            // What is promised costs nothing: a hundred of them are let in.
            let promised: Vec<Client> = (0..100).map(|_| begin(1)).collect();
            wait_until("all have begun", || bodies.held() >= 100);
            assert!(bodies.held() < 2_000, "{} for 100 bytes", bodies.held());
            drop(promised);
            wait_until("they are forgotten", || bodies.held() == 0);
            let held: Vec<Client> = (0..4).map(|_| begin(900_000)).collect();
            wait_until("strangers' half is nearly full", || bodies.held() >= 3_600_000);
            let refused_before = bodies.refused();
            let mut late = connect(node);
            let head = post(TARGET, "Content-Length: 1000000\r\nExpect: 100-continue\r\n", "");
            late.send(head.as_bytes());
            let answer = Answer::read(&mut late);
            assert_eq!((answer.status, &*answer.error()), (503, "busy"));
            assert_eq!(answer.field("Retry-After"), Some("1"));
            ends(late, "503");
            assert_eq!(bodies.refused(), refused_before + 1);
            // A small one still has room, and backends have the other half.
            let mut small = connect(node);
            small.send(with_length(TARGET, "hi").as_bytes());
            assert_eq!(Answer::read(&mut small).status, 200);
            let api = node.addresses().api.expect("there is an API");
            let mut backend = Client::connect(api);
            backend.send(with_length("/v1/channels/a", &"y".repeat(500_000)).as_bytes());
            assert_eq!(Answer::read(&mut backend).status, 200);
            for mut client in held {
                let answer = Answer::read(&mut client);
                assert_eq!(answer.status, 408, "their time ends");
            }
            wait_until("all is given back", || bodies.held() == 0);
        });
        site.case("used up in the middle of a body", |node| {
            let bodies = &node.metrics().bodies;
            let mut clients: Vec<Client> = (0..12).map(|_| connect(node)).collect();
            for client in &mut clients {
                client.send(post(TARGET, "Content-Length: 600000\r\n", "x").as_bytes());
            }
            wait_until("all have begun", || bodies.held() >= 12);
            let mut statuses = Vec::new();
            for client in &mut clients {
                let _ = client.socket.write_all(&[b'x'; 599_999]);
            }
            for mut client in clients {
                statuses.push(Answer::read(&mut client).status);
                assert!(bodies.held() <= 4_500_000);
            }
            let well = statuses.iter().filter(|status| **status == 200).count();
            let busy = statuses.iter().filter(|status| **status == 503).count();
            assert!(well >= 1 && well + busy == 12, "{statuses:?}");
            wait_until("all is given back", || bodies.held() == 0);
        });
    });
}
