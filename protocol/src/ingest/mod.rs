//! The publish protocol of the Unix socket.
