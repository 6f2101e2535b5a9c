//! What the ring brings: messages, replies to what connections asked, and the end.

use std::sync::Arc;

use super::connection::{Connection, Follow, Follows, Phase, Transport};
use super::lane::Press;
use super::log::Log;
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::slow::skip_lost;
use super::stamp::Stamp;
use super::timers::early_beat;
use crate::clock::Millis;
use crate::driver::Token;
use crate::message::Message;
use crate::sequencer::command::{Command, Entry, Published, Refusal, Requester, Subscribed};
use crate::transport::ask::{Ask, Target};
use crate::transport::input::Input;
use crate::transport::{event_stream, long_poll, publish, websocket};
use fanfare_protocol::http::{Ending, Violation};

impl<M: ClientMessages> Sessions<M> {
    /// One entry that is addressed to this shard, in the order of the ring.
    pub(super) fn entry(&mut self, entry: &Entry, now: Millis) {
        match entry {
            Entry::Message(message) => self.message(message),
            Entry::Subscribed(reply) => self.subscribed(reply, now),
            Entry::SubscribeRefused(requester, refusal) => {
                self.asked_in_vain(*requester, *refusal, now);
            }
            Entry::Published(requester, result) => self.published(*requester, *result, now),
            Entry::Floors(floors) => {
                for (channel, floor) in floors.iter() {
                    if let Some(place) = self.channels.find(*channel) {
                        self.channels.at_mut(place).log.raise_floor(*floor);
                        self.note_growth(place);
                    }
                }
            }
            Entry::Released(channels) => {
                for channel in channels.iter() {
                    self.channels.remove(*channel);
                }
                self.metrics().channels.set(self.channels.len() as u64);
            }
            Entry::End => self.end_all(now),
        }
    }

    fn message(&mut self, message: &Arc<Message>) {
        self.position = message.position;
        let Some(place) = self.channels.find(message.channel) else { return };
        let epoch = self.facts.epoch;
        self.keep_log_bytes(place, |log, press| log.append(Arc::clone(message), epoch, press));
        self.press.shrink();
        self.sweep.mark(place, &mut self.channels);
        self.note_growth(place);
    }

    /// Changes a log and keeps the gauge of rendered bytes true.
    pub(super) fn keep_log_bytes(&mut self, place: u32, change: impl FnOnce(&mut Log, &mut Press)) {
        let log = &mut self.channels.at_mut(place).log;
        let before = log.lane_bytes();
        change(log, &mut self.press);
        let after = log.lane_bytes();
        self.metrics().log_bytes.add((after as u64).wrapping_sub(before as u64));
    }

    fn subscribed(&mut self, reply: &Subscribed, now: Millis) {
        let mut follows = Vec::with_capacity(reply.channels.len());
        for channel in &reply.channels {
            let place = self.channels.find(channel.channel).unwrap_or_else(|| {
                let (name, rule) = (Arc::clone(&channel.name), Arc::clone(&channel.rule));
                self.channels.insert(Log::after(channel.channel, name, rule, channel.head))
            });
            let log = &mut self.channels.at_mut(place).log;
            log.import(&channel.import);
            log.raise_floor(channel.floor);
            self.note_growth(place);
            follows.push(Follow { channel: place, member: 0, next: channel.next });
        }
        self.metrics().channels.set(self.channels.len() as u64);
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
        self.attach(session, &ask, follows);
        self.open(reply, ask, now);
    }

    /// Makes the connection a member of every channel, with its lanes.
    fn attach(&mut self, token: Token, ask: &Ask, mut follows: Vec<Follow>) {
        let epoch = self.facts.epoch;
        for follow in &mut follows {
            let next = follow.next;
            self.keep_log_bytes(follow.channel, |log, press| {
                log.follow(ask.encoding, next, epoch, press);
            });
            follow.member = self.channels.at_mut(follow.channel).join(token.index);
        }
        self.metrics().subscriptions.add(follows.len() as u64);
        let connection = self.table.get_mut(token).expect("it asked");
        connection.encoding = ask.encoding;
        connection.follows = Follows::new(follows);
    }

    /// Says hello: the head of the answer, gaps, and where delivery begins.
    fn open(&mut self, reply: &Subscribed, ask: Box<Ask>, now: Millis) {
        let token = reply.requester.session;
        let (facts, date) = (Arc::clone(&self.facts), self.dates.at(now));
        let limits = &facts.limits;
        let gaps = reply.channels.iter().filter(|channel| channel.gap.is_some()).count();
        self.metrics().gaps.add(gaps as u64);
        let connection = self.table.get_mut(token).expect("it was attached");
        let early = match connection.input.take().map(|input| *input) {
            Some(Input::Early(early)) => Some(early),
            _ => None,
        };
        match ask.target {
            Target::WebSocket => {
                websocket::open(&ask, reply, &facts, date, connection.private());
                connection.phase = Phase::Open;
                connection.transport = Transport::WebSocket;
                connection.beat = Stamp::after(now, early_beat(token, limits.ping_ms));
                self.metrics().websockets.add(1);
            }
            Target::EventStream => {
                event_stream::open(&ask, reply, &facts, date, connection.private());
                connection.phase = Phase::Open;
                connection.transport = Transport::EventStream;
                connection.beat = Stamp::after(now, early_beat(token, limits.heartbeat_ms));
                self.metrics().event_streams.add(1);
            }
            Target::Poll => {
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
        let owed = connection
            .follows
            .as_slice()
            .iter()
            .any(|follow| follow.next < self.channels.at(follow.channel).log.end());
        if owed {
            self.answer_poll(token, now);
        }
    }

    /// Answers a poll with whatever there is, and ends its subscriptions.
    pub(super) fn answer_poll(&mut self, token: Token, now: Millis) {
        let (position, epoch) = (self.position, self.facts.epoch);
        let date = self.dates.at(now);
        let Some(connection) = self.table.get_mut(token) else { return };
        let Some(mut poll) = connection.poll.take() else { return };
        connection.flags.keep_alive &= !self.ending; // and the answer says so
        let mut follows = std::mem::take(&mut connection.follows);
        // What left the live window before this poll had its turn is told, not passed over.
        let gaps = skip_lost(follows.as_mut_slice(), &self.channels, |gap| poll.missed(gap));
        let items =
            super::merge::Merged::new(follows.as_slice(), &self.channels, connection.encoding);
        let answer = poll.answer(items, epoch, position, date, ending(connection));
        connection.private().extend_from_slice(&answer.bytes);
        connection.follows = follows;
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
        let look_ms = self.facts.limits.idle_ms.min(self.facts.limits.stall_ms);
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
