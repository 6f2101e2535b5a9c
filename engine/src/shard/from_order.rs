//! What the order tells the clients of this shard, entry by entry, and what it is asked for them.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Answer;

use super::apart::Apart;
use super::clients::Clients;
use super::connection::{Connection, spread};
use super::inquiries::Inquiring;
use super::parcel::Parcel;
use crate::clock::Millis;
use crate::fanout::{Fanout, Subscription};
use crate::sequencer::command::{
    Command, Entry, PublishAnswer, Published, Refusal, Requester, Subscribed,
};

/// How long clients are given to take what they are owed of the epoch before. Meanwhile nothing
/// more is read of the ring. What they have not taken by then they are told of as a gap.
const EPOCH_MS: u64 = 1_000;

/// The clients of a shard, as the order's entries come to them.
pub(super) struct FromOrder<'a> {
    pub(super) clients: &'a mut Clients,
    pub(super) now: Millis,
}

impl FromOrder<'_> {
    /// Takes one entry that is addressed to this shard, in the order of the ring.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let clients = &mut *self.clients;
        match entry {
            Entry::Message(message) => {
                clients.position = message.position;
                let key = clients.shared.context.origins_key;
                clients.connections.table.note_exclusion(message, clients.number, key);
                clients.fanout.append(message);
            }
            Entry::Messages(messages) => {
                clients.position = messages[0].position;
                clients.units += messages.len();
                let key = clients.shared.context.origins_key;
                clients.connections.table.note_exclusion(&messages[0], clients.number, key);
                // All of them enter their logs before anybody is visited: a client of several of
                // these channels is to find them at one position.
                messages.iter().for_each(|message| clients.fanout.append(message));
            }
            Entry::Presence(event) => {
                clients.position = event.position;
                clients.fanout.append_presence(event);
            }
            Entry::Subscribed(reply) => self.subscribed(reply),
            Entry::SubscribeRefused(requester, refusal) => {
                clients.commands.answered(0, true);
                self.answered(*requester, Err(*refusal));
            }
            Entry::Published(requester, result) => self.answered(*requester, result.clone()),
            Entry::Floors(floors) => {
                clients.units += floors.len();
                floors.iter().for_each(|(id, floor)| clients.fanout.raise_floor(*id, *floor));
            }
            Entry::Released(channels) => {
                clients.units += channels.len();
                channels.iter().for_each(|channel| clients.fanout.release(*channel));
            }
            Entry::Ended(lives) => {
                clients.units += lives.len();
                lives.iter().for_each(|life| clients.fanout.end_life(life, 1 << clients.number));
            }
            Entry::Genesis(genesis) => {
                clients.genesis = Some((Arc::clone(genesis), self.now.plus(EPOCH_MS)));
            }
            Entry::Relayed(relay) => {
                if let Some(parcel) = relay.take() {
                    Apart { clients, now: self.now }.unpack(parcel);
                }
            }
            Entry::Inquiry(inquiry) => {
                Inquiring { clients, now: self.now }.begin(inquiry);
            }
            Entry::End => self.end_all(),
        }
    }

    /// Begins the epoch that the ring has brought, unless somebody is still owed something of the
    /// epoch before.
    pub(super) fn begin_epoch(&mut self) {
        let waits_for_room = self.clients.connections.room_queue.len() > 0;
        let owes_visits = self.clients.owes_visits() || waits_for_room;
        let Some((genesis, _)) =
            self.clients.genesis.take_if(|(_, due)| !owes_visits || self.now >= *due)
        else {
            return;
        };
        self.clients.units += genesis.lives.len();
        self.clients.fanout.begin_epoch(genesis.id.epoch, &genesis.lives, 1 << self.clients.number);
        self.clients.position = genesis.id.position;
    }

    /// The order has performed a request to follow, or a slice of it. The logs of its channels are
    /// here from now on; its connection follows them with the last slice.
    fn subscribed(&mut self, reply: &Subscribed) {
        let clients = &mut *self.clients;
        clients.commands.answered(reply.channels.len(), reply.left == 0);
        let import = reply.channels.iter().flat_map(|channel| &channel.import);
        let key = clients.shared.context.origins_key;
        import.for_each(|message| {
            clients.units += 1;
            clients.connections.table.note_exclusion(message, clients.number, key);
        });
        clients.units += reply.channels.len();
        let import = |channel| clients.fanout.import(channel);
        let imported: Vec<_> = reply.channels.iter().map(import).collect();
        if reply.left > 0 {
            return clients.slices.keep(reply, &imported, &clients.fanout.channels);
        }
        match clients.slices.whole(reply, &imported, &clients.fanout.channels) {
            None => self.follow(reply, imported),
            Some((whole, subscriptions)) => self.follow(&whole, subscriptions),
        }
    }

    /// Lets the connection that asked follow these channels from here on. Channels that it does not
    /// want any more, or all where it has gone, are unsubscribed from at once.
    fn follow(&mut self, reply: &Subscribed, subscriptions: Vec<Subscription>) {
        let Requester { session: token, request, .. } = reply.requester;
        self.clients.units += subscriptions.len();
        let asking = self.clients.connections.get_mut(token);
        let reads = asking.and_then(|connection| connection.session.state.awaits(request));
        if reads.is_some() && !self.has_room_for_views(reply, &subscriptions) {
            let channels: Vec<_> = reply.channels.iter().map(|channel| channel.channel).collect();
            self.clients.commands.unsubscribe(token, &channels);
            return self.clients.call(token, self.now, |session, shared| {
                session.answered(request, Answer::TooManyViews, self.now, shared);
            });
        }
        let (encoding, max_bytes) = (reads.map(|it| it.0), reads.and_then(|it| it.1));
        let (mut taken, mut unwanted) = (Vec::with_capacity(reply.channels.len()), Vec::new());
        let mut filter =
            self.clients.connections.table.withheld(token).with_frames_up_to(max_bytes);
        for (channel, mut subscription) in reply.channels.iter().zip(subscriptions) {
            let session =
                self.clients.connections.get_mut(token).map(|connection| &connection.session);
            match encoding {
                Some(_)
                    if session
                        .is_some_and(|session| session.state.wants(request, &channel.name)) =>
                {
                    let view = session.and_then(|session| session.state.view(&channel.name));
                    let channels = &mut self.clients.fanout.channels;
                    subscription.join(token.index, &mut filter, view, channels);
                    taken.push(subscription);
                }
                _ => unwanted.push(channel.channel),
            }
        }
        self.clients.commands.unsubscribe(token, &unwanted);
        let Some(encoding) = encoding else { return };
        let gaps = reply.channels.iter().filter(|channel| channel.gap.is_some()).count();
        self.clients.metrics().gaps.add(gaps as u64);
        let connection = self.clients.connections.get_mut(token).expect("it asked");
        connection.encoding = encoding;
        connection.subscriptions.add(taken, filter);
        connection.session.subscribed(
            reply,
            spread(token.index),
            self.now,
            &mut self.clients.shared,
        );
        self.clients.perform(token, self.now);
        self.clients.connections.visit_soon(token);
    }

    /// Whether each channel of a reply has room for the view by which the connection wants it.
    fn has_room_for_views(&self, reply: &Subscribed, subscriptions: &[Subscription]) -> bool {
        let Requester { session: token, request, .. } = reply.requester;
        let Some(connection) = self.clients.connections.table.at(token.index) else { return true };
        let (state, channels) = (&connection.session.state, &self.clients.fanout.channels);
        reply.channels.iter().zip(subscriptions).all(|(channel, subscription)| {
            let view = state.view(&channel.name).filter(|_| state.wants(request, &channel.name));
            view.is_none_or(|view| subscription.has_room_for(view, channels))
        })
    }

    fn answered(&mut self, to: Requester, result: Result<Published, Refusal>) {
        let Requester { session, request, .. } = to;
        let answer = result.map_or_else(Answer::Refused, Answer::Published);
        self.clients.call(session, self.now, |session, shared| {
            session.answered(request, answer, self.now, shared)
        });
    }

    /// The next command for the order. Requests of connections that have gone are left out.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        loop {
            let command = self.clients.commands.next()?;
            let Command::Subscribe(subscribe) = &command else { return Some(command) };
            let Requester { session, request, .. } = subscribe.requester;
            let asking = self.clients.connections.get_mut(session);
            if asking.is_some_and(|connection| connection.session.state.awaits(request).is_some()) {
                return Some(command);
            }
            self.clients.commands.not_asked();
        }
    }

    /// The sequencer has ended and did not take this command.
    pub(super) fn not_taken(&mut self, command: Command) {
        let requester = match command {
            Command::Subscribe(subscribe) => {
                self.clients.commands.not_asked();
                subscribe.requester
            }
            Command::Publish(_, PublishAnswer::Connection { requester, .. }) => requester,
            Command::Relay(relay) => match relay.take() {
                Some(Parcel::Bring(requester, _) | Parcel::Refresh(requester, ..)) => requester,
                _ => return, // who is on the way is told, and who was to be told is
            },
            _ => return, // nobody counts subscribers any more
        };
        self.answered(requester, Err(Refusal::ShuttingDown));
    }

    /// The order has ended: everyone gets what is owed, then a farewell.
    pub(super) fn end_all(&mut self) {
        self.clients.shared.ending = true;
        self.clients.commands.end();
        for token in self.clients.connections.table.tokens() {
            let Some(connection) = self.clients.connections.get_mut(token) else { continue };
            let Connection { encoding, subscriptions, .. } = connection;
            let Fanout { channels, renderer, .. } = &mut self.clients.fanout;
            let owed = subscriptions.are_owed(*encoding, channels, renderer);
            connection.session.order_ended(owed, self.now, &mut self.clients.shared);
            self.clients.perform(token, self.now);
        }
    }
}
