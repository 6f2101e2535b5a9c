//! The sequencer: the one owner of channels and the one writer of the order.

pub mod command;
pub mod inbox;
