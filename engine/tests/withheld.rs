//! Messages that not everyone gets, over real sockets: for those who follow now, for all but one
//! connection, and those that are too long.

mod support;

use fanfare::node::Server;
use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::ingest::client::Reply;
use serde_json::{Value, json};

use support::publisher::publish_batch;
use support::{Client, DRIVERS, node, node_with, post, upgrade};

/// Publishes over the API; the answer.
fn publish(node: &Server, target: &str, content_type: &str, body: &str) -> Value {
    let (status, answer) = post(node, target, content_type, body);
    assert_eq!(status, "200", "{answer}");
    answer
}

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

#[test]
fn what_is_ephemeral_is_given_once_and_kept_by_nobody() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut socket = Client::websocket(listen, "/ws?channels=a&format=json");
        let begin = socket.json_frame();
        let answer = publish(&node, "/v1/channels/a?ephemeral=1", TEXT, "typing");
        assert_eq!(answer, json!({"subscribers": 1}));
        let one = r#"{"channel":"a","data":2,"ephemeral":true}"#;
        assert_eq!(publish(&node, "/v1/publish", JSON, one), json!({"subscribers": 1}));
        let kept = publish(&node, "/v1/channels/a?ephemeral=0", TEXT, "kept");
        assert_eq!(kept["offset"], 1);
        assert_eq!(socket.json_frame(), json!({"channel": "a", "data": "typing"}));
        assert_eq!(socket.json_frame(), json!({"channel": "a", "data": 2}));
        assert_eq!(socket.json_frame()["id"], kept["id"]);
        let since = begin["id"].as_str().unwrap();
        let mut stream = Client::get(listen, &format!("/sse?channels=a&since={since}"));
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        stream.opening();
        assert_eq!(stream.block(), format!("data: kept\nid: {}", kept["id"].as_str().unwrap()));
        publish(&node, "/v1/channels/a?ephemeral=1", TEXT, "now");
        assert_eq!(stream.block(), "data: now", "an id that it has stays the last one");
        node.stop();
    }
}

#[test]
fn a_connection_that_says_what_it_is_called_does_not_hear_its_own() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut one = Client::websocket(listen, "/ws?channels=a&format=json&open=origin");
        let mut other = Client::get(listen, "/sse?channels=a&open=origin");
        assert!(other.head().starts_with("HTTP/1.1 200 "));
        let open = one.json_frame();
        let origin = open["origin"].as_str().unwrap();
        let opening = other.block();
        let (_, said) = opening.split_once("data: ").unwrap();
        let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        let theirs = said["origin"].as_str().unwrap();
        assert!(origin.len() == 16 && theirs.len() == 16 && origin != theirs);
        publish(&node, &format!("/v1/channels/a?except={origin}"), TEXT, "1");
        let body = json!({"channel": "a", "data": 2, "except": theirs}).to_string();
        publish(&node, "/v1/publish", JSON, &body);
        publish(&node, "/v1/channels/a", TEXT, "3");
        assert_eq!((&one.json_frame()["data"], &one.json_frame()["data"]), (&json!(2), &json!(3)));
        assert!(other.block().starts_with("data: 1\n"));
        assert!(other.block().starts_with("data: 3\n"));
        node.stop();
    }
}

#[test]
fn a_backend_on_the_unix_socket_says_who_gets_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with(DRIVERS[0], |settings| {
        settings.socket = Some(folder.path().join("s"));
    });
    let listen = node.addresses().listen;
    let mut one = Client::websocket(listen, "/ws?channels=a&format=json&open=origin");
    let mut other = Client::websocket(listen, "/ws?channels=a&format=json");
    let open = one.json_frame();
    other.json_frame();
    let message = |data| PublishFrame { answer: true, ..PublishFrame::new("a", data) };
    let except = open["origin"].as_str().map(str::as_bytes);
    let messages = [
        PublishFrame { ephemeral: true, ..message(b"typing") },
        PublishFrame { except, ..message(b"not for one") },
        message(b"for all"),
    ];
    let told =
        publish_batch(node.addresses().socket.as_ref().unwrap(), &messages, |reply| match reply {
            Reply::Answer(answer) => Some((answer.offset, answer.subscribers)),
            Reply::Refused { text, .. } => panic!("{text}"),
            _ => None,
        });
    assert_eq!(told, [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(one.json_frame(), json!({"channel": "a", "data": "typing"}));
    assert_eq!(one.json_frame()["data"], "for all");
    assert_eq!(other.json_frame()["data"], "typing");
    assert_eq!(other.json_frame()["data"], "not for one");
    node.stop();
}

#[test]
fn what_is_longer_than_a_client_takes_is_told_as_a_gap() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut socket = Client::websocket(listen, "/ws?channels=a&format=json&max=1000");
        let begin = socket.json_frame();
        let since = begin["id"].as_str().unwrap();
        // All in one moment: two that are too long one after the other are one gap.
        let message = |bytes: usize| json!({"channel": "a", "data": "x".repeat(bytes)});
        let messages = [1, 2_000, 100_000, 1].map(message);
        let batch = json!({"messages": messages}).to_string();
        publish(&node, "/v1/publish", JSON, &batch);
        let gap = json!({"event": "fanfare.gap", "channel": "a", "from": 2, "to": 3, "missed": 2,
            "reason": "size"});
        assert_eq!(socket.json_frame()["offset"], 1);
        assert_eq!(socket.json_frame(), gap);
        assert_eq!(socket.json_frame()["offset"], 4);
        let target = format!("/sse?channels=a&since={since}&max=1000");
        let mut stream = Client::get(listen, &target);
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        stream.opening();
        assert!(stream.block().starts_with("data: \"x\"\nid: "));
        assert!(stream.block().starts_with("event: fanfare.gap\ndata: {"));
        assert!(stream.block().starts_with("data: \"x\"\nid: "));
        let mut poll = Client::get(listen, &format!("/poll?channels=a&since={since}&max=1000"));
        let answer: Value = serde_json::from_str(&poll.answer().1).unwrap();
        let offsets: Vec<&Value> =
            answer["messages"].as_array().unwrap().iter().map(|it| &it["offset"]).collect();
        assert_eq!((offsets, &answer["gaps"]), (vec![&json!(1), &json!(4)], &json!([gap])));
        let mut refused = Client::connect(listen);
        refused.send(upgrade("/ws?channels=a&max=0").as_bytes());
        assert!(refused.head().starts_with("HTTP/1.1 400 "));
        node.stop();
    }
}
