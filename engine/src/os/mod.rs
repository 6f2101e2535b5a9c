//! What the operating system is asked beside sockets: short slices of the processor, and facts of
//! the machine.

pub mod machine;
pub mod short_slices;
