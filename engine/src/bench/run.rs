//! A run under way: its clients, its publishers, and what every mode does with them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::crew::Crew;
use super::plan::{Group, Mode, Plan};
use super::publish::Publisher;
use super::section::Section;
use super::shared::Shared;
use super::target::Url;
use super::worker::Command;
use crate::os::machine::{self, Cpu};

pub(super) const SECOND: u64 = 1_000_000_000;
/// What a server has to take a first connection.
const FIND_MAX: Duration = Duration::from_secs(10);
/// How often waits look.
const LOOK: Duration = Duration::from_millis(2);
/// Between two lines of progress.
const SHOW_NANOS: u64 = SECOND / 4;
/// A run in which nothing arrives for so long gets nothing more.
const QUIET_NANOS: u64 = 3 * SECOND;
/// The same where clients did not read: a server gives those it throws out some seconds to take
/// its last word.
const QUIET_SLOW_NANOS: u64 = 8 * SECOND;
/// Between two messages of a roll call, and for each client beside: what a message to all takes, so
/// that calls do not pile up.
const CALL_NANOS: u64 = SECOND / 4;
const CALL_EACH_NANOS: u64 = SECOND / 50_000;
/// What connecting and the roll call may take, and for each client beside.
const PATIENCE_NANOS: u64 = 20 * SECOND;
const PATIENCE_EACH_NANOS: u64 = SECOND / 500;

