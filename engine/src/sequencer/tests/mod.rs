//! Tests of the sequencer as a whole.

mod checkpoint;
mod epochs;
mod journal;
mod limits;
mod lives;
mod model;
mod node;
mod oracle;
mod presence;
mod replicas;
mod restoring;
mod resuming;
mod several;
mod slow_log;
mod stepping;

pub(super) use node::message;
