//! E2, E3, E5, E7, E8: what an event stream carries, and clients of it that are odd.

use fanfare::node::{Server, Settings};
use fanfare_protocol::sse::reader::{Event, Reader};
use serde_json::{Value, json};

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, STREAM, connect, field, get, refused, status};

fn post(node: &Server, target: &str, data: &[u8]) -> Answer {
    let api = node.addresses().api.unwrap();
    let mut client = Client::connect(api);
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n", data.len());
    client.send(head.as_bytes());
    client.send(data);
    let head = client.head().to_ascii_lowercase();
    let length = field(&head, "content-length").unwrap().parse().unwrap();
    let body = client.until(|bytes| (bytes.len() >= length).then_some(length));
    let head = head.replace("http/1.1", "HTTP/1.1");
    Answer { status: status(&head), head, body: crate::support::text(&body) }
}

/// Follows a channel, publishes, and reads as a browser does until there are as many events.
fn read_back(node: &Server, format: &str, messages: &[&[u8]]) -> Vec<Event> {
    let target = format!("/sse?channels=s&format={format}");
    let mut client = Client::get(node.addresses().listen, &target);
    assert_eq!(status(&client.head()), 200);
    client.opening();
    for message in messages {
        assert_eq!(post(node, "/v1/channels/s", message).status, 200);
    }
    let (mut reader, mut events) = (Reader::new(8 << 20), Vec::new());
    while events.len() < messages.len() {
        let bytes = client.until(|bytes| (!bytes.is_empty()).then_some(bytes.len()));
        reader.feed(&bytes, &mut events).unwrap();
    }
    events
}

#[test]
fn e2_line_ends_and_other_traps() {
    let messages: [&[u8]; 14] = [
        b"a\nb",
        b"a\rb",
        b"a\r\nb",
        b"\n",
        b"a\n\nid: 0123abcd-9\nevent: evil\ndata: injected",
        b"a\r\r\rb",
        b"\r\n\r\n",
        "line\u{2028}paragraph\u{2029}next\u{85}".as_bytes(),
        b"a\0b",
        b"\xef\xbb\xbfbom",
        b" leading space",
        b": a comment",
        b"data: x",
        b"{\"a\":\r\n\"b\",\r\"c\":\n1}",
    ];
    // WHATWG HTML, 9.2.5: CR, LF and CRLF are one line end, and a reader gets LF for each.
    let as_lines = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n").replace('\r', "\n")
    };
    on_both(
        |_| {},
        |site| {
            site.case("E2: raw, as lines", |node| {
                let events = read_back(node, "raw", &messages);
                for (event, message) in events.iter().zip(messages) {
                    assert_eq!(event.data, as_lines(message));
                    assert_eq!(event.event, "message");
                }
            });
            site.case("E2: json, byte for byte", |node| {
                let events = read_back(node, "json", &messages);
                for (event, message) in events.iter().zip(messages) {
                    let value: Value = serde_json::from_str(&event.data).unwrap();
                    match serde_json::from_slice::<Value>(message) {
                        Ok(embedded) => assert_eq!(value["data"], embedded),
                        Err(_) => assert_eq!(value["data"].as_str().unwrap().as_bytes(), message),
                    }
                    assert_eq!(value["id"].as_str(), Some(event.id.as_str()));
                }
            });
            site.case("E2: what is no text is base64", |node| {
                let events = read_back(node, "raw", &[b"\xff\n\xfe"]);
                assert_eq!(events[0].data, "/wr+");
                let events = read_back(node, "json", &[b"\xff\n\xfe"]);
                assert_eq!(
                    serde_json::from_str::<Value>(&events[0].data).unwrap()["base64"],
                    "/wr+"
                );
            });
        },
    );
}

