//! W25, E1, L2: positions that are not this node's, not yet, or not any more, on all transports.

use fanfare::node::Server;
use fanfare::rule::HistoryRule;
use serde_json::{Value, json};

use crate::site::with_history;
use crate::support::{Client, publish};
use crate::wire::{Answer, connect, get, status};

const KEPT: HistoryRule = HistoryRule { count: 3, bytes: 1_000_000, age_ms: 600_000 };
const UNKNOWN: &str = "unknown";

/// Publishes a number; its id.
fn say(node: &Server, channel: &str, number: u32) -> String {
    let answer: Value = serde_json::from_str(&publish(node, channel, &number.to_string())).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

/// The id of another place under the epoch of `id`.
fn at(id: &str, position: u64) -> String {
    format!("{}-{position}", id.split_once('-').unwrap().0)
}

/// An id of an epoch that is not this node's.
fn of_another_epoch(id: &str) -> String {
    let other = if id.starts_with("00000000") { "00000001" } else { "00000000" };
    format!("{other}-1")
}

/// A gap notice, whole.
fn gap(channel: &str, bounds: Option<(u64, u64)>, reason: &str) -> Value {
    json!({
        "event": "fanfare.gap",
        "channel": channel,
        "from": bounds.map(|(from, _)| from),
        "to": bounds.map(|(_, to)| to),
        "missed": bounds.map(|(from, to)| to - from + 1),
        "reason": reason,
    })
}

/// What a client that comes back gets: gaps, then channel and number of each message, of which the
/// last is published when it is there.
struct Expected<'a> {
    gaps: &'a [Value],
    messages: &'a [(&'a str, u32)],
}

fn message(value: &Value) -> (String, u64) {
    (value["channel"].as_str().unwrap().to_owned(), value["data"].as_u64().unwrap())
}

fn owned(messages: &[(&str, u32)]) -> Vec<(String, u64)> {
    messages.iter().map(|(channel, number)| ((*channel).to_owned(), u64::from(*number))).collect()
}

fn on_websocket(node: &Server, query: &str, live: (&str, u32), expected: &Expected<'_>) {
    let target = format!("/ws?{query}&format=json");
    let mut client = Client::websocket(node.addresses().listen, &target);
    let mut next = || serde_json::from_str::<Value>(&client.text_frame()).unwrap();
    for gap in expected.gaps {
        assert_eq!(next(), *gap, "{target}");
    }
    let opening = next();
    assert_eq!(opening["event"], "fanfare.open", "{target}: {opening}");
    say(node, live.0, live.1);
    for one in owned(expected.messages) {
        assert_eq!(message(&next()), one, "{target}");
    }
}

fn on_stream(node: &Server, query: &str, fields: &str, live: (&str, u32), expected: &Expected<'_>) {
    let target = format!("/sse?{query}&format=json");
    let mut client = connect(node);
    client.send(get(&target, fields).as_bytes());
    assert_eq!(status(&client.head()), 200);
    for gap in expected.gaps {
        let block = client.block();
        let data = block.strip_prefix("event: fanfare.gap\ndata: ").expect("a gap has no id");
        assert_eq!(serde_json::from_str::<Value>(data).unwrap(), *gap, "{target}");
    }
    client.opening();
    say(node, live.0, live.1);
    for one in owned(expected.messages) {
        let block = client.block();
        let (data, id) = block.split_once("\nid: ").expect("one line of data and an id");
        let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((message(&value), id), (one, value["id"].as_str().unwrap()));
    }
}

/// A poll that has a gap to tell answers at once; the next ones go on where it ended.
fn on_poll(node: &Server, query: &str, live: (&str, u32), expected: &Expected<'_>) {
    let (mut gaps, mut messages) = (Vec::new(), Vec::new());
    let mut poll = |target: &str| {
        let mut client = Client::get(node.addresses().listen, target);
        let answer: Value = serde_json::from_str(&Answer::read(&mut client).body).unwrap();
        gaps.extend(answer["gaps"].as_array().cloned().unwrap_or_default());
        messages.extend(answer["messages"].as_array().unwrap().iter().map(message));
        (answer["id"].as_str().unwrap().to_owned(), messages.len())
    };
    let (mut since, mut count) = poll(&format!("/poll?{query}&wait=20"));
    say(node, live.0, live.1);
    let (channels, _) = query.split_once('&').unwrap();
    while count < expected.messages.len() {
        (since, count) = poll(&format!("/poll?{channels}&since={since}&wait=20"));
    }
    assert_eq!(gaps, expected.gaps, "{query}");
    assert_eq!(messages, owned(expected.messages), "{query}");
}

/// Follows on the transport that has this number.
fn follow(
    transport: usize,
    node: &Server,
    query: &str,
    live: (&str, u32),
    expected: &Expected<'_>,
) {
    match transport {
        0 => on_websocket(node, query, live, expected),
        1 => on_stream(node, query, "", live, expected),
        _ => on_poll(node, query, live, expected),
    }
}

