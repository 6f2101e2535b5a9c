//! A client protocol of the simulation and of tests that brings one client over many sockets: a GET
//! is held for what the client is told, a POST brings lines that it says.
//!
//! `GET /lines` begins a client and `GET /lines/ID` goes on with it: a stream of events in chunks,
//! or with `?wait=S` one answer, a list, when there is something to tell. `POST /lines/ID` brings
//! lines. A WebSocket on `/lines/ID` says `probe`, and with `come` takes the client over; others
//! say the same lines in messages. What the machine says is an event `said`, in a list an object.

use std::collections::HashMap;

use fanfare_protocol::dialect::machine::{Answer, ChannelToFollow, Followed, Machine, Piece, Turn};
use fanfare_protocol::dialect::{Encoding, Form, plain};
use fanfare_protocol::framing::{Envelope, Framing, Payload};
use fanfare_protocol::http::{ContentType, Method, Request, Violation};
use fanfare_protocol::id::{Id, LifeId};
use fanfare_protocol::message::GapView;
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

/// Hears one client. A line may begin with a number that is the client's own: then its answer does,
/// too, and is exact.
#[derive(Debug, Default)]
pub struct Talk {
    /// What has come of a message of the client.
    begun: Vec<u8>,
    /// What the client calls a request.
    numbers: HashMap<u32, u64>,
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
            String::from_utf8_lossy(&message).lines().for_each(|line| self.hear(line, turn));
        }
    }

    fn answer(&mut self, request: u32, answer: Answer<'_>, turn: &mut dyn Turn) {
        let number = match request {
            0 => Some(0), // which a WebSocket client began with
            _ => self.numbers.remove(&request),
        };
        let text = match answer {
            Answer::Following { begin, channels } if number.is_some() => exactly(begin, channels),
            Answer::Following { channels, .. } => {
                let channels = channels.iter().map(|it| format!("{}@{}", it.channel, it.next));
                format!("following {}", channels.collect::<Vec<_>>().join(" "))
            }
            Answer::Published(it) if number.is_some() => format!("at {} {}", it.offset, it.id),
            Answer::Published(published) => format!("at {}", published.offset),
            Answer::Refused(refusal) => format!("{refusal:?}"),
            Answer::TooManyViews => TOO_MANY_VIEWS.into(),
        };
        say(&numbered(number, text), turn);
    }
}

impl Talk {
    fn hear(&mut self, line: &str, turn: &mut dyn Turn) {
        let first =
            line.split_once(' ').and_then(|(first, rest)| Some((first.parse().ok()?, rest)));
        let (number, command) = first.map_or((None, line), |(number, rest)| (Some(number), rest));
        let words: Vec<&str> = command.split(' ').collect();
        let asked = match words[..] {
            ["follow", channel] => turn.follow(&[ChannelToFollow::of(channel, Since::Now)]),
            ["follow", channel, view] => turn.follow(&[ChannelToFollow {
                view: Some(view),
                ..ChannelToFollow::of(channel, Since::Now)
            }]),
            ["again", channel] => turn.follow(&[ChannelToFollow::of(channel, Since::Earliest)]),
            ["from", ref channels @ ..] if channels.iter().all(|word| from(word).is_some()) => {
                turn.follow(&channels.iter().filter_map(|word| from(word)).collect::<Vec<_>>())
            }
            ["say", channel, text] => turn.publish(channel, text.as_bytes()),
            ["leave", channel] => {
                let text = format!("left {channel} {}", turn.unfollow(channel));
                return say(&numbered(number, text), turn);
            }
            ["fill"] => return say(&"x".repeat(8 << 10), turn),
            ["bye"] => return turn.close(CloseCode::NORMAL, "as you say"),
            _ => return say(&format!("what is {line}"), turn),
        };
        match asked {
            Ok(request) => drop(number.map(|number| self.numbers.insert(request, number))),
            Err(unasked) => say(&numbered(number, format!("{unasked:?}")), turn),
        }
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

fn numbered(number: Option<u64>, text: String) -> String {
    number.map_or(text.clone(), |number| format!("{number} {text}"))
}

/// A channel and where to begin in it: `c1=now`, `c1=earliest`, `c1=last:3`, `c1=ID`, or after an
/// offset of a life, `c1=7:LIFE`.
fn from(word: &str) -> Option<ChannelToFollow<'_>> {
    let (channel, since) = word.split_once('=')?;
    let since = match since.split_once(':') {
        None if since == "now" => Since::Now,
        None if since == "earliest" => Since::Earliest,
        None => Since::After(Id::parse(since.as_bytes())?),
        Some(("last", count)) => Since::Last(count.parse().ok()?),
        Some((offset, life)) => {
            Since::Offset(offset.parse().ok()?, LifeId::parse(life.as_bytes())?)
        }
    };
    Some(ChannelToFollow::of(channel, since))
}

/// Where everything begins, and each channel with the offset that comes first, its life, and what
/// is missed before that: `-`, offsets or `?`, and the reason.
fn exactly(begin: Id, channels: &[Followed<'_>]) -> String {
    let mut text = format!("following {begin}");
    for Followed { channel, next, life, gap, .. } in channels {
        let gap = gap.map_or("-".into(), |GapView { bounds, reason, .. }| match bounds {
            Some((from, to)) => format!("{from}-{to}:{}", reason.as_str()),
            None => format!("?:{}", reason.as_str()),
        });
        text += &format!(" {channel} {next} {life} {gap}");
    }
    text
}