#[test]
fn e3_event_names() {
    let bad = [
        "a%0ab",
        "a%0db",
        "a%00",
        "%20a",
        "a%20",
        ":a",
        "a:",
        "%7f",
        "%c2%85",
        "fanfare.gap",
        "fanfare.open",
        "open",
        "error",
        "%65rror",
    ];
    on_both(
        |_| {},
        |site| {
            site.case("E3: refused where they are published", |node| {
                let published = node.metrics().sequencer.published.read();
                let long = "n".repeat(256);
                for name in bad.into_iter().chain([long.as_str()]) {
                    let target = format!("/v1/channels/s?event={name}");
                    assert_eq!(post(node, &target, b"x").status, 422, "{name}");
                    let target = format!("/playground/publish?channel=s&event={name}");
                    let line =
                        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n");
                    let bytes = format!("{line}\r\nx");
                    // An escaped control character is no parameter at all there.
                    let control = name.contains("%0") || name.contains("%7f") || name == "%c2%85";
                    let status = if control { 400 } else { 422 };
                    refused(node, "E3", bytes.as_bytes(), status);
                }
                assert_eq!(node.metrics().sequencer.published.read(), published);
            });
            site.case("names that are some", |node| {
                let mut client = Client::get(node.addresses().listen, "/sse?channels=s");
                assert_eq!(status(&client.head()), 200);
                client.opening();
                let names = [
                    ("a:b", "a:b"),
                    ("a%20b", "a b"),
                    ("%E2%9C%93", "\u{2713}"),
                    ("message", "message"),
                    ("Open", "Open"),
                    ("ERROR", "ERROR"),
                ];
                for (name, shown) in names {
                    post(node, &format!("/v1/channels/s?event={name}"), b"x");
                    let block = client.block();
                    assert!(block.starts_with(&format!("event: {shown}\ndata: x\n")), "{block}");
                }
            });
        },
    );
}

