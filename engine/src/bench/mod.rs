//! `fanfare bench`: the load generator. It measures Fanfare and its rivals with one tool.
//!
//! **The idea.** Every message carries a `probe`: a sequence and the time when it was meant to be
//! sent. Whatever envelope a server puts round it, a client finds the probe again, so loss,
//! duplicates, disorder and latency are counted alike for WebSocket, SSE and long-poll, in every
//! mode and for every server.
//!
//! ```text
//!  run (this thread)        publisher --> the server --> clients of thread 0   worker
//!    a mode tells           probes                       clients of thread 1   worker
//!    everyone what to do                                 ...
//!    and waits              progress <------------------ numbers of each thread
//! ```
//!
//! A `worker` has a driver of its own, so on io_uring its sockets are no descriptors and a
//! process holds more of them than `RLIMIT_NOFILE`. A client costs this process about 300 bytes.
//!
//! A run goes: connect, *roll call* (messages until each client has had one, so that nobody has to
//! believe a server that says it has subscribed), then the mode, then waiting until all have all,
//! then the count. The contract with a server is: every client that connects is in the channel, and
//! a publish reaches all.

// What is cut by a receive is rare, and there are as many places for it as clients: a pointer of 8
// bytes in each, not a vector of 24.
#![allow(clippy::box_collection)]

mod arrivals;
mod channels;
mod clients;
mod connection;
mod crew;
mod ledger;
mod measure;
mod modes;
pub mod plan;
pub mod plot;
mod probe;
mod progress;
mod publish;
mod read;
pub mod report;
mod request;
mod run;
mod scan;
mod section;
mod shared;
pub mod table;
mod tally;
pub mod target;
mod worker;

pub use plan::Plan;
pub use report::Report;

/// Runs `plan` to its end. `show`: progress goes to standard error.
///
/// # Errors
/// A sentence: why there is no result. What a server did wrong is in the result.
pub fn run(plan: Plan, show: bool) -> Result<Report, String> {
    plan.check()?;
    match plan.mode {
        plan::Mode::Channels => channels::run(&plan, show),
        _ => measure::whole_run(plan, show),
    }
}
