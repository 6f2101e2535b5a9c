//! The publish API as a backend meets it: a real server on a free port, raw sockets in front, a
//! stand-in sequencer behind.

#[path = "../stand_in/mod.rs"]
mod stand_in;

mod client;
mod connections;
mod encoding;
mod hostile;
mod keys;
mod publishing;
mod reading;
