//! The clients of one shard: joins their sessions to the table and the wheel, to sockets, to
//! fan-out and order, without the kernel. [`super::Shard`] joins it to a driver and the ring.
//!
//! A connection that ends is forgotten at once; what the sequencer still has to hear of it waits in
//! `commands`. While anything waits there no head is read and nothing is accepted, so that queue is
//! bounded by the connections that are open and by what each may ask for.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::http::Violation;

use super::commands::Commands;
use super::connection::{Connection, spread};
use super::table::Table;
use super::tick_budget::TickBudget;
use super::wheel::Wheel;
use crate::auth::address::Addresses;
use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::driver::{Close, Outgoing, Received, SendOutcome, Token};
use crate::fanout::{BATCH_SENDS_MAX, Fanout, Found, Moved};
use crate::metrics::ShardMetrics;
use crate::sequencer::command::{
    Command, Entry, PublishAnswer, Published, Refusal, Requester, Subscribed,
};
use crate::session::{Effect, Session, Shared};

/// Everything that a shard knows of its clients.
pub(super) struct Clients {
    number: u8,
    /// What their sessions have together.
    pub(super) shared: Shared,
    addresses: Arc<Addresses>,
    pub(super) table: Table,
    /// What their channels keep, and whose turn it is.
    pub(super) fanout: Fanout,
    pub(super) wheel: Wheel,
    /// Connections to visit for reasons of their own.
    pub(super) queue: VecDeque<Token>,
    /// Connections to receive from.
    pub(super) reading: VecDeque<Token>,
    /// What the sequencer has still to be told.
    pub(super) commands: Commands,
    /// What the driver has still to be told.
    pub(super) closes: Vec<(Token, Close)>,
    /// Last position that the ring has brought.
    position: u64,
    /// Reusable memory for those whose time has come.
    due: Vec<u32>,
}

impl Clients {
    /// None yet.
    pub(super) fn new(number: u8, shared: Shared, addresses: Arc<Addresses>, now: Millis) -> Self {
        Self {
            number,
            fanout: Fanout::new(shared.context.epoch, TickBudget::DEFAULT.quantum),
            shared,
            addresses,
            table: Table::default(),
            wheel: Wheel::new(now),
            queue: VecDeque::new(),
            reading: VecDeque::new(),
            commands: Commands::new(number),
            closes: Vec::new(),
            position: 0,
            due: Vec::new(),
        }
    }

    /// This shard's numbers.
    pub(super) fn metrics(&self) -> &ShardMetrics {
        self.shared.metrics()
    }

    /// Whether there is anything to do without the kernel or the ring.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
            || self.fanout.has_work()
            || !(self.commands.backlog || self.commands.is_empty() && self.reading.is_empty())
    }

    /// Says in metrics what fan-out holds.
    pub(super) fn gauge(&self) {
        self.metrics().channels.set(self.fanout.channels() as u64);
        self.metrics().subscriptions.set(self.fanout.subscriptions());
        self.metrics().log_bytes.set(self.fanout.rendered_bytes() as u64);
        self.metrics().ephemeral_lost.set(self.fanout.ephemeral_lost());
    }
}

/// Sessions: each is called, and then what it wants is done.
impl Clients {
    fn call(&mut self, token: Token, now: Millis, call: impl FnOnce(&mut Session, &mut Shared)) {
        let Some(connection) = self.table.get_mut(token) else { return };
        call(&mut connection.session, &mut self.shared);
        self.perform(token, now);
    }

    /// Does what the session that was called wants.
    fn perform(&mut self, token: Token, now: Millis) {
        while let Some(effect) = self.shared.next_effect() {
            match effect {
                Effect::Visit => self.visit_soon(token),
                Effect::Follow { request, channels } => {
                    self.commands.subscribe(token, request, channels);
                }
                Effect::Publish { request, publication, body } => {
                    self.commands.publish(token, request, *publication, body);
                }
                Effect::Unfollow(channel) => self.unfollow(token, Some(channel)),
                Effect::UnfollowAll => self.unfollow(token, None),
                Effect::AnswerPoll => self.answer_poll(token, now),
                Effect::HeadDone => {
                    let connection = self.table.get_mut(token);
                    if connection.is_some_and(|connection| connection.flags.counted) {
                        self.addresses.head_done(self.number, token.index);
                    }
                }
                Effect::End(how) => self.end(token, how),
            }
        }
        self.arm(token, now);
        self.read_on(token);
    }

