//! Performs one command: room first, then the decision, then what is told of it.

use crate::message;

use super::command::{
    BatchAnswer, Command, Entry, HistoryQuery, Publication, PublishAnswer, Published, Refusal,
    Subscribe,
};
use super::keys::Seen;
use super::{Life, Sequencer, Sink};

/// Something that was taken from the inbox and is not done.
pub(super) enum Work {
    /// A command of which nothing was done.
    Command(Command),
    /// A batch of which some messages have their places. Each is given room of its own, so that a
    /// batch may be larger than the ring; no other command comes between.
    Batch(Batch),
}

/// A batch under way.
pub(super) struct Batch {
    rest: std::vec::IntoIter<Publication>,
    results: Vec<Result<Published, Refusal>>,
    answer: BatchAnswer,
}

/// How far a piece of work came.
pub(super) enum Outcome {
    /// It is done and was answered.
    Done,
    /// A part of it was done.
    Unfinished(Work),
    /// Nothing was done: the ring has no room for what it may write.
    NoRoom(Work),
}

/// Entries and bytes that a piece of work may write at most.
fn room(work: &Work) -> (usize, usize) {
    let published = |publication: &Publication| {
        let cost = message::cost(publication.data.len(), publication.event.as_deref());
        // A channel without a record may make another one be forgotten, of which shards are told.
        (2, Entry::released_cost(1) + Entry::message_cost(cost))
    };
    match work {
        Work::Command(Command::Publish(publication, answer)) => {
            let (entries, bytes) = published(publication);
            let asks_ring = matches!(answer, PublishAnswer::Connection { .. });
            (entries + usize::from(asks_ring), bytes + Entry::bare_cost())
        }
        Work::Command(Command::Subscribe(request)) => {
            let channels = request.channels.len();
            (2, Entry::released_cost(channels) + Entry::subscribed_cost(channels))
        }
        Work::Batch(batch) => batch.rest.as_slice().first().map_or((0, 0), published),
        Work::Command(_) => (0, 0),
    }
}

impl<S: Sink> Sequencer<S> {
    pub(super) fn perform(&mut self, work: Work) -> Outcome {
        let (entries, bytes) = room(&work);
        if entries > 0 && !self.ring.has_room(entries, bytes) {
            return Outcome::NoRoom(work);
        }
        match work {
            Work::Batch(batch) => return self.publish_next(batch),
            Work::Command(command) if self.life != Life::Open => self.refuse(command),
            Work::Command(Command::PublishBatch(publications, answer)) => {
                let results = Vec::with_capacity(publications.len());
                let rest = publications.into_iter();
                // Its first message asks for room when it is performed.
                return Outcome::Unfinished(Work::Batch(Batch { rest, results, answer }));
            }
            Work::Command(Command::Publish(publication, answer)) => {
                let result = self.publish(publication);
                self.answer_publish(answer, result);
            }
            Work::Command(Command::Subscribe(request)) => self.subscribe(&request),
            Work::Command(Command::Unsubscribe { shard, channels, .. }) => {
                channels.iter().for_each(|id| self.order.unsubscribe(shard, *id));
            }
            Work::Command(Command::History(query)) => self.history(*query),
            Work::Command(Command::Stats(name, answer)) => answer(self.order.stats(&name)),
            Work::Command(Command::Shutdown) => self.life = Life::Closing,
        }
        Outcome::Done
    }

    /// Publishes one message of a batch, for which there is room.
    fn publish_next(&mut self, mut batch: Batch) -> Outcome {
        if let Some(publication) = batch.rest.next() {
            let result = self.publish(publication);
            batch.results.push(result);
        }
        if batch.rest.len() > 0 {
            return Outcome::Unfinished(Work::Batch(batch));
        }
        (batch.answer)(batch.results);
        Outcome::Done
    }

    /// Gives a message its place and tells the shards that follow its channel; one that has its
    /// place already is only answered.
    fn publish(&mut self, publication: Publication) -> Result<Published, Refusal> {
        let metrics = &self.metrics.sequencer;
        let mark = match self.order.keys.look(&publication, self.order.now) {
            Seen::Never(mark) => mark,
            Seen::Before(published) => {
                metrics.duplicates.add(1);
                return Ok(published);
            }
            Seen::Otherwise => {
                metrics.key_conflicts.add(1);
                metrics.refused.add(1);
                return Err(Refusal::Conflict);
            }
        };
        let placed = self.order.publish(publication);
        self.tell_released();
        let metrics = &self.metrics.sequencer;
        let placed = placed.inspect_err(|_| metrics.refused.add(1))?;
        metrics.published.add(1);
        metrics.published_bytes.add(placed.message.data.len() as u64);
        if let Some(mark) = mark {
            self.order.keys.remember(mark, placed.published, self.order.now);
        }
        if placed.mask != 0 {
            self.push(placed.mask, Entry::Message(placed.message));
        }
        Ok(placed.published)
    }

    fn answer_publish(&mut self, answer: PublishAnswer, result: Result<Published, Refusal>) {
        match answer {
            PublishAnswer::Nobody => {}
            PublishAnswer::Callback(answer) => answer(result),
            PublishAnswer::Connection { .. } if self.life == Life::Ended => {}
            PublishAnswer::Connection { requester, .. } => {
                self.push(1 << requester.shard, Entry::Published(requester, result));
            }
        }
    }

    fn subscribe(&mut self, request: &Subscribe) {
        let reply = self.order.subscribe(request);
        self.tell_released();
        let entry = match reply {
            Ok(reply) => Entry::Subscribed(Box::new(reply)),
            Err(refusal) => Entry::SubscribeRefused(request.requester, refusal),
        };
        self.push(1 << request.requester.shard, entry);
    }

    fn history(&mut self, query: HistoryQuery) {
        let page = self.order.history(&query.channel, query.since, query.limit);
        (query.answer)(page);
    }

    /// Answers a command that comes after the end was asked for. Reads change nothing and are still
    /// answered; after the end entry the ring hears nothing more.
    pub(super) fn refuse(&mut self, command: Command) {
        let refused = &self.metrics.sequencer.refused;
        match command {
            Command::Publish(_, answer) => {
                refused.add(1);
                self.answer_publish(answer, Err(Refusal::ShuttingDown));
            }
            Command::PublishBatch(publications, answer) => {
                refused.add(publications.len() as u64);
                answer(vec![Err(Refusal::ShuttingDown); publications.len()]);
            }
            Command::Subscribe(request) if self.life != Life::Ended => {
                let entry = Entry::SubscribeRefused(request.requester, Refusal::ShuttingDown);
                self.push(1 << request.requester.shard, entry);
            }
            Command::Unsubscribe { shard, channels, .. } => {
                channels.iter().for_each(|id| self.order.unsubscribe(shard, *id));
            }
            Command::History(query) => self.history(*query),
            Command::Stats(name, answer) => answer(self.order.stats(&name)),
            Command::Subscribe(_) | Command::Shutdown => {}
        }
    }
}
