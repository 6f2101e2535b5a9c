//! A request that is held for a session, which says what goes over it.

use fanfare_protocol::http::{chunk, response};

use super::effect::Effect;
use super::here::Here;
use super::reading::ending;
use super::whole_answer::WholeAnswer;
use crate::clock::Millis;
use crate::driver::Token;
use crate::transport::door::Once;
use crate::transport::input::Early;

/// A request that is held for a session.
#[derive(Debug)]
pub(crate) struct Carrying {
    /// The session, once it is known.
    session: Option<Token>,
    stage: Stage,
    /// The origin of the page that may read the answer.
    origin: Option<Box<str>>,
    /// As in [`super::asking::Asking`].
    keep_alive: bool,
    /// As in [`super::asking::Asking`].
    pub(super) early: Option<Box<Early>>,
}

/// How far its answer is.
#[derive(Debug)]
enum Stage {
    /// It is not held yet.
    Before,
    /// The head of a stream is written. What comes behind it is written by the session.
    Streaming,
    /// Its socket is a WebSocket of its session's, which hears and says all.
    Given,
    /// It waits for its one answer.
    Waiting(Once),
    /// The answer is written; `due` is when to look whether it goes out.
    Answered { due: Millis },
}

/// What is left of a request that is to be held when its socket goes to another shard.
#[derive(Debug)]
pub(crate) struct Unheld {
    origin: Option<Box<str>>,
    keep_alive: bool,
    early: Option<Box<Early>>,
}

impl Unheld {
    /// One that has just been read.
    pub(super) fn new(origin: Option<Box<str>>, keep_alive: bool) -> Self {
        Self { origin, keep_alive, early: None }
    }

    /// What came behind the request.
    pub(super) fn into_early(self) -> Option<Box<Early>> {
        self.early
    }

    /// Bytes of memory of what came behind the request.
    pub(crate) fn memory(&self) -> usize {
        self.early.as_deref().map_or(0, Early::memory)
    }
}

impl Carrying {
    /// It is not held yet.
    pub(super) fn new(unheld: Unheld) -> Self {
        let Unheld { origin, keep_alive, early } = unheld;
        Self { session: None, stage: Stage::Before, origin, keep_alive, early }
    }

    /// What is left where its socket is a WebSocket of this session's.
    pub(super) fn given_to(session: Token) -> Self {
        let (session, stage, origin) = (Some(session), Stage::Given, None);
        Self { session, stage, origin, keep_alive: false, early: None }
    }

    /// What another shard needs to hold it.
    pub(super) fn into_unheld(self) -> Unheld {
        let Self { origin, keep_alive, early, .. } = self;
        Unheld { origin, keep_alive, early }
    }

    /// Holds it for this session: a stream begins, or it waits for its answer.
    pub(super) fn begin(&mut self, session: Token, once: Option<Once>, here: &mut Here<'_>) {
        self.session = Some(session);
        if let Some(once) = once {
            self.stage = Stage::Waiting(once);
            return;
        }
        self.stage = Stage::Streaming;
        let cors = self.origin.as_deref().map(response::cors);
        let fields = cors.as_deref().unwrap_or_default();
        let (date, ending) = (here.date(), ending(self.keep_alive));
        response::event_stream(here.private(), date, true, ending, fields);
        here.shared.want(Effect::Visit);
    }

    /// Holds it no longer: ends its answer, where that has not ended. Says whether another request
    /// may follow, with the bytes of it that are here.
    pub(super) fn release(mut self, here: &mut Here<'_>) -> (bool, Option<Box<Early>>) {
        match self.stage {
            Stage::Waiting(once) => self.answer(WholeAnswer::of_nothing(once), here),
            Stage::Streaming => here.private().extend_from_slice(chunk::LAST),
            Stage::Before | Stage::Given | Stage::Answered { .. } => {}
        }
        (self.keep_alive, self.early)
    }

    /// When to look whether its answer goes out.
    pub(super) fn due(&self) -> Option<Millis> {
        match self.stage {
            Stage::Answered { due } => Some(due),
            _ => None,
        }
    }

    /// Looks again at that time.
    pub(super) fn look_again(&mut self, at: Millis) {
        self.stage = Stage::Answered { due: at };
    }

    /// The session for which it is held, if it is.
    pub(crate) fn session(&self) -> Option<Token> {
        self.session
    }

    /// That session, where it sends over this socket itself.
    pub(crate) fn streams(&self) -> Option<Token> {
        self.session.filter(|_| matches!(self.stage, Stage::Streaming | Stage::Given))
    }

    /// The same, where that session itself hears what comes over its socket.
    pub(crate) fn hears(&self) -> Option<Token> {
        self.session.filter(|_| matches!(self.stage, Stage::Given))
    }

    /// Whether it has its one answer.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answered { .. })
    }

    /// Its session, once the request has written all that it says by itself: the head of a stream,
    /// or an answer.
    pub(super) fn has_spoken_for(&self) -> Option<Token> {
        self.streams().or(self.session.filter(|_| self.is_answered()))
    }

    /// Writes its one answer.
    pub(super) fn answer(&mut self, answer: WholeAnswer, here: &mut Here<'_>) {
        self.keep_alive &= !here.shared.ending; // and the answer says so
        let (date, outbox) = (here.date(), here.line.outbox.get_or_insert_default());
        answer.write(self.origin.as_deref(), ending(self.keep_alive), date, outbox);
        self.stage = Stage::Answered { due: here.now.plus(here.shared.context.limits.stall_ms) };
        here.shared.want(Effect::Visit);
    }
}
