//! The sequencer's inbox: bounded, many senders, one reader.
//!
//! It has two queues, of what backends send and of what the shards ask for their clients, and the
//! reader takes turns: so however much strangers ask for, a publish waits for one turn of theirs
//! and not for all of them. Each queue keeps its order; between the two there is none, and nobody
//! needs one: whoever has an answer is behind it anyway.
//!
//! Bounded in commands, and in bytes too: what commands hold is paid for until they are taken, by
//! whoever sends them ([`crate::in_flight`]). Publishers on the Unix socket have paid already when
//! their bytes were read.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded, select,
};

use super::command::{Command, PublishAnswer, Refusal};
use crate::in_flight::{InFlight, Payer};
use crate::log::ThreadWaker;

/// Senders to one inbox that pay for what they send: shards, the API, this process.
const PAYERS_MAX: usize = 8;
/// What commands had paid is given back once they are taken: in pieces of so many bytes, and when
/// nothing more waits, but not for each message.
const GIVEN_BACK_BYTES: usize = 64 << 10;

/// How long whoever stands in for the reader waits at a time.
const STAND_IN_TURN: Duration = Duration::from_secs(60);

/// A command that waits; who paid for it, and how much.
struct Waiting {
    command: Command,
    paid: Option<(usize, usize)>,
}

type Payers = Arc<[OnceLock<Payer>; PAYERS_MAX]>;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SenderKind {
    /// Those who publish, and whoever stops the node.
    Backends,
    /// The shards, for their clients.
    Clients,
}

/// One end of each queue.
#[derive(Clone)]
struct Queues<T> {
    backends: T,
    clients: T,
}

impl<T> Queues<T> {
    fn of(&self, side: SenderKind) -> &T {
        match side {
            SenderKind::Backends => &self.backends,
            SenderKind::Clients => &self.clients,
        }
    }
}

/// The sending side; one clone for each thread that asks.
#[derive(Clone)]
pub struct Inbox {
    queues: Queues<Sender<Waiting>>,
    /// Declared after the queues, so it is dropped after them: the reader that it wakes finds that
    /// this sender is gone.
    waker: WakesAtEnd,
    /// To which of the queues it sends.
    side: SenderKind,
    payers: Payers,
    /// Which of the payers pays for what is sent here; none where it was paid for before.
    payer: Option<usize>,
}

/// The reading side.
pub struct Commands {
    queues: Queues<Receiver<Waiting>>,
    waker: ThreadWaker,
    payers: Payers,
    /// A payer, and how much of what its commands had paid is still to be given back to it.
    owed: Cell<(usize, usize)>,
}

/// Wakes the reader when a sender is dropped: it may have been the last one.
#[derive(Clone)]
struct WakesAtEnd(ThreadWaker);

impl Drop for WakesAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// A command that was not taken, given back.
pub enum NotTaken {
    /// The inbox is full, or its sender holds what it may: try again later.
    Full(Command),
    /// The sequencer has ended: nobody will take it.
    Ended(Command),
}

/// An inbox whose queues have `commands` places each, for which nobody pays, and its reading side.
pub fn inbox(commands: usize) -> (Inbox, Commands) {
    let (backends, clients) = (bounded(commands), bounded(commands));
    let payers = Payers::default();
    let queues = Queues { backends: backends.0, clients: clients.0 };
    let waker = ThreadWaker::default();
    let (wakes, owned) = (WakesAtEnd(waker.clone()), Arc::clone(&payers));
    let inbox =
        Inbox { queues, waker: wakes, side: SenderKind::Backends, payers: owned, payer: None };
    let queues = Queues { backends: backends.1, clients: clients.1 };
    (inbox, Commands { queues, waker, payers, owed: Cell::default() })
}

impl Inbox {
    /// The same inbox, for one that pays for what it sends. Clones of it are the same payer.
    ///
    /// # Panics
    /// When there are more payers than a node has ways in.
    pub fn paying(&self, in_flight: InFlight) -> Self {
        let mut payer = Some(Payer::new(in_flight));
        let place = self.payers.iter().position(|place| {
            place.get_or_init(|| payer.take().expect("it has no place yet"));
            payer.is_none()
        });
        assert!(place.is_some(), "an inbox has {PAYERS_MAX} payers");
        Self { payer: place, ..self.clone() }
    }

