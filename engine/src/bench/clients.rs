//! The clients of one thread and what they have had; everything that needs no driver.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arrivals::Arrivals;
use super::connection::{Connection, ConnectionState, Seen};
use super::ledger::Entry;
use super::plan::{Follows, Group, Mode};
use super::probe::Probe;
use super::progress::Progress;
use super::read::Violation;
use super::scan::Found;
use super::shared::Shared;
use super::tally::Tally;

/// RFC 6455, section 7.1.5: closed without a close frame.
const NO_CLOSE_FRAME: u16 = 1006;

/// What is to be done about a client.
#[derive(Debug)]
pub enum Effect {
    /// It is open: send what subscribes.
    Subscribe,
    /// Answer a ping.
    Pong(Vec<u8>),
    /// Ask again.
    Poll,
    /// The request was refused with this status.
    Refused(u16),
    /// The protocol was broken.
    Violation(Violation),
    /// The server closes: so does the client, which is all that an answer would say.
    Closing,
    /// The connection is over; the errno, if it failed.
    Ended(Option<i32>),
}

/// The clients of one thread.
pub struct Clients {
    shared: Arc<Shared>,
    number: usize,
    /// The first one's number in the whole run, and from one to the next.
    first: u32,
    step: u32,
    /// By number within the thread.
    pub all: Vec<Connection>,
    /// By group.
    pub tallies: [Tally; 3],
    /// Of the main clients.
    pub arrivals: Arrivals,
    /// The first sequence of each phase, by stream; the run's first is the first phase's.
    pub phases: [Vec<u32>; 2],
    open: u64,
    called: u64,
    over: u64,
    delivered: u64,
    /// Main clients that may still get every message.
    faithful: u32,
    incomplete: u32,
}

impl Clients {
    /// The clients of the thread with this number: every n-th of the run; the lone client has the
    /// last thread for itself, so that what the others receive does not delay its clock.
    pub fn new(shared: Arc<Shared>, number: usize) -> Self {
        let plan = &shared.plan;
        let crowd = shared.progress.len() - usize::from(plan.mode.has_lone());
        let (first, end, step) = match number == crowd {
            true => (plan.clients(), plan.everyone(), 1),
            false => (number as u32, plan.clients(), crowd),
        };
        let all: Vec<_> = (first..end)
            .step_by(step)
            .map(|nth| Connection::new(plan.transport(nth), plan.group(nth)))
            .collect();
        let faithful = all.iter().filter(|client| client.group == Group::Main).count() as u32;
        Self {
            shared,
            first,
            step: step as u32,
            number,
            all,
            tallies: Default::default(),
            arrivals: Arrivals::default(),
            phases: Default::default(),
            open: 0,
            called: 0,
            over: 0,
            delivered: 0,
            faithful,
            incomplete: 0,
        }
    }

    fn has_own(&self) -> bool {
        self.shared.plan.follows == Follows::Own
    }

    /// The number in the whole run.
    pub fn global(&self, nth: u32) -> u32 {
        nth * self.step + self.first
    }

    /// Counts a stream from `first` on.
    pub fn begin(&mut self, stream: u8, first: u32) {
        self.phases[usize::from(stream)] = vec![first];
        for client in self.all.iter_mut().filter(|client| client.group.stream() == stream) {
            client.ledger.begin(first);
        }
        if stream == 0 {
            self.arrivals.begin(first);
            self.incomplete = first;
        }
    }

    /// Takes what arrived at a client.
    pub fn take(&mut self, nth: u32, bytes: &[u8], effects: &mut Vec<(u32, Effect)>) {
        // Whose message it is, where each has its own.
        let whose = if self.has_own() { self.global(nth) } else { 0 };
        let Self {
            shared, all, tallies, arrivals, phases, open, called, delivered, number, ..
        } = self;
        let client = &mut all[nth as usize];
        let (group, now, accept) = (client.group, shared.clock.nanos(), shared.requests.accept());
        let tally = &mut tallies[group as usize];
        tally.bytes += bytes.len() as u64;
        let mut ledger = std::mem::take(&mut client.ledger);
        let (mut probes, mut opened, mut closing) = (0, false, false);
        let before = *delivered;
        let fed = client.feed(bytes, accept, &mut |seen| match seen {
            Seen::Found(Found::Probe(probe)) => {
                if probe.run != shared.run.wrapping_add(whose) || probe.stream != group.stream() {
                    tally.strays += 1;
                    return;
                }
                probes += 1;
                let Some(phase) = phase(&phases[usize::from(probe.stream)], &probe) else { return };
                match ledger.enter(probe.sequence) {
                    Entry::Again => return tally.duplicates += 1,
                    Entry::Late => tally.disordered += 1,
                    Entry::New => {}
                }
                *delivered += 1;
                let nanos = now.saturating_sub(probe.nanos);
                tally.record(phase, nanos);
                if group == Group::Main {
                    arrivals.enter(probe.sequence, nanos);
                }
            }
            Seen::Found(Found::Gap(gap)) => tally.gap(gap),
            Seen::Open => {
                opened = true;
                effects.push((nth, Effect::Subscribe));
            }
            Seen::Ping(payload) => effects.push((nth, Effect::Pong(payload.to_vec()))),
            Seen::Close(code) => {
                closing = true;
                effects.push((nth, Effect::Closing));
                *tally.closes.entry(code).or_default() += 1;
            }
            Seen::Refused(status) => effects.push((nth, Effect::Refused(status))),
            Seen::PollAnswered => effects.push((nth, Effect::Poll)),
        });
        client.ledger = ledger;
        client.closing |= closing;
        if let Err(what) = fed {
            effects.push((nth, Effect::Violation(what)));
        }
        tally.delivered += *delivered - before;
        if *delivered > before {
            tally.receives += 1;
        }
        if opened {
            client.failures = 0;
            *open += 1;
            let progress = &shared.progress[*number];
            progress.opened.fetch_add(1, Relaxed);
            progress.last_open_nanos.store(now, Relaxed);
        }
        if probes > 0 && !client.called {
            client.called = true;
            *called += 1;
        }
    }

