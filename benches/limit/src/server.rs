//! The loop: completions, answers, and a batch of sends, over and over.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use contender::frame;
use contender::head::{self, REFUSED, Request, TAKEN, Wish};
use contender::start::BACKLOG;

use crate::log::{Cursor, Log};
use crate::ring::{Completion, Ring, SENDS_PER_ENTER, Sending};

/// How a message goes to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By `send(2)`, each for itself.
    Send,
    /// By the ring, each for itself.
    Ring,
    /// By the ring, with all others that wait.
    Coalesce,
    /// By the ring, to one client: the one whose number is in the publisher's path.
    Own,
}

/// How long a round waits for one more message.
const LINGER: Duration = Duration::from_micros(100);
/// After this long without anything, clients that left are looked for.
const QUIET: Duration = Duration::from_secs(3);
/// Who connects after so long without a connect begins a new run.
const NEW_RUN: Duration = Duration::from_secs(1);
/// Where several rings are to be looked at, the sleep in one of them.
const NAP: Duration = Duration::from_millis(1);
/// Where all that wait have no room, the pause before they are tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// What a request begins with: those of clients are shorter.
const BUFFER_BYTES: usize = 1 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 16 << 20;

/// Clients with a channel of their own have numbers up to this.
const NUMBER_MAX: u32 = 1 << 20;

/// A client whose socket was closed.
const GONE: u32 = u32::MAX;

/// A client after its upgrade: all there is of it.
#[derive(Clone, Copy, Debug)]
struct Client {
    file: u32,
    cursor: Cursor,
}

/// A ring and its clients.
struct Lot {
    ring: Ring,
    clients: Vec<Client>,
    /// Sockets, those of clients to be and of publishers included.
    files: usize,
}

/// The server.
pub struct Server {
    way: Way,
    listener: TcpListener,
    files_max: u32,
    lots: Vec<Lot>,
    log: Log,
    /// Lot and socket of the client with each number, where each has a channel of its own.
    own: Vec<Option<(usize, u32)>>,
    /// Answers that go out before anything else: lot, socket, bytes.
    answers: Vec<(usize, u32, Vec<u8>)>,
    /// Buffers for those who connect next.
    spare: Vec<Vec<u8>>,
    /// The lot whose publisher spoke last.
    speaks: usize,
    last_accept: Instant,
    /// Something happened since clients that left were looked for.
    is_stirred: bool,
}

impl Server {
    /// Accepts from now on.
    ///
    /// # Errors
    /// There can be no ring.
    pub fn new(way: Way, listener: TcpListener, files_max: u64) -> io::Result<Self> {
        let mut server = Self {
            way,
            listener,
            files_max: u32::try_from(files_max).unwrap_or(1 << 20).min(1 << 20),
            lots: Vec::new(),
            log: Log::default(),
            own: Vec::new(),
            answers: Vec::new(),
            spare: Vec::new(),
            speaks: 0,
            last_accept: Instant::now(),
            is_stirred: false,
        };
        server.add_lot()?;
        Ok(server)
    }

    fn add_lot(&mut self) -> io::Result<()> {
        let mut ring = Ring::new(self.way != Way::Send, self.files_max)?;
        ring.accept(&self.listener);
        self.lots.push(Lot { ring, clients: Vec::new(), files: 0 });
        Ok(())
    }

    /// Serves until the process ends.
    pub fn run(&mut self) {
        loop {
            if !self.poll(QUIET) {
                continue;
            }
            if self.way == Way::Coalesce {
                while self.poll(LINGER) {}
            }
            while !self.round() {}
        }
    }

    /// A round over all clients; whether nobody is owed anything.
    fn round(&mut self) -> bool {
        let (mut tried, mut went) = (0, 0);
        // What is published from here on may come behind those who were asked already.
        let end = self.log.end();
        for lot in 0..self.lots.len() {
            let mut from = 0;
            while from < self.lots[lot].clients.len() {
                let batch = self.batch(lot, &mut from);
                tried += batch.0;
                went += batch.1;
                self.poll(Duration::ZERO);
            }
        }
        let is_done = tried == 0;
        let first = self.log.trim(if is_done { end } else { 0 });
        for lot in &mut self.lots {
            let Lot { ring, clients, files } = lot;
            clients.retain(|client| {
                let lost = client.cursor < first && client.file != GONE;
                if lost {
                    ring.close(client.file);
                    *files -= 1;
                }
                client.file != GONE && !lost
            });
        }
        if tried > 0 && went == 0 {
            std::thread::sleep(PAUSE);
        }
        is_done && self.log.end() == end
    }

