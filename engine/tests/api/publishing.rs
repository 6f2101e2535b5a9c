//! Publishing: what is taken, as what, and what is answered.

use fanfare::limits::Limits;
use fanfare_protocol::message::Kind;
use serde_json::json;

use crate::client::{Node, Wishes, bounds, post, until};
use crate::stand_in::id_text;

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn a_raw_body_is_the_message_and_the_answer_its_place() {
    let node = Node::start();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = node.post("/v1/channels/demo", form, "hi");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), json!({"id": id_text(1), "offset": 1, "subscribers": 3}));
    assert_eq!(node.post("/v1/channels/demo", form, "ho").json()["offset"], 2);
    let published = node.sequencer.published.lock().unwrap();
    assert_eq!(&*published[0].channel.name, "demo");
    assert_eq!(published[0].channel.tenant.as_str(), "default");
    assert_eq!(published[0].kind, Kind::Text);
    assert_eq!((&*published[0].data, &*published[1].data), (&b"hi"[..], &b"ho"[..]));
    assert_eq!(published[0].event, None);
    assert_eq!(published[0].idempotency_key, None);
}

#[test]
fn the_kind_is_decided_by_the_bytes_but_octets_are_octets() {
    let node = Node::start();
    let cases: [(&str, &[u8], Kind); 6] = [
        ("", b"{\"n\": 1.50}\n", Kind::Json),
        ("Content-Type: text/plain\r\n", b"[1]", Kind::Json),
        (JSON, b"not json", Kind::Text),
        ("Content-Type: Application/Octet-Stream; x=y\r\n", b"[1]", Kind::Binary),
        ("", b"\xff\x00", Kind::Binary),
        ("", "grüße".as_bytes(), Kind::Text),
    ];
    for (nth, (fields, body, kind)) in cases.into_iter().enumerate() {
        let answer = node.post("/v1/channels/demo", fields, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let published = node.sequencer.published.lock().unwrap();
        assert_eq!((published[nth].kind, &*published[nth].data), (kind, body));
    }
}

#[test]
fn channel_event_and_key_are_carried() {
    let node = Node::start();
    let fields = "Idempotency-Key: order-7\r\n";
    let answer = node.post("/v1/channels/a%2Fb%20c?event=user+joined&x=y", fields, "1");
    assert_eq!(answer.status, 200, "{answer:?}");
    let published = node.sequencer.published.lock().unwrap();
    assert_eq!(&*published[0].channel.name, "a/b c");
    assert_eq!(published[0].event.as_deref(), Some("user joined"));
    assert_eq!(published[0].idempotency_key.as_deref(), Some(&b"order-7"[..]));
}

#[test]
fn chunked_bodies_are_read_and_connections_are_reused() {
    let node = Node::start();
    let mut client = node.connect();
    for body in ["one", "two"] {
        client.send("POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\n");
        client.send("Transfer-Encoding: chunked\r\n\r\n");
        client.send(format!("1\r\n{}\r\n2;ext=1\r\n{}\r\n0\r\n\r\n", &body[..1], &body[1..]));
        assert_eq!(client.answer().status, 200);
    }
    client.send(post("/v1/channels/demo", "Expect: 100-continue\r\n", ""));
    assert_eq!(client.answer().status, 400); // empty, and no 100 for it
    client.send("POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\n");
    client.send("Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send("three");
    assert_eq!(client.answer().status, 200);
    assert_eq!(node.sequencer.payloads(), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn json_data_keeps_the_publishers_bytes() {
    let node = Node::start();
    let body = r#"{"channel":"demo","data": {"b":1.0, "a":1e40,"b":2} ,"event":"tick"}"#;
    let answer = node.post("/v1/publish", JSON, body);
    assert_eq!(answer.json(), json!({"id": id_text(1), "offset": 1, "subscribers": 3}));
    let cases = [
        (r#"{"channel":"c","data":"a \u00e9 string"}"#, &br#""a \u00e9 string""#[..], Kind::Json),
        (r#"{"channel":"c","data":null}"#, b"null", Kind::Json),
        (r#"{"channel":"c","base64":"/wA="}"#, b"\xff\x00", Kind::Binary),
        (r#"{"channel":"c","base64":"AA=="}"#, b"\0", Kind::Binary),
        (r#"{"channel":"c\u00fc","data":0,"idempotency_key":"k"}"#, b"0", Kind::Json),
    ];
    for (body, ..) in cases {
        let answer = node.post("/v1/publish", "Content-Type: application/x+JSON\r\n", body);
        assert_eq!(answer.status, 200, "{body} {answer:?}");
    }
    let published = node.sequencer.published.lock().unwrap();
    assert_eq!(&*published[0].data, br#"{"b":1.0, "a":1e40,"b":2}"#);
    assert_eq!(published[0].event.as_deref(), Some("tick"));
    for ((_, data, kind), have) in cases.iter().zip(&published[1..]) {
        assert_eq!((&*have.data, have.kind), (*data, *kind));
    }
    assert_eq!(&*published[5].channel.name, "cü");
    assert_eq!(published[5].idempotency_key.as_deref(), Some(&b"k"[..]));
}

#[test]
fn a_batch_is_one_command_with_a_result_for_each() {
    let node = Node::start();
    let body = json!({"messages": [
        {"channel": "a", "data": 1},
        {"channel": "full", "data": 2},
        {"channel": "a", "base64": "AA==", "event": "e"},
    ]});
    let answer = node.post("/v1/publish", JSON, body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = &answer.json()["results"];
    assert_eq!(results[0], json!({"id": id_text(1), "offset": 1, "subscribers": 3}));
    assert_eq!(results[1]["error"], "channel_limit");
    assert!(results[1]["message"].as_str().unwrap().contains("channel limit"));
    assert_eq!(results[2], json!({"id": id_text(2), "offset": 2, "subscribers": 3}));
    assert_eq!(results.as_array().unwrap().len(), 3);
    assert_eq!(*node.sequencer.commands.lock().unwrap(), [3]);
}

#[test]
fn a_bad_item_is_named_and_nothing_of_its_batch_is_published() {
    let node = Node::start();
    let cases = [
        (r#"{"channel":"","data":1}"#, 422, "bad_channel"),
        (r#"{"channel":"a*","data":1}"#, 422, "bad_channel"),
        (r#"{"channel":"a\u0000","data":1}"#, 422, "bad_channel"),
        (r#"{"data":1}"#, 422, "bad_channel"),
        (r#"{"channel":null,"data":1}"#, 422, "bad_channel"),
        (r#"{"channels":null,"data":1}"#, 422, "bad_message"),
        (r#"{"channel":"a","channels":null,"data":1}"#, 422, "bad_message"),
        (r#"{"channel":"a","data":1,"ephemeral":null}"#, 422, "bad_message"),
        (r#"{"channel":"a"}"#, 422, "bad_message"),
        (r#"{"channel":"a","data":1,"base64":""}"#, 422, "bad_message"),
        (r#"{"channel":"a","data":1,"data":2}"#, 422, "bad_message"),
        (r#"{"channel":"a","data":1,"evnt":"x"}"#, 422, "bad_message"),
        (r#"{"channel":7,"data":1}"#, 422, "bad_message"),
        (r#"{"channel":"a","data":1,"messages":[]}"#, 422, "bad_message"),
        (r#"{"channel":"a","base64":"A"}"#, 422, "bad_base64"),
        (r#"{"channel":"a","base64":""}"#, 422, "empty_message"),
        (r#"{"channel":"a","base64":"AA"}"#, 422, "bad_base64"),
        (r#"{"channel":"a","data":1,"event":"fanfare.gap"}"#, 422, "bad_event"),
        (r#"{"channel":"a","data":1,"event":"a\nid: 9"}"#, 422, "bad_event"),
        (r#"{"channel":"a","data":1,"event":"open"}"#, 422, "bad_event"),
        (r#"{"channel":"a","data":1,"event":"error"}"#, 422, "bad_event"),
        (r#"{"channel":"a","data":1,"event":""}"#, 422, "bad_event"),
        (r#"{"channel":"a","data":1,"idempotency_key":""}"#, 422, "bad_idempotency_key"),
        ("[]", 422, "bad_message"),
        ("null", 422, "bad_message"),
    ];
    for (item, status, code) in cases {
        let body = format!("{{\"messages\":[{{\"channel\":\"a\",\"data\":1}},{item}]}}");
        let answer = node.post("/v1/publish", JSON, body);
        assert_eq!((answer.status, &*answer.error()), (status, code), "{item}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("messages[1] (the 2nd of 2): "), "{item}: {message}");
        assert!(!message.contains("evnt"), "no echo: {message}");
        // The same alone, except for what is no message at all and for what makes a batch.
        if item.starts_with('{') && !item.contains("messages") {
            let answer = node.post("/v1/publish", JSON, item);
            assert_eq!((answer.status, &*answer.error()), (status, code), "{item}");
        }
    }
    let large = format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(999));
    let answer = node.post("/v1/publish", JSON, &large);
    assert_eq!((answer.status, &*answer.error()), (413, "message_too_large"));
    assert_eq!(node.sequencer.count(), 0);
}

#[test]
fn batches_are_bounded_and_say_something() {
    let node = Node::start();
    let batch = |count: usize| {
        let items = vec![r#"{"channel":"a","data":1}"#; count].join(",");
        node.post("/v1/publish", JSON, format!("{{\"messages\":[{items}]}}"))
    };
    let answer = batch(11);
    assert_eq!((answer.status, &*answer.error()), (413, "batch_too_large"));
    assert_eq!(node.sequencer.count(), 0);
    assert_eq!(batch(10).json()["results"].as_array().unwrap().len(), 10);
    let many_empty = format!("{{\"messages\":[{}{{}}]}}", "{},".repeat(1_000));
    let answer = node.post("/v1/publish", JSON, many_empty);
    assert_eq!((answer.status, &*answer.error()), (413, "batch_too_large"));
    for (body, status, code) in [
        (r#"{"messages":[]}"#, 422, "empty_batch"),
        (r#"{"messages":{}}"#, 422, "bad_message"),
        (r#"{"messages":null}"#, 422, "bad_message"),
        (r#"{"messages":[],"channel":"a"}"#, 422, "bad_message"),
        (r#"{"messages":[{"channel":"a","data":1}"#, 400, "bad_json"),
        (r#"{"messages":[1,]}"#, 400, "bad_json"),
        ("{", 400, "bad_json"),
        ("{\"channel\":\"a\",\"data\":1} x", 400, "bad_json"),
        ("\"\u{0}\"", 400, "bad_json"),
        ("{}", 400, "empty_body"),
        (" null ", 400, "empty_body"),
        ("", 400, "empty_body"),
        ("[1]", 422, "bad_message"),
        ("7", 422, "bad_message"),
    ] {
        let answer = node.post("/v1/publish", JSON, body);
        assert_eq!((answer.status, &*answer.error()), (status, code), "{body}");
    }
    let answer = node.post("/v1/publish", JSON, b"{\"channel\":\"\xff\",\"data\":1}");
    assert_eq!((answer.status, &*answer.error()), (400, "bad_json"));
}

#[test]
fn one_key_a_message() {
    let node = Node::start();
    let field = format!("{JSON}Idempotency-Key: k\r\n");
    let with = |key: &str| format!(r#"{{"channel":"a","data":1{key}}}"#);
    assert_eq!(node.post("/v1/publish", &field, with("")).status, 200);
    assert_eq!(node.post("/v1/publish", &field, with(r#","idempotency_key":"k""#)).status, 200);
    for (fields, body) in [
        (field.clone(), with(r#","idempotency_key":"other""#)),
        (field.clone(), format!("{{\"messages\":[{}]}}", with(""))),
        (format!("{JSON}Idempotency-Key: {}\r\n", "k".repeat(256)), with("")),
        (format!("{JSON}Idempotency-Key: \r\n"), with("")),
    ] {
        let answer = node.post("/v1/publish", &fields, &body);
        assert_eq!((answer.status, &*answer.error()), (422, "bad_idempotency_key"), "{body}");
    }
    let answer = node.post("/v1/publish", &format!("{field}Idempotency-Key: k\r\n"), with(""));
    assert_eq!((answer.status, &*answer.error()), (400, "repeated_field"));
    let keys: Vec<_> = {
        let published = node.sequencer.published.lock().unwrap();
        published.iter().map(|p| p.idempotency_key.clone().unwrap()).collect()
    };
    assert_eq!(keys, [b"k".as_slice().into(), b"k".as_slice().into()] as [Box<[u8]>; 2]);
}

#[test]
fn refusals_of_the_sequencer_are_503_with_a_time() {
    let node = Node::start();
    let answer = node.post("/v1/channels/full", "", "x");
    assert_eq!((answer.status, &*answer.error()), (503, "channel_limit"));
    assert_eq!(answer.field("retry-after"), Some("10"));
}

#[test]
fn a_full_inbox_is_a_503_and_a_silent_sequencer_a_504() {
    let bounds = fanfare::control::Bounds { answer_ms: 300, ..bounds() };
    let node = Node::with(Wishes { inbox_commands: 1, bounds, ..Wishes::default() });
    node.sequencer.deafen();
    let mut waiting = node.connect();
    waiting.send(post("/v1/channels/demo", "", "kept"));
    until("it is in the inbox", || node.metrics.in_flight.held() > 0);
    let answer = node.post("/v1/channels/demo", "", "refused");
    assert_eq!((answer.status, &*answer.error()), (503, "busy"));
    assert_eq!(answer.field("retry-after"), Some("1"));
    let answer = waiting.answer();
    assert_eq!((answer.status, &*answer.error()), (504, "outcome_unknown"));
    node.sequencer.hear();
    until("the inbox is empty", || node.sequencer.count() == 1);
    let after = node.post("/v1/channels/demo", "", "after");
    // On a machine that stands still nobody hears of this one either.
    assert!([200, 504].contains(&after.status), "{after:?}");
    until("it is taken", || node.sequencer.count() == 2);
    // What was taken is done although its client was told that nobody knows; what was refused not.
    assert_eq!(node.sequencer.payloads(), [&b"kept"[..], b"after"]);
}

#[test]
fn a_client_that_leaves_has_published() {
    let node = Node::start();
    node.sequencer.deafen();
    let mut client = node.connect();
    client.send(post("/v1/channels/demo", "", "first"));
    until("it is in the inbox", || node.metrics.in_flight.held() > 0);
    drop(client);
    std::thread::sleep(std::time::Duration::from_millis(50));
    node.sequencer.hear();
    assert_eq!(node.post("/v1/channels/demo", "", "second").status, 200);
    assert_eq!(node.sequencer.payloads(), [&b"first"[..], b"second"]);
}

#[test]
fn a_byte_order_mark_before_json_is_passed_over() {
    let node = Node::start();
    let body = "\u{feff}{\"channel\":\"a\",\"data\":1}";
    assert_eq!(node.post("/v1/publish", JSON, body).status, 200);
    let answer = node.post("/v1/publish", JSON, "\u{feff}");
    assert_eq!((answer.status, &*answer.error()), (400, "empty_body"));
    let answer = node.post("/v1/publish", JSON, "\u{feff}\u{feff}{}");
    assert_eq!((answer.status, &*answer.error()), (400, "bad_json"));
    assert_eq!(node.sequencer.payloads(), [&b"1"[..]]);
}

#[test]
fn a_fault_in_a_batch_is_placed_in_the_whole_body() {
    let node = Node::start();
    let said = |body: &str| {
        let answer = node.post("/v1/publish", JSON, body);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    let second = "{\"messages\":[\n  {\"channel\":\"a\",\"data\":1},\n  {\"channel\":\n 7}]}";
    let message = said(second);
    assert!(message.starts_with("messages[1] (the 2nd of 2): "), "{message}");
    assert!(message.contains("at line 4, column 2:"), "{message}");
    let alone = said("{\n\"channel\":7}");
    assert!(alone.contains("at line 2, column 11:"), "{alone}");
}

#[test]
fn json_that_common_parsers_refuse_is_text_or_is_refused() {
    let node = Node::start();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        (deep(65), "more than 64 arrays"),
        ("1E400".into(), "no double holds"),
        (format!("[{}]", "1".repeat(400)), "no double holds"),
        (r#"{"a":"\ud800"}"#.into(), "half of a surrogate pair"),
        (r#"{"\u0000a":1}"#.into(), "begins with"),
    ];
    for (data, rule) in &cases {
        assert_eq!(node.post("/v1/channels/demo", "", data).status, 200, "{data}");
        let answer =
            node.post("/v1/publish", JSON, format!("{{\"channel\":\"a\",\"data\":{data}}}"));
        assert_eq!((answer.status, &*answer.error()), (422, "bad_data"), "{data}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(rule), "{message}");
    }
    {
        let published = node.sequencer.published.lock().unwrap();
        assert_eq!(published.len(), cases.len());
        for (message, (data, _)) in published.iter().zip(&cases) {
            assert_eq!((message.kind, &*message.data), (Kind::Text, data.as_bytes()));
        }
    }
    for data in [deep(64), "1e-400".into(), "-0".into(), r#""\ud83d\ude00""#.into()] {
        let body = format!("{{\"messages\":[{{\"channel\":\"a\",\"data\":{data}}}]}}");
        assert_eq!(node.post("/v1/publish", JSON, body).status, 200, "{data}");
        assert_eq!(node.post("/v1/channels/demo", "", &data).status, 200, "{data}");
        let published = node.sequencer.published.lock().unwrap();
        assert!(published.iter().rev().take(2).all(|message| message.kind == Kind::Json), "{data}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_json_in_a_raw_body() {
    let node = Node::start();
    let octets = "Content-Type: application/octet-stream\r\n";
    let cases: [(&str, &str, Kind, &str); 3] = [
        ("", "\u{feff}{\"a\":1}", Kind::Json, "{\"a\":1}"),
        ("", "\u{feff}hello", Kind::Text, "\u{feff}hello"),
        (octets, "\u{feff}{}", Kind::Binary, "\u{feff}{}"),
    ];
    for (nth, (fields, body, kind, data)) in cases.into_iter().enumerate() {
        assert_eq!(node.post("/v1/channels/demo", fields, body).status, 200);
        let published = node.sequencer.published.lock().unwrap();
        assert_eq!((published[nth].kind, &*published[nth].data), (kind, data.as_bytes()));
    }
}

#[test]
fn a_message_that_grows_beyond_a_frame_is_refused_and_says_how_far() {
    let limits = Limits { message_bytes: 100_000, ..Limits::default() };
    let node = Node::with(Wishes { limits, ..Wishes::default() });
    let octets = "Content-Type: application/octet-stream\r\n";
    let grows =
        [("", "\n".repeat(50_000)), ("", "\u{1}".repeat(50_000)), (octets, "x".repeat(90_000))];
    for (fields, body) in &grows {
        let answer = node.post("/v1/channels/demo", fields, body);
        assert_eq!((answer.status, &*answer.error()), (413, "message_too_large"));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        let told: usize = message.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert!(told > 100_000 + 4_096, "{message}");
        assert!(message.contains("104096") && message.contains("raise message_bytes"), "{message}");
    }
    let item = |data: &str| format!("{{\"messages\":[{{\"channel\":\"a\",\"data\":{data}}}]}}");
    let spaced = format!("[{}1]", "\n".repeat(90_000));
    let answer = node.post("/v1/publish", JSON, item(&spaced));
    assert_eq!((answer.status, &*answer.error()), (413, "message_too_large"));
    assert!(answer.json()["message"].as_str().unwrap().starts_with("messages[0] (the 1st of 1): "));
    assert_eq!(node.sequencer.count(), 0);
    let whole = "x".repeat(100_000);
    assert_eq!(node.post("/v1/channels/demo", "", &whole).status, 200, "nothing of it grows");
    let quoted = format!("\"{}\"", "x".repeat(99_998));
    assert_eq!(node.post("/v1/publish", JSON, item(&quoted)).status, 200);
}

#[test]
fn who_gets_a_message_is_carried() {
    let node = Node::start();
    let answer = node.post("/v1/channels/demo?ephemeral=1&except=00000000000000A1", "", "1");
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = json!({"messages": [
        {"channel": "demo", "data": 1, "ephemeral": true},
        {"channel": "demo", "data": 2, "except": "00000000000000a1"},
        {"channel": "demo", "data": 3},
    ]});
    assert_eq!(node.post("/v1/publish", JSON, body.to_string()).status, 200);
    let published = node.sequencer.published.lock().unwrap();
    let said: Vec<(bool, Option<String>)> = published
        .iter()
        .map(|it| (it.ephemeral, it.except.map(|origin| origin.to_string())))
        .collect();
    let origin = Some("00000000000000a1".to_string());
    assert_eq!(said, [(true, origin.clone()), (true, None), (false, origin), (false, None)]);
}

#[test]
fn who_gets_a_message_is_said_rightly_or_not_at_all() {
    let node = Node::start();
    for (target, error) in [
        ("/v1/channels/demo?ephemeral=yes", "bad_ephemeral"),
        ("/v1/channels/demo?ephemeral=", "bad_ephemeral"),
        ("/v1/channels/demo?except=me", "bad_except"),
        ("/v1/channels/demo?except=", "bad_except"),
        ("/v1/channels/demo?Ephemeral=1", "misspelled_parameter"),
        ("/v1/channels/demo?exept=00000000000000a1", "misspelled_parameter"),
    ] {
        let answer = node.post(target, "", "1");
        assert_eq!(answer.json()["error"], error, "{target}: {answer:?}");
    }
    for body in [
        r#"{"channel":"demo","data":1,"ephemeral":"yes"}"#,
        r#"{"channel":"demo","data":1,"except":7}"#,
        r#"{"messages":[{"channel":"demo","data":1}],"ephemeral":true}"#,
    ] {
        let answer = node.post("/v1/publish", JSON, body);
        assert_eq!(answer.json()["error"], "bad_message", "{body}: {answer:?}");
    }
    assert!(node.sequencer.published.lock().unwrap().is_empty());
}
