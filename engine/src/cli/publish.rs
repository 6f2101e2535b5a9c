//! `fanfare publish`: messages over the server's Unix socket, one or one of each line.
//!
//! Lines are pipelined: one thread writes what comes in, the other reads what became of it. The
//! process succeeds only when everything was sent, every message has its outcome, and none was
//! refused. The writer is never further ahead of what was printed than the server's window: where
//! standard output takes no more, nothing is sent that nobody hears of.

mod input;
mod ledger;

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Answer, Decoder, Hello, Reply};
use fanfare_protocol::ingest::{
    ChannelNames, ChannelReceipt, DeclaredKind, ErrorCode, GoodbyeCode, PublishFrame, write,
};
use fanfare_protocol::limits::IngestLimits;
use fanfare_protocol::message::Kind;
use fanfare_protocol::refusals;
use rustix::process::getuid;

use super::arguments::{KindChoice, Publish};
use super::exit::{self, Failure};
use super::say::say;
use crate::config::default_socket;
use crate::config::units::OptionalAddress;
use input::{Line, Lines};
use ledger::Ledger;

/// Publishes what the arguments or standard input say.
pub(super) fn run(arguments: &Publish) -> Result<ExitCode, Failure> {
    let socket = connect(arguments.socket.as_ref())?;
    let mut session = Session {
        replies: socket.try_clone().map_err(|error| lost(&error))?,
        decoder: Decoder::new(),
        come: Vec::new(),
        quiet: arguments.quiet,
        ledger: Ledger::default(),
        epoch: None,
        worst: Ok(()),
    };
    let mut preface = Vec::new();
    write::preface(&mut preface);
    (&socket).write_all(&preface).map_err(|error| lost(&error))?;
    let hello = session.greet()?;
    let said = Arc::new(Said::default());
    let writer = Writer {
        socket,
        said: said.clone(),
        limits: hello.limits,
        channel: arguments.channel.clone(),
        also: arguments.also.clone(),
        event: arguments.event.clone(),
        ephemeral: arguments.ephemeral,
        except: arguments.except.clone(),
        kind: declared(arguments.kind),
        answer: !arguments.quiet,
    };
    match arguments.data.as_deref() {
        Some(data) if data != "-" => writer.one(data.as_bytes()),
        // On a thread of its own, which is left behind where the server ends first: nothing
        // interrupts a read of standard input.
        _ => {
            if io::stdin().is_terminal() {
                say("reading messages from standard input, one a line; Ctrl-D ends");
            }
            drop(thread::spawn(move || writer.lines(io::stdin().lock())));
        }
    }
    let read = session.read_to_the_end(&said);
    said.settle(u64::MAX); // nobody waits for outcomes that do not come
    read?;
    session.judge(&said).map(|()| ExitCode::SUCCESS)
}

fn declared(kind: KindChoice) -> DeclaredKind {
    match kind {
        KindChoice::Auto => DeclaredKind::Detect,
        KindChoice::Json => DeclaredKind::Known(Kind::Json),
        KindChoice::Text => DeclaredKind::Known(Kind::Text),
        KindChoice::Binary => DeclaredKind::Known(Kind::Binary),
    }
}

fn connect(socket: Option<&OptionalAddress<PathBuf>>) -> Result<UnixStream, Failure> {
    let (path, named) = match socket {
        Some(OptionalAddress::At(path)) => (path.clone(), true),
        Some(OptionalAddress::Off) => {
            let what = "the socket is \"none\": name the one that the server listens at";
            return Err(Failure::new(exit::USAGE, what));
        }
        None => (default_socket(), false),
    };
    let stream = UnixStream::connect(&path).map_err(|error| unreachable(&path, &error))?;
    if !named {
        check_owner(&stream, &path)?;
    }
    Ok(stream)
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(
            exit::NO_PERMISSION,
            format!(
                "you may not connect to {path}: the server's socket_mode and socket_users say who \
                 may"
            ),
        ),
        _ => Failure::new(
            exit::UNAVAILABLE,
            format!(
                "no server listens at {path} ({error}): start one with `fanfare`, or say where its \
                 socket is with --socket or FANFARE_SOCKET"
            ),
        ),
    }
}

/// In `/tmp` anyone may have made a socket of this name, to read what others publish.
fn check_owner(stream: &UnixStream, path: &Path) -> Result<(), Failure> {
    let peer =
        rustix::net::sockopt::socket_peercred(stream).map_err(|error| lost(&error.into()))?;
    if peer.uid == getuid() || peer.uid.is_root() {
        return Ok(());
    }
    let what = format!(
        "the server at {path} runs as user {uid}, who is neither you nor root: if that is meant, \
         name it with --socket {path}",
        path = path.display(),
        uid = peer.uid.as_raw(),
    );
    Err(Failure::new(exit::NO_PERMISSION, what))
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(exit::UNAVAILABLE, format!("the connection to the server broke: {error}"))
}

