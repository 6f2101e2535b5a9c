//! A session without a shard: what goes in, what it says, what it wants, and when.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Answer;
use fanfare_protocol::dialect::{Form, plain};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::http::Request;
use fanfare_protocol::id::{Epoch, Id};

use super::overdue::RECHECK_MS;
use super::*;
use crate::admission::address::Addresses;
use crate::admission::peers::AdmittedPeers;
use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::driver::Token;
use crate::metrics::Metrics;
use crate::rule::Rules;
use crate::sequencer::command::{Requester, Since, SubscribedChannel};
use crate::transport::Context;
use crate::transport::door::{Door, Errand, Hold};

const NOW: Millis = Millis(10_000);

/// How far the order is.
fn reached() -> Id {
    Id { epoch: Epoch::from_random(7), position: 9 }
}

struct Bench {
    session: Session,
    shared: ShardResources,
    now: Millis,
}

impl Bench {
    fn new() -> Self {
        Self::over_limit(false)
    }

    fn over_limit(over_limit: bool) -> Self {
        Self::at_door(over_limit, None)
    }

    fn at_door(over_limit: bool, door: Option<Arc<dyn Door>>) -> Self {
        let context = Context { dev: true, ..Context::new(Limits::default(), Tenant::default()) };
        let metrics = Arc::new(Metrics::new(1));
        let shared = {
            let peers = AdmittedPeers::new(Arc::new(Addresses::new(0)));
            let context = Arc::new(context);
            ShardResources::new(0, context, Arc::default(), metrics, (None, door), peers)
        };
        let session = Session::new(over_limit, NOW, &shared.context.limits);
        Self { session, shared, now: NOW }
    }

    /// One that follows `a` by this request's head.
    fn following(path: &str, fields: &str) -> Self {
        let mut bench = Self::new();
        bench.request(path, fields);
        assert_eq!(bench.wanted(), ["head done", "follow 0 a"]);
        bench.subscribed(0);
        bench
    }

    fn limits(&self) -> Limits {
        self.shared.context.limits.clone()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.session.take(&mut bytes.to_vec(), self.now, &mut self.shared);
    }

    fn request(&mut self, path: &str, fields: &str) {
        self.take(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes());
    }

    fn subscribed(&mut self, request: u32) {
        let session = Token { index: 3, generation: 1 };
        let name = Arc::new(ChannelName::new(Tenant::default(), "a"));
        let rule = Arc::clone(Rules::default().of(&Tenant::default(), "a").1);
        let channel = SubscribedChannel {
            channel: ChannelId(1),
            name,
            rule,
            since: Since::Now,
            next: 1,
            last: 0,
            life: 1,
            floor: 1,
            gap: None,
            gap_begins: None,
            import: Box::default(),
        };
        let requester = Requester { shard: 0, session, request };
        let (epoch, channels) = (Epoch::from_random(7), [channel].into());
        let reply = Subscribed { requester, epoch, begin: 0, present: 0, channels, left: 0 };
        self.session.subscribed(&reply, 0, self.now, &mut self.shared);
    }

    fn deadline(&mut self, unread: bool, told: Millis) {
        self.session.deadline((unread, false), (told, self.now), &mut self.shared);
    }

    fn drained(&mut self) {
        self.session.drained(self.now, &mut self.shared);
    }

    /// What it wants, in words.
    fn wanted(&mut self) -> Vec<String> {
        let mut wanted = Vec::new();
        while let Some(effect) = self.shared.next_effect() {
            wanted.push(match effect {
                Effect::Visit => "visit".into(),
                Effect::Follow { request, channels, .. } => {
                    let names = channels.iter().map(|(channel, _)| &*channel.name);
                    format!("follow {request} {}", names.collect::<Vec<_>>().join(" "))
                }
                Effect::Publish { request, publication, .. } => {
                    format!("publish {request} {}", publication.channel.name)
                }
                Effect::Unfollow(_) => "unfollow".into(),
                Effect::UnfollowAll => "unfollow all".into(),
                Effect::HeadDone => "head done".into(),
                Effect::Served => continue, // the end of every answer that is not the last
                Effect::WantKeys(endpoint) => format!("keys {endpoint:?}"),
                Effect::AskAgain => "ask again".into(),
                Effect::Refresh(of, _) => format!("refresh {of:?}"),
                Effect::Hold(_) => "hold".into(),
                Effect::Carries(_) => "carries".into(),
                Effect::Answer(_) => "answer".into(),
                Effect::TakeOver => "take over".into(),
                Effect::LetGo => "let go".into(),
                Effect::Bring(_) => "bring".into(),
                Effect::End(how) => format!("end {how:?}"),
            });
        }
        wanted
    }

