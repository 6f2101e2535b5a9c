//! A request that waits for the sequencer's answer, or a shard's, and what that answer makes of it.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::http::{Answer, ContentType, Status, Violation, response};

use super::effect::Effect;
use super::events::{Events, spread_ms};
use super::here::Here;
use super::reading::{self, ending};
use super::requests::FIRST;
use super::socket::Socket;
use super::stream::Stream;
use super::tenure::Tenure;
use super::waiting::Waiting;
use crate::channel::ChannelName;
use crate::sequencer::command::{Published, Refusal, Since, Subscribed};
use crate::transport::follow_request::{Endpoint, FollowRequest};
use crate::transport::input::Early;
use crate::transport::long_poll::Poll;
use crate::transport::{event_stream, publish, websocket};

/// What a name takes beside its bytes and the pointers to it: its reference counts, and what the
/// allocator adds.
const NAME_BYTES: usize = 32;

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asking {
    requested: Requested,
    /// Whether another request may follow the answer.
    keep_alive: bool,
    /// What came behind the request.
    pub(super) early: Option<Box<Early>>,
    /// Bytes of memory of the channels' names.
    names: usize,
}

/// What was asked for.
#[derive(Debug)]
enum Requested {
    /// To follow channels.
    Follow(Box<FollowRequest>),
    /// To publish.
    Publish,
    /// To bring something to a session.
    Bring {
        /// The origin of the page that may read the answer.
        origin: Option<Box<str>>,
    },
}

/// What a request to follow has become.
#[derive(Debug)]
pub(super) enum Opened {
    /// A poll, which waits.
    Waiting(Box<Waiting>),
    /// A stream.
    Stream(Stream),
}

/// What became of something that was brought to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BringResult {
    /// It has taken it.
    Taken,
    /// It is not there any more.
    Gone,
    /// It has no room for what it would say to that.
    Full,
}

impl Asking {
    /// A request to publish.
    pub(super) fn to_publish(keep_alive: bool) -> Self {
        Self { requested: Requested::Publish, keep_alive, early: None, names: 0 }
    }

    /// A request to bring something to a session.
    pub(super) fn to_bring(origin: Option<Box<str>>, keep_alive: bool) -> Self {
        Self { requested: Requested::Bring { origin }, keep_alive, early: None, names: 0 }
    }

    /// What it asks to follow, if that is what it asks for.
    pub(super) fn follows(&self) -> Option<&FollowRequest> {
        match &self.requested {
            Requested::Follow(ask) => Some(ask),
            Requested::Publish | Requested::Bring { .. } => None,
        }
    }

    /// Whether its answer comes from a shard, which may have ended before it.
    pub(super) fn is_to_bring(&self) -> bool {
        matches!(self.requested, Requested::Bring { .. })
    }

    /// Answers a request with what became of the thing that it brought. Where that was taken, says
    /// whether another request may follow, with the bytes of it that are here.
    pub(super) fn told(
        self,
        told: BringResult,
        here: &mut Here<'_>,
    ) -> Option<(bool, Option<Box<Early>>)> {
        let Requested::Bring { origin } = self.requested else {
            return Some((self.keep_alive, self.early));
        };
        let violation = match told {
            BringResult::Taken => {
                let cors = origin.as_deref().map(response::cors);
                let fields = cors.as_deref().unwrap_or_default();
                let (status, content_type) = (Status::Ok, ContentType::Text);
                let (date, ending) = (here.date(), ending(self.keep_alive));
                let head_only = false;
                let answer = Answer { date, status, content_type, ending, fields, head_only };
                answer.write(here.private(), b"ok\n");
                return Some((self.keep_alive, self.early));
            }
            BringResult::Gone => Violation::SessionGone,
            BringResult::Full => Violation::SessionFull,
        };
        reading::refuse(violation, origin.as_deref(), here);
        None
    }

    /// Bytes of memory of the names that it asked for: in its request, and in what the sequencer is
    /// asked, which share each name's bytes.
    pub(super) fn memory(&self) -> usize {
        self.names
    }

    /// How what it asked to follow is to be encoded, and up to which length of a message.
    pub(super) fn reads(&self) -> Option<(Encoding, Option<u32>)> {
        match &self.requested {
            Requested::Follow(ask) => Some((ask.encoding, ask.max_bytes)),
            Requested::Publish | Requested::Bring { .. } => None,
        }
    }