/// What the writing side and the reading side tell each other.
#[derive(Default)]
struct Said {
    /// How many messages have their outcome, and were printed.
    settled: Mutex<u64>,
    /// More are settled.
    changed: Condvar,
    /// Whether all of standard input was sent.
    finished: AtomicBool,
    /// Messages that were given to the socket, the last one perhaps in part.
    sent: AtomicU64,
    /// What went wrong on this side.
    failure: Mutex<Option<Failure>>,
}

impl Said {
    /// Keeps the first failure; later ones have been told on standard error.
    fn fail(&self, failure: Failure) {
        let mut kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(failure);
    }

    fn settle(&self, through: u64) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = through;
        self.changed.notify_one();
    }

    /// Waits until fewer than `window` of the messages that were sent are open.
    fn wait_for_room(&self, window: u64) {
        let sent = self.sent.load(Ordering::SeqCst);
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |settled: &mut u64| sent.saturating_sub(*settled) >= window;
        drop(self.changed.wait_while(settled, full));
    }

    /// Whether fewer than `window` of the messages that were sent are open.
    fn has_room(&self, window: u64) -> bool {
        let settled = *self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        self.sent.load(Ordering::SeqCst).saturating_sub(settled) < window
    }
}

/// Sends messages, then says that there will be no more.
struct Writer {
    socket: UnixStream,
    said: Arc<Said>,
    limits: IngestLimits,
    channel: String,
    also: Vec<String>,
    event: Option<String>,
    ephemeral: bool,
    except: Option<String>,
    kind: DeclaredKind,
    answer: bool,
}

impl Writer {
    fn one(self, data: &[u8]) {
        if data.is_empty() {
            self.said.fail(Failure::new(exit::DATA, refusals::EMPTY));
        } else if data.len() > self.limits.message_bytes as usize {
            let what = refusals::too_large(data.len(), self.limits.message_bytes as usize);
            self.said.fail(Failure::new(exit::DATA, what));
        } else {
            self.send(&mut &self.socket, data);
        }
        self.finish();
    }

    fn lines(self, input: impl io::BufRead) {
        let mut lines = Lines::new(input, self.limits.message_bytes as usize);
        let mut socket = BufWriter::with_capacity(64 << 10, &self.socket);
        let mut empty: u64 = 0;
        let window = u64::from(self.limits.window).max(1);
        loop {
            if !self.said.has_room(window) {
                if socket.flush().is_err() {
                    break;
                }
                self.said.wait_for_room(window);
            }
            match lines.next() {
                Ok(Some(Line::Whole([]))) => empty += 1,
                Ok(Some(Line::Whole(data))) => {
                    if !self.send(&mut socket, data) {
                        break;
                    }
                }
                Ok(Some(Line::TooLong { number })) => {
                    let most = self.limits.message_bytes;
                    let what = format!(
                        "line {number} is longer than the {most} bytes that this \
                                        server takes; it was not published"
                    );
                    say(&what);
                    self.said.fail(Failure::new(exit::DATA, "not every line was published"));
                }
                Ok(None) => break,
                Err(error) => {
                    let what = format!("cannot read standard input: {error}");
                    self.said.fail(Failure::new(exit::IO, what));
                    break;
                }
            }
            // Nothing more waits to be read, so nobody knows when the next line comes.
            if lines.is_drained() && socket.flush().is_err() {
                break;
            }
        }
        let _ = socket.flush(); // where it fails, the reading side knows why
        drop(socket);
        if empty > 0 {
            let lines = if empty == 1 { "line was" } else { "lines were" };
            say(&format!("{empty} empty {lines} passed over"));
        }
        self.finish();
    }

    /// Whether the socket took it. Where not, the server has ended the connection, and the reading
    /// side reads why.
    fn send(&self, socket: &mut impl Write, data: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(data.len() + 640);
        let also: Vec<&[u8]> = self.also.iter().map(String::as_bytes).collect();
        let message = PublishFrame {
            answer: self.answer,
            kind: self.kind,
            event: self.event.as_deref().map(str::as_bytes),
            ephemeral: self.ephemeral,
            except: self.except.as_deref().map(str::as_bytes),
            also: ChannelNames::of(&also),
            ..PublishFrame::new(&self.channel, data)
        };
        write::publish(&message, &mut frame);
        self.said.sent.fetch_add(1, Ordering::SeqCst);
        socket.write_all(&frame).is_ok()
    }

