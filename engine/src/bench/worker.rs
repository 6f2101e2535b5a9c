//! A thread of clients: one driver, as many connections as its table holds.
//!
//! The loop is a shard's turned round: obey, dial, poll, receive, send, tell. Everything that a
//! message costs is in [`Worker::receive`]: one receive, one look at the clock, a scan.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::arrivals::Arrivals;
use super::clients::{Clients, Effect};
use super::connection::{Connection, ConnectionState};
use super::plan::{Group, Transport};
use super::progress::Progress;
use super::request::pong;
use super::shared::Shared;
use super::tally::Tally;
use crate::driver::dial::{Dial, DialRequest, Dialed};
use crate::driver::{Close, Event, Exception, Outgoing, Received, SendOutcome, Token};

/// Longest sleep: commands wake it, so this only bounds how late a retry is.
const SLEEP: Duration = Duration::from_millis(50);
/// Sleep while the rate of connecting or replacing is bounded.
const NAP: Duration = Duration::from_millis(2);
/// Clients of one thread whose request is not answered yet; more wait to be dialed. A server that
/// falls behind by more overflows its backlog, and then the second that the kernel waits before it
/// tries again is measured instead of the server. In a storm nobody waits for anybody.
const ASKED_MAX: usize = 512;
/// Attempts at a connection before it is given up, and the first wait between two; it doubles.
const ATTEMPTS_MAX: u8 = 8;
const RETRY_MS: u64 = 50;

/// What a thread of clients is told.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Connect everyone.
    Dial,
    /// Count messages of a stream from this sequence on.
    Begin {
        /// Which.
        stream: u8,
        /// From.
        first: u32,
    },
    /// Record latencies of messages from this sequence on in the next phase.
    Phase {
        /// Which stream.
        stream: u8,
        /// From.
        first: u32,
    },
    /// The odd clients stop or go on reading.
    Stall(bool),
    /// Reset every client but the lone one, and connect it again where it broke off.
    Reset,
    /// Replace this many odd clients per second, on all threads together.
    Churn(f64),
    /// End; what was published last, by stream.
    Finish([u32; 2]),
}

/// What a thread has seen, at the end.
#[derive(Debug, Default)]
pub struct WorkerReport {
    /// By group.
    pub tallies: [Tally; 3],
    /// Of the main clients, where the thread has any.
    pub arrivals: Option<Arrivals>,
    /// Attempts that failed, by reason.
    pub failures: BTreeMap<String, u64>,
}

/// A thread of clients.
pub struct Worker {
    shared: Arc<Shared>,
    number: usize,
    driver: Box<dyn Dial>,
    commands: Receiver<Command>,
    clients: Clients,
    /// Which client has each slot of the driver.
    owners: Vec<u32>,
    /// Clients to be dialed.
    queue: VecDeque<u32>,
    /// Clients whose request is not answered yet, oldest first, and some whose is.
    asked: VecDeque<u32>,
    /// Clients to be queued again: when, who.
    retries: Vec<(u64, u32)>,
    /// When dialing began, and how many were dialed since, where the rate is bounded.
    dialed_since: (u64, f64),
    /// Odd clients replaced per second here; since when; how many were.
    churn: Option<(f64, u64, f64)>,
    churn_next: usize,
    ready: Vec<Token>,
    outbox: HashMap<u32, Vec<u8>>,
    /// What the kernel had no room for.
    unsent: HashMap<u32, Vec<u8>>,
    failures: BTreeMap<String, u64>,
}