    /// One enter's worth of sends, to clients of a lot from the `from`-th on: how many were tried,
    /// and how many made progress.
    fn batch(&mut self, lot: usize, from: &mut usize) -> (usize, usize) {
        let Self { way, log, lots, .. } = self;
        let Lot { ring, clients, files } = &mut lots[lot];
        let end = log.end();
        let mut sends = Vec::with_capacity(SENDS_PER_ENTER);
        let mut order = Vec::with_capacity(SENDS_PER_ENTER);
        while *from < clients.len() && sends.len() < SENDS_PER_ENTER {
            let client = &mut clients[*from];
            if client.cursor < end && client.file != GONE {
                let bytes = match way {
                    Way::Coalesce => log.rest(client.cursor),
                    Way::Send | Way::Ring | Way::Own => log.frame(client.cursor),
                };
                sends.push(Sending { file: client.file, bytes });
                order.push(*from);
                // Silence is success; those that are heard of are set right below.
                client.cursor += bytes.len() as u64;
            }
            *from += 1;
        }
        let mut failed = Vec::new();
        match way {
            Way::Send => {
                let sent = sends.iter().enumerate().map(|(nth, send)| (nth, ring.send_now(*send)));
                failed.extend(sent.filter(|(nth, sent)| *sent != sends[*nth].bytes.len() as i32));
            }
            Way::Ring | Way::Coalesce | Way::Own => ring.send(&sends, &mut failed),
        }
        let mut stuck = 0;
        for (nth, result) in failed {
            let client = &mut clients[order[nth]];
            let sent = match result {
                sent @ 1.. => sent as u64,
                0 => 0,
                _ if -result == libc::EAGAIN || -result == libc::EINTR => 0,
                _ => {
                    ring.close(client.file);
                    *files -= 1;
                    client.file = GONE;
                    continue;
                }
            };
            client.cursor -= sends[nth].bytes.len() as u64 - sent;
            stuck += usize::from(sent == 0);
        }
        (sends.len(), sends.len() - stuck)
    }

    /// Takes what has completed, waiting for so long for something; whether a message came.
    fn poll(&mut self, timeout: Duration) -> bool {
        let end = self.log.end();
        let is_alone = self.lots.len() == 1;
        let timeout = if is_alone { timeout } else { timeout.min(NAP) };
        let last = self.lots.len() - 1;
        let mut done = Vec::new();
        let mut is_quiet = true;
        for lot in 0..self.lots.len() {
            // Sleeps where the next word is expected: from a publisher, else from the newest.
            let sleeps = if timeout == LINGER { lot == self.speaks } else { lot == last };
            let timeout = if sleeps { timeout } else { Duration::ZERO };
            self.lots[lot].ring.poll(timeout, &mut done);
            is_quiet &= done.is_empty();
            for completion in done.drain(..) {
                self.take(lot, completion);
            }
        }
        self.answer();
        self.is_stirred |= !is_quiet;
        if is_quiet && timeout == QUIET && self.is_stirred {
            self.drop_who_left();
            self.is_stirred = false;
        }
        self.log.end() > end
    }

    fn take(&mut self, lot: usize, completion: Completion) {
        match completion {
            Completion::Accepted(file) => {
                let now = Instant::now();
                if now - self.last_accept > NEW_RUN {
                    self.drop_who_left();
                }
                self.last_accept = now;
                let buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
                self.lots[lot].ring.receive(file, buffer);
                self.lots[lot].files += 1;
                self.make_room(lot);
            }
            Completion::AcceptEnded(errno) => {
                if lot + 1 == self.lots.len() {
                    if errno != 0 {
                        self.drop_who_left();
                        std::thread::sleep(PAUSE);
                    }
                    self.lots[lot].ring.accept(&self.listener);
                }
            }
            Completion::Received { file, buffer, result: 1.. } => self.hear(lot, file, buffer),
            Completion::Received { file, buffer, .. } => self.close(lot, file, buffer),
        }
    }

