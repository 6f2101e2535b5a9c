//! Channels that are asked for in a body: POST and QUERY of /sse and /poll.

use fanfare::admission::origin::Origins;
use fanfare::node::Server;

use crate::site::on_both;
use crate::support::{Client, publish, wait_until};
use crate::wire::{Answer, CUTS, connect, ends, field, get, status};

const PAIRS: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

fn ask(method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n\
         {body}"
    )
}

/// A thousand names, each as long as a name may be: no target holds them.
fn thousand() -> Vec<String> {
    (0..1_000).map(|nth| format!("{nth:04}{}", "n".repeat(251))).collect()
}

fn bodies(names: &[String], more: (&str, &str)) -> [(&'static str, String); 2] {
    let list: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    [
        (PAIRS, format!("channels={}{}", names.join("%2C"), more.0)),
        (JSON, format!("{{\"channels\":[{}]{}}}", list.join(","), more.1)),
    ]
}

#[test]
fn a_thousand_channels_are_followed_by_one_request() {
    on_both(
        |_| {},
        |site| {
            for method in ["POST", "QUERY"] {
                for (fields, body) in bodies(&thousand(), ("", "")) {
                    site.case("a stream", |node| {
                        let mut client = connect(node);
                        client.send(ask(method, "/sse", fields, &body).as_bytes());
                        assert_eq!(status(&client.head()), 200, "{method} {fields}");
                        client.block();
                        let follows = &node.metrics().shards[0].subscriptions;
                        wait_until("they and the canary's are counted", || follows.read() == 1_001);
                        publish(node, &thousand()[999], "to the last");
                        client.until(|bytes| {
                            crate::support::find(bytes, b"to the last").map(|at| at + 1)
                        });
                    });
                }
                let more = ("&wait=20", ",\"wait\":20");
                for (fields, body) in bodies(&thousand(), more) {
                    site.case("a poll, and the connection goes on", |node| {
                        let mut client = connect(node);
                        let next = get("/healthz", "");
                        let all = format!("{}{next}", ask(method, "/poll", fields, &body));
                        client.send(all.as_bytes());
                        let polls = &node.metrics().shards[0].polls;
                        wait_until("it waits", || polls.read() == 1);
                        publish(node, &thousand()[500], "answered");
                        let answer = Answer::read(&mut client);
                        assert!(answer.body.contains("\"answered\""), "{answer:?}");
                        assert_eq!(Answer::read(&mut client).body, "ok\n");
                    });
                }
            }
        },
    );
}

fn refused(node: &Server, bytes: &str, status: u16, word: &str) -> Answer {
    let mut last = None;
    for cut in CUTS {
        let mut client = connect(node);
        cut.send(&mut client, bytes.as_bytes());
        let answer = Answer::read(&mut client);
        assert_eq!((answer.status, &*answer.error()), (status, word), "{bytes:?}");
        ends(client, word);
        last = Some(answer);
    }
    last.unwrap()
}

#[test]
fn bodies_that_say_nothing_good() {
    let change = |settings: &mut fanfare::node::Settings| {
        settings.limits.subscribe_bytes = 1_000;
        settings.limits.channels_per_connection = 10;
        settings.limits.head_ms = 1_500;
    };
    on_both(change, |site| {
        site.case("of no type, of another, too long, without a length", |node| {
            for target in ["/sse", "/poll"] {
                let post = |fields: &str, body: &str| ask("POST", target, fields, body);
                let text = "Content-Type: text/plain\r\n";
                for fields in ["", text, "Content-Type: application/jsonx\r\n"] {
                    let answer =
                        refused(node, &post(fields, "channels=a"), 415, "unsupported_type");
                    assert!(answer.field("Accept-Post").unwrap().contains("application/json"));
                }
                let long = format!("channels=a&x={}", "x".repeat(1_000));
                refused(node, &post(PAIRS, &long), 413, "body_too_long");
                let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{PAIRS}");
                let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
                refused(node, &chunked, 411, "length_required");
                refused(node, &post(JSON, "{\"channels\":[1]}"), 400, "bad_channels");
                refused(node, &post(JSON, "channels=a"), 400, "bad_json");
                refused(node, &post(PAIRS, "since=x&channel=a"), 400, "bad_since");
                refused(node, &post(PAIRS, "x=y"), 400, "no_channels");
                refused(node, &post(PAIRS, &"&x".repeat(75)), 400, "too_many_parameters");
            }
            let put = ask("PUT", "/sse?channels=a", PAIRS, "channels=a");
            let answer = refused(node, &put, 405, "method_not_allowed");
            assert_eq!(answer.field("Allow"), Some("GET, HEAD, POST, QUERY, OPTIONS"));
        });
        site.case("one that does not end: 408", |node| {
            let mut client = connect(node);
            let whole = ask("POST", "/poll", JSON, "{\"channels\":[\"a\"]}");
            client.send(&whole.as_bytes()[..whole.len() - 2]);
            assert_eq!(Answer::read(&mut client).status, 408);
            ends(client, "408");
        });
        site.case("after a refusal of what was read the connection goes on", |node| {
            let mut client = connect(node);
            for _ in 0..3 {
                client.send(ask("POST", "/poll", JSON, "{\"channels\":[]}").as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, answer.field("Connection")), (400, Some("keep-alive")));
            }
            client.send(ask("POST", "/poll", PAIRS, "channels=a&wait=0").as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
        });
        site.case("none at all: the query says it", |node| {
            let mut client = Client::connect(node.addresses().listen);
            client.send(ask("POST", "/poll?channels=a&wait=0", "", "").as_bytes());
            assert_eq!(Answer::read(&mut client).status, 200);
        });
    });
}

#[test]
fn pages_may_ask_so_too() {
    on_both(
        |_| {},
        |site| {
            site.case("a preflight", |node| {
                for (target, methods) in
                    [("/sse", "GET, HEAD, POST, QUERY"), ("/poll", "GET, HEAD, POST, QUERY")]
                {
                    let mut client = connect(node);
                    let origin = format!("Origin: http://{}\r\n", node.addresses().listen);
                    let asks = "Access-Control-Request-Method: POST\r\n";
                    let head = format!(
                        "OPTIONS {target} HTTP/1.1\r\nHost: {}\r\n{origin}{asks}\r\n",
                        node.addresses().listen
                    );
                    client.send(head.as_bytes());
                    let head = client.head();
                    assert_eq!(status(&head), 204);
                    assert_eq!(field(&head, "Access-Control-Allow-Methods"), Some(methods));
                    let headers = field(&head, "Access-Control-Allow-Headers").unwrap();
                    assert!(headers.contains("Content-Type"), "{headers}");
                }
            });
            site.case("a page that may not is refused before its body is read", |node| {
                let fields = format!("{PAIRS}Origin: https://evil.example\r\n");
                let mut client = connect(node);
                client.send(ask("POST", "/poll", &fields, "channels=a&wait=0").as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, answer.field("Connection")), (403, Some("close")));
                ends(client, "403");
            });
        },
    );
}

