//! Directed tests of the data plane: a node of the simulation, one or a few clients, and the exact
//! time and answer of each thing that happens. Chance is [`crate::sim`]'s.

mod comings;
mod commands;
mod contexts;
mod directed;
mod epochs;
mod fairness;
mod half_close;
mod held;
mod inquiries;
mod lives;
mod pause;
mod peer;
mod pipeline;
mod polled;
mod presence;
mod private;
mod rendered;
mod several;
mod slices;
mod slow;
mod stall;
mod upgraded;
mod views;
mod withheld;

use crate::sim::{lines, truth, wire, world};