    /// Lets the wheel look at a connection when its deadline is over.
    fn arm(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if let Some(due) = connection.session.due(now)
            && due < Millis(u64::MAX)
        {
            self.wheel.look_by(&mut self.table, token.index, due);
        }
    }

    /// Does what is due by `told`, up to which everything that happened is known.
    pub(super) fn timers(&mut self, told: Millis, now: Millis) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(&mut self.table, told, &mut due);
        for index in due.drain(..) {
            // What was due before may have ended this one.
            let Some(connection) = self.table.at_mut(index) else { continue };
            let token = Token { index, generation: connection.generation };
            let session = &mut connection.session;
            if session.due(told).is_some_and(|due| due <= told) {
                let unread = connection.flags.reading;
                let subscriptions = &connection.subscriptions;
                let lost = session.is_blocked() && self.fanout.must_close(subscriptions);
                session.deadline((unread, lost), (told, now), &mut self.shared);
            }
            self.perform(token, now); // which lets the wheel look again
        }
        self.due = due;
    }
}

/// Sockets.
impl Clients {
    /// A new connection. Without `room` it is kept only until it has been told so.
    pub(super) fn accept(&mut self, token: Token, peer: Option<IpAddr>, room: bool, now: Millis) {
        self.metrics().accepted.add(1);
        self.metrics().connections.add(1);
        let open = self.shared.life.connections.fetch_add(1, Relaxed);
        let room = room && open < self.shared.context.limits.connections;
        let session = Session::new(!room, now, &self.shared.context.limits);
        let mut connection = Connection::new(token.generation, session);
        let welcome = peer.is_none_or(|peer| self.addresses.enter(self.number, token.index, peer));
        connection.flags.counted = peer.is_some() && welcome;
        self.table.insert(token.index, connection);
        self.arm(token, now);
        if !welcome {
            self.metrics().turned_away.add(1);
            self.call(token, now, |session, shared| {
                session.refuse(Violation::TooManyFromAddress, None, now, shared);
            });
        }
    }

    /// The kernel says that bytes or an end may have come.
    pub(super) fn readable(&mut self, token: Token, hangup: bool, gone: bool) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.readable = true;
        connection.flags.hangup |= hangup;
        if connection.session.is_over(hangup, gone) {
            self.end(token, Close::Gracefully);
        } else {
            self.read_on(token);
        }
    }

    /// The kernel has room again for a client that was blocked.
    pub(super) fn writable(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.session.has_room(&self.shared.context.limits, now);
        self.visit_soon(token);
    }

    /// Queues a receive, where bytes may wait and are wanted.
    fn read_on(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let flags = &mut connection.flags;
        if flags.readable && !flags.reading && connection.session.wants_bytes(flags.hangup) {
            flags.reading = true;
            self.reading.push_back(token);
        }
    }

    /// Takes up to `max` connections to receive from, in turn.
    pub(super) fn readers(&mut self, max: usize, tokens: &mut Vec<Token>) {
        if self.commands.backlog {
            return;
        }
        while tokens.len() < max
            && let Some(token) = self.reading.pop_front()
        {
            let Some(connection) = self.table.get_mut(token) else { continue };
            // It may have been answered since it was queued: then what it says has to wait.
            let flags = &mut connection.flags;
            flags.reading = connection.session.wants_bytes(flags.hangup);
            tokens.extend(flags.reading.then_some(token));
        }
    }

    /// What a receive brought.
    pub(super) fn received(&mut self, token: Token, received: Received<'_>, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let flags = &mut connection.flags;
        flags.reading = false;
        let (session, shared) = (&mut connection.session, &mut self.shared);
        match received {
            Received::Again => flags.readable = flags.hangup,
            Received::Failed(_) => return self.end(token, Close::Abort),
            Received::End => {
                flags.readable = false;
                session.client_ended(now, shared);
            }
            Received::Bytes { bytes, more } => {
                flags.readable = more || flags.hangup;
                session.take(bytes, now, shared);
            }
        }
        self.perform(token, now);
    }

    /// Ends a connection: whatever it followed it follows no more, and its place is free.
    fn end(&mut self, token: Token, how: Close) {
        if self.table.get_mut(token).is_none() {
            return;
        }
        self.unfollow(token, None);
        self.wheel.remove(&mut self.table, token.index);
        let connection = self.table.remove(token.index).expect("it was there");
        connection.session.count_out(self.metrics());
        if connection.flags.counted {
            self.addresses.leave(self.number, token.index);
        }
        self.metrics().connections.sub(1);
        self.shared.life.connections.fetch_sub(1, Relaxed);
        self.closes.push((token, how));
    }

    /// Cuts everyone off.
    pub(super) fn abort_all(&mut self) {
        for index in 0..self.table.places() {
            let Some(connection) = self.table.at(index) else { continue };
            self.end(Token { index, generation: connection.generation }, Close::Abort);
        }
    }
}

