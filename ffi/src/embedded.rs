//! A node inside of this process: messages go straight into the sequencer's inbox.
//!
//! The sequencer tells outcomes on its own thread and must not wait, so callbacks of the program
//! run on another one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, unbounded};
use fanfare::channel::{ChannelName, Tenant};
use fanfare::config;
use fanfare::ingest;
use fanfare::sequencer::command::{Command, Publication, PublishAnswer, Published, Refusal};
use fanfare::sequencer::inbox::{Inbox, NotTaken};
use fanfare::server::{self, Running};
use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::limits::IngestLimits;

use crate::code::{
    Code, FANFARE_E_AGAIN, FANFARE_E_CONFIG, FANFARE_E_PIPE, FANFARE_E_TIMEOUT,
    FANFARE_E_TOO_LARGE, FANFARE_E_UNAVAILABLE, of_own_refusal, of_refusal,
};
use crate::outcome::{Courier, Done, Outcome, Place, is_recalling, recall};
use crate::publisher::{Counters, Failure, SHAPE, Settings, Stats};

/// Between two offers of a flush to an inbox that is full.
const INBOX_NAP: Duration = Duration::from_micros(200);

type Call = Box<dyn FnOnce(Outcome) + Send>;

/// What the thread of callbacks is given.
enum Errand {
    Call(Call, Outcome),
    /// Everything before this was called.
    Flushed(Sender<()>),
}

/// A node of our own.
pub(crate) struct Embedded {
    /// `None` once it is closed: then nothing is taken.
    way: RwLock<Option<Way>>,
    stopping: Mutex<Option<(Running, JoinHandle<()>)>>,
    shared: Arc<Shared>,
    settings: Settings,
    limits: IngestLimits,
    tenant: Tenant,
    epoch: u64,
    ports: (u16, u16),
}

struct Way {
    inbox: Inbox,
    errands: Sender<Errand>,
}

/// What outlives a message's way through the sequencer.
#[derive(Default)]
struct Shared {
    counters: Counters,
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// One message at the sequencer; whatever becomes of it, its room is given back.
struct Pending {
    shared: Arc<Shared>,
    courier: Option<Courier>,
    bytes: usize,
}

impl Pending {
    fn settle(mut self, result: Result<Published, Refusal>) {
        let outcome = result.map_err(of_own_refusal).map(|published| Place {
            epoch: published.id.epoch.number(),
            position: published.id.position,
            offset: published.offset,
            subscribers: published.subscribers,
            duplicate: published.duplicate,
        });
        self.shared.counters.count(&outcome);
        if let Some(courier) = self.courier.take() {
            courier.deliver(outcome);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.messages.fetch_sub(1, Relaxed);
        self.shared.bytes.fetch_sub(self.bytes, Relaxed);
        if self.courier.is_some() && !is_recalling() {
            self.shared.counters.unknown.fetch_add(1, Relaxed);
        }
    }
}

impl Embedded {
    pub(crate) fn open(text: &str, settings: Settings) -> Result<Self, Failure> {
        let fail = |code, text: String| Failure { code, text };
        let config = config::load_text("the configuration", text)
            .map_err(|problems| fail(FANFARE_E_CONFIG, problems.to_string()))?;
        let node = config.settings;
        let limits = IngestLimits {
            message_bytes: u32::try_from(node.limits.message_bytes).unwrap_or(u32::MAX),
            ..SHAPE
        };
        let running = server::start(node).map_err(|error| {
            let is_config = error.exit_code() == 78;
            fail(
                if is_config { FANFARE_E_CONFIG } else { FANFARE_E_UNAVAILABLE },
                error.to_string(),
            )
        })?;
        let (errands, heard) = unbounded();
        let thread =
            std::thread::Builder::new().name("fanfare-callbacks".into()).spawn(move || {
                for errand in heard {
                    match errand {
                        Errand::Call(call, outcome) => call(outcome),
                        Errand::Flushed(tell) => drop(tell.send(())),
                    }
                }
            });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                running.stop();
                let text = format!("a thread could not be started: {error}");
                return Err(fail(FANFARE_E_UNAVAILABLE, text));
            }
        };
        let (addresses, epoch) = (running.addresses(), running.epoch().number());
        let ports = (addresses.listen.port(), addresses.api.map_or(0, |api| api.port()));
        Ok(Self {
            way: RwLock::new(Some(Way { inbox: running.inbox().clone(), errands })),
            stopping: Mutex::new(Some((running, thread))),
            shared: Arc::default(),
            settings,
            limits,
            tenant: Tenant::default(),
            epoch,
            ports,
        })
    }

