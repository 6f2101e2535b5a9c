//! The fan-out of a runtime without a broadcast channel: one log of ready-made frames, one task for
//! each client with a cursor into it, and a list of those who wait.
//!
//! A client's task sends whatever lies between its cursor and the log's end as one write, so a
//! round that takes long is followed by one with larger writes and not with more of them. Runtimes
//! of io_uring own what they write until it is written; so the slice is a [`Bytes`], cut once and
//! shared by all who need the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::frame::{After, Inbound};
use crate::publish::Inbox;

/// The log keeps at least so much for those who are behind, and at most twice as much. Who is
/// farther behind is closed.
const LOG_BYTES: usize = 4 << 20;
/// Bytes of one write at most.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Slices that are kept for the next client that needs the same.
const CUTS: usize = 8;

/// What all clients of a thread share.
pub struct Fanout {
    inbox: Arc<Inbox>,
    log: RefCell<Log>,
    waiting: RefCell<Vec<Waker>>,
}

/// Frames end to end, and where in the stream of all frames they begin.
#[derive(Default)]
struct Log {
    base: u64,
    frames: Vec<u8>,
    /// The last slices that were cut, by where they begin and end.
    cuts: [(u64, u64, Bytes); CUTS],
    next_cut: usize,
}

/// One client, as its two tasks see it: one reads, one writes.
pub struct Client {
    fanout: Rc<Fanout>,
    cursor: Cell<u64>,
    inbound: RefCell<Inbound>,
    /// Pongs and a close, which go before the next frames.
    answers: RefCell<Vec<u8>>,
    /// Nothing is written any more once the answers are out.
    is_over: Cell<bool>,
    writer: RefCell<Option<Waker>>,
}

impl Fanout {
    /// An empty log that is fed from `inbox`.
    pub fn new(inbox: Arc<Inbox>) -> Rc<Self> {
        Rc::new(Self { inbox, log: RefCell::default(), waiting: RefCell::default() })
    }

    /// Takes what has been published, and wakes everybody who waits for it.
    pub fn look(&self) {
        let log = &mut *self.log.borrow_mut();
        if !self.inbox.take(&mut log.frames) {
            return;
        }
        log.trim();
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// A client that gets everything from now on.
    pub fn join(self: &Rc<Self>) -> Rc<Client> {
        self.look();
        Rc::new(Client {
            fanout: Rc::clone(self),
            cursor: Cell::new(self.log.borrow().end()),
            inbound: RefCell::default(),
            answers: RefCell::default(),
            is_over: Cell::new(false),
            writer: RefCell::default(),
        })
    }
}

impl Log {
    fn end(&self) -> u64 {
        self.base + self.frames.len() as u64
    }

    fn trim(&mut self) {
        if self.frames.len() > 2 * LOG_BYTES {
            let gone = self.frames.len() - LOG_BYTES;
            self.frames.drain(..gone);
            self.base += gone as u64;
        }
    }

    /// What lies behind `cursor`; `None` where it has been dropped.
    fn cut(&mut self, cursor: u64) -> Option<Bytes> {
        let from = usize::try_from(cursor.checked_sub(self.base)?).ok()?;
        let end = self.end().min(cursor + WRITE_BYTES_MAX as u64);
        let known = self.cuts.iter().find(|(begins, ends, _)| (*begins, *ends) == (cursor, end));
        if let Some((_, _, bytes)) = known {
            return Some(bytes.clone());
        }
        let bytes = Bytes::copy_from_slice(&self.frames[from..from + (end - cursor) as usize]);
        self.cuts[self.next_cut] = (cursor, end, bytes.clone());
        self.next_cut = (self.next_cut + 1) % CUTS;
        Some(bytes)
    }
}

impl Client {
    /// What is to be written next, once there is something; `None` when the connection is over.
    pub async fn next(&self) -> Option<Bytes> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let answers = self.answers.take();
        if !answers.is_empty() {
            return Poll::Ready(Some(answers.into()));
        }
        if self.is_over.get() {
            return Poll::Ready(None);
        }
        self.fanout.look();
        let log = &mut *self.fanout.log.borrow_mut();
        if self.cursor.get() < log.end() {
            let bytes = log.cut(self.cursor.get());
            self.cursor.update(|cursor| cursor + bytes.as_ref().map_or(0, Bytes::len) as u64);
            return Poll::Ready(bytes);
        }
        self.fanout.waiting.borrow_mut().push(context.waker().clone());
        *self.writer.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Takes what the client said; whether it goes on.
    pub fn heard(&self, bytes: &[u8]) -> bool {
        let after = self.inbound.borrow_mut().feed(bytes, &mut self.answers.borrow_mut());
        if after == After::Closing {
            self.is_over.set(true);
        }
        if after == After::Closing || !self.answers.borrow().is_empty() {
            self.wake();
        }
        after == After::Open
    }

    /// Ends the connection: the other side is gone.
    pub fn end(&self) {
        self.is_over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(client: &Client) -> Poll<Option<Bytes>> {
        client.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_waits_is_one_slice_and_those_who_share_it_share_its_memory() {
        let (inbox, _bell) = Inbox::new().unwrap();
        let fanout = Fanout::new(inbox);
        let (one, two) = (fanout.join(), fanout.join());
        assert!(poll(&one).is_pending());
        fanout.log.borrow_mut().frames.extend_from_slice(b"ab");
        let (first, second) = (poll(&one), poll(&two));
        let (Poll::Ready(Some(first)), Poll::Ready(Some(second))) = (first, second) else {
            panic!("both have something to write")
        };
        assert_eq!(first, "ab");
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(poll(&one).is_pending());
    }

    #[test]
    fn answers_go_first_and_a_close_ends_what_follows() {
        let (inbox, _bell) = Inbox::new().unwrap();
        let fanout = Fanout::new(inbox);
        let client = fanout.join();
        fanout.log.borrow_mut().frames.extend_from_slice(b"ab");
        assert!(client.heard(&[0x89, 0x80, 0, 0, 0, 0]));
        assert_eq!(poll(&client), Poll::Ready(Some(Bytes::from_static(&[0x8a, 0]))));
        assert_eq!(poll(&client), Poll::Ready(Some(Bytes::from_static(b"ab"))));
        assert!(!client.heard(&[0x88, 0x80, 0, 0, 0, 0]));
        assert_eq!(poll(&client), Poll::Ready(Some(Bytes::from_static(&[0x88, 0]))));
        assert_eq!(poll(&client), Poll::Ready(None));
    }

    #[test]
    fn who_is_too_far_behind_is_closed() {
        let (inbox, _bell) = Inbox::new().unwrap();
        let fanout = Fanout::new(inbox);
        let client = fanout.join();
        let log = || fanout.log.borrow_mut();
        log().frames.resize(2 * LOG_BYTES + 1, 0);
        log().trim();
        assert_eq!(log().frames.len(), LOG_BYTES);
        assert_eq!(poll(&client), Poll::Ready(None));
    }
}
