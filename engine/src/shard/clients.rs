//! The clients of one shard: joins their sessions to [`Connections`], to sockets, to fan-out and
//! order, without the kernel. [`super::Shard`] joins all that to a driver and the ring. What the
//! order tells clients is in [`super::from_order`], whose turn it is to be sent something in
//! [`super::visits`], and clients of many sockets in [`super::apart`].
//!
//! A connection that ends is forgotten at once; what the sequencer still has to hear of it waits in
//! `commands`. While the inbox is full no head is read and nothing is accepted, so that queue is
//! bounded by the connections that are open and by what each may ask for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::id::Epoch;

use super::carriers::{self, ApartNotice, Carriers};
use super::commands::CommandQueue;
use super::connection::{Connection, Listed};
use super::connections::Connections;
use super::inquiries::Inquiries;
use super::parcel::Parcel;
use super::recent::Recent;
use super::review::Review;
use super::slices::Slices;
use super::tick_budget::TickBudget;
use super::users::Users;
use crate::admission::address::TurnedAway;
use crate::admission::rate::{Rate, TokenBucket};
use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::diagnostics::line_limit::LineLimit;
use crate::driver::{Close, Outgoing, Received, Token};
use crate::fanout::{Fanout, must_close};
use crate::metrics::ShardMetrics;
use crate::sequencer::command::{Genesis, Requester};
use crate::sequencer::relay::Relay;
use crate::session::{
    BringResult, Effect, Exchange, ExchangeStep, Held, Here, Session, ShardResources,
};
use crate::transport::input::BroughtMessage;

/// Who is turned away for his address is told so and kept for as much as a second. So few are told:
/// a stranger who comes again and again would have all places with nothing but refusals.
const REFUSALS: Rate = Rate { per_s: 32, burst: 32 };

/// Clients that are let go in one tick for what they hold.
const LET_GO_AT_ONCE: usize = 64;

/// Everything that a shard knows of its clients.
pub(super) struct Clients {
    pub(super) number: u8,
    /// What their sessions have together.
    pub(super) shared: ShardResources,
    /// How many more that are turned away may be told so now.
    refusals: TokenBucket,
    /// What limits lines about who does not come through a proxy.
    proxies_told: LineLimit<10_000>,
    pub(super) connections: Connections,
    /// What their channels keep, and whose turn it is.
    pub(super) fanout: Fanout,
    /// What the sequencer has still to be told.
    pub(super) commands: CommandQueue,
    /// What the driver has still to be told.
    pub(super) closes: Vec<(Token, Close)>,
    /// What the order has told so far of a request that it performs in slices.
    pub(super) slices: Slices,
    /// Sessions apart from their sockets.
    pub(super) carriers: Carriers,
    /// What backends ask of all these.
    pub(super) inquiries: Inquiries,
    /// Who they are of.
    pub(super) users: Users,
    /// Who waits for keys, and how far all were asked again whether they may be here.
    pub(super) review: Review,
    /// Last position that the ring has brought.
    pub(super) position: u64,
    /// Which messages were published just now.
    pub(super) recent: Recent,
    /// Bytes of private memory that all its clients together may hold.
    private_bytes: usize,
    /// Units of work that were done so far: channels that were followed or left, messages that were
    /// imported, deadlines that were looked at. Each part of a tick counts its own
    /// ([`TickBudget`]).
    pub(super) units: usize,
    /// An epoch that the ring has brought and that has not begun here yet, and when it begins at
    /// the latest.
    pub(super) genesis: Option<(Arc<Genesis>, Millis)>,
}

impl Clients {
    /// None yet.
    pub(super) fn new((number, epoch): (u8, Epoch), shared: ShardResources, now: Millis) -> Self {
        let shards = shared.shards();
        let private_bytes = shared.context.limits.all_private(shards) / shards;
        let rendered_bytes = shared.context.limits.rendered_share(shards);
        Self {
            number,
            fanout: Fanout::new(epoch, TickBudget::DEFAULT.quantum, rendered_bytes),
            shared,
            refusals: TokenBucket::default(),
            proxies_told: LineLimit::default(),
            connections: Connections::new(now),
            commands: CommandQueue::new(number),
            closes: Vec::new(),
            slices: Slices::default(),
            carriers: Carriers::default(),
            inquiries: Inquiries::default(),
            users: Users::default(),
            review: Review::default(),
            position: 0,
            recent: Recent::new(now),
            private_bytes,
            units: 0,
            genesis: None,
        }
    }

