//! libfanfare: publishing for programs in other languages.
//!
//! Two ways with one set of calls. *Connected*: to a running Fanfare, over its Unix socket.
//! *Embedded*: the whole engine inside of this process.
//!
//! ```text
//!  C, Go, Python ── abi ── publisher ─┬─ connected ── a thread ── the socket of a server
//!                                     └─ embedded ─── the sequencer's inbox of a node in here
//! ```
//!
//! [`publisher`] is ordinary Rust and may be used as such. [`abi`] makes it a C library: handles,
//! pointers that are checked, panics that stay inside; it is the only part with `unsafe`.
//! `ffi/README.md` says what is promised.

pub mod abi;
pub mod code;
mod connected;
mod embedded;
pub mod outcome;
pub mod publisher;
mod terms;
