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
    /// Server-Sent Events: the publisher's bytes as data.
    SseRaw = 2,
    /// Server-Sent Events: a JSON object as data.
    SseJson = 3,
    /// One element of a poll's `messages`.
    PollItem = 4,
    /// Server-Sent Events: a JSON object as data, and no names beside it: every event is one that
    /// `onmessage` gets, ours too.
    SseJsonUnnamed = 5,
}

impl Rendition {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them, each at the index of its number.
    pub const ALL: [Self; 6] = [
        Self::WsRaw,
        Self::WsJson,
        Self::SseRaw,
        Self::SseJson,
        Self::PollItem,
        Self::SseJsonUnnamed,
    ];

    /// Its number, for tables.
    pub fn index(self) -> usize {
        usize::from(self as u8)
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