    /// What it has said, now that the kernel takes it.
    fn said(&mut self) -> Vec<u8> {
        let Some(outbox) = self.session.line.outbox() else { return Vec::new() };
        let said = outbox.front().to_vec();
        took(self.session.line.outbox_mut(), usize::MAX, &mut self.shared.spare);
        self.session.took_all(self.now);
        said
    }

    fn said_text(&mut self) -> String {
        String::from_utf8(self.said()).expect("an answer is text")
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_kept_connection_answers_what_came_behind_a_request_when_its_answer_is_on_its_way() {
    let mut bench = Bench::new();
    assert!(bench.session.wants_bytes(false));
    bench.take(b"GET /healthz HT");
    assert_eq!(bench.wanted(), [""; 0]);
    let both = b"TP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    bench.take(both);
    assert_eq!(bench.wanted(), ["head done", "visit"]);
    assert!(!bench.session.wants_bytes(false), "what came before waits for its turn");
    assert!(bench.said_text().starts_with("HTTP/1.1 200 "));
    assert!(!bench.session.wants_bytes(false));
    bench.drained();
    assert_eq!(bench.wanted(), ["head done", "visit"]);
    assert!(bench.said_text().starts_with("HTTP/1.1 404 "));
    assert!(bench.session.wants_bytes(false));
}

#[test]
fn only_the_request_that_is_under_way_has_an_answer() {
    let mut bench = Bench::new();
    bench.request("/poll?channels=a", "");
    assert_eq!(bench.wanted(), ["head done", "follow 0 a"]);
    assert!(bench.session.state.awaits(0).is_some());
    assert_eq!(bench.session.state.awaits(1), None);
    assert!(!bench.session.wants_bytes(true), "the answer comes soon");
    assert_eq!(bench.session.due(NOW), None, "and is not hurried");
    bench.subscribed(0);
    assert_eq!(bench.session.state.awaits(0), None, "it is answered once");
    assert!(bench.session.state.is_polled());
    bench.session.answered(0, Answer::Refused(Refusal::ShuttingDown), NOW, &mut bench.shared);
    assert!(bench.session.state.is_polled() && bench.wanted().is_empty());
}

#[test]
fn each_state_has_its_own_deadline() {
    let limits = Limits::default();
    let after = |ms| Some(NOW.plus(ms));
    let mut bench = Bench::new();
    assert_eq!(bench.session.due(NOW), after(limits.head_ms), "a first head");
    bench.now = NOW.plus(1_000);
    bench.take(b"GET /");
    assert_eq!(bench.session.due(NOW), after(limits.head_ms), "one byte gives no time");
    bench.take(b"healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let look_ms = limits.idle_ms.min(limits.stall_ms);
    assert_eq!(bench.session.due(NOW), after(1_000 + look_ms), "an answer that is to be taken");
    bench.said();
    bench.deadline(false, bench.now);
    assert_eq!(bench.session.due(NOW), after(1_000 + limits.idle_ms), "the next request");
    bench.now = NOW.plus(5_000);
    bench.take(b"GET /");
    assert_eq!(bench.session.due(NOW), after(5_000 + limits.head_ms), "its head");

    let poll = Bench::following("/poll?channels=a&wait=7", "");
    assert_eq!(poll.session.due(NOW), after(7_000), "a poll's patience");
    let events = Bench::following("/sse?channels=a", "");
    assert_eq!(events.session.due(NOW), after(limits.heartbeat_ms), "a heartbeat");
    let mut socket = Bench::following("/ws?channels=a", UPGRADE);
    assert_eq!(socket.session.due(NOW), after(limits.ping_ms), "a ping");
    socket.take(&[0x81, 0x85, 0, 0, 0, 0, b'h']);
    let due = limits.client_message_ms.min(limits.ping_ms);
    assert_eq!(socket.session.due(NOW), after(due), "a message that is not whole");
    socket.session.close_slow(NOW, &mut socket.shared);
    assert_eq!(socket.session.due(NOW), after(SLOW_CLOSE_MS), "a farewell");
}

/// What was told up to some time is judged by it, and new deadlines run from now.
#[test]
fn time_is_judged_by_what_was_told_and_runs_from_now() {
    let mut bench = Bench::following("/ws?channels=a", UPGRADE);
    bench.said();
    bench.wanted();
    let Limits { ping_ms, pong_ms, .. } = bench.limits();
    let told = NOW.plus(ping_ms);
    bench.now = told.plus(60_000); // we stood still
    bench.deadline(false, told);
    assert_eq!((bench.said(), bench.wanted().len()), (vec![0x89, 0], 1));
    assert_eq!(bench.session.due(told), Some(bench.now.plus(pong_ms.min(ping_ms))));
    // Its pong may be among what we have not read: it is looked at again, and not for ever.
    let pinged_at = bench.now;
    let told = pinged_at.plus(pong_ms);
    bench.now = told.plus(10 * pong_ms); // and stood still again
    bench.deadline(true, told);
    assert!(bench.wanted().is_empty());
    assert_eq!(bench.session.due(told), Some(bench.now.plus(RECHECK_MS)));
    let told = bench.now.plus(RECHECK_MS);
    bench.now = told;
    bench.deadline(true, told);
    assert_eq!(
        bench.wanted(),
        ["unfollow all", "visit"],
        "it was told of more than two patiences without one"
    );
    assert_eq!(bench.said()[0], 0x88);
}

#[test]
fn who_is_refused_is_read_until_it_ends_and_then_ended() {
    let mut bench = Bench::over_limit(true);
    bench.request("/ws?channels=a", UPGRADE);
    assert_eq!(bench.wanted(), ["head done", "unfollow all", "visit"]);
    assert!(bench.said_text().starts_with("HTTP/1.1 503 "));
    bench.drained();
    assert!(bench.wanted().is_empty(), "it lingers, so that the answer is not lost by a reset");
    assert!(bench.session.wants_bytes(false));
    bench.take(b"more of what nobody wants");
    bench.session.client_ended(NOW, &mut bench.shared);
    assert_eq!(bench.wanted(), ["end Gracefully"]);
}

#[test]
fn a_poll_whose_client_has_ended_its_side_is_answered_and_a_stream_is_not() {
    let mut poll = Bench::following("/poll?channels=a", "");
    assert!(!poll.session.wants_bytes(false) && poll.session.wants_bytes(true));
    poll.session.client_ended(NOW, &mut poll.shared);
    assert_eq!(poll.wanted(), ["visit"]);
    assert!(poll.said_text().starts_with("HTTP/1.1 200 "));
    poll.session.answer_poll(reached(), NOW, &mut poll.shared);
    assert_eq!(poll.wanted(), ["unfollow all", "unfollow all", "visit"]);
    assert!(poll.said_text().contains(&reached().to_string()));
    poll.drained();
    assert_eq!(poll.wanted(), ["end Gracefully"]);

    let mut events = Bench::following("/sse?channels=a", "");
    events.wanted();
    events.session.client_ended(NOW, &mut events.shared);
    assert_eq!(events.wanted(), ["end Gracefully"]);
}

#[test]
fn at_the_end_of_the_order_each_takes_leave_in_its_way() {
    let mut idle = Bench::new();
    let mut poll = Bench::following("/poll?channels=a", "");
    let mut socket = Bench::following("/ws?channels=a", UPGRADE);
    let mut behind = Bench::following("/sse?channels=a", "");
    for (bench, owed, expected) in [
        (&mut idle, false, &["end Gracefully"][..]),
        (&mut poll, false, &["visit"]),
        (&mut socket, false, &["unfollow all", "visit"]),
        (&mut behind, true, &["visit"]),
    ] {
        bench.wanted();
        bench.said();
        bench.shared.ending = true;
        bench.session.order_ended(owed, NOW, &mut bench.shared);
        assert_eq!(bench.wanted(), expected);
    }
    assert_eq!(socket.said()[2..4], 1012_u16.to_be_bytes());
    behind.drained();
    assert!(behind.said_text().contains("fanfare.close"), "when it has what was owed");
}

#[test]
fn the_gauges_count_each_out_of_what_it_was() {
    let mut bench = Bench::following("/ws?channels=a", UPGRADE);
    let open = |bench: &Bench| {
        let metrics = bench.shared.metrics();
        [metrics.websockets.read(), metrics.event_streams.read(), metrics.polls.read()]
    };
    assert_eq!(open(&bench), [1, 0, 0]);
    bench.session.close_slow(NOW, &mut bench.shared);
    assert_eq!(open(&bench), [1, 0, 0], "while it leaves");
    bench.session.state.count_out(bench.shared.metrics());
    assert_eq!(open(&bench), [0, 0, 0]);
    let mut poll = Bench::following("/poll?channels=a", "");
    assert_eq!(open(&poll), [0, 0, 1]);
    poll.session.answer_poll(reached(), NOW, &mut poll.shared);
    assert_eq!(open(&poll), [0, 0, 0]);
    poll.session.state.count_out(poll.shared.metrics());
    assert_eq!(open(&poll), [0, 0, 0]);
}

/// Where no answer comes any more nobody waits for one.
#[test]
fn who_asked_an_order_that_was_lost_is_told_to_come_back() {
    let publish = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Length: 5\r\n\r\nhello";
    let poll = "GET /poll?channels=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for request in [publish, poll] {
        let mut bench = Bench::new();
        bench.take(request.as_bytes());
        bench.wanted();
        bench.session.order_ended(false, NOW, &mut bench.shared);
        assert_eq!(bench.said_text(), "", "its answer is on its way, or will be refused");
        bench.shared.life.lose_order();
        bench.session.order_ended(false, NOW, &mut bench.shared);
        assert!(bench.said_text().starts_with("HTTP/1.1 503 "));
        assert_eq!(bench.wanted(), ["unfollow all", "visit"]);
    }
    let mut late = Bench::new();
    late.shared.ending = true;
    late.take(publish.as_bytes());
    assert!(late.said_text().starts_with("HTTP/1.1 503 "));
    assert_eq!(late.wanted(), ["head done", "unfollow all", "visit"], "nobody is asked");
}

/// Whatever the cuts, a client is told the same and the same is wanted, but for visits.
#[test]
fn a_session_does_not_care_how_its_bytes_are_cut() {
    let post = b"POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Length: 5\r\n\r\nhello";
    let two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\
                GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let frames = [
        &[0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2][..], // a ping
        &[0x81, 0x83, 0, 0, 0, 0, b'a', b'b', b'c'],       // a message
        &[0x88, 0x82, 0, 0, 0, 0, 3, 232],                 // a close
    ];
    let begin = || Bench::following("/ws?channels=a", UPGRADE);
    same_whatever_the_cuts(Bench::new, post);
    same_whatever_the_cuts(Bench::new, two);
    same_whatever_the_cuts(begin, &frames.concat());
}

fn same_whatever_the_cuts(begin: impl Fn() -> Bench, bytes: &[u8]) {
    let told = |cut: usize| {
        let (mut bench, mut wanted, mut said) = (begin(), Vec::new(), Vec::new());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() {
                bench.take(piece);
            }
            for _ in 0..3 {
                wanted.extend(bench.wanted().into_iter().filter(|wanted| wanted != "visit"));
                said.extend(bench.said());
                if wanted.last().is_some_and(|last| last.starts_with("end")) {
                    return (wanted, said);
                }
                bench.drained();
            }
        }
        (wanted, said)
    };
    let whole = told(bytes.len());
    assert!(!whole.1.is_empty() || !whole.0.is_empty());
    for cut in 1..bytes.len() {
        assert_eq!(told(cut), whole, "cut at {cut}");
    }
}

/// Holds requests for `/held`.
struct HeldAlone;

impl Door for HeldAlone {
    fn errand(&self, request: &Request<'_>) -> Option<Result<Errand, Violation>> {
        let framing = Framing::Sse { chunked: true, named: true };
        let encoding = Encoding::of(Form::Plain(plain::Form::Json), framing).unwrap();
        let hold = Hold { encoding, once: None };
        (request.path == "/held").then_some(Ok(Errand::Begin(hold)))
    }
}

#[test]
fn whoever_is_to_be_held_is_turned_away_for_what_turns_away_who_follows() {
    for path in ["/held", "/poll?channels=a"] {
        let ask = |over_limit, is_full, ending| {
            let mut bench = Bench::at_door(over_limit, Some(Arc::new(HeldAlone)));
            (bench.shared.is_full, bench.shared.ending) = (is_full, ending);
            bench.request(path, "");
            let turned_away = bench.shared.metrics().turned_away.read();
            (bench.said_text().split(' ').nth(1).unwrap_or_default().to_string(), turned_away)
        };
        assert_eq!(ask(false, false, false), (String::new(), 0), "{path}");
        for (over_limit, is_full, ending) in
            [(true, false, false), (false, true, false), (false, false, true)]
        {
            assert_eq!(ask(over_limit, is_full, ending), ("503".into(), 1), "{path}");
        }
    }
}
