//! A client protocol of the simulation and of tests that brings one client over many sockets: a GET
//! is held for what the client is told, a POST brings lines that it says.
//!
//! `GET /lines` begins a client and `GET /lines/ID` goes on with it: a stream of events in chunks,
//! or with `?wait=S` one answer, a list, when there is something to tell. `POST /lines/ID` brings
//! lines. A WebSocket on `/lines/ID` says `probe`, and with `come` takes
//! the client over. What the machine says is an event `said`, in a list an object.

use fanfare_protocol::dialect::machine::{Answer, ChannelToFollow, Machine, Piece, Turn};
use fanfare_protocol::dialect::{Encoding, Form, plain};
use fanfare_protocol::framing::{Envelope, Framing, Payload};
use fanfare_protocol::http::{ContentType, Method, Request, Violation};
use fanfare_protocol::refusals::TOO_MANY_VIEWS;
use fanfare_protocol::since::Since;
use fanfare_protocol::sse::reader::Reader;
use fanfare_protocol::ws::CloseCode;
use serde_json::Value;

use crate::session_id::SessionId;
use crate::transport::door::{Door, Errand, Hold, Once, Upgrade};

/// Knows the requests.
#[derive(Debug)]
pub struct Lines;

impl Door for Lines {
    fn errand(&self, request: &Request<'_>) -> Option<Result<Errand, Violation>> {
        let rest = request.path.strip_prefix("/lines")?;
        Some(errand(rest, request))
    }
}

fn errand(rest: &str, request: &Request<'_>) -> Result<Errand, Violation> {
    let session = rest.strip_prefix('/').map(SessionId::parse);
    match (session, request.method) {
        (Some(None), _) => Err(Violation::SessionGone),
        (Some(Some(id)), Method::Get) if request.fields.has_token("upgrade", "websocket") => {
            let encoding = encoding(Framing::Ws);
            Ok(Errand::Upgrade(id, Upgrade { encoding, knocker: || Box::new(Knocker::default()) }))
        }
        (None, Method::Get) => Ok(Errand::Begin(hold(request)?)),
        (Some(Some(id)), Method::Get) => Ok(Errand::Hold(id, hold(request)?)),
        (Some(Some(id)), Method::Post) => Ok(Errand::Bring(id)),
        _ => Err(Violation::MethodNotGet),
    }
}

fn hold(request: &Request<'_>) -> Result<Hold, Violation> {
    let wait = request.query().value("wait")?;
    let wait_s: Option<u64> =
        wait.map(|wait| wait.parse().map_err(|_| Violation::BadWait)).transpose()?;
    let once = wait_s.map(|wait_s| Once {
        wait_ms: wait_s * 1_000,
        content_type: ContentType::Json,
        before: "[",
        behind: "]",
        nothing: "[]",
    });
    let stream = Framing::Sse { chunked: true, named: true };
    let framing = if once.is_some() { Framing::Poll } else { stream };
    Ok(Hold { encoding: encoding(framing), once })
}

fn encoding(framing: Framing) -> Encoding {
    Encoding::of(Form::Plain(plain::Form::Json), framing).expect("it is offered")
}

/// Hears a WebSocket that has come for a client: `probe` is answered, and with `come` it takes the
/// client over.
#[derive(Debug, Default)]
struct Knocker {
    begun: Vec<u8>,
}

impl Machine for Knocker {
    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn) {
        self.begun.extend_from_slice(piece.bytes);
        if !piece.last {
            return;
        }
        match &*std::mem::take(&mut self.begun) {
            b"probe" => say("probed", turn),
            b"come" => turn.take_over(),
            _ => turn.close(CloseCode::POLICY, "probe, then come"),
        }
    }

    fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
}

/// Hears one client.
#[derive(Debug, Default)]
pub struct Talk {
    /// What has come of a message of the client.
    begun: Vec<u8>,
}

