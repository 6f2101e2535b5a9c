//! What the operating system is asked beside sockets: turns of the processor, facts of the machine.

pub mod machine;
pub mod turns;
