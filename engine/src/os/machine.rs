//! What the machine says in `/proc`: CPU and memory of processes, the kernel's memory, drops.
//!
//! Nothing here is needed for a run; what cannot be read is not reported.

use std::collections::HashMap;
use std::fs;

/// CPU of one process, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// By thread: running, and waiting for a core.
    threads: HashMap<u32, (u64, u64)>,
}

impl Cpu {
    /// Of the process with this id.
    pub fn of(pid: u32) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let threads = tasks.filter_map(|task| {
            let task = task.ok()?.path();
            let thread = task.file_name()?.to_str()?.parse().ok()?;
            // "run wait slices", in nanoseconds (the kernel's sched-stats.rst).
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
            Some((thread, (numbers.next()?, numbers.next()?)))
        });
        Some(Self { threads: threads.collect() })
    }

    /// Of this process.
    pub fn own() -> Self {
        Self::of(std::process::id()).unwrap_or_default()
    }

    /// Nanoseconds on a core since `before`. Threads that ended meanwhile are missing.
    pub fn ran_since(&self, before: &Self) -> u64 {
        self.since(before).map(|(ran, _)| ran).sum()
    }

    /// The longest that one thread ran or wanted to run since `before`, in nanoseconds.
    pub fn busiest_since(&self, before: &Self) -> u64 {
        self.since(before).map(|(ran, waited)| ran + waited).max().unwrap_or(0)
    }

    fn since(&self, before: &Self) -> impl Iterator<Item = (u64, u64)> {
        self.threads.iter().map(|(thread, (ran, waited))| {
            let (ran_before, waited_before) = before.threads.get(thread).copied().unwrap_or((0, 0));
            (ran.saturating_sub(ran_before), waited.saturating_sub(waited_before))
        })
    }
}

/// The proportional set size of a process in bytes: shared pages by halves (proc(5)).
pub fn pss_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// Memory of the kernel's own structures in bytes: sockets of both ends, where both are here.
pub fn slab_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "Slab:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Packets that found `netdev_max_backlog` full since the machine started.
pub fn backlog_drops() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat").ok()?;
    let drops = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    text.lines().map(drops).sum()
}

/// What kind of machine this is, for the record.
pub fn facts() -> serde_json::Value {
    let read = |path: &str| {
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    serde_json::json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "nofile": limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen() {
        let before = Cpu::own();
        let mut sum = 0u64;
        for nth in 0..30_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(nth * nth));
        }
        let after = Cpu::own();
        let ran = after.ran_since(&before);
        assert!(ran > 1_000_000, "{ran} ns for 30 million steps ({sum})");
        let busiest = after.busiest_since(&before);
        assert!(busiest > 1_000_000, "{busiest}");
        assert!(Cpu::of(u32::MAX).is_none());
    }

    #[test]
    fn numbers_are_read_from_their_lines() {
        let text = "MemTotal:  9 kB\nSlab:        1234 kB\nSlabX: 1 kB\n";
        assert_eq!(kilobytes(text, "Slab:"), Some(1234 * 1024));
        assert_eq!(kilobytes(text, "Pss:"), None);
        assert!(pss_bytes(std::process::id()).is_some_and(|bytes| bytes > 4096));
    }
}
