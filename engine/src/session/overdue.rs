//! A deadline that is over, and whose fault that is.

use super::heard::Heard;
use crate::clock::Millis;
use crate::driver::Close;

/// How often a client is looked at whose time is over while we have not come to read it, or to
/// write to it.
pub(super) const RECHECK_MS: u64 = 100;

/// What becomes of a client whose deadline is over.
#[derive(Debug)]
pub(super) enum Overdue {
    /// Its time is not over yet, or it is we who are late: it is looked at then.
    LookAgain(Millis),
    /// A stream was looked after: this is what its client has said, or not said in time.
    Heard(Heard),
    /// Its time is over.
    End(Close),
    /// It takes nothing of what it is sent.
    Stalled,
    /// It has left the live window of a channel that closes for that.
    Slow,
    /// No whole request came.
    NoRequest,
    /// Who it is was not to be learnt in time.
    Unnamed,
}
