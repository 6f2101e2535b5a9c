//! A node with a canary: the only way for a test here to reach a node is through a case, so no test
//! can forget to look at what its case has left behind.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fanfare::admission::host::Hosts;
use fanfare::node::{Server, Settings};
use fanfare::rule::{HistoryRule, Pattern, Rule, Rules, Window};

use crate::support::{Client, DRIVERS, NEVER_MS, PATIENCE, node_with, publish, wait_until};

/// History of channels in these tests: short.
const FORGETFUL: HistoryRule = HistoryRule { count: 100, bytes: 1_000_000, age_ms: 100 };

/// What the canary hears is so long, where the node takes that, that it has a page of its own as
/// the canary gets it: what is rendered for the canary is as much after each case.
const TICK_BYTES: usize = 40_000;

/// What a page of shorter ones may come to.
const PAGE_BYTES: u64 = 100_000;

/// A node of one shard, which strangers share with a canary: a WebSocket that is subscribed.
pub(crate) struct Site {
    node: Server,
    canary: Canary,
    /// What the canary is told.
    tick: String,
}

/// Runs `cases` on a node of each driver, both at once. Interest ends soon; else the
/// defaults, as `change` changes them.
pub(crate) fn on_both(change: impl Fn(&mut Settings) + Sync, cases: impl Fn(&Site) + Sync) {
    with_history(FORGETFUL, change, cases);
}

/// The same, where channels keep `history`.
pub(crate) fn with_history(
    history: HistoryRule,
    change: impl Fn(&mut Settings) + Sync,
    cases: impl Fn(&Site) + Sync,
) {
    thread::scope(|scope| {
        for driver in DRIVERS {
            let (change, cases) = (&change, &cases);
            scope.spawn(move || {
                let mut tick = String::new();
                let node = node_with(driver, |settings| {
                    settings.shards = Some(1);
                    settings.rules = rules(history);
                    settings.limits.interest_ms = 50;
                    settings.limits.close_ms = NEVER_MS;
                    settings.hosts = Hosts::new(&["a".into(), "app.example".into()]).unwrap();
                    change(settings);
                    tick = "t".repeat(TICK_BYTES.min(settings.limits.message_bytes));
                });
                let canary = Canary::new(&node);
                let site = Site { node, canary, tick };
                site.sings("the start"); // from here on the canary's log is full
                // A shard says what it holds at the end of a tick, and the canary hears before.
                let counted = || site.node.metrics().shards[0].rendered_bytes.read() > 0;
                wait_until("the canary's log is counted", counted);
                cases(&site);
                site.canary.leave();
                site.node.stop();
            });
        }
    });
}

/// The canary's channel keeps one message, so that its log has one length.
fn rules(history: HistoryRule) -> Rules {
    let one = Rule {
        pattern: Pattern::parse("canary").unwrap(),
        history: HistoryRule { count: 1, ..FORGETFUL },
        window: Window { count: 1, bytes: 1_000 },
        ..Rule::default()
    };
    Rules::new(vec![one], history, Window::DEFAULT)
}

impl Site {
    /// Runs a case. After it the canary hears a message that is published then, and connections,
    /// subscriptions, channels and rendered bytes are as many as before.
    pub(crate) fn case(&self, name: &str, run: impl FnOnce(&Server)) {
        let before = self.gauges();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&self.node))) {
            eprintln!("the case failed: {name}, on {}", self.node.driver());
            resume_unwind(panic);
        }
        self.sings(name);
        let until = Instant::now() + PATIENCE;
        while self.gauges() != before {
            let (driver, now) = (self.node.driver(), self.gauges());
            let late = Instant::now() > until;
            assert!(!late, "{name}, on {driver}, left this behind: {now:?}; it was {before:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn sings(&self, name: &str) {
        publish(&self.node, "canary", &self.tick);
        let heard = self.canary.heard.recv_timeout(PATIENCE);
        assert!(heard.as_ref() == Ok(&self.tick), "{name}, on {}: {heard:?}", self.node.driver());
    }

    fn gauges(&self) -> Gauges {
        let metrics = self.node.metrics();
        let [shard] = metrics.shards.as_slice() else { panic!("one shard") };
        // Of a page that grows with each tick only what is beyond it is a stranger's.
        let canarys = if self.tick.len() == TICK_BYTES { 0 } else { PAGE_BYTES };
        Gauges {
            connections: shard.connections.read(),
            websockets: shard.websockets.read(),
            event_streams: shard.event_streams.read(),
            polls: shard.polls.read(),
            subscriptions: shard.subscriptions.read(),
            followed: metrics.sequencer.subscriptions.read(),
            logs: shard.channels.read(),
            rendered_bytes: shard.rendered_bytes.read().saturating_sub(canarys),
            body_bytes: metrics.bodies.held(),
            names: metrics.sequencer.followed_channels.read(),
        }
    }
}

/// What a client may not leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Gauges {
    connections: u64,
    websockets: u64,
    event_streams: u64,
    polls: u64,
    subscriptions: u64,
    followed: u64,
    logs: u64,
    rendered_bytes: u64,
    body_bytes: u64,
    /// Names that somebody follows: a name that was merely mentioned is no record.
    names: u64,
}

/// A client that does all it should: it answers pings, and tells what it hears.
struct Canary {
    socket: TcpStream,
    heard: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Canary {
    fn new(node: &Server) -> Self {
        let mut client = Client::websocket(node.addresses().listen, "/ws?channels=canary");
        let socket = client.socket.try_clone().unwrap();
        client.socket.set_read_timeout(None).unwrap();
        let (sender, heard) = channel();
        let thread = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = client.socket.read(&mut chunk) {
                client.buffer.extend_from_slice(&chunk[..count]);
                while crate::support::frame_end(&client.buffer).is_some() {
                    match client.frame() {
                        (0x89, payload) => client.send_frame(0x8a, &payload),
                        (0x81, payload) => drop(sender.send(crate::support::text(&payload))),
                        (first, payload) => drop(sender.send(format!("{first:#x} {payload:?}"))),
                    }
                }
            }
        });
        let shards = &node.metrics().shards;
        wait_until("the canary is the only client", || shards[0].connections.read() == 1);
        Self { socket, heard, thread }
    }

    fn leave(&self) {
        self.socket.shutdown(Shutdown::Both).expect("the canary is connected");
        wait_until("the canary has flown", || self.thread.is_finished());
    }
}
