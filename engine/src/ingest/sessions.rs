//! Sessions of publishers, and which connection carries which.
//!
//! A session owns its ledger and moves with it: from the connection that opened it to the table of
//! those that are kept without one, and to the connection that takes it up. So two connections
//! never read for one session, and results find the ledger by the session's number wherever it is.
//!
//! ```text
//!  OPEN ──> carried ──connection lost──> kept ──age, number──> forgotten
//!             ^  │                        │
//!             │  └── OPEN elsewhere: the old connection is told 409
//!             └────────── OPEN ───────────┘
//! ```
//!
//! The table is bounded in sessions and in bytes. Where it is full, the user who has most of it
//! loses the oldest session, so that nobody can push out what other users rely on. A publisher
//! whose session was forgotten is told *unknown*; nothing of it is published again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fanfare_protocol::ingest::ErrorCode;
use fanfare_protocol::ingest::session::SessionId;
use fanfare_protocol::limits::SessionLimits;

use super::draft::Group;
use super::ledger::{GroupEnd, Ledger};
use super::publisher::Publisher;
use super::session::{PublisherSession, SessionRequest};
use crate::clock::Millis;
use crate::sequencer::command::Refusal;

/// All sessions of a node. `K` names a connection. What is in a `HashMap` here is looked up and
/// never gone through: nothing that happens may depend on an order that chance gives.
#[derive(Debug)]
pub struct Sessions<K> {
    limits: SessionLimits,
    age_ms: u64,
    /// Bytes that sessions without a connection may hold together, and what they hold.
    kept_bytes_max: usize,
    kept_bytes: usize,
    /// The last number that was given.
    numbered: u64,
    /// Where each session that has a connection is.
    carriers: HashMap<u64, K>,
    /// Numbers of those that have a name.
    names: HashMap<SessionId, u64>,
    /// Those without a connection.
    kept: HashMap<u64, PublisherSession>,
    /// The same by user, oldest first.
    users: BTreeMap<u32, BTreeSet<KeptSince>>,
    /// The place of each of them there.
    places: HashMap<u64, KeptSince>,
    /// How many were ever kept.
    ever_kept: u64,
    counts: Counts,
}

/// Since when a session is kept, how many were kept before it, and its number.
type KeptSince = (Millis, u64, u64);

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that were taken up again.
    pub resumed: u64,
    /// Sessions that were forgotten before their publishers were done with them.
    pub forgotten: u64,
}

/// What becomes of a connection that asks for a session.
enum Decision {
    Carry {
        session: PublisherSession,
        known: bool,
    },
    Unknown,
    /// It confirms outcomes that it was not told.
    Ahead,
    Refuse(ErrorCode, &'static str),
}

impl<K: Copy + Ord> Sessions<K> {
    /// None yet; those that are kept without a connection may hold so many bytes.
    pub fn new(limits: SessionLimits, age_ms: u64, kept_bytes_max: usize) -> Self {
        Self {
            limits,
            age_ms,
            kept_bytes_max,
            kept_bytes: 0,
            numbered: 0,
            carriers: HashMap::new(),
            names: HashMap::new(),
            kept: HashMap::new(),
            users: BTreeMap::new(),
            places: HashMap::new(),
            ever_kept: 0,
            counts: Counts::default(),
        }
    }

    /// A session for a connection that has none with a name, as long as it lasts.
    pub fn nameless(&mut self, user: u32, connection: K) -> PublisherSession {
        self.numbered += 1;
        self.carriers.insert(self.numbered, connection);
        PublisherSession { number: self.numbered, id: None, user, ledger: Ledger::default() }
    }

    /// How many are kept without a connection.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// What these hold.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Gives the publisher of `connection` the session that it asked for, if it asked for one and
    /// may have it, and reads what came behind its wish.
    pub fn open<C: AsMut<Publisher>>(
        &mut self,
        now: Millis,
        connection: K,
        connections: &mut BTreeMap<K, C>,
        groups: &mut Vec<Group>,
    ) {
        const AHEAD: &str = "`confirmed` is ahead of the outcomes that this session had";
        while let Some(publisher) = connections.get_mut(&connection).map(AsMut::as_mut)
            && let Some(asked) = publisher.asks()
        {
            let decision = self.decide(now, asked, connection, connections);
            let Some(publisher) = connections.get_mut(&connection).map(AsMut::as_mut) else {
                return;
            };
            match decision {
                Decision::Refuse(code, text) => publisher.refuse(now, code, text),
                Decision::Ahead => publisher.refuse_confirmed(now, AHEAD),
                Decision::Unknown => publisher.go_on_without(now, self.limits, groups),
                Decision::Carry { session, known } => {
                    self.carriers.insert(session.number, connection);
                    let before = publisher.begin(now, session, known, self.limits, groups);
                    self.carriers.remove(&before.number);
                }
            }
        }
    }

