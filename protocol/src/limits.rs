//! Every limit of the wire, with the relations between them checked when this is compiled.
//!
//! These are the defaults; a caller may pass [`HttpLimits`], [`WsLimits`] or [`IngestLimits`] of
//! its own.

/// Longest payload of one message. Odd on purpose: with its envelope it is a frame of 1 MiB at most
/// in every encoding, which is what the strictest of the common WebSocket clients take that do
/// not ask for less (Python's websockets, envelope included).
pub const MESSAGE_BYTES_DEFAULT: usize = 1_020 << 10;
/// The most that an encoding adds to a payload: names, id, offset, framing.
pub const ENVELOPE_BYTES_MAX: usize = 4 << 10;
/// Longest channel name in bytes of UTF-8.
pub const CHANNEL_NAME_BYTES_MAX: usize = 255;
/// Bytes of a view of a channel: the identifier of a client library with a signature has room.
pub const VIEW_BYTES_MAX: usize = 1_024;
/// Views of one channel that are rendered on one shard at a time.
pub const VIEWS_MAX: usize = 16;
/// Longest event name in bytes of UTF-8.
pub const EVENT_NAME_BYTES_MAX: usize = 255;
/// Longest idempotency key in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest `Last-Event-ID` that is looked at; a longer one is a gap and then live.
pub const LAST_EVENT_ID_BYTES_MAX: usize = 128;
/// Most messages in one poll answer.
pub const POLL_MESSAGES_MAX: usize = 1_000;
/// Most bytes of messages in one poll answer; one larger message is still given, alone.
pub const POLL_BYTES_MAX: usize = 1 << 20;
/// Longest `wait` of a poll, in seconds; more is clamped.
pub const POLL_WAIT_S_MAX: u64 = 30;
/// Most channels of one message, whatever is configured: an ANSWER has a place for each of them.
pub const MESSAGE_CHANNELS_MAX: usize = 60;
/// As many where nothing is.
pub const MESSAGE_CHANNELS_DEFAULT: usize = 32;
/// Longest payload of a WebSocket control frame (RFC 6455, section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Limits of a request head.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Longest head in bytes, from the first byte to the empty line, inclusive.
    pub head_bytes: usize,
    /// Most header fields.
    pub fields: usize,
    /// Longest request target in bytes.
    pub target_bytes: usize,
}

/// Most fields that [`HttpLimits::fields`] may ask for: the parser's table is on the stack.
pub const FIELDS_MAX: usize = 128;

impl HttpLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self { head_bytes: 24 << 10, fields: 64, target_bytes: 16 << 10 };
}

/// Limits of what a WebSocket client may send.
#[derive(Clone, Copy, Debug)]
pub struct WsLimits {
    /// Longest message in bytes, summed over its fragments.
    pub message_bytes: usize,
    /// Most fragments of one message, empty ones too.
    pub fragments: u32,
}

impl WsLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self { message_bytes: 64 << 10, fragments: 256 };
}

/// Limits of what a publisher may send on the Unix socket; it is told them when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Longest frame in bytes, without its length field. Also the most that is buffered for one
    /// publisher.
    pub frame_bytes: u32,
    /// Longest payload of one message in bytes.
    pub message_bytes: u32,
    /// Most messages of one batch.
    pub batch_messages: u32,
    /// Messages without an outcome after which the server stops reading.
    pub window: u32,
    /// Most channels of one message. HELLO does not tell it: who names more is told then.
    pub channels: u32,
}

impl IngestLimits {
    /// Those of a server that nobody has configured.
    pub const DEFAULT: Self = Self {
        frame_bytes: MESSAGE_BYTES_DEFAULT as u32 + (1 << 20),
        message_bytes: MESSAGE_BYTES_DEFAULT as u32,
        batch_messages: 1_000,
        window: 1_000,
        channels: MESSAGE_CHANNELS_DEFAULT as u32,
    };
}

/// Bounds of publishers' sessions; a publisher is told them when it opens one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Most messages of one session behind the last one whose outcome is confirmed.
    pub unconfirmed: u32,
    /// Most sessions that the server keeps without a connection.
    pub sessions: u32,
    /// How long it keeps one without a connection, in seconds.
    pub age_s: u32,
}

impl SessionLimits {
    /// Those of a server that nobody has configured.
    pub const DEFAULT: Self = Self { unconfirmed: 1_899, sessions: 1_024, age_s: 300 };
}

/// Longest frame of the server on the Unix socket, so that a publisher reads into a fixed buffer.
pub const INGEST_SERVER_FRAME_BYTES_MAX: usize = 1_024;
/// Longest text in a frame of the server on the Unix socket.
pub const INGEST_TEXT_BYTES_MAX: usize = 512;

// The largest message fits a frame with all its names, and a batch fits the window: a server that
// waited for room in the window before it took a batch would wait for ever.
const _: () = assert!(
    IngestLimits::DEFAULT.message_bytes as usize
        + CHANNEL_NAME_BYTES_MAX
        + EVENT_NAME_BYTES_MAX
        + IDEMPOTENCY_KEY_BYTES_MAX
        + 64
        < IngestLimits::DEFAULT.frame_bytes as usize
);
// Every frame of a default node is at most 1 MiB, and so is a poll answer's largest message.
const _: () = assert!(MESSAGE_BYTES_DEFAULT + ENVELOPE_BYTES_MAX == 1 << 20);
const _: () = assert!(MESSAGE_BYTES_DEFAULT + ENVELOPE_BYTES_MAX <= POLL_BYTES_MAX);
// Of the characters of a name `"` and `\` alone are escaped, by one more each; the rest of an
// envelope is an id, a number, a frame's header and less than 128 bytes that never change.
const _: () = assert!(
    2 * (CHANNEL_NAME_BYTES_MAX + EVENT_NAME_BYTES_MAX + VIEW_BYTES_MAX)
        + EVENT_NAME_BYTES_MAX
        + 2 * crate::id::ID_TEXT_BYTES_MAX
        + 256
        < ENVELOPE_BYTES_MAX
);
const _: () = assert!(IngestLimits::DEFAULT.batch_messages <= IngestLimits::DEFAULT.window);
const _: () = assert!(INGEST_TEXT_BYTES_MAX + 64 <= INGEST_SERVER_FRAME_BYTES_MAX);
// An ANSWER is 38 bytes long, and 16 more for each further channel.
const _: () = assert!(38 + (MESSAGE_CHANNELS_MAX - 1) * 16 <= INGEST_SERVER_FRAME_BYTES_MAX);
const _: () = assert!(MESSAGE_CHANNELS_DEFAULT <= MESSAGE_CHANNELS_MAX);
const _: () = assert!(HttpLimits::DEFAULT.target_bytes < HttpLimits::DEFAULT.head_bytes);
const _: () = assert!(HttpLimits::DEFAULT.fields <= FIELDS_MAX);
const _: () = assert!(crate::id::ID_TEXT_BYTES_MAX <= LAST_EVENT_ID_BYTES_MAX);
// A channel list of percent-encoded names must have room in a target.
const _: () = assert!(CHANNEL_NAME_BYTES_MAX * 3 < HttpLimits::DEFAULT.target_bytes);
