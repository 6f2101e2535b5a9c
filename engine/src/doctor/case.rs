//! What a judgement looks at.

use super::facts::Facts;
use crate::node::Settings;
use crate::node::plan::{Machine, Plan};

/// A node with these settings on this machine.
pub(super) struct Case<'a> {
    pub(super) settings: &'a Settings,
    pub(super) facts: &'a Facts,
    /// Whether connections are held in tables of rings, outside of the process's descriptors.
    pub(super) tables: bool,
    /// The plan, or why there is none.
    pub(super) plan: Result<Plan, String>,
    /// Connections that are judged.
    pub(super) connections: usize,
}

impl Case<'_> {
    pub(super) fn machine(&self) -> Machine {
        machine(self.facts, self.tables)
    }
}

pub(super) fn machine(facts: &Facts, tables: bool) -> Machine {
    Machine { cores: facts.cores, descriptors: facts.descriptors, tables }
}
