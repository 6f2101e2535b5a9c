//! Questions of backends on one shard: which connections are meant, and what becomes of them.
//!
//! One connection is found by its name, and those of a user by [`super::users`], without a search;
//! whoever follows a channel or is of a tenant is found by going through the table. That is as much
//! work as there are connections, so it is done in units, some in each tick, by whatever place
//! comes next: who comes to a place that was passed came after the question, and is not meant.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_identity::Pattern;

use super::clients::Clients;
use super::connection::Connection;
use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::driver::Token;
use crate::inquiry::{Act, DescribedConnection, DirectMessage, DirectRefusal, Dismissal};
use crate::inquiry::{Findings, Inquiry, Whom};
use crate::origin::{Named, Origin};

/// Units of work for a question in the moment in which the ring brings it. Most are done then.
const UNITS_AT_ONCE: usize = 64;
/// What a description takes beside its names, as the room for descriptions counts it: that of a
/// connection, and that of each of its channels.
const DESCRIBED_BYTES: usize = 256;
const DESCRIBED_CHANNEL_BYTES: usize = 64;

/// Questions that are not answered yet.
#[derive(Default)]
pub(super) struct Inquiries(VecDeque<UnderWay>);

/// A question, and how far it came.
struct UnderWay {
    inquiry: Arc<Inquiry>,
    /// The first place that was not looked at.
    next: u32,
    findings: Findings,
}

impl Inquiries {
    /// Whether one is to be worked on.
    pub(super) fn are_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The clients of a shard, to be asked for.
pub(super) struct Inquiring<'a> {
    pub(super) clients: &'a mut Clients,
    pub(super) now: Millis,
}

