//! Directed tests of the data plane: a node of the simulation, one or a few clients, and the exact
//! time and answer of each thing that happens. Chance is [`crate::sim`]'s.

mod comings;
mod commands;
mod directed;
mod epochs;
mod fairness;
mod half_close;
mod held;
#[path = "../../../tests/support/lines.rs"]
mod lines;
mod lives;
mod pause;
mod peer;
mod pipeline;
mod presence;
mod private;
mod rendered;
mod several;
mod slices;
mod slow;
mod stall;
mod views;
mod withheld;

use crate::sim::{truth, wire, world};

/// What the test's client protocol knows of the engine.
mod door {
    pub(super) use crate::session_id::SessionId;
    pub(super) use crate::transport::door::{Door, Errand, Hold};
}
