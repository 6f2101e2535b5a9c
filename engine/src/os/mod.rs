//! What the operating system is asked beside sockets: to wake a thread out of its sleep, short
//! slices of the processor, and facts of the machine.

pub mod coalescing_waker;
pub mod machine;
pub mod short_slices;
pub mod waker;
