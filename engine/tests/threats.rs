//! Bad input and the exact answer to it: what a stranger, a broken client or a careless operator
//! may send, against a real node on both drivers.
//!
//! The rows are named by what they are about (H: HTTP and upgrade, W: WebSocket frames, E: event
//! streams, L: long-poll, G: start and stop). Every case runs inside `site::Site::case`, after
//! which a canary is still served and every gauge is back where it was.
//!
//! Each row is one of `docs/THREATS.md`, which also names those that come with their feature.

mod support;

#[path = "threats/addresses.rs"]
mod addresses;
#[path = "threats/asking.rs"]
mod asking;
#[path = "threats/close.rs"]
mod close;
#[path = "threats/connections.rs"]
mod connections;
#[path = "threats/deadlines.rs"]
mod deadlines;
#[path = "threats/forwarded.rs"]
mod forwarded;
#[path = "threats/frames.rs"]
mod frames;
#[path = "threats/heads.rs"]
mod heads;
#[path = "threats/hosts.rs"]
mod hosts;
#[path = "threats/keep_alive.rs"]
mod keep_alive;
#[path = "threats/leaving.rs"]
mod leaving;
#[path = "threats/liveness.rs"]
mod liveness;
#[path = "threats/origins.rs"]
mod origins;
#[path = "threats/parameters.rs"]
mod parameters;
#[path = "threats/pipeline.rs"]
mod pipeline;
#[path = "threats/process.rs"]
mod process;
#[path = "threats/proxied.rs"]
mod proxied;
#[path = "threats/publish.rs"]
mod publish;
#[path = "threats/resume.rs"]
mod resume;
#[path = "threats/room.rs"]
mod room;
#[path = "threats/shutdown.rs"]
mod shutdown;
#[path = "threats/site.rs"]
mod site;
#[path = "threats/streams.rs"]
mod streams;
#[path = "threats/tokens.rs"]
mod tokens;
#[path = "threats/upgrade.rs"]
mod upgrade;
#[path = "threats/wire.rs"]
mod wire;
