//! What a connection has begun to say. `None` between requests and between frames, so that an idle
//! connection owns no buffer.

use fanfare_protocol::http::HeadReader;
use fanfare_protocol::ws::Receiver;

use crate::clock::Millis;
use crate::sequencer::command::Publication;

/// Something unfinished.
#[derive(Debug)]
pub enum Input {
    /// A request head.
    Head(HeadReader),
    /// The body of a publish; its data grows as it arrives.
    Body {
        /// Everything but the data.
        publication: Box<Publication>,
        /// Bytes that arrived.
        data: Vec<u8>,
        /// Bytes that were declared, within the configured size.
        length: usize,
    },
    /// Bytes that came in one piece with a head, to be read when its answer is known.
    Early(Early),
    /// A frame or a message of a WebSocket client.
    Frames(Frames),
}

/// What came behind a request: the next requests, or frames before our 101. While there is any,
/// nothing more is read of that client, so it is at most what one receive brings; and of many
/// requests each is taken from its front, so none is copied for those before it.
#[derive(Debug)]
pub struct Early {
    bytes: Box<[u8]>,
    taken: usize,
}

impl Early {
    /// Keeps a copy of these.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), taken: 0 }
    }

    /// What is left.
    pub fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    /// Bytes of memory of its own.
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// The first `count` of what is left were taken. Whether more is left.
    pub fn advance(&mut self, count: usize) -> bool {
        self.taken += count;
        self.taken < self.bytes.len()
    }
}

/// A WebSocket client in the middle of a frame or a message.
#[derive(Debug)]
pub struct Frames {
    /// The machine.
    pub receiver: Receiver,
    /// When the message must be whole.
    pub due: Millis,
}
