//! One poll after the other: bounded answers, and nothing lost between them.

use std::time::Duration;

use serde_json::Value;

use fanfare::node::Settings;
use fanfare::rule::Window;

use crate::reader::poll;
use crate::support::{Client, keep, publish_all, rules};
use crate::{gap, on_both};

fn long_history(settings: &mut Settings) {
    settings.rules = rules(&[("**", keep(100_000), Window::DEFAULT)]);
}

fn offsets(answer: &Value, channel: &str) -> Vec<u64> {
    let messages = answer["messages"].as_array().unwrap().iter();
    let of_channel = messages.filter(|message| message["channel"] == channel);
    of_channel.map(|message| message["offset"].as_u64().unwrap()).collect()
}

fn last_id(answer: &Value) -> &str {
    let last = answer["messages"].as_array().unwrap().last().expect("messages");
    assert_eq!(answer["id"], last["id"], "the id is that of the last message in it");
    answer["id"].as_str().unwrap()
}

#[test]
fn an_answer_holds_a_thousand_messages_and_the_next_goes_on() {
    on_both(long_history, |node| {
        let listen = node.addresses().listen;
        let both = (0..1_250).flat_map(|number| [("a", number), ("b", number)]);
        let first =
            publish_all(node, both.map(|(name, number)| (name, number.to_string()))).remove(0);
        let mut since = format!("{}-0", first.id.epoch);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for expected in [1_000, 1_000, 500] {
            let answer = poll(listen, &format!("channels=a,b&since={since}&wait=20"));
            assert_eq!(answer["messages"].as_array().unwrap().len(), expected);
            since = last_id(&answer).to_owned();
            a.extend(offsets(&answer, "a"));
            b.extend(offsets(&answer, "b"));
        }
        let all = Vec::from_iter(1..=1_250);
        assert_eq!((a, b), (all.clone(), all));
        let answer = poll(listen, &format!("channels=a,b&since={since}&wait=0"));
        assert_eq!((answer["id"].as_str(), offsets(&answer, "a").len()), (Some(&*since), 0));
    });
}

#[test]
fn an_answer_holds_a_mebibyte_or_one_longer_message() {
    on_both(long_history, |node| {
        let listen = node.addresses().listen;
        let texts = [300_000, 300_000, 300_000, 300_000, 1 << 20, 5, 600_000, 448_000];
        let messages = texts.iter().map(|length| ("a", "x".repeat(*length)));
        let first = publish_all(node, messages).remove(0);
        let mut since = format!("{}-0", first.id.epoch);
        for expected in [&[1, 2, 3][..], &[4], &[5], &[6, 7, 8]] {
            let answer = poll(listen, &format!("channels=a&since={since}&wait=20"));
            assert_eq!(offsets(&answer, "a"), expected);
            since = last_id(&answer).to_owned();
        }
    });
}

#[test]
fn a_loop_of_polls_loses_nothing_while_messages_come() {
    on_both(long_history, |node| {
        let listen = node.addresses().listen;
        let start = poll(listen, "channels=a,b&wait=0");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..1_500 {
                    publish_all(node, ["a", "b"].map(|name| (name, number.to_string())));
                }
            });
            for channels in ["a", "b,a"] {
                let mut since = start["id"].as_str().unwrap().to_owned();
                let mut seen = 0;
                while seen < 1_500 {
                    let answer =
                        poll(listen, &format!("channels={channels}&since={since}&wait=20"));
                    assert_eq!(answer.get("gaps"), None);
                    for offset in offsets(&answer, "a") {
                        seen += 1;
                        assert_eq!(offset, seen);
                    }
                    since = last_id(&answer).to_owned();
                }
            }
        });
    });
}

/// A channel whose gap lies behind all that the answer has of the other.
#[test]
fn a_gap_behind_the_last_message_is_told_once() {
    let change = |settings: &mut Settings| {
        let keeps_none = ("z", keep(0), Window::DEFAULT);
        settings.rules = rules(&[keeps_none, ("**", keep(100_000), Window::DEFAULT)]);
    };
    on_both(change, |node| {
        let listen = node.addresses().listen;
        let start = poll(listen, "channels=d,z&wait=0")["id"].as_str().unwrap().to_owned();
        publish_all(node, [("d", "1".to_owned()), ("z", "2".to_owned())]);
        let first = poll(listen, &format!("channels=d,z&since={start}&wait=0"));
        assert_eq!(offsets(&first, "d"), [1]);
        assert_eq!(first["gaps"], serde_json::json!([gap("z", 1, 1, "trimmed")]));
        let mut since = first["id"].as_str().unwrap().to_owned();
        for _ in 0..2 {
            let next = poll(listen, &format!("channels=d,z&since={since}&wait=0"));
            assert_eq!((next.get("gaps"), offsets(&next, "d").len()), (None, 0), "{next}");
            since = next["id"].as_str().unwrap().to_owned();
        }
        // What comes after the id is there all the same, and so is the next gap.
        publish_all(node, [("z", "3".to_owned()), ("d", "4".to_owned())]);
        let next = poll(listen, &format!("channels=d,z&since={since}&wait=0"));
        assert_eq!(offsets(&next, "d"), [2]);
        assert_eq!(next["gaps"], serde_json::json!([gap("z", 2, 2, "trimmed")]));
    });
}

#[test]
fn a_gap_behind_an_answer_that_is_full_is_left_to_the_next() {
    let change = |settings: &mut Settings| {
        let keeps_none = ("z", keep(0), Window::DEFAULT);
        settings.rules = rules(&[keeps_none, ("**", keep(100_000), Window::DEFAULT)]);
    };
    on_both(change, |node| {
        let listen = node.addresses().listen;
        let z = [("z", "lost".to_owned())];
        let d = |count| (0..count).map(|number| ("d", number.to_string()));
        let messages = d(1_500).chain(z.clone()).chain(d(600)).chain(z);
        let first = publish_all(node, messages).remove(0);
        let mut since = format!("{}-0", first.id.epoch);
        let mut told = Vec::new();
        for expected in [1_000, 1_000, 100, 0] {
            let answer = poll(listen, &format!("channels=d,z&since={since}&wait=0"));
            assert_eq!(offsets(&answer, "d").len(), expected);
            told.push(answer.get("gaps").map(|gaps| gaps[0].clone()));
            since = answer["id"].as_str().unwrap().to_owned();
        }
        // The second answer ends between the two that are lost: one gap is about both.
        let (both, last) = (gap("z", 1, 2, "trimmed"), gap("z", 2, 2, "trimmed"));
        assert_eq!(told, [None, Some(both), Some(last), None]);
    });
}

#[test]
fn a_long_answer_waits_for_a_client_that_reads_late() {
    on_both(long_history, |node| {
        let listen = node.addresses().listen;
        let places = publish_all(node, (0..3).map(|_| ("a", "x".repeat(300_000))));
        let target = format!("/poll?channels=a&since={}-0", places[0].id.epoch);
        // Over a socket that takes little, so that most of the answer waits in the node.
        let mut client = Client::narrow(listen);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        std::thread::sleep(Duration::from_millis(2_500));
        let answer: Value = serde_json::from_str(&client.answer().1).unwrap();
        assert_eq!(offsets(&answer, "a"), [1, 2, 3]);
        let target = format!("/poll?channels=a&since={}", places[1].id);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let answer: Value = serde_json::from_str(&client.answer().1).unwrap();
        assert_eq!(offsets(&answer, "a"), [3], "the connection goes on");
    });
}
