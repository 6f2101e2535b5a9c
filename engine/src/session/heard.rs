//! What a client said, and whether that ends its stream.

use fanfare_protocol::ws::{CloseCode, send};

use super::here::Here;

/// What a client said, or did not say in time.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing that ends the stream.
    Fine,
    /// It closed; with its code, which it gets back.
    Closed(Option<CloseCode>),
    /// We close for a fault of the client's.
    Fault {
        code: CloseCode,
        reason: &'static str,
        /// Whether it may still answer with a close frame of its own.
        may_answer: bool,
    },
    /// We close because its machine says so.
    Dismissed(CloseCode, &'static str),
    /// It takes over the client that it knocks for.
    TakesOver,
    /// Nobody came for it.
    Abandoned,
}

impl Heard {
    /// A fault, to which the client may answer with a close frame of its own.
    pub(super) fn fault(code: CloseCode, reason: &'static str) -> Self {
        Self::Fault { code, reason, may_answer: true }
    }

    /// Writes the close frame where this is the end, and says whether that waits for the client's.
    pub(super) fn end(self, here: &mut Here<'_>) -> Option<bool> {
        let (code, reason, lingers) = match self {
            Self::Fine | Self::TakesOver | Self::Abandoned => return None,
            Self::Closed(None) => {
                send::write_empty_close(here.private());
                return Some(false);
            }
            Self::Closed(Some(code)) => (code, "", false),
            Self::Fault { code, reason, may_answer } => {
                here.shared.metrics().protocol_faults.add(1);
                (code, reason, may_answer)
            }
            Self::Dismissed(code, reason) => (code, reason, true),
        };
        send::write_close(code, reason, here.private());
        Some(lingers)
    }
}
