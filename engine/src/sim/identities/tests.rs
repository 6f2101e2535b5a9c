//! Nothing crosses between tenants and nobody stays who may not, in any world; and a world that
//! makes such a mistake is found.

use super::play::{IdentitiesPlayed, play};
use super::world::Slip;

/// Seeds of an ordinary `cargo test`.
const SEEDS: u64 = 40;
/// Within so many a mistake is found.
const FOUND_WITHIN: u64 = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn replayable(seed: u64) -> IdentitiesPlayed {
    std::panic::catch_unwind(|| play(seed, None)).unwrap_or_else(|panic| {
        eprintln!("{} --identities", crate::sim::replay_command(seed));
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn sim_identities_hear_what_they_may_and_nothing_else() {
    let first = number("FANFARE_SEED_FIRST").unwrap_or(1);
    let seeds = number("FANFARE_SEEDS").unwrap_or(SEEDS);
    let (mut heard, mut refreshed, mut denied) = (0, 0, 0);
    for seed in first..first + seeds {
        let played = replayable(seed);
        heard += played.heard;
        refreshed += played.refreshed;
        denied += played.denied;
    }
    println!("{seeds} seeds: {heard} messages heard, {refreshed} refreshed, {denied} denied");
    assert!(heard > 100 * seeds && refreshed > seeds && denied > 5 * seeds, "worlds are not idle");
}

#[test]
fn sim_identities_find_a_leak_and_a_grant_that_is_kept() {
    for slip in [Slip::ForgetsTenant, Slip::AsksNobody] {
        let finds = |seed: &u64| std::panic::catch_unwind(|| play(*seed, Some(slip))).is_err();
        let found = (1..=FOUND_WITHIN).find(finds);
        println!("{slip:?} is found by seed {found:?}");
        let seed = found.unwrap_or_else(|| panic!("{slip:?} is not found"));
        replayable(seed); // which holds without it
    }
}

#[test]
fn sim_identities_are_one_run_by_seed() {
    for seed in 1..4 {
        let once = std::thread::spawn(move || play(seed, None)).join().expect("it holds");
        assert_eq!(play(seed, None), once, "seed {seed}");
    }
}
