//! Where shards find another context when there is one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Context;

/// The context of a node, to be replaced while it runs. Shards look at a number in each tick, and
/// at the context when that has changed.
#[derive(Debug)]
pub struct ContextSlot {
    /// How often it was replaced.
    revision: AtomicU32,
    context: Mutex<Arc<Context>>,
}

impl ContextSlot {
    /// It is this.
    pub fn new(context: Arc<Context>) -> Self {
        Self { revision: AtomicU32::new(0), context: Mutex::new(context) }
    }

    /// The one that there is.
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in its place, made of the one before while nobody else makes one. Whoever
    /// does so wakes the shards.
    pub fn replace(&self, make: impl FnOnce(&Context) -> Arc<Context>) {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        *context = make(&context);
        // Relaxed: the lock orders what it guards, and a shard that reads an old number reads it
        // anew in its next tick, for which it is woken after this.
        self.revision.fetch_add(1, Ordering::Relaxed);
    }

    /// The one that there is, if it is another than at the revision `seen`, which becomes that.
    pub fn newer(&self, seen: &mut u32) -> Option<Arc<Context>> {
        let revision = self.revision.load(Ordering::Relaxed);
        if revision == *seen {
            return None;
        }
        *seen = revision;
        Some(self.context())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tenant;
    use crate::limits::Limits;

    #[test]
    fn each_reader_sees_the_newest_once() {
        let slot = ContextSlot::new(Arc::new(Context::new(Limits::default(), Tenant::default())));
        let (mut one, mut other) = (0, 0);
        assert!(slot.newer(&mut one).is_none());
        for key in [1, 2] {
            slot.replace(|before| {
                let origins_key = before.origins_key + key;
                Arc::new(Context { origins_key, ..before.clone() })
            });
        }
        assert_eq!(slot.newer(&mut one).map(|it| it.origins_key), Some(3));
        assert!(slot.newer(&mut one).is_none());
        assert_eq!(slot.newer(&mut other).map(|it| it.origins_key), Some(3));
    }
}
