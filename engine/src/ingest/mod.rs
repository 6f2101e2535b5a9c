//! Publishers on the Unix socket.

pub mod kind;