impl Worker {
    /// On the thread that will run it.
    pub fn new(
        shared: Arc<Shared>,
        number: usize,
        driver: Box<dyn Dial>,
        commands: Receiver<Command>,
    ) -> Self {
        let clients = Clients::new(Arc::clone(&shared), number);
        let owners = vec![u32::MAX; driver.capacity()];
        Self {
            shared,
            number,
            driver,
            commands,
            clients,
            owners,
            queue: VecDeque::new(),
            asked: VecDeque::new(),
            retries: Vec::new(),
            dialed_since: (0, 0.0),
            churn: None,
            churn_next: 0,
            ready: Vec::new(),
            outbox: HashMap::new(),
            unsent: HashMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Runs until it is told to finish.
    pub fn run(mut self) -> WorkerReport {
        let (mut events, mut dialed) = (Vec::new(), Vec::new());
        let finished = loop {
            self.churn();
            self.dial();
            let sleep = match () {
                () if !self.ready.is_empty() || !self.outbox.is_empty() => Duration::ZERO,
                () if !self.queue.is_empty() || self.churn.is_some() => NAP,
                () => SLEEP,
            };
            self.driver.poll(Some(sleep), &mut events);
            // First of all: a thread that ends closes 16,000 sockets, which keeps its core for two
            // seconds, and with six on a core the last one may wake so late that its clients have
            // been given up for a pong that is missing. That is after the run, and not of it.
            if let Some(last) = self.obey() {
                break last;
            }
            self.driver.dialed(&mut dialed);
            for told in dialed.drain(..) {
                self.take_dialed(told);
            }
            for event in events.drain(..) {
                self.take_event(&event);
            }
            self.receive();
            self.send();
            self.clients.tell();
        };
        let has_main = self.clients.all.iter().any(|client| client.group == Group::Main);
        let Clients { tallies, arrivals, .. } = self.clients.finish(finished);
        WorkerReport { tallies, arrivals: has_main.then_some(arrivals), failures: self.failures }
    }

    fn progress(&self) -> &Progress {
        &self.shared.progress[self.number]
    }

    fn obey(&mut self) -> Option<[u32; 2]> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Dial => {
                    self.dialed_since = (self.shared.clock.nanos(), 0.0);
                    self.queue.extend(0..self.clients.all.len() as u32);
                }
                Command::Begin { stream, first } => self.clients.begin(stream, first),
                Command::Phase { stream, first } => {
                    self.clients.phases[usize::from(stream)].push(first);
                }
                Command::Stall(on) => self.stall(on),
                Command::Reset => self.reset(),
                Command::Churn(rate) => {
                    let odd = |client: &&Connection| client.group == Group::Odd;
                    let mine = self.clients.all.iter().filter(odd).count() as f64;
                    let all = f64::from(self.shared.plan.count(Group::Odd)).max(1.0);
                    self.churn = Some((rate * mine / all, self.shared.clock.nanos(), 0.0));
                }
                Command::Finish(last) => return Some(last),
            }
            self.clients.tell();
            self.progress().obeyed.fetch_add(1, Relaxed);
        }
        None
    }

    fn stall(&mut self, on: bool) {
        for client in self.clients.all.iter_mut().filter(|client| client.group == Group::Odd) {
            client.stalled = on;
            // What arrived meanwhile was announced once, and is not announced again.
            if let (false, false, Some(token)) = (on, client.due, client.token) {
                client.due = true;
                self.ready.push(token);
            }
        }
    }

    fn reset(&mut self) {
        for nth in 0..self.clients.all.len() as u32 {
            let client = &self.clients.all[nth as usize];
            if client.group == Group::Lone || client.token.is_none() {
                continue;
            }
            self.drop_connection(nth, Close::Abort);
            self.queue.push_back(nth);
        }
    }

    fn churn(&mut self) {
        let Some((rate, since, done)) = &mut self.churn else { return };
        let due = rate_due(*rate, self.shared.clock.nanos().saturating_sub(*since));
        let count = (due - *done).floor();
        *done += count;
        let clients = self.clients.all.len();
        for _ in 0..count as u64 {
            let odd = (0..clients).map(|step| (self.churn_next + step) % clients).find(|nth| {
                let client = &self.clients.all[*nth];
                client.group == Group::Odd && client.life == ConnectionState::Open
            });
            let Some(nth) = odd else { return };
            self.churn_next = nth + 1;
            self.clients.forget(nth as u32);
            self.drop_connection(nth as u32, Close::Gracefully);
            self.queue.push_back(nth as u32);
        }
    }

    /// Closes a client's socket on our side.
    fn drop_connection(&mut self, nth: u32, how: Close) {
        if let Some(token) = self.clients.all[nth as usize].token.take() {
            self.driver.close(token, how);
        }
        self.outbox.remove(&nth);
        self.unsent.remove(&nth);
        self.clients.closed(nth);
    }

    fn dial(&mut self) {
        let now = self.shared.clock.nanos();
        while let Some(at) = self.retries.iter().position(|(when, _)| *when <= now) {
            self.queue.push_back(self.retries.swap_remove(at).1);
        }
        let plan = &self.shared.plan;
        let mine = self.clients.all.len() as f64 / f64::from(plan.everyone());
        let allowed = match plan.connect_rate {
            Some(rate) => rate_due(rate * mine, now.saturating_sub(self.dialed_since.0)),
            None => f64::INFINITY,
        };
        let spread = plan.spread(self.shared.run);
        let slow = plan.mode == super::plan::Mode::Slow;
        let receive_bytes = slow.then_some(plan.slow_receive_bytes);
        while self.dialed_since.1 < allowed && self.may_ask() {
            let Some(nth) = self.queue.pop_front() else { return };
            if !self.clients.may_resume(nth) {
                self.retries.push((now + NAP.as_nanos() as u64, nth));
                continue;
            }
            let (source, destination) = spread.pair(self.clients.global(nth));
            let odd = self.clients.all[nth as usize].group == Group::Odd;
            let receive_bytes = receive_bytes.filter(|_| odd);
            if !self.driver.dial(DialRequest { nth, source, destination, receive_bytes }) {
                self.queue.push_front(nth);
                return;
            }
            self.dialed_since.1 += 1.0;
            self.clients.all[nth as usize].life = ConnectionState::Dialing;
        }
    }

    /// Whether so few wait for an answer that another may ask.
    fn may_ask(&mut self) -> bool {
        let life = |nth: &u32| self.clients.all[*nth as usize].life;
        while self.asked.front().is_some_and(|nth| life(nth) != ConnectionState::Asked) {
            self.asked.pop_front();
        }
        self.asked.len() < ASKED_MAX || self.shared.plan.mode == super::plan::Mode::Storm
    }

    fn take_dialed(&mut self, told: Dialed) {
        match told {
            Dialed::Connected { token, nth } => {
                self.owners[token.index as usize] = nth;
                let client = &mut self.clients.all[nth as usize];
                client.begin(token);
                let (transport, stream) = (client.transport, client.group.stream());
                let since = match transport {
                    Transport::LongPoll => client.poll_id().map(str::to_owned),
                    _ if !self.shared.plan.is_fanfare() => None,
                    _ => self.shared.ids.text(client.ledger.last()),
                };
                let number = self.clients.global(nth);
                let ask = self.shared.requests.ask(transport, stream, number, since.as_deref());
                self.outbox.insert(nth, ask);
                self.asked.push_back(nth);
            }
            Dialed::Failed { nth, errno } => {
                let why = std::io::Error::from_raw_os_error(errno).to_string();
                self.clients.all[nth as usize].life = ConnectionState::Waiting;
                self.fail(nth, why);
            }
        }
    }

    /// An attempt came to nothing: another, later, unless there were enough.
    fn fail(&mut self, nth: u32, why: String) {
        *self.failures.entry(why).or_default() += 1;
        self.progress().failed.fetch_add(1, Relaxed);
        let client = &mut self.clients.all[nth as usize];
        client.failures += 1;
        let once = self.shared.plan.mode == super::plan::Mode::Connect;
        if once || client.failures >= ATTEMPTS_MAX {
            return self.clients.give_up(nth);
        }
        let wait_ms = RETRY_MS << client.failures;
        self.retries.push((self.shared.clock.nanos() + wait_ms * 1_000_000, nth));
    }

    fn take_event(&mut self, event: &Event) {
        match *event {
            Event::Readable { token, hangup, .. } => {
                let client = &mut self.clients.all[self.owners[token.index as usize] as usize];
                if client.token != Some(token) {
                    return;
                }
                client.hangup |= hangup;
                if !client.due && !client.stalled {
                    client.due = true;
                    self.ready.push(token);
                }
            }
            Event::Writable { token } => {
                let nth = self.owners[token.index as usize];
                if let Some(bytes) = self.unsent.remove(&nth) {
                    self.outbox.entry(nth).or_default().splice(0..0, bytes);
                }
            }
            Event::Accepted { .. } | Event::AcceptFailed(_) => {}
        }
    }

    fn receive(&mut self) {
        let Self { driver, clients, owners, ready, .. } = self;
        let tokens = std::mem::take(ready);
        let mut effects = Vec::new();
        driver.recv_batch(&tokens, &mut |token, received| {
            let nth = owners[token.index as usize];
            let client = &mut clients.all[nth as usize];
            client.due = false;
            if client.token != Some(token) {
                return;
            }
            match received {
                Received::Bytes { bytes, more } => {
                    if more || client.hangup {
                        client.due = true;
                        ready.push(token);
                    }
                    clients.take(nth, bytes, &mut effects);
                }
                Received::Again => {}
                Received::End => effects.push((nth, Effect::Ended(None))),
                Received::Failed(errno) => effects.push((nth, Effect::Ended(Some(errno)))),
            }
        });
        for (nth, effect) in effects {
            self.apply(nth, effect);
        }
    }

    fn apply(&mut self, nth: u32, effect: Effect) {
        let client = &self.clients.all[nth as usize];
        // One receive may bring several effects, of which one may have ended the connection.
        if client.token.is_none() {
            return;
        }
        let (life, stream) = (client.life, client.group.stream());
        let number = self.clients.global(nth);
        match effect {
            Effect::Subscribe => {
                let frame = self.shared.requests.subscribe(stream, number);
                let out = self.outbox.entry(nth).or_default();
                out.extend_from_slice(&frame.unwrap_or_default());
            }
            Effect::Pong(payload) => {
                self.outbox.entry(nth).or_default().extend_from_slice(&pong(&payload));
            }
            Effect::Poll => {
                let id = client.poll_id().map(str::to_owned);
                let id = id.as_deref();
                let ask = self.shared.requests.ask(Transport::LongPoll, stream, number, id);
                self.outbox.entry(nth).or_default().extend_from_slice(&ask);
            }
            Effect::Refused(status) => {
                self.drop_connection(nth, Close::Abort);
                self.fail(nth, format!("HTTP {status}"));
            }
            Effect::Violation(what) => {
                self.clients.violated(nth, what);
                self.drop_connection(nth, Close::Abort);
                self.clients.give_up(nth);
            }
            Effect::Closing => {
                self.drop_connection(nth, Close::Gracefully);
                self.clients.ended(nth);
            }
            Effect::Ended(errno) => {
                self.drop_connection(nth, Close::Abort);
                if life == ConnectionState::Asked {
                    let why = errno.map(std::io::Error::from_raw_os_error);
                    let ended = || "closed before an answer".to_owned();
                    return self.fail(nth, why.map_or_else(ended, |error| error.to_string()));
                }
                self.clients.ended(nth);
            }
        }
    }

    fn send(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        // Behind what waits for room, everything waits.
        outbox.retain(|nth, bytes| match self.unsent.get_mut(nth) {
            Some(unsent) => {
                unsent.append(bytes);
                false
            }
            None => !bytes.is_empty(),
        });
        let mut order = Vec::with_capacity(outbox.len());
        let mut sends = Vec::with_capacity(outbox.len());
        for (nth, bytes) in &outbox {
            if let Some(token) = self.clients.all[*nth as usize].token {
                order.push((*nth, token));
                sends.push(Outgoing { token, bytes });
            }
        }
        let mut exceptions: Vec<Exception> = Vec::new();
        self.driver.send_batch(&sends, &mut exceptions);
        for Exception { nth, outcome } in exceptions {
            let (client, token) = order[nth];
            let sent = match outcome {
                SendOutcome::Short(sent) => sent,
                SendOutcome::Again => 0,
                // The receive that follows tells what became of it.
                SendOutcome::Failed(_) => continue,
            };
            self.unsent.insert(client, sends[nth].bytes[sent..].to_vec());
            self.driver.watch_writable(token);
        }
    }
}

/// How many are due at a rate per second.
fn rate_due(rate: f64, nanos: u64) -> f64 {
    rate * nanos as f64 / 1e9
}
