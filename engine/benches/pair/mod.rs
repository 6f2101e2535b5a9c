//! What benchmarks of two threads share: one sleeps in a ring or a driver, the other waits until it
//! really does and then does what is measured.
#![allow(dead_code)] // each benchmark uses its part

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::IoUring;

/// How long a thread that has said that it will sleep needs to do so.
pub const FALL_ASLEEP: Duration = Duration::from_micros(150);
/// What does not come about within this never will: a wake or a socket is lost.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What both threads see.
pub struct Meeting {
    start: Instant,
    /// How many sleeps have begun.
    asleep: AtomicU64,
    /// How many times the sleeper was told of what it waits for, and when last: nanoseconds after
    /// `start`.
    told: AtomicU64,
    at: AtomicU64,
    /// The sleeper's ring; 0 until there is one, below 0 where there will be none.
    ring: AtomicI32,
}

impl Meeting {
    /// Nobody sleeps yet.
    pub fn new() -> Self {
        let (asleep, told, at) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { start: Instant::now(), asleep, told, at, ring: AtomicI32::new(0) }
    }

    /// The time, for both threads.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The sleeper falls asleep for this one.
    pub fn sleeps(&self, nth: u64) {
        self.asleep.store(nth + 1, SeqCst);
    }

    /// The other thread waits until it really sleeps.
    pub fn wait_for_sleep(&self, nth: u64) {
        wait_for("the other sleeps", || self.asleep.load(SeqCst) > nth);
        thread::sleep(FALL_ASLEEP);
    }

    /// The sleeper is told now.
    pub fn notes_time(&self) {
        self.at.store(self.now().as_nanos() as u64, SeqCst);
    }

    /// The sleeper has done what belongs to this one, and goes on to the next.
    pub fn is_done(&self, nth: u64) {
        self.told.store(nth + 1, SeqCst);
    }

    /// The other thread waits until the sleeper was told: nanoseconds since it `began`.
    pub fn wait_until_told(&self, nth: u64, began: Duration) -> u64 {
        wait_for("the other is told", || self.told.load(SeqCst) > nth);
        self.at.load(SeqCst) - began.as_nanos() as u64
    }

    /// No more will be sent.
    pub fn give_up(&self) {
        self.told.store(u64::MAX, SeqCst);
    }

    /// Whether the other thread has given up.
    pub fn is_given_up(&self) -> bool {
        self.told.load(SeqCst) == u64::MAX
    }

    /// The sleeper has its ring, or has failed to get one.
    pub fn tell_ring(&self, ring: Option<i32>) {
        self.ring.store(ring.unwrap_or(-1), SeqCst);
    }

    /// Waits for the sleeper's ring; `None` where there is none.
    pub fn ring(&self) -> Option<i32> {
        wait_for("the other has its ring", || self.ring.load(SeqCst) != 0);
        Some(self.ring.load(SeqCst)).filter(|ring| *ring > 0)
    }
}

/// Waits for the other thread, and not for ever.
pub fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        thread::yield_now();
    }
}

/// A ring with the driver's set-up.
pub fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_no_sqarray()
        .setup_submit_all()
        .setup_cqsize(1_024)
        .build(64)
}

/// Runs every way in rounds, so that what disturbs one of them disturbs the others. `each` is how
/// often in `cargo bench`, and as a test.
pub fn rounds<C: Default, const N: usize>(
    ways: &[(&str, impl Fn(u64, &mut C) -> io::Result<()>); N],
    (rounds, times, as_a_test): (u64, u64, u64),
) -> (u64, [C; N]) {
    // What `cargo bench` passes; without it this is a test.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, times) = if is_bench { (rounds, times) } else { (1, as_a_test) };
    let mut costs = std::array::from_fn(|_| C::default());
    for _ in 0..rounds {
        for ((name, run), costs) in ways.iter().zip(&mut costs) {
            if let Err(error) = run(times, costs) {
                println!("{name}: not possible here: {error}");
            }
        }
    }
    (rounds * times, costs)
}

/// The median, and the lowest tenth.
pub fn spread(times: &mut [u64]) -> String {
    times.sort_unstable();
    format!("{} ({})", times[times.len() / 2], times[times.len() / 10])
}

/// CPU time of this thread, in user and kernel together, to the nanosecond: `schedstat` is only as
/// young as the thread's last turn.
#[allow(unsafe_code)]
pub fn cpu_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into a value that outlives the call.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(told, 0, "Linux counts CPU time");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
