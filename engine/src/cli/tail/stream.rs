//! One connection after another to an event stream, each from where the last one broke off.

use std::io::{self, Read};
use std::time::Duration;

use fanfare_protocol::http::percent;
use fanfare_protocol::sse;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::super::arguments::Tail;
use super::super::exit::{self, Failure};
use crate::payload::frame_bytes;

/// No byte for so long, although the server sends a comment every 15 seconds (by default): the
/// connection is dead, whatever the kernel thinks.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most bytes of one event: more than a server gives out that takes messages of 1 GiB, the most
/// that it may be configured for. One that is longer would come again with each new connection.
const EVENT_BYTES_MAX: usize = frame_bytes(1 << 30);

/// What a connection brings.
pub(super) enum Seen<'a> {
    /// The server took the request.
    Open,
    /// Bytes came; `retry:` as far as it was said.
    Alive {
        /// How long to wait before connecting again.
        retry_ms: Option<u64>,
    },
    /// An event came.
    Event(&'a sse::Event),
}

/// How a connection ended.
pub(super) enum StreamEnd {
    /// It was not made: why.
    Unreachable(String),
    /// It broke, or the server wants us to come back: why.
    Lost(String),
    /// The server says that there is nothing more (204).
    Done,
    /// To ask again would not help.
    Final(Failure),
    /// What came could not be printed.
    Output(io::Error),
}

/// What is followed.
pub(super) struct Stream {
    agent: Agent,
    base: String,
    url: String,
    /// The value of `Authorization`.
    bearer: Option<String>,
}

impl Stream {
    /// Nothing is connected yet.
    pub(super) fn new(arguments: &Tail) -> Result<Self, Failure> {
        let base = arguments.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            let what = format!("\"{base}\" is not a base URL: it begins with http:// or https://");
            return Err(Failure::new(exit::USAGE, what));
        }
        let url = url(&base, arguments);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")))
            .build();
        let bearer = arguments.token.as_deref().map(bearer).transpose()?;
        Ok(Self { agent: config.into(), base, url, bearer })
    }

    /// The address without path and query.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Connects, from `last_id` where it is not empty, and reads until the connection ends;
    /// `last_id` is kept up to date.
    pub(super) fn follow(
        &self,
        last_id: &mut String,
        seen: &mut dyn FnMut(Seen<'_>) -> io::Result<()>,
    ) -> StreamEnd {
        let mut request = self.agent.get(&self.url).header("Accept", "text/event-stream");
        if let Some(bearer) = &self.bearer {
            request = request.header("Authorization", bearer);
        }
        if !last_id.is_empty() {
            request = request.header("Last-Event-ID", last_id.as_str());
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::BadUri(what)) => {
                let what = format!("\"{}\" is not a base URL: {what}", self.base);
                return StreamEnd::Final(Failure::new(exit::USAGE, what));
            }
            Err(error) => return StreamEnd::Unreachable(self.why_unreachable(&error)),
        };
        if let Some(end) = self.judge(&response) {
            return end;
        }
        match seen(Seen::Open) {
            Ok(()) => read(response.into_body().into_reader(), last_id, seen),
            Err(error) => StreamEnd::Output(error),
        }
    }

    /// Whoever answers in plain text was asked in TLS by mistake; the library tells that from
    /// other troubles of TLS by its words alone.
    fn why_unreachable(&self, error: &ureq::Error) -> String {
        let why = match error {
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        if !why.contains("corrupt message") {
            return why;
        }
        let plain = self.base.replacen("https://", "http://", 1);
        format!("what answers there does not speak TLS; is it {plain}?")
    }

    /// What a status means, unless it opens a stream.
    fn judge<B>(&self, response: &Response<B>) -> Option<StreamEnd> {
        let status = response.status();
        let fail = |code, what: &str| {
            let what = format!("{} answers {status}: {what}", self.base);
            Some(StreamEnd::Final(Failure::new(code, what)))
        };
        match status {
            StatusCode::NO_CONTENT => Some(StreamEnd::Done),
            StatusCode::OK if is_event_stream(response) => None,
            StatusCode::OK => fail(exit::UNAVAILABLE, "that is no event stream; is it Fanfare?"),
            StatusCode::UNAUTHORIZED if self.bearer.is_none() => fail(
                exit::NO_PERMISSION,
                "these channels need a token: give one with FANFARE_TOKEN or --token",
            ),
            StatusCode::UNAUTHORIZED => fail(
                exit::NO_PERMISSION,
                "the token is not good there, or not any more; the server's log says why",
            ),
            StatusCode::FORBIDDEN => fail(exit::NO_PERMISSION, "you may not follow these channels"),
            StatusCode::TOO_MANY_REQUESTS => Some(StreamEnd::Lost("the server is too busy".into())),
            StatusCode::NOT_FOUND => fail(exit::UNAVAILABLE, "there is no /sse; is it Fanfare?"),
            _ if status.is_server_error() => {
                Some(StreamEnd::Lost(format!("the server answers {status}")))
            }
            _ => fail(exit::DATA, "it does not take this request"),
        }
    }
}

