//! A server on this machine: messages go over its Unix socket, on a thread of our own.
//!
//! Callers encode and queue, and wake the thread; it ([`line`]) connects, writes ahead without
//! waiting for answers, and connects again when the connection is lost. It publishes in a session
//! that outlives its connections, so that the server says what it has had already, and only what is
//! missing is sent again, in its order ([`pipeline`]).

mod line;
mod link;
#[cfg(test)]
mod model;
mod pipeline;
mod shared;
mod talk;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare::os::coalescing_waker::CoalescingWaker;
use fanfare::payload::detect;
use fanfare_protocol::ingest::{DeclaredKind, PublishFrame, write};
use fanfare_protocol::message::Kind;

use crate::code::{
    self, Code, FANFARE_E_AGAIN, FANFARE_E_BAD_DATA, FANFARE_E_INVAL, FANFARE_E_PIPE,
    FANFARE_E_TIMEOUT, FANFARE_E_TOO_LARGE, FANFARE_E_UNAVAILABLE,
};
use crate::outcome::{Done, Flushed, OutcomeSender};
use crate::terms::{Counters, Failure, PublisherSettings, SHAPE, Stats};
use pipeline::Item;
use rustix::net::SocketAddrUnix;
use shared::Shared;

/// A publisher at the socket of a server.
pub(crate) struct Connected {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    settings: PublisherSettings,
}

impl Connected {
    pub(crate) fn open(path: PathBuf, settings: PublisherSettings) -> Result<Self, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| Failure {
            code: FANFARE_E_UNAVAILABLE,
            text: format!("{what}: {error}"),
        };
        if let Err(error) = SocketAddrUnix::new(&path) {
            let text = format!("{} is not a socket's path: {error}", path.display());
            return Err(Failure { code: FANFARE_E_INVAL, text });
        }
        let waker = CoalescingWaker::new()
            .map_err(|error| failed("no descriptor to wake a thread by", &error))?;
        let session = link::draw().map_err(|error| failed("no random number", &error))?;
        let dice = getrandom::u64().map_err(|error| failed("no random number", &error))?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            waker,
            counters: Counters::default(),
        });
        let patience = Duration::from_millis(settings.connect_ms);
        let line = line::Line::new(Arc::clone(&shared), path.clone(), &settings, session, dice);
        let thread = std::thread::Builder::new()
            .name("fanfare-publisher".into())
            .spawn(move || line.run())
            .map_err(|error| failed("a thread could not be started", &error))?;
        let connected = Self { shared, thread: Mutex::new(Some(thread)), settings };
        if patience.is_zero() {
            return Ok(connected);
        }
        connected.shared.wait(patience, |queue| queue.connected || queue.turned_away.is_some());
        match connected.shared.failure(&path, patience) {
            None => Ok(connected),
            Some(failure) => {
                connected.close();
                Err(failure)
            }
        }
    }

    pub(crate) fn offer(&self, messages: &[PublishFrame<'_>], done: Vec<Done>) -> Result<(), Code> {
        for message in messages {
            message.check(&SHAPE).map_err(|refusal| code::of_refusal(refusal.code))?;
            // The server would find out too, but after it has published the rest of a batch.
            let says_json = message.kind == DeclaredKind::Known(Kind::Json);
            if says_json && detect(message.data) != Kind::Json {
                return Err(FANFARE_E_BAD_DATA);
            }
        }
        // Encoded before the lock is taken.
        let mut items = Vec::with_capacity(messages.len());
        for (message, done) in messages.iter().zip(done) {
            let sender = OutcomeSender::new(done);
            let answer = sender.wants_place();
            let whole = PublishFrame { answer, ..*message };
            // Its exact length: it is allocated once, and a box of it is no copy.
            let mut frame = Vec::with_capacity(write::publish_bytes(&whole));
            write::publish(&whole, &mut frame);
            items.push(Item::new(frame.into(), sender));
        }
        match self.enqueue(items) {
            Ok(()) => {
                self.shared.waker.wake();
                Ok(())
            }
            Err((items, code)) => {
                crate::outcome::recall(items);
                Err(code)
            }
        }
    }

    fn enqueue(&self, items: Vec<Item>) -> Result<(), (Vec<Item>, Code)> {
        let bytes: usize = items.iter().map(|item| item.frame.len()).sum();
        let PublisherSettings { queue_messages, queue_bytes, .. } = self.settings;
        if items.len() > queue_messages || bytes > queue_bytes {
            return Err((items, FANFARE_E_TOO_LARGE));
        }
        let mut queue = self.shared.lock();
        if queue.closing || queue.over {
            return Err((items, FANFARE_E_PIPE));
        }
        if let Some(code) = queue.refused {
            return Err((items, code));
        }
        if queue.messages + items.len() > queue_messages || queue.bytes + bytes > queue_bytes {
            return Err((items, FANFARE_E_AGAIN));
        }
        queue.messages += items.len();
        queue.bytes += bytes;
        for mut item in items {
            queue.taken += 1;
            item.number = queue.taken;
            queue.incoming.push(item);
        }
        Ok(())
    }

    pub(crate) fn flush(&self, patience: Duration) -> Result<(), Code> {
        let taken = self.shared.lock().taken;
        if self.shared.wait(patience, |queue| queue.settled >= taken || queue.over) {
            let is_settled = self.shared.lock().settled >= taken;
            return if is_settled { Ok(()) } else { Err(FANFARE_E_PIPE) };
        }
        Err(FANFARE_E_TIMEOUT)
    }

    /// As [`Connected::flush`], for one who does not wait: the thread tells it.
    pub(crate) fn flush_then(&self, done: Flushed) -> Result<(), Code> {
        let mut queue = self.shared.lock();
        if queue.closing || queue.over {
            return Err(FANFARE_E_PIPE);
        }
        if queue.flushes.len() >= FLUSHES_MAX {
            return Err(FANFARE_E_AGAIN);
        }
        let number = queue.taken;
        queue.flushes.push((number, done));
        drop(queue);
        self.shared.waker.wake();
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = &self.shared.counters;
        let queue = self.shared.lock();
        Stats {
            pending: queue.messages as u64,
            published: counters.published.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unknown: counters.unknown.load(Relaxed),
            duplicates: counters.duplicates.load(Relaxed),
            resent: counters.resent.load(Relaxed),
            connects: counters.connects.load(Relaxed),
            epoch: queue.epoch,
            connected: queue.connected,
            last_error: queue.last_error,
            listen_port: 0,
            api_port: 0,
        }
    }

    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.waker.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Flushes that may wait at a time. A program that asks for more has a mistake in a loop.
const FLUSHES_MAX: usize = 1 << 16;
