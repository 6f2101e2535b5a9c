//! What the sequencer has still to be told by one shard.

use std::collections::VecDeque;

use crate::bodies::Share;
use crate::channel::{ChannelId, ChannelName};
use crate::driver::Token;
use crate::sequencer::command::{Command, Publication, PublishAnswer, Requester, Since, Subscribe};

/// Commands in their order, for which the inbox may have no room yet.
#[derive(Default)]
pub(super) struct Commands {
    shard: u8,
    waiting: VecDeque<Command>,
    /// Whether the inbox was full: nothing is received or accepted until it has taken all.
    pub(super) backlog: bool,
}

impl Commands {
    /// Of shard `shard`, none yet.
    pub(super) fn new(shard: u8) -> Self {
        Self { shard, ..Self::default() }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Command> {
        self.waiting.pop_front()
    }

    /// This one was not taken: it is the next again.
    pub(super) fn put_back(&mut self, command: Command) {
        self.waiting.push_front(command);
    }

    /// A session asks to follow.
    pub(super) fn subscribe(
        &mut self,
        session: Token,
        request: u32,
        channels: Box<[(ChannelName, Since)]>,
    ) {
        let requester = Requester { shard: self.shard, session, request };
        let subscribe = Box::new(Subscribe { requester, channels });
        self.waiting.push_back(Command::Subscribe(subscribe));
    }

    /// A session publishes.
    pub(super) fn publish(
        &mut self,
        session: Token,
        request: u32,
        publication: Publication,
        body: Share,
    ) {
        let requester = Requester { shard: self.shard, session, request };
        let answer = PublishAnswer::Connection { requester, body };
        self.waiting.push_back(Command::Publish(publication, answer));
    }

    /// A session follows these no more.
    pub(super) fn unsubscribe(&mut self, session: Token, channels: Vec<ChannelId>) {
        if !channels.is_empty() {
            let (shard, channels) = (self.shard, channels.into());
            self.waiting.push_back(Command::Unsubscribe { shard, session, channels });
        }
    }
}
