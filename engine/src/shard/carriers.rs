//! Sessions that are apart from their sockets: what they are called, and which socket is held for
//! each.
//!
//! Such a session has a place in the shard's table like any connection, but a place that no driver
//! gives out: their numbers begin above those of all drivers.

use std::collections::VecDeque;

use super::connection::Connection;
use super::connections::Connections;
use super::parcel::Moving;
use crate::driver::Token;
use crate::fanout::Slice;
use crate::session::WholeAnswer;
use crate::session_id::SessionId;
use crate::transport::door::HoldRequest;

/// The first place of such a session: no driver has so many sockets.
pub(super) const FIRST_PLACE: u32 = 1 << 20;
/// Most sessions apart from their sockets on one shard.
const PLACES_MAX: usize = 1 << 20;

/// The sessions of one shard that are apart from their sockets.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    places: Vec<ApartSlot>,
    free: Vec<u32>,
    /// How many have no socket that is held for them now.
    detached: usize,
    /// Requests of this shard that are to be held for such a session, or to begin one.
    pub(super) to_hold: VecDeque<(Token, Box<HoldRequest>)>,
    /// Requests that came here from other shards for that, with their sockets.
    pub(super) arrivals: VecDeque<Box<Moving>>,
    /// What is still to be told to requests and sessions that met or parted.
    pub(super) parted: VecDeque<ApartNotice>,
}

/// A notice for a request or a session. It is given when no other session is being called and no
/// batch of sends is under way.
#[derive(Debug)]
pub(super) enum ApartNotice {
    /// To this request: it is no longer held.
    LetGo(Token),
    /// To this request, which is held: here is its answer.
    Answer(Token, Box<WholeAnswer>),
    /// The socket of this session was lost; whether a whole answer had gone over it.
    Lost { session: Token, has_answered: bool },
    /// This WebSocket takes over the client that it knocks for.
    TakesOver(Token),
    /// For this session the head of a stream is sent, or its answer, on that socket.
    Carries(Token, Token),
}

#[derive(Debug, Default)]
struct ApartSlot {
    generation: u32,
    id: Option<SessionId>,
    carrier: Option<Token>,
    /// The WebSocket that knocked last. It may have ended.
    knocker: Option<Token>,
}

/// Whether this is a session apart from its sockets.
pub(super) fn is_apart(token: Token) -> bool {
    token.index >= FIRST_PLACE
}

impl Carriers {
    /// Opens a place for a session that begins on shard `shard`; `None` where all are taken.
    pub(super) fn open(&mut self, shard: u8) -> Option<(Token, SessionId)> {
        let nth = match self.free.pop() {
            Some(nth) => nth,
            None if self.places.len() == PLACES_MAX => return None,
            None => {
                self.places.push(ApartSlot::default());
                self.places.len() as u32 - 1
            }
        };
        let index = FIRST_PLACE + nth;
        let Ok(id) = SessionId::new(shard, index) else {
            self.free.push(nth);
            return None;
        };
        let place = &mut self.places[nth as usize];
        place.generation = place.generation.wrapping_add(1);
        place.id = Some(id);
        self.detached += 1;
        Some((Token { index, generation: place.generation }, id))
    }

    /// The session with this id.
    pub(super) fn find(&self, id: &SessionId) -> Option<Token> {
        let place = self.places.get(id.place.checked_sub(FIRST_PLACE)? as usize)?;
        let generation = place.generation;
        (place.id == Some(*id)).then_some(Token { index: id.place, generation })
    }

    /// The socket over which this connection is sent to: its own, or the one that is held for it.
    pub(super) fn socket(&self, index: u32, connection: &Connection) -> Option<Token> {
        match index.checked_sub(FIRST_PLACE) {
            None => Some(Token { index, generation: connection.generation }),
            Some(nth) => self.places[nth as usize].carrier,
        }
    }

    /// In place of sessions apart from their sockets, names those sockets.
    pub(super) fn name_sockets(&self, tokens: &mut Vec<Token>) {
        tokens.retain_mut(|token| {
            let socket = if is_apart(*token) { self.carrier(*token) } else { Some(*token) };
            socket.inspect(|socket| *token = *socket).is_some()
        });
    }

