//! Tests of the sequencer as a whole.

mod epochs;
mod limits;
mod model;
mod node;
mod oracle;
mod replicas;
mod resuming;
mod several;
mod stepping;

pub(super) use node::message;
