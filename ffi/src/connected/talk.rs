//! What is said on one connection: bytes in, bytes out. No socket, no clock.

use fanfare::clock::Millis;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{ErrorCode, SessionId, VERSION_WITH_SESSIONS, write};

use super::pipeline::{Greeting, Pipeline, Then};
use crate::code::{Code, FANFARE_E_FORBIDDEN, FANFARE_E_UNAVAILABLE, FANFARE_E_VERSION};

/// One connection, from its opening on.
pub(super) struct Talk {
    decoder: Decoder,
    /// What is to be written; the first `sent` bytes are.
    out: Vec<u8>,
    sent: usize,
    /// The name of a session, should another one be needed.
    fresh: SessionId,
    /// The server's epoch, once the session is open.
    pub(super) epoch: Option<Epoch>,
    /// Whether any message had an outcome here.
    pub(super) served: bool,
}

/// A connection is over.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) code: Code,
    /// For people, where the server or the kernel has said more.
    pub(super) text: Option<String>,
    pub(super) retry: Retry,
}

/// Whether another attempt may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It may, and soon.
    Soon,
    /// It may, but whoever opens a publisher is told.
    Later,
    /// It cannot, before somebody has changed something.
    Never,
}

impl Lost {
    pub(super) fn unavailable() -> Self {
        Self { code: FANFARE_E_UNAVAILABLE, text: None, retry: Retry::Soon }
    }

    fn of(reply: &Reply<'_>) -> Self {
        let Reply::Error { code, text, versions, .. } = *reply else { return Self::unavailable() };
        let said = format!("the server said: {text}");
        let (code, text, retry) = match code {
            ErrorCode::FORBIDDEN => (FANFARE_E_FORBIDDEN, said, Retry::Never),
            ErrorCode::BAD_VERSION => {
                let (low, high) = versions;
                let text = format!(
                    "the server speaks versions {low} to {high} of the publish protocol, and this \
                     library {VERSION_WITH_SESSIONS}: update the older of them"
                );
                (FANFARE_E_VERSION, text, Retry::Never)
            }
            ErrorCode::NO_ROOM => (-Code::from(code.0), said, Retry::Later),
            _ => (-Code::from(code.0), said, Retry::Soon),
        };
        Self { code, text: Some(text), retry }
    }
}

impl Talk {
    /// Opens the session, or takes it up.
    pub(super) fn begin(pipeline: &mut Pipeline, fresh: SessionId) -> Self {
        let mut out = Vec::new();
        write::session_preface(&mut out);
        write::open(&pipeline.opening(), &mut out);
        Self { decoder: Decoder::new(), out, sent: 0, fresh, epoch: None, served: false }
    }

    /// What is to be written now, with what may follow.
    pub(super) fn unsent(&mut self, pipeline: &mut Pipeline, now: Millis) -> &[u8] {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.epoch.is_some() {
                pipeline.fill(&mut self.out, now);
            }
        }
        &self.out[self.sent..]
    }

    /// So much of it was written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// How much is begun and not written.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.out.len() - self.sent
    }

    /// How much of messages is begun and not written. There are none before the session is open.
    pub(super) fn unsent_message_bytes(&self) -> usize {
        if self.epoch.is_some() { self.unsent_bytes() } else { 0 }
    }

    /// The publisher is done with its session: the last words, if nothing else waits.
    pub(super) fn farewell(&self, pipeline: &mut Pipeline) -> Option<Vec<u8>> {
        if self.epoch.is_none() || self.unsent_bytes() > 0 {
            return None;
        }
        let mut out = Vec::new();
        write::confirm(pipeline.opening().confirmed, &mut out);
        write::end(&mut out);
        Some(out)
    }

    /// What the server said.
    pub(super) fn hear(&mut self, mut input: &[u8], pipeline: &mut Pipeline) -> Result<(), Lost> {
        let unsent = self.unsent_bytes();
        let Self { decoder, out, fresh, epoch, served, .. } = self;
        let mut left = None;
        // All of it, also behind a word that ends the connection: outcomes are outcomes.
        while let Some(reply) = decoder.next(&mut input).map_err(|_| Lost::unavailable())? {
            match reply {
                // Nobody answers what has not been asked.
                Reply::Hello(_) if unsent > 0 || epoch.is_some() => {
                    return Err(Lost::unavailable());
                }
                Reply::Hello(hello) => match pipeline.greet(&hello, *fresh) {
                    Greeting::Open => *epoch = Some(hello.epoch),
                    Greeting::Another(open) => write::open(&open, out),
                    Greeting::Nonsense => return Err(Lost::unavailable()),
                },
                // Nothing of ours was written, so nothing of ours is meant.
                Reply::Error { .. } | Reply::Goodbye { .. } if epoch.is_none() => {
                    left.get_or_insert(Lost::of(&reply));
                }
                _ if epoch.is_none() => {}
                _ => {
                    *served = true;
                    if pipeline.handle(&reply) == Then::Leave {
                        left.get_or_insert(Lost::of(&reply));
                    }
                }
            }
        }
        left.map_or(Ok(()), Err)
    }
}