    fn decide<C: AsMut<Publisher>>(
        &mut self,
        now: Millis,
        SessionRequest { open, user }: SessionRequest,
        connection: K,
        connections: &mut BTreeMap<K, C>,
    ) -> Decision {
        const STRANGER: &str = "the session belongs to another user; open one of your own";
        let number = self.names.get(&open.session).copied();
        // Its publisher may have read the end of it before the connection is gone here.
        let mut done = |number: &u64| {
            self.carried(*number, connections).is_some_and(|publisher| publisher.is_done())
        };
        let Some(number) = number.filter(|number| !done(number)) else {
            if open.resumes {
                return Decision::Unknown;
            }
            if open.confirmed > 0 {
                return Decision::Ahead;
            }
            self.numbered += 1;
            self.names.insert(open.session, self.numbered);
            let (number, id) = (self.numbered, Some(open.session));
            let session = PublisherSession { number, id, user, ledger: Ledger::that_keeps() };
            return Decision::Carry { session, known: false };
        };
        let carrier = self.carriers.get(&number).filter(|carrier| **carrier != connection);
        let carrier = carrier.and_then(|carrier| connections.get_mut(carrier)).map(AsMut::as_mut);
        let session = match &carrier {
            Some(publisher) => Some(publisher.session()),
            None => self.kept.get(&number),
        };
        let Some(session) = session else {
            return Decision::Refuse(ErrorCode::INTERNAL, "the session is nowhere: a bug");
        };
        if session.user != user {
            return Decision::Refuse(ErrorCode::FORBIDDEN, STRANGER);
        }
        if open.confirmed > session.ledger.settled() {
            return Decision::Ahead;
        }
        self.counts.resumed += 1;
        let session = match carrier {
            Some(publisher) => publisher.hand_over(now),
            None => self.unkeep(number).expect("it was found above"),
        };
        Decision::Carry { session, known: true }
    }

    /// What became of a group of the session with this number, wherever that is.
    pub fn end_group<C: AsMut<Publisher>>(
        &mut self,
        now: Millis,
        (number, group): (u64, u64),
        end: GroupEnd,
        connections: &mut BTreeMap<K, C>,
    ) {
        if let Some(publisher) = self.carried(number, connections) {
            return publisher.handle_group_end(now, group, end);
        }
        match end {
            GroupEnd::Results(results) => {
                self.change_kept(number, |ledger| ledger.settle(group, results));
            }
            GroupEnd::NotTaken => {
                self.change_kept(number, |ledger| ledger.refuse(group, Refusal::ShuttingDown));
            }
            GroupEnd::Lost => {
                // It would promise outcomes that nobody will ever know.
                if self.kept.get(&number).is_some_and(|session| session.ledger.awaits(group)) {
                    self.forget(number);
                }
            }
        }
    }

    /// The connection that has the session of this number.
    fn carried<'a, C: AsMut<Publisher>>(
        &self,
        number: u64,
        connections: &'a mut BTreeMap<K, C>,
    ) -> Option<&'a mut Publisher> {
        let carrier = self.carriers.get(&number)?;
        connections.get_mut(carrier).map(AsMut::as_mut)
    }

    /// Outcomes came for a session without a connection, if there is one of this number.
    fn change_kept(&mut self, number: u64, change: impl FnOnce(&mut Ledger)) {
        let Some(PublisherSession { ledger, .. }) = self.kept.get_mut(&number) else { return };
        self.kept_bytes -= ledger.bytes();
        change(ledger);
        ledger.write_to_nobody();
        self.kept_bytes += ledger.bytes();
    }

    /// A connection is gone: its session is kept, unless it has no name or its publisher is done.
    pub fn leave(&mut self, now: Millis, publisher: &mut Publisher) {
        let (session, is_done) = publisher.leave();
        let number = session.number;
        self.carriers.remove(&number);
        let Some(id) = session.id else { return };
        if is_done || session.ledger.is_lost() {
            // Who ended it may have begun another one under its name meanwhile.
            if self.names.get(&id) == Some(&number) {
                self.names.remove(&id);
            }
            return;
        }
        self.keep(now, session);
        while self.kept.len() > self.limits.sessions as usize {
            self.forget_oldest_of_most(|_| 1);
        }
        while self.kept_bytes > self.kept_bytes_max {
            self.forget_oldest_of_most(|session| session.ledger.bytes());
        }
    }

    /// Forgets the oldest session of the user whose sessions weigh most.
    fn forget_oldest_of_most(&mut self, weight: impl Fn(&PublisherSession) -> usize) {
        let weigh = |places: &&BTreeSet<KeptSince>| -> usize {
            places.iter().map(|(_, _, number)| weight(&self.kept[number])).sum()
        };
        let most = self.users.values().max_by_key(weigh);
        let oldest = most.and_then(|places| places.first());
        let (_, _, number) = *oldest.expect("somebody has one");
        self.forget(number);
    }

    fn keep(&mut self, now: Millis, mut session: PublisherSession) {
        session.ledger.write_to_nobody();
        session.ledger.shrink();
        let number = session.number;
        self.kept_bytes += session.ledger.bytes();
        self.ever_kept += 1;
        let place = (now, self.ever_kept, number);
        self.users.entry(session.user).or_default().insert(place);
        self.places.insert(number, place);
        self.kept.insert(number, session);
    }

    fn unkeep(&mut self, number: u64) -> Option<PublisherSession> {
        let session = self.kept.remove(&number)?;
        self.kept_bytes -= session.ledger.bytes();
        let place = self.places.remove(&number)?;
        if let Some(sessions) = self.users.get_mut(&session.user) {
            sessions.remove(&place);
            if sessions.is_empty() {
                self.users.remove(&session.user);
            }
        }
        Some(session)
    }

    fn forget(&mut self, number: u64) {
        if let Some(session) = self.unkeep(number) {
            self.counts.forgotten += 1;
            session.id.map(|id| self.names.remove(&id));
        }
    }

    /// Forgets those that are without a connection for too long.
    pub fn expire(&mut self, now: Millis) {
        while let Some((due, number)) = self.oldest()
            && due <= now
        {
            self.forget(number);
        }
    }

    /// When the next one will be without a connection for too long.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.oldest().map(|(due, _)| due)
    }

    fn oldest(&self) -> Option<(Millis, u64)> {
        let first = self.users.values().filter_map(|sessions| sessions.first());
        first.min().map(|(since, _, number)| (since.plus(self.age_ms), *number))
    }
}