    /// This shard's numbers.
    pub(super) fn metrics(&self) -> &ShardMetrics {
        self.shared.metrics()
    }

    /// Whether there is anything to do without the kernel or the ring.
    pub(super) fn has_work(&self, now: Millis) -> bool {
        self.owes_visits()
            || self.connections.makes_room(&self.fanout, now)
            || self.carriers.has_work()
            || self.inquiries.are_waiting()
            || self.connections.is_anyone_due()
            || self.genesis.is_some()
            || self.review.is_under_way()
            || !self.commands.backlog
                && (self.commands.is_ready() || self.connections.receives_waiting() > 0)
    }

    /// Whether somebody is to be visited without waiting for the kernel.
    pub(super) fn owes_visits(&self) -> bool {
        self.connections.visits_waiting() > 0 || self.fanout.sweep.has_work()
    }

    /// Whether one more socket is served, of `sockets_max`. Sessions apart from their sockets do
    /// not count.
    pub(super) fn table_has_room(&self, sockets_max: usize) -> bool {
        self.connections.table.len() - self.carriers.len() < sockets_max
    }

    /// Says in metrics what fan-out holds.
    pub(super) fn gauge(&self) {
        self.metrics().channels.set(self.fanout.channels.len() as u64);
        self.metrics().detached_sessions.set(self.carriers.detached() as u64);
        self.metrics().subscriptions.set(self.fanout.channels.subscriptions());
        self.metrics().rendered_bytes.set(self.fanout.rendered_bytes() as u64);
        self.metrics().waiting_for_room.set(self.connections.room_queue.len() as u64);
        self.metrics().private_bytes.set(self.connections.holders.bytes() as u64);
        self.metrics().window_bytes.set(self.fanout.channels.loose_bytes() as u64);
        self.metrics().pages_evicted.set(self.fanout.eviction.evicted());
        self.metrics().ephemeral_lost.set(self.fanout.channels.ephemeral_lost());
    }
}

/// Sessions: one is called, and then its effects are done.
impl Clients {
    pub(super) fn call(
        &mut self,
        token: Token,
        now: Millis,
        call: impl FnOnce(&mut Session, &mut ShardResources),
    ) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        self.shared.caller = token.index;
        call(&mut connection.session, &mut self.shared);
        self.perform(token, now);
    }

    /// Does the effects of the session that was called.
    pub(super) fn perform(&mut self, token: Token, now: Millis) {
        while let Some(effect) = self.shared.next_effect() {
            match effect {
                Effect::Visit => self.connections.visit_soon(token),
                Effect::Follow { request, channels } => {
                    self.commands.subscribe(token, request, channels);
                }
                Effect::Publish { request, publication, body } => {
                    self.commands.publish(token, request, *publication, body);
                }
                Effect::Unfollow(channel) => self.unfollow(token, |id| id == channel),
                Effect::UnfollowAll => self.unfollow(token, |_| true),
                Effect::HeadDone if self.is_counted(token) => {
                    self.shared.peers.head_done(token.index);
                }
                Effect::Served if self.is_counted(token) => self.shared.peers.served(token.index),
                Effect::HeadDone | Effect::Served => {}
                Effect::Hold(request) => self.carriers.to_hold.push_back((token, request)),
                Effect::Carries(session) => {
                    self.carriers.parted.push_back(ApartNotice::Carries(session, token));
                }
                Effect::Answer(answer) => {
                    let answer =
                        self.carriers.carrier(token).map(|it| ApartNotice::Answer(it, answer));
                    self.carriers.parted.extend(answer);
                }
                Effect::LetGo => {
                    let carrier = self.detach(token, now);
                    self.carriers.parted.extend(carrier.map(ApartNotice::LetGo));
                }
                Effect::TakeOver => self.carriers.parted.push_back(ApartNotice::TakesOver(token)),
                Effect::Bring(brought) => self.bring(token, *brought, now),
                Effect::Refresh(of, identity) => self.bring_token(token, of, identity, now),
                Effect::WantKeys(endpoint) => self.want_keys(token, endpoint, now),
                Effect::AskAgain => self.ask_again(token, now),
                Effect::End(how) => self.end(token, how),
            }
        }
        if let Some(connection) = self.connections.get_mut(token)
            && connection.keeps_its_end_waiting(&self.shared.context.limits)
        {
            connection.session.state.begin_answer();
            self.connections.visit_soon(token);
        }
        self.note_user(token);
        self.connections.count(token.index, now);
        self.connections.arm(token, now);
        self.connections.read_on(token);
    }

    /// Keeps where the connections of a user are. A socket that knocks for a session is none of its
    /// user's: the session is.
    fn note_user(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let identity = connection.session.line.identity();
        let was_noted = connection.flags.listed.has(Listed::OF_USER);
        if identity.is_some() == was_noted {
            return;
        }
        let is_noted = identity.is_some_and(|identity| {
            connection.session.state.knocks_for().is_none()
                && self.users.enter(token.index, identity)
        });
        if was_noted && !is_noted {
            self.users.leave(token.index);
        }
        connection.flags.listed.set(Listed::OF_USER, is_noted);
    }

    /// Lets those go who hold most of the memory that clients have for themselves, where this
    /// shard's part of it is nearly used up.
    pub(super) fn relieve(&mut self, now: Millis) {
        let most = self.private_bytes;
        for _ in 0..LET_GO_AT_ONCE {
            let Some(index) = self.connections.holders.next_to_go(most) else { break };
            let token = self.connections.token(index).expect("who holds something is there");
            self.metrics().private_let_go.add(1);
            self.call(token, now, |session, shared| session.let_go(now, shared));
        }
        self.shared.is_full = self.connections.holders.bytes() > most;
    }

    /// Whether clients may hold so many bytes more, each for itself, and nobody has to go for it.
    pub(super) fn has_private_room(&self, bytes: usize) -> bool {
        let most = self.private_bytes - self.private_bytes / 8;
        self.connections.holders.bytes() + bytes <= most
    }

    /// Does what is due by `told`, the time up to which the kernel has told everything; stops after
    /// so many units of work.
    pub(super) fn timers(&mut self, told: Millis, now: Millis, units: usize) {
        let until = self.units + units;
        while self.units < until
            && let Some(index) = self.connections.take_due(told)
        {
            self.units += 1;
            // The one that was due before may have ended this one.
            let Some(connection) = self.connections.table.at_mut(index) else { continue };
            let token = Token { index, generation: connection.generation };
            let session = &mut connection.session;
            if session.due(told).is_some_and(|due| due <= told) {
                let unread = connection.flags.reading;
                let subscriptions = &connection.subscriptions;
                let lost =
                    session.line.is_blocked() && must_close(subscriptions, &self.fanout.channels);
                session.deadline((unread, lost), (told, now), &mut self.shared);
            }
            self.perform(token, now); // which lets the wheel look again
        }
    }
}