impl Inquiring<'_> {
    /// The ring brings a question.
    pub(super) fn begin(&mut self, inquiry: &Arc<Inquiry>) {
        let inquiry = Arc::clone(inquiry);
        let mut begun = UnderWay { inquiry, next: 0, findings: Findings::default() };
        let until = self.clients.units + UNITS_AT_ONCE;
        match self.go_on(&mut begun, until) {
            true => begun.inquiry.answer(begun.findings),
            false => self.clients.inquiries.0.push_back(begun),
        }
    }

    /// Works on for so many units, a turn for each question.
    pub(super) fn pursue(&mut self, units: usize) {
        let until = self.clients.units + units;
        while self.clients.units < until
            && let Some(mut under_way) = self.clients.inquiries.0.pop_front()
        {
            let turn = until.min(self.clients.units + UNITS_AT_ONCE);
            match self.go_on(&mut under_way, turn) {
                true => under_way.inquiry.answer(under_way.findings),
                false => self.clients.inquiries.0.push_back(under_way),
            }
        }
    }

    /// Works on at one; whether it is done.
    fn go_on(&mut self, under_way: &mut UnderWay, until: usize) -> bool {
        let UnderWay { inquiry, next, findings } = under_way;
        if let Whom::Connection(Named { index, generation, .. }) = inquiry.whom {
            self.meet(Token { index, generation }, inquiry, findings);
            return true;
        }
        while let Some(token) = self.next_place(inquiry, *next) {
            if self.clients.units >= until {
                return false;
            }
            self.clients.units += 1;
            self.meet(token, inquiry, findings);
            *next = token.index + 1;
        }
        true
    }

    /// Who may be meant next, at this place or behind it.
    fn next_place(&self, inquiry: &Inquiry, from: u32) -> Option<Token> {
        let table = &self.clients.connections.table;
        let index = match &inquiry.whom {
            Whom::User(user) => self.clients.users.next(&inquiry.tenant, user, from),
            _ => table.next(from),
        }?;
        self.clients.connections.token(index)
    }

    /// Does it to one connection, if it is meant.
    fn meet(&mut self, token: Token, inquiry: &Inquiry, findings: &mut Findings) {
        if !self.is_meant(token, inquiry) {
            return;
        }
        let done = match &inquiry.act {
            Act::Describe => {
                let described = self.describe(token, inquiry);
                findings.described.extend(described);
                true
            }
            Act::Disconnect(why) => self.disconnect(token, why),
            Act::Unsubscribe(pattern, why) => {
                let left = self.unsubscribe(token, pattern, why);
                findings.subscriptions += left;
                left > 0
            }
            Act::Send(message) => {
                findings.not_taken = findings.not_taken.or(self.send(token, message).err());
                true
            }
        };
        findings.connections += usize::from(done);
    }

    /// A request that is held for a session is not: its session is.
    fn is_meant(&mut self, token: Token, inquiry: &Inquiry) -> bool {
        let tenant = &self.clients.shared.context.tenant;
        let Some(connection) = self.clients.connections.get_mut(token) else { return false };
        let tenant = connection.identity().map_or(tenant, |identity| &identity.tenant);
        if connection.session.state.as_carrying().is_some() || *tenant != inquiry.tenant {
            return false;
        }
        match &inquiry.whom {
            Whom::Connection(_) | Whom::User(_) | Whom::Everyone => true,
            Whom::Following(pattern) => {
                !self.followed(token, pattern).is_empty() || self.asks_for(token, pattern)
            }
        }
    }

    fn asks_for(&mut self, token: Token, pattern: &Pattern) -> bool {
        let connection = self.clients.connections.get_mut(token);
        connection.is_some_and(|it| !it.session.asks_for(pattern).is_empty())
    }

    /// The channels that a connection follows and that this matches.
    fn followed(&mut self, token: Token, pattern: &Pattern) -> Vec<(ChannelId, Arc<ChannelName>)> {
        let Some(connection) = self.clients.connections.get_mut(token) else { return Vec::new() };
        let (logs, all) = (&self.clients.fanout.channels, connection.subscriptions.as_slice());
        self.clients.units += all.len();
        let named = all.iter().map(|one| (one.channel_id(logs), one.name(logs)));
        let meant = named.filter(|(_, name)| pattern.matches(&name.name));
        meant.map(|(id, name)| (id, Arc::clone(name))).collect()
    }

    fn disconnect(&mut self, token: Token, why: &Dismissal) -> bool {
        let (now, mut is_closed) = (self.now, false);
        self.clients.call(token, now, |session, shared| {
            is_closed = session.dismiss(why, now, shared);
        });
        self.clients.metrics().dismissed.add(u64::from(is_closed));
        is_closed
    }

    /// Ends what it follows and what it has asked for; says how many that were.
    fn unsubscribe(&mut self, token: Token, pattern: &Pattern, why: &Dismissal) -> usize {
        let (mut ids, mut names) = (Vec::new(), Vec::new());
        for (id, name) in self.followed(token, pattern) {
            ids.push(id);
            names.push((*name).clone());
        }
        let Some(connection) = self.clients.connections.get_mut(token) else { return 0 };
        let pending = connection.session.asks_for(pattern);
        if names.is_empty() && pending.is_empty() {
            return 0;
        }
        names.extend(pending);
        ids.sort_unstable();
        self.clients.unfollow(token, |channel| ids.binary_search(&channel).is_ok());
        let connection = self.clients.connections.get_mut(token).expect("it has left channels");
        let follows = !connection.subscriptions.as_slice().is_empty();
        let now = self.now;
        self.clients.call(token, now, |session, shared| {
            session.unsubscribed(&names, follows, why, now, shared);
        });
        self.clients.metrics().unsubscribed.add(names.len() as u64);
        names.len()
    }

    fn send(&mut self, token: Token, message: &DirectMessage) -> Result<(), DirectRefusal> {
        if !self.clients.has_private_room(message.data.len()) {
            return Err(DirectRefusal::Full);
        }
        let Some(connection) = self.clients.connections.get_mut(token) else { return Ok(()) };
        let max = connection.subscriptions.frame_bytes_max();
        let mut sent = Ok(());
        self.clients.call(token, self.now, |session, shared| {
            sent = session.send_direct(message, max, shared);
        });
        sent
    }

    /// Describes a connection, as far as there is room for that.
    fn describe(&mut self, token: Token, inquiry: &Inquiry) -> Option<DescribedConnection> {
        let Clients { number, shared, connections, fanout, units, .. } = self.clients;
        if !inquiry.take_room(DESCRIBED_BYTES) {
            return None;
        }
        let age_ms = connections.table.age_ms(token.index, self.now);
        let Connection { session, subscriptions, encoding, flags, .. } =
            connections.get_mut(token)?;
        let (all, logs) = (subscriptions.as_slice(), &fanout.channels);
        *units += all.len();
        let has_room =
            |name: &ChannelName| inquiry.take_room(DESCRIBED_CHANNEL_BYTES + name.name.len());
        let channels = all.iter().map(|one| one.describe(logs));
        let channels = channels.take_while(|it| has_room(&it.channel)).collect();
        let Token { index, generation } = token;
        let named = Named { shard: *number, index, generation };
        Some(DescribedConnection {
            id: Origin::of(named, shared.context.origins_key),
            user: session.line.identity().and_then(|identity| identity.user.clone()),
            transport: session.transport(),
            form: session.form(*encoding),
            address: shared.peers.client(index),
            age_ms,
            waiting_bytes: session.waiting_bytes(),
            is_slow: session.line.is_blocked() || flags.lagging,
            subscriptions: all.len(),
            channels,
        })
    }
}
