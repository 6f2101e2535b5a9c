//! A client protocol of the simulation and of tests that brings one client over many sockets: a GET
//! is held for what the client is told, a POST brings lines that it says.
//!
//! `GET /lines` begins a client and `GET /lines/ID` goes on with it: a stream, or with `?wait=S`
//! one that ends when something was told. `POST /lines/ID` brings lines. What is told is an event
//! stream in chunks; what the machine says is an event `said`.

use fanfare_protocol::dialect::machine::{Answer, ChannelToFollow, Machine, Piece, Turn};
use fanfare_protocol::dialect::{Encoding, Form, plain};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::http::{Method, Request, Violation, chunk};
use fanfare_protocol::refusals::TOO_MANY_VIEWS;
use fanfare_protocol::since::Since;
use fanfare_protocol::ws::CloseCode;

use crate::session_id::SessionId;
use crate::transport::door::{Door, Errand, Hold};

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
        (None, Method::Get) => Ok(Errand::Begin(hold(request)?)),
        (Some(Some(id)), Method::Get) => Ok(Errand::Hold(id, hold(request)?)),
        (Some(Some(id)), Method::Post) => Ok(Errand::Bring(id)),
        _ => Err(Violation::MethodNotGet),
    }
}

fn hold(request: &Request<'_>) -> Result<Hold, Violation> {
    let framing = Framing::Sse { chunked: true, named: true };
    let encoding = Encoding::of(Form::Plain(plain::Form::Json), framing).expect("it is offered");
    let wait = request.query().value("wait")?;
    let wait_s: Option<u64> =
        wait.map(|wait| wait.parse().map_err(|_| Violation::BadWait)).transpose()?;
    let (once, wait_ms) = (wait_s.is_some(), wait_s.unwrap_or_default() * 1_000);
    Ok(Hold { encoding, once, wait_ms })
}

/// Hears one client.
pub struct Talk;

impl Machine for Talk {
    fn begin(&mut self, session: &str, turn: &mut dyn Turn) {
        say(&format!("session {session}"), turn);
    }

    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn) {
        assert!(piece.last, "each comes whole");
        String::from_utf8_lossy(piece.bytes).lines().for_each(|line| hear(line, turn));
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
    let out = turn.private();
    let start = out.len();
    out.extend_from_slice(format!("event: said\ndata: {text}\n\n").as_bytes());
    chunk::wrap(out, start);
}
