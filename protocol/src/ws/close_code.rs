//! Status codes of close frames (RFC 6455, section 7.4).
//!
//! Codes of ours tell a client what to do: 44xx is not to be tried again unchanged, 45xx is to be
//! tried again, with backoff, resuming. A code that was ever given out keeps its meaning for good.

/// A status code of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Bytes that are not what they claim to be.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A limit that no other code names.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// A fault of ours.
    pub const INTERNAL: Self = Self(1011);
    /// The node restarts: connect again.
    pub const RESTART: Self = Self(1012);
    /// The node has no room: connect again later.
    pub const TRY_LATER: Self = Self(1013);
    /// Do not retry unchanged: a command that cannot be understood.
    pub const BAD_COMMAND: Self = Self(4400);
    /// Do not retry unchanged: the token is not good.
    pub const BAD_TOKEN: Self = Self(4401);
    /// Do not retry unchanged: not allowed.
    pub const FORBIDDEN: Self = Self(4403);
    /// Do not retry unchanged: no token came in time.
    pub const AUTH_TIMEOUT: Self = Self(4408);
    /// Do not retry unchanged: another connection took the place of this one.
    pub const SUPERSEDED: Self = Self(4409);
    /// Reconnect and resume: this node is draining.
    pub const DRAINING: Self = Self(4501);
    /// Reconnect and resume, with a new token: this one has expired.
    pub const TOKEN_EXPIRED: Self = Self(4505);
    /// Reconnect and resume: the client was too slow for its channels.
    pub const SLOW_CONSUMER: Self = Self(4508);
    /// Reconnect and resume: the node no longer knows where the client was.
    pub const POSITION_LOST: Self = Self(4510);
    /// Reconnect and resume: a ping of ours was not answered.
    pub const NO_PONG: Self = Self(4512);
    /// Reconnect and resume, slower: the client sent too much.
    pub const RATE_LIMITED: Self = Self(4529);

    /// The code with this number, where an endpoint may send it in a frame: 1000 to 1003, 1007 to
    /// 1014 (registered with IANA), 3000 to 4999. 1004 to 1006 and 1015 are reserved for what never
    /// is on the wire, the rest for later versions (section 7.4).
    pub fn from_wire(number: u16) -> Option<Self> {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_received() {
        // THREATS W14, number by number, against ranges written the other way round.
        for number in 0..=u16::MAX {
            let refused = number < 1000
                || (1004..=1006).contains(&number)
                || (1015..=2999).contains(&number)
                || number >= 5000;
            assert_eq!(CloseCode::from_wire(number).is_none(), refused, "{number}");
        }
    }
}
