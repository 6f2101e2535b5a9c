//! What a backend asks of connections and does to them, against a real node on both drivers: no
//! client and no backend gains more by it than it may.

use fanfare::node::Server;
use serde_json::{Value, json};

use crate::site::on_both;
use crate::support::{Client, publish, wait_until};
use crate::wire::{Answer, connect, ends, get, status};

/// An id that some other node may have given.
const FOREIGN: &str = "0123456789abcdef";

/// Asks the API.
fn api(node: &Server, method: &str, target: &str, body: &str) -> (u16, Value) {
    let mut client = Client::connect(node.addresses().api.expect("tests have an API"));
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n"
    );
    client.send(format!("{head}{body}").as_bytes());
    let (head, answer) = client.answer();
    (status(&head), serde_json::from_str(&answer).unwrap())
}

/// The id of a WebSocket in JSON that is opened now.
fn socket(node: &Server, query: &str) -> (Client, String) {
    let target = format!("/ws?{query}&format=json");
    let mut client = Client::websocket(node.addresses().listen, &target);
    let id = client.json_frame()["origin"].as_str().expect("its id").to_owned();
    (client, id)
}

/// The id of an event stream that is opened now.
fn stream(node: &Server, query: &str) -> (Client, String) {
    let mut client = connect(node);
    client.send(get(&format!("/sse?{query}"), "").as_bytes());
    let id = client.stream_id();
    (client, id)
}

/// A poll that waits.
fn poll(node: &Server, query: &str) -> Client {
    let mut client = connect(node);
    client.send(get(&format!("/poll?{query}&wait=30"), "").as_bytes());
    let polls = &node.metrics().shards[0].polls;
    wait_until("it waits", || polls.read() == 1);
    client
}

