//! What a token costs whoever checks it: one of each algorithm that is good, and those that are
//! refused as early as they can be.
//!
//! Each answer is held against what is expected before it is timed. `cargo test --benches` runs
//! each once, checks included.
//!
//!     cargo bench -p fanfare-identity [-- NAME]

#[path = "../tests/tokens/support.rs"]
#[allow(dead_code)] // the tests need more of it
mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fanfare_identity::keys::{Algorithm, KeySet, Verdict};

use support::{NOW_S, set, token};

fn checked(criterion: &mut Criterion, name: &str, set: &KeySet, token: &[u8], good: bool) {
    let is_known = || matches!(set.verify(token, NOW_S), Verdict::Known(_));
    assert_eq!(is_known(), good, "{name}");
    criterion.bench_function(name, |bencher| bencher.iter(|| black_box(set.verify(token, NOW_S))));
}

fn good(criterion: &mut Criterion) {
    for algorithm in Algorithm::ALL {
        let name = format!("verify/{algorithm}");
        checked(criterion, &name, &set(algorithm), token(algorithm).as_bytes(), true);
    }
}

fn bad(criterion: &mut Criterion) {
    let keys = set(Algorithm::Es256);
    let good = token(Algorithm::Es256);
    let forged = good.replace("eyJ", "eyI");
    for (name, token) in [
        ("refuse/no key of its algorithm", token(Algorithm::Rs256).into_bytes()),
        ("refuse/8 KiB of dots", vec![b'.'; 8 * 1024]),
        ("refuse/1 MiB", vec![b'a'; 1 << 20]),
        ("refuse/no header", forged.into_bytes()),
        ("refuse/another signature", good[..good.len() - 8].to_owned().into_bytes()),
    ] {
        checked(criterion, name, &keys, &token, false);
    }
}

criterion_group!(benches, good, bad);
criterion_main!(benches);
