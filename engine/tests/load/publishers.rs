//! Two publishers at once: the Unix socket's protocol, pipelined, and the HTTP API.

use std::net::SocketAddr;
use std::path::Path;

use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{PublishFrame, write};

use crate::support::Client;
use crate::support::publisher::Publisher;
use crate::{CHANNELS, MESSAGES_EACH};

/// Messages of one batch.
const BATCH: usize = 25;
/// Messages without an outcome before this publisher reads.
const PIPELINED: u64 = 500;

/// Every message of one publisher, spread over the channels.
fn messages(source: char) -> Vec<(String, String)> {
    (1..=MESSAGES_EACH)
        .flat_map(|nth| (0..CHANNELS).map(move |channel| (nth, (channel * 7 + 3) % CHANNELS)))
        .map(|(nth, channel)| (format!("load:{channel}"), format!("{source}:{channel}:{nth}")))
        .collect()
}

/// Batches and single messages, some of which ask for their place.
pub fn by_socket(path: &Path) {
    let publisher = Publisher::connect(path);
    let mut outcomes = Outcomes { publisher, acknowledged: 0, answers: 0 };
    let messages = messages('s');
    let mut out = Vec::new();
    let mut sent = 0;
    for (nth, batch) in messages.chunks(BATCH).enumerate() {
        let frames: Vec<PublishFrame<'_>> = batch
            .iter()
            .enumerate()
            .map(|(at, (channel, data))| PublishFrame {
                answer: at % 10 == 0,
                ..PublishFrame::new(channel, data.as_bytes())
            })
            .collect();
        if nth % 3 == 0 {
            frames.iter().for_each(|frame| write::publish(frame, &mut out));
        } else {
            write::batch(&frames, &mut out);
        }
        outcomes.publisher.send(&out);
        out.clear();
        sent += batch.len() as u64;
        outcomes.read_until(sent.saturating_sub(PIPELINED));
    }
    outcomes.read_until(sent);
    let asked: usize = messages.chunks(BATCH).map(|batch| batch.len().div_ceil(10)).sum();
    assert_eq!(outcomes.answers, asked);
}

/// What the server said so far.
struct Outcomes {
    publisher: Publisher,
    acknowledged: u64,
    answers: usize,
}

impl Outcomes {
    /// Reads until everything up to `sequence` has its outcome.
    fn read_until(&mut self, sequence: u64) {
        let Self { publisher, acknowledged, answers } = self;
        while *acknowledged < sequence {
            let heard = publisher.hear(|reply| match reply {
                Reply::Hello(_) => {}
                Reply::Answer(answer) => {
                    assert!(answer.subscribers > 0 && answer.offset > 0, "{answer:?}");
                    *answers += 1;
                    *acknowledged = (*acknowledged).max(answer.sequence);
                }
                Reply::Ack(sequence) => *acknowledged = (*acknowledged).max(sequence),
                other => panic!("{other:?}"),
            });
            heard.expect("the server goes on");
        }
    }
}

/// Batches as JSON, and every 25th message alone.
pub fn by_http(api: SocketAddr) {
    let mut client = Client::connect(api);
    for batch in messages('h').chunks(BATCH) {
        let (alone, rest) = batch.split_first().unwrap();
        post(&mut client, &format!("/v1/channels/{}", alone.0), &alone.1);
        let messages: Vec<String> = rest
            .iter()
            .map(|(channel, data)| format!(r#"{{"channel":"{channel}","data":"{data}"}}"#))
            .collect();
        let answer = post(
            &mut client,
            "/v1/publish",
            &format!(r#"{{"messages":[{}]}}"#, messages.join(",")),
        );
        assert_eq!(answer.matches(r#""offset":"#).count(), rest.len(), "{answer}");
    }
}

fn post(client: &mut Client, target: &str, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    client.send((head + body).as_bytes());
    let (head, answer) = client.answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}{answer}");
    answer
}
