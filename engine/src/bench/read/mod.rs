//! What servers say, read piece by piece: bytes in, payload bytes and events out.
//!
//! Every reader keeps a few bytes between pieces, because there are as many as clients. They are
//! lenient where a benchmark has no opinion (names of fields, reasons) and strict where a wrong
//! byte would make its counts wrong (lengths, masks).

pub mod body;
pub mod frames;
pub mod head;
pub mod lines;

/// The server broke its protocol; how.
pub type Violation = &'static str;
