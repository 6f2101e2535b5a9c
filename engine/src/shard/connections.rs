//! The connections of a shard and the lists in which they wait for their turn: for a time, for a
//! receive, for a visit. Nothing here calls a session.

use std::collections::VecDeque;

use super::connection::{Connection, Listed};
use super::holders::Holders;
use super::page_holders::PageHolders;
use super::room_queue::RoomQueue;
use super::table::ConnectionTable;
use super::wheel::Wheel;
use crate::clock::Millis;
use crate::driver::Token;
use crate::fanout::{Fanout, Members, Moved, NoRoom, Subscriptions};

/// Who is there, and who waits for what.
pub(super) struct Connections {
    pub(super) table: ConnectionTable,
    wheel: Wheel,
    /// Who holds memory of its own.
    pub(super) holders: Holders,
    /// Who holds pages that are rendered for all.
    pub(super) page_holders: PageHolders,
    /// Who waits for room to render what it is owed.
    pub(super) room_queue: RoomQueue,
    /// To visit for reasons of their own.
    visits: VecDeque<Token>,
    /// How many of such visits there were.
    turns: u64,
    /// To receive from.
    receives: VecDeque<Token>,
    /// Connections whose deadline has passed and that were not looked at yet; the next one is last.
    due: Vec<u32>,
}

impl Connections {
    /// None yet.
    pub(super) fn new(now: Millis) -> Self {
        Self {
            table: ConnectionTable::default(),
            wheel: Wheel::new(now),
            holders: Holders::default(),
            page_holders: PageHolders::default(),
            room_queue: RoomQueue::default(),
            visits: VecDeque::new(),
            turns: 0,
            receives: VecDeque::new(),
            due: Vec::new(),
        }
    }

    /// The connection that a token means, if that life goes on.
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Connection> {
        self.table.get_mut(token)
    }

    /// Who hears what comes over this socket: its own client, or a session whose WebSocket it is.
    pub(super) fn heard_by(&mut self, socket: Token) -> Token {
        let connection = self.table.get_mut(socket);
        connection.and_then(|it| it.session.state.as_carrying()?.hears()).unwrap_or(socket)
    }

    /// Who waits to send over this socket: its own client, or a session that it is held for.
    pub(super) fn sent_by(&mut self, socket: Token) -> Token {
        let carrier = self.table.get_mut(socket).filter(|it| !it.session.line.is_blocked());
        carrier.and_then(|it| it.session.state.as_carrying()?.streams()).unwrap_or(socket)
    }

    /// The token of whoever has this place now.
    pub(super) fn token(&self, index: u32) -> Option<Token> {
        let generation = self.table.at(index)?.generation;
        Some(Token { index, generation })
    }

    /// Counts what the client of a connection holds, after a call of its session or a send to it.
    pub(super) fn count(&mut self, index: u32, now: Millis) {
        if let Some(connection) = self.table.at_mut(index) {
            let (holds, holds_pages) = (connection.holds(), connection.holds_pages());
            let listed = &mut connection.flags.listed;
            if holds > 0 || holds_pages || listed.has(Listed::HOLDER) {
                listed.set(Listed::HOLDER, holds > 0 || holds_pages);
                self.holders.set(index, holds);
                match holds_pages {
                    true => self.page_holders.holds(index, now),
                    false => self.page_holders.lets_go(index),
                }
            }
        }
    }

    /// Takes a connection out that is there.
    pub(super) fn remove(&mut self, index: u32) -> Connection {
        self.holders.set(index, 0);
        self.page_holders.lets_go(index);
        self.wheel.remove(&mut self.table, index);
        self.table.remove(index).expect("it was there")
    }

    /// Lets the wheel look at a connection when its deadline is over.
    pub(super) fn arm(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if let Some(due) = connection.session.due(now)
            && due < Millis(u64::MAX)
        {
            self.wheel.look_by(&mut self.table, token.index, due);
        }
    }

    /// The next connection whose deadline may have passed by `told`.
    pub(super) fn take_due(&mut self, told: Millis) -> Option<u32> {
        if self.due.is_empty() {
            self.wheel.fire(&mut self.table, told, &mut self.due);
            self.due.reverse(); // whose time was over first is looked at first
        }
        self.due.pop()
    }