    /// The same inbox, for a shard: what it asks for its clients.
    pub fn for_clients(&self) -> Self {
        Self { side: SenderKind::Clients, ..self.clone() }
    }

    /// The same inbox, for one that has paid for what it sends.
    pub fn paid(&self) -> Self {
        Self { payer: None, ..self.clone() }
    }

    /// Offers a command without waiting, and wakes the reader: for the control thread.
    ///
    /// # Errors
    /// The command comes back where there is no room for it, or nobody who would take it.
    #[allow(clippy::result_large_err)] // the command itself comes back, as it must
    pub fn offer(&self, command: Command) -> Result<(), NotTaken> {
        self.offer_asleep(command).inspect(|()| self.wake())
    }

    /// Wakes the reader, which looks for what was offered.
    pub fn wake(&self) {
        self.waker.0.wake();
    }

    /// As [`Inbox::offer`], but the reader may sleep on until [`Inbox::wake`]: for shards, which
    /// offer many at a time. Where both share a core, a reader that is woken for the first takes
    /// that one alone.
    ///
    /// # Errors
    /// As [`Inbox::offer`].
    #[allow(clippy::result_large_err)] // as above
    pub fn offer_asleep(&self, command: Command) -> Result<(), NotTaken> {
        let paid = match (self.payer, command.cost()) {
            (Some(payer), bytes @ 1..) => {
                if !self.payer(payer).pay(bytes) {
                    return Err(NotTaken::Full(command));
                }
                Some((payer, bytes))
            }
            _ => None,
        };
        let give_back = || paid.into_iter().for_each(|(by, bytes)| self.payer(by).give_back(bytes));
        let sent = self.queues.of(self.side).try_send(Waiting { command, paid });
        sent.map_err(|error| {
            give_back();
            match error {
                TrySendError::Full(waiting) => NotTaken::Full(waiting.command),
                TrySendError::Disconnected(waiting) => NotTaken::Ended(waiting.command),
            }
        })
    }

    fn payer(&self, place: usize) -> &Payer {
        self.payers[place].get().expect("who pays has a place")
    }

    /// Waits for a place: for threads that have nothing else to do (the publishers' socket is not
    /// read meanwhile, which is the backpressure), with what they have paid for or what holds
    /// nothing.
    ///
    /// # Errors
    /// The command comes back when the sequencer has ended.
    #[allow(clippy::result_large_err)]
    pub fn send(&self, command: Command) -> Result<(), Command> {
        let waiting = Waiting { command, paid: None };
        let sent = self.queues.of(self.side).send(waiting);
        sent.map(|()| self.waker.0.wake()).map_err(|error| error.0.command)
    }
}

impl Commands {
    /// The next command of one side, if one waits.
    ///
    /// # Errors
    /// None waits, or nobody is left who could send one.
    pub(super) fn try_recv(&self, side: SenderKind) -> Result<Command, TryRecvError> {
        let waiting = self.queues.of(side).try_recv().inspect_err(|_| self.give_back());
        waiting.map(|waiting| self.take(waiting))
    }

    /// What wakes the reader, for senders and for the log.
    pub(super) fn waker(&self) -> ThreadWaker {
        self.waker.clone()
    }

    /// Sleeps until it is woken, or for so long.
    pub(super) fn sleep(&self, most: Duration) {
        self.give_back();
        self.waker.sleep(most);
    }

    /// The next command of either side, for which it waits so long: for one who does nothing else.
    ///
    /// # Errors
    /// None came in time, or nobody is left who could send one.
    pub fn recv_timeout(&self, patience: Duration) -> Result<Command, RecvTimeoutError> {
        self.give_back();
        let waiting = select! {
            recv(self.queues.backends) -> waiting => waiting,
            recv(self.queues.clients) -> waiting => waiting,
            default(patience) => return Err(RecvTimeoutError::Timeout),
        };
        waiting.map(|waiting| self.take(waiting)).map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.backends.is_empty() && self.queues.clients.is_empty()
    }

    fn take(&self, Waiting { command, paid }: Waiting) -> Command {
        if let Some((payer, bytes)) = paid {
            let (before, owed) = self.owed.get();
            if before == payer {
                self.owed.set((payer, owed + bytes));
            } else {
                self.give_back();
                self.owed.set((payer, bytes));
            }
            if self.owed.get().1 >= GIVEN_BACK_BYTES {
                self.give_back();
            }
        }
        command
    }

