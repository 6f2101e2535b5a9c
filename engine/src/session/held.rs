//! A client that comes over many sockets, apart from them: one request at a time is held for what
//! it is told, others bring what it says.
//!
//! ```text
//!              a stream is held         the head of its answer is sent
//!   Detached -----------------> Coming ------------------------------> Streamed
//!    ^    |                       |                                     |
//!    |    '--- a poll is held --. '-- the socket is lost: to Detached --' (if nothing was told)
//!    |                          v
//!    |<-- nothing to tell ---- Polled
//!    |                          | something to tell
//!    '--- the answer is sent -- Answering
//!
//!   and from everywhere to the end, when nobody comes in time
//! ```
//!
//! When a socket is lost, nobody knows whether what was sent over it arrived. So a client that was
//! told something over it begins anew, from the place that it knows; and a client that did not get
//! its whole answer does so by itself, since only it knows that. While no request is held, the
//! session has no room for anything ([`super::flow`]), so no log waits for it.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::{Machine, Piece};
use fanfare_protocol::ws::DataKind;

use super::effect::Effect;
use super::flow::Flow;
use super::heard::Heard;
use super::here::Here;
use super::requests::Requests;
use super::speaker::Speaker;
use super::whole_answer::WholeAnswer;
use crate::channel::Tenant;
use crate::clock::Millis;
use crate::fanout::Gathering;
use crate::limits::Limits;
use crate::session_id::SessionId;
use crate::transport::door::{Hold, Once};

/// The client.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) speaker: Speaker,
    /// How what it is told is encoded.
    pub(super) encoding: Encoding,
    carriage: Carriage,
}

/// What carries it.
#[derive(Debug)]
enum Carriage {
    /// Nothing. The session ends at `due`, unless a request comes.
    Detached { due: Millis },
    /// A stream whose head is not sent yet. The session ends at `due`, unless that is sent.
    Coming { due: Millis },
    /// A stream.
    Streamed {
        /// Its next heartbeat.
        due: Millis,
        /// Whether anything went over it.
        said: bool,
    },
    /// A request that has one answer when there is something to tell.
    Polled(Polled),
    /// A request whose answer is on its way.
    Answering,
}

/// A request that has one answer.
#[derive(Debug)]
struct Polled {
    once: Once,
    /// When it is answered though there is nothing; from then on, when it is looked at.
    due: Millis,
    /// What is gathered, from when there is something to tell.
    gathering: Option<Box<Gathering>>,
    /// Bytes of what was written for the client alone before anything was gathered: what is written
    /// later stands behind that, and is the end of the answer.
    written_before: usize,
}

impl Held {
    /// One that begins, and for which no request is held yet.
    pub(super) fn new(
        machine: Box<dyn Machine>,
        tenant: Tenant,
        encoding: Encoding,
        now: Millis,
        limits: &Limits,
    ) -> Self {
        let speaker = Speaker::new(machine, Requests::none(), tenant, encoding.framing());
        let carriage = Carriage::Detached { due: now.plus(limits.detached_ms) };
        Self { speaker, encoding, carriage }
    }

    /// Bytes of memory of its own.
    pub(super) fn memory(&self) -> usize {
        let gathering = self.gathered().map_or(0, Gathering::memory);
        size_of::<Self>() + self.speaker.requests.memory() + gathering
    }

    /// Its client learns what it is called.
    pub(super) fn begin(&mut self, id: &SessionId, here: &mut Here<'_>) -> Heard {
        here.line.flow.block();
        self.speaker.begin(&id.to_string(), here)
    }

    /// A request is to be held for it. What waits is written anew where that has another framing.
    pub(super) fn comes(&mut self, hold: Hold, here: &mut Here<'_>) -> Heard {
        if let Carriage::Detached { due } = self.carriage {
            self.carriage = match hold.once {
                None => Carriage::Coming { due },
                Some(once) => {
                    let due = here.now.plus(once.wait_ms);
                    let gathering = (once.wait_ms == 0).then(Box::default);
                    Carriage::Polled(Polled { once, due, gathering, written_before: 0 })
                }
            };
        }
        if self.is_polled() {
            here.shared.want(Effect::Visit);
        }
        self.encoding = hold.encoding;
        let heard = self.speaker.carried_in(hold.encoding.framing(), here);
        if self.is_polled() {
            here.line.flow = Flow::new(here.now);
        }
        heard
    }

    /// What the request has to say by itself is sent. Behind the head of a stream the client is
    /// told what comes from now on; behind an answer the next request may come.
    pub(crate) fn has_come(&mut self, here: &mut Here<'_>) {
        match self.carriage {
            Carriage::Answering => here.shared.want(Effect::LetGo),
            Carriage::Coming { .. } => {
                let due = here.now.plus(here.shared.context.limits.heartbeat_ms);
                self.carriage = Carriage::Streamed { due, said: false };
                here.line.flow = Flow::new(here.now);
                here.shared.want(Effect::Visit);
            }
            _ => {}
        }
    }

    /// Nothing carries it any more.
    pub(crate) fn detach(&mut self, here: &mut Here<'_>) {
        let due = match self.carriage {
            // Requests that come and go without a word do not prolong its life.
            Carriage::Detached { due } | Carriage::Coming { due } => due,
            _ => here.now.plus(here.shared.context.limits.detached_ms),
        };
        self.carriage = Carriage::Detached { due };
        here.line.flow.block();
    }