/// Sockets.
impl Clients {
    /// A new connection. Without `room` it is kept only until it has been told so.
    pub(super) fn accept(&mut self, token: Token, peer: Option<IpAddr>, room: bool, now: Millis) {
        self.metrics().accepted.add(1);
        let admitted = self.come(token, peer, now);
        let refused = admitted.err().map(|why| (why, self.shared.turned_away(why)));
        if refused.is_some_and(|(why, _)| !self.is_told(why, now)) {
            return self.closes.push((token, Close::Abort));
        }
        self.metrics().connections.add(1);
        let open = self.shared.life.connections.fetch_add(1, Relaxed);
        let room = room && open < self.shared.context.limits.connections;
        let session = Session::new(!room, now, &self.shared.context.limits);
        let mut connection = Connection::new(token.generation, session);
        connection.flags.counted = admitted == Ok(true);
        self.connections.table.insert(token.index, connection, now);
        self.connections.arm(token, now);
        if let Some((_, violation)) = refused {
            self.call(token, now, |session, shared| {
                session.refuse(violation, None, now, shared);
            });
        }
    }

    /// A connection is this peer's. Whether it is counted.
    fn come(
        &mut self,
        token: Token,
        peer: Option<IpAddr>,
        now: Millis,
    ) -> Result<bool, TurnedAway> {
        let ShardResources { peers, context, .. } = &mut self.shared;
        match peer {
            Some(peer) => peers.come(token.index, peer, (&context.limits, &context.proxies), now),
            None if context.proxies.proxy_protocol => Err(TurnedAway::NotAProxy),
            None => Ok(false),
        }
    }

    /// Whether one that is turned away is told so. Of a listener for proxies nobody else hears
    /// anything; the operator does.
    fn is_told(&mut self, why: TurnedAway, now: Millis) -> bool {
        if why == TurnedAway::NotAProxy {
            if let Some(untold) = self.proxies_told.take(now) {
                tracing::warn!(
                    untold,
                    "a connection was ended: proxy_protocol is on, and it is none of \
                     trusted_proxies, or did not begin with a PROXY header"
                );
            }
            return false;
        }
        let is_told = self.refusals.take(REFUSALS, now, 1).is_ok();
        self.metrics().refused_silently.add(u64::from(!is_told));
        is_told
    }

