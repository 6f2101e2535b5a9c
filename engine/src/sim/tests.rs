//! Every promise holds in some worlds, the oracle hears each kind of lie, and a seed is one run.

use std::process::Command;

use super::canary::Canary;
use super::play::{Played, play};
use super::replay_command;

/// Seeds of an ordinary `cargo test`.
const SEEDS: u64 = 120;

/// Plays a seed; a failure says how to play it again.
fn replayable(seed: u64) -> Played {
    let result = std::panic::catch_unwind(|| play(seed, None, false));
    result.unwrap_or_else(|panic| {
        eprintln!("{}", replay_command(seed));
        std::panic::resume_unwind(panic)
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn sim_every_promise_holds() {
    let first = number("FANFARE_SEED_FIRST").unwrap_or(1);
    let seeds = number("FANFARE_SEEDS").unwrap_or(SEEDS);
    let (mut heard, mut gaps, mut answers) = (0, 0, 0);
    for seed in first..first + seeds {
        let played = replayable(seed);
        heard += played.heard;
        gaps += played.gaps;
        answers += played.answers;
    }
    println!("{seeds} seeds: {heard} messages heard, {gaps} gaps announced, {answers} answers");
    assert!(answers > 10 * seeds, "commands are answered: {answers}");
    assert!(heard > 100 * seeds && gaps > seeds / 2, "the worlds are not idle: {heard} {gaps}");
}

#[test]
fn sim_the_oracle_hears_every_lie() {
    let lies = [
        Canary::Lose,
        Canary::Double,
        Canary::Swap,
        Canary::WrongOffset,
        Canary::Flip,
        Canary::GapTooLong,
        Canary::LoseSlow,
        Canary::OtherChannel,
        Canary::LoseEpoch,
        Canary::WrongOutcome,
        Canary::WrongTicket,
        Canary::LoseOldest,
        Canary::OneTooOld,
        Canary::ForgetKey,
        Canary::LoseAnswer,
        Canary::AnswerTwice,
    ];
    let heard = |lie| {
        (1..30).any(|seed| std::panic::catch_unwind(|| play(seed, Some(lie), false)).is_err())
    };
    let missed: Vec<Canary> = lies.into_iter().filter(|lie| !heard(*lie)).collect();
    assert_eq!(missed, []);
}

const TRACES: &str = "FANFARE_SIM_TRACES";

/// In processes of their own, whose hash tables have other seeds and whose memory lies elsewhere.
#[test]
fn sim_a_seed_is_one_run_in_every_process() {
    let traces = || (1..10).map(|seed| format!("trace {:016x}", play(seed, None, false).trace));
    if std::env::var_os(TRACES).is_some() {
        return traces().for_each(|trace| println!("\n{trace}"));
    }
    let told = || {
        let this = "sim::tests::sim_a_seed_is_one_run_in_every_process";
        let mut other = Command::new(std::env::current_exe().expect("a test binary"));
        let output = other.args(["--exact", this, "--nocapture"]).env(TRACES, "").output();
        let said = String::from_utf8(output.expect("it runs").stdout).expect("text");
        let lines = said.lines().filter(|line| line.starts_with("trace "));
        lines.map(String::from).collect::<Vec<_>>()
    };
    let here: Vec<String> = traces().collect();
    assert_eq!((told(), told()), (here.clone(), here));
}

/// On two threads, whose hash tables have other seeds.
#[test]
fn sim_a_seed_is_one_run() {
    for seed in 1..20 {
        let once = std::thread::spawn(move || play(seed, None, false)).join().expect("it holds");
        assert_eq!(play(seed, None, false), once, "seed {seed}");
    }
}