    /// Whether a request is held over which it can be told something.
    pub(super) fn is_carried(&self) -> bool {
        matches!(self.carriage, Carriage::Streamed { .. } | Carriage::Polled(_))
    }

    /// Whether nothing is held for it.
    pub(super) fn is_detached(&self) -> bool {
        matches!(self.carriage, Carriage::Detached { .. })
    }

    /// Whether a request waits for its answer.
    pub(super) fn is_polled(&self) -> bool {
        matches!(self.carriage, Carriage::Polled(_))
    }

    /// A send to it took something.
    pub(super) fn note_said(&mut self) {
        if let Carriage::Streamed { said, .. } = &mut self.carriage {
            *said = true;
        }
    }

    /// Whether it may go on when its socket is lost, or another one comes: nothing went over it.
    pub(crate) fn may_part(&self) -> bool {
        match &self.carriage {
            Carriage::Detached { .. } | Carriage::Coming { .. } => true,
            Carriage::Streamed { said, .. } => !said,
            Carriage::Polled(polled) => polled.gathering.as_ref().is_none_or(|it| it.is_empty()),
            Carriage::Answering => false,
        }
    }

    /// What was gathered so far for the answer to a poll, if it has begun to be.
    pub(super) fn gathered(&self) -> Option<&Gathering> {
        match &self.carriage {
            Carriage::Polled(polled) => polled.gathering.as_deref(),
            _ => None,
        }
    }

    /// The same, to be added to.
    pub(super) fn gathering(&mut self) -> Option<&mut Gathering> {
        match &mut self.carriage {
            Carriage::Polled(polled) => polled.gathering.as_deref_mut(),
            _ => None,
        }
    }

    /// There is something to answer a poll with.
    pub(super) fn begin_answer(&mut self) {
        if let Carriage::Polled(polled) = &mut self.carriage {
            polled.gathering.get_or_insert_default();
        }
    }

    /// Whether the answer to a poll ends with what was gathered so far, where so many bytes are
    /// written for the client alone: what was said since is true only behind that, such as that a
    /// channel is followed no more.
    pub(super) fn has_spoken_behind(&mut self, written: usize) -> bool {
        let Carriage::Polled(polled) = &mut self.carriage else { return false };
        if polled.gathering.as_ref().is_none_or(|it| it.is_empty()) {
            polled.written_before = written;
        }
        written > polled.written_before
    }

    /// The poll is answered, with all that was written for the client and what was gathered.
    pub(super) fn answer(&mut self, here: &mut Here<'_>) {
        if let Carriage::Polled(_) = self.carriage
            && let Carriage::Polled(polled) =
                std::mem::replace(&mut self.carriage, Carriage::Answering)
        {
            let Polled { once, gathering, written_before, .. } = polled;
            let separator = self.encoding.framing().separator();
            let (mut own, gathering) = (here.take_private(), gathering.unwrap_or_default());
            let last = match gathering.is_empty() {
                true => Vec::new(),
                false => own.split_off(written_before),
            };
            let answer = WholeAnswer { once, separator, own, gathering, last };
            here.shared.want(Effect::Answer(Box::new(answer)));
            here.line.flow.block(); // until the next one comes
        }
    }

    /// A WebSocket has come for its client. The poll that waits is let go, unless there is
    /// something to tell, so that the client can leave off polling.
    pub(crate) fn hurry(&mut self, here: &mut Here<'_>) {
        if let Carriage::Polled(Polled { gathering: None, .. }) = self.carriage
            && !here.has_private()
        {
            here.shared.want(Effect::LetGo);
        }
    }

    /// It is to end. Whether its last words are to be sent over what carries it: a poll has them
    /// with its answer.
    pub(super) fn leaves(&mut self, here: &mut Here<'_>) -> bool {
        if self.is_polled() {
            self.answer(here);
            here.shared.want(Effect::LetGo);
        }
        self.is_carried()
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
            | Carriage::Coming { due }
            | Carriage::Streamed { due, .. }
            | Carriage::Polled(Polled { due, .. }) => due,
            // Its own deadline is that of whatever sends the answer.
            Carriage::Answering => Millis(u64::MAX),
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
            Carriage::Streamed { due, .. } if *due <= told => {
                *due = silent_since.plus(heartbeat_ms);
                if *due <= told {
                    self.encoding.framing().heartbeat(here.brief());
                    *due = here.now.plus(heartbeat_ms);
                }
            }
            Carriage::Polled(polled) if polled.due <= told => {
                polled.due = here.now.plus(super::overdue::RECHECK_MS);
                if polled.gathering.is_none() && !has_private {
                    here.shared.want(Effect::LetGo);
                }
            }
            Carriage::Detached { due } | Carriage::Coming { due } if *due <= told => {
                return Heard::Abandoned;
            }
            _ => {}
        }
        Heard::Fine
    }

    /// The same of one that has no room for what it is sent.
    pub(super) fn deadline_while_blocked(&mut self, told: Millis, now: Millis) -> Heard {
        match &mut self.carriage {
            Carriage::Detached { due } | Carriage::Coming { due } if *due <= told => {
                Heard::Abandoned
            }
            Carriage::Streamed { due, .. } if *due <= told => {
                *due = now.plus(super::overdue::RECHECK_MS);
                Heard::Fine
            }
            _ => Heard::Fine,
        }
    }
}
