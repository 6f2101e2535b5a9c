//! One connection, several requests: in order, one at a time, and HTTP/1.0.

use crate::site::on_both;
use crate::support::{Client, publish, wait_until};
use crate::wire::{Answer, Cut, STREAM, connect, ended_by_node, ends, field, get, status};

#[test]
fn requests_behind_one_another() {
    on_both(
        |_| {},
        |site| {
            site.case("one after the other", |node| {
                let mut client = connect(node);
                for target in ["/healthz", "/readyz", "/poll?channels=a&wait=0", "/nothing", "/"] {
                    client.send(get(target, "").as_bytes());
                    let answer = Answer::read(&mut client);
                    let expected = if target == "/nothing" { 404 } else { 200 };
                    assert_eq!(answer.status, expected, "{target}");
                    assert_eq!(answer.field("Connection"), Some("keep-alive"), "{target}");
                }
            });
            for cut in [Cut::Whole, Cut::ByteByByte] {
                site.case("all at once: answered in order", |node| {
                    let mut client = connect(node);
                    let body = "POST /playground/publish?channel=p HTTP/1.1\r\nHost: a\r\n\
                                Content-Length: 2\r\n\r\nhi";
                    let asks = [
                        &get("/healthz", ""),
                        body,
                        &get("/poll?channels=a&wait=0", ""),
                        "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                        &get("/nothing", ""),
                        &get("/healthz", "Connection: close\r\n"),
                        &get("/healthz", ""), // behind the end: never answered
                    ];
                    cut.send(&mut client, asks.concat().as_bytes());
                    assert_eq!(Answer::read(&mut client).body, "ok\n");
                    assert!(Answer::read(&mut client).body.contains("\"subscribers\":0"));
                    assert!(Answer::read(&mut client).body.contains("\"messages\":[]"));
                    let head = client.head();
                    assert_eq!(field(&head, "Content-Length"), Some("3"), "and no body: {head}");
                    assert_eq!(Answer::read(&mut client).status, 404);
                    let last = Answer::read(&mut client);
                    assert_eq!((last.status, last.field("Connection")), (200, Some("close")));
                    ends(client, "after Connection: close");
                });
            }
            site.case("behind a poll that waits", |node| {
                let mut client = connect(node);
                let asks = [get("/poll?channels=waits", ""), get("/healthz", "")].concat();
                client.send(asks.as_bytes());
                let polls = &node.metrics().shards[0].polls;
                wait_until("the poll waits", || polls.read() == 1);
                publish(node, "waits", "now");
                assert!(Answer::read(&mut client).body.contains("\"data\":\"now\""));
                assert_eq!(Answer::read(&mut client).body, "ok\n");
            });
        },
    );
}

#[test]
fn many_and_mixed_requests_behind_one_another() {
    on_both(
        |_| {},
        |site| {
            site.case("four hundred in one segment", |node| {
                let mut client = connect(node);
                let one = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
                client.send(one.repeat(400).as_bytes());
                for _ in 0..400 {
                    assert_eq!(Answer::read(&mut client).body, "ok\n");
                }
            });
            site.case("a bad one behind a good one", |node| {
                let mut client = connect(node);
                client.send(format!("{}\x16\x03", get("/healthz", "")).as_bytes());
                assert_eq!(Answer::read(&mut client).status, 200);
                assert_eq!(Answer::read(&mut client).status, 400);
                ends(client, "a bad one behind a good one");
            });
            site.case("a stream behind an answer", |node| {
                let mut client = connect(node);
                client.send([get("/healthz", ""), get("/sse?channels=s", "")].concat().as_bytes());
                assert_eq!(Answer::read(&mut client).status, 200);
                assert_eq!(field(&client.head(), "Content-Type"), Some(STREAM));
                client.opening();
            });
        },
    );
}

#[test]
fn http_1_0_and_head() {
    on_both(
        |_| {},
        |site| {
            site.case("HTTP/1.0 ends, unless it asks not to", |node| {
                let mut client = connect(node);
                client.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
                let answer = Answer::read(&mut client);
                assert_eq!(answer.field("Connection"), Some("keep-alive"));
                client.send(b"GET /poll?channels=a&wait=0 HTTP/1.0\r\n\r\n");
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
                assert_eq!(ended_by_node(client, "HTTP/1.0"), b"");
            });
            site.case("an event stream in HTTP/1.0 is the same stream", |node| {
                let mut client = connect(node);
                client.send(b"GET /sse?channels=s HTTP/1.0\r\n\r\n");
                let head = client.head();
                assert_eq!(status(&head), 200);
                assert_eq!(field(&head, "Transfer-Encoding"), None);
                assert_eq!(field(&head, "Connection"), Some("close"));
                client.opening();
                publish(node, "s", "x");
                assert!(client.block().starts_with("data: x\n"));
            });
            site.case("HEAD gets heads", |node| {
                let mut client = connect(node);
                for (target, code) in
                    [("/", 200), ("/healthz", 200), ("/poll?channels=a", 200), ("/nothing", 404)]
                {
                    client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                    assert_eq!(status(&client.head()), code, "{target}");
                }
                client.send(get("/healthz", "").as_bytes());
                assert_eq!(Answer::read(&mut client).body, "ok\n", "no body came before");
                let row = "HEAD of a WebSocket";
                let mut client = connect(node);
                client.send(b"HEAD /ws?channels=a HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(status(&client.head()), 405);
                ends(client, row);
            });
            site.case("a head that is the same with HEAD and GET", |node| {
                for target in ["/", "/healthz", "/sse?channels=*", "/poll", "/nothing"] {
                    let head = |method: &str| {
                        let mut client = Client::connect(node.addresses().listen);
                        let line = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                        client.send(line.as_bytes());
                        client.head()
                    };
                    assert_eq!(head("HEAD"), head("GET"));
                }
            });
        },
    );
}
