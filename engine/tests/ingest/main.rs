//! The Unix socket as a publisher meets it: a real socket in a directory of its own, a stand-in
//! sequencer behind. The rows D1 to D8 of bad input each have their case.

#[path = "../support/publisher.rs"]
mod publisher;
#[path = "../stand_in/mod.rs"]
mod stand_in;
#[path = "../support/step_timer.rs"]
mod step_timer;

mod file;
mod hostile;
mod node;
mod publishing;
mod sessions;