#[test]
fn e7_heads_of_streams() {
    on_both(
        |_| {},
        |site| {
            site.case("E7: Accept that excludes an event stream", |node| {
                for accept in
                    ["text/html", "text/*;q=0", "text/event-stream;q=0.0, */*", "text/*;q=0, */*"]
                {
                    let mut client = connect(node);
                    let fields = format!("Accept: {accept}\r\n");
                    client.send(get("/sse?channels=a", &fields).as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!((answer.status, answer.error().as_str()), (406, "not_acceptable"));
                }
                for accept in
                    ["text/event-stream", "*/*;q=0, text/*;q=0.1", "a/b, TEXT/Event-Stream"]
                {
                    let mut client = connect(node);
                    let fields = format!("Accept: {accept}\r\n");
                    client.send(get("/sse?channels=a", &fields).as_bytes());
                    assert_eq!(status(&client.head()), 200, "{accept}");
                }
            });
            site.case("E7: PUT", |node| {
                for target in ["/sse?channels=a", "/poll?channels=a"] {
                    let bytes = format!("PUT {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                    let answer = refused(node, "E7", bytes.as_bytes(), 405);
                    let allowed = Some("GET, HEAD, POST, QUERY, OPTIONS");
                    assert_eq!(answer.field("Allow"), allowed);
                }
            });
            site.case("E7: HEAD gets the head alone, and follows nothing", |node| {
                let mut client = connect(node);
                client.send(b"HEAD /sse?channels=a HTTP/1.1\r\nHost: a\r\n\r\n");
                let (reset, bytes) = client.end();
                let head = crate::support::text(&bytes);
                assert!(!reset && head.ends_with("\r\n\r\n") && status(&head) == 200, "{head}");
                assert_eq!(field(&head, "Content-Type"), Some(STREAM));
            });
            site.case("what the client of a stream says is dropped", |node| {
                let mut client = Client::get(node.addresses().listen, "/sse?channels=a");
                assert_eq!(status(&client.head()), 200);
                client.send(&[b'x'; 100_000]);
                crate::support::publish(node, "a", "still here");
                while !client.block().starts_with("data: still here\n") {}
            });
        },
    );
}

/// The next line that is no heartbeat.
fn line_of_a_message(client: &mut Client) -> String {
    loop {
        let line = client.line();
        if line != ":" {
            return line;
        }
    }
}

#[test]
fn e8_what_is_no_message_ends_no_block() {
    on_both(
        |settings: &mut Settings| settings.limits.heartbeat_ms = 200,
        |site| {
            site.case("E8: fields against buffering, and a heartbeat", |node| {
                let mut client = Client::get(node.addresses().listen, "/sse?channels=a");
                let head = client.head();
                assert_eq!(field(&head, "Content-Type"), Some(STREAM));
                assert_eq!(field(&head, "Cache-Control"), Some("no-store, no-transform"));
                assert_eq!(field(&head, "X-Accel-Buffering"), Some("no"));
                assert_eq!(field(&head, "Content-Length"), None);
                assert_eq!(field(&head, "Transfer-Encoding"), Some("chunked"));
                client.opening();
                for _ in 0..3 {
                    assert_eq!(client.line(), ":", "a comment, and no empty line: no parser's end");
                }
                crate::support::publish(node, "a", "x");
                let line = line_of_a_message(&mut client);
                assert_eq!(line, "data: x");
                assert!(client.block().starts_with("id: "), "the id comes last");
            });
            site.case("open=0: nothing but what is published", |node| {
                let mut client =
                    Client::get(node.addresses().listen, "/sse?channels=a&open=0&format=raw");
                assert_eq!(status(&client.head()), 200);
                assert_eq!(client.line(), "retry: 1000");
                assert_eq!(client.line(), ":", "no empty line behind it");
                let target = "/ws?channels=a&open=0&format=json";
                let mut socket = Client::websocket(node.addresses().listen, target);
                crate::support::publish(node, "a", "y");
                assert!(socket.text_frame().ends_with("\"data\":\"y\"}"));
                let line = line_of_a_message(&mut client);
                assert_eq!(line, "data: y");
                assert!(client.block().starts_with("id: "), "the id comes last");
                for target in ["/sse?channels=a&open=2", "/sse?channels=a&open="] {
                    let mut client = connect(node);
                    client.send(get(target, "").as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!((answer.status, answer.error().as_str()), (400, "bad_open"));
                }
            });
        },
    );
}

/// With `names=data` a page that has `onmessage` and nothing else hears everything.
#[test]
fn names_of_events_in_the_json_alone() {
    on_both(
        |_| {},
        |site| {
            site.case("names=data", |node| {
                let target = "/sse?channels=s&format=json&names=data";
                let mut client = connect(node);
                client.send(get(target, "Last-Event-ID: 0123abcd-1\r\n").as_bytes());
                assert_eq!(status(&client.head()), 200);
                let gap = client.block();
                let said = gap.strip_prefix("data: ").expect("no id, no name");
                let said: Value = serde_json::from_str(said).unwrap();
                assert_eq!(
                    (&said["event"], &said["reason"]),
                    (&json!("fanfare.gap"), &json!("epoch"))
                );
                let opening = client.block();
                let data = opening.strip_prefix("retry: 1000\ndata: ").expect("no name");
                let (data, id) = data.split_once("\nid: ").unwrap();
                let said: Value = serde_json::from_str(data).unwrap();
                let origin = said["origin"].as_str().expect("what the connection is called");
                assert_eq!(said, json!({"event": "fanfare.open", "id": id, "origin": origin}));
                let mut named = Client::get(node.addresses().listen, "/sse?channels=s&format=json");
                named.head();
                named.opening();
                post(node, "/v1/channels/s?event=greeting", b"x");
                let block = client.block();
                let data = block.strip_prefix("data: ").expect("no name");
                let (data, id) = data.split_once("\nid: ").unwrap();
                let said: Value = serde_json::from_str(data).unwrap();
                assert_eq!((&said["event"], &said["data"]), (&json!("greeting"), &json!("x")));
                assert_eq!(Some(id), said["id"].as_str());
                let same = format!("event: greeting\n{block}");
                assert_eq!(named.block(), same, "the same, with its name");
            });
            site.case("names=data where there is no JSON", |node| {
                for target in
                    ["/sse?channels=s&names=data", "/sse?channels=s,t&format=raw&names=data"]
                {
                    let mut client = connect(node);
                    client.send(get(target, "").as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!((answer.status, answer.error().as_str()), (400, "names_need_json"));
                }
            });
        },
    );
}

#[test]
fn e5_a_stream_that_nobody_reads() {
    let change = |settings: &mut Settings| settings.limits.stall_ms = 500;
    on_both(change, |site| {
        site.case("E5: ended, and told how to come back", |node| {
            let slow = &node.metrics().shards[0].slow_closed;
            let before = slow.read();
            let mut client = Client::get(node.addresses().listen, "/sse?channels=a");
            assert_eq!(status(&client.head()), 200);
            client.opening();
            for _ in 0..100 {
                crate::support::publish(node, "a", &"x".repeat(60_000));
            }
            wait_until("it is ended as slow", || slow.read() == before + 1);
            let (mut reader, mut events) = (Reader::new(8 << 20), Vec::new());
            let (_, bytes) = client.end();
            reader.feed(&bytes, &mut events).unwrap();
            assert!(events.len() < 100 && !events.is_empty());
            assert_eq!(reader.last_id(), events.last().unwrap().id, "from here it resumes");
        });
    });
}
