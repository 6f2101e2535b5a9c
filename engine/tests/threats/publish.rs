//! The playground's publish, and a page that asks for more than it may; what backends may say is in
//! the tests of the API and of the Unix socket.

use crate::site::on_both;
use crate::support::Client;
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
    let change = |settings: &mut fanfare::server::Settings| settings.limits.message_bytes = 1_000;
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
