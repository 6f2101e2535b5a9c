//! A deadline that is over, and whose fault that is.

use crate::clock::Millis;
use crate::driver::Close;

/// How often a client is looked at whose time is over while we have not come to read it, or to
/// write to it.
pub(super) const RECHECK_MS: u64 = 100;

/// What becomes of a client whose deadline is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Its time is not over yet, or it is we who are late: it is looked at then.
    LookAgain(Millis),
    /// Its time is over.
    End(Close),
    /// It takes nothing of its answer.
    Stalled,
    /// No whole request came.
    NoRequest,
}
