//! H25 in names, L6, and what else a query may say.

use fanfare::channel::Tenant;
use fanfare::limits::Limits;
use fanfare::node::Server;
use fanfare::node_state::NodeState;
use fanfare::transport::Context;
use fanfare::transport::decision::Decision;
use fanfare::transport::request::{Now, decide};
use fanfare_protocol::http::{Fed, HeadReader, HttpDate};

use crate::site::on_both;
use crate::support::{Client, publish};
use crate::wire::{Answer, connect, get, status, upgrade};

const MISSPELLED: &str = "misspelled_parameter";

/// What `query` gets on each transport: the status, and the word of a refusal.
fn each(node: &Server, query: &str, expected: (u16, &str)) {
    for path in ["/ws", "/sse", "/poll"] {
        let target = format!("{path}?{query}");
        let mut client = connect(node);
        let request = if path == "/ws" { upgrade(&target, "") } else { get(&target, "") };
        client.send(request.as_bytes());
        if expected.0 == 200 {
            let good = if path == "/ws" { 101 } else { 200 };
            assert_eq!(status(&client.head()), good, "{target}");
        } else {
            let answer = Answer::read(&mut client);
            assert_eq!((answer.status, answer.error().as_str()), expected, "{target}");
        }
    }
}

#[test]
fn channel_names() {
    let long = |bytes: usize| format!("channels={}&wait=0", "n".repeat(bytes));
    on_both(
        |settings| settings.limits.channels_per_connection = 10,
        |site| {
            site.case("names of the longest kind", |node| {
                each(node, &long(255), (200, ""));
                each(node, &long(256), (400, "bad_channel"));
                let umlauts = |count: usize| format!("channels={}&wait=0", "%C3%A4".repeat(count));
                each(node, &umlauts(127), (200, "")); // 254 bytes
                each(node, &umlauts(128), (400, "bad_channel"));
            });
            site.case("H25: names that are none", |node| {
                for name in [
                    "*",
                    "a*b",
                    "%2a",
                    "%00",
                    "a%0d%0ab",
                    "%7f",
                    "%c2%85",
                    "%c0%af",
                    "%ff",
                    "%ed%a0%80",
                    "%",
                    "%4",
                    "%zz",
                ] {
                    each(node, &format!("channels=ok,{name}"), (400, "bad_channel"));
                }
                for list in ["", ",", "a,", ",a", "a,,b"] {
                    each(node, &format!("channels={list}"), (400, "empty_channel"));
                }
                each(node, "", (400, "no_channels"));
                for one in ["*", "%00", "%ff", "%"] {
                    each(node, &format!("channels=ok&channel={one}"), (400, "bad_channel"));
                }
                each(node, "channels=ok&channel=", (400, "empty_channel"));
            });
            site.case("names that are some", |node| {
                let names = "a%2Cb,..,/,a%5Cb,%26,room:%E2%9C%93,%2561,a+b";
                each(node, &format!("channels={names}&wait=0"), (200, ""));
                each(node, "channel=a&wait=0", (200, ""));
                each(node, "channels=a&channel=b,c&channels=d&wait=0", (200, ""));
            });
            site.case("more channels than a connection may follow", |node| {
                let ten = (0..10).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
                each(node, &format!("channels={ten},0,9&wait=0"), (200, ""));
                each(node, &format!("channels={ten},10"), (400, "too_many_channels"));
                each(node, &format!("channels={ten}&channel=10"), (400, "too_many_channels"));
            });
            site.case("a name given twice is one subscription", |node| {
                let target = "/ws?channel=two%2Ctimes&channel=%74wo,times&format=raw";
                let mut client = Client::websocket(node.addresses().listen, target);
                let answer = publish(node, "two%2Ctimes", "once");
                assert!(answer.contains("\"subscribers\":1"), "{answer}");
                publish(node, "two%2Ctimes", "again");
                assert_eq!(
                    (client.text_frame(), client.text_frame()),
                    ("once".into(), "again".into())
                );
            });
        },
    );
}

#[test]
fn other_parameters() {
    let since = "0123abcd-42";
    on_both(
        |_| {},
        |site| {
            site.case("unknown ones are ignored, malformed too", |node| {
                each(node, "x=1&channels=a&x=2&%zz=%zz&token=%00&&=&wait=0", (200, ""));
            });
            site.case("more parameters than channels and a reserve", |node| {
                let others = "&x".repeat(1_000 + 64 - 2);
                each(node, &format!("channels=a&wait=0{others}"), (200, ""));
                let query = format!("channels=a&wait=0{others}&y");
                each(node, &query, (400, "too_many_parameters"));
            });
            site.case("format", |node| {
                each(node, "channels=a&format=json&wait=0", (200, ""));
                each(node, "channels=a&format=xml", (400, "bad_format"));
                each(node, "channels=a&format=", (400, "bad_format"));
                each(node, "channels=a&format=json&format=json", (400, "bad_parameter"));
                let mut client = connect(node);
                client.send(get("/poll?channels=a&format=raw", "").as_bytes());
                assert_eq!(Answer::read(&mut client).error(), "bad_format");
                let several = "/ws?channels=a,b&format=raw";
                drop(Client::websocket(node.addresses().listen, several));
            });
            site.case("E1: a since that is none", |node| {
                for bad in [
                    "",
                    "x",
                    "1",
                    "-",
                    "0123abcd-",
                    "0123abcd-042",
                    "0123abcd-+1",
                    "0123ABCD-1",
                    "0123abcd-18446744073709551616",
                    "0123abcd-1%0a",
                    "%zz",
                ] {
                    let word = if bad.contains('%') { "bad_parameter" } else { "bad_since" };
                    each(node, &format!("channels=a&since={bad}"), (400, word));
                }
                each(
                    node,
                    &format!("channels=a&since={since}&since={since}"),
                    (400, "bad_parameter"),
                );
            });
        },
    );
}

