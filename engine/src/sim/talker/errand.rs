//! What a client with commands says over a socket of its own, and what came of it: a request that
//! is held for it, a WebSocket, or lines that it brings.

use crate::driver::sim::{Client, Standing};
use crate::sim::persona::Mood;
use crate::sim::trace::Trace;
use crate::sim::wire::{Ear, Said, Way};
use crate::sim::world::World;

/// How a held request and a WebSocket of such a client are read.
const HELD: Way = Way::Events { json: true };
pub(super) const SOCKET: Way = Way::Socket { json: true };

/// What it hears by.
pub(super) struct Listening {
    pub(super) shard: usize,
    pub(super) client: Client,
    ear: Ear,
    /// Whether its answer ends when something was told.
    pub(super) once: bool,
    /// Whether the answer has begun.
    pub(super) is_open: bool,
    /// Whether it was refused.
    pub(super) is_refused: bool,
    /// Whether anything came behind its head.
    is_told: bool,
    pub(super) mood: Mood,
}

impl Listening {
    /// By a socket on which a request was written.
    fn by(way: Way, shard: usize, client: Client, once: bool) -> Self {
        let ear = Ear::new(way);
        Self {
            shard,
            client,
            ear,
            once,
            is_open: false,
            is_refused: false,
            is_told: false,
            mood: Mood::Eager,
        }
    }

    /// By a WebSocket.
    pub(super) fn socket(world: &World, shard: usize, head: &str) -> Self {
        let client = world.nets[shard].connect();
        world.nets[shard].write(client, head.as_bytes());
        Self::by(SOCKET, shard, client, false)
    }

    /// By a request that is to be held, on a new socket or on this one, which had an answer.
    pub(super) fn held(
        world: &World,
        (shard, client): (usize, Option<Client>),
        session: Option<&str>,
        wait: Option<u64>,
    ) -> Self {
        let client = client.unwrap_or_else(|| world.nets[shard].connect());
        let session = session.map_or_else(String::new, |id| format!("/{id}"));
        let query = wait.map_or_else(String::new, |wait| format!("?wait={wait}"));
        let head = format!("GET /lines{session}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.nets[shard].write(client, head.as_bytes());
        Self::by(HELD, shard, client, wait.is_some())
    }

    pub(super) fn feel(&mut self, world: &World, mood: Mood) {
        self.mood = mood;
        world.nets[self.shard].set_window(self.client, mood.window());
    }

    /// What it says by now.
    pub(super) fn hear(&mut self, world: &World) -> Vec<Said> {
        let net = &world.nets[self.shard];
        let bytes = match self.mood {
            _ if net.standing(self.client) == Standing::Ended => net.take(self.client),
            Mood::Eager => net.take(self.client),
            Mood::Slow(bytes) => net.take_some(self.client, bytes),
            Mood::Stopped => Vec::new(),
        };
        let said = self.ear.hear(&bytes);
        self.is_open |= matches!(said.first(), Some(Said::Head(101 | 200)));
        self.is_refused |= matches!(said.first(), Some(Said::Head(status)) if *status >= 400);
        self.is_told |= said.iter().any(|said| !matches!(said, Said::Head(_)));
        said
    }

    /// Whether its answer is whole.
    pub(super) fn has_ended(&self) -> bool {
        self.ear.ended
    }

    /// Whether nothing has come over it but the head of its answer.
    pub(super) fn is_untouched(&self, world: &World) -> bool {
        !self.is_told
            && self.ear.is_between()
            && world.nets[self.shard].take(self.client).is_empty()
    }

    /// Whether it is a stream over which something came.
    pub(super) fn is_told_by_stream(&self) -> bool {
        self.is_told && !self.once
    }

    /// Whether the node holds it, when it is at rest: the answer to one that is to end comes whole.
    pub(super) fn is_held(&self, world: &World) -> bool {
        self.is_open || self.once && self.standing(world) == Standing::Open
    }

    pub(super) fn standing(&self, world: &World) -> Standing {
        world.nets[self.shard].standing(self.client)
    }

    pub(super) fn reset(self, world: &World) {
        world.nets[self.shard].reset(self.client);
    }
}

/// Lines that it brings to its session.
pub(super) struct Brought {
    shard: usize,
    client: Client,
    bytes: Vec<u8>,
    /// The numbers of what they ask for.
    pub(super) numbers: Vec<u64>,
}

/// What came of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PostStatus {
    /// Nothing was heard.
    Waiting,
    /// The session has them.
    Taken,
    /// It has not, and is there.
    NotTaken,
    /// There is no such session.
    Gone,
    /// Nobody knows.
    Lost,
}

impl Brought {
    pub(super) fn new(
        world: &World,
        shard: usize,
        session: &str,
        (numbers, lines): (Vec<u64>, &str),
    ) -> Self {
        let client = world.nets[shard].connect();
        let length = lines.len();
        let request = format!(
            "POST /lines/{session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n\
             {lines}"
        );
        world.nets[shard].write(client, request.as_bytes());
        Self { shard, client, bytes: Vec::new(), numbers }
    }

    /// Whether there was room for it.
    pub(super) fn is_accepted(&self, world: &World) -> bool {
        world.nets[self.shard].standing(self.client) != Standing::Waiting
    }

    /// What has come of it.
    pub(super) fn hear(&mut self, world: &World, trace: &mut Trace) -> PostStatus {
        let net = &world.nets[self.shard];
        let standing = net.standing(self.client);
        let bytes = net.take(self.client);
        if !bytes.is_empty() {
            trace.note(world.now, &bytes);
        }
        self.bytes.extend(bytes);
        let outcome = match self.bytes.get(..12) {
            Some(b"HTTP/1.1 200") => PostStatus::Taken,
            Some(b"HTTP/1.1 410") => PostStatus::Gone,
            Some(b"HTTP/1.1 503" | b"HTTP/1.1 408") => PostStatus::NotTaken,
            Some(other) => panic!("{}", String::from_utf8_lossy(other)),
            None if matches!(standing, Standing::Ended | Standing::Reset) => PostStatus::Lost,
            None => PostStatus::Waiting,
        };
        if outcome != PostStatus::Waiting {
            net.reset(self.client);
        }
        outcome
    }

    pub(super) fn reset(self, world: &World) {
        world.nets[self.shard].reset(self.client);
    }
}
