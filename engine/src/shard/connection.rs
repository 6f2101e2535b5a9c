//! One connection as a shard keeps it: small, because there are 100,000.

use fanfare_protocol::dialect::Encoding;

use super::outbox::Outbox;
use super::stamp::Stamp;
use super::wheel::Link;
use crate::clock::Millis;
use crate::fanout::Subscriptions;
use crate::transport::follow_request::FollowRequest;
use crate::transport::input::Input;
use crate::transport::long_poll::Poll;

/// What is true of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No request is whole yet. Deadline: the head's, or the idle one before its first byte.
    Head,
    /// The sequencer was asked and answers soon. What the client sends waits. No deadline.
    Asking,
    /// A stream: it follows channels, and they are sent. Deadline: ping, heartbeat, stall.
    Open,
    /// A poll that waits for a message. Deadline: the client's patience.
    Waiting,
    /// The last bytes are in the outbox; what arrives is read and dropped; then it is closed.
    Leaving,
}

/// Which transport an open connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    /// Not decided yet, or an ordinary answer.
    Http,
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events.
    EventStream,
    /// A long poll.
    Poll,
}

/// What else is true of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// It waits in the receive queue.
    pub(super) reading: bool,
    /// Bytes may wait in the kernel that were not read because reads were paused.
    pub(super) readable: bool,
    /// The peer ended its side or failed; reads go on until they see it.
    pub(super) hangup: bool,
    /// The kernel's buffer was full; a watch for room is armed.
    pub(super) blocked: bool,
    /// It was told what it was too slow for, and has not caught up since: no log waits for it.
    pub(super) lagging: bool,
    /// It waits in the queue of connections to visit.
    pub(super) queued: bool,
    /// Our ping has no pong yet.
    pub(super) pinged: bool,
    /// The HTTP connection may be used again after the answer.
    pub(super) keep_alive: bool,
    /// Its peer's address is counted.
    pub(super) counted: bool,
    /// It came when there was no room: it is told so when its request is known.
    pub(super) extra: bool,
    /// A send for it is in the batch.
    pub(super) planned: bool,
    /// Leaving: waits for the client to end its side.
    pub(super) linger: bool,
    /// Leaving: when its time is over it is cut off, since the kernel may hold bytes for it that it
    /// will never take.
    pub(super) cut: bool,
}

/// A time that never comes.
pub(super) const NEVER: Millis = Millis(u64::MAX);

/// How often a client whose buffer is full is looked at: has it left the live window?
const BLOCKED_CHECK_MS: u64 = 1_000;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which life of its place in the table.
    pub(super) generation: u32,
    /// What is true of it.
    pub(super) phase: Phase,
    /// What it is.
    pub(super) transport: Transport,
    /// How its messages are encoded.
    pub(super) encoding: Encoding,
    /// What else is true of it.
    pub(super) flags: Flags,
    /// Where it stands in the wheel.
    pub(super) link: Link,
    /// When the deadline of its phase is over: the head's, patience, ping or pong, heartbeat,
    /// close.
    pub(super) beat: Stamp,
    /// Last time that the kernel took bytes for it.
    pub(super) progress: Stamp,
    /// Since when bytes wait that the kernel does not take; never while it takes all.
    pub(super) waits_since: Stamp,
    /// When it began to wait or was last looked at while it did.
    pub(super) checked: Stamp,
    /// When our last ping went out.
    pub(super) pinged_at: Stamp,
    /// The second in which `pings` were counted.
    pub(super) ping_second: u32,
    /// Pings of the client in that second.
    pub(super) pings: u16,
    /// What it follows.
    pub(super) subscriptions: Subscriptions,
    /// What it has begun to say: a head, a frame. `None` between frames.
    pub(super) input: Option<Box<Input>>,
    /// What it asked for, while the sequencer is asked.
    pub(super) ask: Option<Box<FollowRequest>>,
    /// A poll that waits.
    pub(super) poll: Option<Box<Poll>>,
    /// What only it gets.
    pub(super) outbox: Option<Box<Outbox>>,
}

// An idle client costs this and little else: `docs/OPERATIONS.md` says how much. Whoever makes it
// longer makes 100,000 of them longer; what few connections have belongs into a box.
const _: () = assert!(size_of::<Option<Connection>>() == 112);

impl Connection {
    /// A fresh one, before its first byte.
    pub(super) fn new(generation: u32, now: Millis) -> Self {
        Self {
            generation,
            phase: Phase::Head,
            transport: Transport::Http,
            encoding: Encoding::ALL[0],
            flags: Flags::default(),
            link: Link::NONE,
            beat: Stamp::NEVER,
            progress: Stamp::of(now),
            waits_since: Stamp::NEVER,
            checked: Stamp::NEVER,
            pinged_at: Stamp::NEVER,
            ping_second: 0,
            pings: 0,
            subscriptions: Subscriptions::None,
            input: None,
            ask: None,
            poll: None,
            outbox: None,
        }
    }

    /// Whether private bytes wait.
    pub(super) fn has_private(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Whether something that came behind a request waits for its turn.
    pub(super) fn has_early(&self) -> bool {
        matches!(self.input.as_deref(), Some(Input::Early(_)))
    }

    /// When it is to be looked at: its deadline, whatever that means in its phase, or before.
    pub(super) fn due(&self, now: Millis) -> Millis {
        let beat = self.beat.at(now);
        match self.phase {
            Phase::Asking => NEVER,
            // Only a stream is looked at more often: what ends an answer or a farewell is its own
            // time.
            Phase::Head | Phase::Waiting | Phase::Leaving => beat,
            Phase::Open => {
                let message = match self.input.as_deref() {
                    Some(Input::Frames(frames)) => frames.due,
                    _ => beat,
                };
                let blocked = self.flags.blocked;
                let check =
                    if blocked { self.checked.at(now).plus(BLOCKED_CHECK_MS) } else { beat };
                beat.min(message).min(check)
            }
        }
    }

    /// Where private bytes are written.
    pub(super) fn private(&mut self) -> &mut Vec<u8> {
        self.outbox.get_or_insert_default().writer()
    }
}