    /// After it the server gives the outcomes that are still due, and closes.
    fn finish(self) {
        self.said.finished.store(true, Ordering::SeqCst);
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Reads what became of the messages.
struct Session {
    replies: UnixStream,
    decoder: Decoder,
    /// What came behind the server's first frame.
    come: Vec<u8>,
    quiet: bool,
    ledger: Ledger,
    epoch: Option<Epoch>,
    /// The first refusal, or how the server ended the connection.
    worst: Result<(), Failure>,
}

impl Session {
    /// The server's first frame.
    fn greet(&mut self) -> Result<Hello, Failure> {
        let mut buffer = [0; 4_096];
        loop {
            let bytes = match self.replies.read(&mut buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(&error)),
            };
            if bytes == 0 {
                let what = "the server ended the connection before it said who it is";
                return Err(Failure::new(exit::UNAVAILABLE, what));
            }
            let mut input = &buffer[..bytes];
            // The machine gives nothing else before one of these.
            match self.decoder.next(&mut input).map_err(|error| not_ours(&error))? {
                Some(Reply::Hello(hello)) => {
                    self.epoch = Some(hello.epoch);
                    self.come = input.to_vec();
                    return Ok(hello);
                }
                Some(Reply::Error { code, text, .. }) => return Err(turned_away(code, text)),
                Some(_) | None => {}
            }
        }
    }

    fn read_to_the_end(&mut self, said: &Said) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 << 10];
        let come = std::mem::take(&mut self.come);
        self.take_all(&come)?;
        loop {
            said.settle(self.ledger.through());
            let bytes = match self.replies.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(lost(&error)),
            };
            self.take_all(&buffer[..bytes])?;
        }
    }

    fn take_all(&mut self, mut input: &[u8]) -> Result<(), Failure> {
        let mut page = Vec::new();
        let Self { decoder, ledger, epoch, worst, .. } = self;
        while let Some(reply) = decoder.next(&mut input).map_err(|error| not_ours(&error))? {
            take(reply, ledger, *epoch, worst, &mut page);
        }
        self.print(&page)
    }

    /// A reader that has seen enough does not keep the rest from being published.
    fn print(&mut self, page: &[u8]) -> Result<(), Failure> {
        if self.quiet || page.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(page).and_then(|()| out.flush()) {
            exit::output(&error)?;
            self.quiet = true;
        }
        Ok(())
    }

    /// Whether all went well, when both sides have ended.
    fn judge(self, said: &Said) -> Result<(), Failure> {
        let sent = said.sent.load(Ordering::SeqCst);
        self.worst?;
        let open = self.ledger.open(sent);
        if open > 0 {
            let what = format!(
                "the server ended the connection while {open} of {sent} messages had no outcome \
                 yet: each of them may or may not have been published"
            );
            return Err(Failure::new(exit::UNAVAILABLE, what));
        }
        if !said.finished.load(Ordering::SeqCst) {
            let what = format!(
                "the server ended the connection: what came after message {sent} was not published"
            );
            return Err(Failure::new(exit::UNAVAILABLE, what));
        }
        let mut failure = said.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }
}

/// Writes a reply into the books, and an answer onto the page.
fn take(
    reply: Reply<'_>,
    ledger: &mut Ledger,
    epoch: Option<Epoch>,
    worst: &mut Result<(), Failure>,
    page: &mut Vec<u8>,
) {
    match reply {
        Reply::Answer(answer) => {
            ledger.settle(answer.sequence);
            page.extend_from_slice(receipt(&answer, epoch).as_bytes());
        }
        Reply::Refused { sequence, code, text } => {
            ledger.settle(sequence);
            let what = format!("message {sequence} was refused: {text} ({})", code.0);
            let exit = match code.0 {
                403 => exit::NO_PERMISSION,
                _ if code.may_retry() => exit::UNAVAILABLE,
                _ => exit::DATA,
            };
            // The first is told at the end; with it the others would be lost.
            if worst.is_err() {
                say(&what);
            } else {
                *worst = Err(Failure::new(exit, what));
            }
        }
        Reply::Ack(sequence) => ledger.settle_through(sequence),
        Reply::Error { code, text, .. } => *worst = Err(turned_away(code, text)),
        Reply::Goodbye { last, code } => {
            let why = match code {
                GoodbyeCode::EPOCH => "another epoch has begun there, so run this again",
                _ => "the server is shutting down",
            };
            let what = format!("{why}: what came after message {last} was not published");
            ledger.goodbye(last);
            *worst = Err(Failure::new(exit::UNAVAILABLE, what));
        }
        Reply::Hello(_) => {}
    }
}

/// The line that says where a message stands, as the API says it.
fn receipt(answer: &Answer<'_>, epoch: Option<Epoch>) -> String {
    let Answer { offset, subscribers, also, .. } = *answer;
    let place = |ChannelReceipt { offset, subscribers }| match offset {
        0 => format!("\"subscribers\":{subscribers}"),
        _ => format!("\"offset\":{offset},\"subscribers\":{subscribers}"),
    };
    let first = place(ChannelReceipt { offset, subscribers });
    let also: Vec<String> = also.map(|also| format!(",{{{}}}", place(also))).collect();
    let places = match &also[..] {
        [] => first,
        also => format!("\"channels\":[{{{first}}}{}]", also.concat()),
    };
    let id = epoch.filter(|_| offset > 0).map(|epoch| format!("\"id\":\"{}\",", answer.id(epoch)));
    format!("{{{}{places}}}\n", id.unwrap_or_default())
}

fn not_ours(error: &fanfare_protocol::ingest::client::Violation) -> Failure {
    Failure::new(exit::UNAVAILABLE, error.to_string())
}

fn turned_away(code: ErrorCode, text: &str) -> Failure {
    let exit = match code {
        ErrorCode::FORBIDDEN => exit::NO_PERMISSION,
        ErrorCode::TOO_LARGE => exit::DATA,
        _ => exit::UNAVAILABLE,
    };
    Failure::new(exit, format!("the server ended the connection: {text} ({})", code.0))
}
