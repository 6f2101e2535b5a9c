//! Slow clients of channels that go on after a gap: sockets that nobody reads, beside one that is
//! read, on both drivers.

use std::collections::BTreeMap;

use fanfare::node::{Server, Settings};
use fanfare::rule::{HistoryRule, Pattern, Rule, Rules, Slow, Window};
use serde_json::Value;

use crate::reader::{Reader, Transport};
use crate::support::{Client, keep, publish_all, upgrade, wait_until};
use crate::{gap, on_both};

/// `w` goes on with the oldest, `l` with the newest, and both keep twenty messages.
fn policies(settings: &mut Settings) {
    let rule = |pattern: &str, slow| Rule {
        pattern: Pattern::parse(pattern).unwrap(),
        history: keep(20),
        window: Window { count: 16, bytes: 1 << 30 },
        slow,
        ..Rule::default()
    };
    let rules = vec![rule("w", Slow::Window), rule("l", Slow::Latest)];
    settings.rules = Rules::new(rules, HistoryRule::DEFAULT, Window::DEFAULT);
    settings.shards = Some(1);
}

/// A client with small buffers that reads its answer and then nothing until it is asked to.
struct Deaf {
    client: Client,
    channels: &'static str,
    events: bool,
    /// The next offset of each channel, and the gaps so far.
    next: BTreeMap<String, u64>,
    gaps: Vec<Value>,
}

impl Deaf {
    fn new(node: &Server, target: &'static str) -> Self {
        let mut client = Client::narrow(node.addresses().listen);
        let events = target.starts_with("/sse");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(if events { request } else { upgrade(target) }.as_bytes());
        assert!(client.head().contains(if events { " 200 " } else { " 101 " }));
        let channels = target.split_once("channels=").unwrap().1.split('&').next().unwrap();
        let next = channels.split(',').map(|name| (name.to_owned(), 1)).collect();
        Self { client, channels, events, next, gaps: Vec::new() }
    }

    /// Reads on until it has all up to message `last` of each channel, and sees that each message
    /// and each gap continues what came before it.
    fn read(&mut self, last: u64) {
        while self.next.values().any(|next| *next <= last) {
            let Some(said) = self.said() else { continue };
            let value: Value = serde_json::from_str(&said).unwrap_or_default();
            if value["event"] == "fanfare.gap" {
                let next = self.next.get_mut(value["channel"].as_str().unwrap()).unwrap();
                assert_eq!(value["from"], *next, "a gap begins where it was: {value}");
                *next = value["to"].as_u64().unwrap() + 1;
                self.gaps.push(value);
            } else if value["event"] != "fanfare.open" {
                let data = value["data"].as_str().unwrap_or(&said); // raw
                let channel = value["channel"].as_str().unwrap_or(self.channels);
                let next = self.next.get_mut(channel).unwrap();
                assert!(data.starts_with(&format!("{next}:")), "{next}, not {data:.10}");
                *next += 1;
            }
        }
    }

    /// The text of a frame or the data of a block, where it has some.
    fn said(&mut self) -> Option<String> {
        if !self.events {
            let (first, payload) = self.client.frame();
            return (first == 0x81).then(|| String::from_utf8(payload).unwrap());
        }
        let block = self.client.block();
        if block.contains("event: fanfare.open\n") {
            return None;
        }
        block.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned))
    }
}

/// Publishes messages `numbers` to both channels, each long enough that buffers fill up.
fn fill(node: &Server, numbers: std::ops::RangeInclusive<u64>) {
    let text = |number| format!("{number}:{}", "x".repeat(20_000));
    publish_all(node, numbers.flat_map(|number| [("w", text(number)), ("l", text(number))]));
}

#[test]
fn each_slow_client_is_told_its_gap_and_goes_on_and_the_others_are_served() {
    on_both(policies, |node| {
        let listen = node.addresses().listen;
        let mut healthy = Reader::open(listen, Transport::WebSocket, "w,l", None);
        let targets = [
            "/ws?channels=w&format=raw",
            "/ws?channels=l&format=json",
            "/ws?channels=w,l",
            "/sse?channels=w&format=json",
            "/sse?channels=l&format=raw",
            "/sse?channels=w,l&format=json",
        ];
        let mut slow = targets.map(|target| Deaf::new(node, target));
        for ten in 0..20 {
            fill(node, ten * 10 + 1..=ten * 10 + 10);
            let offsets = (ten * 10 + 1..=ten * 10 + 10).flat_map(|offset| [offset, offset]);
            assert_eq!(healthy.offsets(20), Vec::from_iter(offsets), "who reads has everything");
        }
        let shard = &node.metrics().shards[0];
        assert_eq!((shard.slow_closed.read(), shard.gaps.read()), (0, 0), "told when they read");
        for client in &mut slow {
            client.read(200);
            let told = client.gaps.iter().map(|gap| gap["from"].as_u64().unwrap());
            let from: Vec<u64> = told.collect();
            let channels = client.channels.split(',');
            let expected = channels.zip(&from).map(|(channel, from)| {
                let to = if channel == "w" { 180 } else { 199 };
                gap(channel, *from, to, "slow")
            });
            assert_eq!(client.gaps, expected.collect::<Vec<_>>(), "{}", client.channels);
            assert_eq!(from.len(), client.channels.split(',').count());
        }
        fill(node, 201..=201);
        slow.iter_mut().for_each(|client| client.read(201));
        assert_eq!(healthy.offsets(2), [201, 201]);
        wait_until("gaps are counted", || shard.gaps.read() == 8);
        assert_eq!(shard.slow_closed.read(), 0);
    });
}
