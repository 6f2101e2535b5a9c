//! A client that does more than listen: its dialect's machine, and the books of what that has asked
//! for.

use fanfare_protocol::dialect::UnsubscribedView;
use fanfare_protocol::dialect::machine::{Answer, Machine, Piece};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::id::Id;

use super::effect::Effect;
use super::heard::Heard;
use super::here::Here;
use super::machine::{MachineCall, followed};
use super::requests::Requests;
use crate::channel::{ChannelName, Tenant};
use crate::clock::Millis;
use crate::driver::Token;
use crate::inquiry::Dismissal;
use crate::sequencer::command::Subscribed;

/// The client.
pub(super) struct Speaker {
    machine: Box<dyn Machine>,
    pub(super) requests: Requests,
    /// Whose channels it names, for as long as it is here.
    tenant: Tenant,
    /// Under which context everything that is under way was allowed, or the first of it.
    revision: u32,
    /// In what frames are carried that its machine writes.
    framing: Framing,
    /// Where its socket has come for a client of other requests.
    pub(super) knock: Option<Knock>,
}

/// A socket that may take over a client.
#[derive(Debug)]
pub(super) struct Knock {
    /// Which one.
    pub(super) session: Token,
    /// Until when.
    pub(super) due: Millis,
    /// When it takes that over: what came behind what it said last.
    pub(super) early: Option<Vec<u8>>,
}

impl Speaker {
    /// One whose machine has not been called.
    pub(super) fn new(
        machine: Box<dyn Machine>,
        requests: Requests,
        tenant: Tenant,
        framing: Framing,
    ) -> Self {
        Self { machine, requests, tenant, revision: 0, framing, knock: None }
    }

    /// It begins, and is called this where requests on other sockets name it.
    pub(super) fn begin(&mut self, id: &str, here: &mut Here<'_>) -> Heard {
        self.turn(here, |machine, call| machine.begin(id, call))
    }

    /// It is carried in this from now on: what was written for another framing, of which nothing
    /// was sent, is written anew.
    pub(super) fn carried_in(&mut self, framing: Framing, here: &mut Here<'_>) -> Heard {
        let before = std::mem::replace(&mut self.framing, framing);
        if before == framing || !here.has_private() {
            return Heard::Fine;
        }
        let unsent = here.take_private();
        self.turn(here, |machine, call| machine.reframe(before, &unsent, call))
    }

    /// A piece of what it says.
    pub(super) fn hear(&mut self, piece: Piece<'_>, here: &mut Here<'_>) -> Heard {
        self.turn(here, |machine, call| machine.piece(piece, call))
    }

    /// What a request asked for is followed.
    pub(super) fn subscribed(&mut self, reply: &Subscribed, here: &mut Here<'_>) -> Heard {
        self.requests.subscribed(reply);
        if self.revision != here.shared.revision {
            here.shared.want(Effect::AskAgain);
        }
        let begin = Id { epoch: reply.epoch, position: reply.begin };
        let (request, channels) = (reply.requester.request, followed(reply));
        let mut catches_up = false;
        let heard = self.turn(here, |machine, call| {
            machine.answer(request, Answer::Following { begin, channels: &channels }, call);
            catches_up = call.catches_up;
        });
        if catches_up {
            self.requests.catch_up(request, reply.present);
        }
        heard
    }

    /// How a request ended that followed nothing.
    pub(super) fn answered(
        &mut self,
        request: u32,
        answer: Answer<'_>,
        here: &mut Here<'_>,
    ) -> Heard {
        match answer {
            Answer::Published(_) => self.requests.answered(request),
            _ => self.requests.refused(request),
        }
        self.turn(here, |machine, call| machine.answer(request, answer, call))
    }

    /// A backend has ended its subscription to this channel, or its request for it.
    pub(super) fn unsubscribed(
        &mut self,
        channel: &ChannelName,
        why: &Dismissal,
        here: &mut Here<'_>,
    ) -> Heard {
        let view = self.requests.view(channel).cloned();
        if self.requests.unfollow(channel).is_none() {
            return Heard::Fine;
        }
        let (name, view) = (&*channel.name, view.as_deref());
        let notice = UnsubscribedView { channel: name, view, code: why.code, reason: &why.reason };
        self.turn(here, |machine, call| machine.unsubscribed(&notice, call))
    }

    /// What it is to be told of next as sent is sent.
    pub(super) fn caught_up(&mut self, here: &mut Here<'_>) -> Heard {
        let Some(request) = self.requests.caught_up() else { return Heard::Fine };
        self.turn(here, |machine, call| machine.caught_up(request, call))
    }

    fn turn(
        &mut self,
        here: &mut Here<'_>,
        make: impl FnOnce(&mut dyn Machine, &mut MachineCall<'_, '_>),
    ) -> Heard {
        if self.requests.are_answered() {
            self.revision = here.shared.revision;
        }
        let (requests, tenant, framing) = (&mut self.requests, &self.tenant, self.framing);
        let (farewell, takes_over) = (None, false);
        let catches_up = false;
        let mut call =
            MachineCall { here, requests, tenant, framing, farewell, takes_over, catches_up };
        make(&mut *self.machine, &mut call);
        match call.farewell {
            Some((code, reason)) => Heard::Dismissed(code, reason),
            None if call.takes_over => Heard::TakesOver,
            None => Heard::Fine,
        }
    }
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").field("requests", &self.requests).finish_non_exhaustive()
    }
}
