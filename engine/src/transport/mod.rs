//! Transports: what a request asks for, and what is said to it. Pure: bytes in, bytes and decisions
//! out; [`crate::shard`] owns the connections.

pub mod claim;
mod context;
mod context_slot;
pub mod credential;
pub mod decision;
pub mod door;
mod errand;
pub mod event_stream;
pub mod follow_body;
pub mod follow_request;
pub mod input;
pub mod long_poll;
mod opening;
mod playground;
pub mod publish;
pub mod request;
pub mod since;
pub mod token_message;
pub mod token_request;
pub mod websocket;

pub use context::Context;
pub use context_slot::ContextSlot;
