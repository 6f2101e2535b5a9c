//! A publisher on the Unix socket that goes on until the server says goodbye.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{PublishFrame, write};

use crate::support::PATIENCE;

const BATCH: u64 = 20;

/// One that has published until the socket was full in both directions.
pub fn publisher_that_reads_nothing(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("the node listens");
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut out = Vec::new();
    write::preface(&mut out);
    stream.write_all(&out).unwrap();
    out.clear();
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
    let mut stream = UnixStream::connect(path).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut decoder = Decoder::new();
    let (mut out, mut buffer) = (Vec::new(), [0; 4_096]);
    let (mut sent, mut accepted, mut refused) = (0, 0, None::<u64>);
    write::preface(&mut out);
    loop {
        if accepted == sent {
            for number in sent + 1..=sent + BATCH {
                let data = number.to_string();
                write::publish(&PublishFrame::new(channel, data.as_bytes()), &mut out);
            }
            sent += BATCH;
            let written = stream.write_all(&out);
            if let Err(error) = written {
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            out.clear();
            std::thread::sleep(Duration::from_millis(1));
        }
        let count = match stream.read(&mut buffer) {
            // A read with a timeout is not begun again by the kernel.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.expect("the server says goodbye first"),
        };
        assert!(count > 0, "the end without a goodbye after {accepted}");
        let mut input = &buffer[..count];
        while let Some(reply) = decoder.next(&mut input).unwrap() {
            match reply {
                Reply::Hello(_) => {}
                Reply::Ack(sequence) if refused.is_none() => accepted = sequence,
                Reply::Ack(_) => {}
                Reply::Refused { sequence, .. } => {
                    // What was refused first ends what was accepted before it.
                    refused.get_or_insert(sequence);
                    accepted = refused.unwrap_or(sequence) - 1;
                }
                Reply::Goodbye { last: sequence, .. } => {
                    return refused.map_or(sequence, |refused| refused - 1);
                }
                other => panic!("{other:?}"),
            }
        }
        if refused.is_some() {
            accepted = accepted.min(sent - 1); // only the goodbye is waited for
        }
    }
}
