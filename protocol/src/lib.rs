//! Fanfare's wire protocols, pure: bytes in, events and bytes out.
//!
//! Nothing here owns a socket, reads a clock, starts a thread or draws a random number; the caller
//! owns buffers, sockets and time. Every machine gives the same events however its input is cut,
//! and every limit is in [`limits`].
#![forbid(unsafe_code)]

mod cuts;
pub mod dialect;
pub mod framing;
pub mod http;
pub mod id;
pub mod ingest;
pub mod limits;
pub mod message;
pub mod names;
pub mod poll;
pub mod proxy;
mod reader;
pub mod record;
pub mod refusals;
pub mod since;
pub mod sse;
pub mod ws;
