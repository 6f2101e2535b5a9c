//! Positions that say nothing here: of another epoch, of the future, unreadable.

use fanfare::log::{Epochs, Interrupted};
use fanfare::node::Server;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::ingest::client::Reply;

use crate::reader::{Reader, Transport};
use crate::support::publisher::Publisher;
use crate::support::{Client, DRIVERS, node, node_over, publish, wait_for};
use crate::{everywhere, fill, restarted, unbounded};

#[test]
fn another_epoch_is_a_gap_per_channel_and_then_all_that_is_kept() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        fill(&node, "a", 1..=7);
        let since = fill(&node, "b", 1..=7)[6].id;
        let node = restarted(node, driver);
        assert_eq!(node.addresses().listen, listen);
        let new = fill(&node, "a", 1..=2)[1].id;
        fill(&node, "b", 1..=1);
        assert_ne!(new.epoch, since.epoch);
        // Though the position is in the future of the new epoch, or even where it is the same.
        for position in [since.position, new.position, 0] {
            let since = Id { position, ..since }.to_string();
            for transport in Transport::ALL {
                let mut reader = Reader::open(listen, transport, "a,c,b", Some(&since));
                let expected = ["a", "c", "b"].map(|channel| unbounded(channel, "epoch"));
                assert_eq!(reader.gaps, expected, "{transport:?}");
                let messages = reader.messages(3);
                let seen = messages.iter().map(|message| (&*message.channel, message.offset));
                assert_eq!(Vec::from_iter(seen), [("a", 1), ("a", 2), ("b", 1)]);
                assert!(messages.iter().all(|message| message.id > new.epoch.to_string()));
                // The next id is of the new epoch: no gap any more.
                let id = &messages[0].id;
                let mut again = Reader::open(listen, transport, "a,c,b", Some(id));
                assert_eq!((again.gaps.len(), again.offsets(2)), (0, vec![2, 1]));
            }
        }
        node.stop();
    }
}

#[test]
fn a_position_in_the_future_is_a_gap_and_then_live() {
    everywhere(
        |_| {},
        |node, transport| {
            let last = fill(node, "a", 1..=3)[2].id;
            let listen = node.addresses().listen;
            for position in [last.position + 1, u64::MAX] {
                let since = Id { position, ..last }.to_string();
                let reader = Reader::open(listen, transport, "a,b", Some(&since));
                assert_eq!(reader.gaps, ["a", "b"].map(|name| unbounded(name, "unknown")));
                assert_eq!(reader.id, last.to_string(), "from the head");
            }
            let since = Id { position: last.position + 5, ..last }.to_string();
            let mut reader = Reader::open(listen, transport, "a", Some(&since));
            fill(node, "a", 4..=5);
            assert_eq!(reader.offsets(2), [4, 5]);
        },
    );
}

#[test]
fn a_malformed_since_is_refused_and_a_malformed_last_event_id_is_a_gap() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let id = fill(&node, "a", 1..=3)[2].id.to_string();
        for since in ["", "1", "-", "00000000-01", "0000000i-1", "00000000-1x", "%00"] {
            for path in ["/sse", "/poll"] {
                let mut client = Client::get(listen, &format!("{path}?channels=a&since={since}"));
                let (head, _) = client.answer();
                assert!(head.starts_with("HTTP/1.1 400 "), "{path} {since:?}: {head}");
            }
            let mut client = Client::connect(listen);
            let target = format!("/ws?channels=a&since={since}");
            client.send(crate::support::upgrade(&target).as_bytes());
            let (head, _) = client.answer();
            assert!(head.starts_with("HTTP/1.1 400 "), "/ws {since:?}: {head}");
        }
        for (number, last) in ["1", "x", "00000000-01", &"9".repeat(200)].into_iter().enumerate() {
            let mut client = Client::connect(listen);
            client.send(
                format!(
                    "GET /sse?channels=a HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\
                     \r\n"
                )
                .as_bytes(),
            );
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let notice = client.block();
            assert!(notice.starts_with("event: fanfare.gap\ndata: {"), "{notice}");
            let notice = notice.split_once("data: ").unwrap().1;
            let notice: serde_json::Value = serde_json::from_str(notice).unwrap();
            assert_eq!(notice, unbounded("a", "unknown"));
            let opening = client.opening();
            if number == 0 {
                assert_eq!(opening, id.to_string());
            }
            let published = fill(&node, "a", 4..=4)[0].id;
            assert_eq!(client.block(), format!("data: 4\nid: {published}"));
        }
        node.stop();
    }
}

