//! Directed tests of the data plane: a node of the simulation, one or a few clients, and the exact
//! time and answer of each thing that happens. Chance is [`crate::sim`]'s.

mod comings;
mod commands;
mod directed;
mod epochs;
mod fairness;
mod half_close;
mod pause;
mod peer;
mod pipeline;
mod private;
mod several;
mod slices;
mod slow;
mod stall;
mod withheld;

use crate::sim::{truth, wire, world};
