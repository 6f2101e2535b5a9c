//! The pieces of the model, what happens to them, and the oracle.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use fanfare::channel::Tenant;
use fanfare::clock::Millis;
use fanfare::ingest::IngestConfig;
use fanfare::ingest::machine::{Group, GroupEnd, GroupResults, Publisher, Sessions};
use fanfare::limits::Limits;
use fanfare::sequencer::command::Published;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::ingest::{PublishFrame, SessionId, write};

use crate::code::{FANFARE_E_BAD_CHANNEL, FANFARE_E_UNKNOWN};
use crate::connected::pipeline::{Item, Pipeline};
use crate::connected::talk::Talk;
use crate::outcome::{Done, Outcome, OutcomeSender};

const USER: u32 = 1_000;
const AGE_MS: u64 = 1_000;

/// A server's life.
struct Server {
    settings: IngestConfig,
    sessions: Sessions<usize>,
    connections: BTreeMap<usize, Publisher>,
    /// At the sequencer.
    asked: VecDeque<Group>,
    /// On their way back.
    answered: VecDeque<((u64, u64), GroupResults)>,
    /// Numbers of messages, in the order of their positions.
    history: Vec<u64>,
    /// The same of the epochs that it had before, all together.
    earlier: Vec<u64>,
    /// A window of keys, which others turn over.
    keys: HashMap<Box<[u8]>, Published>,
}

/// The publisher's end of a connection, and what is on its way to the server.
struct Line {
    talk: Talk,
    connection: usize,
    up: VecDeque<u8>,
}

pub(super) struct World {
    now: Millis,
    pipeline: Pipeline,
    line: Option<Line>,
    server: Server,
    /// Connections that the publisher has lost, of which the server has not heard.
    unheard: Vec<usize>,
    /// Histories of lives that are over.
    past: HashMap<u64, Vec<u64>>,
    connections: usize,
    taken: u64,
    bad: Vec<u64>,
    outcomes: Arc<Mutex<BTreeMap<u64, Outcome>>>,
    /// Whether anything was forgotten within a life.
    has_forgotten: bool,
    ids: u8,
}

fn life(epoch: u64) -> Server {
    let limits = Limits {
        batch_messages: 3,
        publisher_sessions: 2,
        publisher_session_age_ms: AGE_MS,
        ..Limits::default()
    };
    let settings = IngestConfig {
        path: "unused".into(),
        mode: 0o600,
        users: Vec::new(),
        peers: Vec::new(),
        limits,
        epoch: Epoch::from_random(epoch),
        life: Epoch::from_random(epoch),
        tenant: Tenant::default(),
    };
    let sessions = Sessions::new(settings.sessions(), AGE_MS, usize::MAX);
    Server {
        settings,
        sessions,
        connections: BTreeMap::new(),
        asked: VecDeque::new(),
        answered: VecDeque::new(),
        history: Vec::new(),
        earlier: Vec::new(),
        keys: HashMap::new(),
    }
}

impl Server {
    fn connect(&mut self, now: Millis, connection: usize) {
        let session = self.sessions.nameless(USER, connection);
        let publisher = Publisher::new(&self.settings, self.settings.tenant.clone(), session, now);
        self.connections.insert(connection, publisher);
    }

    fn read(&mut self, now: Millis, connection: usize, bytes: &[u8]) {
        let Some(publisher) = self.connections.get_mut(&connection) else { return };
        let mut groups = Vec::new();
        publisher.handle_bytes(now, bytes, &mut groups);
        self.sessions.open(now, connection, &mut self.connections, &mut groups);
        self.asked.extend(groups);
    }

    fn drop_connection(&mut self, now: Millis, connection: usize) {
        if let Some(mut publisher) = self.connections.remove(&connection) {
            publisher.handle_failure();
            self.sessions.leave(now, &mut publisher);
        }
    }

