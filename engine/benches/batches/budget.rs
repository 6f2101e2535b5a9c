//! How much a shard does before it turns to something else, over the `uring` driver.

use std::io::Read;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::driver::uring::Uring;
use fanfare::shard::tick_budget::TickBudget;
use fanfare_protocol::ws::Opcode;
use fanfare_protocol::ws::header::write_header;

use crate::node::{Node, upgrade};
use crate::sockets::{Clients, config, uring_works};

const CROWD: usize = 2_000;
const BYTES: usize = 128;
const QUANTA: [usize; 6] = [32, 64, 128, 256, 512, 1_024];
const BATCHES: [usize; 3] = [1, 2, 4];
const RECEIVES: [usize; 4] = [16, 64, 256, 1_024];

/// A crowd that follows one channel, and a client that follows another alone.
struct Rig {
    node: Node<Uring>,
    crowd: Clients,
    one: Clients,
    rounds: u64,
}

impl Rig {
    fn new() -> Self {
        let (config, address) = config(CROWD + 1);
        let mut node = Node::new(Uring::new(config).expect("it was tried"), CROWD + 1);
        let mut crowd = Clients::connect(address, CROWD, || node.tick());
        let mut one = Clients::connect(address, 1, || {});
        crowd.say(upgrade("bench").as_bytes());
        one.say(upgrade("one").as_bytes());
        node.settle(CROWD as u64 + 1);
        for clients in [&mut crowd, &mut one] {
            clients.hear_head("HTTP/1.1 101 ");
            clients.0.iter().for_each(|socket| socket.set_nodelay(true).unwrap());
        }
        Self { node, crowd, one, rounds: 0 }
    }

    /// The next message, and its frame.
    fn message(&mut self) -> (String, Vec<u8>) {
        self.rounds += 1;
        let text = format!("{:.<BYTES$}", self.rounds);
        let mut frame = Vec::new();
        write_header(Opcode::Text, BYTES, &mut frame);
        frame.extend_from_slice(text.as_bytes());
        (text, frame)
    }

    /// Until a message has reached the crowd.
    fn broadcast(&mut self) -> Duration {
        let (text, frame) = self.message();
        self.node.publish("bench", [text]);
        let before = self.node.numbers().deliveries.read();
        let began = Instant::now();
        self.node.deliver(before, CROWD as u64);
        let took = began.elapsed();
        self.crowd.hear(&frame);
        took
    }

    /// Until a message has reached the one, published when a broadcast was a tick old.
    fn beside(&mut self) -> Duration {
        let (text, all) = self.message();
        let before = self.node.numbers().deliveries.read();
        self.node.publish("bench", [text]);
        self.node.tick();
        let sent = self.node.numbers().deliveries.read() - before;
        assert!(sent > 0 && sent < CROWD as u64, "{sent} in the first tick: nothing to wait for");
        let (text, frame) = self.message();
        self.node.publish("one", [text]);
        let mut bytes = vec![0; frame.len()];
        let socket = &mut self.one.0[0];
        socket.set_nonblocking(true).expect("a socket can be told not to wait");
        let began = Instant::now();
        let took = loop {
            self.node.tick();
            if let Ok(count) = socket.read(&mut bytes) {
                assert!(count == frame.len() && bytes == frame, "the one got something else");
                break began.elapsed();
            }
        };
        self.node.deliver(before, CROWD as u64 + 1);
        self.crowd.hear(&all);
        took
    }

    /// Until the pings of a whole crowd have been read and answered.
    fn pings(&mut self) -> Duration {
        self.crowd.say(&[0x89, 0x80, 0, 0, 0, 0]);
        let before = self.node.numbers().sends.read();
        let began = Instant::now();
        while self.node.numbers().sends.read() - before < CROWD as u64 {
            self.node.tick();
        }
        let took = began.elapsed();
        self.crowd.hear(&[0x8a, 0]);
        took
    }
}

/// What a quantum and the number of batches cost a broadcast, and how long they make another wait.
pub(crate) fn sweep(criterion: &mut Criterion) {
    if !uring_works() {
        return;
    }
    let mut rig = Rig::new();
    let quantum = |quantum| TickBudget { quantum, ..TickBudget::DEFAULT };
    let batches = |batches| TickBudget { batches, ..TickBudget::DEFAULT };
    for (name, sizes, budget) in [
        ("quantum", &QUANTA[..], &quantum as &dyn Fn(usize) -> TickBudget),
        ("batches per tick", &BATCHES[..], &batches),
    ] {
        let mut group = criterion.benchmark_group(format!("{name}, broadcast to 2,000"));
        group.throughput(Throughput::Elements(CROWD as u64));
        for &size in sizes {
            rig.node.set_budget(budget(size));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| rig.broadcast()).sum());
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group(format!("{name}, one client beside it"));
        for &size in sizes {
            rig.node.set_budget(budget(size));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| rig.beside()).sum());
            });
        }
        group.finish();
    }
}

/// What the number of receives of one tick costs when everyone speaks.
pub(crate) fn reading(criterion: &mut Criterion) {
    if !uring_works() {
        return;
    }
    let mut rig = Rig::new();
    let mut group = criterion.benchmark_group("receives per tick, 2,000 pings");
    group.throughput(Throughput::Elements(CROWD as u64));
    for receives in RECEIVES {
        rig.node.set_budget(TickBudget { receives, ..TickBudget::DEFAULT });
        group.bench_function(BenchmarkId::from_parameter(receives), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| rig.pings()).sum());
        });
    }
    group.finish();
}