    /// The channels are followed: a poll begins to wait, or a stream begins with the head of the
    /// answer, its gaps, and where delivery begins. Bytes that came behind the request belong to
    /// the stream.
    pub(super) fn open(
        self,
        reply: &Subscribed,
        spread: u16,
        here: &mut Here<'_>,
    ) -> (Opened, Option<Box<Early>>) {
        let Self { requested, keep_alive, early, .. } = self;
        let Requested::Follow(ask) = requested else { unreachable!("it asked to follow") };
        let (date, context) = (here.date(), here.shared.context.clone());
        let stream = match ask.endpoint {
            Endpoint::WebSocket => {
                websocket::open(&ask, reply, &context, date, here.private());
                here.shared.metrics().websockets.add(1);
                let first_ping_ms = spread_ms(spread, context.limits.ping_ms);
                Stream::Socket(Socket::new(
                    ask.encoding,
                    here.tenant(),
                    reply,
                    first_ping_ms,
                    here.now,
                    here.shared,
                ))
            }
            Endpoint::EventStream => {
                event_stream::open(&ask, reply, &context, date, here.private());
                here.shared.metrics().event_streams.add(1);
                Stream::Events(Events::new(ask.encoding, spread, here.now, &context.limits))
            }
            Endpoint::Poll => {
                here.shared.metrics().polls.add(1);
                let has_gap = reply.channels.iter().any(|channel| channel.gap.is_some());
                let gathering = (has_gap || ask.wait_ms == 0).then(Box::default);
                let due = here.now.plus(ask.wait_ms);
                let poll = Poll::new(*ask, reply);
                let waiting = Waiting { poll, gathering, due, keep_alive, early };
                return (Opened::Waiting(Box::new(waiting)), None);
            }
        };
        here.shared.want(Effect::Visit);
        (Opened::Stream(stream), early)
    }

    /// The message is published. Says whether another request may follow, with the bytes of it that
    /// are here.
    pub(super) fn answer(
        self,
        published: Published,
        here: &mut Here<'_>,
    ) -> (bool, Option<Box<Early>>) {
        publish::answer(published, here.date(), ending(self.keep_alive), here.private());
        (self.keep_alive, self.early)
    }

    /// The sequencer refused. Says whether the connection lingers until the client ends its side.
    pub(super) fn refuse(self, refusal: Refusal, here: &mut Here<'_>) -> bool {
        let violation = match refusal {
            Refusal::ChannelLimit => Violation::ChannelLimit,
            Refusal::FollowedLimit => Violation::FollowedLimit,
            Refusal::Conflict => unreachable!("it gave no idempotency key"),
            Refusal::Busy => Violation::Busy,
            Refusal::LogFailed => Violation::LogFailed,
            Refusal::ShuttingDown => Violation::Draining,
        };
        self.turn_away(violation, here)
    }

    /// Refuses the request, whatever may still come of it. Says whether the connection lingers
    /// until the client ends its side.
    pub(super) fn turn_away(self, violation: Violation, here: &mut Here<'_>) -> bool {
        match self.requested {
            Requested::Follow(ask) => refuse(&ask, violation, here),
            Requested::Publish => {
                reading::refuse(violation, None, here);
                true
            }
            Requested::Bring { origin } => {
                reading::refuse(violation, origin.as_deref(), here);
                true
            }
        }
    }
}

/// Asks the sequencer to follow, unless there is no room for one more, no memory, or the node shuts
/// down. Then it is refused, and the error says whether the connection lingers until the client
/// ends its side.
pub(super) fn begin(
    ask: Box<FollowRequest>,
    keep_alive: bool,
    here: &mut Here<'_>,
) -> Result<Asking, bool> {
    let full = || here.shared.turns_away(here.line.flow.is_over_limit());
    if let Some(violation) = ask.turned_away.or_else(full) {
        return Err(refuse(&ask, violation, here));
    }
    // From here on it is found by whom it speaks for.
    here.line.tenure = ask.identity.clone().map(|it| Box::new(Tenure::new(it)));
    let since = ask.since(here.shared.context.wall, here.now);
    let channels = ask.channels.iter().map(|name| (name.clone(), since)).collect();
    here.shared.want(Effect::Follow { request: FIRST, channels });
    let each = size_of::<ChannelName>() + size_of::<(ChannelName, Since)>() + NAME_BYTES;
    let names = ask.channels.iter().map(|channel| channel.name.len() + each).sum();
    Ok(Asking { requested: Requested::Follow(ask), keep_alive, early: None, names })
}

/// Refuses a request that was good. Says whether the connection lingers until the client ends its
/// side: not where the end of a stream is the answer.
pub(super) fn refuse(ask: &FollowRequest, violation: Violation, here: &mut Here<'_>) -> bool {
    if ask.endpoint != Endpoint::EventStream {
        reading::refuse(violation, ask.origin.as_deref(), here);
        return true;
    }
    let reason = match violation {
        Violation::Draining => CloseReason::Restart,
        Violation::FollowedLimit => CloseReason::FollowedLimit,
        _ => CloseReason::Full,
    };
    let (date, retry_ms) = (here.date(), here.shared.context.limits.retry_ms);
    event_stream::come_back(ask, reason, retry_ms, date, here.private());
    here.shared.metrics().requests_refused.add(1);
    false
}
