//! Messages that not everyone gets, over real sockets: for those who follow now, for all but one
//! connection, and those that are too long.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{PublishFrame, write};
use serde_json::{Value, json};

use support::{Client, DRIVERS, PATIENCE, node, node_with, upgrade};

/// Publishes over the API; the answer.
fn post(node: &fanfare::node::Server, target: &str, content: &str, body: &str) -> Value {
    let mut api = Client::connect(node.addresses().api.unwrap());
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{content}Content-Length: {length}\r\n\r\n"
    );
    api.send(format!("{head}{body}").as_bytes());
    let (head, answer) = api.answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{answer}");
    serde_json::from_str(&answer).unwrap()
}

fn frame(client: &mut Client) -> Value {
    serde_json::from_str(&client.text_frame()).unwrap()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn what_is_ephemeral_is_given_once_and_kept_by_nobody() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut socket = Client::websocket(listen, "/ws?channels=a&format=json");
        let begin = frame(&mut socket);
        let answer = post(&node, "/v1/channels/a?ephemeral=1", "", "typing");
        assert_eq!(answer, json!({"subscribers": 1}));
        let one = r#"{"channel":"a","data":2,"ephemeral":true}"#;
        assert_eq!(post(&node, "/v1/publish", JSON, one), json!({"subscribers": 1}));
        let kept = post(&node, "/v1/channels/a?ephemeral=0", "", "kept");
        assert_eq!(kept["offset"], 1);
        assert_eq!(frame(&mut socket), json!({"channel": "a", "data": "typing"}));
        assert_eq!(frame(&mut socket), json!({"channel": "a", "data": 2}));
        assert_eq!(frame(&mut socket)["id"], kept["id"]);
        let since = begin["id"].as_str().unwrap();
        let mut stream = Client::get(listen, &format!("/sse?channels=a&since={since}"));
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        stream.opening();
        assert_eq!(stream.block(), format!("data: kept\nid: {}", kept["id"].as_str().unwrap()));
        post(&node, "/v1/channels/a?ephemeral=1", "", "now");
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
        let open = frame(&mut one);
        let origin = open["origin"].as_str().unwrap();
        let opening = other.block();
        let (_, said) = opening.split_once("data: ").unwrap();
        let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        let theirs = said["origin"].as_str().unwrap();
        assert!(origin.len() == 16 && theirs.len() == 16 && origin != theirs);
        post(&node, &format!("/v1/channels/a?except={origin}"), "", "1");
        let body = json!({"channel": "a", "data": 2, "except": theirs}).to_string();
        post(&node, "/v1/publish", JSON, &body);
        post(&node, "/v1/channels/a", "", "3");
        assert_eq!((&frame(&mut one)["data"], &frame(&mut one)["data"]), (&json!(2), &json!(3)));
        assert!(other.block().starts_with("data: 1\n"));
        assert!(other.block().starts_with("data: 3\n"));
        node.stop();
    }
}

/// Publishes on the Unix socket; offset and subscribers of each answer.
fn publish(node: &fanfare::node::Server, messages: &[PublishFrame<'_>]) -> Vec<(u64, u64)> {
    let mut socket = UnixStream::connect(node.addresses().socket.as_ref().unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    write::preface(&mut bytes);
    write::batch(messages, &mut bytes);
    socket.write_all(&bytes).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    bytes.clear();
    socket.read_to_end(&mut bytes).unwrap();
    let (mut decoder, mut input, mut told) = (Decoder::new(), bytes.as_slice(), Vec::new());
    while let Some(reply) = decoder.next(&mut input).unwrap() {
        match reply {
            Reply::Answer(answer) => told.push((answer.offset, answer.subscribers)),
            Reply::Refused { text, .. } => panic!("{text}"),
            _ => {}
        }
    }
    told
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
    let open = frame(&mut one);
    frame(&mut other);
    let message = |data| PublishFrame { answer: true, ..PublishFrame::new("a", data) };
    let except = open["origin"].as_str().map(str::as_bytes);
    let told = publish(
        &node,
        &[
            PublishFrame { ephemeral: true, ..message(b"typing") },
            PublishFrame { except, ..message(b"not for one") },
            message(b"for all"),
        ],
    );
    assert_eq!(told, [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(frame(&mut one), json!({"channel": "a", "data": "typing"}));
    assert_eq!(frame(&mut one)["data"], "for all");
    assert_eq!(frame(&mut other)["data"], "typing");
    assert_eq!(frame(&mut other)["data"], "not for one");
    node.stop();
}

#[test]
fn what_is_longer_than_a_client_takes_is_told_as_a_gap() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut socket = Client::websocket(listen, "/ws?channels=a&format=json&max=1000");
        let begin = frame(&mut socket);
        let since = begin["id"].as_str().unwrap();
        // All in one moment: two that are too long one after the other are one gap.
        let message = |bytes: usize| json!({"channel": "a", "data": "x".repeat(bytes)});
        let messages = [1, 2_000, 100_000, 1].map(message);
        let batch = json!({"messages": messages}).to_string();
        post(&node, "/v1/publish", JSON, &batch);
        let gap = json!({"event": "fanfare.gap", "channel": "a", "from": 2, "to": 3, "missed": 2,
            "reason": "size"});
        assert_eq!(frame(&mut socket)["offset"], 1);
        assert_eq!(frame(&mut socket), gap);
        assert_eq!(frame(&mut socket)["offset"], 4);
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
