//! A round of visits: whose turn it is to be sent what it is owed, and what its send came to.

use fanfare_protocol::id::Id;

use super::clients::Clients;
use super::connection::Connection;
use crate::clock::Millis;
use crate::driver::{SendOutcome, Token};
use crate::fanout::{BATCH_SENDS_MAX, Fanout, NoRoom, Settled, VisitResult, must_close};

/// Clients that are ended before one batch for the pages that they hold.
const CLOSES_MAX: usize = 64;
/// Visits in one batch of those who waited for room.
const WAITING_MAX: usize = 64;

/// Visits of clients at one time.
pub(super) struct Visits<'a> {
    pub(super) clients: &'a mut Clients,
    pub(super) now: Millis,
}

impl Visits<'_> {
    /// Plans sends to those that are to be visited for reasons of their own and to those that
    /// sweeps owe a visit. Each kind has half of the batch for itself, so that a storm of resumes
    /// does not keep live messages waiting, nor a broadcast newcomers. Stops when answers to
    /// polls have taken `units` units of work. Connections that waited for room come first, as far
    /// as there is room, and the others get what is left.
    pub(super) fn plan(&mut self, units: usize) {
        self.free_pages();
        let waits_for = self.clients.connections.room_queue.waits_for();
        let new_after = self.clients.recent.after(self.clients.position, self.now);
        self.clients.fanout.begin_batch(waits_for, new_after);
        let until = self.clients.units + units;
        if waits_for.is_some() {
            self.visit_waiting(until);
            self.clients.fanout.renderer.begin_part();
        }
        self.visit_queued(until, Fanout::is_batch_half_full);
        let Fanout { renderer, sweep, channels, .. } = &mut self.clients.fanout;
        renderer.begin_part();
        sweep.take_turns(channels);
        // Its own: those who catch up by polls keep no live message waiting.
        let until_swept = self.clients.units + units;
        while !self.clients.fanout.is_batch_full() && self.clients.units < until_swept {
            let Some(index) = self.clients.fanout.sweep.next_visit() else { break };
            if let Some(token) = self.clients.connections.token(index) {
                self.visit_or_wait(token);
            }
        }
        self.visit_queued(until, Fanout::is_batch_full);
    }

    /// While clients hold more rendered pages than there is room for, closes those that have held
    /// some for longest. They are in the middle of a message or an answer and read too slowly.
    fn free_pages(&mut self) {
        for _ in 0..CLOSES_MAX {
            let next = self.clients.connections.lets_go_next(&self.clients.fanout);
            let due = next.filter(|(_, due)| *due <= self.now);
            let Some((token, _)) = due else { return };
            self.clients.call(token, self.now, |session, shared| session.let_go_of_pages(shared));
        }
    }

    /// Visits connections of the queue until the batch is over for them, each at most once.
    fn visit_queued(&mut self, until: usize, is_over: impl Fn(&Fanout) -> bool) {
        for _ in 0..self.clients.connections.visits_waiting().min(BATCH_SENDS_MAX) {
            if is_over(&self.clients.fanout) || self.clients.units >= until {
                return;
            }
            if let Some(token) = self.clients.connections.next_visit() {
                self.visit_or_wait(token);
            }
        }
    }

    /// Where there is room, visits those who have waited longest for it, until one of them finds
    /// none. Those who want what was rendered for the first of them need no room of their own.
    /// Nobody is looked at before its turn, so what one has missed meanwhile is told once, then.
    fn visit_waiting(&mut self, until: usize) {
        let was_cut_short = self.clients.connections.room_queue.was_cut_short;
        let mut left = WAITING_MAX;
        for wanted in NoRoom::ALL {
            if !was_cut_short && !self.clients.fanout.has_room(wanted) {
                continue;
            }
            loop {
                let is_over = self.clients.fanout.is_batch_half_full() || left == 0;
                if is_over || self.clients.units >= until {
                    self.clients.connections.room_queue.was_cut_short = true;
                    return;
                }
                let Some(token) = self.clients.connections.next_for_room(wanted) else { break };
                left -= 1;
                if let Err(no_room) = self.visit(token) {
                    self.clients.connections.wait_on_for_room(token, wanted, no_room);
                    if no_room == wanted {
                        break;
                    }
                }
            }
        }
        self.clients.connections.room_queue.was_cut_short = false;
    }

    fn visit_or_wait(&mut self, token: Token) {
        if let Err(no_room) = self.visit(token) {
            self.clients.connections.wait_for_room(token, no_room);
        }
    }

    /// Visits one connection.
    ///
    /// # Errors
    /// Where nothing was planned because there is no room to render what it is owed first.
    fn visit(&mut self, token: Token) -> Result<(), NoRoom> {
        let (clients, now) = (&mut *self.clients, self.now);
        let Some(connection) = clients.connections.get_mut(token) else { return Ok(()) };
        if connection.session.line.is_blocked() || connection.flags.planned {
            return Ok(());
        }
        let has_private = connection.session.line.has_private();
        if connection.flags.wants_room && !has_private {
            return Ok(()); // its turn comes with the room
        }
        if clients.carriers.socket(token.index, connection).is_none() {
            return Ok(()); // it was lost, and the session is told so before the next batch
        }
        let catches_up_to = connection.session.state.catches_up_to();
        let channels = &clients.fanout.channels;
        if catches_up_to.is_some_and(|to| connection.subscriptions.are_past(to, channels)) {
            clients.call(token, now, |session, shared| session.caught_up(now, shared));
            clients.connections.visit_soon(token); // and goes on with what it is owed
            return Ok(());
        }
        let state = &connection.session.state;
        if state.is_polled() && (!has_private || state.answers_with_private()) {
            return self.answer_poll(token);
        }
        let found = if has_private {
            match connection.session.line.outbox().filter(|outbox| outbox.is_scattered()) {
                None => clients.fanout.batch.plan_private(token.index),
                Some(outbox) => {
                    let copy = |out: &mut Vec<u8>, max| outbox.copy(out, max);
                    clients.fanout.batch.plan_copied(token.index, copy);
                }
            }
            VisitResult::Part // what follows is looked at in the next visit
        } else {
            let Connection { encoding, subscriptions, .. } = connection;
            let Fanout { batch, channels, renderer, .. } = &mut clients.fanout;
            batch.visit(token.index, *encoding, subscriptions, channels, renderer)
        };
        connection.flags.lagging &= !matches!(found, VisitResult::Nothing | VisitResult::All);
        match found {
            // What was left was skipped without a word: the next visit finds that it has caught up.
            VisitResult::Nothing if catches_up_to.is_some() => {
                clients.connections.visit_soon(token)
            }
            VisitResult::Nothing => {
                clients.call(token, now, |session, shared| session.drained(now, shared));
            }
            VisitResult::Lost | VisitResult::TooLong => return self.skip(token, found),
            VisitResult::NoRoom(no_room) => return Err(no_room),
            // Not visited again, unless the order has ended and it is to be told goodbye, or its
            // machine waits to be told that it has caught up.
            VisitResult::All if !clients.shared.ending && catches_up_to.is_none() => {
                connection.flags.planned = true;
            }
            VisitResult::All | VisitResult::Part => {
                connection.flags.planned = true;
                clients.connections.visit_soon(token);
            }
        }
        Ok(())
    }

    /// Answers a poll as soon as there is anything to tell, with whatever there is: gathers it in
    /// turns. Messages that left the live window before its turn are told as a gap.
    ///
    /// # Errors
    /// Where there is no room to render the first of it: then nothing was gathered.
    fn answer_poll(&mut self, token: Token) -> Result<(), NoRoom> {
        let Clients { connections, fanout, shared, units, position, .. } = &mut *self.clients;
        let Some(connection) = connections.get_mut(token) else { return Ok(()) };
        let Connection { session, subscriptions, encoding, .. } = connection;
        if session.state.gathering().is_none() {
            let has_private = session.line.has_private();
            let Fanout { channels, renderer, .. } = fanout;
            if !subscriptions.are_owed(*encoding, channels, renderer) && !has_private {
                let now = self.now;
                self.clients.call(token, now, |it, shared| it.drained(now, shared));
                return Ok(());
            }
            session.state.begin_answer();
        }
        if session.state.gathering().is_some_and(|gathering| gathering.is_empty()) {
            let gaps = connection.skip_lost(fanout);
            shared.metrics().gaps.add(gaps);
        }
        let Connection { session, subscriptions, encoding, .. } = connection;
        *units += subscriptions.as_slice().len();
        let is_whole = session.has_spoken_behind_gathered();
        let Some(gathering) = session.state.gathering() else { return Ok(()) };
        let gathered = match is_whole {
            true => Ok(Some(fanout.renderer.epoch())),
            false => fanout.gather(subscriptions, *encoding, gathering),
        };
        let epoch = match gathered {
            Ok(Some(epoch)) => epoch,
            Ok(None) => {
                connections.count(token.index, self.now);
                connections.visit_soon(token);
                return Ok(());
            }
            // What was written for it alone is an answer.
            Err(_) if session.line.has_private() => fanout.renderer.epoch(),
            Err(no_room) => {
                connections.count(token.index, self.now);
                return Err(no_room);
            }
        };
        session.answer_poll(Id { epoch, position: *position }, self.now, shared);
        self.clients.perform(token, self.now);
        Ok(())
    }

    /// A connection is owed messages that are not kept any more or too long for it: it is closed,
    /// or told of each channel that has lost some, and goes on where messages are. One whose buffer
    /// is full is left alone where it may go on: what it has missed is known when it takes bytes
    /// again, and told then, once, instead of with every message that it cannot take. What it has
    /// begun to read is in its outbox and goes before the notice.
    ///
    /// # Errors
    /// As [`Visits::visit`], of what it goes on with.
    fn skip(&mut self, token: Token, found: VisitResult) -> Result<(), NoRoom> {
        let (clients, now) = (&mut *self.clients, self.now);
        let Some(connection) = clients.connections.get_mut(token) else { return Ok(()) };
        if must_close(&connection.subscriptions, &clients.fanout.channels) {
            clients.call(token, now, |session, shared| session.close_slow(now, shared));
            return Ok(());
        }
        if found == VisitResult::Lost {
            connection.flags.lagging = true;
            let gaps = connection.skip_lost(&mut clients.fanout);
            clients.metrics().gaps.add(gaps);
        } else {
            let withheld = connection.withhold(&mut clients.fanout);
            clients.metrics().gaps.add(withheld.gaps);
            clients.metrics().deliveries.add(withheld.messages);
        }
        self.visit(token) // what waits in its outbox now
    }

    /// Settles a batch that was sent; `outcomes` says how each send ended (`None`: whole).
    pub(super) fn settle(&mut self, outcomes: &[Option<SendOutcome>], watches: &mut Vec<Token>) {
        let clients = &mut *self.clients;
        let (mut deliveries, mut sent_bytes) = (0, 0);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let taken = match outcome {
                None => usize::MAX,
                Some(SendOutcome::Short(count)) => *count,
                Some(SendOutcome::Again | SendOutcome::Failed(_)) => 0,
            };
            let index = clients.fanout.batch.member(nth);
            let connection =
                clients.connections.table.at_mut(index).expect("a visit keeps it open");
            let Fanout { batch, channels, .. } = &clients.fanout;
            let settled = batch.settle(nth, taken, &mut connection.subscriptions, channels);
            let is_private = matches!(settled, Settled::Private(_));
            let (messages, bytes) = connection.settle(settled, &mut clients.shared.spare);
            if is_private || connection.session.line.outbox().is_some() {
                clients.connections.count(index, self.now);
            }
            deliveries += messages;
            sent_bytes += bytes;
        }
        let metrics = clients.metrics();
        metrics.sends.add(outcomes.len() as u64);
        metrics.deliveries.add(deliveries);
        metrics.sent_bytes.add(sent_bytes);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let index = self.clients.fanout.batch.member(nth);
            if let Some(token) = self.clients.connections.token(index) {
                self.sent(token, *outcome, watches);
            }
        }
        self.clients.fanout.batch.clear();
    }

    /// A send to a connection has ended like this, and its cursors are settled.
    fn sent(&mut self, token: Token, outcome: Option<SendOutcome>, watches: &mut Vec<Token>) {
        let (clients, now) = (&mut *self.clients, self.now);
        let Some(connection) = clients.connections.get_mut(token) else { return };
        connection.flags.planned = false;
        let some = match outcome {
            None => {
                connection.session.took_all(now);
                // Its bytes may not have been read while private bytes waited for it.
                return clients.connections.read_on(token);
            }
            Some(SendOutcome::Short(count)) => count > 0,
            Some(SendOutcome::Again) => false,
            Some(SendOutcome::Failed(_)) => return clients.fail(token),
        };
        if connection.session.took_part(some, now, &mut clients.shared) {
            let connection = clients.connections.table.at(token.index).expect("it goes on");
            watches.extend(clients.carriers.socket(token.index, connection));
        }
        clients.perform(token, now);
    }
}