#[test]
fn w25_positions_in_the_future() {
    with_history(
        KEPT,
        |_| {},
        |site| {
            for (transport, beyond) in [0, 1, 2].into_iter().flat_map(|t| [(t, false), (t, true)]) {
                site.case("W25: a gap, then live from the head", |node| {
                    let last = say(node, "a", 0);
                    let position: u64 = last.split_once('-').unwrap().1.parse().unwrap();
                    let since = at(&last, if beyond { u64::MAX } else { position + 1_000 });
                    let gaps = [gap("a", None, UNKNOWN), gap("b", None, UNKNOWN)];
                    let expected = Expected { gaps: &gaps, messages: &[("a", 1)] };
                    let query = format!("channels=a,b&since={since}");
                    follow(transport, node, &query, ("a", 1), &expected);
                });
            }
        },
    );
}

#[test]
fn w25_positions_of_another_epoch() {
    with_history(
        KEPT,
        |_| {},
        |site| {
            for transport in 0..3 {
                site.case("W25: a gap per channel, then all that is kept", |node| {
                    for number in 1..=5 {
                        say(node, "a", number);
                        say(node, "b", number + 10);
                    }
                    let since = of_another_epoch(&say(node, "b", 16));
                    let gaps = ["a", "b", "c"].map(|channel| gap(channel, None, "epoch"));
                    let kept = [("a", 3), ("a", 4), ("b", 14), ("a", 5), ("b", 15), ("b", 16)];
                    let messages = [&kept[..], &[("b", 17)]].concat();
                    let expected = Expected { gaps: &gaps, messages: &messages };
                    let query = format!("channels=a,b,c&since={since}");
                    follow(transport, node, &query, ("b", 17), &expected);
                });
            }
        },
    );
}

#[test]
fn l2_positions_before_what_is_kept() {
    with_history(
        KEPT,
        |_| {},
        |site| {
            for (transport, channel) in ["x", "y", "z"].into_iter().enumerate() {
                site.case("L2: exact bounds, then what is kept", |node| {
                    let ids: Vec<String> = (1..=10).map(|n| say(node, channel, n)).collect();
                    say(node, "quiet", 0);
                    let gaps = [gap(channel, Some((3, 7)), "trimmed")];
                    let messages = [8, 9, 10, 11].map(|number| (channel, number));
                    let expected = Expected { gaps: &gaps, messages: &messages };
                    let query = format!("channels={channel}&since={}", ids[1]);
                    follow(transport, node, &query, (channel, 11), &expected);
                });
            }
        },
    );
}

#[test]
fn e1_last_event_ids() {
    with_history(
        KEPT,
        |_| {},
        |site| {
            let long = "0123abcd-".to_string() + &"1".repeat(120);
            let longer = "x".repeat(8_000);
            let bad =
                ["x", "1", "0123abcd-", "0123abcd-01", "0123abcd-1 2", "\u{e4}", &long, &longer];
            for (number, bad) in (1..).zip(bad) {
                site.case("E1: a Last-Event-ID that is none", |node| {
                    let fields = format!("Last-Event-ID: {bad}\r\n");
                    let gaps = [gap("a", None, UNKNOWN)];
                    let expected = Expected { gaps: &gaps, messages: &[("a", number)] };
                    on_stream(node, "channels=a", &fields, ("a", number), &expected);
                });
            }
            site.case("E1: another epoch's, and one of the future", |node| {
                let first = say(node, "b", 1);
                let (other, future) = (of_another_epoch(&first), at(&first, u64::MAX));
                let fields = format!("Last-Event-ID: {other}\r\n");
                let gaps = [gap("b", None, "epoch")];
                let expected = Expected { gaps: &gaps, messages: &[("b", 1), ("b", 2)] };
                on_stream(node, "channels=b", &fields, ("b", 2), &expected);
                let fields = format!("Last-Event-ID: {future}\r\n");
                let gaps = [gap("b", None, UNKNOWN)];
                let expected = Expected { gaps: &gaps, messages: &[("b", 3)] };
                on_stream(node, "channels=b", &fields, ("b", 3), &expected);
            });
            site.case("Last-Event-ID wins over since", |node| {
                let [first, second] = [1, 2].map(|number| say(node, "c", number));
                let query = format!("channels=c&since={first}");
                let fields = format!("Last-Event-ID: {second}\r\n");
                let expected = Expected { gaps: &[], messages: &[("c", 3)] };
                on_stream(node, &query, &fields, ("c", 3), &expected);
                let expected = Expected { gaps: &[], messages: &[("c", 2), ("c", 3), ("c", 4)] };
                on_stream(node, &query, "Last-Event-ID:\r\n", ("c", 4), &expected);
            });
        },
    );
}
