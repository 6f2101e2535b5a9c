//! What a client says: its request, the frame that subscribes, pongs.

use fanfare_protocol::http::percent;

use super::plan::{Plan, Transport};

/// RFC 6455's own example. All clients may use one key: it keeps caches from answering, no more.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// A poll waits this long, in seconds.
const WAIT_S: u32 = 25;

/// Makes the requests of one run.
#[derive(Debug)]
pub struct Requests {
    plan: Plan,
    /// What is asked for beside the first channel, encoded, each with a comma before it.
    others: String,
    accept: [u8; 28],
}

impl Requests {
    /// For a run.
    pub fn new(plan: &Plan) -> Self {
        let mut others = String::new();
        for channel in plan.others() {
            others.push(',');
            percent::encode(&channel, &mut others);
        }
        let accept = fanfare_protocol::ws::handshake::accept(KEY.as_bytes());
        Self { plan: plan.clone(), others, accept }
    }

    /// The value of `Sec-WebSocket-Accept` that is right.
    pub fn accept(&self) -> &[u8] {
        &self.accept
    }

    /// The first request of the client with this number, to begin now or after an id; a poll's
    /// later requests too.
    pub fn ask(
        &self,
        transport: Transport,
        stream: u8,
        client: u32,
        since: Option<&str>,
    ) -> Vec<u8> {
        let mut channel = String::new();
        percent::encode(&self.plan.channel_of(stream, client), &mut channel);
        let since = since.map_or_else(String::new, |id| format!("&since={id}"));
        let host = &self.plan.url.host;
        // One is asked for by a name that may have commas, and comes as it was published.
        let (what, format) = match self.others.as_str() {
            "" => (format!("channel={channel}"), "&format=raw"),
            others => (format!("channels={channel}{others}"), ""),
        };
        let (path, fields) = match transport {
            Transport::WebSocket => (
                format!("/ws?{what}{format}{since}"),
                format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: {KEY}\r\n"
                ),
            ),
            Transport::EventStream => {
                (format!("/sse?{what}{format}{since}"), "Accept: text/event-stream\r\n".to_owned())
            }
            // The first poll only asks where the present is.
            Transport::LongPoll => {
                let wait = if since.is_empty() { 0 } else { WAIT_S };
                (format!("/poll?{what}{since}&wait={wait}"), String::new())
            }
        };
        let path = match &self.plan.url.path {
            Some(path) => path.replace("{channel}", &channel),
            None => path,
        };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes()
    }

    /// What is sent after the upgrade.
    pub fn subscribe(&self, stream: u8, client: u32) -> Option<Vec<u8>> {
        let text = self.plan.subscribe_frame.as_ref()?;
        let text = text.replace("{channel}", &self.plan.channel_of(stream, client));
        Some(frame(0x81, text.as_bytes()))
    }
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    frame(0x8a, payload)
}

/// A client's frame. Its mask is zero: the server undoes it all the same, and nobody in between
/// could be fooled by bytes that we choose.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{Follows, Mode, tests::plan};

    #[test]
    fn channels_are_put_where_they_belong() {
        let mut plan = plan(Mode::Paced);
        plan.channel = "a b".into();
        let text = |requests: &Requests, transport, stream, since| {
            String::from_utf8(requests.ask(transport, stream, 7, since)).unwrap()
        };
        let requests = Requests::new(&plan);
        let ws = text(&requests, Transport::WebSocket, 0, None);
        assert!(ws.starts_with("GET /ws?channel=a%20b&format=raw HTTP/1.1\r\n"), "{ws}");
        let poll = text(&requests, Transport::LongPoll, 1, Some("x-1"));
        assert!(poll.starts_with("GET /poll?channel=a%20b-lone&since=x-1&wait=25 "), "{poll}");
        assert_eq!(requests.subscribe(0, 7), None);
        plan.follows = Follows::Shared(2);
        let ws = text(&Requests::new(&plan), Transport::WebSocket, 0, None);
        assert!(ws.starts_with("GET /ws?channels=a%20b,a%20b-shared-1 HTTP/1.1\r\n"), "{ws}");
        plan.follows = Follows::Own;
        let ws = text(&Requests::new(&plan), Transport::WebSocket, 0, None);
        assert!(ws.starts_with("GET /ws?channel=a%20b-7&format=raw HTTP/1.1\r\n"), "{ws}");
        plan.follows = Follows::Shared(1);

        plan.url.path = Some("/sub/{channel}".into());
        plan.subscribe_frame = Some("{\"join\":\"{channel}\"}".into());
        let requests = Requests::new(&plan);
        let ws = text(&requests, Transport::WebSocket, 1, None);
        assert!(ws.starts_with("GET /sub/a%20b-lone HTTP/1.1\r\n"), "{ws}");
        let frame = requests.subscribe(1, 7).unwrap();
        assert_eq!(frame[..6], [0x81, 0x80 | 19, 0, 0, 0, 0]);
        assert_eq!(&frame[6..], b"{\"join\":\"a b-lone\"}");
    }
}
