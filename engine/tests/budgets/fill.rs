//! Those who fill a budget: each kind asks for three to four times of what there is.

use std::io::{ErrorKind, Write};

use fanfare_protocol::ingest::{PublishFrame, write};

use crate::server::{BUDGET, MIB, PUBLISHERS, Server};
use crate::support::publisher::Publisher;
use crate::support::{Client, upgrade};

/// A message, of which no two have room in one page.
const MESSAGE_BYTES: usize = 500_000;
/// A head that is not whole.
const HEAD_BYTES: usize = 900_000;

/// As many heads that do not end as come to three budgets.
pub fn private(server: &Server) -> Vec<Client> {
    let head = vec![b'x'; HEAD_BYTES];
    let hogs = 0..3 * BUDGET / HEAD_BYTES as u64;
    hogs.map(|nth| {
        let mut hog = Client::connect(server.listen);
        hog.send(b"GET /poll HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
        // It may be told to go before it has said all.
        let _ = hog.socket.write_all(&head);
        if nth % 8 == 0 {
            server.look();
        }
        hog
    })
    .collect()
}

/// A message in each of so many channels.
pub fn history(server: &Server, channels: usize) {
    let message = vec![b'x'; MESSAGE_BYTES];
    for nth in 0..channels {
        let (status, answer) = server.ask("POST", &format!("/v1/channels/c{nth}"), &message);
        assert_eq!(status, "200", "{answer}");
        if nth % 8 == 0 {
            server.look();
        }
    }
}

/// How many such messages history keeps.
pub fn messages_kept() -> usize {
    BUDGET as usize / (MESSAGE_BYTES + 1_000)
}

/// Clients that take nothing of what such a message is in each of four forms; no two share what
/// they get.
pub fn rendered(server: &Server, channels: usize) -> Vec<Client> {
    let mut hogs = Vec::new();
    for nth in 0..channels {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let asks = format!("since=earliest&channels=c{nth}");
        for request in [
            upgrade(&format!("/ws?format=json&{asks}")),
            upgrade(&format!("/ws?format=raw&{asks}")),
            get(&format!("/sse?format=json&{asks}")),
            get(&format!("/poll?wait=0&{asks}")),
        ] {
            let mut hog = Client::narrow(server.listen);
            hog.send(request.as_bytes());
            hogs.push(hog);
        }
        server.look();
    }
    hogs
}

/// Publishers in the middle of a frame that they do not end.
pub struct Unfinished {
    publishers: Vec<(Publisher, usize)>,
    frame: Vec<u8>,
}

impl Unfinished {
    /// They begin.
    pub fn begin(server: &Server) -> Self {
        let half = vec![b'x'; MIB as usize - 50_000];
        let mut frame = Vec::new();
        write::batch(
            &[PublishFrame::new("demo", &half), PublishFrame::new("demo", &half)],
            &mut frame,
        );
        frame.truncate(frame.len() - 1);
        let publishers = (1..PUBLISHERS).map(|_| {
            let publisher = Publisher::connect(&server.socket());
            publisher.stream.set_nonblocking(true).unwrap();
            (publisher, 0)
        });
        Self { publishers: publishers.collect(), frame }
    }

    /// Each says as much as is taken of it now. How much that is together.
    pub fn go_on(&mut self) -> usize {
        let mut all = 0;
        for (publisher, sent) in &mut self.publishers {
            while *sent < self.frame.len() {
                match publisher.stream.write(&self.frame[*sent..]) {
                    Ok(more) => (*sent, all) = (*sent + more, all + more),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        all
    }
}
