//! What the ring brings: messages, replies to what connections asked, and the end.

use std::sync::Arc;

use super::connection::{Connection, Phase, Transport};
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::stamp::Stamp;
use super::timers::early_beat;
use crate::clock::Millis;
use crate::driver::Token;
use crate::fanout::{Subscription, Subscriptions};
use crate::sequencer::command::{Command, Entry, Published, Refusal, Requester, Subscribed};
use crate::transport::follow_request::{Endpoint, FollowRequest};
use crate::transport::input::Input;
use crate::transport::{event_stream, long_poll, publish, websocket};
use fanfare_protocol::http::{Ending, Violation};

impl<M: ClientMessages> Sessions<M> {
    /// One entry that is addressed to this shard, in the order of the ring.
    pub(super) fn entry(&mut self, entry: &Entry, now: Millis) {
        match entry {
            Entry::Message(message) => {
                self.position = message.position;
                self.fanout.append(message);
            }
            Entry::Subscribed(reply) => self.subscribed(reply, now),
            Entry::SubscribeRefused(requester, refusal) => {
                self.asked_in_vain(*requester, *refusal, now);
            }
            Entry::Published(requester, result) => self.published(*requester, *result, now),
            Entry::Floors(floors) => {
                for (channel, floor) in floors.iter() {
                    self.fanout.raise_floor(*channel, *floor);
                }
            }
            Entry::Released(channels) => {
                for channel in channels.iter() {
                    self.fanout.release(*channel);
                }
            }
            Entry::End => self.end_all(now),
        }
    }

    fn subscribed(&mut self, reply: &Subscribed, now: Millis) {
        let subscriptions = reply.channels.iter().map(|channel| self.fanout.import(channel));
        let subscriptions: Vec<Subscription> = subscriptions.collect();
        let Requester { shard, session, .. } = reply.requester;
        let asking = |connection: &&mut Connection| connection.phase == Phase::Asking;
        let ask =
            self.table.get_mut(session).filter(asking).and_then(|connection| connection.ask.take());
        let Some(ask) = ask else {
            // It has ended meanwhile: what was followed for it is followed no more.
            let channels = reply.channels.iter().map(|channel| channel.channel).collect();
            self.commands.push_back(Command::Unsubscribe { shard, session, channels });
            return;
        };
        self.attach(session, &ask, subscriptions);
        self.open(reply, ask, now);
    }

    /// Makes the connection a member of every channel, with its lanes.
    fn attach(&mut self, token: Token, ask: &FollowRequest, mut subscriptions: Vec<Subscription>) {
        for subscription in &mut subscriptions {
            self.fanout.join(token.index, ask.encoding, subscription);
        }
        let connection = self.table.get_mut(token).expect("it asked");
        connection.encoding = ask.encoding;
        connection.subscriptions = Subscriptions::new(subscriptions);
    }

    /// Says hello: the head of the answer, gaps, and where delivery begins.
    fn open(&mut self, reply: &Subscribed, ask: Box<FollowRequest>, now: Millis) {
        let token = reply.requester.session;
        let (context, date) = (Arc::clone(&self.context), self.dates.at(now));
        let limits = &context.limits;
        let gaps = reply.channels.iter().filter(|channel| channel.gap.is_some()).count();
        self.metrics().gaps.add(gaps as u64);
        let connection = self.table.get_mut(token).expect("it was attached");
        let early = match connection.input.take().map(|input| *input) {
            Some(Input::Early(early)) => Some(early),
            _ => None,
        };
        match ask.endpoint {
            Endpoint::WebSocket => {
                websocket::open(&ask, reply, &context, date, connection.private());
                connection.phase = Phase::Open;
                connection.transport = Transport::WebSocket;
                connection.beat = Stamp::after(now, early_beat(token, limits.ping_ms));
                self.metrics().websockets.add(1);
            }
            Endpoint::EventStream => {
                event_stream::open(&ask, reply, &context, date, connection.private());
                connection.phase = Phase::Open;
                connection.transport = Transport::EventStream;
                connection.beat = Stamp::after(now, early_beat(token, limits.heartbeat_ms));
                self.metrics().event_streams.add(1);
            }
            Endpoint::Poll => {
                connection.phase = Phase::Waiting;
                connection.transport = Transport::Poll;
                connection.beat = Stamp::after(now, ask.wait_ms);
                connection.input = early.map(|early| Box::new(Input::Early(early)));
                let at_once = gaps > 0 || ask.wait_ms == 0;
                connection.poll = Some(Box::new(long_poll::Poll::new(*ask, reply)));
                self.metrics().polls.add(1);
                if at_once {
                    self.answer_poll(token, now)
                } else {
                    self.answer_poll_if_owed(token, now)
                }
                self.arm(token, now);
                self.read_on(token); // it may have ended its side already
                return;
            }
        }
        self.arm(token, now);
        self.visit_soon(token);
        if let Some(mut early) = early {
            self.take(token, early.rest(), now);
        }
        self.read_on(token);
    }