/// The order.
impl Clients {
    /// One entry that is addressed to this shard, in the order of the ring.
    pub(super) fn entry(&mut self, entry: &Entry, now: Millis) {
        match entry {
            Entry::Message(message) => {
                self.position = message.position;
                let key = self.shared.context.origins_key;
                self.table.note_exclusion(message, self.number, key);
                self.fanout.append(message);
            }
            Entry::Subscribed(reply) => self.subscribed(reply, now),
            Entry::SubscribeRefused(requester, refusal) => {
                self.answered(*requester, Err(*refusal), now);
            }
            Entry::Published(requester, result) => self.answered(*requester, *result, now),
            Entry::Floors(floors) => {
                floors.iter().for_each(|(id, floor)| self.fanout.raise_floor(*id, *floor));
            }
            Entry::Released(channels) => {
                channels.iter().for_each(|channel| self.fanout.release(*channel));
            }
            Entry::Ended(lives) => {
                lives.iter().for_each(|life| self.fanout.end_life(life, 1 << self.number));
            }
            Entry::End => self.end_all(now),
        }
    }

    /// Channels are followed from here on by whoever asked for them and waits for that; by whom
    /// nobody waits any more, for them all, they are followed no more.
    fn subscribed(&mut self, reply: &Subscribed, now: Millis) {
        let Requester { session: token, request, .. } = reply.requester;
        let asking = self.table.get_mut(token);
        let reads = asking.and_then(|connection| connection.session.awaits(request));
        let (encoding, max_bytes) = (reads.map(|it| it.0), reads.and_then(|it| it.1));
        let (mut taken, mut unwanted) = (Vec::with_capacity(reply.channels.len()), Vec::new());
        let import = reply.channels.iter().flat_map(|channel| &channel.import);
        let key = self.shared.context.origins_key;
        import.for_each(|message| self.table.note_exclusion(message, self.number, key));
        let mut filter = self.table.withheld(token).with_frames_up_to(max_bytes);
        for channel in &reply.channels {
            let mut subscription = self.fanout.import(channel);
            let session = self.table.get_mut(token).map(|connection| &connection.session);
            match encoding {
                Some(encoding)
                    if session.is_some_and(|session| session.wants(request, &channel.name)) =>
                {
                    self.fanout.join(token.index, encoding, &mut subscription, &mut filter);
                    taken.push(subscription);
                }
                _ => unwanted.push(channel.channel),
            }
        }
        self.commands.unsubscribe(token, unwanted);
        let Some(encoding) = encoding else { return };
        let gaps = reply.channels.iter().filter(|channel| channel.gap.is_some()).count();
        self.metrics().gaps.add(gaps as u64);
        let connection = self.table.get_mut(token).expect("it asked");
        connection.encoding = encoding;
        connection.subscriptions.add(taken, filter);
        connection.session.subscribed(reply, spread(token.index), now, &mut self.shared);
        self.perform(token, now);
        self.visit_soon(token);
        self.answer_poll_if_owed(token, now);
    }

    fn answered(&mut self, to: Requester, result: Result<Published, Refusal>, now: Millis) {
        let Requester { session, request, .. } = to;
        self.call(session, now, |session, shared| session.answered(request, result, now, shared));
    }

    /// The sequencer has ended and did not take this.
    pub(super) fn not_taken(&mut self, command: Command, now: Millis) {
        let requester = match command {
            Command::Subscribe(subscribe) => subscribe.requester,
            Command::Publish(_, PublishAnswer::Connection { requester, .. }) => requester,
            _ => return, // nobody counts subscribers any more
        };
        self.answered(requester, Err(Refusal::ShuttingDown), now);
    }

