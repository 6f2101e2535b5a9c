//! All publishers of a node, without their sockets: which have a place, which is read next and how
//! far, to which an outcome belongs, what is due.
//!
//! Whoever runs it does this in each turn: [`Publishers::read_at_most`] for each publisher that has
//! something to read, [`Publishers::handle_bytes`] with it, [`Publishers::take_groups`] on to the
//! inbox; then [`Publishers::open_sessions`], [`Publishers::handle_deadline`], and what
//! [`Publishers::get`] has to be sent; then [`Publishers::end_turn`].
//!
//! **How far each is read.** The budget ([`crate::in_flight`]) counts memory, and a few bytes of
//! the socket may become a whole message in memory. So a publisher is read only as far as there is
//! room for the worst that it may have sent. Three rules keep all of them going when there is no
//! room:
//!
//! 1. A publisher with nothing under way is always read a little. So small messages get through,
//!    and so do confirmations, which are all that some wait for.
//! 2. Outcomes that a publisher has not confirmed leave less room for everybody. They do not stop
//!    that publisher: it waits only for what is under way.
//! 3. Of the publishers in the middle of a frame, one at a time may end it out of a reserve of the
//!    budget. They take turns, and each has a limited time for it.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::server::BUFFER_BYTES_KEPT;
use fanfare_protocol::ingest::{ErrorCode, GoodbyeCode};

use super::config::{IngestConfig, Patience, Peer};
use super::draft::Group;
use super::ledger::GroupEnd;
use super::publisher::Publisher;
use super::sessions::{Counts, Sessions};
use crate::budget::BudgetShare;
use crate::clock::Millis;
use crate::in_flight::InFlight;

/// Names a connection: later ones have higher keys.
pub type Key = usize;

/// Bytes read from one publisher in one turn.
pub(super) const TURN_BYTES: usize = 64 << 10;
/// Bytes that are always read of a publisher with nothing under way: the beginning of a frame. As
/// much counts as nothing.
const LITTLE_BYTES: usize = 1 << 10;
const NOTHING_BYTES: usize = 2 * LITTLE_BYTES;
/// What that beginning of a frame takes, beside the buffer that a connection keeps anyway.
const BEGUN_BYTES: usize = BUFFER_BYTES_KEPT + 2 * NOTHING_BYTES;
/// Bytes of memory that one byte of the socket may become outside of a long frame: by the shortest
/// messages with the longest refusals.
const BYTE_COST: usize = 48;
/// The same of a long frame that is whole: its bytes, and its messages.
const FRAME_BYTE_COST: usize = 2;
/// Connections beyond the limit that are told why they are not served; further ones are dropped
/// without a word.
const REFUSALS_MAX: usize = 16;

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is served, or is told why it is not.
    Taken(Key),
    /// It is dropped without a word.
    Dropped,
}

/// One connection.
#[derive(Debug)]
struct Seat {
    publisher: Publisher,
    /// What it holds of the budget.
    share: BudgetShare,
    /// Whether it has one of the places for publishers, or is only told why it has none.
    is_guest: bool,
}

impl AsMut<Publisher> for Seat {
    fn as_mut(&mut self) -> &mut Publisher {
        &mut self.publisher
    }
}

/// The reserve, while a publisher may end its frame out of it.
#[derive(Debug)]
struct Reserve {
    holder: Key,
    until: Millis,
    /// What the holder had paid for before.
    paid: usize,
    /// What it holds beyond that.
    share: BudgetShare,
}

/// The publishers, and the sessions of those who left.
#[derive(Debug)]
pub struct Publishers {
    settings: IngestConfig,
    own_user: u32,
    patience: Patience,
    in_flight: InFlight,
    /// By the order in which they were accepted, which is that of their turns.
    seats: BTreeMap<Key, Seat>,
    next_key: Key,
    sessions: Sessions<Key>,
    /// What sessions without a connection hold of the budget.
    kept: BudgetShare,
    groups: Vec<Group>,
    /// Who may end its frame out of the reserve.
    reserve: Option<Reserve>,
    /// The publisher that had the reserve last.
    reserve_before: Key,
    /// When the node shuts down: until when publishers are waited for.
    ends: Option<Millis>,
}

impl Publishers {
    /// None yet. Keys begin with `first_key`; `own_user` is the node's.
    pub fn new(settings: IngestConfig, in_flight: InFlight, own_user: u32, first_key: Key) -> Self {
        let age_ms = settings.limits.publisher_session_age_ms;
        Self {
            own_user,
            patience: settings.patience(),
            in_flight,
            seats: BTreeMap::new(),
            next_key: first_key,
            sessions: Sessions::new(settings.sessions(), age_ms, settings.kept_bytes()),
            kept: BudgetShare::default(),
            groups: Vec::new(),
            reserve: None,
            reserve_before: 0,
            ends: None,
            settings,
        }
    }

