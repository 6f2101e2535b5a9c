//! A request that waits for the sequencer's answer, or a shard's, and what that answer makes of it.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::http::{Answer, ContentType, Status, Violation, response};
use fanfare_protocol::ws::handshake;

use super::effect::Effect;
use super::events::{Events, spread_ms};
use super::exchange::{Exchange, ExchangeStep};
use super::here::Here;
use super::newcomer::{Newcomer, dismiss};
use super::reading::{self, ending};
use super::requests::FIRST;
use super::socket::Socket;
use super::stream::Stream;
use super::tenure::Tenure;
use super::waiting::Waiting;
use crate::authority::Denial;
use crate::channel::ChannelName;
use crate::clock::Millis;
use crate::sequencer::command::{Published, Refusal, Since, Subscribed};
use crate::transport::claim::Claim;
use crate::transport::follow_request::{Endpoint, FollowRequest};
use crate::transport::input::Early;
use crate::transport::long_poll::Poll;
use crate::transport::websocket::close_of;
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
    /// Under which context it was allowed.
    revision: u32,
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
    /// It is somebody else's.
    Foreign,
}

impl Asking {
    /// A request to publish.
    pub(super) fn to_publish(keep_alive: bool) -> Self {
        Self { requested: Requested::Publish, keep_alive, early: None, names: 0, revision: 0 }
    }

    /// A request to bring something to a session.
    pub(super) fn to_bring(origin: Option<Box<str>>, keep_alive: bool) -> Self {
        let requested = Requested::Bring { origin };
        Self { requested, keep_alive, early: None, names: 0, revision: 0 }
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
            BringResult::Foreign => Violation::Forbidden,
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
        let Self { requested, keep_alive, early, revision, .. } = self;
        if revision != here.shared.revision {
            here.shared.want(Effect::AskAgain);
        }
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
                let tenure = here.line.tenure.as_ref().and_then(|tenure| tenure.ends());
                let due = here.now.plus(ask.wait_ms).min(tenure.unwrap_or(Millis(u64::MAX)));
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

    /// The sequencer refused.
    pub(super) fn refuse(self, refusal: Refusal, here: &mut Here<'_>) -> ExchangeStep {
        let violation = match refusal {
            Refusal::ChannelLimit => Violation::ChannelLimit,
            Refusal::FollowedLimit => Violation::FollowedLimit,
            Refusal::Conflict => unreachable!("it gave no idempotency key"),
            Refusal::Busy | Refusal::RateLimited => Violation::Busy,
            Refusal::LogFailed => Violation::LogFailed,
            Refusal::ShuttingDown => Violation::Draining,
        };
        self.turn_away(violation, here)
    }

    /// Refuses the request, whatever may still come of it.
    pub(super) fn turn_away(self, violation: Violation, here: &mut Here<'_>) -> ExchangeStep {
        let origin = match self.requested {
            Requested::Follow(ask) => return refuse(&ask, violation, here),
            Requested::Publish => None,
            Requested::Bring { origin } => origin,
        };
        reading::refuse(violation, origin.as_deref(), here);
        ExchangeStep::refused(true)
    }
}

/// Bytes of memory of the names that it asks for.
pub(super) fn names_bytes(ask: &FollowRequest) -> usize {
    let each = size_of::<ChannelName>() + size_of::<(ChannelName, Since)>() + NAME_BYTES;
    ask.channels.iter().map(|channel| channel.name.len() + each).sum()
}

/// Asks the sequencer to follow, if whoever asks may. Not where there is no room for one more, no
/// memory, or the node shuts down.
pub(super) fn begin(
    ask: Box<FollowRequest>,
    keep_alive: bool,
    here: &mut Here<'_>,
) -> ExchangeStep {
    let full = || here.shared.turns_away(here.line.flow.is_over_limit());
    if let Some(violation) = ask.turned_away.or_else(full) {
        return refuse(&ask, violation, here);
    }
    let denial = match &ask.claim {
        Claim::Pending(endpoint, _) => {
            let endpoint = *endpoint;
            let newcomer = Newcomer::waiting_for_keys(ask, endpoint, keep_alive, here);
            return ExchangeStep::On(Exchange::Newcomer(Box::new(newcomer)));
        }
        Claim::Denied(denial) => Some(denial.clone()),
        // A body may have come long after the head that said who asks.
        Claim::Known(bearer) => {
            let authority = here.shared.context.authority.as_deref();
            let ended = authority.map(|it| it.unless_ended(&bearer.identity, here.unix_ms()));
            let ended = ended.and_then(Result::err);
            ended.or_else(|| ask.check(&here.shared.context).err())
        }
        Claim::Nobody => ask.check(&here.shared.context).err(),
    };
    if let Some(denial) = denial {
        return deny(ask, &denial, here);
    }
    // From here on it is found by whom it speaks for.
    here.line.tenure = ask.claim.identity().map(|it| Tenure::of(it.clone(), here));
    let since = ask.since(here.shared.context.wall, here.now);
    let channels = ask.channels.iter().map(|name| (name.clone(), since)).collect();
    here.shared.want(Effect::Follow { request: FIRST, channels });
    let names = names_bytes(&ask);
    let requested = Requested::Follow(ask);
    let revision = here.shared.revision;
    let asking = Asking { requested, keep_alive, early: None, names, revision };
    ExchangeStep::On(Exchange::Asking(Box::new(asking)))
}

/// Whoever asks may not. A WebSocket that has come without a token may show one.
fn deny(ask: Box<FollowRequest>, denial: &Denial, here: &mut Here<'_>) -> ExchangeStep {
    let is_new = ask.endpoint == Endpoint::WebSocket && ask.switch.is_some();
    if is_new && denial.violation == Violation::TokenNeeded {
        let newcomer = Newcomer::to_say_who(ask, here);
        return ExchangeStep::On(Exchange::Newcomer(Box::new(newcomer)));
    }
    here.shared.denied(denial, ask.claim.identity().map(|it| &**it), here.now);
    refuse(&ask, denial.violation, here)
}

/// Refuses a request that was good as a request. Over a WebSocket that is open, or where a browser
/// could not tell its page why, it is a close; the end of a stream of events, where a client is to
/// come back, since it would take a status for the end of all.
pub(super) fn refuse(
    ask: &FollowRequest,
    violation: Violation,
    here: &mut Here<'_>,
) -> ExchangeStep {
    let is_of_token =
        matches!(violation.status(), Status::Unauthorized) || violation == Violation::Forbidden;
    let is_for_now =
        matches!(violation.status(), Status::ServiceUnavailable | Status::TooManyRequests);
    match ask.endpoint {
        Endpoint::WebSocket if ask.switch.is_none() || is_of_token => {
            if let Some(switch) = &ask.switch {
                let date = here.date();
                handshake::write_switch(here.private(), date, switch);
            }
            let (code, reason) = close_of(violation);
            return dismiss(code, reason, here);
        }
        Endpoint::EventStream if is_for_now => {}
        _ => {
            reading::refuse(violation, ask.origin.as_deref(), here);
            return ExchangeStep::refused(true);
        }
    }
    let reason = match violation {
        Violation::Draining => CloseReason::Restart,
        Violation::FollowedLimit => CloseReason::FollowedLimit,
        _ => CloseReason::Full,
    };
    let (date, retry_ms) = (here.date(), here.shared.context.limits.retry_ms);
    event_stream::come_back(ask, reason, retry_ms, date, here.private());
    here.shared.metrics().requests_refused.add(1);
    ExchangeStep::refused(false)
}