    /// A full table drops clients, and one accept may bring a whole backlog: so the next ring takes
    /// over before that.
    fn make_room(&mut self, lot: usize) {
        let files_max = self.files_max.saturating_sub(BACKLOG as u32 + 128) as usize;
        let is_last = lot + 1 == self.lots.len();
        if self.way == Way::Send || !is_last || self.lots[lot].files < files_max.max(1) {
            return;
        }
        match self.add_lot() {
            Ok(()) => self.lots[lot].ring.stop_accepting(&self.listener),
            Err(error) => eprintln!("no more rings: {error}"),
        }
    }

    /// Reads what somebody says before its upgrade, or to publish.
    fn hear(&mut self, lot: usize, file: u32, mut buffer: Vec<u8>) {
        let mut heard = 0;
        loop {
            let said = &buffer[heard..];
            match head::read(said) {
                Ok(Some(Request { wish: Wish::Upgrade { accept }, number, .. })) => {
                    self.answers.push((lot, file, head::switching(&accept)));
                    if let (Way::Own, Some(number)) = (self.way, number) {
                        let nth = number.min(NUMBER_MAX) as usize;
                        self.own.resize(self.own.len().max(nth + 1), None);
                        self.own[nth] = Some((lot, file));
                    }
                    let cursor = self.log.end();
                    self.lots[lot].clients.push(Client { file, cursor });
                    return self.keep(buffer);
                }
                Ok(Some(Request { bytes: head, number, wish: Wish::Publish { bytes } }))
                    if bytes <= BODY_BYTES_MAX =>
                {
                    let Some(body) = said.get(head..head + bytes) else {
                        let missing = head + bytes - said.len();
                        buffer.reserve(missing);
                        break;
                    };
                    match number.filter(|_| self.way == Way::Own) {
                        None => self.log.append(body),
                        Some(number) => {
                            let to = self.own.get(number as usize).copied().flatten();
                            let mut bytes = Vec::new();
                            frame::text(body, &mut bytes);
                            self.answers.extend(to.map(|(lot, file)| (lot, file, bytes)));
                        }
                    }
                    heard += head + bytes;
                    self.speaks = lot;
                    self.answers.push((lot, file, TAKEN.to_vec()));
                }
                Ok(None) if said.len() < HEAD_BYTES_MAX => break,
                _ => {
                    self.answers.push((lot, file, REFUSED.to_vec()));
                    self.answer();
                    return self.close(lot, file, buffer);
                }
            }
        }
        buffer.drain(..heard);
        buffer.reserve(1);
        self.lots[lot].ring.receive(file, buffer);
    }

    /// Sends the answers. Each fits into an empty socket; where it does not, the other side has
    /// gone or is not what it says, and is found out by the next send.
    fn answer(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        let mut failed = Vec::new();
        for (lot, Lot { ring, .. }) in self.lots.iter_mut().enumerate() {
            let mine: Vec<_> = answers
                .iter()
                .filter(|answer| answer.0 == lot)
                .map(|(_, file, bytes)| Sending { file: *file, bytes })
                .collect();
            // A publisher may have spoken twice, and two sends to one socket may interleave: so
            // its answers are sent one by one.
            let has_twice = mine.iter().zip(mine.iter().skip(1)).any(|(a, b)| a.file == b.file);
            for batch in mine.chunks(if has_twice { 1 } else { SENDS_PER_ENTER }) {
                ring.send(batch, &mut failed);
            }
        }
    }

    fn close(&mut self, lot: usize, file: u32, buffer: Vec<u8>) {
        self.lots[lot].ring.close(file);
        self.lots[lot].files -= 1;
        self.keep(buffer);
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        // Memory is counted: no more are kept than can be in use at once.
        if buffer.capacity() == BUFFER_BYTES && self.spare.len() < 256 {
            self.spare.push(buffer);
        }
    }

    /// Asks every client's socket whether its stream has ended.
    fn drop_who_left(&mut self) {
        for Lot { ring, clients, files } in &mut self.lots {
            for batch in clients.chunks_mut(SENDS_PER_ENTER) {
                let alive: Vec<_> = batch.iter().map(|client| client.file).collect();
                for (nth, result) in ring.drain(&alive) {
                    let goes_on = result > 0 || -result == libc::EAGAIN || -result == libc::EINTR;
                    if !goes_on && batch[nth].file != GONE {
                        ring.close(batch[nth].file);
                        *files -= 1;
                        batch[nth].file = GONE;
                    }
                }
            }
        }
    }
}
