//! The largest messages that a default node takes, on every transport and on both drivers: each is
//! a frame of 1 MiB at most, envelope included, and is there for whoever returns.

#[path = "support/mod.rs"]
mod support;

use fanfare::payload::room;
use fanfare_protocol::limits::MESSAGE_BYTES_DEFAULT;
use fanfare_protocol::message::Kind;
use serde_json::Value;
use support::{Client, DRIVERS, node_with};

/// What clients are promised, and what Python's websockets takes by default.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// As long as names may be, of characters that are escaped.
const NAME_BYTES: usize = 255;

fn name() -> String {
    "\"".repeat(NAME_BYTES)
}

fn escaped() -> String {
    "%22".repeat(NAME_BYTES)
}

/// The longest payload of one repeated byte that is taken under these names.
fn largest(kind: Kind, byte: u8) -> Vec<u8> {
    let name = name();
    let fits = |bytes: usize| {
        let data = vec![byte; bytes];
        room(MESSAGE_BYTES_DEFAULT, &name, Some(&name), kind, &data).is_ok()
    };
    let (mut fit, mut not) = (1, MESSAGE_BYTES_DEFAULT + 1);
    while not - fit > 1 {
        let middle = fit.midpoint(not);
        if fits(middle) { fit = middle } else { not = middle }
    }
    vec![byte; fit]
}

fn post(client: &mut Client, data: &[u8], kind: Kind) -> (u16, Value) {
    let (name, length) = (escaped(), data.len());
    let content_type =
        if kind == Kind::Binary { "Content-Type: application/octet-stream\r\n" } else { "" };
    let head = format!(
        "POST /v1/channels/{name}?event={name} HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: {length}\r\n{content_type}\r\n"
    );
    client.send(head.as_bytes());
    client.send(data);
    let (head, body) = client.answer();
    (head[9..12].parse().unwrap(), serde_json::from_str(&body).unwrap())
}

/// Payload of the next frame.
fn frame(client: &mut Client) -> Vec<u8> {
    let header = client.until(|bytes| (bytes.len() >= 10).then_some(2));
    let (extended, length) = match header[1] {
        126 => (2, u64::from_be_bytes([0, 0, 0, 0, 0, 0, client.buffer[0], client.buffer[1]])),
        127 => (8, u64::from_be_bytes(client.buffer[..8].try_into().unwrap())),
        short => (0, u64::from(short)),
    };
    let end = extended + usize::try_from(length).unwrap();
    client.until(|bytes| (bytes.len() >= end).then_some(end)).split_off(extended)
}

/// The event of this id, to its empty line.
fn event(client: &mut Client, id: &str, least: usize) -> Vec<u8> {
    let mut bytes = client
        .until(|bytes| (bytes.len() > least && bytes.ends_with(b"\n\n")).then_some(bytes.len()));
    assert!(bytes.ends_with(format!("\nid: {id}\n\n").as_bytes()), "the event has its id");
    let before = bytes[..bytes.len() - 2].windows(2).rposition(|two| two == b"\n\n");
    bytes.split_off(before.map_or(0, |at| at + 2))
}

#[test]
fn every_form_of_the_largest_message_fits_and_is_kept() {
    let payloads = [
        (Kind::Text, largest(Kind::Text, b'x')),
        (Kind::Text, largest(Kind::Text, b'\n')),
        (Kind::Text, largest(Kind::Text, 1)),
        (Kind::Binary, largest(Kind::Binary, 0xff)),
    ];
    assert_eq!(payloads[0].1.len(), MESSAGE_BYTES_DEFAULT, "what does not grow has all of it");
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            let payloads = &payloads;
            scope.spawn(move || {
                let node = node_with(driver, |settings| {
                    settings.api = Some(([127, 0, 0, 1], 0).into());
                });
                for (kind, data) in payloads {
                    follow(&node, *kind, data);
                }
                node.stop();
            });
        }
    });
}

fn follow(node: &fanfare::node::Server, kind: Kind, data: &[u8]) {
    let listen = node.addresses().listen;
    let target = |path: &str, rest: &str| format!("/{path}?channels={}{rest}", escaped());
    let mut api = Client::connect(node.addresses().api.unwrap());
    let (status, before) = post(&mut api, b"before", Kind::Text);
    assert_eq!(status, 200, "{before}");
    let mut raw = Client::websocket(listen, &target("ws", "&format=raw"));
    let mut json = Client::websocket(listen, &target("ws", "&format=json"));
    frame(&mut json); // where delivery begins
    let mut streams =
        ["raw", "json"].map(|f| Client::get(listen, &target("sse", &format!("&format={f}"))));
    streams.iter_mut().for_each(|stream| drop(stream.head()));

    let (status, answer) = post(&mut api, data, kind);
    assert_eq!(status, 200, "{answer}");
    let id = answer["id"].as_str().unwrap();
    assert_eq!(frame(&mut raw), data);
    let told = frame(&mut json);
    assert!(told.len() <= FRAME_BYTES_MAX, "{}", told.len());
    let message: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(message["id"], id);
    for stream in &mut streams {
        let event = event(stream, id, data.len());
        assert!(event.len() <= FRAME_BYTES_MAX, "{}", event.len());
    }
    // Whoever was away gets it, and nothing is missing.
    let since = format!("&since={}&wait=0", before["id"].as_str().unwrap());
    let (_, body) = Client::get(listen, &target("poll", &since)).answer();
    assert!(body.len() <= FRAME_BYTES_MAX + 256, "{}", body.len());
    let poll: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&poll["id"], &poll["messages"][0]), (&message["id"], &message));
    assert!(poll.get("gaps").is_none(), "{}", poll["gaps"]);

    let more = [data, &[data[0]]].concat();
    let (status, answer) = post(&mut api, &more, kind);
    assert_eq!(status, 413, "{answer}");
}
