//! A driver without a kernel: clients that send one request and take everything. What is left of a
//! tick over it is the shard's own work.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fanfare::driver::{
    Close, Detached, Driver, Event, Exception, NotAdopted, Outgoing, Received, Token,
};

/// What the benchmark sees of the clients.
#[derive(Default)]
pub(crate) struct Clients {
    /// Requests of those that have not connected.
    waiting: Vec<String>,
    /// By place: the request, until it was read.
    requests: Vec<Option<String>>,
    /// By place: bytes that were sent to it.
    pub(crate) bytes: Vec<u64>,
    /// What was sent, by place, while it is to be looked at.
    pub(crate) kept: Option<Vec<Vec<u8>>>,
}

/// The driver.
pub(crate) struct Null(Rc<RefCell<Clients>>);

impl Null {
    /// Clients that each send one of `requests`.
    pub(crate) fn new(requests: Vec<String>) -> (Self, Rc<RefCell<Clients>>) {
        let clients = Clients { waiting: requests, ..Clients::default() };
        let clients = Rc::new(RefCell::new(clients));
        (Self(Rc::clone(&clients)), clients)
    }
}

impl Driver for Null {
    fn capacity(&self) -> usize {
        1 << 20
    }

    fn set_accepting(&mut self, _: bool) {}

    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        for &token in tokens {
            let request = self.0.borrow_mut().requests[token.index as usize].take();
            match request {
                Some(request) => {
                    taken(token, Received::Bytes { bytes: &mut request.into_bytes(), more: false });
                }
                None => taken(token, Received::Again),
            }
        }
    }

    fn send_batch(&mut self, sends: &[Outgoing<'_>], _: &mut Vec<Exception>) {
        let Clients { bytes, kept, .. } = &mut *self.0.borrow_mut();
        for send in sends {
            let place = send.token.index as usize;
            bytes[place] += send.bytes.len() as u64;
            if let Some(kept) = kept {
                kept[place].extend_from_slice(send.bytes);
            }
        }
    }

    fn watch_writable(&mut self, token: Token) {
        panic!("{token:?} took everything and is watched for room");
    }

    fn close(&mut self, token: Token, how: Close) {
        panic!("{token:?} is closed: {how:?}");
    }

    fn detach(&mut self, token: Token) -> Result<Detached, i32> {
        panic!("{token:?} is given away");
    }

    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted> {
        panic!("{socket:?} came from nowhere");
    }

    fn poll(&mut self, _: Option<Duration>, events: &mut Vec<Event>) {
        let Clients { waiting, requests, bytes, .. } = &mut *self.0.borrow_mut();
        for request in waiting.drain(..) {
            let token = Token { index: requests.len() as u32, generation: 1 };
            requests.push(Some(request));
            bytes.push(0);
            events.push(Event::Accepted { token, peer: None });
            events.push(Event::Readable { token, hangup: false, gone: false });
        }
    }
}