    /// Takes from the bytes of a connection what a proxy says before its client does. Whether there
    /// is anything behind it.
    fn announce(&mut self, token: Token, bytes: &mut &mut [u8], now: Millis) -> bool {
        let ShardResources { peers, context, .. } = &mut self.shared;
        let judges = (&context.limits, &context.proxies);
        match peers.announce(token.index, bytes, judges, now) {
            Ok(taken) => {
                let taken = taken.unwrap_or(bytes.len());
                *bytes = &mut std::mem::take(bytes)[taken..];
                !bytes.is_empty()
            }
            Err(why) => {
                let violation = self.shared.turned_away(why);
                if self.is_told(why, now) {
                    self.call(token, now, |session, shared| {
                        session.refuse(violation, None, now, shared);
                    });
                } else {
                    self.end(token, Close::Abort);
                }
                false
            }
        }
    }

    fn is_counted(&mut self, token: Token) -> bool {
        self.connections.get_mut(token).is_some_and(|connection| connection.flags.counted)
    }

    /// How often this shard accepts.
    pub(super) fn accept_rate(&self) -> Rate {
        self.shared.context.limits.accept_rate(self.shared.shards())
    }

    /// The kernel says that bytes or an end may have come.
    pub(super) fn readable(&mut self, socket: Token, hangup: bool, gone: bool, now: Millis) {
        let token = self.connections.heard_by(socket);
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.flags.readable = true;
        connection.flags.hangup |= hangup;
        if connection.session.is_over(hangup, gone) {
            self.end(token, Close::Gracefully);
        } else {
            self.perform(token, now);
        }
    }

    /// The kernel has room again for a client that was blocked.
    pub(super) fn writable(&mut self, token: Token, now: Millis) {
        let token = self.connections.sent_by(token);
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.session.has_room(&self.shared.context.limits, now);
        self.connections.visit_soon(token);
    }

    /// Takes up to `max` connections to receive from, in turn, while commands are taken.
    pub(super) fn readers(&mut self, max: usize, tokens: &mut Vec<Token>) {
        if !self.commands.backlog {
            self.connections.readers(max, tokens);
            self.carriers.name_sockets(tokens);
        }
    }

