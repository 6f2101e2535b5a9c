//! What the sequencer has still to be told by one shard.
//!
//! The answers to requests to follow come in the ring, before whatever is published afterwards. So
//! a shard has only so much under way as it has soon read: a message to one of its clients then
//! waits for what is under way, and not for all that clients ask for. Requests for few channels and
//! requests for many take turns, one each.

use std::collections::VecDeque;

use crate::bodies::BodyShare;
use crate::channel::{ChannelId, ChannelName};
use crate::driver::Token;
use crate::sequencer::command::{Command, Publication, PublishAnswer, Requester, Since, Subscribe};
use crate::sequencer::relay::Relay;

/// Channels that may be under way (asked for and not answered) in all requests together. One
/// request may have more when it is alone.
const UNDER_WAY_MAX: usize = 512;
/// A request for more channels than this waits with others of its kind.
const FEW_CHANNELS: usize = 64;
/// Most channels of one unsubscribe command.
const LEFT_AT_ONCE: usize = 256;

/// Commands in their order, for which the inbox may have no room yet.
#[derive(Default)]
pub(super) struct CommandQueue {
    shard: u8,
    waiting: VecDeque<Command>,
    /// Requests to follow many channels: a queue of their own, so that nothing else waits behind
    /// them.
    large: VecDeque<Command>,
    /// Whose turn it is.
    large_is_next: bool,
    /// Channels of the requests that were asked and not answered, oldest first.
    under_way: VecDeque<usize>,
    /// Their sum.
    channels: usize,
    /// The order has ended: nothing is answered, and nothing waits for that.
    ended: bool,
    /// Whether the inbox was full: nothing is received or accepted until it has taken all.
    pub(super) backlog: bool,
}