/// A publisher on the Unix socket, which says what it is told in words.
struct Told {
    publisher: Publisher,
    epoch: Option<Epoch>,
}

impl Told {
    fn connect(node: &Server) -> Self {
        let path = node.addresses().socket.as_ref().expect("it has a socket");
        let mut publisher = Self { publisher: Publisher::connect(path), epoch: None };
        publisher.hear();
        publisher
    }

    fn publish(&mut self, data: &str) -> String {
        let frame = PublishFrame { answer: true, ..PublishFrame::new("a", data.as_bytes()) };
        self.publisher.publish(&[frame]);
        let id = self.hear();
        assert!(self.hear().starts_with("ack "));
        id
    }

    fn hear(&mut self) -> String {
        let epoch = &mut self.epoch;
        let heard = self.publisher.hear(|reply| match reply {
            Reply::Hello(hello) => {
                *epoch = Some(hello.epoch);
                "hello".into()
            }
            Reply::Answer(answer) => answer.id(epoch.unwrap()).to_string(),
            Reply::Goodbye { last, code } => format!("goodbye {last} {}", code.0),
            Reply::Ack(sequence) => format!("ack {sequence}"),
            other => panic!("{other:?}"),
        });
        heard.expect("it goes on")
    }
}

/// An epoch begins in a running node: streams hear of it and go on, a waiting poll is answered with
/// it, publishers on the socket are told goodbye and come back to the new one.
#[test]
fn an_epoch_that_begins_is_told_to_everyone_and_costs_nobody_the_connection() {
    for driver in DRIVERS {
        let folder = tempfile::tempdir().unwrap();
        let epochs = Epochs::default();
        let log = Interrupted::by(epochs.clone());
        let node = node_over(driver, log, |settings| {
            settings.socket = Some(folder.path().join("fanfare.sock"));
        });
        let listen = node.addresses().listen;
        let old = node.epoch();
        let mut publisher = Told::connect(&node);
        let before = publisher.publish("one");
        assert!(before.starts_with(&old.to_string()), "{before}");
        let mut streams = [Transport::WebSocket, Transport::EventStream]
            .map(|transport| Reader::open(listen, transport, "a,b", Some(&before)));
        let mut waiting =
            Client::get(listen, &format!("/poll?channels=a,b&since={before}&wait=25"));
        let metrics = node.metrics();
        wait_for("a poll that waits", 1, || metrics.shards.iter().map(|it| it.polls.read()).sum());

        let new = Epoch::from_random(old.number() + 1);
        epochs.begin(new);
        publish(&node, "wake", "up"); // who sleeps over its log looks at it
        assert_eq!(publisher.hear(), "goodbye 1 205");
        let (_, body) = waiting.answer();
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let gaps = ["a", "b"].map(|channel| unbounded(channel, "epoch"));
        assert_eq!(answer["gaps"], serde_json::json!(gaps));
        assert!(answer["id"].as_str().unwrap().starts_with(&new.to_string()), "{answer}");
        assert_eq!(node.epoch(), new);

        let mut publisher = Told::connect(&node);
        assert_eq!(publisher.epoch, Some(new));
        let after = publisher.publish("two");
        assert!(after.starts_with(&new.to_string()), "{after}");
        for reader in &mut streams {
            assert_eq!([reader.notice(), reader.notice()], gaps);
            let message = reader.message();
            assert_eq!((&message.id, message.offset), (&after, 1), "it begins anew");
        }
        for transport in Transport::ALL {
            let reader = Reader::open(listen, transport, "a,b", Some(&before));
            assert_eq!(reader.gaps, gaps, "{transport:?}: an old id is one of another epoch");
        }
        node.stop();
    }
}
