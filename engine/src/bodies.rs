//! The memory of request bodies, on whichever listener: one budget of the node.
//!
//! A body is read whole before anything is done with it, so whoever begins one and does not end it
//! holds memory for as long as its deadline is. Each byte is paid for when it came, before it is
//! kept; a declared length costs nothing, or it would be the cheapest way to use the budget up.
//! Strangers may have half of it, so that backends can publish whatever the public listener is
//! sent.

use std::sync::Arc;

use crate::budget::{self, Budget};
use crate::limits::Limits;

/// What all bodies hold together.
#[derive(Debug, Default)]
pub struct Bodies {
    budget: Arc<Budget>,
}

/// Who sends a body: how much of the budget it may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySender {
    /// Anyone, on the public listener.
    Stranger,
    /// A backend, on the API.
    Backend,
}

impl BodySender {
    /// Up to where this one may fill the budget.
    fn limit(self, limits: &Limits) -> usize {
        match self {
            Self::Stranger => limits.bodies_bytes / 2,
            Self::Backend => limits.bodies_bytes,
        }
    }
}

impl Bodies {
    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.budget.held() as u64
    }

    /// Bodies that were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.budget.refused()
    }

    /// Whether a body of this length would have room now; one that would not is counted. Nothing is
    /// set aside for it.
    pub fn has_room(&self, bytes: usize, payer: BodySender, limits: &Limits) -> bool {
        self.budget.has_room(bytes, payer.limit(limits))
    }
}

/// One body's part of the budget. Dropping it gives it back.
#[derive(Debug, Default)]
pub struct BodyShare(budget::BudgetShare);

impl BodyShare {
    /// Pays for so many bytes more; whether there was room. Where there was not, nothing changes
    /// but the count of those refused.
    #[must_use]
    pub fn grow(
        &mut self,
        bodies: &Arc<Bodies>,
        bytes: usize,
        payer: BodySender,
        limits: &Limits,
    ) -> bool {
        self.0.grow(&bodies.budget, bytes, payer.limit(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_half_and_all_of_it_comes_back() {
        let limits = Limits { bodies_bytes: 1_000, ..Limits::default() };
        let bodies = Arc::new(Bodies::default());
        let (mut stranger, mut backend) = (BodyShare::default(), BodyShare::default());
        assert!(stranger.grow(&bodies, 500, BodySender::Stranger, &limits));
        assert!(!stranger.grow(&bodies, 1, BodySender::Stranger, &limits));
        assert!(bodies.has_room(500, BodySender::Backend, &limits));
        assert!(!bodies.has_room(501, BodySender::Backend, &limits));
        assert!(backend.grow(&bodies, 500, BodySender::Backend, &limits));
        assert!(!backend.grow(&bodies, usize::MAX, BodySender::Backend, &limits));
        assert_eq!((bodies.held(), bodies.refused()), (1_000, 3));
        drop(stranger);
        assert!(backend.grow(&bodies, 500, BodySender::Backend, &limits));
        drop(backend);
        assert_eq!(bodies.held(), 0);
    }
}
