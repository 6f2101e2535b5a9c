//! A message that is published again under its key keeps its first place, whichever way it comes in
//! (THREATS P7, P11): the HTTP header, the JSON field, the Unix socket.

mod support;

use std::net::SocketAddr;

use fanfare::node::{DriverChoice, Server};
use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::ingest::client::Reply;
use support::publisher::publish_batch;
use support::{Client, PATIENCE, node_with};

fn post(api: SocketAddr, target: &str, fields: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(api);
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}");
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let head = client.head();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap())
    });
    let length: usize = length.expect("an answer has a length");
    let body = client.until(|bytes| (bytes.len() >= length).then_some(length));
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

/// Publishes on the Unix socket; what each message is told, in words.
fn publish(node: &Server, messages: &[PublishFrame<'_>]) -> Vec<String> {
    publish_batch(node.addresses().socket.as_ref().unwrap(), messages, |reply| match reply {
        Reply::Answer(answer) => Some(format!("{} duplicate={}", answer.offset, answer.duplicate)),
        Reply::Refused { code, .. } => Some(format!("refused {}", code.0)),
        _ => None,
    })
}

fn node(keys: usize) -> (Server, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with(DriverChoice::Epoll, |settings| {
        settings.socket = Some(folder.path().join("s"));
        settings.limits.idempotency_keys = keys;
    });
    let api = node.addresses().api.unwrap();
    (node, api, folder)
}

#[test]
fn one_key_is_one_message_whichever_way_it_comes() {
    let (node, api, _folder) = node(100);
    let key = "Idempotency-Key: k-42\r\n";
    let json = "Content-Type: application/json\r\n";
    let (status, first) = post(api, "/v1/channels/demo", key, "{\"n\":1}");
    assert_eq!(status, 200);
    assert!(first.contains("\"offset\":1") && !first.contains("duplicate"), "{first}");

    let again = first.trim_end().replace('}', ",\"duplicate\":true}");
    assert_eq!(post(api, "/v1/channels/demo", key, "{\"n\":1}"), (200, format!("{again}\n")));
    let one = r#"{"channel":"demo","data":{"n":1},"idempotency_key":"k-42"}"#;
    assert_eq!(post(api, "/v1/publish", json, one), (200, format!("{again}\n")));
    let many = format!("{{\"messages\":[{one},{{\"channel\":\"demo\",\"data\":2}}]}}");
    let (status, results) = post(api, "/v1/publish", json, &many);
    assert_eq!(status, 200);
    assert!(results.starts_with(&format!("{{\"results\":[{again},")), "{results}");
    assert!(results.contains("\"offset\":2"), "{results}");

    let keyed = |channel, data| PublishFrame {
        answer: true,
        idempotency_key: Some(b"k-42"),
        ..PublishFrame::new(channel, data)
    };
    let told = publish(
        &node,
        &[
            keyed("demo", b"{\"n\":1}"),
            keyed("demo", b"{\"n\":2}"),
            keyed("other", b"{\"n\":2}"),
            keyed("other", b"{\"n\":2}"),
        ],
    );
    let expected = ["refused 409", "1 duplicate=true", "1 duplicate=false", "1 duplicate=true"];
    let mut sorted = told.clone();
    sorted.sort_by_key(|word| !word.starts_with("refused"));
    assert_eq!(sorted, expected);
    node.stop();
}

#[test]
fn a_key_with_another_message_is_a_conflict() {
    let (node, api, _folder) = node(100);
    let key = "Idempotency-Key: k\r\n";
    assert_eq!(post(api, "/v1/channels/demo", key, "one").0, 200);
    for (target, body) in [
        ("/v1/channels/demo", "two"),
        // Text against JSON, and with an event's name.
        ("/v1/channels/demo", "1"),
        ("/v1/channels/demo?event=e", "one"),
    ] {
        let (status, answer) = post(api, target, key, body);
        assert_eq!(status, 409, "{target} {body}");
        assert!(answer.starts_with("{\"error\":\"idempotency_conflict\""), "{answer}");
    }
    assert_eq!(post(api, "/v1/channels/other", key, "two").0, 200, "the channel owns the key");
    let sequencer = &node.metrics().sequencer;
    assert_eq!(sequencer.published.read(), 2);
    assert_eq!((sequencer.key_conflicts.read(), sequencer.duplicates.read()), (3, 0));
    node.stop();
}

#[test]
fn the_window_is_bounded_and_may_be_closed() {
    let (full, api, _folder) = node(2);
    let publish = |api, key: &str| {
        let (status, body) =
            post(api, "/v1/channels/demo", &format!("Idempotency-Key: {key}\r\n"), "x");
        assert_eq!(status, 200, "{body}");
        body.contains("\"duplicate\":true")
    };
    assert_eq!(
        ["a", "b", "a", "c", "a"].map(|key| publish(api, key)),
        [false, false, true, false, false]
    );
    full.stop();
    let (closed, api, _folder) = node(0);
    assert_eq!(["a", "a"].map(|key| publish(api, key)), [false, false]);
    closed.stop();
}

/// THREATS P11: the outcome is kept for whoever asks again.
#[test]
fn a_client_that_left_before_its_answer_gets_it_when_it_comes_back() {
    let (node, api, _folder) = node(100);
    let mut client = Client::connect(api);
    client.send(
        b"POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n\
          Content-Length: 3\r\n\r\none",
    );
    let end = std::time::Instant::now() + PATIENCE;
    while node.metrics().sequencer.published.read() == 0 {
        assert!(std::time::Instant::now() < end, "it was published");
        std::thread::yield_now();
    }
    drop(client);
    let (status, answer) = post(api, "/v1/channels/demo", "Idempotency-Key: k\r\n", "one");
    assert_eq!(status, 200);
    assert!(answer.contains("\"offset\":1,") && answer.contains("\"duplicate\":true"), "{answer}");
    assert_eq!(node.metrics().sequencer.published.read(), 1);
    node.stop();
}
