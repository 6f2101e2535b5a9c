//! What a backend asks of connections, or has done to them: the question, which the order takes to
//! the shards, and what each of them found.
//!
//! ```text
//!   control ── Command::Inquire ──> order ── Entry::Inquiry ──> the shards that are asked
//!      ^                                                            │
//!      '──── Findings, by a call of Inquiry::answer from each ──────'
//! ```
//!
//! So it has its place in the order: what was published before it goes out before what it does, as
//! far as the client takes it, and nothing that is published after its answer reaches whom it cut
//! off. Nobody waits for anybody: the order only passes it on, a shard works on it within its units
//! and answers once, and whoever asked merges the answers. What they hold together is bounded by
//! the room that the question brings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_identity::{Pattern, User};
use fanfare_protocol::dialect::{DirectView, Form};
use fanfare_protocol::message::Kind;
use fanfare_protocol::ws::CloseCode;

use crate::admission::network::ClientNetwork;
use crate::channel::{ChannelName, Tenant};
use crate::origin::{Named, Origin};

/// Most bytes of a message to one connection, in the longest of its forms: it waits in memory that
/// only this client uses, unlike what is published.
pub const DIRECT_BYTES_MAX: usize = 16 << 10;
/// Most bytes of the reason of a [`Dismissal`]: a close frame has no room for more (RFC 6455,
/// section 5.5).
pub const REASON_BYTES_MAX: usize = 123;

/// Hears what one shard found, on that shard's thread: it must not wait.
pub type FindingsAnswer = Box<dyn Fn(Findings) + Send + Sync>;

/// A question to the shards.
pub struct Inquiry {
    /// Whose connections.
    pub tenant: Tenant,
    /// Which of them.
    pub whom: Whom,
    /// What is asked of them, or done to them.
    pub act: Act,
    /// Bytes of descriptions that may still be answered.
    room: AtomicUsize,
    answer: FindingsAnswer,
}

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom {
    /// This one.
    Connection(Named),
    /// Those of this user.
    User(User),
    /// Those that follow a channel which this matches.
    Following(Pattern),
    /// All of the tenant.
    Everyone,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Nothing: they are described.
    Describe,
    /// They are closed.
    Disconnect(Dismissal),
    /// Their subscriptions to the channels that this matches end.
    Unsubscribe(Pattern, Dismissal),
    /// They are sent this.
    Send(DirectMessage),
}

/// Why something ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dismissal {
    /// 44xx: not to be tried again unchanged; 45xx: to be tried again.
    pub code: CloseCode,
    /// For people, or for pages that know it: up to [`REASON_BYTES_MAX`].
    pub reason: Box<str>,
}

/// A message to one connection alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// Validated by [`fanfare_protocol::names::is_event_name`].
    pub event: Option<Box<str>>,
    /// What `data` is.
    pub kind: Kind,
    /// The payload; no frame of it is longer than [`DIRECT_BYTES_MAX`].
    pub data: Box<[u8]>,
}

impl DirectMessage {
    /// As codecs see it.
    pub fn view(&self) -> DirectView<'_> {
        DirectView { event: self.event.as_deref(), kind: self.kind, data: &self.data }
    }
}

/// What one shard found, or all of them.
#[derive(Debug, Default)]
pub struct Findings {
    /// Connections that are described, or to which something was done.
    pub connections: usize,
    /// Subscriptions that ended.
    pub subscriptions: usize,
    /// Descriptions, as far as there was room for them.
    pub described: Vec<DescribedConnection>,
    /// Why a message was not taken, where it was not.
    pub not_taken: Option<DirectRefusal>,
}

/// Why a connection did not take a message of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectRefusal {
    /// It is no stream: it waits for an answer, or is about to end.
    NoStream,
    /// It takes no message that is so long (`max`).
    TooLong,
    /// It has not taken what waits for it already, or there is no memory for more.
    Full,
}