    /// Whether there is a place for one more.
    pub fn has_place(&self) -> bool {
        self.guests() < self.settings.limits.publishers
    }

    /// Publishers that have a place.
    pub fn guests(&self) -> usize {
        self.seats.values().filter(|seat| seat.is_guest).count()
    }

    /// Publishers that are not read for want of room.
    pub fn held(&self) -> usize {
        self.seats.values().filter(|seat| seat.publisher.incoming.is_held()).count()
    }

    /// Whether this peer may publish.
    pub fn knows(&self, peer: Option<Peer>) -> bool {
        peer.is_some_and(|peer| self.settings.tenant_of(peer, self.own_user).is_some())
    }

    /// Admits a new connection of this peer, where it is known. The second value says whether it
    /// was turned away.
    pub fn admit(&mut self, now: Millis, peer: Option<Peer>) -> (Admission, bool) {
        const STRANGER: &str = "your user may not publish on this socket; the node's own user, \
            root and those in its configuration may";
        const NO_ROOM: &str = "as many publishers are connected as may be; share a connection, or \
            raise the limit of publishers";
        let tenant = peer.and_then(|peer| self.settings.tenant_of(peer, self.own_user)).cloned();
        let refusal = if tenant.is_none() {
            Some((ErrorCode::FORBIDDEN, STRANGER))
        } else if !self.has_place() {
            Some((ErrorCode::NO_ROOM, NO_ROOM))
        } else {
            None
        };
        if refusal.is_some() && self.seats.len() - self.guests() >= REFUSALS_MAX {
            return (Admission::Dropped, true);
        }
        let key = self.next_key;
        self.next_key += 1;
        let session = self.sessions.nameless(peer.map_or(u32::MAX, |peer| peer.user), key);
        // One that is refused names nothing.
        let tenant = tenant.unwrap_or_else(|| self.settings.tenant.clone());
        let mut publisher = Publisher::new(&self.settings, tenant, session, now);
        if let Some((code, text)) = refusal {
            publisher.refuse(now, code, text);
        }
        let is_guest = refusal.is_none();
        self.seats.insert(key, Seat { publisher, share: BudgetShare::default(), is_guest });
        (Admission::Taken(key), !is_guest)
    }

    /// The publisher of a connection, to be written to.
    pub fn get(&mut self, key: Key) -> Option<&mut Publisher> {
        self.seats.get_mut(&key).map(AsMut::as_mut)
    }

    /// Whether it has let us wait with its replies for too long, as far as we know.
    pub fn is_stalled(&self, key: Key, told: Millis) -> bool {
        self.seats.get(&key).is_some_and(|seat| seat.publisher.is_stalled(told, self.patience))
    }

    /// Whether it is read, as far as there is something to read.
    pub fn wants_bytes(&self, key: Key) -> bool {
        self.seats.get(&key).is_some_and(|seat| seat.publisher.wants_bytes())
    }

    /// Whether it would be read, were there room.
    pub fn waits_for_room(&self, key: Key) -> bool {
        self.seats.get(&key).is_some_and(|seat| {
            seat.publisher.incoming.is_held() && seat.publisher.keeps_its_bounds()
        })
    }

    /// How many bytes may be read of it now; that much room is its own until
    /// [`Publishers::handle_bytes`] or the turn's end.
    pub fn read_at_most(&mut self, now: Millis, key: Key) -> usize {
        let Some(Seat { publisher, share, .. }) = self.seats.get_mut(&key) else { return 0 };
        if publisher.lifecycle.drops_bytes() {
            return TURN_BYTES;
        }
        if !publisher.keeps_its_bounds() {
            return 0;
        }
        let missing = publisher.incoming.missing_bytes();
        if self.reserve.as_ref().is_some_and(|reserve| reserve.holder == key) {
            return missing.min(TURN_BYTES);
        }
        let under_way = publisher.under_way_bytes();
        let whole_costs = self.settings.limits.batch_overhead_bytes();
        let room = self.in_flight.room(under_way);
        let growth = |more| publisher.incoming.growth(more);
        let reading = Reading::within(room, missing, whole_costs, growth);
        // A lack of room is no refusal: nothing was asked for yet.
        let has_room = reading.bytes > 0 && self.in_flight.pay(share, under_way, reading.cost);
        let bytes = if has_room { reading.bytes } else { 0 };
        let bytes = match under_way < NOTHING_BYTES {
            true => bytes.max(LITTLE_BYTES),
            false => bytes,
        };
        publisher.incoming.hold(now, bytes == 0);
        bytes
    }

