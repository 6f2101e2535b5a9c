//! Dialects: what clients speak. Each is a pure codec: a message goes in, the bytes for every
//! client of one rendition come out.
//!
//! A rendition must not read the state of a connection. That is what lets a message be encoded
//! once for all clients that share a rendition, and it is the admission test for a dialect.

pub mod json;
pub mod plain;

/// A form in which a message is encoded once for every connection that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rendition {
    /// WebSocket frames: the publisher's bytes.
    WsRaw = 0,
    /// WebSocket text frames: a JSON object around the payload.
    WsJson = 1,
    /// Server-Sent Events: the publisher's bytes as data. Each event is a chunk.
    SseRaw = 2,
    /// Server-Sent Events: a JSON object as data. Each event is a chunk.
    SseJson = 3,
    /// One element of a poll's `messages`.
    PollItem = 4,
    /// Server-Sent Events: a JSON object as data, and no names beside it: every event is one that
    /// `onmessage` gets, ours too. Each event is a chunk.
    SseJsonUnnamed = 5,
    /// [`Rendition::SseRaw`] for a client of HTTP/1.0, which knows no chunks.
    SseRawUnchunked = 6,
    /// [`Rendition::SseJson`] for a client of HTTP/1.0.
    SseJsonUnchunked = 7,
    /// [`Rendition::SseJsonUnnamed`] for a client of HTTP/1.0.
    SseJsonUnnamedUnchunked = 8,
}

impl Rendition {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them, each at the index of its number.
    pub const ALL: [Self; 9] = [
        Self::WsRaw,
        Self::WsJson,
        Self::SseRaw,
        Self::SseJson,
        Self::PollItem,
        Self::SseJsonUnnamed,
        Self::SseRawUnchunked,
        Self::SseJsonUnchunked,
        Self::SseJsonUnnamedUnchunked,
    ];

    /// Its number, for tables.
    pub fn index(self) -> usize {
        usize::from(self as u8)
    }

    /// Whether it is Server-Sent Events.
    pub fn is_event_stream(self) -> bool {
        !matches!(self, Self::WsRaw | Self::WsJson | Self::PollItem)
    }

    /// Whether each piece of it is a chunk of an answer without a length.
    pub fn is_chunked(self) -> bool {
        self.is_event_stream() && self.unchunked() != self
    }

    /// The same for a client of HTTP/1.0 (RFC 9112, section 6.1: it is sent no chunks).
    pub fn unchunked(self) -> Self {
        match self {
            Self::SseRaw => Self::SseRawUnchunked,
            Self::SseJson => Self::SseJsonUnchunked,
            Self::SseJsonUnnamed => Self::SseJsonUnnamedUnchunked,
            other => other,
        }
    }

    /// Whether an event's name stands beside its data, where it is an event stream.
    pub fn names_events(self) -> bool {
        !matches!(self, Self::SseJsonUnnamed | Self::SseJsonUnnamedUnchunked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renditions_stand_at_their_index() {
        for (index, rendition) in Rendition::ALL.into_iter().enumerate() {
            assert_eq!(rendition.index(), index);
        }
    }
}
