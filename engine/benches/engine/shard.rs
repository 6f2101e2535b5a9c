//! A shard over a driver without a kernel: what a message costs its log, and a client its visit.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};

use fanfare::shard::tick_budget::TickBudget;

use crate::node::null::{Clients, Null};
use crate::node::{Node, upgrade};

/// Bytes of a message; its WebSocket frame has a header of four.
const BYTES: usize = 128;
const FRAME: [u8; 4] = [0x81, 126, 0, BYTES as u8];

/// A message with its number, so that none looks like another.
fn text(number: u64) -> String {
    format!("{number:.<BYTES$}")
}

fn node(requests: Vec<String>) -> (Node<Null>, Rc<RefCell<Clients>>) {
    let count = requests.len();
    let (driver, clients) = Null::new(requests);
    let mut node = Node::new(driver, count);
    node.settle(count as u64);
    (node, clients)
}

/// Messages of one burst: what a tick reads of the ring.
const BURST: u64 = 256;

/// From the ring into the log and the lanes in use, and out of the window again: many messages, and
/// so few clients that their visits are a hundredth of it.
pub(crate) fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log append");
    group.throughput(Throughput::Elements(BURST));
    let stream = "GET /sse?channels=bench HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string();
    for (name, requests) in
        [("one lane", vec![upgrade("bench")]), ("two lanes", vec![upgrade("bench"), stream])]
    {
        let lanes = requests.len() as u64;
        let (mut node, clients) = node(requests);
        let mut next = 0;
        let mut burst = |node: &mut Node<Null>| {
            node.publish("bench", (next..next + BURST).map(text));
            next += BURST;
            let before = node.numbers().deliveries.read();
            let began = Instant::now();
            node.deliver(before, lanes * BURST);
            began.elapsed()
        };
        clients.borrow_mut().kept = Some(vec![Vec::new(); lanes as usize]);
        burst(&mut node);
        let kept = clients.borrow_mut().kept.take().unwrap();
        let frames: Vec<u8> =
            (0..BURST).flat_map(|nth| [&FRAME, text(nth).as_bytes()].concat()).collect();
        assert!(kept[0] == frames, "what was published is what was sent, in order");
        let events = kept.get(1).map(|sent| String::from_utf8(sent.clone()).unwrap());
        if let Some(events) = events {
            let data: Vec<_> =
                events.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            assert!(data == (0..BURST).map(text).collect::<Vec<_>>(), "in order on both lanes");
        }
        let bytes = clients.borrow().bytes[0];
        let mut bursts = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                bursts += iterations;
                (0..iterations).map(|_| burst(&mut node)).sum()
            });
        });
        let sent = clients.borrow().bytes[0] - bytes;
        assert_eq!(sent, bursts * BURST * (FRAME.len() + BYTES) as u64, "and nothing else");
    }
    group.finish();
}

/// The same for what one tick reads of the ring: more entries cost fewer ticks, and make the sends
/// of everyone else wait longer.
pub(crate) fn entries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("entries per tick, 1,024 messages");
    group.throughput(Throughput::Elements(4 * BURST));
    let (mut node, clients) = node(vec![upgrade("bench")]);
    let (answered, mut next) = (clients.borrow().bytes[0], 0);
    for entries in [32, 64, 128, 256, 512, 1_024] {
        node.set_budget(TickBudget { entries, ..TickBudget::DEFAULT });
        let mut burst = || {
            node.publish("bench", (next..next + 4 * BURST).map(text));
            next += 4 * BURST;
            let before = node.numbers().deliveries.read();
            let began = Instant::now();
            node.deliver(before, 4 * BURST);
            began.elapsed()
        };
        group.bench_function(BenchmarkId::from_parameter(entries), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| burst()).sum());
        });
    }
    group.finish();
    let sent = clients.borrow().bytes[0] - answered;
    assert_eq!(sent, next * (FRAME.len() + BYTES) as u64, "each message once");
}

/// One message to many clients: ticks until all have it.
pub(crate) fn sweep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sweep");
    // A small audience, one quantum, and a large one.
    for audience in [16, 256, 10_000] {
        group.throughput(Throughput::Elements(audience as u64));
        let (mut node, clients) = node(vec![upgrade("bench"); audience]);
        let mut next = 0;
        let mut broadcast = |node: &mut Node<Null>| -> Duration {
            node.publish("bench", [text(next)]);
            next += 1;
            let before = node.numbers().deliveries.read();
            let began = Instant::now();
            node.deliver(before, audience as u64);
            began.elapsed()
        };
        clients.borrow_mut().kept = Some(vec![Vec::new(); audience]);
        broadcast(&mut node);
        let kept = clients.borrow_mut().kept.take().unwrap();
        let frame = [&FRAME, text(0).as_bytes()].concat();
        assert!(kept.iter().all(|sent| *sent == frame), "everyone has the message, once");
        group.bench_function(BenchmarkId::from_parameter(audience), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| broadcast(&mut node)).sum());
        });
        // The answer to the upgrade came first and is the same for all.
        let bytes = &clients.borrow().bytes;
        assert!(bytes.iter().all(|all| *all == bytes[0]), "everyone has as much as the others");
    }
    group.finish();
}