    /// The order has ended: everyone gets what is owed, then a farewell.
    pub(super) fn end_all(&mut self, now: Millis) {
        self.shared.ending = true;
        for index in 0..self.table.places() {
            let Some(connection) = self.table.at_mut(index) else { continue };
            let token = Token { index, generation: connection.generation };
            let owed = self.fanout.owes(&mut connection.subscriptions, connection.encoding);
            connection.session.order_ended(owed, now, &mut self.shared);
            self.perform(token, now);
        }
    }

    /// Ends the subscription to a channel, or to all, and tells the sequencer.
    fn unfollow(&mut self, token: Token, channel: Option<ChannelId>) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let encoding = connection.encoding;
        let left = connection
            .subscriptions
            .take_out(|one| channel.is_none_or(|channel| self.fanout.channel_id(*one) == channel));
        let mut channels = Vec::with_capacity(left.as_slice().len());
        for subscription in left.as_slice() {
            channels.push(self.fanout.channel_id(*subscription));
            let moved = self.fanout.leave(*subscription, encoding);
            moved.into_iter().for_each(|moved| self.move_member(moved));
        }
        self.commands.unsubscribe(token, channels);
    }

    /// A member has another seat in its channel. Where a sweep is under way it may have jumped over
    /// the sweep's place, so it is visited for itself.
    fn move_member(&mut self, moved: Moved) {
        let connection = self.table.at_mut(moved.member).expect("a member is open");
        let token = Token { index: moved.member, generation: connection.generation };
        connection.subscriptions.take_seat(moved);
        if moved.in_sweep {
            self.visit_soon(token);
        }
    }
}

/// Visits.
impl Clients {
    /// Queues a visit of one connection.
    fn visit_soon(&mut self, token: Token) {
        if let Some(connection) = self.table.get_mut(token)
            && !connection.flags.queued
            && !connection.session.is_blocked()
        {
            connection.flags.queued = true;
            self.queue.push_back(token);
        }
    }

    /// Plans sends to those that are to be visited for reasons of their own and to those that
    /// sweeps owe a visit. Each kind has half of the batch for itself, so that a storm of resumes
    /// does not keep live messages waiting, nor a broadcast those who come.
    pub(super) fn plan(&mut self, now: Millis) {
        self.visit_queued(BATCH_SENDS_MAX / 2, now);
        self.fanout.take_turns();
        while !self.fanout.is_batch_full() {
            let Some(index) = self.fanout.next_visit() else { break };
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            self.visit(token, now);
        }
        self.visit_queued(BATCH_SENDS_MAX, now);
    }

    /// Visits connections of the queue until the batch has `sends`, each at most once.
    fn visit_queued(&mut self, sends: usize, now: Millis) {
        for _ in 0..self.queue.len().min(BATCH_SENDS_MAX) {
            if self.fanout.planned() >= sends || self.fanout.is_batch_full() {
                return;
            }
            let Some(token) = self.queue.pop_front() else { return };
            match self.table.get_mut(token) {
                None => {}
                // One send of a batch is its own already: the next batch has the next.
                Some(connection) if connection.flags.planned => self.queue.push_back(token),
                Some(connection) => {
                    connection.flags.queued = false;
                    self.visit(token, now);
                }
            }
        }
    }

    fn visit(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.session.is_blocked() || connection.flags.planned {
            return;
        }
        let catches_up_to = connection.session.catches_up_to();
        if catches_up_to.is_some_and(|to| self.fanout.is_past(&connection.subscriptions, to)) {
            self.call(token, now, |session, shared| session.caught_up(now, shared));
            return self.visit_soon(token); // and goes on with what it is owed
        }
        let has_private = connection.session.has_private();
        if connection.session.is_waiting() && !has_private {
            return self.answer_poll_if_owed(token, now);
        }
        let found = if has_private {
            self.fanout.visit_privately(token.index);
            Found::Part // what follows is looked at in the next visit
        } else {
            let subscriptions = &mut connection.subscriptions;
            self.fanout.visit(token.index, connection.encoding, subscriptions)
        };
        connection.flags.lagging &= !matches!(found, Found::Nothing | Found::All);
        match found {
            // What was left of it passed in silence.
            Found::Nothing if catches_up_to.is_some() => self.visit_soon(token),
            Found::Nothing => {
                self.call(token, now, |session, shared| session.drained(now, shared));
            }
            Found::Lost | Found::TooLong => self.skip(token, found, now),
            // At the end of the order everyone is looked at once more, to take leave; and who may
            // have caught up.
            Found::All if !self.shared.ending && catches_up_to.is_none() => {
                connection.flags.planned = true;
            }
            Found::All | Found::Part => {
                connection.flags.planned = true;
                self.visit_soon(token);
            }
        }
    }

