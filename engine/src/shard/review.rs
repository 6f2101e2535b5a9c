//! Everybody is asked again whether they may be here, when keys, rules or revocations change; and
//! those whose tokens wait for keys are judged when these may have come.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_identity::keys::EndpointId;

use super::clients::Clients;
use super::parcel::Parcel;
use crate::clock::Millis;
use crate::driver::Token;
use crate::origin::Named;
use crate::sequencer::command::Requester;
use crate::sequencer::relay::Relay;
use crate::session::BringResult;

/// Clients of one shard whose tokens wait for keys at once. Each holds a connection and its token.
const WAITING_FOR_KEYS_MAX: usize = 1_000;

/// How far that is.
#[derive(Debug, Default)]
pub(super) struct Review {
    /// Clients whose tokens wait for keys. Some may be gone.
    waiting_for_keys: Vec<Token>,
    /// Whether keys may have come for them.
    keys_may_be_here: bool,
    /// The first place that was not asked again since rules, keys or revocations changed.
    next: Option<u32>,
    /// Whether there was another change meanwhile: then all are asked once more, behind this time.
    /// (Beginning anew would leave those at the end unasked for as long as changes keep coming.)
    again: bool,
}

impl Review {
    /// Whether there is somebody to ask.
    pub(super) fn is_under_way(&self) -> bool {
        self.next.is_some()
    }
}

impl Clients {
    /// A client's token waits for the keys of an endpoint. Nobody waits who would be one too many.
    pub(super) fn want_keys(&mut self, token: Token, endpoint: EndpointId, now: Millis) {
        let wanted = self.shared.context.authority.as_ref().and_then(|it| it.wanted.as_ref());
        let is_asked = wanted.is_some_and(|wanted| wanted(endpoint));
        if is_asked && self.review.waiting_for_keys.len() < WAITING_FOR_KEYS_MAX {
            self.review.waiting_for_keys.push(token);
        } else {
            self.exchange(token, now, |it, here| it.unnamed(here));
        }
    }

    /// Keys, rules or revocations are others: everybody is asked again, from the first place on.
    pub(super) fn begin_review(&mut self) {
        self.review.again = self.review.next.is_some();
        self.review.next.get_or_insert(0);
        self.review.keys_may_be_here = true;
    }

    /// Goes on with that for so many units of work.
    pub(super) fn review(&mut self, now: Millis, units: usize) {
        if std::mem::take(&mut self.review.keys_may_be_here) {
            for token in std::mem::take(&mut self.review.waiting_for_keys) {
                self.exchange(token, now, |it, here| it.keys_came(here));
            }
        }
        let until = self.units + units;
        while let Some(from) = self.review.next {
            if self.units >= until {
                return;
            }
            self.units += 1;
            self.review.next = self.connections.table.next(from).map(|index| {
                let token = self.connections.token(index).expect("somebody is there");
                self.ask_again(token, now);
                index + 1
            });
            if self.review.next.is_none() && std::mem::take(&mut self.review.again) {
                self.review.next = Some(0);
            }
        }
    }

    /// Whether a client may still be here, and follow what it follows. If not it is told so, and
    /// ends.
    pub(super) fn ask_again(&mut self, token: Token, now: Millis) {
        let Some(authority) = self.shared.context.authority.clone() else { return };
        let Some(connection) = self.connections.get_mut(token) else { return };
        let identity = connection.session.line.identity().map(|identity| &**identity);
        let (all, logs) = (connection.subscriptions.as_slice(), &self.fanout.channels);
        self.units += all.len();
        let mut channels = all.iter().map(|subscription| subscription.name(logs));
        if let Err(denial) = authority.judge(identity, &mut channels) {
            self.call(token, now, |session, shared| session.deny(&denial, now, shared));
        }
    }

    /// Brings the identity of a new token to a connection of any shard, through the order's ring.
    pub(super) fn bring_token(
        &mut self,
        from: Token,
        of: Named,
        identity: Arc<Identity>,
        now: Millis,
    ) {
        let Named { shard, index, generation } = of;
        if usize::from(shard) >= self.shared.shards() {
            return self.tell(from, BringResult::Gone, now);
        }
        let requester = Requester { shard: self.number, session: from, request: 0 };
        let parcel = Parcel::Refresh(requester, Token { index, generation }, identity);
        self.commands.relay(Relay::new(shard, size_of::<Identity>(), parcel));
    }
}
