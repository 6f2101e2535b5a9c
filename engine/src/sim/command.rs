//! The command `fanfare-sim`: plays seeds as fast as it can, and says how to play a failed one
//! again.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use clap::Parser;

use super::canary::Canary;
use super::identities::{self, IdentitiesPlayed, Slip};
use super::play::{Played, play};
use super::replay_command;
use crate::clock::Clock;

/// Milliseconds between two looks at how far it is.
const PROGRESS_MS: u64 = 200;

/// Plays whole Fanfare nodes under chance, and checks every promise at every client.
///
/// Each seed is one world: a sequencer, one to four shards, publishers, and clients that lag, stop
/// reading, give commands, break off and come back, over a simulated network and under limits as
/// small as chance makes them. Nothing of it depends on the machine or on time, so a seed that
/// fails once fails always: the command that plays it again is printed, and the exit code is 1.
#[derive(Parser, Debug)]
#[command(name = "fanfare-sim", version)]
struct Arguments {
    /// Seeds to play: from A up to B, which is not played itself.
    #[arg(long, value_name = "A..B", default_value = "1..1001", value_parser = seeds)]
    seeds: Range<u64>,
    /// Play this one alone, and say what came of it: a failure, or its counts and its trace, which
    /// is the same number in every run.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// With --seed: what each client's connection is, whenever the node is at rest.
    #[arg(long, requires = "seed")]
    verbose: bool,
    /// Have the clients tell themselves this lie about what they read: every world in which there
    /// is something to lie about fails, or the checker is deaf.
    #[arg(long)]
    lie: Option<Canary>,
    /// Play worlds of several tenants instead, whose clients have tokens that expire, are refreshed
    /// and revoked, while rules and keys change.
    #[arg(long, conflicts_with_all = ["lie", "verbose"])]
    identities: bool,
    /// With --identities: have each world make this mistake in the node's place, which is to be
    /// found.
    #[arg(long, requires = "identities")]
    slip: Option<Slip>,
    /// Worlds to play side by side, each on a thread of its own; one for each core if not given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Reads `A..B`.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let read = || {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    };
    let seeds: Range<u64> = read().ok_or("two numbers with two dots between, as 1..1001")?;
    if seeds.is_empty() {
        return Err("there is no seed in it: the second number is the greater one".into());
    }
    Ok(seeds)
}

/// What came of a seed; nothing where a promise was broken.
type PlayedSeed = (u64, Option<Played>);

/// Which worlds are played.
#[derive(Clone, Copy)]
struct Worlds {
    identities: bool,
    slip: Option<Slip>,
    lie: Option<Canary>,
    verbose: bool,
}

impl Worlds {
    /// Plays a seed; a panic has said already what was broken.
    fn outcome(self, seed: u64) -> PlayedSeed {
        let Self { identities, slip, lie, verbose } = self;
        let played = std::panic::catch_unwind(|| {
            if !identities {
                return play(seed, lie, verbose);
            }
            // A new token is a command of its client's, and what it may not is an answer, too.
            let IdentitiesPlayed { heard, refreshed, denied, trace } = identities::play(seed, slip);
            Played { heard, gaps: 0, answers: refreshed + denied, trace }
        });
        (seed, played.ok())
    }

    /// What plays one of them again.
    fn replay_command(self, seed: u64) -> String {
        replay_command(seed) + if self.identities { " --identities" } else { "" }
    }
}

/// Plays what the command line asks for.
pub fn main() -> ExitCode {
    let Arguments { seeds, seed, verbose, lie, identities, slip, jobs } = Arguments::parse();
    let worlds = Worlds { identities, slip, lie, verbose };
    let failed = match seed {
        Some(seed) => play_one(seed, worlds),
        None => play_all(seeds, worlds, jobs),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn play_one(seed: u64, worlds: Worlds) -> bool {
    match worlds.outcome(seed).1 {
        Some(Played { heard, gaps, answers, trace }) => {
            println!(
                "seed {seed}: {heard} messages heard, {gaps} gaps and {answers} answers told, \
                 trace {trace:016x}"
            );
            false
        }
        None => {
            println!("seed {seed} breaks a promise: see above");
            true
        }
    }
}

fn play_all(seeds: Range<u64>, worlds: Worlds, jobs: Option<usize>) -> bool {
    let jobs = jobs.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let next = AtomicU64::new(seeds.start);
    let (tell, hear) = channel();
    thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(1).max(1) {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || work(next, seeds.end, worlds, &tell));
        }
        drop(tell);
        report(&hear, seeds.end - seeds.start, worlds)
    })
}

/// Takes the next seed until there is none.
fn work(next: &AtomicU64, end: u64, worlds: Worlds, tell: &Sender<PlayedSeed>) {
    loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= end || tell.send(worlds.outcome(seed)).is_err() {
            return;
        }
    }
}

/// Hears of every seed: one line that grows on a terminal, and the counts at the end.
fn report(hear: &Receiver<PlayedSeed>, seeds: u64, worlds: Worlds) -> bool {
    let (clock, is_terminal) = (Clock::start(), std::io::stderr().is_terminal());
    let (mut played, mut heard, mut gaps, mut answers) = (0, 0, 0, 0);
    let mut failed = Vec::new();
    let mut shown = clock.now();
    for (seed, outcome) in hear {
        played += 1;
        match outcome {
            Some(one) => {
                (heard, gaps) = (heard + one.heard, gaps + one.gaps);
                answers += one.answers;
            }
            None => {
                println!("seed {seed} breaks a promise. Again: {}", worlds.replay_command(seed));
                failed.push(seed);
            }
        }
        if is_terminal && (clock.now().since(shown) >= PROGRESS_MS || played == seeds) {
            shown = clock.now();
            eprint!("\r{played} of {seeds} seeds, {} failed", failed.len());
            let _ = std::io::stderr().flush();
        }
    }
    if is_terminal {
        eprintln!();
    }
    let seconds = clock.now().0 as f64 / 1_000.0;
    let told = format!("{gaps} gaps and {answers} answers told");
    println!("{played} seeds in {seconds:.1} s: {heard} messages heard, {told}");
    if !failed.is_empty() {
        failed.sort_unstable();
        println!("{} failed: {failed:?}", failed.len());
    }
    !failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_seeds_is_read_and_an_empty_one_is_refused() {
        assert_eq!(seeds("3..5"), Ok(3..5));
        for bad in ["", "3", "3..", "a..b", "3..=5", "5..3", "3..3"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_and_failures_are_told() {
        let (tell, hear) = channel();
        tell.send((1, Some(Played::default()))).expect("it is heard");
        tell.send((2, None)).expect("it is heard");
        drop(tell);
        let worlds = Worlds { identities: false, slip: None, lie: None, verbose: false };
        assert!(report(&hear, 2, worlds), "a failed seed fails the command");
    }
}