    /// A connection is owed messages that are not kept any more or too long for it: it is closed,
    /// or told of each channel that has lost some, and goes on where messages are. One whose buffer
    /// is full is left alone where it may go on: what it has missed is known when it takes bytes
    /// again, and told then, once, instead of with every message that it cannot take. What it has
    /// begun to read is in its outbox and goes before the notice.
    fn skip(&mut self, token: Token, found: Found, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if self.fanout.must_close(&connection.subscriptions) {
            return self.call(token, now, |session, shared| session.close_slow(now, shared));
        }
        if found == Found::Lost {
            connection.flags.lagging = true;
            let gaps = connection.skip_lost(&mut self.fanout);
            self.metrics().gaps.add(gaps);
        } else {
            let withheld = connection.withhold(&mut self.fanout);
            self.metrics().gaps.add(withheld.gaps);
            self.metrics().deliveries.add(withheld.messages);
        }
        self.visit(token, now); // what waits in its outbox now
    }

    /// A poll is owed an answer as soon as there is anything to tell.
    fn answer_poll_if_owed(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let Connection { session, subscriptions, encoding, .. } = connection;
        if session.is_waiting() && self.fanout.owes(subscriptions, *encoding) {
            self.answer_poll(token, now);
            self.perform(token, now);
        }
    }

    /// Answers a poll with whatever there is. What left the live window before it had its turn is
    /// told, not passed over.
    fn answer_poll(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let gaps = connection.skip_lost(&mut self.fanout);
        self.shared.metrics().gaps.add(gaps);
        let items = self.fanout.merged(&connection.subscriptions, connection.encoding);
        connection.session.answer_poll(items, self.position, now, &mut self.shared);
    }

    /// The planned sends, in their order.
    pub(super) fn sends(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.fanout.sends().map(|(index, bytes)| {
            let connection = self.table.at(index).expect("a visit keeps it open");
            let private = || connection.session.outbox().expect("private bytes were seen").front();
            let token = Token { index, generation: connection.generation };
            Outgoing { token, bytes: bytes.unwrap_or_else(private) }
        })
    }

    /// Settles a batch that was sent; `outcomes` says how each send ended (`None`: whole).
    pub(super) fn settle(
        &mut self,
        outcomes: &[Option<SendOutcome>],
        watches: &mut Vec<Token>,
        now: Millis,
    ) {
        let (mut deliveries, mut sent_bytes) = (0, 0);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let taken = match outcome {
                None => usize::MAX,
                Some(SendOutcome::Short(count)) => *count,
                Some(SendOutcome::Again | SendOutcome::Failed(_)) => 0,
            };
            let index = self.fanout.planned_for(nth);
            let connection = self.table.at_mut(index).expect("a visit keeps it open");
            let settled = self.fanout.settle(nth, taken, &mut connection.subscriptions);
            let (messages, bytes) = connection.settle(settled, taken, &mut self.shared.spare);
            deliveries += messages;
            sent_bytes += bytes;
        }
        let metrics = self.metrics();
        metrics.sends.add(outcomes.len() as u64);
        metrics.deliveries.add(deliveries);
        metrics.sent_bytes.add(sent_bytes);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let index = self.fanout.planned_for(nth);
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            self.sent(token, *outcome, watches, now);
        }
        self.fanout.end_batch();
    }

    /// A send to a connection has ended like this, and its cursors are settled.
    fn sent(
        &mut self,
        token: Token,
        outcome: Option<SendOutcome>,
        watches: &mut Vec<Token>,
        now: Millis,
    ) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.planned = false;
        let some = match outcome {
            None => {
                connection.session.took_all(now);
                return self.read_on(token); // what is private may have been in the way
            }
            Some(SendOutcome::Short(count)) => count > 0,
            Some(SendOutcome::Again) => false,
            Some(SendOutcome::Failed(_)) => return self.end(token, Close::Abort),
        };
        if connection.session.took_part(some, now, &mut self.shared) {
            watches.push(token);
        }
        self.perform(token, now);
    }

    /// Trims logs whose members have all had their turn.
    pub(super) fn trim_logs(&mut self) {
        self.fanout.trim(&mut self.table);
    }
}