/// What a page may read of a refusal that comes before its body is whole.
#[test]
fn a_page_reads_why_its_body_was_not_taken() {
    const PAGE: &str = "https://good.example";
    let change = |settings: &mut fanfare::node::Settings| {
        settings.origins = Origins::new(&[PAGE.to_string()]).unwrap();
        settings.limits.message_bytes = 200; // bodies have at least nine times that
        settings.limits.bodies_bytes = 2_000; // of which strangers have half
        settings.limits.head_ms = 4_000;
    };
    let fields = format!("{JSON}Origin: {PAGE}\r\n");
    let begun = |node: &Server, length: usize, bytes: usize| {
        let mut client = connect(node);
        let whole = ask("POST", "/poll", &fields, &" ".repeat(length));
        client.send(&whole.as_bytes()[..whole.len() - length + bytes]);
        client
    };
    let reads = |client: &mut Client, status: u16, word: &str| {
        let answer = Answer::read(client);
        assert_eq!((answer.status, &*answer.error()), (status, word));
        assert_eq!(answer.field("Access-Control-Allow-Origin"), Some(PAGE), "{answer:?}");
        assert_eq!(answer.field("Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(answer.field("Vary"), Some("Origin"));
    };
    on_both(change, |site| {
        site.case("it came too late", |node| {
            reads(&mut begun(node, 100, 0), 408, "head_deadline");
            reads(&mut begun(node, 100, 50), 408, "head_deadline");
        });
        site.case("bodies have no room, from the first byte", |node| {
            reads(&mut begun(node, 1_001, 0), 503, "busy");
        });
        site.case("bodies have no room, later", |node| {
            let bodies = &node.metrics().bodies;
            let mut late = begun(node, 300, 1);
            wait_until("one byte of it is here", || bodies.held() == 1);
            let mut other = begun(node, 900, 900 - 1);
            wait_until("another needs the room", || bodies.held() == 900);
            late.send(&[b' '; 299]);
            reads(&mut late, 503, "busy");
            reads(&mut other, 408, "head_deadline");
        });
        site.case("nobody asked from a page", |node| {
            let mut client = connect(node);
            client.send(ask("POST", "/poll", JSON, &" ".repeat(1_001)).as_bytes());
            let answer = Answer::read(&mut client);
            assert_eq!((answer.status, &*answer.error()), (503, "busy"));
            assert_eq!(answer.field("Access-Control-Allow-Origin"), None);
        });
    });
}
