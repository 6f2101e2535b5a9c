//! A client that is to leave: its last bytes are in the outbox, what arrives is read and dropped.

use fanfare_protocol::dialect::{CloseReason, Encoding};
use fanfare_protocol::ws::close::ends_with_close;
use fanfare_protocol::ws::{CloseCode, Event, send};

use super::millis32::Millis32;
use crate::clock::Millis;
use crate::inquiry::Dismissal;
use crate::limits::Limits;
use crate::metrics::ShardMetrics;
use crate::transport::input::Frames;

/// From a refusal to the end of its socket: what arrives meanwhile is read and dropped.
pub(super) const REFUSED_CLOSE_MS: u64 = 1_000;
/// From the decision that a client is slow to the end of its socket (THREATS W21).
pub(super) const SLOW_CLOSE_MS: u64 = 5_000;

/// What is left of a connection.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// What a WebSocket client is in the middle of saying, if we know.
    frames: Option<Box<Frames>>,
    /// When the socket ends, whatever the client has taken.
    pub(super) due: Millis32,
    /// What it was.
    pub(super) was: Was,
    /// Whether it waits for the client to end its side.
    pub(super) lingers: bool,
    /// Whether it is cut off when its time is over, since the kernel may hold bytes for it that it
    /// will never take.
    pub(super) is_cut_off: bool,
}

/// What a connection was before it was to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    /// Something with an ordinary answer.
    Exchange,
    /// A stream of events.
    Events,
    /// A WebSocket.
    Socket,
}

impl Was {
    /// Counts it out of the gauge that it was counted in.
    pub(super) fn count_out(self, metrics: &ShardMetrics) {
        match self {
            Self::Socket => metrics.websockets.sub(1),
            Self::Events => metrics.event_streams.sub(1),
            Self::Exchange => {}
        }
    }
}

/// Why we end a stream. But for the last it is over in a moment, so each says: reconnect and
/// resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell<'a> {
    /// It has left the live window.
    Slow,
    /// The node is shutting down.
    Shutdown,
    /// A backend ends it.
    Dismissed(&'a Dismissal),
    /// It may not be here any more, or not follow what it follows.
    Denied(CloseCode, &'static str),
}

impl Farewell<'_> {
    /// Closes a WebSocket. Whether its end waits for the client: for its own close.
    pub(super) fn say_to_socket(self, out: &mut Vec<u8>) -> bool {
        let (code, reason) = match self {
            Self::Slow => (CloseCode::SLOW_CONSUMER, "too slow: reconnect and resume"),
            Self::Denied(code, reason) => (code, reason),
            Self::Shutdown => {
                (CloseCode::RESTART, "the server is shutting down: reconnect and resume")
            }
            Self::Dismissed(why) => (why.code, &*why.reason),
        };
        send::write_close(code, reason, out);
        true
    }

    /// Ends a stream of events. Whether its end waits for the client: no, since it is the end of
    /// its socket (FIN), and until it comes an `EventSource` does not know that it should come
    /// back.
    pub(super) fn say_to_events(
        self,
        encoding: Encoding,
        retry_ms: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        let reason = match self {
            Self::Slow => CloseReason::Slow,
            Self::Shutdown => CloseReason::Restart,
            Self::Dismissed(why) => CloseReason::Dismissed { code: why.code, reason: &why.reason },
            Self::Denied(code, reason) => CloseReason::Dismissed { code, reason },
        };
        encoding.close(reason, retry_ms, out);
        false
    }
}

impl Leaving {
    /// One that has until `due`.
    pub(super) fn new(was: Was, frames: Option<Box<Frames>>, due: Millis32, lingers: bool) -> Self {
        Self { frames, due, was, lingers, is_cut_off: false }
    }

    /// Bytes of memory of what its client is in the middle of saying.
    pub(super) fn memory(&self) -> usize {
        self.frames.as_deref().map_or(0, Frames::memory)
    }

    /// Bytes of the client. Whether it has answered our close with its own: then nothing is owed.
    /// It may not have seen our close yet, so what it says before is dropped, since bytes that
    /// nobody reads would turn our FIN into RST.
    pub(super) fn take(&mut self, mut bytes: &mut [u8], limits: &Limits, now: Millis) -> bool {
        if self.was != Was::Socket {
            return false;
        }
        // Where the machine stands in its stream says nothing of that.
        if ends_with_close(bytes) || self.reads_close(&mut bytes, limits, now) {
            self.lingers = false;
            return true;
        }
        false
    }

    /// After our close only the client's is of interest (RFC 6455, section 5.5.1).
    fn reads_close(&mut self, bytes: &mut &mut [u8], limits: &Limits, now: Millis) -> bool {
        let mut frames = match self.frames.take() {
            Some(frames) => *frames,
            None => Frames::new(now),
        };
        loop {
            match frames.receiver.next(bytes, &limits.ws) {
                Ok(Some(Event::Close(_))) => return true,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false, // a new machine looks for the close
            }
        }
        if !frames.receiver.is_idle() {
            self.frames = Some(Box::new(frames));
        }
        false
    }
}
