//! The line to one client: who is at its end, what is on its way there for that client alone, and
//! how it takes what it is sent.

use std::sync::Arc;

use fanfare_identity::Identity;

use super::flow::Flow;
use super::outbox::Outbox;
use super::tenure::Tenure;

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Whom its client speaks for, where it has shown a token.
    pub(super) tenure: Option<Box<Tenure>>,
    /// What only it gets; `None` while that is nothing.
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) flow: Flow,
}

impl Line {
    /// Nothing was sent yet to a client of which nothing is known.
    pub(super) fn new(flow: Flow) -> Self {
        Self { tenure: None, outbox: None, flow }
    }

    /// Whom its client speaks for; `None` is nobody in particular.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.tenure.as_deref().map(Tenure::identity)
    }

    /// What only this client gets.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_deref()
    }

    /// The same, to be sent from, or to be given the rest of a frame that was begun.
    pub(crate) fn outbox_mut(&mut self) -> &mut Option<Box<Outbox>> {
        &mut self.outbox
    }

    /// Private bytes that wait.
    pub(super) fn private_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// Whether private bytes wait.
    pub(crate) fn has_private(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Whether there is no room for what it is sent, and a watch for it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flow.is_blocked()
    }
}
