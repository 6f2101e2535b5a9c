//! What is on its way to one client: what only it gets, and how it takes what it is sent.

use super::flow::Flow;
use super::outbox::Outbox;
use crate::clock::Millis;

/// The way.
#[derive(Debug)]
pub(crate) struct Line {
    /// What only it gets; `None` while that is nothing.
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) flow: Flow,
}

impl Line {
    /// Nothing was sent yet.
    pub(super) fn new(now: Millis) -> Self {
        Self { outbox: None, flow: Flow::new(now) }
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