/// The close frame of a WebSocket, answered: its code and reason.
fn closed(mut client: Client) -> (u16, String) {
    let (first, payload) = client.frame();
    assert_eq!(first, 0x88, "{payload:?}");
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    client.send_frame(0x88, &payload[..2]);
    ends(client, "closed");
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

#[test]
fn a_connection_is_found_by_its_id_and_by_no_other() {
    on_both(
        |_| {},
        |site| {
            site.case("P13: described", |node| {
                let (client, id) = socket(node, "channels=a,b:1");
                publish(node, "a", "1");
                let (status, said) = api(node, "GET", &format!("/v1/connections/{id}"), "");
                assert_eq!((status, &said["connection"]), (200, &json!(id)), "{said}");
                assert_eq!(said["transport"], "websocket");
                assert_eq!(said["dialect"], "plain-json");
                assert_eq!((&said["user"], &said["slow"]), (&Value::Null, &json!(false)));
                assert_eq!(said["subscriptions"], 2);
                let channels: Vec<_> = said["channels"].as_array().unwrap().iter().collect();
                assert_eq!(channels.len(), 2);
                assert!(channels.iter().all(|it| it["lag"].as_u64().unwrap() <= 1), "{said}");
                assert_eq!(channels[1]["channel"], "b:1");
                let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
                assert!(now - said["since"].as_u64().unwrap() < 120, "{said}");
                drop(client);
                wait_until("it is gone", || {
                    api(node, "GET", &format!("/v1/connections/{id}"), "").0 == 404
                });
            });
            site.case("P13: what is no id, and nobody's", |node| {
                for id in
                    ["", "x", "0", "0000000000000000", "g123456789abcdef", "0123456789abcdef0"]
                {
                    let (status, said) = api(node, "GET", &format!("/v1/connections/{id}"), "");
                    let code = if id.is_empty() { "unknown_path" } else { "bad_connection" };
                    let expected = if id.is_empty() { 404 } else { 400 };
                    assert_eq!((status, &said["error"]), (expected, &json!(code)), "{id}");
                }
                for (method, body) in [("GET", ""), ("DELETE", ""), ("POST", "1")] {
                    let target = format!("/v1/connections/{FOREIGN}");
                    let (status, said) = api(node, method, &target, body);
                    assert_eq!(
                        (status, &said["error"]),
                        (404, &json!("no_connection")),
                        "{method}"
                    );
                }
                let body = json!({"connection": FOREIGN}).to_string();
                let (status, said) = api(node, "POST", "/v1/disconnect", &body);
                // An id of another node names nobody here, or at most a place that nobody has.
                assert!(status == 404 || said == json!({"disconnected": 0}), "{said}");
            });
        },
    );
}

#[test]
fn whoever_is_closed_hears_why_on_every_transport() {
    on_both(
        |_| {},
        |site| {
            site.case("P14: WebSocket", |node| {
                let (client, id) = socket(node, "channels=a");
                let target = format!("/v1/connections/{id}?code=4505&reason=new+token");
                assert_eq!(api(node, "DELETE", &target, ""), (200, json!({"disconnected": 1})));
                assert_eq!(closed(client), (4505, "new token".into()));
                wait_until("it is gone", || api(node, "DELETE", &target, "").0 == 404);
            });
            site.case("P14: by a body, and what is told without one", |node| {
                let (client, id) = socket(node, "channels=a");
                let body = json!({"code": 4999, "reason": "ä".repeat(61)}).to_string();
                let answer = api(node, "DELETE", &format!("/v1/connections/{id}"), &body);
                assert_eq!(answer, (200, json!({"disconnected": 1})));
                assert_eq!(closed(client), (4999, "ä".repeat(61)));
                let (client, id) = socket(node, "channels=a");
                api(node, "DELETE", &format!("/v1/connections/{id}"), "");
                assert_eq!(closed(client), (4403, "disconnected by the application".into()));
            });
            site.case("P14: an event stream", |node| {
                let (mut client, id) = stream(node, "channels=a");
                let target = format!("/v1/connections/{id}?code=4403&reason=%22no%22");
                assert_eq!(api(node, "DELETE", &target, "").0, 200);
                assert_eq!(
                    client.block(),
                    "retry: 1000\nevent: fanfare.close\ndata: {\"event\":\"fanfare.close\",\
                     \"code\":4403,\"reason\":\"\\\"no\\\"\"}"
                );
                ends(client, "an event stream");
            });
            site.case("P14: a poll", |node| {
                for (code, expected) in [(4403, 403), (4505, 503)] {
                    let mut client = poll(node, "channels=p");
                    let body = json!({"channel": "p", "code": code, "reason": "so"}).to_string();
                    let done = api(node, "POST", "/v1/disconnect", &body);
                    assert_eq!(done, (200, json!({"disconnected": 1})));
                    let answer = Answer::read(&mut client);
                    assert_eq!(answer.status, expected, "{answer:?}");
                    assert_eq!(answer.field("Connection"), Some("close"));
                    assert_eq!(answer.field("Retry-After").is_some(), expected == 503);
                    let said: Value = serde_json::from_str(&answer.body).unwrap();
                    assert_eq!(said["error"], "disconnected");
                    assert_eq!((&said["code"], &said["reason"]), (&json!(code), &json!("so")));
                    ends(client, "a poll");
                }
            });
        },
    );
}

#[test]
fn a_subscription_ends_and_the_others_go_on() {
    on_both(
        |_| {},
        |site| {
            let notice = json!({"event": "fanfare.unsubscribed", "channel": "room:1",
                                "code": 4403, "reason": "left"});
            let body = json!({"channel": "room:*", "reason": "left"}).to_string();
            site.case("P14: on streams", |node| {
                let (mut socket, _) = socket(node, "channels=room:1,hall");
                let (mut stream, _) = stream(node, "channels=room:1,hall");
                let done = api(node, "POST", "/v1/unsubscribe", &body);
                assert_eq!(done, (200, json!({"connections": 2, "subscriptions": 2})));
                // The answer says that it is done: nothing that is published now reaches them.
                publish(node, "room:1", "secret");
                publish(node, "hall", "1");
                assert_eq!(socket.json_frame(), notice);
                assert_eq!(socket.json_frame()["channel"], "hall");
                let block = stream.block();
                let said = block.strip_prefix("event: fanfare.unsubscribed\ndata: ").expect(&block);
                assert_eq!(serde_json::from_str::<Value>(said).unwrap(), notice);
                assert!(stream.block().contains("\"hall\""));
                let again = api(node, "POST", "/v1/unsubscribe", &body);
                assert_eq!(again, (200, json!({"connections": 0, "subscriptions": 0})));
            });
            site.case("P14: the last one ends the connection", |node| {
                let (mut client, _) = socket(node, "channels=room:1");
                let (mut events, _) = stream(node, "channels=room:1&format=json&names=data");
                assert_eq!(api(node, "POST", "/v1/unsubscribe", &body).1["connections"], 2);
                assert_eq!(client.json_frame(), notice);
                assert_eq!(closed(client), (4403, "left".into()));
                assert!(events.block().contains("fanfare.unsubscribed"));
                let last = events.block();
                assert!(last.ends_with("\"fanfare.close\",\"code\":4403,\"reason\":\"left\"}"));
                ends(events, "the last one");
            });
            site.case("P14: a poll is answered", |node| {
                let mut client = poll(node, "channels=room:1,hall");
                assert_eq!(api(node, "POST", "/v1/unsubscribe", &body).1["subscriptions"], 1);
                let answer = Answer::read(&mut client);
                let said: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!((answer.status, &said["unsubscribed"]), (200, &json!([notice])));
                assert_eq!(said["messages"], json!([]));
                drop(client);
                let mut client = poll(node, "channels=room:1");
                assert_eq!(api(node, "POST", "/v1/unsubscribe", &body).1["subscriptions"], 1);
                assert_eq!(Answer::read(&mut client).status, 403);
            });
            site.case("of one connection, or of those of nobody", |node| {
                let (mut one, id) = socket(node, "channels=room:1,hall");
                let (mut other, _) = socket(node, "channels=room:1");
                let body = json!({"channel": "room:1", "connection": id}).to_string();
                let done = api(node, "POST", "/v1/unsubscribe", &body);
                assert_eq!(done, (200, json!({"connections": 1, "subscriptions": 1})));
                let body = json!({"channel": "**", "user": "ada"}).to_string();
                let done = api(node, "POST", "/v1/unsubscribe", &body);
                assert_eq!(done, (200, json!({"connections": 0, "subscriptions": 0})));
                publish(node, "room:1", "1");
                assert_eq!(one.json_frame()["event"], "fanfare.unsubscribed");
                assert_eq!(other.json_frame()["data"], 1);
            });
        },
    );
}

#[test]
fn all_of_a_tenant_are_cut_off_but_for_those_who_come_after() {
    on_both(
        |_| {},
        |site| {
            site.case("the canary among them is no tenant of its own", |node| {
                let clients: Vec<_> = (0..300).map(|_| socket(node, "channels=many").0).collect();
                let body = json!({"channel": "many", "code": 4501}).to_string();
                let done = api(node, "POST", "/v1/disconnect", &body);
                assert_eq!(done, (200, json!({"disconnected": 300})));
                let (mut late, _) = socket(node, "channels=many");
                for client in clients {
                    assert_eq!(closed(client).0, 4501);
                }
                publish(node, "many", "1");
                assert_eq!(late.json_frame()["data"], 1);
            });
        },
    );
}

#[test]
fn one_connection_is_sent_something_of_its_own() {
    on_both(
        |_| {},
        |site| {
            site.case("to one and to nobody else", |node| {
                let (mut one, id) = socket(node, "channels=a");
                let (mut other, _) = socket(node, "channels=a");
                let (mut events, its) = stream(node, "channels=a");
                let target = format!("/v1/connections/{id}?event=hint");
                assert_eq!(api(node, "POST", &target, "{\"n\":1.50}").0, 200);
                let target = format!("/v1/connections/{its}?event=hint");
                assert_eq!(api(node, "POST", &target, "a\nb").0, 200);
                publish(node, "a", "1");
                assert_eq!(one.text_frame(), r#"{"event":"hint","data":{"n":1.50}}"#);
                assert_eq!(one.json_frame()["data"], 1);
                assert_eq!(other.json_frame()["data"], 1);
                assert_eq!(events.block(), "event: hint\ndata: a\ndata: b");
                assert!(events.block().starts_with("data: 1\n"));
            });
            site.case("P16: what nobody may be sent", |node| {
                let (client, id) = socket(node, "channels=a");
                let target = format!("/v1/connections/{id}");
                for (query, body, expected, code) in [
                    ("?event=fanfare.close", "1", 422, "bad_event"),
                    ("?events=x", "1", 400, "misspelled_parameter"),
                    ("", "", 400, "empty_body"),
                    ("", &"x".repeat(20_000), 413, "body_too_large"),
                    ("", &"\n".repeat(10_000), 413, "message_too_large"),
                ] {
                    let (status, said) = api(node, "POST", &format!("{target}{query}"), body);
                    assert_eq!((status, &said["error"]), (expected, &json!(code)), "{query}");
                }
                drop(client);
                let (_client, id) = socket(node, "channels=a&max=200");
                let target = format!("/v1/connections/{id}");
                let (status, said) = api(node, "POST", &target, &"x".repeat(300));
                assert_eq!((status, &said["error"]), (409, &json!("too_long_for_it")));
                assert_eq!(api(node, "POST", &target, "short").0, 200);
            });
            site.case("P16: one that takes nothing is told no more than has room", |node| {
                let mut narrow = Client::narrow(node.addresses().listen);
                narrow.send(get("/sse?channels=a", "").as_bytes());
                let id = narrow.stream_id();
                let (mut taken, mut refused) = (0, None);
                while refused.is_none() {
                    let target = format!("/v1/connections/{id}");
                    match api(node, "POST", &target, &"x".repeat(2_000)) {
                        (200, _) => taken += 1,
                        (status, said) => refused = Some((status, said["error"].clone())),
                    }
                    assert!(taken < 10_000, "it takes everything");
                }
                assert_eq!(refused.unwrap(), (503, json!("connection_full")));
                let (_, said) = api(node, "GET", &format!("/v1/connections/{id}"), "");
                let waiting = said["waiting_bytes"].as_u64().unwrap();
                assert!((1..=8_000).contains(&waiting) && said["slow"] == true, "{said}");
            });
        },
    );
}

#[test]
fn bad_selections_are_refused_and_change_nothing() {
    on_both(
        |_| {},
        |site| {
            site.case("P15: bodies", |node| {
                let (mut client, _) = socket(node, "channels=a");
                let long = "x".repeat(124);
                for (body, expected, code) in [
                    (json!({}), 422, "bad_selection"),
                    (json!({"all": false}), 422, "bad_selection"),
                    (json!({"all": true, "user": "a"}), 422, "bad_selection"),
                    (json!({"all": true, "channel": "a"}), 422, "bad_selection"),
                    (json!({"user": ""}), 400, "bad_user"),
                    (json!({"user": "a\nb"}), 400, "bad_user"),
                    (json!({"user": "u".repeat(256)}), 400, "bad_user"),
                    (json!({"connection": "a"}), 400, "bad_connection"),
                    (json!({"channel": "a*"}), 422, "bad_channel"),
                    (json!({"channel": "a", "code": 1000}), 422, "bad_code"),
                    (json!({"channel": "a", "code": 70_000}), 422, "bad_code"),
                    (json!({"channel": "a", "code": -4403}), 422, "bad_fields"),
                    (json!({"channel": "a", "reason": long}), 422, "bad_reason"),
                    (json!({"channel": "a", "reason": "a\rb"}), 422, "bad_reason"),
                    (json!({"channels": "a"}), 422, "bad_fields"),
                    (json!([true]), 422, "bad_fields"),
                ] {
                    let (status, said) = api(node, "POST", "/v1/disconnect", &body.to_string());
                    assert_eq!((status, &said["error"]), (expected, &json!(code)), "{body}");
                }
                let no_channel = api(node, "POST", "/v1/unsubscribe", r#"{"all":true}"#);
                assert_eq!((no_channel.0, &no_channel.1["error"]), (422, &json!("bad_selection")));
                publish(node, "a", "1");
                assert_eq!(client.json_frame()["data"], 1, "it is still there");
            });
        },
    );
}
