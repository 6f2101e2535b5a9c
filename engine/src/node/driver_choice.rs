//! Which driver the shards of this node get, on this machine.

use super::plan;
use super::settings::{DriverChoice, Settings};
use crate::driver::choose;
use crate::error::StartError;

/// What the ladder came to.
pub(super) struct Chosen {
    pub(super) name: &'static str,
    /// Whether a ring has a table of its own.
    pub(super) tables: bool,
    /// Whether `uring` was wanted and cannot be used.
    pub(super) fallback: bool,
    /// Entries of each shard's ring.
    pub(super) entries: usize,
}

/// Chooses, and says so where it is not what was wanted.
pub(super) fn choose_driver(settings: &Settings) -> Result<Chosen, StartError> {
    let epoll = Chosen { name: "epoll", tables: false, fallback: false, entries: 0 };
    if settings.driver == DriverChoice::Epoll {
        return Ok(epoll);
    }
    let shards = plan::shards(settings, machine(true));
    match choose::probe(machine(true).descriptors, shards) {
        choose::Support::Uring { entries, advice } => {
            if let Some(advice) = advice {
                tracing::warn!("{advice}");
            }
            Ok(Chosen { name: "uring", tables: true, fallback: false, entries })
        }
        choose::Support::NoRoom(advice) => Err(StartError::Unavailable(advice)),
        choose::Support::Blocked(why) if settings.driver == DriverChoice::Uring => {
            Err(StartError::Unavailable(format!(
                "the driver uring was asked for and cannot be used: {why}"
            )))
        }
        choose::Support::Blocked(why) => {
            tracing::warn!(
                "io_uring cannot be used, so connections are served by epoll, which is slower and \
                 bounded by the open files limit: {why}"
            );
            Ok(Chosen { fallback: true, ..epoll })
        }
    }
}

/// What this process may use, with the limits that it has now.
pub(crate) fn machine(tables: bool) -> plan::Machine {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    plan::Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        descriptors: limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        tables,
    }
}
