//! What a world has said to those outside of it, as one number: two runs of one seed are the same
//! run when they have the same.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock::Millis;

/// A running digest.
#[derive(Clone, Debug)]
pub(crate) struct Trace(DefaultHasher);

impl Trace {
    /// Nothing was said.
    pub(crate) fn new() -> Self {
        Self(DefaultHasher::new()) // always the same keys, unlike a hash table's
    }

    /// This was said at that time.
    pub(crate) fn note(&mut self, now: Millis, said: &[u8]) {
        (now, said).hash(&mut self.0);
    }

    /// The number.
    pub(crate) fn digest(&self) -> u64 {
        self.0.finish()
    }
}
