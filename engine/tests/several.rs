//! One message in several channels, over real sockets.

mod support;

use fanfare::node::DriverChoice;
use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{ChannelNames, PublishFrame};
use serde_json::{Value, json};

use support::publisher::publish_batch;
use support::{Client, DRIVERS, node, node_with, post_json};

#[test]
fn each_channel_has_it_and_each_client_once() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut both = Client::websocket(listen, "/ws?channels=a,b&format=json");
        let mut one = Client::get(listen, "/sse?channels=b");
        let begin = both.json_frame();
        assert!(one.head().starts_with("HTTP/1.1 200 "));
        one.opening();
        let (status, answer) = post_json(&node, &json!({"channels": ["b", "a", "c"], "data": 1}));
        let places = json!([{"offset": 1, "subscribers": 2}, {"offset": 1, "subscribers": 1},
            {"offset": 1, "subscribers": 0}]);
        assert_eq!((&*status, &answer["channels"]), ("200", &places));
        let id = answer["id"].as_str().unwrap();
        let batch = json!({"messages": [
            {"channel": "a", "data": 2},
            {"channels": ["a"], "data": 3},
            {"channels": ["a", "b"], "data": 4, "ephemeral": true},
            {"channel": "b", "data": 5},
        ]});
        let (_, answer) = post_json(&node, &batch);
        let results = &answer["results"];
        assert_eq!((&results[0]["offset"], &results[0]["subscribers"]), (&json!(2), &json!(1)));
        assert_eq!(results[1]["channels"], json!([{"offset": 3, "subscribers": 1}]));
        assert_eq!(results[2], json!({"channels": [{"subscribers": 1}, {"subscribers": 2}]}));
        let first = json!({"channel": "b", "id": id, "offset": 1, "data": 1});
        assert_eq!(both.json_frame(), first);
        let rest: Vec<Value> = (0..4).map(|_| both.json_frame()).collect();
        let said: Vec<_> =
            rest.iter().map(|it| (it["channel"].clone(), it["data"].clone())).collect();
        let all = [("a", 2), ("a", 3), ("a", 4), ("b", 5)]
            .map(|(channel, data)| (json!(channel), json!(data)));
        assert_eq!(said, all);
        assert_eq!(one.block(), format!("data: 1\nid: {id}"));
        assert_eq!(one.block(), "data: 4");

        // From history: once, and not again from behind it.
        let since = begin["id"].as_str().unwrap();
        let poll = |since: &str| {
            let mut poll = Client::get(listen, &format!("/poll?channels=a,b,c&since={since}"));
            let answer: Value = serde_json::from_str(&poll.answer().1).unwrap();
            assert_eq!(answer["gaps"], Value::Null);
            let of = |it: &Value| (it["channel"].clone(), it["data"].clone());
            answer["messages"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
        };
        let kept = [("b", 1), ("a", 2), ("a", 3), ("b", 5)]
            .map(|(channel, data)| (json!(channel), json!(data)));
        assert_eq!((&poll(since)[..], &poll(id)[..]), (&kept[..], &kept[1..]));
        node.stop();
    }
}

#[test]
fn what_may_not_be_is_refused_whole() {
    let node = node_with(DriverChoice::Epoll, |settings| {
        settings.limits.channels_per_message = 3;
    });
    let named = |channels: Value| json!({"channels": channels, "data": 1});
    for (body, status, code) in [
        (named(json!(["a", "b", "a"])), "422", "bad_channels"),
        (named(json!(["a", "b", "c", "d"])), "422", "bad_channels"),
        (named(json!(["a", "b*"])), "422", "bad_channel"),
        (named(json!([])), "422", "bad_channel"),
        (named(json!("a")), "422", "bad_message"),
        (json!({"channel": "a", "channels": ["b"], "data": 1}), "422", "bad_message"),
    ] {
        let (told, answer) = post_json(&node, &body);
        assert_eq!((&*told, &answer["error"]), (status, &json!(code)), "{body} {answer}");
    }
    let (_, answer) = post_json(&node, &named(json!(["a", "b", "c", "d"])));
    assert!(answer["message"].as_str().unwrap().contains("for 1 to 3 channels"), "{answer}");
    let (_, answer) = post_json(&node, &named(json!(["a", "b", "c"])));
    let first = json!({"offset": 1, "subscribers": 0});
    assert_eq!(answer["channels"], json!([first, first, first]), "nothing was published before");
    node.stop();
}

#[test]
fn a_key_is_the_same_on_every_way_in() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with(DriverChoice::Epoll, |settings| {
        settings.socket = Some(folder.path().join("s"));
    });
    let also = [&b"b"[..], b"c"];
    let frame = PublishFrame {
        answer: true,
        idempotency_key: Some(b"k"),
        also: ChannelNames::of(&also),
        ..PublishFrame::new("a", b"1")
    };
    let other = PublishFrame { also: ChannelNames::of(&also[..1]), ..frame };
    let twice = [&b"b"[..], b"b"];
    let twice = PublishFrame { also: ChannelNames::of(&twice), ..frame };
    let messages = [PublishFrame::new("b", b"0"), frame, frame, other, twice];
    let told =
        publish_batch(node.addresses().socket.as_ref().unwrap(), &messages, |reply| match reply {
            Reply::Answer(answer) => {
                let offsets: Vec<u64> = answer.also.map(|place| place.offset).collect();
                Some(format!("{} {offsets:?} {}", answer.offset, answer.duplicate))
            }
            Reply::Refused { code, .. } => Some(format!("refused {}", code.0)),
            _ => None,
        });
    let all = ["1 [2, 1] false", "1 [2, 1] true", "refused 409", "refused 466"];
    assert_eq!(told, all);
    let keyed = json!({"channels": ["a", "b", "c"], "data": 1, "idempotency_key": "k"});
    let (_, answer) = post_json(&node, &keyed);
    assert_eq!(answer["duplicate"], true);
    assert_eq!(answer["channels"][1], json!({"offset": 2, "subscribers": 0}));
    let (status, _) = post_json(&node, &json!({"channel": "a", "data": 1, "idempotency_key": "k"}));
    assert_eq!(status, "409");
    node.stop();
}
