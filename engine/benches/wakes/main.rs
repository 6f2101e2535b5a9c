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

#[path = "../pair/mod.rs"]
mod pair;
mod ring;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread;

use fanfare::driver::Waker;
use pair::{Meeting, cpu_nanos, rounds, spread};
use ring::{Sender, Sleeper};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Eventfd,
    MessageFromRing,
    MessageWithoutRing,
}

type Run = fn(u64, &mut Costs) -> io::Result<()>;

const WAYS: [(&str, Run); 3] = [
    ("eventfd, watched, never read", |wakes, costs| run(Way::Eventfd, wakes, costs)),
    ("MSG_RING from a ring", |wakes, costs| run(Way::MessageFromRing, wakes, costs)),
    ("SEND_MSG_RING, no ring", |wakes, costs| run(Way::MessageWithoutRing, wakes, costs)),
];

/// Nanoseconds for each wake.
#[derive(Default)]
struct Costs {
    sender: Vec<u64>,
    latency: Vec<u64>,
    sleeper_cpu: u64,
}

fn main() {
    let (wakes, mut costs) = rounds(&WAYS, (15, 1_000, 50));
    println!("{wakes} wakes each; nanoseconds, median (lowest tenth)");
    let [one, two, three] = ["call", "latency", "CPU of sleeper"];
    println!("{:<30} {one:>18} {two:>18} {three:>14}", "way");
    for ((name, _), costs) in WAYS.into_iter().zip(&mut costs) {
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

/// Wakes a sleeper so many times.
fn run(way: Way, wakes: u64, costs: &mut Costs) -> io::Result<()> {
    let waker = Waker::new()?;
    let meeting = Arc::new(Meeting::new());
    let sleeper = thread::spawn({
        let (meeting, waker) = (Arc::clone(&meeting), Arc::clone(&waker));
        move || sleep(way, wakes, &meeting, &waker)
    });
    let Some(ring) = meeting.ring() else {
        return sleeper.join().expect("it only failed").map(|_| ());
    };
    let mut sender = Sender::new()?;
    let mut one = || wake(way, &waker, &mut sender, ring);
    for nth in 0..wakes {
        meeting.wait_for_sleep(nth);
        let began = meeting.now();
        if let Err(error) = one() {
            meeting.give_up();
            waker.wake(); // by the way that always works, so that nobody sleeps for ever
            let _ = sleeper.join();
            return Err(error);
        }
        let called = meeting.now();
        costs.latency.push(meeting.wait_until_told(nth, began));
        costs.sender.push((called - began).as_nanos() as u64);
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
    let mut sleeper = made.inspect_err(|_| meeting.tell_ring(None))?;
    sleeper.watch(waker);
    meeting.tell_ring(Some(sleeper.number()));
    let before = cpu_nanos();
    for nth in 0..wakes {
        meeting.sleeps(nth);
        let woken = sleeper.sleep()?;
        meeting.notes_time();
        if meeting.is_given_up() {
            return Ok(0); // the sender gave up
        }
        assert_eq!(woken, 1, "one wake ends one sleep, by {way:?}");
        meeting.is_done(nth);
    }
    Ok(cpu_nanos() - before)
}
