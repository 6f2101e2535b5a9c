//! A publisher on the Unix socket that goes on until the server says goodbye.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{PublishFrame, write};

use crate::support::publisher::Publisher;

const BATCH: u64 = 20;

/// One that has published until the socket was full in both directions.
pub fn publisher_that_reads_nothing(path: &Path) -> UnixStream {
    let mut stream = Publisher::connect(path).stream;
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut out = Vec::new();
    write::publish(&PublishFrame { answer: true, ..PublishFrame::new("a", b"1") }, &mut out);
    let flood = out.repeat(1_000);
    let mut sent = 0;
    while let Ok(more) = stream.write(&flood[sent % out.len()..]) {
        sent += more;
    }
    stream
}

/// Publishes 1, 2, 3 ... to `channel` until the server ends it; the last number that was accepted.
pub fn publish_until_goodbye(path: &Path, channel: &str) -> u64 {
    let mut publisher = Publisher::connect(path);
    let mut out = Vec::new();
    let (mut sent, mut accepted, mut refused) = (0, 0, None::<u64>);
    loop {
        if accepted == sent {
            for number in sent + 1..=sent + BATCH {
                let data = number.to_string();
                write::publish(&PublishFrame::new(channel, data.as_bytes()), &mut out);
            }
            sent += BATCH;
            let written = publisher.stream.write_all(&out);
            if let Err(error) = written {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            out.clear();
            std::thread::sleep(Duration::from_millis(1));
        }
        let goodbye = publisher.hear(|reply| match reply {
            Reply::Hello(_) => None,
            Reply::Ack(sequence) if refused.is_none() => {
                accepted = sequence;
                None
            }
            Reply::Ack(_) => None,
            Reply::Refused { sequence, .. } => {
                // What was refused first ends what was accepted before it.
                accepted = *refused.get_or_insert(sequence) - 1;
                None
            }
            Reply::Goodbye { last, .. } => Some(refused.map_or(last, |refused| refused - 1)),
            other => panic!("{other:?}"),
        });
        let goodbye = goodbye.unwrap_or_else(|| panic!("no goodbye after {accepted}"));
        if let Some(last) = goodbye {
            return last;
        }
        if refused.is_some() {
            accepted = accepted.min(sent - 1); // only the goodbye is waited for
        }
    }
}