    /// Takes what a receive brought.
    pub(super) fn received(&mut self, socket: Token, received: Received<'_>, now: Millis) {
        let token = self.connections.heard_by(socket);
        let Some(connection) = self.connections.get_mut(token) else { return };
        let flags = &mut connection.flags;
        flags.reading = false;
        self.shared.caller = token.index;
        let (session, shared) = (&mut connection.session, &mut self.shared);
        match received {
            Received::Bytes { mut bytes, more } if shared.peers.announces(token.index) => {
                flags.readable = more || flags.hangup;
                if self.announce(token, &mut bytes, now)
                    && let Some(connection) = self.connections.get_mut(token)
                {
                    connection.session.take(bytes, now, &mut self.shared);
                }
            }
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
    pub(super) fn end(&mut self, token: Token, how: Close) {
        if self.connections.get_mut(token).is_none() {
            return;
        }
        self.unfollow(token, |_| true);
        let connection = self.connections.remove(token.index);
        connection.session.state.count_out(self.metrics());
        if connection.flags.listed.has(Listed::OF_USER) {
            self.users.leave(token.index);
        }
        if connection.flags.counted {
            self.shared.peers.leave(token.index);
        }
        self.metrics().connections.sub(1);
        self.shared.life.connections.fetch_sub(1, Relaxed);
        if carriers::is_apart(token) {
            let knocker = self.carriers.knocker(token, &self.connections);
            knocker.into_iter().for_each(|it| self.end(it, how));
            match self.carriers.close(token) {
                Some(carrier) => self.end(carrier, how),
                None => {
                    self.shared.life.detached.fetch_sub(1, Relaxed);
                }
            }
            return;
        }
        self.closes.push((token, how));
        if let Some(session) = connection.session.state.as_carrying().and_then(|it| it.session())
            && self.carriers.carrier(session) == Some(token)
        {
            self.carriers.detach(session);
            self.shared.life.detached.fetch_add(1, Relaxed);
            let has_answered = connection.has_answered();
            // Until it is told so it has room, and may lie where a log is trimmed in this tick.
            if let Some(session) = self.connections.get_mut(session) {
                session.flags.lagging = true;
            }
            self.carriers.parted.push_back(ApartNotice::Lost { session, has_answered });
        }
    }

    /// A send to a connection failed: its socket is over.
    pub(super) fn fail(&mut self, token: Token) {
        let Some(connection) = self.connections.table.at(token.index) else { return };
        if let Some(socket) = self.carriers.socket(token.index, connection) {
            self.end(socket, Close::Abort);
        }
    }

    /// Cuts everyone off.
    pub(super) fn abort_all(&mut self) {
        for token in self.connections.table.tokens() {
            self.end(token, Close::Abort);
        }
    }
}

/// Clients apart from their sockets: what their sessions want.
impl Clients {
    /// Calls the exchange of a connection, where it has one.
    pub(super) fn exchange(
        &mut self,
        token: Token,
        now: Millis,
        call: impl FnOnce(Exchange, &mut Here<'_>) -> ExchangeStep,
    ) {
        self.call(token, now, |session, shared| session.exchange(now, shared, call));
    }

    /// Holds nothing for a session any more; returns what was held.
    pub(super) fn detach(&mut self, session: Token, now: Millis) -> Option<Token> {
        let carrier = self.carriers.detach(session)?;
        self.shared.life.detached.fetch_add(1, Relaxed);
        self.wait_for_socket(session, now);
        Some(carrier)
    }

    /// Lets a session wait for its next request, or ends it where too many sessions wait already.
    pub(super) fn wait_for_socket(&mut self, session: Token, now: Millis) {
        let ShardResources { life, context, ending, .. } = &self.shared;
        if *ending || life.detached.load(Relaxed) > context.limits.detached_sessions {
            return self.end(session, Close::Gracefully);
        }
        if let Some(connection) = self.connections.get_mut(session) {
            connection.session.with_held(now, &mut self.shared, Held::detach);
            self.connections.arm(session, now);
        }
    }

    /// Brings what a client says to its session on whichever shard, through the order's ring.
    fn bring(&mut self, from: Token, brought: BroughtMessage, now: Millis) {
        let shard = brought.session.shard;
        if usize::from(shard) >= self.shared.shards() {
            return self.tell(from, BringResult::Gone, now);
        }
        let requester = Requester { shard: self.number, session: from, request: 0 };
        let bytes = brought.data.len();
        self.commands.relay(Relay::new(shard, bytes, Parcel::Bring(requester, brought)));
    }

    /// Tells a request what became of what it brought to a session.
    pub(super) fn tell(&mut self, token: Token, told: BringResult, now: Millis) {
        self.exchange(token, now, |it, here| it.told(told, here));
    }
}

/// Channels.
impl Clients {
    /// Whether no more of the ring is to be read for now: a log has grown too long, or an epoch was
    /// brought that has not begun here.
    pub(super) fn must_send_first(&self) -> bool {
        self.fanout.holds_back() || self.genesis.is_some()
    }

    /// Ends the subscriptions to these channels, and tells the sequencer.
    pub(super) fn unfollow(&mut self, token: Token, leaves: impl Fn(ChannelId) -> bool) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let logs = &mut self.fanout.channels;
        let left = connection.subscriptions.take_out(|one| leaves(one.channel_id(logs)));
        let mut channels = Vec::with_capacity(left.as_slice().len());
        for subscription in left.as_slice() {
            channels.push(subscription.channel_id(logs));
            let moved = subscription.leave(logs);
            moved.into_iter().for_each(|moved| self.connections.move_member(moved));
        }
        self.units += channels.len();
        let connection = self.connections.get_mut(token).expect("it has left channels");
        connection.subscriptions.forget(&channels);
        self.commands.unsubscribe(token, &channels);
    }

    /// The planned sends, in their order.
    pub(super) fn sends(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.fanout.batch.sends().map(|(index, bytes)| {
            let connection = self.connections.table.at(index).expect("a visit keeps it open");
            let private =
                || connection.session.line.outbox().expect("private bytes were seen").front();
            let token = self.carriers.socket(index, connection).expect("a socket is held for it");
            Outgoing { token, bytes: bytes.unwrap_or_else(private) }
        })
    }

    /// Trims logs whose members have all had their turn.
    pub(super) fn trim_logs(&mut self) {
        self.fanout.trim(&mut self.connections);
    }
}
