//! The threads of clients, as the run sees them: started, told, waited for, and asked at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::plan::{Driver, Plan};
use super::progress::{Ids, Progress, Waiter};
use super::request::Requests;
use super::shared::Shared;
use super::tally;
use super::worker::{Command, Worker, WorkerReport};
use crate::clock::Clock;
use crate::driver::Waker;
use crate::driver::dialing::{self, AvailableDriver, Kind};

/// Slots of a table beyond its clients: a slot is free again a moment after its socket was closed.
const SPARE_SLOTS: usize = 1_024;
/// Descriptors that the process needs beyond its clients.
const SPARE_DESCRIPTORS: usize = 64;
/// Slots of the largest table.
const TABLE_MAX: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(1);

struct Hand {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    thread: JoinHandle<WorkerReport>,
}

/// The threads of a run.
pub struct Crew {
    /// What they share with the run.
    pub shared: Arc<Shared>,
    /// Which driver they have, and what is to be said about it.
    pub kind: Kind,
    /// What should be said about the driver.
    pub advice: Option<String>,
    hands: Vec<Hand>,
    told: u64,
}

impl Crew {
    /// Starts as many threads as `plan` needs. Nobody connects yet.
    ///
    /// # Errors
    /// A sentence: the limits leave no room, and which to raise.
    pub fn start(plan: Plan) -> Result<Self, String> {
        let limit = raise_limit();
        let everyone = plan.everyone() as usize;
        let per_ring = limit.min(TABLE_MAX).saturating_sub(SPARE_SLOTS.min(limit / 2)).max(1);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let crowd = plan.clients() as usize;
        let threads = plan.threads.unwrap_or_else(|| crowd.div_ceil(per_ring).max(cores / 2));
        let threads = threads.clamp(1, crowd);
        let each = crowd.div_ceil(threads);
        let threads = threads + usize::from(plan.mode.has_lone());
        let capacity = (each + SPARE_SLOTS).min(limit).min(TABLE_MAX);
        let AvailableDriver { kind, entries, advice } = match plan.driver {
            Driver::Epoll => AvailableDriver::epoll(None),
            Driver::Auto => dialing::find(capacity, threads)?,
            Driver::Uring => match dialing::find(capacity, threads)? {
                AvailableDriver { kind: Kind::Epoll, advice, .. } => {
                    return Err(advice.unwrap_or_else(|| "io_uring is not there".into()));
                }
                found => found,
            },
        };
        let room =
            if kind == Kind::Uring { capacity } else { limit.saturating_sub(SPARE_DESCRIPTORS) };
        let wanted = if kind == Kind::Uring { each } else { everyone };
        if wanted > room {
            return Err(format!(
                "{wanted} clients do not fit where {room} do: with io_uring a thread holds as many \
                 as `ulimit -n` says, so use more --threads; with epoll all do together, so raise \
                 it"
            ));
        }
        let run = getrandom::u32().map_err(|error| format!("no randomness: {error}"))?;
        let shared = Arc::new(Shared {
            requests: Requests::new(&plan),
            plan,
            run,
            clock: Clock::start(),
            ids: Ids::default(),
            progress: (0..threads).map(|_| Progress::default()).collect(),
            waiter: Waiter::this_thread(),
        });
        let mut crew = Self { shared, kind, advice, hands: Vec::new(), told: 0 };
        for number in 0..threads {
            crew.hire(number, entries, capacity)?;
        }
        Ok(crew)
    }

    fn hire(&mut self, number: usize, entries: usize, capacity: usize) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("thread {number} cannot start: {error}");
        let waker = Waker::new().map_err(failed)?;
        let (commands, orders) = unbounded();
        let (ready, is_ready) = bounded(1);
        let (shared, watched, kind) = (Arc::clone(&self.shared), Arc::clone(&waker), self.kind);
        let name = format!("clients-{number}");
        let work = move || match dialing::open(kind, entries, watched, capacity) {
            Ok(driver) => {
                let worker = Worker::new(shared, number, driver, orders);
                let _ = ready.send(Ok(()));
                worker.run()
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                WorkerReport::default()
            }
        };
        let thread = thread::Builder::new().name(name).spawn(work).map_err(failed)?;
        self.hands.push(Hand { commands, waker, thread });
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))
            .map_err(failed)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.hands.len()
    }

    /// Gives all threads a command and waits until they have obeyed.
    pub fn tell(&mut self, command: Command) {
        self.told += 1;
        for hand in &self.hands {
            // A thread that panicked is told of at the end.
            let _ = hand.commands.send(command);
            hand.waker.wake();
        }
        let obeyed = |progress: &Progress| progress.obeyed.load(Relaxed) >= self.told;
        while !self.shared.progress.iter().all(obeyed)
            && !self.hands.iter().any(|hand| hand.thread.is_finished())
        {
            thread::sleep(PAUSE);
        }
    }

    /// The sum of a number over all threads.
    pub fn sum(&self, number: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.shared.progress.iter().map(|progress| number(progress).load(Relaxed)).sum()
    }

    /// The first sequence that not all main clients have.
    pub fn incomplete(&self) -> u32 {
        let all = self.shared.progress.iter();
        all.map(|progress| progress.incomplete.load(Relaxed)).min().unwrap_or(0)
    }

    /// Ends the threads; what they saw. `last` is what was published last, by stream.
    ///
    /// # Errors
    /// A thread panicked, which is a bug of ours.
    pub fn finish(self, last: [u32; 2]) -> Result<WorkerReport, String> {
        for hand in &self.hands {
            let _ = hand.commands.send(Command::Finish(last));
            hand.waker.wake();
        }
        let mut all: Option<WorkerReport> = None;
        for hand in self.hands {
            let outcome = hand
                .thread
                .join()
                .map_err(|_| "a thread of clients failed, which is a bug here")?;
            match &mut all {
                None => all = Some(outcome),
                Some(all) => {
                    for (mine, theirs) in all.tallies.iter_mut().zip(outcome.tallies) {
                        mine.merge(theirs);
                    }
                    match (&mut all.arrivals, outcome.arrivals) {
                        (Some(mine), Some(theirs)) => mine.merge(theirs),
                        (None, theirs) => all.arrivals = theirs,
                        (Some(_), None) => {}
                    }
                    tally::add(&mut all.failures, outcome.failures);
                }
            }
        }
        Ok(all.unwrap_or_default())
    }
}

/// Raises the limit of descriptors to what is allowed; what it is then.
fn raise_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it fails, the limit stays what it is, and is read below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.map_or(TABLE_MAX, |limit| limit as usize)
}