impl CommandQueue {
    /// No commands yet, of shard `shard`.
    pub(super) fn new(shard: u8) -> Self {
        Self { shard, ..Self::default() }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.large.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a next one.
    pub(super) fn is_ready(&self) -> bool {
        self.next_is_large().is_some()
    }

    /// Takes the next command that may be sent now.
    pub(super) fn next(&mut self) -> Option<Command> {
        let is_large = self.next_is_large()?;
        let command = self.queue(is_large).pop_front()?;
        if let Some(channels) = asked(&command) {
            self.under_way.push_back(channels);
            self.channels += channels;
            self.large_is_next = !is_large;
        }
        Some(command)
    }

    /// Puts back the command that was taken last, because the inbox had no room for it.
    pub(super) fn put_back(&mut self, command: Command) {
        let is_large = is_large(&command);
        if asked(&command).is_some() {
            self.not_asked();
            self.large_is_next = is_large;
        }
        self.queue(is_large).push_front(command);
    }

    /// The request that was taken last is not sent, so no answer will come to it.
    pub(super) fn not_asked(&mut self) {
        self.channels -= self.under_way.pop_back().unwrap_or_default();
    }

    /// Whether the next command is a large request; `None` where none may be sent now.
    fn next_is_large(&self) -> Option<bool> {
        // Only requests to follow have answers that others would wait behind.
        if self.waiting.front().is_some_and(|command| asked(command).is_none()) {
            return Some(false);
        }
        let is_large = match (self.waiting.front(), self.large.front()) {
            (None, _) => true,
            (_, None) => false,
            _ => self.large_is_next,
        };
        let next = if is_large { self.large.front() } else { self.waiting.front() };
        let channels = asked(next?)?;
        let has_room = self.channels == 0 || self.channels + channels <= UNDER_WAY_MAX;
        (has_room || self.ended).then_some(is_large)
    }

    fn queue(&mut self, is_large: bool) -> &mut VecDeque<Command> {
        if is_large { &mut self.large } else { &mut self.waiting }
    }

    /// So many channels of the oldest request under way were answered; `last` says that this was
    /// its last answer.
    pub(super) fn answered(&mut self, channels: usize, last: bool) {
        let Some(left) = self.under_way.front_mut() else { return };
        let channels = if last { *left } else { channels.min(*left) };
        *left -= channels;
        self.channels -= channels;
        if last {
            self.under_way.pop_front();
        }
    }

    /// The order has ended.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// A session asks to follow.
    pub(super) fn subscribe(
        &mut self,
        session: Token,
        request: u32,
        channels: Box<[(ChannelName, Since)]>,
    ) {
        let requester = Requester { shard: self.shard, session, request };
        let command = Command::Subscribe(Box::new(Subscribe { requester, channels }));
        self.queue(is_large(&command)).push_back(command);
    }

    /// A session publishes.
    pub(super) fn publish(
        &mut self,
        session: Token,
        request: u32,
        publication: Publication,
        body: BodyShare,
    ) {
        let requester = Requester { shard: self.shard, session, request };
        let answer = PublishAnswer::Connection { requester, body };
        self.waiting.push_back(Command::Publish(publication, answer));
    }

    /// Sends this to another shard.
    pub(super) fn relay(&mut self, relay: Relay) {
        self.waiting.push_back(Command::Relay(relay));
    }

    /// A session follows these no more.
    pub(super) fn unsubscribe(&mut self, session: Token, channels: &[ChannelId]) {
        let shard = self.shard;
        self.waiting.extend(channels.chunks(LEFT_AT_ONCE).map(|channels| Command::Unsubscribe {
            shard,
            session,
            channels: channels.into(),
        }));
    }
}

/// How many channels the answer to a command will have, where it is a request to follow.
fn asked(command: &Command) -> Option<usize> {
    match command {
        Command::Subscribe(subscribe) => Some(subscribe.channels.len()),
        _ => None,
    }
}

/// Whether a command is a request for many channels.
fn is_large(command: &Command) -> bool {
    asked(command).is_some_and(|channels| channels > FEW_CHANNELS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tenant;

    fn commands() -> CommandQueue {
        CommandQueue::new(0)
    }

    fn ask(commands: &mut CommandQueue, index: u32, channels: usize) {
        let names = (0..channels).map(|nth| ChannelName::new(Tenant::default(), &nth.to_string()));
        let channels = names.map(|name| (name, Since::Now)).collect();
        commands.subscribe(Token { index, generation: 1 }, 0, channels);
    }

    /// Who is asked for next, until no more may be.
    fn next(commands: &mut CommandQueue) -> Vec<u32> {
        let next = std::iter::from_fn(|| commands.next());
        let session = next.map(|command| match command {
            Command::Subscribe(subscribe) => subscribe.requester.session.index,
            Command::Unsubscribe { session, .. } => session.index,
            _ => unreachable!("nobody publishes"),
        });
        session.collect()
    }

    #[test]
    fn no_more_is_asked_than_is_soon_read_and_those_who_ask_for_little_have_their_turn() {
        let mut commands = commands();
        (0..3).for_each(|index| ask(&mut commands, index, 800));
        (3..6).for_each(|index| ask(&mut commands, index, 2));
        assert_eq!(next(&mut commands), [3], "a large one goes alone, and now it is its turn");
        assert!(!commands.is_ready() && commands.len() == 5);
        commands.answered(2, true);
        assert_eq!(next(&mut commands), [0]);
        commands.answered(256, false);
        assert_eq!(next(&mut commands), [] as [u32; 0], "544 are under way");
        commands.answered(256, false);
        assert_eq!(next(&mut commands), [4], "and the next large one waits for both");
        commands.answered(288, true);
        assert_eq!(next(&mut commands), [] as [u32; 0]);
        commands.answered(2, true);
        assert_eq!(next(&mut commands), [1]);
        assert_eq!((commands.len(), commands.channels), (2, 800));
    }

    #[test]
    fn what_was_not_taken_is_the_next_again() {
        let mut commands = commands();
        ask(&mut commands, 0, 800);
        ask(&mut commands, 1, 2);
        for _ in 0..3 {
            let command = commands.next().unwrap();
            assert_eq!(asked(&command), Some(2));
            commands.put_back(command);
        }
        assert_eq!(next(&mut commands), [1]);
        commands.answered(0, true);
        let command = commands.next().unwrap();
        commands.put_back(command);
        assert_eq!((next(&mut commands), commands.channels), (vec![0], 800));
    }

    #[test]
    fn what_is_left_waits_for_no_answer_and_goes_in_parts() {
        let mut commands = commands();
        ask(&mut commands, 0, 800);
        assert_eq!(next(&mut commands), [0]);
        let channels: Vec<_> = (0..600).map(ChannelId).collect();
        commands.unsubscribe(Token { index: 7, generation: 1 }, &channels);
        ask(&mut commands, 1, 1);
        assert_eq!(next(&mut commands), [7, 7, 7]);
        assert_eq!(commands.len(), 1);
        commands.end();
        assert_eq!(next(&mut commands), [1], "nobody waits for an order that has ended");
    }
}
