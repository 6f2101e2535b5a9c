//! The publisher's thread: connects, keeps the pipeline moving, tells outcomes, sleeps.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare::clock::{Clock, Millis};
use fanfare_protocol::ingest::SessionId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::link::{self, Link};
use super::pipeline::{Item, Pipeline};
use super::shared::Shared;
use super::talk::{Lost, Retry};
use crate::code::{Code, FANFARE_E_PIPE};
use crate::terms::PublisherSettings;

/// Between two attempts to connect: doubled each time, and spread over its upper half, so that
/// publishers do not come back all at once.
const PAUSE_MS_MIN: u64 = 10;
const PAUSE_MS_MAX: u64 = 2_000;
/// A connection that lasted this long, or served a message, was a good one.
const GOOD_MS: u64 = 1_000;
/// A server that does not say HELLO in this time is none.
const HELLO_MS: u64 = 5_000;

/// What the thread owns.
pub(super) struct Line {
    shared: Arc<Shared>,
    path: PathBuf,
    clock: Clock,
    pipeline: Pipeline,
    link: Option<Link>,
    /// When to connect again.
    next_try: Millis,
    pause_ms: u64,
    /// Pseudo-random, for the pauses.
    dice: u64,
    incoming: Vec<Item>,
    /// Why no other attempt to connect can succeed, where that is known.
    refused: Option<Code>,
}

impl Line {
    pub(super) fn new(
        shared: Arc<Shared>,
        path: PathBuf,
        settings: &PublisherSettings,
        session: SessionId,
        dice: u64,
    ) -> Self {
        Self {
            shared,
            path,
            clock: Clock::start(),
            pipeline: Pipeline::new(settings.unknown_ms, session),
            link: None,
            next_try: Millis(0),
            pause_ms: PAUSE_MS_MIN,
            dice: dice | 1,
            incoming: Vec::new(),
            refused: None,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let now = self.clock.now();
            let closing = self.take_incoming();
            self.keep_connected(now);
            if closing {
                if let Some(link) = &self.link {
                    link.end(&mut self.pipeline);
                }
                self.pipeline.close();
            }
            self.tell();
            if closing {
                return;
            }
            self.sleep(now);
        }
    }

    /// Takes what was offered since the last look; whether it is to end.
    fn take_incoming(&mut self) -> bool {
        let mut queue = self.shared.lock();
        std::mem::swap(&mut self.incoming, &mut queue.incoming);
        let closing = queue.closing;
        drop(queue);
        self.pipeline.add(self.incoming.drain(..));
        closing
    }

    fn keep_connected(&mut self, now: Millis) {
        if self.link.is_none() {
            self.pipeline.expire(now);
            self.refuse();
            if now < self.next_try {
                return;
            }
            match Link::open(&self.path, &mut self.pipeline, now) {
                Ok(link) => self.link = Some(link),
                Err(lost) => return self.lose(lost, now),
            }
        }
        let Some(link) = &mut self.link else { return };
        let had = link.epoch();
        let turned = link.turn(&mut self.pipeline, now);
        let epoch = link.epoch();
        let is_mute = epoch.is_none() && now.since(link.since) >= HELLO_MS;
        if had.is_none() && epoch.is_some() {
            self.shared.counters.connects.fetch_add(1, Relaxed);
            self.refused = None;
            self.shared.greeted(epoch);
            // What waits is written now that it is known what the server takes.
            if turned.is_ok() {
                return self.keep_connected(now);
            }
        }
        match turned {
            Err(lost) => self.lose(lost, now),
            Ok(()) if is_mute => self.lose(Lost::unavailable(), now),
            Ok(()) => {}
        }
    }

    /// Where no attempt can succeed, tells so to what waits.
    fn refuse(&mut self) {
        if let Some(code) = self.refused
            && let Ok(fresh) = link::draw()
        {
            self.pipeline.end(code, fresh);
        }
    }