/// A connection as it is found.
#[derive(Debug)]
pub struct DescribedConnection {
    /// Its id.
    pub id: Origin,
    /// Who it is, where it has shown a token that says so.
    pub user: Option<User>,
    /// What it is at.
    pub transport: &'static str,
    /// The form of what it is told, where it is told something.
    pub form: Option<Form>,
    /// Where it comes from, where that is counted.
    pub address: Option<ClientNetwork>,
    /// Since when it is there, in milliseconds before it was found.
    pub age_ms: u64,
    /// Bytes that wait for it alone.
    pub waiting_bytes: usize,
    /// Whether it takes less than it is sent.
    pub is_slow: bool,
    /// How many channels it follows.
    pub subscriptions: usize,
    /// These, as far as there was room for them.
    pub channels: Vec<DescribedSubscription>,
}

/// How far a connection is in a channel.
#[derive(Debug)]
pub struct DescribedSubscription {
    /// Which channel.
    pub channel: Arc<ChannelName>,
    /// The last offset that it was sent, or that it was not to get.
    pub offset: u64,
    /// Entries of the channel that it has still to get.
    pub lag: u64,
}

impl Inquiry {
    /// A question whose answers may hold so many bytes of descriptions.
    pub fn new(
        tenant: Tenant,
        whom: Whom,
        act: Act,
        room_bytes: usize,
        answer: FindingsAnswer,
    ) -> Self {
        Self { tenant, whom, act, room: AtomicUsize::new(room_bytes), answer }
    }

    /// A bit for each of so many shards that is to answer.
    pub fn shards(&self, count: usize) -> u64 {
        let all = u64::MAX >> (64 - count.clamp(1, 64));
        match &self.whom {
            Whom::Connection(named) => all & 1u64.checked_shl(named.shard.into()).unwrap_or(0),
            _ => all,
        }
    }

    /// Bytes that it holds, as budgets count them.
    pub fn cost(&self) -> usize {
        let held = match &self.act {
            Act::Describe => 0,
            Act::Disconnect(why) => why.reason.len(),
            Act::Unsubscribe(pattern, why) => pattern.as_str().len() + why.reason.len(),
            Act::Send(message) => {
                message.data.len() + message.event.as_ref().map_or(0, |event| event.len())
            }
        };
        size_of::<Self>() + held
    }

    /// Takes so many bytes of the room for descriptions; whether they were there.
    pub fn take_room(&self, bytes: usize) -> bool {
        let take = |room: usize| room.checked_sub(bytes);
        self.room.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// A shard is done with it.
    pub fn answer(&self, findings: Findings) {
        (self.answer)(findings);
    }
}

impl Findings {
    /// Those of another shard too.
    pub fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.subscriptions += other.subscriptions;
        self.described.extend(other.described);
        self.not_taken = self.not_taken.or(other.not_taken);
    }
}

/// Who is asked for is no business of a log.
impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquiry").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inquiry(whom: Whom) -> Inquiry {
        Inquiry::new(Tenant::default(), whom, Act::Describe, 100, Box::new(|_| {}))
    }

    #[test]
    fn a_connection_is_asked_for_where_it_is_and_everyone_everywhere() {
        let connection =
            |shard| inquiry(Whom::Connection(Named { shard, index: 0, generation: 1 }));
        assert_eq!(connection(0).shards(1), 1);
        assert_eq!(connection(63).shards(64), 1 << 63);
        assert_eq!(connection(2).shards(2), 0, "an id that another node gave");
        assert_eq!(connection(255).shards(64), 0);
        assert_eq!(inquiry(Whom::Everyone).shards(1), 1);
        assert_eq!(inquiry(Whom::Everyone).shards(3), 0b111);
        assert_eq!(inquiry(Whom::Everyone).shards(64), u64::MAX);
    }

    #[test]
    fn room_is_taken_until_none_is_left() {
        let inquiry = inquiry(Whom::Everyone);
        assert!(inquiry.take_room(60) && !inquiry.take_room(60) && inquiry.take_room(40));
        assert!(!inquiry.take_room(1) && inquiry.take_room(0));
    }
}
