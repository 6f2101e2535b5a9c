//! Fan-out on monoio, the way that is natural there: two tasks for each client.
//!
//! **The idea.** One task reads (pings, a close), one writes: whenever the log is ahead of the
//! client's cursor, everything between goes out as one write of a shared slice, and then the task
//! looks again ([`contender::fanout`]). The runtime turns each into an operation of its io_uring.
//!
//! **Tuning.** The io_uring driver alone, without the epoll half. 256 operations for each
//! submission, the best batch for sends here, but room for 65,536 completions: the default has
//! 2,048, and a round over 15,000 clients overflows it. Frames are made once and shared. Publishes
//! come by a thread of their own on PORT+1 ([`contender::publish`] says why).

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use contender::fanout::{Client, Fanout};
use contender::head::{self, REFUSED, Request, Wish};
use contender::publish::{self, Inbox};
use contender::start::Start;
use io_uring_of_monoio::IoUring;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, Splitable};
use monoio::net::{TcpListener, TcpStream, UnixStream};
use monoio::{IoUringDriver, RuntimeBuilder};

const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 1 << 16;
const HEAD_BYTES_MAX: usize = 4 << 10;
/// Of each client all the time, as the kernel has it while it waits: small.
const READ_BYTES: usize = 256;

fn main() -> io::Result<()> {
    let start = Start::from_arguments(&["default"]);
    let (clients, publishers) = (start.listen(0), start.listen(1));
    let (inbox, bell) = Inbox::new()?;
    publish::serve(publishers, Arc::clone(&inbox))?;
    let mut ring = IoUring::builder();
    ring.setup_cqsize(COMPLETIONS);
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(SUBMISSIONS);
    builder.uring_builder(ring).build()?.block_on(async move {
        let fanout = Fanout::new(inbox);
        monoio::spawn(ring_out(UnixStream::from_std(bell)?, Rc::clone(&fanout)));
        let listener = TcpListener::from_std(clients)?;
        start.ready();
        loop {
            // What fails is the new connection, or there are no more files: others go on.
            if let Ok((stream, _)) = listener.accept().await {
                monoio::spawn(serve(stream, Rc::clone(&fanout)));
            }
        }
    })
}

/// Looks for publishes whenever the bell says that some wait.
async fn ring_out(mut bell: UnixStream, fanout: Rc<Fanout>) {
    let mut buffer = vec![0; 64];
    loop {
        let (rung, returned) = bell.read(buffer).await;
        if !rung.is_ok_and(|count| count > 0) {
            return;
        }
        buffer = returned;
        fanout.look();
    }
}

/// One connection, from its head to its end.
async fn serve(mut stream: TcpStream, fanout: Rc<Fanout>) {
    let Some((accept, early)) = shake_hands(&mut stream).await else {
        // Whatever becomes of this answer, the connection ends.
        let _ = stream.write_all(REFUSED).await;
        return;
    };
    let client = fanout.join();
    let (reading, mut writing) = stream.into_split();
    monoio::spawn(read(reading, Rc::clone(&client), early));
    let mut written = writing.write_all(head::switching(&accept)).await.0;
    while written.is_ok()
        && let Some(bytes) = client.next().await
    {
        written = writing.write_all(bytes).await.0;
    }
    // Ends the reader too. Fails where the other side has ended already.
    let _ = writing.shutdown().await;
}

/// Reads an upgrade; `None` where it is something else. Also what the client said after it.
async fn shake_hands(stream: &mut TcpStream) -> Option<([u8; 28], Vec<u8>)> {
    let mut said = Vec::new();
    while said.len() < HEAD_BYTES_MAX {
        let (count, buffer) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        if count.ok()? == 0 {
            return None;
        }
        said.extend_from_slice(&buffer);
        match head::read(&said).ok()? {
            Some(Request { bytes, wish: Wish::Upgrade { accept }, .. }) => {
                return Some((accept, said.split_off(bytes)));
            }
            Some(_) => return None,
            None => {}
        }
    }
    None
}

async fn read(mut stream: OwnedReadHalf<TcpStream>, client: Rc<Client>, early: Vec<u8>) {
    let mut goes_on = client.heard(&early);
    let mut buffer = Vec::with_capacity(READ_BYTES);
    while goes_on {
        let (count, returned) = stream.read(buffer).await;
        buffer = returned;
        goes_on = match count {
            Ok(1..) => client.heard(&buffer),
            _ => break,
        };
    }
    client.end();
}