    fn lose(&mut self, lost: Lost, now: Millis) {
        let link = self.link.take();
        let is_good = |link: &Link| link.talk.served || now.since(link.since) >= GOOD_MS;
        let was_good = link.as_ref().is_some_and(is_good) && lost.retry == Retry::Soon;
        self.pipeline.lose(link.map_or(0, |link| link.talk.unsent_message_bytes()));
        self.refused = (lost.retry == Retry::Never).then_some(lost.code);
        self.refuse();
        self.pause_ms = if was_good { PAUSE_MS_MIN } else { (self.pause_ms * 2).min(PAUSE_MS_MAX) };
        // Marsaglia's xorshift.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let half = self.pause_ms / 2;
        self.next_try = now.plus(half + self.dice % (half + 1));
        self.shared.lost(lost);
    }

    /// Gives the room of messages back whose outcomes are known, then tells these: whoever was told
    /// finds nothing pending. What is flushed has been told, so that comes last.
    fn tell(&mut self) {
        let counters = &self.shared.counters;
        counters.resent.fetch_add(self.pipeline.take_resent(), Relaxed);
        let settled = self.pipeline.take_settled();
        if settled.is_empty() {
            return self.tell_flushed();
        }
        let bytes: usize = settled.iter().map(|(item, _)| item.frame.len()).sum();
        let mut queue = self.shared.lock();
        queue.messages -= settled.len();
        queue.bytes -= bytes;
        drop(queue);
        for (item, outcome) in settled {
            counters.count(&outcome);
            item.deliver(outcome);
        }
        let mut queue = self.shared.lock();
        // What was offered since is not settled.
        let open = self.pipeline.first_open().or(queue.incoming.first().map(|item| item.number));
        queue.settled = open.map_or(queue.taken, |number| number - 1);
        if queue.waiters > 0 {
            self.shared.changed.notify_all();
        }
        drop(queue);
        self.tell_flushed();
    }

    fn tell_flushed(&self) {
        let flushed: Vec<_> = {
            let mut queue = self.shared.lock();
            let settled = queue.settled;
            queue.flushes.extract_if(.., |(number, _)| *number <= settled).collect()
        };
        flushed.into_iter().for_each(|(_, done)| done(Ok(())));
    }

    /// Until something comes by the socket or into the queue, or it is time.
    fn sleep(&self, now: Millis) {
        let due = match &self.link {
            Some(link) if link.epoch().is_none() => Some(link.since.plus(HELLO_MS)),
            Some(_) => None,
            None => [Some(self.next_try), self.pipeline.next_expiry()].into_iter().flatten().min(),
        };
        let timeout = due.map(|due| {
            // One more, so that the time is over and not only near.
            let ms = due.since(now) + 1;
            Timespec { tv_sec: (ms / 1_000) as i64, tv_nsec: (ms % 1_000 * 1_000_000) as i64 }
        });
        let waker = PollFd::new(&self.shared.waker, PollFlags::IN);
        let was_woken = match &self.link {
            None => self.poll(&mut [waker], timeout.as_ref()),
            Some(link) => {
                let writes = link.wants_to_write();
                let wanted = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                self.poll(&mut [waker, PollFd::new(link, wanted)], timeout.as_ref())
            }
        };
        if was_woken {
            self.shared.waker.drain();
        }
    }

    /// Whether it was woken.
    fn poll(&self, descriptors: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> bool {
        match poll(descriptors, timeout) {
            Ok(_) => descriptors[0].revents().contains(PollFlags::IN),
            // A signal, if it reaches this thread at all: the next turn finds nothing to do.
            Err(Errno::INTR) => false,
            Err(_) => false,
        }
    }
}

impl Drop for Line {
    /// Also after a panic: nobody waits for a thread that is gone.
    fn drop(&mut self) {
        self.pipeline.close();
        let lost = self.pipeline.take_settled();
        lost.into_iter().for_each(|(item, outcome)| item.deliver(outcome));
        let (left, flushes) = {
            let mut queue = self.shared.lock();
            queue.over = true;
            queue.connected = false;
            queue.settled = queue.taken;
            queue.messages = 0;
            queue.bytes = 0;
            (std::mem::take(&mut queue.incoming), std::mem::take(&mut queue.flushes))
        };
        drop(left);
        flushes.into_iter().for_each(|(_, done)| done(Err(FANFARE_E_PIPE)));
        self.shared.changed.notify_all();
    }
}
