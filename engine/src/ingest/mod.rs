//! Publishers on the Unix socket.
