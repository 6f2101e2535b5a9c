//! Numbers that say why: [`RefusalCode`] for one message, [`ErrorCode`] for a whole connection,
//! [`GoodbyeCode`] for one that ends well.
//!
//! They follow HTTP where HTTP has a word for it: 4xx is not to be tried again unchanged, 429 and
//! 5xx are to be tried again later. A number that was ever given out is retired, never reused.

/// Why one message was refused. A client may meet numbers that it does not know: the family says
/// what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefusalCode(pub u16);

impl RefusalCode {
    /// The publisher may not publish there.
    pub const FORBIDDEN: Self = Self(403);
    /// The idempotency key was used with another message.
    pub const CONFLICT: Self = Self(409);
    /// The payload is longer than one message may be.
    pub const TOO_LARGE: Self = Self(413);
    /// The channel's name is not one.
    pub const BAD_CHANNEL: Self = Self(460);
    /// The event's name is not one.
    pub const BAD_EVENT: Self = Self(461);
    /// The idempotency key is empty or too long.
    pub const BAD_KEY: Self = Self(462);
    /// The payload is not what its kind says, or is empty.
    pub const BAD_DATA: Self = Self(463);
    /// A field that must be understood is not known here.
    pub const UNKNOWN_FIELD: Self = Self(464);
    /// What is excluded is not the origin of a connection.
    pub const BAD_EXCEPT: Self = Self(465);
    /// The channels are too many, or one stands among them twice.
    pub const BAD_CHANNELS: Self = Self(466);
    /// Too many messages: try again later.
    pub const RATE_LIMITED: Self = Self(429);
    /// The node's log has failed: whether the message was published is unknown, and nothing more
    /// will be there.
    pub const LOG_FAILED: Self = Self(500);
    /// The node is shutting down: try again, there or elsewhere.
    pub const SHUTTING_DOWN: Self = Self(503);
    /// The node keeps as many channels as it may: try again later.
    pub const CHANNEL_LIMIT: Self = Self(507);

    /// Whether the same message may be accepted later.
    pub fn may_retry(self) -> bool {
        self.0 == 429 || self.0 >= 500
    }
}

/// Why the server takes its leave of a publisher that did nothing wrong. It may come back at once;
/// what had no outcome is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GoodbyeCode(pub u16);

impl GoodbyeCode {
    /// Another epoch has begun: HELLO of the next connection names it.
    pub const EPOCH: Self = Self(205);
    /// The node shuts down.
    pub const RESTART: Self = Self(503);
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Bytes that are not this protocol; the offset says where.
    pub const MALFORMED: Self = Self(400);
    /// The process at the other end may not connect, or may not take this session up.
    pub const FORBIDDEN: Self = Self(403);
    /// Another connection has taken the session up.
    pub const SUPERSEDED: Self = Self(409);
    /// A frame was begun and not finished in time.
    pub const STALLED: Self = Self(408);
    /// A frame or batch over the limits that HELLO told.
    pub const TOO_LARGE: Self = Self(413);
    /// A version that is not spoken here.
    pub const BAD_VERSION: Self = Self(426);
    /// The publisher does not read what it is told.
    pub const NOT_READING: Self = Self(429);
    /// A fault of the server.
    pub const INTERNAL: Self = Self(500);
    /// As many publishers as there may be are connected.
    pub const NO_ROOM: Self = Self(503);
}