    /// Bytes of a connection.
    pub fn handle_bytes(&mut self, now: Millis, key: Key, bytes: &[u8]) {
        let Some(seat) = self.seats.get_mut(&key) else { return };
        seat.publisher.handle_bytes(now, bytes, &mut self.groups);
        count(&self.in_flight, self.reserve.as_mut(), key, seat);
    }

    /// Ends a connection whose user may not do what it did, and tells it why.
    pub fn refuse(&mut self, now: Millis, key: Key, text: &'static str) {
        if let Some(publisher) = self.get(key) {
            publisher.refuse(now, ErrorCode::MALFORMED, text);
        }
    }

    /// It will send no more.
    pub fn handle_end(&mut self, now: Millis, key: Key) {
        if let Some(publisher) = self.get(key) {
            publisher.handle_end(now);
        }
    }

    /// Gives sessions to the connections that ask for one. Of two that ask for the same session the
    /// newer connection gets it.
    pub fn open_sessions(&mut self, now: Millis) {
        let asking = self.seats.iter().filter(|(_, seat)| seat.publisher.asks().is_some());
        let asking: Vec<Key> = asking.map(|(key, _)| *key).collect();
        for key in asking {
            self.sessions.open(now, key, &mut self.seats, &mut self.groups);
        }
    }

    /// What is to be published, in order.
    pub fn take_groups(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.groups)
    }

    /// What became of a group.
    pub fn end_group(&mut self, now: Millis, group: (u64, u64), end: GroupEnd) {
        self.sessions.end_group(now, group, end, &mut self.seats);
    }

    /// This is the epoch now: whoever was told of another one is told goodbye.
    pub fn begin_epoch(&mut self, now: Millis, epoch: Epoch) {
        if self.settings.epoch != epoch {
            self.settings.epoch = epoch;
            self.seats.values_mut().for_each(|seat| seat.publisher.begin_epoch(now, epoch));
        }
    }

    /// The node shuts down: everyone is told the outcomes of what it sent, and goodbye.
    pub fn say_goodbye(&mut self, now: Millis, patience: Duration) {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.ends.get_or_insert(now.plus(patience_ms));
        self.seats
            .values_mut()
            .for_each(|seat| seat.publisher.say_goodbye(now, GoodbyeCode::RESTART));
    }

    /// Whether the node shuts down and nobody is left, or nobody is waited for any more.
    pub fn are_over(&self, now: Millis) -> bool {
        self.ends.is_some_and(|end| self.seats.is_empty() || now >= end)
    }

    /// Ends what has let us wait too long, by the time up to which everything was read.
    pub fn handle_deadline(&mut self, told: Millis, now: Millis, key: Key) {
        const TEXT: &str = "the memory for messages is used up, and the rest of your frame did not \
            come while there was room kept for it";
        let patience = self.patience;
        let is_over = |it: &Reserve| it.holder == key && told >= it.until;
        let is_late = self.reserve.as_ref().is_some_and(is_over);
        let Some(publisher) = self.get(key) else { return };
        publisher.handle_deadline(told, now, patience);
        if is_late {
            publisher.refuse(now, ErrorCode::STALLED, TEXT);
        }
    }

    /// When to look again if nothing happens before.
    pub fn next_deadline(&self) -> Option<Millis> {
        let publishers = self.seats.values().map(|seat| &seat.publisher);
        let deadlines = publishers.filter_map(|publisher| publisher.deadline(self.patience));
        let reserve = self.reserve.as_ref().map(|reserve| reserve.until);
        deadlines.chain(reserve).chain(self.ends).chain(self.sessions.next_expiry()).min()
    }

    /// Counts what everyone holds, and gives the reserve on. Connections that are over are dropped,
    /// and their sessions kept: their keys.
    pub fn end_turn(&mut self, now: Millis) -> Vec<Key> {
        let over = self.seats.iter().filter(|(_, seat)| seat.publisher.is_over());
        let over: Vec<Key> = over.map(|(key, _)| *key).collect();
        for key in &over {
            if let Some(mut seat) = self.seats.remove(key) {
                self.sessions.leave(now, &mut seat.publisher);
            }
        }
        // These may stay for long though nobody holds too much: outcomes that wait to be confirmed,
        // and beginnings of frames, which were read without asking for room.
        let mut lasting = self.sessions.kept_bytes();
        self.in_flight.set(&mut self.kept, lasting);
        let is_mid_frame =
            |key: &Key| self.seats.get(key).is_some_and(|it| it.publisher.is_mid_frame());
        if let Some(over) = self.reserve.take_if(|reserve| !is_mid_frame(&reserve.holder)) {
            self.reserve_before = over.holder;
        }
        for (key, seat) in &mut self.seats {
            count(&self.in_flight, self.reserve.as_mut(), *key, seat);
            let publisher = &seat.publisher;
            lasting += publisher.bytes() - publisher.under_way_bytes() + BEGUN_BYTES;
        }
        self.give_reserve(now, lasting);
        over
    }

    /// Lets the publishers that are in the middle of a frame without room for it use the reserve,
    /// one after the other.
    fn give_reserve(&mut self, now: Millis, lasting: usize) {
        // Where all together hold too much, its last use has not been freed yet.
        if self.reserve.is_some() || self.in_flight.is_over_but_for(lasting) {
            return;
        }
        let waits = |Seat { publisher, .. }: &Seat| {
            publisher.incoming.is_held() && publisher.is_mid_frame()
        };
        let next = self.seats.range(self.reserve_before + 1..).find(|(_, seat)| waits(seat));
        let next = next.or_else(|| self.seats.iter().find(|(_, seat)| waits(seat)));
        let Some((key, seat)) = next.map(|(key, seat)| (*key, seat)) else { return };
        let (until, paid) = (now.plus(self.patience.frame_ms), seat.publisher.bytes());
        self.reserve = Some(Reserve { holder: key, until, paid, share: BudgetShare::default() });
        if let Some(publisher) = self.get(key) {
            publisher.incoming.hold(now, false);
        }
    }

    /// Forgets sessions that are without a connection for too long, by the time up to which
    /// everything was read.
    pub fn expire(&mut self, told: Millis) {
        self.sessions.expire(told);
        self.in_flight.set(&mut self.kept, self.sessions.kept_bytes());
    }

    /// Messages refused since the last call.
    pub fn take_refused(&mut self) -> u64 {
        self.seats.values_mut().map(|seat| seat.publisher.take_refused()).sum()
    }

    /// Sessions that are kept without a connection.
    pub fn sessions_kept(&self) -> usize {
        self.sessions.kept()
    }

    /// What happened to sessions since the last call.
    pub fn take_counts(&mut self) -> Counts {
        self.sessions.take_counts()
    }
}

