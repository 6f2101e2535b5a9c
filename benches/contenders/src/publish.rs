//! Publishing by a thread of its own, for runtimes that look at the kernel only once per round of
//! tasks.
//!
//! **Why.** A publisher sends its next message when the last was answered. Were the publish one
//! more connection of the runtime, it would be served once in each round over all clients, and no
//! round would have more than one message to send. So a thread takes publishes on a port of its
//! own, frames them into an [`Inbox`], and answers at once; tasks look into it whenever they have
//! their turn. It shares the core of the clients' thread and its CPU counts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::frame;
use crate::head::{self, REFUSED, TAKEN, Wish};

/// A request that is longer is refused.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Ready-made frames on their way to the clients' thread.
#[derive(Debug)]
pub struct Inbox {
    waits: AtomicBool,
    frames: Mutex<Vec<u8>>,
    bell: UnixStream,
}

impl Inbox {
    /// An inbox, and the stream on which a byte comes whenever it begins to wait.
    ///
    /// # Errors
    /// No files are left.
    pub fn new() -> std::io::Result<(Arc<Self>, UnixStream)> {
        let (bell, ring) = UnixStream::pair()?;
        let inbox = Self { waits: AtomicBool::new(false), frames: Mutex::default(), bell };
        Ok((Arc::new(inbox), ring))
    }

    /// Appends what has come to `log`; whether anything had. One load where nothing did.
    pub fn take(&self, log: &mut Vec<u8>) -> bool {
        if !self.waits.load(Ordering::Acquire) {
            return false;
        }
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        self.waits.store(false, Ordering::Release);
        log.append(&mut frames);
        true
    }

    fn put(&self, payload: &[u8]) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frame::text(payload, &mut frames);
        let rings = !self.waits.swap(true, Ordering::AcqRel);
        drop(frames);
        if rings {
            // Fails only when the other side is gone, and with it everybody who could mind.
            let _ = (&self.bell).write_all(&[0]);
        }
    }
}

/// Takes publishes until the process ends, in threads of its own.
///
/// # Errors
/// There can be no more threads.
pub fn serve(listener: TcpListener, inbox: Arc<Inbox>) -> std::io::Result<()> {
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let inbox = Arc::clone(&inbox);
            let publisher = move || {
                // A publisher that is gone or talks nonsense is no concern of the others.
                let _ = take_all(stream, &inbox);
            };
            // Refused by closing where there can be no more threads.
            let _ = thread::Builder::new().name("publisher".into()).spawn(publisher);
        }
    };
    thread::Builder::new().name("publish".into()).spawn(accept).map(drop)
}

fn take_all(mut stream: TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&buffer[..count]);
        loop {
            match head::read(&kept).map_err(std::io::Error::other) {
                Ok(Some(head::Request { bytes: head, wish: Wish::Publish { bytes }, .. }))
                    if bytes <= REQUEST_BYTES_MAX =>
                {
                    let Some(body) = kept.get(head..head + bytes) else { break };
                    inbox.put(body);
                    stream.write_all(TAKEN)?;
                    kept.drain(..head + bytes);
                }
                Ok(None) if kept.len() < REQUEST_BYTES_MAX => break,
                _ => return stream.write_all(REFUSED),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_are_answered_and_wait_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut publisher = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (inbox, mut bell) = Inbox::new().unwrap();
        serve(listener, Arc::clone(&inbox)).unwrap();
        let mut answer = vec![0; TAKEN.len()];
        for payload in ["a", "bc"] {
            let length = payload.len();
            let ask =
                format!("POST /publish HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{payload}");
            publisher.write_all(ask.as_bytes()).unwrap();
            publisher.read_exact(&mut answer).unwrap();
            assert_eq!(answer, TAKEN);
        }
        bell.read_exact(&mut [0]).unwrap();
        let mut log = Vec::new();
        assert!(inbox.take(&mut log));
        assert_eq!(log, b"\x81\x01a\x81\x02bc");
        assert!(!inbox.take(&mut log));
    }
}