    /// The socket that is held for this session.
    pub(super) fn carrier(&self, session: Token) -> Option<Token> {
        self.places.get((session.index - FIRST_PLACE) as usize)?.carrier
    }

    /// This WebSocket knocks for it from now on.
    pub(super) fn knock(&mut self, session: Token, socket: Token) {
        self.place(session).knocker = Some(socket);
    }

    /// The WebSocket that knocks for it, if one does.
    pub(super) fn knocker(&self, session: Token, connections: &Connections) -> Option<Token> {
        let socket = self.places.get((session.index - FIRST_PLACE) as usize)?.knocker?;
        let connection = connections.table.at(socket.index)?;
        let knocks = connection.generation == socket.generation
            && connection.session.state.knocks_for() == Some(session);
        knocks.then_some(socket)
    }

    /// Holds this socket for the session from now on.
    pub(super) fn attach(&mut self, session: Token, carrier: Token) {
        let before = self.place(session).carrier.replace(carrier);
        debug_assert!(before.is_none(), "one socket at a time");
        self.detached -= 1;
    }

    /// Holds no socket for the session any more; returns the one that was held.
    pub(super) fn detach(&mut self, session: Token) -> Option<Token> {
        let carrier = self.place(session).carrier.take();
        self.detached += usize::from(carrier.is_some());
        carrier
    }

    /// Ends the session's place; returns the socket that was held for it.
    pub(super) fn close(&mut self, session: Token) -> Option<Token> {
        let carrier = self.detach(session);
        let place = self.place(session);
        (place.id, place.knocker) = (None, None);
        self.detached -= 1;
        self.free.push(session.index - FIRST_PLACE);
        carrier
    }

    /// The parts of pages in answers that are told next.
    pub(super) fn slices(&self) -> impl Iterator<Item = &Slice> {
        let answers = self.parted.iter().filter_map(|parted| match parted {
            ApartNotice::Answer(_, answer) => Some(answer.slices()),
            _ => None,
        });
        answers.flatten()
    }

    /// Whether requests wait to be held, or notices to be given.
    pub(super) fn has_work(&self) -> bool {
        !(self.to_hold.is_empty() && self.arrivals.is_empty() && self.parted.is_empty())
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many sessions have no socket that is held for them.
    pub(super) fn detached(&self) -> usize {
        self.detached
    }

    fn place(&mut self, session: Token) -> &mut ApartSlot {
        &mut self.places[(session.index - FIRST_PLACE) as usize]
    }

    /// Panics where it contradicts itself.
    pub(super) fn invariants(&self) {
        let open = self.places.iter().filter(|place| place.id.is_some());
        let detached = open.clone().filter(|place| place.carrier.is_none());
        assert_eq!((open.clone().count(), detached.count()), (self.len(), self.detached));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_whole_id_finds_a_session_and_only_while_it_lives() {
        let mut carriers = Carriers::default();
        let (one, id) = carriers.open(3).unwrap();
        let (other, _) = carriers.open(3).unwrap();
        assert_eq!(carriers.find(&id), Some(one));
        let guessed = SessionId::new(3, one.index).unwrap();
        assert_eq!(carriers.find(&guessed), None);
        for place in [0, FIRST_PLACE - 1, FIRST_PLACE + 2, u32::MAX] {
            assert_eq!(carriers.find(&SessionId::new(3, place).unwrap()), None);
        }
        let socket = Token { index: 7, generation: 1 };
        carriers.attach(one, socket);
        assert_eq!((carriers.len(), carriers.detached()), (2, 1));
        assert_eq!(carriers.close(one), Some(socket));
        assert_eq!(carriers.find(&id), None);
        let (again, _) = carriers.open(3).unwrap();
        assert!(again.index == one.index && again.generation != one.generation);
        assert_eq!(carriers.find(&id), None, "its successor is another");
        assert_eq!((carriers.close(other), carriers.close(again)), (None, None));
        assert_eq!((carriers.len(), carriers.detached()), (0, 0));
        carriers.invariants();
    }
}
