//! Memory that many hold and that is bounded together: what all hold, and the part of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What all hold together. How much that may be is said by whoever pays: a rule of its own for each
/// budget ([`crate::bodies`], [`crate::in_flight`]).
#[derive(Debug, Default)]
pub struct Budget {
    held: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// How often there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Takes so many bytes, if all together then hold `limit` at most; whether there was room.
    /// Where there was not, nothing changes but the count of those refused.
    #[must_use]
    pub fn take(&self, bytes: usize, limit: usize) -> bool {
        let taken = self.held.fetch_update(Relaxed, Relaxed, |held| {
            held.checked_add(bytes).filter(|held| *held <= limit)
        });
        if taken.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
        taken.is_ok()
    }

    /// Gives so many of the bytes that were taken back.
    pub fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    /// Whether so many bytes more would keep within `limit` now; where they would not, that is
    /// counted. Nothing is set aside.
    pub fn has_room(&self, bytes: usize, limit: usize) -> bool {
        let fits = bytes <= limit.saturating_sub(self.held());
        self.refused.fetch_add(u64::from(!fits), Relaxed);
        fits
    }
}

/// One's part of a budget. Dropping it gives it back.
#[derive(Debug, Default)]
pub struct BudgetShare {
    of: Option<Arc<Budget>>,
    bytes: usize,
}

impl BudgetShare {
    /// Pays for so many bytes more, as [`Budget::take`].
    #[must_use]
    pub fn grow(&mut self, of: &Arc<Budget>, bytes: usize, limit: usize) -> bool {
        let paid = of.take(bytes, limit);
        if paid {
            self.of.get_or_insert_with(|| Arc::clone(of));
            self.bytes += bytes;
        }
        paid
    }

    /// Makes it so many bytes, whatever others hold: for what is there already.
    pub fn set(&mut self, of: &Arc<Budget>, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        if bytes > self.bytes {
            of.held.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            of.give_back(self.bytes - bytes);
        }
        self.of.get_or_insert_with(|| Arc::clone(of));
        self.bytes = bytes;
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_pay_at_once_never_take_more_than_there_is() {
        let budget = Arc::new(Budget::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let mut share = BudgetShare::default();
                        while share.grow(&budget, 7, 1_000) {
                            assert!(budget.held() <= 1_000);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_is_there_already_is_counted_and_given_back() {
        let budget = Arc::new(Budget::default());
        let mut share = BudgetShare::default();
        share.set(&budget, 70);
        assert!(!share.grow(&budget, 31, 100) && share.grow(&budget, 30, 100));
        share.set(&budget, 20);
        assert!(budget.has_room(80, 100) && !budget.has_room(81, 100));
        assert_eq!((budget.held(), budget.refused()), (20, 2));
        drop(share);
        assert_eq!(budget.held(), 0);
    }
}