    fn give_back(&self) {
        let (payer, bytes) = self.owed.replace((0, 0));
        if let Some(payer) = self.payers[payer].get().filter(|_| bytes > 0) {
            payer.give_back(bytes);
        }
    }
}

/// Another reader of the same inbox: for one who stands in when the first is lost.
impl Clone for Commands {
    fn clone(&self) -> Self {
        let (queues, payers) = (self.queues.clone(), Arc::clone(&self.payers));
        Self { queues, waker: self.waker.clone(), payers, owed: Cell::default() }
    }
}

/// Stands in for a sequencer that was lost, until the node is stopped or nobody is left to ask:
/// publishes are refused, everything else is dropped unanswered. Without it, whoever was in the
/// inbox would wait for as long as anyone else could still ask.
pub fn refuse_until_shutdown(commands: &Commands) {
    loop {
        match commands.recv_timeout(STAND_IN_TURN) {
            Ok(Command::Publish(_, PublishAnswer::Callback(answer))) => {
                answer(Err(Refusal::ShuttingDown));
            }
            Ok(Command::PublishBatch(publications, answer)) => {
                answer.refuse(publications.len(), Refusal::ShuttingDown);
            }
            Ok(Command::Shutdown) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use crate::driver::Token;
    use crate::limits::Limits;
    use crate::metrics::Metrics;
    use crate::sequencer::command::{Publication, Requester, Since, Subscribe};
    use fanfare_protocol::message::Kind;

    fn publish(bytes: usize) -> Command {
        let channel = ChannelName::new(Tenant::default(), "demo");
        let data = vec![b'x'; bytes].into();
        let (event, idempotency_key) = (None, None);
        let publication = Publication {
            channel,
            also: Box::default(),
            kind: Kind::Text,
            event,
            idempotency_key,
            ephemeral: false,
            except: None,
            data,
        };
        Command::Publish(publication, PublishAnswer::Nobody)
    }

    #[test]
    fn the_largest_request_to_follow_has_room_when_it_is_alone() {
        let (in_flight_bytes, message_bytes, batch_messages) = (64 << 10, 4 << 10, 10);
        let limits = Limits { in_flight_bytes, message_bytes, batch_messages, ..Limits::default() };
        let metrics = Metrics::new(1);
        let (free, commands) = inbox(10);
        let shard = free.for_clients().paying(InFlight::of(&metrics, &limits));
        let bytes = limits.subscribe_bytes / limits.channels_per_connection;
        let names = (0..limits.channels_per_connection).map(|nth| format!("{nth:0bytes$}"));
        let channel = |name: String| (ChannelName::new(Tenant::default(), &name), Since::Now);
        let channels = names.map(channel).collect();
        let session = Token { index: 0, generation: 0 };
        let requester = Requester { shard: 0, session, request: 1 };
        let largest = Command::Subscribe(Box::new(Subscribe { requester, channels }));
        assert!(shard.offer(largest).is_ok());
        assert!(commands.try_recv(SenderKind::Clients).is_ok());
    }

    #[test]
    fn commands_are_paid_for_until_they_are_taken_each_sender_by_itself() {
        let limits = Limits::default();
        let metrics = Metrics::new(1);
        let (free, commands) = inbox(1_000);
        let ours = InFlight::of(&metrics, &limits);
        let (one, other) = (free.paying(ours.clone()), free.paying(ours));
        let mut sent = 0;
        while one.offer(publish(1 << 20)).is_ok() {
            sent += 1;
        }
        // One alone has half.
        let half = (limits.all_in_flight() - limits.in_flight_reserve()) / 2;
        assert_eq!(sent, half / ((1 << 20) + publish(0).cost()));
        assert!(matches!(one.clone().offer(publish(1 << 20)), Err(NotTaken::Full(_))));
        assert!(other.offer(publish(1 << 20)).is_ok(), "the other has room");
        assert!(free.offer(publish(1 << 20)).is_ok() && one.offer(Command::Shutdown).is_ok());
        assert!(metrics.in_flight.held() > half);
        while commands.try_recv(SenderKind::Backends).is_ok() {}
        assert_eq!(metrics.in_flight.held(), 0);
        assert!(one.offer(publish(1 << 20)).is_ok());
    }
}
