//! The broadcast ring: what an entry costs its writer and each of its readers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use fanfare::ring::{Reader, Wake, Writer, ring};

const ENTRIES: usize = 1_024;
/// Entries between two publishes: about what a step of the sequencer writes under load.
const STEP: u64 = 64;

/// Readers here do not sleep, so nobody has to be woken.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {
        panic!("a reader that never parks is woken");
    }
}

fn of_readers(readers: usize) -> (Writer<u64>, Vec<Reader<u64>>) {
    let wakers = (0..readers).map(|_| Arc::new(Awake) as Arc<dyn Wake>).collect();
    ring(ENTRIES, 1 << 20, wakers)
}

/// Sum of the numbers from `from` up to `to`: what a reader that got each once has added up.
fn sum(from: u64, to: u64) -> u64 {
    (from + to - 1) * (to - from) / 2
}

/// Writes [`STEP`] entries for everyone, has them read, and lets go of them, on one thread.
pub(crate) fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring, one thread");
    group.throughput(Throughput::Elements(STEP));
    for readers in [1, 4] {
        let (mut writer, mut all) = of_readers(readers);
        let mut next = 0;
        group.bench_function(BenchmarkId::new("readers", readers), |bencher| {
            bencher.iter(|| {
                assert!(writer.has_room(STEP as usize, 8 * STEP as usize));
                (next..next + STEP).for_each(|number| writer.push(u64::MAX, 8, number));
                writer.publish();
                for reader in &mut all {
                    let mut got = 0;
                    assert_eq!(reader.drain(STEP as usize, |number| got += number), STEP as usize);
                    assert_eq!(got, sum(next, next + STEP), "each entry once");
                }
                next += STEP;
                assert_eq!(writer.release(), 0);
            });
        });
    }
    group.finish();
}

/// From a writer to readers on threads of their own, through a ring that is often full: the rate at
/// which an order can be handed over. More readers than cores take turns, which is then measured.
pub(crate) fn across_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring, across threads");
    group.throughput(Throughput::Elements(STEP));
    for readers in [1, 2] {
        group.bench_function(BenchmarkId::new("readers", readers), |bencher| {
            bencher.iter_custom(|steps| hand_over(readers, steps * STEP));
        });
    }
    group.finish();
}

fn hand_over(readers: usize, entries: u64) -> Duration {
    let (mut writer, all) = of_readers(readers);
    thread::scope(|scope| {
        let threads: Vec<_> =
            all.into_iter().map(|reader| scope.spawn(move || read(reader, entries))).collect();
        let began = Instant::now();
        for from in (0..entries).step_by(STEP as usize) {
            while !writer.has_room(STEP as usize, 8 * STEP as usize) {
                thread::yield_now();
            }
            (from..from + STEP).for_each(|number| writer.push(u64::MAX, 8, number));
            writer.publish();
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), sum(0, entries), "each entry once");
        }
        began.elapsed()
    })
}

fn read(mut reader: Reader<u64>, entries: u64) -> u64 {
    let (mut passed, mut got) = (0, 0);
    while passed < entries {
        let count = reader.drain(ENTRIES, |number| got += number);
        if count == 0 {
            thread::yield_now();
        }
        passed += count as u64;
    }
    got
}