    pub(crate) fn offer(&self, messages: &[PublishFrame<'_>], done: Vec<Done>) -> Result<(), Code> {
        let publication = |message| {
            ingest::publication(message, &self.limits, &self.tenant)
                .map_err(|refusal| of_refusal(refusal.code))
        };
        let publications = messages.iter().map(publication).collect::<Result<Vec<_>, _>>()?;
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        let way = way.as_ref().ok_or(FANFARE_E_PIPE)?;
        let pending = self.admit(&publications, done, &way.errands)?;
        let command = one_or_many(publications, pending);
        way.inbox.offer(command).map_err(|refused| {
            let (command, code) = match refused {
                NotTaken::Full(command) => (command, FANFARE_E_AGAIN),
                NotTaken::Ended(command) => (command, FANFARE_E_PIPE),
            };
            recall(command);
            code
        })
    }

    /// Takes room in the queue for all of them.
    fn admit(
        &self,
        publications: &[Publication],
        done: Vec<Done>,
        errands: &Sender<Errand>,
    ) -> Result<Vec<Pending>, Code> {
        let shared = &self.shared;
        let bytes: usize = publications.iter().map(cost).sum();
        if publications.len() > self.settings.queue_messages || bytes > self.settings.queue_bytes {
            return Err(FANFARE_E_TOO_LARGE);
        }
        let messages = shared.messages.fetch_add(publications.len(), Relaxed) + publications.len();
        let all_bytes = shared.bytes.fetch_add(bytes, Relaxed) + bytes;
        if messages > self.settings.queue_messages || all_bytes > self.settings.queue_bytes {
            shared.messages.fetch_sub(publications.len(), Relaxed);
            shared.bytes.fetch_sub(bytes, Relaxed);
            return Err(FANFARE_E_AGAIN);
        }
        let pending = publications.iter().zip(done).map(|(publication, done)| Pending {
            shared: Arc::clone(shared),
            courier: Some(Courier::new(forward(done, errands))),
            bytes: cost(publication),
        });
        Ok(pending.collect())
    }

    /// The inbox is a queue: when a question that is asked now is answered, all before it was done.
    pub(crate) fn flush(&self, patience: Duration) -> Result<(), Code> {
        let (tell, heard) = bounded(1);
        let mut waited = Duration::ZERO;
        loop {
            let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
            let Way { inbox, errands } = way.as_ref().ok_or(FANFARE_E_PIPE)?;
            let (errands, tell) = (errands.clone(), tell.clone());
            let answer = Box::new(move |_| drop(errands.send(Errand::Flushed(tell))));
            let nobody = ChannelName::new(self.tenant.clone(), "");
            match inbox.offer(Command::Stats(nobody, answer)) {
                Ok(()) => break,
                Err(NotTaken::Ended(_)) => return Err(FANFARE_E_PIPE),
                Err(NotTaken::Full(_)) if waited >= patience => return Err(FANFARE_E_TIMEOUT),
                Err(NotTaken::Full(_)) => {}
            }
            drop(way);
            std::thread::sleep(INBOX_NAP);
            waited += INBOX_NAP;
        }
        drop(tell);
        heard.recv_timeout(patience.saturating_sub(waited)).map_err(|error| match error {
            RecvTimeoutError::Timeout => FANFARE_E_TIMEOUT,
            RecvTimeoutError::Disconnected => FANFARE_E_PIPE,
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        let Shared { counters, messages, .. } = &*self.shared;
        let is_open = self.way.read().unwrap_or_else(PoisonError::into_inner).is_some();
        Stats {
            pending: messages.load(Relaxed) as u64,
            published: counters.published.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unknown: counters.unknown.load(Relaxed),
            duplicates: counters.duplicates.load(Relaxed),
            resent: 0,
            connects: 1,
            epoch: self.epoch,
            connected: is_open,
            last_error: 0,
            listen_port: self.ports.0,
            api_port: self.ports.1,
        }
    }

    pub(crate) fn close(&self) {
        let way = self.way.write().unwrap_or_else(PoisonError::into_inner).take();
        let running = self.stopping.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((running, thread)) = running else { return };
        running.stop();
        // The last sender: the thread ends when it has called everything.
        drop(way);
        let _ = thread.join();
    }
}

/// Callbacks do not run where outcomes are told.
fn forward(done: Done, errands: &Sender<Errand>) -> Done {
    match done {
        Done::Call(call) => {
            let errands = errands.clone();
            Done::Call(Box::new(move |outcome| {
                let _ = errands.send(Errand::Call(call, outcome));
            }))
        }
        other => other,
    }
}

/// As [`fanfare::message::cost`] counts it.
fn cost(publication: &Publication) -> usize {
    fanfare::message::cost(publication.data.len(), publication.event.as_deref())
}

fn one_or_many(mut publications: Vec<Publication>, mut pending: Vec<Pending>) -> Command {
    if publications.len() == 1
        && let (Some(publication), Some(pending)) = (publications.pop(), pending.pop())
    {
        let answer = Box::new(move |result| pending.settle(result));
        return Command::Publish(publication, PublishAnswer::Callback(answer));
    }
    let answer = move |results: Vec<_>| {
        pending.into_iter().zip(results).for_each(|(pending, result)| pending.settle(result));
    };
    Command::PublishBatch(publications, Box::new(answer))
}
