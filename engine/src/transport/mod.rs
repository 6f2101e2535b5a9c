//! Transports: protocol events to and from sessions.
