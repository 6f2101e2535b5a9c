//! Coming back: with one position, over every transport and many channels, on both drivers, a
//! client gets what it missed, once and in order, then what comes live, with no hole between; and
//! whatever is not kept any more is told first, exactly.

mod epochs;
mod gaps;
mod live;
mod missed;
mod names;
mod newcomers;
mod polls;
mod reader;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod window;

use fanfare::node::{DriverChoice, Server, Settings};
use fanfare::sequencer::command::Published;
use serde_json::{Value, json};

use reader::Transport;

/// Runs `test` for each driver and transport, on a node of its own.
fn everywhere(change: impl Fn(&mut Settings), test: impl Fn(&Server, Transport)) {
    for driver in support::DRIVERS {
        for transport in Transport::ALL {
            let node = support::node_with(driver, &change);
            println!("{driver:?} {transport:?}"); // seen where it fails
            test(&node, transport);
            node.stop();
        }
    }
}

/// Runs `test` for each driver, on a node of its own.
fn on_both(change: impl Fn(&mut Settings), test: impl Fn(&Server)) {
    for driver in support::DRIVERS {
        let node = support::node_with(driver, &change);
        println!("{driver:?}");
        test(&node);
        node.stop();
    }
}

/// Messages `numbers` to one channel, each its number.
fn fill(node: &Server, channel: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<Published> {
    support::publish_all(node, numbers.map(|number| (channel, number.to_string())))
}

/// A gap notice with its bounds.
fn gap(channel: &str, from: u64, to: u64, reason: &str) -> Value {
    let missed = to - from + 1;
    let event = "fanfare.gap";
    json!({"event": event, "channel": channel, "from": from, "to": to, "missed": missed,
        "reason": reason})
}

/// A gap notice of nobody knows how many.
fn unbounded(channel: &str, reason: &str) -> Value {
    let event = "fanfare.gap";
    json!({"event": event, "channel": channel, "from": null, "to": null, "missed": null,
        "reason": reason})
}

/// The node of this test again, at the same address.
fn restarted(node: Server, driver: DriverChoice) -> Server {
    let listen = node.addresses().listen;
    node.stop();
    support::node_with(driver, |settings| settings.listen = listen)
}
