//! Clients that come over many sockets. Their sessions live apart from the sockets: a request is
//! held for its session, and what a client says is brought to its session from whichever shard.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::http::Violation;
use fanfare_protocol::ws::handshake::Switch;

use super::carriers::ApartNotice;
use super::clients::Clients;
use super::connection::Connection;
use super::parcel::{Moving, Parcel};
use crate::clock::Millis;
use crate::driver::{Close, Detached, Token};
use crate::sequencer::relay::Relay;
use crate::session::{BringResult, Held, Session, ShardResources};
use crate::session_id::SessionId;
use crate::transport::door::{Carriage, Hold, HoldRequest, Upgrade};

/// The clients of a shard, to hold requests for sessions and to bring those what they are told.
pub(super) struct Apart<'a> {
    pub(super) clients: &'a mut Clients,
    pub(super) now: Millis,
}

impl Apart<'_> {
    /// Gives the notices that wait for requests and sessions which met or parted. Not to be called
    /// while a batch of sends is under way.
    pub(super) fn part(&mut self) {
        while let Some(parted) = self.clients.carriers.parted.pop_front() {
            match parted {
                ApartNotice::LetGo(carrier) => {
                    self.clients.exchange(carrier, self.now, |it, here| it.release(here));
                }
                ApartNotice::Answer(carrier, answer) => {
                    self.clients.exchange(carrier, self.now, |it, here| it.answer(*answer, here));
                }
                ApartNotice::TakesOver(socket) => self.take_over(socket),
                ApartNotice::Carries(session, by)
                    if self.clients.carriers.carrier(session) == Some(by) =>
                {
                    self.clients.call(session, self.now, |session, shared| {
                        session.with_held(self.now, shared, Held::has_come);
                    });
                }
                ApartNotice::Carries(..) => {}
                ApartNotice::Lost { session, has_answered } => {
                    self.lose_socket(session, has_answered)
                }
            }
        }
    }

    /// The shard on which a request is to be held, where that is not this one.
    pub(super) fn holder(&self, request: &HoldRequest) -> Option<u8> {
        let shard = request.session()?.shard;
        (shard != self.clients.number && usize::from(shard) < self.clients.shared.shards())
            .then_some(shard)
    }

    /// Holds a request for its session, which lives on this shard or begins with this request.
    pub(super) fn hold(&mut self, carrier: Token, request: &HoldRequest) {
        if self.clients.shared.ending {
            return self.refuse(carrier, Violation::Draining, request);
        }
        let held = match request.carriage {
            Carriage::Begin(hold) => self
                .begin(carrier, hold, request)
                .map(|session| self.attach(session, carrier, hold)),
            Carriage::Held(id, hold) => self.find(&id).and_then(|session| {
                self.make_room(session).map(|()| self.attach(session, carrier, hold))
            }),
            Carriage::Socket(id, upgrade, key) => self
                .find(&id)
                .and_then(|session| self.knock(session, carrier, (upgrade, &key), request)),
        };
        if let Err(violation) = held {
            self.refuse(carrier, violation, request);
        }
    }

    /// Who is called this, unless its WebSocket carries it already.
    fn find(&mut self, id: &SessionId) -> Result<Token, Violation> {
        let session = self.clients.carriers.find(id).ok_or(Violation::SessionGone)?;
        let connection = self.clients.connections.get_mut(session).ok_or(Violation::SessionGone)?;
        let is_stream = connection.session.state.is_stream();
        match connection.session.state.as_held() {
            Some(_) => Ok(session),
            None if is_stream => Err(Violation::SessionTaken),
            None => Err(Violation::SessionGone),
        }
    }

    /// Refuses to hold a request.
    pub(super) fn refuse(&mut self, carrier: Token, violation: Violation, request: &HoldRequest) {
        self.clients.metrics().turned_away.add(1);
        let reader = request.origin.as_deref();
        self.clients.call(carrier, self.now, |session, shared| {
            session.refuse(violation, reader, self.now, shared)
        });
    }

    /// Begins a session apart from its sockets, of which this is the first.
    fn begin(
        &mut self,
        carrier: Token,
        hold: Hold,
        request: &HoldRequest,
    ) -> Result<Token, Violation> {
        let machines = self.clients.shared.machines().cloned().ok_or(Violation::NotFound)?;
        let ShardResources { context, life, .. } = &self.clients.shared;
        let (limits, life) = (&context.limits, Arc::clone(life));
        if life.connections.load(Relaxed) >= limits.connections {
            return Err(Violation::Full);
        }
        let (token, id) = self.clients.carriers.open(self.clients.number).ok_or(Violation::Full)?;
        let ShardResources { peers, context, .. } = &mut self.clients.shared;
        let Ok(counted) = peers.come_beside(token.index, carrier.index, &context.limits) else {
            self.clients.metrics().address_connections_refused.add(1);
            self.clients.carriers.close(token);
            return Err(Violation::TooManyFromAddress);
        };
        life.connections.fetch_add(1, Relaxed);
        life.detached.fetch_add(1, Relaxed);
        self.clients.metrics().connections.add(1);
        let encoding = hold.encoding;
        let session = {
            let (machine, shared) = (machines(), &mut self.clients.shared);
            let identity = request.identity.clone();
            Session::held(machine, &id, identity, encoding, self.now, shared)
        };
        let mut connection = Connection::new(token.generation, session);
        connection.flags.counted = counted;
        connection.encoding = encoding;
        self.clients.connections.table.insert(token.index, connection, self.now);
        self.clients.perform(token, self.now);
        Ok(token)
    }

    /// Ends the request that is held for a session, to make room for the next one. Where something
    /// was sent over it, nobody knows whether it arrived, so the session ends and its client begins
    /// anew.
    fn make_room(&mut self, session: Token) -> Result<(), Violation> {
        let Some(carrier) = self.clients.carriers.carrier(session) else {
            // The loss of an earlier socket is told before the next request is held.
            self.part();
            return match self.clients.connections.get_mut(session) {
                Some(_) => Ok(()),
                None => Err(Violation::SessionGone),
            };
        };
        let connections = &mut self.clients.connections;
        let has_answered = connections.get_mut(carrier).is_some_and(|it| it.has_answered());
        let connection = connections.get_mut(session).ok_or(Violation::SessionGone)?;
        if !has_answered && !connection.may_part() {
            self.clients.end(session, Close::Gracefully);
            return Err(Violation::SessionGone);
        }
        let before = self.clients.detach(session, self.now);
        self.clients.carriers.parted.extend(before.map(ApartNotice::LetGo));
        self.clients.connections.get_mut(session).map(|_| ()).ok_or(Violation::SessionGone)
    }

    fn attach(&mut self, session: Token, carrier: Token, hold: Hold) {
        let Clients { carriers, connections, .. } = &mut *self.clients;
        let knocker = carriers.knocker(session, connections);
        let (now, hold) = (self.now, knocker.map_or(hold, |_| hold.at_once()));
        carriers.attach(session, carrier);
        self.clients.shared.life.detached.fetch_sub(1, Relaxed);
        self.clients.exchange(carrier, self.now, |it, here| it.carry(session, hold.once, here));
        let connection = self.clients.connections.get_mut(session).expect("it is there");
        connection.encoding = hold.encoding;
        self.clients.call(session, now, |session, shared| session.comes(hold, now, shared));
    }

    /// A request becomes a WebSocket that may take a session's client over, and the poll that waits
    /// ends, so that the client can leave off.
    fn knock(
        &mut self,
        session: Token,
        socket: Token,
        upgrade: (Upgrade, &Switch),
        request: &HoldRequest,
    ) -> Result<(), Violation> {
        let (now, Clients { carriers, connections, .. }) = (self.now, &mut *self.clients);
        if carriers.knocker(session, connections).is_some() {
            return Err(Violation::SessionTaken);
        }
        carriers.knock(session, socket);
        self.clients.exchange(socket, self.now, |it, here| {
            it.knock(session, upgrade, request.identity.clone(), here)
        });
        self.clients.call(session, now, |it, shared| {
            it.with_held(now, shared, Held::hurry);
        });
        Ok(())
    }

    /// A WebSocket takes over the client that it knocks for, where the request that is held for
    /// that may end; or ends with it.
    fn take_over(&mut self, socket: Token) {
        let now = self.now;
        let Some(connection) = self.clients.connections.get_mut(socket) else { return };
        let (flags, Some(session)) = (connection.flags, connection.session.state.knocks_for())
        else {
            return;
        };
        if self.make_room(session).is_err() {
            return self.clients.end(socket, Close::Gracefully);
        }
        let mut given = None;
        self.clients.call(socket, now, |it, shared| given = it.give_socket(now, shared));
        let Some(given) = given else { return };
        self.clients.carriers.attach(session, socket);
        self.clients.shared.life.detached.fetch_sub(1, Relaxed);
        let connection = self.clients.connections.get_mut(session).expect("it is there");
        connection.encoding = given.encoding();
        connection.flags.readable = flags.readable;
        connection.flags.hangup = flags.hangup;
        self.clients.call(session, now, |it, shared| it.take_over(given, now, shared));
    }

    /// The socket that was held for this session is lost; its answer may have gone out over it.
    fn lose_socket(&mut self, session: Token, has_answered: bool) {
        let Some(connection) = self.clients.connections.get_mut(session) else { return };
        if has_answered || connection.may_part() {
            self.clients.wait_for_socket(session, self.now);
        } else {
            self.clients.end(session, Close::Abort);
        }
    }

    /// Does what another shard has sent.
    pub(super) fn unpack(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Bring(from, mut brought) => {
                let mut told = BringResult::Gone;
                if let Some(session) = self.clients.carriers.find(&brought.session) {
                    let data = &mut brought.data;
                    self.clients.call(session, self.now, |it, shared| {
                        told = it.bring(data, self.now, shared)
                    });
                }
                self.clients.commands.relay(Relay::new(from.shard, 0, Parcel::Told(from, told)));
            }
            Parcel::Refresh(from, token, identity) => {
                let mut told = BringResult::Gone;
                self.clients.call(token, self.now, |it, shared| {
                    told = it.refresh(identity, self.now, shared);
                });
                self.clients.commands.relay(Relay::new(from.shard, 0, Parcel::Told(from, told)));
            }
            Parcel::Told(to, told) => self.clients.tell(to.session, told, self.now),
            Parcel::Hold(moving) => self.clients.carriers.arrivals.push_back(moving),
        }
    }

    /// Sends a request, with its detached socket, to the shard on which it is to be held.
    pub(super) fn send_away(
        &mut self,
        token: Token,
        shard: u8,
        socket: Detached,
        request: Box<HoldRequest>,
    ) {
        let connection = self.clients.connections.remove(token.index);
        let counted = connection.flags.counted;
        let peer = counted.then(|| self.clients.shared.peers.leave(token.index)).flatten();
        self.clients.metrics().connections.sub(1);
        let Some(unheld) = connection.session.state.into_unheld() else { return };
        let last_words = self.clients.shared.last_words(request.origin.as_deref(), self.now);
        let life = Arc::clone(&self.clients.shared.life);
        let moving = Moving::new(socket, request, unheld, peer, last_words, life);
        let bytes = moving.memory();
        self.clients.commands.relay(Relay::new(shard, bytes, Parcel::Hold(Box::new(moving))));
    }

    /// Takes in a request from another shard, whose socket has this place now.
    pub(super) fn arrive(&mut self, token: Token, mut moving: Moving) {
        let unheld = moving.unheld.take().expect("it is taken once");
        let session = Session::unheld(unheld, self.now);
        let mut connection = Connection::new(token.generation, session);
        if let Some(peer) = moving.peer {
            self.clients.shared.peers.come_again(token.index, peer);
            connection.flags.counted = true;
        }
        self.clients.metrics().connections.add(1);
        self.clients.connections.table.insert(token.index, connection, self.now);
        self.hold(token, &moving.request);
    }
}