/// Counts what a publisher holds: beyond what it had, it is out of the reserve that it has.
fn count(in_flight: &InFlight, reserve: Option<&mut Reserve>, key: Key, seat: &mut Seat) {
    let mut bytes = seat.publisher.bytes();
    if let Some(reserve) = reserve.filter(|reserve| reserve.holder == key) {
        let reserved = bytes.saturating_sub(reserve.paid);
        in_flight.set_reserved(&mut reserve.share, reserved);
        bytes -= reserved;
    }
    in_flight.set(&mut seat.share, bytes);
}

/// How many bytes may be read, and what they may come to at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    bytes: usize,
    cost: usize,
}

impl Reading {
    /// What fits into `room` for one whose begun frame misses so much, and whose whole frame comes
    /// to `whole_costs` beside its bytes. `growth` says by how much more the frame's buffer takes
    /// when so many bytes more have come.
    fn within(
        room: usize,
        missing: usize,
        whole_costs: usize,
        growth: impl Fn(usize) -> usize,
    ) -> Self {
        let whole = missing.saturating_mul(FRAME_BYTE_COST).saturating_add(whole_costs);
        if missing == 0 || room >= whole {
            let begun = if missing == 0 { 0 } else { whole };
            let more = ((room - begun) / BYTE_COST).min(TURN_BYTES.saturating_sub(missing));
            let bytes = (missing + more).min(TURN_BYTES);
            let cost =
                if bytes < missing { bytes * FRAME_BYTE_COST } else { begun + more * BYTE_COST };
            return Self { bytes, cost };
        }
        // All but its end, at most; or what there is room for without a larger buffer. That grows
        // by as much as it has: where less was paid, no room would be left to whoever comes.
        let bytes = (missing - 1).min(TURN_BYTES);
        let cost = growth(bytes);
        if cost <= room {
            return Self { bytes, cost };
        }
        let (mut fit, mut beyond) = (0, bytes);
        while beyond - fit > 1 {
            let middle = usize::midpoint(fit, beyond);
            if growth(middle) == 0 { fit = middle } else { beyond = middle }
        }
        Self { bytes: fit, cost: 0 }
    }
}

#[cfg(test)]
mod tests;