    /// Whether the id is known after which a client resumes, if it has to: the publisher may hear
    /// of it a moment after the client had the message.
    pub fn may_resume(&self, nth: u32) -> bool {
        let (plan, ledger) = (&self.shared.plan, &self.all[nth as usize].ledger);
        let resumes = plan.is_fanfare() && plan.mode == Mode::Storm && ledger.is_begun();
        !resumes || self.shared.ids.text(ledger.last()).is_some()
    }

    /// A client's socket is gone.
    pub fn closed(&mut self, nth: u32) {
        let client = &mut self.all[nth as usize];
        if client.life == ConnectionState::Open {
            self.open -= 1;
        }
        client.life = ConnectionState::Waiting;
    }

    /// A client begins anew, and what it had before is another one's.
    pub fn forget(&mut self, nth: u32) {
        let client = &mut self.all[nth as usize];
        // What had not come when it left, nobody owes it.
        let passed_over = client.ledger.lost(client.ledger.last());
        self.tallies[client.group as usize].lost += passed_over;
        client.forget();
    }

    /// The server ended an open connection.
    pub fn ended(&mut self, nth: u32) {
        let client = &self.all[nth as usize];
        if !client.closing {
            let closes = &mut self.tallies[client.group as usize].closes;
            *closes.entry(NO_CLOSE_FRAME).or_default() += 1;
        }
        self.give_up(nth);
    }

    /// A client broke off because of what the server said.
    pub fn violated(&mut self, nth: u32, what: Violation) {
        let group = self.all[nth as usize].group;
        *self.tallies[group as usize].violations.entry(what).or_default() += 1;
    }

    /// A client will not come again.
    pub fn give_up(&mut self, nth: u32) {
        let client = &mut self.all[nth as usize];
        client.life = ConnectionState::Over;
        self.over += 1;
        if client.group == Group::Main {
            self.faithful -= 1;
        }
    }

    /// Tells the others how far it is.
    pub fn tell(&mut self) {
        let progress = &self.shared.progress[self.number];
        Progress::set(&progress.open, self.open);
        Progress::set(&progress.called, self.called);
        Progress::set(&progress.over, self.over);
        let before = progress.delivered.swap(self.delivered, Relaxed);
        let incomplete = self.arrivals.advance(self.faithful);
        if incomplete != self.incomplete {
            self.incomplete = incomplete;
            self.shared.waiter.wake();
        } else if self.delivered != before && self.has_own() {
            self.shared.waiter.wake();
        }
        // A thread without main clients holds nobody up.
        let incomplete = if self.faithful == 0 { u32::MAX } else { incomplete };
        progress.incomplete.store(incomplete, Relaxed);
    }

    /// Counts what is missing, where `last` was published last on each stream.
    pub fn finish(mut self, last: [u32; 2]) -> Self {
        for client in &self.all {
            let lost = client.ledger.lost(last[usize::from(client.group.stream())]);
            let tally = &mut self.tallies[client.group as usize];
            tally.lost += lost;
            tally.clients_short += u64::from(lost > 0);
            tally.lost_by_transport[client.transport as usize] += lost;
            // A connection that ends says by its end that something may be missing.
            if client.life == ConnectionState::Over {
                tally.lost_told += lost;
            }
        }
        self
    }
}

/// The phase of a message; `None` before the first.
fn phase(firsts: &[u32], probe: &Probe) -> Option<usize> {
    firsts.iter().rposition(|first| probe.sequence >= *first)
}