    /// A poll whose client has ended its side. It may be gone, or have said all and wait for the
    /// answer (RFC 9112, section 9.6), and only bytes can tell: so the head of the answer goes out
    /// now. Who is gone answers with RST; who listens gets the rest when it is there.
    pub(super) fn half_closed_poll(&mut self, token: Token, now: Millis) {
        let date = self.dates.at(now);
        let Some(connection) = self.table.get_mut(token) else { return };
        let Some(mut poll) = connection.poll.take() else { return };
        poll.begin(date, connection.private());
        connection.poll = Some(poll);
        connection.flags.keep_alive = false;
        self.visit_soon(token);
    }

    pub(super) fn asked_in_vain(&mut self, to: Requester, refusal: Refusal, now: Millis) {
        let token = to.session;
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.phase != Phase::Asking {
            return;
        }
        connection.input = None;
        let Some(ask) = connection.ask.take() else { return };
        let violation = match refusal {
            Refusal::ChannelLimit => Violation::Full,
            Refusal::Conflict => unreachable!("a subscribe has no idempotency key"),
            Refusal::ShuttingDown => Violation::Draining,
        };
        self.refuse_ask(token, &ask, violation, now);
    }

    /// How the playground's publish ended.
    pub(super) fn published(
        &mut self,
        to: Requester,
        result: Result<Published, Refusal>,
        now: Millis,
    ) {
        let (token, date) = (to.session, self.dates.at(now));
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.phase != Phase::Asking {
            return;
        }
        match result {
            Ok(published) => {
                let ending = ending(connection);
                publish::answer(published, date, ending, connection.private());
                self.answered(token, now);
            }
            Err(Refusal::ChannelLimit) => self.refuse(token, Violation::Full, now),
            Err(Refusal::Conflict) => unreachable!("the playground gives no idempotency key"),
            Err(Refusal::ShuttingDown) => self.refuse(token, Violation::Draining, now),
        }
    }

    /// A poll is owed an answer as soon as there is anything to tell.
    pub(super) fn answer_poll_if_owed(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if self.fanout.owes(&connection.subscriptions) {
            self.answer_poll(token, now);
        }
    }

    /// Answers a poll with whatever there is, and ends its subscriptions.
    pub(super) fn answer_poll(&mut self, token: Token, now: Millis) {
        let (position, epoch) = (self.position, self.context.epoch);
        let date = self.dates.at(now);
        let Some(connection) = self.table.get_mut(token) else { return };
        let Some(mut poll) = connection.poll.take() else { return };
        connection.flags.keep_alive &= !self.ending; // and the answer says so
        // What left the live window before this poll had its turn is told, not passed over.
        let ending = ending(connection);
        let subscriptions = &mut connection.subscriptions;
        let gaps = self.fanout.skip_lost(subscriptions, |gap| poll.missed(gap));
        let items = self.fanout.merged(subscriptions, connection.encoding);
        let answer = poll.answer(items, epoch, position, date, ending);
        connection.private().extend_from_slice(&answer.bytes);
        self.metrics().gaps.add(gaps);
        self.metrics().deliveries.add(answer.messages);
        self.metrics().polls.sub(1);
        self.detach(token);
        let connection = self.table.get_mut(token).expect("it was there");
        connection.phase = Phase::Head;
        connection.transport = Transport::Http;
        self.answered(token, now);
    }

    /// An ordinary answer is in the outbox: the connection is free for its next request, or ends.
    pub(super) fn answered(&mut self, token: Token, now: Millis) {
        // Looked at when it may have stalled; one that has taken all is idle for longer.
        let look_ms = self.context.limits.idle_ms.min(self.context.limits.stall_ms);
        let Some(connection) = self.table.get_mut(token) else { return };
        if !connection.flags.keep_alive || self.ending {
            return self.leave(token, look_ms, false, now);
        }
        connection.phase = Phase::Head;
        connection.transport = Transport::Http;
        connection.beat = Stamp::after(now, look_ms);
        self.arm(token, now);
        self.visit_soon(token);
        self.read_on(token);
    }
}

/// Whether another request may follow the answer.
fn ending(connection: &Connection) -> Ending {
    if connection.flags.keep_alive { Ending::KeepAlive } else { Ending::Close }
}
