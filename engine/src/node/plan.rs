//! How many shards, and how many connections each may hold.
//!
//! The table of a ring is capped by the open files limit *per ring*, so more shards hold more
//! connections than that limit says; with epoll every connection is a descriptor of the process.

use super::settings::Settings;
use crate::error::StartError;

/// Places of each shard beyond its connections: for saying no to those that come when it is full.
pub const RESERVE: usize = 64;
/// Most shards: the width of the ring's interest mask.
pub const SHARDS_MAX: usize = 64;
/// Most places of one ring's table (`IORING_MAX_FIXED_FILES`).
pub const TABLE_MAX: usize = 1 << 20;
/// Descriptors that the rest of the process needs beside publishers: rings, listeners, wakers, API.
const DESCRIPTORS_KEPT: usize = 512;

/// How the connections are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many shards.
    pub shards: usize,
    /// Places of each shard's table.
    pub capacity: usize,
    /// Connections of all shards together.
    pub connections: usize,
}

/// What this process may use.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// The open files limit.
    pub descriptors: usize,
    /// Whether a ring has a table of its own (`uring`).
    pub tables: bool,
}

/// Spreads the connections over the shards.
///
/// # Errors
/// [`StartError::Config`] where the machine cannot hold so many: what would have to be raised.
pub fn plan(settings: &Settings, machine: Machine) -> Result<Plan, StartError> {
    let per_ring = machine.descriptors.min(TABLE_MAX);
    let kept = DESCRIPTORS_KEPT + settings.limits.publishers;
    let wanted = settings.limits.connections;
    let needed = if machine.tables && settings.connections_asked {
        wanted.div_ceil(per_ring.saturating_sub(RESERVE).max(1))
    } else {
        1
    };
    let shards = settings.shards.unwrap_or(machine.cores.max(needed)).clamp(1, SHARDS_MAX);
    let capacity =
        if machine.tables { per_ring } else { machine.descriptors.saturating_sub(kept) / shards };
    let held = capacity.saturating_sub(RESERVE) * shards;
    if held == 0 {
        return Err(StartError::Config(format!(
            "the open files limit of this process is {}, which leaves no room for connections: \
             raise it to at least {} (`ulimit -n`, systemd LimitNOFILE=)",
            machine.descriptors,
            kept + (RESERVE + 1) * shards
        )));
    }
    if !settings.connections_asked {
        return Ok(Plan { shards, capacity, connections: held });
    }
    if wanted > held {
        return Err(too_many(settings, machine, shards, held));
    }
    // The kernel spreads clients by a hash, not evenly: a shard may get more than its share.
    let share = wanted.div_ceil(shards) * 5 / 4 + 2 * RESERVE;
    Ok(Plan { shards, capacity: capacity.min(share.max(RESERVE + 1)), connections: wanted })
}

/// How many rings are to be made, as far as it can be told before it is known that rings can be.
pub fn shards(settings: &Settings, machine: Machine) -> usize {
    plan(settings, Machine { tables: true, ..machine }).map_or(1, |plan| plan.shards)
}

/// The smallest open files limit under which the connections that were asked for have room. With
/// tables a limit above [`TABLE_MAX`] helps no further: there more shards do.
pub fn descriptors_needed(settings: &Settings, machine: Machine) -> usize {
    let wanted = settings.limits.connections;
    if machine.tables {
        return wanted.div_ceil(settings.shards.unwrap_or(SHARDS_MAX)) + RESERVE;
    }
    let shards = settings.shards.unwrap_or(machine.cores).clamp(1, SHARDS_MAX);
    DESCRIPTORS_KEPT + settings.limits.publishers + shards * (wanted.div_ceil(shards) + RESERVE)
}

fn too_many(settings: &Settings, machine: Machine, shards: usize, held: usize) -> StartError {
    let wanted = settings.limits.connections;
    let limit = descriptors_needed(settings, machine);
    let raise = if machine.tables {
        let more = wanted.div_ceil(machine.descriptors.min(TABLE_MAX) - RESERVE);
        let by_shards =
            if more <= SHARDS_MAX { format!(", or use --shards {more}") } else { String::new() };
        format!(
            "raise the open files limit to {limit} (`ulimit -n`, LimitNOFILE={limit}){by_shards}"
        )
    } else {
        format!(
            "raise the open files limit to {limit} (`ulimit -n`, LimitNOFILE={limit}), or allow \
             io_uring, which holds connections outside that limit"
        )
    };
    StartError::Config(format!(
        "max_connections is {wanted}, but {shards} shards under an open files limit of {} hold \
         {held}: {raise}",
        machine.descriptors
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Machine = Machine { cores: 2, descriptors: 20_000, tables: true };

    fn planned(
        connections: Option<usize>,
        shards: Option<usize>,
        machine: Machine,
    ) -> Result<Plan, StartError> {
        let mut settings = Settings::on_loopback();
        settings.shards = shards;
        settings.connections_asked = connections.is_some();
        settings.limits.connections = connections.unwrap_or(10_000);
        plan(&settings, machine)
    }

    #[test]
    fn the_default_is_what_the_cores_hold() {
        let plan = planned(None, None, HERE).unwrap();
        assert_eq!(plan, Plan { shards: 2, capacity: 20_000, connections: 2 * 19_936 });
    }

    #[test]
    fn six_shards_hold_a_hundred_thousand_under_twenty_thousand_descriptors() {
        let plan = planned(Some(100_000), None, HERE).unwrap();
        assert_eq!((plan.shards, plan.connections), (6, 100_000));
        assert!(plan.capacity <= 20_000);
    }

    #[test]
    fn an_explicit_number_of_shards_wins_and_is_told_when_it_is_too_small() {
        let error = planned(Some(100_000), Some(2), HERE).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let text = error.to_string();
        assert!(text.contains("hold 39872") && text.contains("--shards 6"), "{text}");
        assert!(text.contains("LimitNOFILE=50064"), "{text}");
    }

    #[test]
    fn epoll_shares_one_limit() {
        let epoll = Machine { tables: false, ..HERE };
        let plan = planned(None, None, epoll).unwrap();
        assert_eq!(plan.shards, 2);
        assert!(plan.connections + 2 * RESERVE + DESCRIPTORS_KEPT <= 20_000);
        let text = planned(Some(100_000), None, epoll).unwrap_err().to_string();
        assert!(text.contains("allow io_uring"), "{text}");
    }

    #[test]
    fn the_limit_that_is_named_is_enough_and_one_less_is_not() {
        for tables in [true, false] {
            for (wanted, shards) in [(100_001, None), (2_000_000, None), (99_999, Some(7))] {
                let mut settings = Settings::on_loopback();
                (settings.shards, settings.connections_asked) = (shards, true);
                settings.limits.connections = wanted;
                let machine = Machine { cores: 3, descriptors: 0, tables };
                let descriptors = descriptors_needed(&settings, machine);
                let with = |descriptors| plan(&settings, Machine { descriptors, ..machine });
                assert!(with(descriptors).is_ok(), "{wanted} {shards:?} {tables}");
                assert!(with(descriptors - 1).is_err(), "{wanted} {shards:?} {tables}");
            }
        }
    }

    #[test]
    fn no_room_at_all_is_said() {
        let tiny = Machine { descriptors: 64, tables: false, ..HERE };
        assert!(planned(None, None, tiny).unwrap_err().to_string().contains("ulimit -n"));
    }
}