/// A run under way.
pub(super) struct Run {
    pub(super) crew: Crew,
    pub(super) shared: Arc<Shared>,
    /// By stream.
    pub(super) publishers: Vec<Publisher>,
    /// What the mode found out, for the report.
    pub(super) found: Map<String, Value>,
    /// Names of the latencies' phases, by stream.
    pub(super) phases: [Vec<&'static str>; 2],
    /// The first measured sequence of each stream.
    pub(super) first: [u32; 2],
    show: bool,
    shown: (u64, u64),
}

/// That somebody answers, before thousands find that nobody does.
fn find_server(url: &Url) -> Result<(), String> {
    let found = TcpStream::connect_timeout(&url.address, FIND_MAX);
    found.map(drop).map_err(|error| {
        format!(
            "no server answers at {} ({error}): start one with `fanfare`, or say where it is with \
             --url or FANFARE_URL",
            url.text
        )
    })
}

impl Run {
    /// Starts the threads of clients, and the way to publish. Nobody connects yet.
    pub(super) fn start(plan: Plan, show: bool) -> Result<Self, String> {
        let crew = Crew::start(plan)?;
        let shared = Arc::clone(&crew.shared);
        let mut run = Self {
            crew,
            shared,
            publishers: Vec::new(),
            found: Map::new(),
            phases: Default::default(),
            first: [1, 1],
            show,
            shown: (0, 0),
        };
        run.open_publishers()?;
        // Where connecting is what is measured, its failures are the result.
        if run.plan().mode != Mode::Connect {
            find_server(&run.plan().url)?;
        }
        Ok(run)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// Nanoseconds on the run's clock.
    pub(super) fn now(&self) -> u64 {
        self.shared.clock.nanos()
    }

    fn open_publishers(&mut self) -> Result<(), String> {
        let plan = &self.shared.plan;
        let silent = plan.mode.may_be_silent();
        let Some((way, named)) = &plan.way else {
            return if silent { Ok(()) } else { Err("say how messages are published".into()) };
        };
        for stream in 0..=u8::from(plan.mode.has_lone()) {
            match Publisher::open(&self.shared, way, stream) {
                Ok(publisher) => self.publishers.push(publisher),
                Err(_) if silent && !named => return Ok(()),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    pub(super) fn connect(&mut self) -> Result<(), String> {
        let everyone = u64::from(self.plan().everyone());
        let began = self.now();
        self.crew.tell(Command::Dial);
        let slow = self.plan().connect_rate.map_or(0.0, |rate| everyone as f64 / rate * 1e9);
        let patience = PATIENCE_NANOS + everyone * PATIENCE_EACH_NANOS + slow as u64;
        self.wait_for(patience, "connecting", |crew| {
            crew.sum(|p| &p.open) + crew.sum(|p| &p.over) >= everyone
        });
        let opened = self.crew.sum(|p| &p.open);
        let seconds = self.last_open().saturating_sub(began).max(1) as f64 / 1e9;
        self.found.insert(
            "connect".into(),
            json!({
                "asked": everyone,
                "opened": opened,
                "failed_attempts": self.crew.sum(|p| &p.failed),
                "seconds": round(seconds),
                "per_second": round(opened as f64 / seconds),
            }),
        );
        Ok(())
    }

    /// When the last client was opened.
    pub(super) fn last_open(&self) -> u64 {
        let all = self.shared.progress.iter();
        all.map(|progress| progress.last_open_nanos.load(Relaxed)).max().unwrap_or(0)
    }

    pub(super) fn explain_missing(&self) -> String {
        let (open, everyone) = (self.crew.sum(|p| &p.open), self.plan().everyone());
        format!("only {open} of {everyone} clients were connected to {}", self.plan().url.text)
    }

    /// Publishes until each client has had a message; from there on everything counts.
    pub(super) fn roll_call(&mut self) -> Result<(), String> {
        let everyone = u64::from(self.plan().everyone());
        let deadline = self.now() + PATIENCE_NANOS + everyone * PATIENCE_EACH_NANOS;
        while self.crew.sum(|p| &p.called) < everyone {
            if self.now() > deadline {
                return Err(format!(
                    "{} of {everyone} clients have had no message: does a publish reach the \
                     channel that they follow?",
                    everyone - self.crew.sum(|p| &p.called)
                ));
            }
            for publisher in &mut self.publishers {
                publisher.publish_now()?;
            }
            let pause = CALL_NANOS + everyone * CALL_EACH_NANOS;
            self.wait_for(pause, "roll call", |crew| crew.sum(|p| &p.called) >= everyone);
        }
        for stream in 0..self.publishers.len() {
            let first = self.publishers[stream].last() + 1;
            self.first[stream] = first;
            self.crew.tell(Command::Begin { stream: stream as u8, first });
        }
        Ok(())
    }

    /// Latencies from here on are recorded under another name.
    pub(super) fn phase(&mut self, stream: u8, name: &'static str) {
        let names = &mut self.phases[usize::from(stream)];
        names.push(name);
        // The first phase began with the roll call's end.
        if names.len() > 1 {
            let first = self.publishers[usize::from(stream)].last() + 1;
            self.crew.tell(Command::Phase { stream, first });
        }
    }

    /// Waits until all have all, or nothing has arrived for a while.
    pub(super) fn drain(&mut self) {
        let expected = self.expected();
        let last = self.publishers.first().map_or(0, Publisher::last);
        let quiet = if self.plan().mode == Mode::Slow { QUIET_SLOW_NANOS } else { QUIET_NANOS };
        let mut seen = (self.crew.sum(|p| &p.delivered), self.now());
        loop {
            let over = self.wait_for(SECOND / 10, "waiting for the last", |crew| {
                let whole = crew.incomplete() > last;
                whole && expected.is_none_or(|expected| crew.sum(|p| &p.delivered) >= expected)
            });
            let delivered = self.crew.sum(|p| &p.delivered);
            if over || self.now() - seen.1 > quiet {
                return;
            }
            if delivered != seen.0 {
                seen = (delivered, self.now());
            }
        }
    }

    /// Deliveries of a run without fault; `None` where clients come and go.
    pub(super) fn expected(&self) -> Option<u64> {
        let plan = self.plan();
        if plan.mode == Mode::Churn {
            return None;
        }
        Some(Group::ALL.iter().map(|group| self.expected_of(*group)).sum())
    }

    /// Deliveries that a group is owed.
    pub(super) fn expected_of(&self, group: Group) -> u64 {
        let stream = usize::from(group.stream());
        u64::from(self.plan().count(group)) * u64::from(self.published(stream))
    }

    /// Measured messages of a stream.
    pub(super) fn published(&self, stream: usize) -> u32 {
        let last = self.publishers.get(stream).map_or(0, Publisher::last);
        (last + 1).saturating_sub(self.first[stream])
    }

    /// Waits until `done` or for so long, showing progress; whether it was done.
    pub(super) fn wait_for(
        &mut self,
        nanos: u64,
        what: &str,
        done: impl Fn(&Crew) -> bool,
    ) -> bool {
        let deadline = self.now() + nanos;
        loop {
            if done(&self.crew) {
                return true;
            }
            if self.now() >= deadline {
                return false;
            }
            self.show(what);
            thread::sleep(LOOK);
        }
    }

    /// A line of progress, now and then.
    pub(super) fn show(&mut self, what: &str) {
        let now = self.now();
        if !self.show || now - self.shown.0 < SHOW_NANOS {
            return;
        }
        let delivered = self.crew.sum(|p| &p.delivered);
        let per_second = (delivered - self.shown.1) as f64 * 1e9 / (now - self.shown.0) as f64;
        self.shown = (now, delivered);
        let open = self.crew.sum(|p| &p.open);
        let everyone = self.plan().everyone();
        let _ = write!(
            std::io::stderr(),
            "\r{what}: {open} of {everyone} connected, {delivered} delivered, {per_second:.0}/s\
             \x1b[K"
        );
    }

    pub(super) fn clear_line(&self) {
        if self.show {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    pub(super) fn begin_section(&self) -> Section {
        Section {
            began: self.now(),
            own: Cpu::own(),
            server: self.plan().server_pid.and_then(Cpu::of),
            drops: machine::backlog_drops(),
            ..Section::default()
        }
    }

    pub(super) fn end_section(&self, begun: Section) -> Section {
        let own = Cpu::own();
        let server = self.plan().server_pid.and_then(Cpu::of);
        Section {
            nanos: self.now() - begun.began,
            delivered: self.crew.sum(|p| &p.delivered),
            own_nanos: own.ran_since(&begun.own),
            busiest_nanos: own.busiest_since(&begun.own),
            server_nanos: begun.server.as_ref().zip(server).map(|(then, now)| now.ran_since(then)),
            dropped: begun.drops.zip(machine::backlog_drops()).map(|(then, now)| now - then),
            ..begun
        }
    }

    /// What memory grew by since the run began, for each client.
    pub(super) fn note_memory(&mut self, before: &Memory, name: &str) {
        let now = Memory::now(self.plan().server_pid);
        let clients = u64::from(self.plan().everyone());
        let grown = |then: Option<u64>, now: Option<u64>| {
            then.zip(now).map(|(then, now)| now as i64 - then as i64)
        };
        let each = |grown: Option<i64>| grown.map(|bytes| bytes / clients as i64);
        let pss = grown(before.pss, now.pss);
        // The whole machine's: what others gave back meanwhile is nothing that clients take.
        let slab = grown(before.slab, now.slab).map(|bytes| bytes.max(0));
        let mut told = BTreeMap::new();
        told.insert("server_pss_bytes", now.pss.map(|bytes| bytes as i64));
        told.insert("server_pss_grown_bytes", pss);
        told.insert("server_pss_bytes_per_client", each(pss));
        told.insert("kernel_slab_grown_bytes", slab);
        told.insert("kernel_slab_bytes_per_client_both_ends", each(slab));
        self.found.insert(name.into(), json!(told));
    }
}

/// Memory at one moment.
pub(super) struct Memory {
    pub(super) pss: Option<u64>,
    slab: Option<u64>,
}

impl Memory {
    pub(super) fn now(server: Option<u32>) -> Self {
        Self { pss: server.and_then(machine::pss_bytes), slab: machine::slab_bytes() }
    }
}

/// To three places: more would be noise.
pub(super) fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
