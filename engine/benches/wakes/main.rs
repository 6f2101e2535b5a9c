//! What it costs to wake a shard that sleeps in its ring, three ways: the eventfd that the engine
//! uses, a `MSG_RING` from a ring of the sender's own, and the same message without a ring
//! (`IORING_REGISTER_SEND_MSG_RING`, Linux 6.13).
//!
//! One thread wakes, one sleeps, and the next wake waits until the sleeper really sleeps, as the
//! parker has it: one wake for each park. Told are what the waking call costs its sender, how long
//! the sleeper takes to be back, and the CPU time of the sleeper for each wake, which other load on
//! the machine disturbs least.
//!
//!     cargo bench -p fanfare --bench wakes
//!
//! `cargo test --benches` runs a few of each and checks that every wake ended one sleep.

mod ring;

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::driver::Waker;
use ring::{Sender, Sleeper};

/// How long a sleeper that has said that it will sleep needs to do so.
const FALL_ASLEEP: Duration = Duration::from_micros(150);
/// A sleep that does not end is a lost wake.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Eventfd,
    MessageFromRing,
    MessageWithoutRing,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Eventfd, "eventfd, watched, never read"),
    (Way::MessageFromRing, "MSG_RING from a ring"),
    (Way::MessageWithoutRing, "SEND_MSG_RING, no ring"),
];

/// What both threads see.
struct Meeting {
    start: Instant,
    /// How many sleeps have begun, and ended.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Nanoseconds after `start` at which the last one ended.
    back: AtomicU64,
    /// The sleeper's ring; 0 until there is one, below 0 for the errno why there is none.
    ring: AtomicI32,
}

/// Nanoseconds for each wake.
#[derive(Default)]
struct Costs {
    sender: Vec<u64>,
    latency: Vec<u64>,
    sleeper_cpu: u64,
}

fn main() {
    // What `cargo bench` passes; without it this is a test.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, wakes) = if is_bench { (15, 1_000) } else { (1, 50) };
    let mut costs: [Costs; WAYS.len()] = Default::default();
    // Round by round, so that what disturbs one way disturbs the others.
    for _ in 0..rounds {
        for ((way, name), costs) in WAYS.into_iter().zip(&mut costs) {
            if let Err(error) = run(way, wakes, costs) {
                println!("{name}: not possible here: {error}");
            }
        }
    }
    println!("{} wakes each; nanoseconds, median (lowest tenth)", rounds * wakes);
    let [one, two, three] = ["call", "latency", "CPU of sleeper"];
    println!("{:<30} {one:>18} {two:>18} {three:>14}", "way");
    for ((_, name), costs) in WAYS.into_iter().zip(&mut costs) {
        let count = costs.sender.len() as u64;
        if count == 0 {
            continue;
        }
        println!(
            "{name:<30} {:>18} {:>18} {:>14}",
            spread(&mut costs.sender),
            spread(&mut costs.latency),
            costs.sleeper_cpu / count
        );
    }
}

fn spread(times: &mut [u64]) -> String {
    times.sort_unstable();
    format!("{} ({})", times[times.len() / 2], times[times.len() / 10])
}

/// Wakes a sleeper so many times.
fn run(way: Way, wakes: u64, costs: &mut Costs) -> io::Result<()> {
    let waker = Waker::new()?;
    let meeting = Arc::new(Meeting {
        start: Instant::now(),
        begun: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        back: AtomicU64::new(0),
        ring: AtomicI32::new(0),
    });
    let sleeper = thread::spawn({
        let (meeting, waker) = (Arc::clone(&meeting), Arc::clone(&waker));
        move || sleep(way, wakes, &meeting, &waker)
    });
    let ring = loop {
        match meeting.ring.load(SeqCst) {
            0 => thread::yield_now(),
            failed if failed < 0 => return sleeper.join().expect("it only failed").map(|_| ()),
            ring => break ring,
        }
    };
    let mut sender = Sender::new()?;
    let mut one = || wake(way, &waker, &mut sender, ring);
    for nth in 0..wakes {
        wait_for("the sleeper sleeps", || meeting.begun.load(SeqCst) > nth);
        thread::sleep(FALL_ASLEEP);
        let began = meeting.start.elapsed();
        if let Err(error) = one() {
            waker.wake(); // by the way that always works, so that nobody sleeps for ever
            meeting.ended.store(u64::MAX, SeqCst);
            let _ = sleeper.join();
            return Err(error);
        }
        let called = meeting.start.elapsed();
        wait_for("the sleeper is back", || meeting.ended.load(SeqCst) > nth);
        let latency = meeting.back.load(SeqCst) - began.as_nanos() as u64;
        costs.sender.push((called - began).as_nanos() as u64);
        costs.latency.push(latency);
    }
    costs.sleeper_cpu += sleeper.join().expect("the sleeper ends")?;
    Ok(())
}

fn wake(way: Way, waker: &Waker, sender: &mut Sender, ring: RawFd) -> io::Result<()> {
    match way {
        Way::Eventfd => {
            waker.wake();
            Ok(())
        }
        Way::MessageFromRing => sender.wake(ring),
        Way::MessageWithoutRing => ring::wake_without_ring(ring),
    }
}

/// The sleeper's thread; gives the CPU time that it used.
fn sleep(way: Way, wakes: u64, meeting: &Meeting, waker: &Waker) -> io::Result<u64> {
    let made = Sleeper::new();
    let number = made.as_ref().map_or_else(
        |error| -error.raw_os_error().unwrap_or(libc::EIO),
        |sleeper| sleeper.number(),
    );
    let mut sleeper = made.inspect_err(|_| meeting.ring.store(number, SeqCst))?;
    sleeper.watch(waker);
    meeting.ring.store(number, SeqCst);
    let before = cpu_nanos();
    for nth in 0..wakes {
        meeting.begun.store(nth + 1, SeqCst);
        let woken = sleeper.sleep()?;
        meeting.back.store(meeting.start.elapsed().as_nanos() as u64, SeqCst);
        if meeting.ended.load(SeqCst) == u64::MAX {
            return Ok(0); // the sender gave up
        }
        assert_eq!(woken, 1, "one wake ends one sleep, by {way:?}");
        meeting.ended.store(nth + 1, SeqCst);
    }
    Ok(cpu_nanos() - before)
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        thread::yield_now();
    }
}

/// CPU time of this thread, in user and kernel together: `schedstat`'s first number.
fn cpu_nanos() -> u64 {
    let line = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time");
    let first = line.split(' ').next().and_then(|number| number.parse().ok());
    first.expect("schedstat begins with nanoseconds")
}