fn is_event_stream<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get("Content-Type").and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().unwrap_or("").trim() == "text/event-stream")
}

fn read(
    mut body: impl Read,
    last_id: &mut String,
    seen: &mut dyn FnMut(Seen<'_>) -> io::Result<()>,
) -> StreamEnd {
    let mut reader = sse::Reader::new(EVENT_BYTES_MAX);
    let mut events = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let bytes = match body.read(&mut buffer) {
            Ok(0) => return StreamEnd::Lost("the server ended the stream".into()),
            Ok(bytes) => &buffer[..bytes],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return StreamEnd::Lost(format!("the connection broke ({error})")),
        };
        let fed = reader.feed(bytes, &mut events);
        for event in events.drain(..) {
            if let Err(error) = seen(Seen::Event(&event)) {
                return StreamEnd::Output(error);
            }
        }
        // After the events were printed: what has been kept is never asked for again, and what has
        // not been printed is.
        if !reader.last_id().is_empty() {
            reader.last_id().clone_into(last_id);
        }
        if let Err(error) = seen(Seen::Alive { retry_ms: reader.retry_ms() }) {
            return StreamEnd::Output(error);
        }
        if let Err(error) = fed {
            return StreamEnd::Final(Failure::new(exit::DATA, error.to_string()));
        }
    }
}

/// What says who follows.
fn bearer(token: &str) -> Result<String, Failure> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(format!("Bearer {token}"));
    }
    let what = "the token has characters that no token has: blanks, line breaks or others";
    Err(Failure::new(exit::USAGE, what))
}

fn url(base: &str, arguments: &Tail) -> String {
    let Tail { channels, since, last, json, .. } = arguments;
    let mut url = format!("{base}/sse");
    for (nth, channel) in channels.iter().enumerate() {
        // Not `channels`, which would be split where a name has a comma.
        url.push_str(if nth == 0 { "?channel=" } else { "&channel=" });
        percent::encode(channel, &mut url);
    }
    url.push_str(if *json || channels.len() > 1 { "&format=json" } else { "&format=raw" });
    if let Some(since) = since {
        url.push_str("&since=");
        percent::encode(since, &mut url);
    }
    if let Some(last) = last {
        url.push_str(&format!("&last={last}"));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Command;

    /// Reads `pieces` as one connection: the events, the last id, how it ended.
    fn read_all(pieces: &[&str]) -> (Vec<String>, String, StreamEnd) {
        let mut body: Box<dyn Read> = Box::new(io::empty());
        for piece in pieces {
            body = Box::new(body.chain(io::Cursor::new(piece.to_string())));
        }
        let (mut seen, mut last_id) = (Vec::new(), String::from("before"));
        let end = read(body, &mut last_id, &mut |what| {
            if let Seen::Event(event) = what {
                seen.push(event.data.clone());
            }
            Ok(())
        });
        (seen, last_id, end)
    }

    #[test]
    fn the_last_id_is_that_of_the_last_whole_block() {
        let (seen, last_id, end) = read_all(&["id: a-1\n\nid: a-2\nda", "ta: x\n\nid: a-3\n"]);
        assert_eq!((seen, last_id.as_str()), (vec!["x".to_owned()], "a-2"));
        assert!(matches!(end, StreamEnd::Lost(_)));
        let (_, last_id, _) = read_all(&["retry: 5\n\n: comment\n\n"]);
        assert_eq!(last_id, "before", "a stream without ids takes none away");
    }

    #[test]
    fn output_that_fails_ends_the_reading() {
        let mut last_id = String::new();
        let body = io::Cursor::new("id: a-1\ndata: x\n\n");
        let end = read(body, &mut last_id, &mut |seen| match seen {
            Seen::Event(_) => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        });
        assert!(matches!(end, StreamEnd::Output(_)));
        assert_eq!(last_id, "", "what was not printed is not kept as seen");
    }

    fn url_of(line: &str) -> String {
        let words = line.split(' ').map(Into::into).collect();
        let parsed = super::super::super::arguments::parse(words);
        let Ok((Command::Tail(arguments), _)) = parsed else { panic!("{line}") };
        url("http://h", &arguments)
    }

    #[test]
    fn names_are_encoded_and_stand_alone() {
        assert_eq!(
            url_of("fanfare tail a,b c&d\u{a0}é --since 0000000z-1"),
            "http://h/sse?channel=a%2Cb&channel=c%26d%C2%A0%C3%A9&format=json&since=0000000z-1"
        );
        assert_eq!(url_of("fanfare tail a,b"), "http://h/sse?channel=a%2Cb&format=raw");
        assert_eq!(
            url_of("fanfare tail a --since @1764180000.5"),
            "http://h/sse?channel=a&format=raw&since=%401764180000.5"
        );
        assert_eq!(
            url_of("fanfare tail --json a --last 20"),
            "http://h/sse?channel=a&format=json&last=20"
        );
    }
}
