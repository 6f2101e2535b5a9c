//! Where a client wants to begin, as the order understands it: the order knows no time of day.

use fanfare_protocol::since;

use crate::clock::{Millis, Wall};
use crate::sequencer::command::Since;

/// What was asked for at `now`, by the time of day that `wall` says.
pub fn by_own_time(asked: since::Since, wall: Wall, now: Millis) -> Since {
    match asked {
        since::Since::Now => Since::Now,
        since::Since::Unreadable => Since::Unreadable,
        since::Since::After(id) => Since::After(id),
        since::Since::Offset(offset, life) => Since::Offset(offset, life),
        since::Since::Earliest => Since::Earliest,
        since::Since::Last(count) => Since::Last(count),
        since::Since::Ago(ms) => Since::Time(Millis(now.0.saturating_sub(ms))),
        since::Since::At(unix_ms) => {
            Since::Time(match wall.unix_millis(now).checked_sub(unix_ms) {
                Some(ago) => Millis(now.0.saturating_sub(ago)),
                None => now.plus(1), // is to come: nothing was published then
            })
        }
    }
}