impl Machine for Talk {
    fn begin(&mut self, session: &str, turn: &mut dyn Turn) {
        say(&format!("session {session}"), turn);
    }

    fn reframe(&mut self, before: Framing, unsent: &[u8], turn: &mut dyn Turn) {
        told(before, unsent).iter().for_each(|(name, text)| tell(name, text, turn));
    }

    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn) {
        self.begun.extend_from_slice(piece.bytes);
        if piece.last {
            let message = std::mem::take(&mut self.begun);
            String::from_utf8_lossy(&message).lines().for_each(|line| hear(line, turn));
        }
    }

    fn answer(&mut self, _: u32, answer: Answer<'_>, turn: &mut dyn Turn) {
        let text = match answer {
            Answer::Following { channels, .. } => {
                let channels = channels.iter().map(|it| format!("{}@{}", it.channel, it.next));
                format!("following {}", channels.collect::<Vec<_>>().join(" "))
            }
            Answer::Published(published) => format!("at {}", published.offset),
            Answer::Refused(refusal) => format!("{refusal:?}"),
            Answer::TooManyViews => TOO_MANY_VIEWS.into(),
        };
        say(&text, turn);
    }
}

fn hear(line: &str, turn: &mut dyn Turn) {
    let words: Vec<&str> = line.split(' ').collect();
    let asked = match words[..] {
        ["follow", channel] => turn.follow(&[ChannelToFollow::of(channel, Since::Now)]).err(),
        ["follow", channel, view] => turn
            .follow(&[ChannelToFollow {
                view: Some(view),
                ..ChannelToFollow::of(channel, Since::Now)
            }])
            .err(),
        ["again", channel] => turn.follow(&[ChannelToFollow::of(channel, Since::Earliest)]).err(),
        ["say", channel, text] => turn.publish(channel, text.as_bytes()).err(),
        ["fill"] => return say(&"x".repeat(8 << 10), turn),
        ["bye"] => return turn.close(CloseCode::NORMAL, "as you say"),
        _ => return say(&format!("what is {line}"), turn),
    };
    if let Some(unasked) = asked {
        say(&format!("{unasked:?}"), turn);
    }
}

fn say(text: &str, turn: &mut dyn Turn) {
    tell(SAID, text, turn);
}

/// The name of what the machine says; all else is told as it is.
const SAID: &str = "said";

fn tell(name: &str, text: &str, turn: &mut dyn Turn) {
    let framing = turn.framing();
    let out = turn.private();
    out.extend_from_slice(framing.separator());
    let is_said = name == SAID && !framing.is_event_stream();
    let payload = match is_said {
        true => Payload::JsonString(text.as_bytes()),
        false => Payload::Plain(text.as_bytes()),
    };
    let (opening, end) = if is_said { (r#"{"event":"said","text":"#, "}") } else { ("", "") };
    let end = end.as_bytes();
    let envelope = Envelope { name: Some(name), payload, end, ..Envelope::BARE };
    framing.wrap(&envelope, |out| out.extend_from_slice(opening.as_bytes()), out);
}

/// The names and texts of frames that were written one behind the other.
fn told(framing: Framing, frames: &[u8]) -> Vec<(String, String)> {
    if framing.is_event_stream() {
        let mut events = Vec::new();
        // Lengths of chunks are lines that say nothing.
        Reader::new(usize::MAX).feed(frames, &mut events).expect("it takes all");
        return events.into_iter().map(|event| (event.event, event.data)).collect();
    }
    let list = [b"[", &frames[framing.separator().len()..], b"]"].concat();
    let list: Vec<Value> = serde_json::from_slice(&list).expect("a list of objects");
    let each = list.into_iter().map(|it| match it["text"].as_str() {
        Some(text) => (SAID.to_owned(), text.to_owned()),
        None => (it["event"].as_str().unwrap_or_default().to_owned(), it.to_string()),
    });
    each.collect()
}