#[test]
fn l6_waits() {
    on_both(
        |_| {},
        |site| {
            site.case("L6: a wait that is none", |node| {
                for bad in [
                    "-1", "-0.5", "NaN", "nan", "inf", "-inf", "infinity", "", "x", "1s", "0x10",
                    "1_0",
                ] {
                    let mut client = connect(node);
                    client.send(get(&format!("/poll?channels=a&wait={bad}"), "").as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!(
                        (answer.status, answer.error().as_str()),
                        (400, "bad_wait"),
                        "{bad}"
                    );
                }
            });
            site.case("L6: a wait beyond all measure still waits", |node| {
                for wait in ["1e9", "1000000000", "99999999999999999999999", "1e308"] {
                    let target = format!("/poll?channels=waits&wait={wait}");
                    let mut client = Client::get(node.addresses().listen, &target);
                    let polls = &node.metrics().shards[0].polls;
                    crate::support::wait_until("it waits", || polls.read() == 1);
                    publish(node, "waits", "done");
                    assert!(Answer::read(&mut client).body.contains("\"done\""));
                }
            });
            site.case("a poll that is over has nothing and an id", |node| {
                let mut client = Client::get(node.addresses().listen, "/poll?channels=a&wait=1");
                let body: serde_json::Value =
                    serde_json::from_str(&Answer::read(&mut client).body).unwrap();
                assert_eq!(body["messages"], serde_json::json!([]));
                assert!(body["id"].is_string() && body.get("gaps").is_none(), "{body}");
            });
        },
    );
}

/// What a follower of `query` has of a message to each of `channels`.
fn hears(node: &Server, query: &str, channels: &[&str]) {
    let target = format!("/ws?{query}&format=json&open=0");
    let mut client = Client::websocket(node.addresses().listen, &target);
    for channel in channels {
        let mut path = String::new();
        fanfare_protocol::http::percent::encode(channel, &mut path);
        publish(node, &path, "hi");
        let frame: serde_json::Value = serde_json::from_str(&client.text_frame()).unwrap();
        assert_eq!(frame["channel"], *channel, "{query}");
    }
}

#[test]
fn lists_as_real_encoders_write_them() {
    on_both(
        |_| {},
        |site| {
            site.case("a comma is one however it is written", |node| {
                // URLSearchParams, requests, httpx, Go: commas and spaces are escaped.
                hears(node, "channels=ca%2Cc+b", &["ca", "c b"]);
                hears(node, "channels=ca%2cc%20b", &["ca", "c b"]);
                hears(node, "channels=ca,c%20b", &["ca", "c b"]);
                hears(node, "channels=ca&channels=c+b", &["ca", "c b"]);
            });
            site.case("a name may hold commas, and is one", |node| {
                hears(node, "channel=presence-a%2Cb&channel=c,d", &["presence-a,b", "c,d"]);
                hears(node, "channel=a,b&channels=a,b", &["a,b", "a", "b"]);
            });
            site.case("what is nearly ours is refused with the right name", |node| {
                for (query, right) in [
                    ("chanels=a", " channels,"),
                    ("Channels=a", " channels,"),
                    ("channels%5B%5D=a", " channels,"),
                    ("channels=a&sinse=0123abcd-1", " since,"),
                    ("channels=a&Format=json", " format,"),
                    ("channels=a&waits=0", " wait,"),
                    ("channels=a&nmaes=data", " names,"),
                    ("channels=a&lastEventIds=x", " lastEventId."),
                ] {
                    each(node, query, (400, MISSPELLED));
                    let mut client = connect(node);
                    client.send(get(&format!("/sse?{query}"), "").as_bytes());
                    let body = Answer::read(&mut client).body;
                    assert!(body.contains(&format!("it is written{right}")), "{query}: {body}");
                }
                each(node, "channels=a&name=x&t=1&_=2&token=x&v=3&wait=0", (200, ""));
            });
            site.case("the playground's publish drops no name in silence", |node| {
                for query in ["channel=a&Event=x", "channel=a&evnt=x", "chanel=a", "channel[]=a"] {
                    let line = format!("POST /playground/publish?{query} HTTP/1.1\r\n");
                    let mut client = connect(node);
                    let head = format!("{line}Host: localhost\r\nContent-Length: 1\r\n\r\n");
                    client.send(format!("{head}x").as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!((answer.status, answer.error().as_str()), (400, MISSPELLED));
                }
            });
        },
    );
}

/// L6, the clamp itself: nobody waits half a minute for a test.
#[test]
fn l6_waits_are_clamped_to_half_a_minute() {
    let tenant = Tenant::default();
    let context = Context::new(Limits::default(), tenant);
    let now = Now { date: HttpDate::from_unix_seconds(0), unix_ms: 0 };
    let rows = [
        ("0", 0),
        ("7", 7_000),
        ("30", 30_000),
        ("31", 30_000),
        ("1e9", 30_000),
        ("1e308", 30_000),
        ("18446744073709551615", 30_000),
        ("99999999999999999999999", 30_000),
    ];
    for (wait, expected_ms) in rows {
        let head = get(&format!("/poll?channels=a&wait={wait}"), "");
        let mut reader = HeadReader::new();
        let fed = reader.feed(head.as_bytes(), &context.limits.http);
        assert!(matches!(fed, Ok(Fed::Complete { .. })));
        let request = reader.request(&context.limits.http).unwrap();
        match decide(&request, &context, &NodeState::default(), None, now, &mut Vec::new()) {
            Decision::Follow(ask) => assert_eq!(ask.wait_ms, expected_ms, "{wait}"),
            other => panic!("{wait}: {other:?}"),
        }
    }
}