    /// Whether a connection whose deadline has passed still has to be looked at.
    pub(super) fn is_anyone_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// When the next deadline may pass.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.wheel.next_due()
    }

    /// Queues a visit of one connection.
    pub(super) fn visit_soon(&mut self, token: Token) {
        if let Some(connection) = self.table.get_mut(token)
            && !connection.flags.queued
            && !connection.session.line.is_blocked()
        {
            connection.flags.queued = true;
            self.visits.push_back(token);
        }
    }

    /// Queues a connection until there is room to render what it is owed.
    pub(super) fn wait_for_room(&mut self, token: Token, wanted: NoRoom) {
        if let Some(connection) = self.table.get_mut(token)
            && !connection.flags.wants_room
        {
            connection.flags.wants_room = true;
            self.room_queue.of(wanted).push_back(token);
        }
    }

    /// Who has waited longest for this room, to be visited. Passes over those who have ended.
    pub(super) fn next_for_room(&mut self, wanted: NoRoom) -> Option<Token> {
        while let Some(token) = self.room_queue.of(wanted).pop_front() {
            if let Some(connection) = self.table.get_mut(token) {
                connection.flags.wants_room = false;
                return Some(token);
            }
        }
        None
    }

    /// There was no room yet for one that was next: it is next again. Or it wants other room by
    /// now, and waits for that behind those who came before.
    pub(super) fn wait_on_for_room(&mut self, token: Token, was: NoRoom, wanted: NoRoom) {
        if let Some(connection) = self.table.get_mut(token) {
            connection.flags.wants_room = true;
            let queue = self.room_queue.of(wanted);
            if wanted == was { queue.push_front(token) } else { queue.push_back(token) }
        }
    }

    /// Whether rendered pages can be freed now, or a connection can be visited that waits for room.
    pub(super) fn makes_room(&self, fanout: &Fanout, now: Millis) -> bool {
        let may_find_pages = || self.room_queue.was_cut_short || fanout.has_idle_pages();
        self.room_queue.wanted().any(|wanted| fanout.has_room(wanted) || may_find_pages())
            || self.lets_go_next(fanout).is_some_and(|(_, due)| due <= now)
    }

    /// Which connection is closed next for the pages that it holds, and when; `None` while clients
    /// do not hold too many.
    pub(super) fn lets_go_next(&self, fanout: &Fanout) -> Option<(Token, Millis)> {
        let waits_for = self.room_queue.waits_for();
        let (index, due) = self.page_holders.oldest().filter(|_| fanout.is_stuck(waits_for))?;
        let token = self.token(index).expect("who holds pages is there");
        Some((token, if fanout.is_pressed() { Millis::default() } else { due }))
    }

    /// How many wait for a visit.
    pub(super) fn visits_waiting(&self) -> usize {
        self.visits.len()
    }

    /// The next connection to visit; `None` where it has ended, or where a send to it is in the
    /// batch already: a batch has one send for each, so it goes to the end of the queue.
    pub(super) fn next_visit(&mut self) -> Option<Token> {
        let token = self.visits.pop_front()?;
        let connection = self.table.get_mut(token)?;
        if connection.flags.planned {
            self.visits.push_back(token);
            return None;
        }
        connection.flags.queued = false;
        self.turns += 1;
        Some(token)
    }

    /// Queues a receive, where bytes may wait and are wanted.
    pub(super) fn read_on(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let flags = &mut connection.flags;
        if flags.readable && !flags.reading && connection.session.wants_bytes(flags.hangup) {
            flags.reading = true;
            self.receives.push_back(token);
        }
    }

    /// How many wait for a receive.
    pub(super) fn receives_waiting(&self) -> usize {
        self.receives.len()
    }

    /// Takes up to `max` connections to receive from, in turn.
    pub(super) fn readers(&mut self, max: usize, tokens: &mut Vec<Token>) {
        while tokens.len() < max
            && let Some(token) = self.receives.pop_front()
        {
            let Some(connection) = self.table.get_mut(token) else { continue };
            // It may have been answered since it was queued: then what it says has to wait.
            let flags = &mut connection.flags;
            flags.reading = connection.session.wants_bytes(flags.hangup);
            tokens.extend(flags.reading.then_some(token));
        }
    }

    /// A member has another seat in its channel. Where a sweep is under way it may have jumped over
    /// the sweep's place, so it is visited for itself.
    pub(super) fn move_member(&mut self, moved: Moved) {
        let token = self.token(moved.member).expect("a member is open");
        let connection = self.table.at_mut(moved.member).expect("a member is open");
        connection.subscriptions.take_seat(moved);
        if moved.in_sweep {
            self.visit_soon(token);
        }
    }

    /// Panics where a list contradicts itself or the table.
    pub(super) fn invariants(&self) {
        self.wheel.invariants(&self.table);
        let have = || self.table.iter();
        self.holders.invariants(have().map(|(index, it)| (index, it.holds())));
        self.page_holders.invariants(have().map(|(index, it)| (index, it.holds_pages())));
        let mut waiting: Vec<u32> = self
            .room_queue
            .iter()
            .filter_map(|token| {
                let connection = self.table.at(token.index)?;
                (connection.generation == token.generation).then_some(token.index)
            })
            .collect();
        waiting.sort_unstable();
        let wanting = have().filter(|(_, it)| it.flags.wants_room).map(|(index, _)| index);
        assert!(wanting.eq(waiting), "who wants room waits for it once");
    }
}

/// A log keeps nothing for a connection that takes nothing, has not caught up since it was told of
/// a loss, or waits for room: that room is held by connections that take nothing.
impl Members for Connections {
    fn has_turn(&self, member: u32) -> bool {
        let connection = self.table.at(member).expect("a member is open");
        connection.flags.queued && !connection.is_behind()
    }

    fn is_behind(&self, member: u32) -> bool {
        self.table.at(member).expect("a member is open").is_behind()
    }

    fn subscriptions(&mut self, member: u32) -> &mut Subscriptions {
        &mut self.table.at_mut(member).expect("a member is open").subscriptions
    }

    fn turns(&self) -> u64 {
        self.turns
    }

    fn queued(&self) -> usize {
        self.visits.len()
    }
}
