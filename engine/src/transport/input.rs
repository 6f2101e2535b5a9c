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
    /// Bytes that came in one piece with a head, to be read when its answer is known: at most what
    /// one receive brings.
    Early(Vec<u8>),
    /// A frame or a message of a WebSocket client.
    Frames(Frames),
}

/// A WebSocket client in the middle of a frame or a message.
#[derive(Debug)]
pub struct Frames {
    /// The machine.
    pub receiver: Receiver,
    /// When the message must be whole.
    pub due: Millis,
}
