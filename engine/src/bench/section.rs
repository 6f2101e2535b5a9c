//! The part of a run that is measured, by what was counted when it began and when it ended.

use crate::os::machine::Cpu;

/// The measured part of a run.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) began: u64,
    pub(super) own: Cpu,
    pub(super) server: Option<Cpu>,
    pub(super) drops: Option<u64>,
    pub(super) nanos: u64,
    pub(super) delivered: u64,
    pub(super) own_nanos: u64,
    pub(super) busiest_nanos: u64,
    pub(super) server_nanos: Option<u64>,
    pub(super) dropped: Option<u64>,
}
