//! A client that comes over many sockets, apart from them: one request at a time is held for what
//! it is told, others bring what it says.
//!
//! ```text
//!              a request is held        the head of its answer is sent
//!   Detached -----------------> Coming ------------------------------> Held
//!      ^                          |                                     |
//!      '---- the socket is lost --'----- the answer has ended, or the --'
//!            |                           socket is lost and nothing was told over it
//!            '-> the end, when nobody comes in time
//! ```
//!
//! What went into a socket that is lost then may have come or not, and nobody knows: so a client
//! that was told something over it has to begin anew, with the place that it knows; and one whose
//! answer did not come whole does that by itself, since only it knows that. Until somebody comes it
//! has no room for anything ([`super::flow`]), so no log waits for it.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::{Machine, Piece};
use fanfare_protocol::ws::DataKind;

use super::here::Here;
use super::requests::Requests;
use super::shared::Effect;
use super::socket::Heard;
use super::speaker::Speaker;
use crate::clock::Millis;
use crate::limits::Limits;
use crate::session_id::SessionId;
use crate::transport::door::Hold;

/// The client.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) speaker: Speaker,
    pub(super) encoding: Encoding,
    carriage: Carriage,
}

/// What carries it.
#[derive(Clone, Copy, Debug)]
enum Carriage {
    /// Nothing. It ends then, unless somebody comes.
    Detached { due: Millis },
    /// A request whose answer has not begun. It ends then, unless that does.
    Coming { hold: Hold, due: Millis },
    /// A request that is held.
    Held {
        /// Whether it ends when something was told.
        once: bool,
        /// When it ends though nothing was; a stream's next heartbeat.
        due: Millis,
        /// Whether anything went over it.
        said: bool,
    },
}

impl Held {
    /// One that begins, and for which no request is held yet.
    pub(super) fn new(
        machine: Box<dyn Machine>,
        encoding: Encoding,
        now: Millis,
        limits: &Limits,
    ) -> Self {
        let speaker = Speaker::new(machine, Requests::none());
        let carriage = Carriage::Detached { due: now.plus(limits.detached_ms) };
        Self { speaker, encoding, carriage }
    }

    /// Its client learns what it is called.
    pub(super) fn begin(&mut self, id: &SessionId, here: &mut Here<'_>) -> Heard {
        self.speaker.begin(&id.to_string(), here)
    }

    /// A request is to be held for it, whose answer begins now.
    pub(crate) fn comes(&mut self, hold: Hold) {
        if let Carriage::Detached { due } = self.carriage {
            self.carriage = Carriage::Coming { hold, due };
        }
    }

    /// The answer has begun; whether that was not known.
    pub(super) fn has_come(&mut self, now: Millis, limits: &Limits) -> bool {
        let Carriage::Coming { hold: Hold { once, wait_ms, .. }, .. } = self.carriage else {
            return false;
        };
        let due = now.plus(if once { wait_ms } else { limits.heartbeat_ms });
        self.carriage = Carriage::Held { once, due, said: false };
        true
    }

    /// Nothing carries it any more.
    pub(super) fn detach(&mut self, now: Millis, limits: &Limits) {
        let due = match self.carriage {
            Carriage::Held { .. } => now.plus(limits.detached_ms),
            // Who comes and goes does not keep it.
            Carriage::Detached { due } | Carriage::Coming { due, .. } => due,
        };
        self.carriage = Carriage::Detached { due };
    }

    /// Whether a request is held.
    pub(super) fn is_carried(&self) -> bool {
        matches!(self.carriage, Carriage::Held { .. })
    }

    /// A send to it took something.
    pub(super) fn note_said(&mut self) {
        if let Carriage::Held { said, .. } = &mut self.carriage {
            *said = true;
        }
    }

    /// Whether it may go on when its socket is lost: nothing went over it.
    pub(super) fn outlives_its_socket(&self) -> bool {
        !matches!(self.carriage, Carriage::Held { said: true, .. })
    }

    /// Whether the answer ends, where everything was sent.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.carriage, Carriage::Held { once: true, said: true, .. })
    }

    /// One whole message of the client.
    pub(super) fn hear(&mut self, bytes: &[u8], here: &mut Here<'_>) -> Heard {
        here.shared.metrics().client_messages.add(1);
        let is_text = std::str::from_utf8(bytes).is_ok();
        let kind = if is_text { DataKind::Text } else { DataKind::Binary };
        self.speaker.hear(Piece { kind, last: true, bytes }, here)
    }

    /// When it is to be looked at.
    pub(super) fn due(&self) -> Millis {
        match self.carriage {
            Carriage::Detached { due }
            | Carriage::Coming { due, .. }
            | Carriage::Held { due, .. } => due,
        }
    }

    /// Its time is over, or it is to be looked at: nobody came, or it is told that we are there, or
    /// that there is nothing.
    pub(super) fn deadline(
        &mut self,
        silent_since: Millis,
        told: Millis,
        here: &mut Here<'_>,
    ) -> Heard {
        let heartbeat_ms = here.shared.context.limits.heartbeat_ms;
        let has_private = here.has_private();
        match &mut self.carriage {
            Carriage::Held { due, .. } if *due > told => {}
            Carriage::Held { once: true, due, .. } if has_private => {
                *due = here.now.plus(heartbeat_ms)
            }
            Carriage::Held { once: true, .. } => here.shared.want(Effect::LetGo),
            Carriage::Held { due, .. } => {
                *due = silent_since.plus(heartbeat_ms);
                if *due <= told {
                    self.encoding.framing().heartbeat(here.brief());
                    *due = here.now.plus(heartbeat_ms);
                }
            }
            Carriage::Detached { due } | Carriage::Coming { due, .. } => {
                if *due <= told {
                    return Heard::Abandoned;
                }
            }
        }
        Heard::Fine
    }

    /// The same of one that has no room for what it is sent.
    pub(super) fn deadline_while_blocked(&mut self, told: Millis, now: Millis) -> Heard {
        match &mut self.carriage {
            Carriage::Detached { due } | Carriage::Coming { due, .. } if *due <= told => {
                Heard::Abandoned
            }
            Carriage::Held { due, .. } if *due <= told => {
                *due = now.plus(super::RECHECK_MS);
                Heard::Fine
            }
            _ => Heard::Fine,
        }
    }
}
