//! Reading: numbers, history, metrics, health.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::client::Node;
use crate::stand_in::id_text;

#[test]
fn a_channels_numbers() {
    let node = Node::start();
    let unused = json!({"channel": "no one's", "subscribers": 0, "offset": 0,
                        "history": {"messages": 0, "bytes": 0}});
    let answer = node.get("/v1/channels/no%20one's");
    assert_eq!((answer.status, answer.json()), (200, unused));
    node.post("/v1/channels/demo", "", "x");
    assert_eq!(node.get("/v1/channels/demo").json()["offset"], 1);
    assert_eq!(node.get("/v1/channels/demo").json()["history"], json!({"messages":1,"bytes":10}));
}

#[test]
fn history_is_given_as_clients_see_it() {
    let node = Node::start();
    node.post("/v1/channels/demo?event=e", "", r#"{"n":1.50}"#);
    node.post("/v1/channels/demo", "", "say \"hi\"\n");
    node.post("/v1/channels/other", "", "x");
    node.post("/v1/channels/demo", "", b"\xff\x00");
    let answer = node.get("/v1/channels/demo/history");
    let expected = format!(
        concat!(
            r#"{{"id":"{four}","messages":["#,
            r#"{{"channel":"demo","id":"{one}","offset":1,"event":"e","data":{{"n":1.50}}}},"#,
            r#"{{"channel":"demo","id":"{two}","offset":2,"data":"say \"hi\"\n"}},"#,
            r#"{{"channel":"demo","id":"{four}","offset":3,"base64":"/wA="}}"#,
            r#"],"more":false}}"#,
            "\n"
        ),
        one = id_text(1),
        two = id_text(2),
        four = id_text(4),
    );
    assert_eq!(answer.body, expected);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[test]
fn history_is_paged() {
    let node = Node::start();
    for n in 1..=5 {
        node.post("/v1/channels/demo", "", n.to_string());
    }
    let mut since = String::new();
    let mut seen = Vec::new();
    loop {
        let page = node.get(&format!("/v1/channels/demo/history?limit=2{since}")).json();
        for message in page["messages"].as_array().unwrap() {
            seen.push(message["data"].as_u64().unwrap());
        }
        if page["more"] == false {
            break;
        }
        since = format!("&since={}", page["id"].as_str().unwrap());
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[test]
fn a_gap_is_told() {
    let node = Node::start();
    let page = node.get("/v1/channels/trimmed/history?since=00000000-0").json();
    let gap = json!({"event": "fanfare.gap", "channel": "trimmed", "from": 4, "to": 6, "missed": 3,
                     "reason": "trimmed"});
    assert_eq!(page["gap"], gap);
    assert_eq!(page["messages"], json!([]));
    let page = node.get("/v1/channels/demo/history").json();
    assert!(page.get("gap").is_none(), "{page}");
}

#[test]
fn bad_questions_are_400() {
    let node = Node::start();
    for (path, code) in [
        ("/v1/channels/demo/history?since=x", "bad_since"),
        ("/v1/channels/demo/history?since=", "bad_since"),
        ("/v1/channels/demo/history?limit=0", "bad_limit"),
        ("/v1/channels/demo/history?limit=-1", "bad_limit"),
        ("/v1/channels/demo/history?limit=1&limit=2", "bad_parameter"),
        ("/v1/channels/a*b/history", "bad_channel"),
        ("/v1/channels/%ff", "bad_channel"),
        ("/v1/channels/%00", "bad_channel"),
    ] {
        let answer = node.get(path);
        assert_eq!((answer.status, &*answer.error()), (400, code), "{path}");
    }
}

#[test]
fn metrics_and_health() {
    let node = Node::start();
    let answer = node.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.field("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.body.contains("\nfanfare_driver{driver=\"epoll\",fallback=\"true\"} 1\n"));
    assert!(answer.body.contains("\nfanfare_connections{shard=\"0\"} 0\n"));
    assert_eq!(node.get("/healthz").body, "ok\n");
    assert_eq!(node.get("/readyz").status, 200);
    node.ready.store(false, SeqCst);
    let answer = node.get("/readyz");
    assert_eq!((answer.status, &*answer.error()), (503, "not_ready"));
    assert_eq!(node.get("/healthz").status, 200);
}

#[test]
fn head_answers_heads() {
    let node = Node::start();
    let mut client = node.connect();
    client.send("HEAD /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut all = String::new();
    std::io::Read::read_to_string(&mut client.stream, &mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("\r\n\r\n"), "{all}");
    assert!(all.contains("content-length: "), "{all}");
}
