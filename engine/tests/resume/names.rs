//! Names that strangers mention are not records: whatever they follow or poll pushes out nothing
//! that was acknowledged.

use fanfare::node::Settings;
use serde_json::json;

use crate::on_both;
use crate::reader::{Reader, Transport, poll};
use crate::support::{Client, publish_all, wait_until};

/// As many as a request's target has room for.
const NAMES: usize = 570;

fn few(settings: &mut Settings) {
    settings.limits.channels = 3;
    settings.limits.followed_channels = 2 * NAMES;
}

/// Two seconds of such polls pushed out the history of every channel that nobody followed.
#[test]
fn polls_of_names_that_nobody_knows_push_out_no_history() {
    on_both(few, |node| {
        let listen = node.addresses().listen;
        let first = publish_all(node, [("precious", "kept".to_owned())]).remove(0);
        let start = format!("{}-0", first.id.epoch);
        for round in 0..20 {
            let names: Vec<String> = (0..NAMES).map(|nth| format!("{round:x}:{nth:x}")).collect();
            let query = format!("channels={}&since={start}&wait=0", names.join(","));
            assert_eq!(poll(listen, &query)["messages"], json!([]));
        }
        let answer = poll(listen, &format!("channels=precious&since={start}&wait=0"));
        assert_eq!(answer["messages"][0]["data"], "kept");
        assert_eq!(answer.get("gaps"), None, "nothing was forgotten: {answer}");
        let order = &node.metrics().sequencer;
        assert_eq!((order.channels.read(), order.channels_forgotten.read()), (1, 0));
        // And nothing is left of the names, on the shards neither, though an interest lingers.
        wait_until("the names are gone", || {
            let shards = &node.metrics().shards;
            let logs: u64 = shards.iter().map(|shard| shard.channels.read()).sum();
            order.followed_channels.read() == 0 && logs <= shards.len() as u64
        });
    });
}

#[test]
fn what_is_followed_has_a_limit_of_its_own() {
    on_both(few, |node| {
        let listen = node.addresses().listen;
        let many = |from: usize, count: usize| {
            let names: Vec<String> = (from..from + count).map(|nth| format!("{nth:x}")).collect();
            names.join(",")
        };
        let mut first = Reader::open(listen, Transport::WebSocket, &many(0, NAMES), None);
        let _second = Reader::open(listen, Transport::EventStream, &many(NAMES, NAMES), None);
        let mut refused = Client::get(listen, "/poll?channels=another&wait=0");
        let (head, body) = refused.answer();
        assert!(
            head.starts_with("HTTP/1.1 503 ") && body.contains("followed_limit"),
            "{head}{body}"
        );
        // It is no limit of what is published, and what is followed already may be followed.
        publish_all(node, [("another", "x".to_owned()), ("1", "y".to_owned())]);
        assert_eq!(first.messages(1)[0].data, "y");
        assert_eq!(poll(listen, "channels=1,2&wait=0")["messages"], json!([]));
        let order = &node.metrics().sequencer;
        assert_eq!((order.followed_refused.read(), order.channels_refused.read()), (1, 0));
        assert_eq!(order.followed_channels.read(), 2 * NAMES as u64);
    });
}
