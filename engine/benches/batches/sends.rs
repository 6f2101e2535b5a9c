//! Sends that share one call into the kernel, beside the loop of `send(2)` that has one each.

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use fanfare::driver::epoll::Epoll;
use fanfare::driver::uring::Uring;
use fanfare::driver::{Driver, Event, Outgoing, Token};

use crate::sockets::{Clients, config, uring_works};

const SOCKETS: usize = 1_000;
const BYTES: usize = 128;
/// The ring has 1,024 entries, some of which are for other work.
const SIZES: [usize; 7] = [16, 32, 64, 128, 256, 512, 1_000];

/// One send of 128 bytes to each of 1,000 sockets.
pub(crate) fn per_enter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sends per enter");
    group.throughput(Throughput::Elements(SOCKETS as u64));
    let mut rig = Rig::new(|config| Epoll::new(config).expect("epoll works everywhere"));
    rig.measure(&mut group, BenchmarkId::from_parameter("send(2)"));
    drop(rig);
    if !uring_works() {
        return group.finish();
    }
    let mut rig = Rig::new(|config| Uring::new(config).expect("it was tried"));
    for size in SIZES {
        rig.driver.set_sends_per_enter(size);
        rig.measure(&mut group, BenchmarkId::from_parameter(size));
    }
    group.finish();
}

struct Rig<D> {
    driver: D,
    tokens: Vec<Token>,
    clients: Clients,
    rounds: u64,
}

impl<D: Driver> Rig<D> {
    fn new(make: impl FnOnce(fanfare::driver::DriverConfig) -> D) -> Self {
        let (config, address) = config(SOCKETS);
        let mut driver = make(config);
        driver.set_accepting(true);
        let (mut events, mut tokens) = (Vec::new(), Vec::new());
        let mut accept = |timeout: Duration| {
            driver.poll(Some(timeout), &mut events);
            tokens.extend(events.drain(..).filter_map(|event| match event {
                Event::Accepted { token, .. } => Some(token),
                _ => None,
            }));
            tokens.len()
        };
        let clients = Clients::connect(address, SOCKETS, || {
            accept(Duration::ZERO);
        });
        while accept(Duration::from_millis(100)) < SOCKETS {}
        Self { driver, tokens, clients, rounds: 0 }
    }

    fn measure(&mut self, group: &mut BenchmarkGroup<'_, WallTime>, name: BenchmarkId) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| self.round()).sum());
        });
    }

    fn round(&mut self) -> Duration {
        self.rounds += 1;
        let message = format!("{:.<BYTES$}", self.rounds).into_bytes();
        let send = |token: &Token| Outgoing { token: *token, bytes: &message };
        let sends: Vec<_> = self.tokens.iter().map(send).collect();
        let mut exceptions = Vec::new();
        let began = Instant::now();
        self.driver.send_batch(&sends, &mut exceptions);
        let took = began.elapsed();
        assert_eq!(exceptions, [], "sockets that are drained take all");
        self.clients.hear(&message);
        took
    }
}
