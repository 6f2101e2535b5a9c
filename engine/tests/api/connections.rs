//! Questions for connections and channels, as far as the API itself answers for them: what is under
//! way is bounded, whatever the node does.

use fanfare::control::Bounds;
use fanfare::origin::{Named, Origin};
use serde_json::json;

use crate::client::{Node, ORIGINS_KEY, Wishes, bounds, post, until};

/// An id of this node's, of a connection that nobody has.
fn id(shard: u8) -> Origin {
    Origin::of(Named { shard, index: 5, generation: 7 }, ORIGINS_KEY)
}

#[test]
fn the_channels_that_there_are_page_by_page() {
    let node = Node::start();
    for channel in ["b", "room:2", "a", "room:1", "room:3", "room:1"] {
        assert_eq!(node.post(&format!("/v1/channels/{channel}"), "", "x").status, 200);
    }
    let listed = |query: &str| {
        let said = node.get(&format!("/v1/channels{query}")).json();
        let names = said["channels"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|it| it["channel"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), said["more"].as_bool().unwrap())
    };
    assert_eq!(listed(""), ("a b room:1 room:2 room:3".into(), false));
    assert_eq!(listed("?limit=2"), ("a b".into(), true));
    assert_eq!(listed("?limit=2&after=b"), ("room:1 room:2".into(), true));
    assert_eq!(listed("?prefix=room%3A&after=room:2"), ("room:3".into(), false));
    assert_eq!(listed("?prefix=zoo"), (String::new(), false));
    let one = &node.get("/v1/channels?prefix=room:1").json()["channels"][0];
    assert_eq!(*one, json!({"channel": "room:1", "subscribers": 0, "offset": 2}));
    let long = "x".repeat(256);
    for (query, code) in [
        ("?limit=0", "bad_limit"),
        ("?limit=x", "bad_limit"),
        ("?prefx=a", "misspelled_parameter"),
        ("?prefix=a&prefix=b", "bad_parameter"),
        ("?prefix=%00", "bad_parameter"),
        ("?after=%ff", "bad_parameter"),
        (&format!("?after={long}"), "bad_parameter"),
    ] {
        let answer = node.get(&format!("/v1/channels{query}"));
        assert_eq!((answer.status, &*answer.error()), (400, code), "{query}");
    }
}

#[test]
fn questions_under_way_are_bounded_and_hold_up_nobody_else() {
    let node = Node::start();
    node.sequencer.deafen();
    let ask = "GET /v1/users/ada HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut waiting: Vec<_> = (0..8).map(|_| node.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(ask));
    let mut refused = None;
    // The eight may not all be read yet: then this one is among them, and waits.
    until("one is too many", || {
        let mut client = node.connect();
        client.send(ask);
        client.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let mut first = [0; 1];
        let is_answered = client.stream.peek(&mut first).is_ok_and(|bytes| bytes == 1);
        client.stream.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
        refused = is_answered.then(|| client.answer());
        is_answered
    });
    let refused = refused.unwrap();
    assert_eq!((refused.status, &*refused.error()), (503, "busy"));
    assert_eq!(refused.field("retry-after"), Some("1"));
    let mut one = node.connect();
    one.send(format!("GET /v1/connections/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", id(0)));
    node.sequencer.hear();
    assert_eq!(one.answer().status, 404, "those for one connection have places of their own");
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!(answer.json(), json!({"user": "ada", "count": 0, "connections": []}));
    }
    assert_eq!(node.get("/v1/users/ada").status, 200, "and the places are free again");
}

#[test]
fn who_loses_patience_leaves_a_question_that_still_counts() {
    let bounds = Bounds { answer_ms: 1, ..bounds() };
    let node = Node::with(Wishes { bounds, ..Wishes::default() });
    node.sequencer.deafen();
    for _ in 0..8 {
        let answer = node.get("/v1/users/ada");
        assert_eq!((answer.status, &*answer.error()), (504, "outcome_unknown"));
    }
    assert_eq!(node.get("/v1/users/ada").error(), "busy", "eight are in the inbox");
    assert_eq!(node.get("/v1/channels").error(), "busy");
    node.sequencer.hear();
    until("the order has let go of them", || node.get("/v1/users/ada").status != 503);
}

#[test]
fn a_connection_of_a_shard_that_there_is_not_is_gone() {
    let node = Node::start();
    for shard in [1, 63] {
        let answer = node.get(&format!("/v1/connections/{}", id(shard)));
        assert_eq!((answer.status, &*answer.error()), (404, "no_connection"), "{shard}");
    }
}

#[test]
fn what_a_delete_says_is_judged_before_anything_is_asked() {
    let node = Node::start();
    let delete = |query: &str, body: &str| {
        let target = format!("/v1/users/ada{query}");
        let request = String::from_utf8(post(&target, "", body)).unwrap();
        node.ask(request.replacen("POST", "DELETE", 1))
    };
    node.sequencer.deafen();
    for (query, body, status, code) in [
        ("?code=12", "", 422, "bad_code"),
        ("?code=4403&code=4404", "", 400, "bad_parameter"),
        ("?reasn=x", "", 400, "misspelled_parameter"),
        ("?code=4403", "{\"reason\":\"x\"}", 400, "bad_parameter"),
        ("", "x", 400, "bad_json"),
        ("", "[4403]", 422, "bad_fields"),
        ("", "{\"code\":\"4403\"}", 422, "bad_fields"),
        ("", "{\"code\":4403,\"code\":4404}", 422, "bad_fields"),
        ("", "{\"codes\":4403}", 422, "bad_fields"),
    ] {
        let answer = delete(query, body);
        assert_eq!((answer.status, &*answer.error()), (status, code), "{query} {body}");
    }
    node.sequencer.hear();
    assert_eq!(delete("?code=4403", "").json(), json!({"disconnected": 0}));
    assert_eq!(delete("", "{}").json(), json!({"disconnected": 0}));
    let answer = node.post("/v1/disconnect", "Content-Type: text/plain\r\n", "{\"all\":true}");
    assert_eq!((answer.status, &*answer.error()), (415, "not_json"), "a page could send it");
}
