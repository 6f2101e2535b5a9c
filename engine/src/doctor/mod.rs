//! Will this machine hold it? `fanfare doctor` says so before clients do.
//!
//! Two halves that never mix: [`collect`] reads what is ([`Facts`]: `/proc`, `/sys`, limits,
//! whether io_uring and the addresses can be had) and judges nothing; everything else judges facts
//! and reads nothing, so that a container, an old kernel or a full conntrack table is one line of a
//! test.
//!
//! What is judged is what `serve` would start from the same settings: its own plan of shards, its
//! own choice of a driver, its own sentence for an address that is taken.

mod case;
pub mod collect;
pub mod facts;
pub mod finding;
mod memory;
mod network;
mod places;
pub mod report;
mod uring;
mod ways_in;

use crate::node::Settings;
use crate::node::plan::{self, Plan};
use case::{Case, machine};
use facts::Facts;
use finding::{Finding, Verdict};
use memory::Estimate;

/// What became of an examination.
#[derive(Debug)]
pub struct Report {
    /// Connections that were judged: those asked for, or as many as the node would hold.
    pub connections: usize,
    /// `uring` or `epoll`: what `serve` would run.
    pub driver: &'static str,
    /// How the connections are spread; `None` where they cannot be.
    pub plan: Option<Plan>,
    /// Memory that they take.
    pub estimate: Estimate,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a node with these settings starts here and holds its connections.
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Fails)
    }
}

/// Judges a machine by its facts.
pub fn judge(settings: &Settings, facts: &Facts) -> Report {
    let tables = uring::usable(facts);
    let plan = plan::plan(settings, machine(facts, tables)).map_err(|error| error.to_string());
    let connections = plan.as_ref().map_or(settings.limits.connections, |plan| plan.connections);
    let case = Case { settings, facts, tables, plan, connections };
    let estimate = memory::estimate(&case);
    let mut findings = vec![uring::kernel(&case), uring::ring(&case)];
    findings.extend(places::judge(&case));
    findings.extend(memory::judge(&case, &estimate));
    findings.extend(network::judge(&case));
    findings.extend(ways_in::judge(&case));
    Report {
        connections,
        driver: if tables { "uring" } else { "epoll" },
        plan: case.plan.ok(),
        estimate,
        findings,
    }
}
