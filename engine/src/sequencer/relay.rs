//! What one shard sends to another. It goes through inbox and ring like any reply, so it is counted
//! where all that waits for the order is counted, and it keeps its place among all that the order
//! tells. Only the shards know what is in it.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A parcel on its way. It belongs to whoever takes it out; where nobody does, because the order or
/// the shard has ended, it is dropped with the entry that it came in.
pub struct Relay {
    /// Which shard it is for.
    pub to: u8,
    /// Bytes that it holds.
    pub bytes: usize,
    parcel: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Relay {
    /// For this shard; holds so many bytes.
    pub fn new(to: u8, bytes: usize, parcel: impl Any + Send) -> Self {
        Self { to, bytes, parcel: Mutex::new(Some(Box::new(parcel))) }
    }

    /// Takes out what is in it; once.
    pub fn take<P: Any>(&self) -> Option<P> {
        let parcel = self.parcel.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        parcel.downcast().ok().map(|parcel| *parcel)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({} bytes to shard {})", self.bytes, self.to)
    }
}