    fn sequence(&mut self) {
        let Some(group) = self.asked.pop_front() else { return };
        let epoch = self.settings.epoch;
        let mut results = group.publications.into_iter().map(|publication| {
            let before = publication.idempotency_key.as_ref().and_then(|key| self.keys.get(key));
            if let Some(place) = before {
                return Ok(Published { duplicate: true, ..place.clone() });
            }
            let number = std::str::from_utf8(&publication.data).unwrap().parse().unwrap();
            self.history.push(number);
            let position = self.history.len() as u64;
            let id = Id { epoch, position };
            let place =
                Published { id, offset: position, subscribers: 0, duplicate: false, also: None };
            if let Some(key) = publication.idempotency_key {
                self.keys.insert(key, place.clone());
            }
            Ok(place)
        });
        let results = match group.wants_places {
            true => GroupResults::Each(results.collect()),
            false => {
                assert!(results.all(|result| result.is_ok()), "this order refuses nothing");
                GroupResults::Refused(Vec::new())
            }
        };
        self.answered.push_back((group.number, results));
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Millis(0),
            pipeline: Pipeline::new(u64::MAX / 2, SessionId([1; 16])),
            line: None,
            server: life(1),
            unheard: Vec::new(),
            past: HashMap::new(),
            connections: 0,
            taken: 0,
            bad: Vec::new(),
            outcomes: Arc::default(),
            has_forgotten: false,
            ids: 1,
        }
    }

    pub(super) fn publish(&mut self, wants_place: bool, is_bad: bool, has_key: bool) {
        self.taken += 1;
        let number = self.taken;
        let outcomes = Arc::clone(&self.outcomes);
        let done = match wants_place {
            // Who wants no place hears nothing; the model listens all the same, below.
            false => Done::Nobody,
            true => Done::Call(Box::new(move |outcome| {
                let before = outcomes.lock().unwrap().insert(number, outcome);
                assert!(before.is_none(), "message {number} has two outcomes");
            })),
        };
        if is_bad {
            self.bad.push(number);
        }
        let (data, key) = (number.to_string(), format!("key {number}"));
        let message = PublishFrame {
            answer: wants_place,
            idempotency_key: has_key.then_some(key.as_bytes()),
            ..PublishFrame::new(if is_bad { "bad*" } else { "demo" }, data.as_bytes())
        };
        let mut frame = Vec::new();
        write::publish(&message, &mut frame);
        let mut item = Item::new(frame.into(), OutcomeSender::new(done));
        item.number = number;
        self.pipeline.add([item]);
    }

    pub(super) fn connect(&mut self) {
        if self.line.is_some() {
            return;
        }
        self.connections += 1;
        self.ids += 1;
        let connection = self.connections;
        self.server.connect(self.now, connection);
        let talk = Talk::begin(&mut self.pipeline, SessionId([self.ids; 16]));
        self.line = Some(Line { talk, connection, up: VecDeque::new() });
    }

    pub(super) fn write(&mut self, bytes: usize) {
        let Some(line) = &mut self.line else { return };
        let unsent = line.talk.unsent(&mut self.pipeline, self.now);
        let some = &unsent[..bytes.min(unsent.len())];
        line.up.extend(some);
        let written = some.len();
        line.talk.wrote(written);
    }

    pub(super) fn carry_up(&mut self, bytes: usize) {
        self.carry_up_at_most(bytes);
    }

    pub(super) fn carry_up_at_most(&mut self, bytes: usize) -> usize {
        let Some(line) = &mut self.line else { return 0 };
        let connection = line.connection;
        let publisher = self.server.connections.get(&connection);
        if !publisher.is_some_and(Publisher::wants_bytes) {
            return 0;
        }
        let bytes = bytes.min(line.up.len());
        let piece: Vec<u8> = line.up.drain(..bytes).collect();
        self.server.read(self.now, connection, &piece);
        bytes
    }

    pub(super) fn carry_down(&mut self, bytes: usize) {
        self.carry_down_at_most(bytes);
    }

    pub(super) fn carry_down_at_most(&mut self, bytes: usize) -> usize {
        let Some(line) = &mut self.line else { return 0 };
        let Some(publisher) = self.server.connections.get_mut(&line.connection) else { return 0 };
        let unsent = publisher.unsent();
        let piece = unsent[..bytes.min(unsent.len())].to_vec();
        publisher.handle_sent(self.now, piece.len());
        if line.talk.hear(&piece, &mut self.pipeline).is_err() {
            self.cut(true);
        }
        piece.len()
    }

    pub(super) fn sequence(&mut self) {
        self.server.sequence();
    }

    pub(super) fn answer(&mut self) {
        let Server { sessions, connections, answered, .. } = &mut self.server;
        if let Some((number, results)) = answered.pop_front() {
            sessions.end_group(self.now, number, GroupEnd::Results(results), connections);
        }
    }

    pub(super) fn cut(&mut self, is_heard: bool) {
        let Some(line) = self.line.take() else { return };
        self.pipeline.lose(line.talk.unsent_message_bytes());
        self.unheard.push(line.connection);
        if is_heard {
            self.hear();
        }
    }

    pub(super) fn hear(&mut self) {
        for connection in std::mem::take(&mut self.unheard) {
            self.server.drop_connection(self.now, connection);
        }
    }

    pub(super) fn forget(&mut self) {
        self.has_forgotten |= self.server.sessions.kept() > 0;
        self.now = self.now.plus(AGE_MS);
        self.server.sessions.expire(self.now);
    }

    pub(super) fn push_out(&mut self) {
        self.has_forgotten |= self.server.sessions.kept() > 0;
        self.now = self.now.plus(1);
        for nth in 0..2 {
            self.connections += 1;
            let connection = self.connections;
            self.server.connect(self.now, connection);
            let mut out = Vec::new();
            write::session_preface(&mut out);
            let session = SessionId([200 + nth + 2 * (self.connections as u8 % 20); 16]);
            let open =
                fanfare_protocol::ingest::session::Open { session, resumes: false, confirmed: 0 };
            write::open(&open, &mut out);
            self.server.read(self.now, connection, &out);
            self.server.drop_connection(self.now, connection);
        }
    }

    pub(super) fn turn_keys_over(&mut self) {
        self.server.keys.clear();
    }

    pub(super) fn restart(&mut self) {
        self.cut(true);
        let epoch = self.server.settings.epoch.number();
        let old = std::mem::replace(&mut self.server, life(epoch + 1));
        self.past.insert(epoch, old.history);
    }

    /// Another epoch begins, and the server goes on.
    pub(super) fn begin_epoch(&mut self) {
        let server = &mut self.server;
        let epoch = server.settings.epoch.number();
        let history = std::mem::take(&mut server.history);
        server.earlier.extend(&history);
        server.keys.clear();
        self.past.insert(epoch, history);
        server.settings.epoch = Epoch::from_random(epoch + 1);
        for publisher in server.connections.values_mut() {
            publisher.begin_epoch(self.now, server.settings.epoch);
        }
    }

    /// No more faults: everything has its outcome in the end.
    pub(super) fn finish(&mut self) {
        for _ in 0..500 {
            self.connect();
            self.write(usize::MAX);
            self.carry_up(usize::MAX);
            self.sequence();
            self.answer();
            self.carry_down(usize::MAX);
            self.check();
            if self.pipeline.first_open().is_none() {
                break;
            }
        }
        let open = self.pipeline.first_open();
        assert_eq!(open, None, "a message never has its outcome");
        assert_eq!(self.outcomes.lock().unwrap().len() as u64, self.taken);
        let lives = self.past.values().chain([&self.server.history]);
        for history in lives {
            assert!(history.is_sorted(), "order is kept: {history:?}");
        }
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        for (item, outcome) in self.pipeline.take_settled() {
            // Those that hear nothing are heard here; the others say it themselves.
            let number = item.number;
            let before = self.outcomes.lock().unwrap().remove(&number);
            assert_eq!(before, None, "message {number} has two outcomes");
            item.deliver(outcome.clone());
            let mut outcomes = self.outcomes.lock().unwrap();
            let told = outcomes.insert(number, outcome.clone());
            assert!(told.is_none_or(|told| told == outcome));
        }
        let lives = self.past.values().chain([&self.server.history]);
        for history in lives {
            let mut once = history.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), history.len(), "published twice: {history:?}");
        }
        let Server { earlier, history, .. } = &self.server;
        let twice = history.iter().find(|number| earlier.contains(number));
        assert_eq!(twice, None, "published in two epochs of one life");
        let (outcomes, epoch) = (self.outcomes.lock().unwrap(), self.server.settings.epoch);
        for (number, outcome) in outcomes.iter() {
            match outcome {
                Ok(place) => {
                    let history = match place.epoch == epoch.number() {
                        true => &self.server.history,
                        false => &self.past[&place.epoch],
                    };
                    if place.position == 0 {
                        // Nobody hears where that is: in any epoch.
                        let mut all = self.past.values().chain([&self.server.history]);
                        assert!(all.any(|it| it.contains(number)), "message {number} is lost");
                        continue;
                    }
                    let at = history.iter().position(|there| there == number);
                    let at = at.unwrap_or_else(|| panic!("message {number} is lost"));
                    assert_eq!(place.position, at as u64 + 1);
                }
                Err(FANFARE_E_BAD_CHANNEL) => assert!(self.bad.contains(number)),
                Err(code) => {
                    assert_eq!(*code, FANFARE_E_UNKNOWN, "message {number}");
                    assert!(self.has_forgotten, "message {number} is unknown without a reason");
                }
            }
        }
    }

    pub(super) fn unknown(&self) -> usize {
        let outcomes = self.outcomes.lock().unwrap();
        outcomes.values().filter(|outcome| **outcome == Err(FANFARE_E_UNKNOWN)).count()
    }

    pub(super) fn published(&self) -> usize {
        self.server.history.len()
    }
}
