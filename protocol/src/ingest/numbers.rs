//! The numbers of the protocol: versions, frames, fields, flags.

/// What a publisher sends first, before its version.
pub const MAGIC: [u8; 7] = *b"FANFARE";
/// The version in which what is known of a publisher ends with its connection.
pub const VERSION: u8 = 1;
/// The version in which a session outlives its connections.
pub const VERSION_WITH_SESSIONS: u8 = 2;
/// The versions that are spoken here, lowest and highest.
pub const VERSIONS: (u8, u8) = (VERSION, VERSION_WITH_SESSIONS);

/// Numbers of frames. Those of the server have the top bit. A number is retired, never reused.
pub(crate) mod frame_type {
    pub(crate) const PUBLISH: u8 = 0x01;
    pub(crate) const BATCH: u8 = 0x02;
    pub(crate) const OPEN: u8 = 0x03;
    pub(crate) const CONFIRM: u8 = 0x04;
    pub(crate) const END: u8 = 0x05;
    pub(crate) const HELLO: u8 = 0x81;
    pub(crate) const ANSWER: u8 = 0x82;
    pub(crate) const REFUSED: u8 = 0x83;
    pub(crate) const ACK: u8 = 0x84;
    pub(crate) const ERROR: u8 = 0x85;
    pub(crate) const GOODBYE: u8 = 0x86;
}

/// Numbers of a message's optional fields: below 128 a receiver that does not know one skips it,
/// from 128 it refuses the message. A number is retired, never reused.
pub(crate) mod field {
    pub(crate) const EVENT: u8 = 1;
    pub(crate) const IDEMPOTENCY_KEY: u8 = 2;
    pub(crate) const EPHEMERAL: u8 = 3;
    pub(crate) const EXCEPT: u8 = 4;
    pub(crate) const FIRST_REQUIRED: u8 = 128;
    pub(crate) const ALSO: u8 = 128;
}

/// The flag of an ANSWER that repeats an earlier one.
pub(super) const FLAG_DUPLICATE: u8 = 1;
/// The flag of an ANSWER that ends with the epoch of its place.
pub(super) const FLAG_EPOCH: u8 = 2;
