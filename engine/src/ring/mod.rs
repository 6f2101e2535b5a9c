//! The broadcast ring.
