//! Puts another context in the place of the one that shards serve by, and wakes them for it.

use std::sync::Arc;

use crate::authority::Authority;
use crate::os::waker::Waker;
use crate::transport::{Context, ContextSlot};

/// Whoever may change what clients are judged by has one.
#[derive(Clone)]
pub struct ContextPost {
    pub(super) contexts: Arc<ContextSlot>,
    pub(super) wakers: Arc<[Arc<Waker>]>,
}

impl ContextPost {
    /// The context that there is.
    pub fn context(&self) -> Arc<Context> {
        self.contexts.context()
    }

    /// Another one, made of the one before. Everybody who is here is asked again by it.
    pub fn replace(&self, make: impl FnOnce(&Context) -> Context) {
        self.contexts.replace(|before| Arc::new(make(before)));
        self.wakers.iter().for_each(|waker| waker.wake());
    }

    /// Another authority, where there is one.
    pub fn change_authority(&self, change: impl FnOnce(&mut Authority)) {
        self.replace(|before| {
            let authority = before.authority.as_deref().cloned();
            let authority = authority.map(|mut authority| {
                change(&mut authority);
                Arc::new(authority)
            });
            Context { authority, ..before.clone() }
        });
    }

    /// Everybody who is here is asked again: something was revoked.
    pub fn ask_again(&self) {
        self.replace(Context::clone);
    }
}

impl std::fmt::Debug for ContextPost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextPost").finish_non_exhaustive()
    }
}
