//! A dialect with commands on living sessions: the real sequencer, the real fan-out, and a machine
//! that a test can read. A client writes lines of words; the machine answers each request with its
//! number, and what is not asked at once.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_protocol::id::LifeId;
use fanfare_protocol::message::{GapView, Kind};
use fanfare_protocol::refusals::TOO_MANY_VIEWS;
use fanfare_protocol::since::Since;
use fanfare_protocol::ws::CloseCode;

use super::peer::Peer;
use super::truth::channel_name;
use super::wire::{Said, Way};
use super::world::{Manner, Shape, World};
use crate::limits::Limits;
use fanfare_protocol::dialect::UnsubscribedView;
use fanfare_protocol::dialect::machine::{Answer, ChannelToFollow, Followed, Machine, Piece, Turn};

const RAW: Way = Way::Socket { json: false };

/// Commands in words, one on a line.
#[derive(Default)]
pub(super) struct Words {
    begun: Vec<u8>,
    /// Whether it says at once what it asked for, and then of each channel where it begins.
    exact: bool,
    /// Whether it says nothing of what it follows.
    quiet: bool,
    /// Channels that it was told that its client begins with, in the answer to request 0.
    begins_with: usize,
    /// The life of each channel, as it was told last.
    lives: HashMap<String, LifeId>,
}

impl Words {
    /// One that says more.
    pub(super) fn exact() -> Self {
        Self { exact: true, ..Self::default() }
    }
}

impl Machine for Words {
    fn piece(&mut self, piece: Piece<'_>, turn: &mut dyn Turn) {
        self.begun.extend_from_slice(piece.bytes);
        if piece.last {
            let message = String::from_utf8(std::mem::take(&mut self.begun)).unwrap();
            assert!(self.begins_with > 0, "it is told before it is asked");
            message.lines().for_each(|line| self.command(line, turn));
        }
    }

    fn answer(&mut self, request: u32, answer: Answer<'_>, turn: &mut dyn Turn) {
        if let Answer::Following { channels, .. } = answer {
            let lives = channels.iter().map(|it| (it.channel.to_string(), it.life));
            self.lives.extend(lives);
        }
        if request == 0 {
            let Answer::Following { channels, .. } = answer else { panic!("{answer:?}") };
            return self.begins_with = channels.len();
        }
        let text = match answer {
            Answer::Following { .. } if self.quiet => return,
            Answer::Following { channels, .. } => {
                let names = channels.iter().map(|followed| match self.exact {
                    true => exactly(followed),
                    false => followed.channel.to_string(),
                });
                if self.exact {
                    turn.tell_caught_up();
                }
                format!("{request}: following {}", names.collect::<Vec<_>>().join(" "))
            }
            Answer::Published(published) => format!("{request}: at {}", published.offset),
            Answer::Refused(refusal) => format!("{request}: {refusal:?}"),
            Answer::TooManyViews => format!("{request}: {TOO_MANY_VIEWS}"),
        };
        fanfare_protocol::ws::send::write_text(&text, turn.private());
    }

    fn unsubscribed(&mut self, notice: &UnsubscribedView<'_>, turn: &mut dyn Turn) {
        let UnsubscribedView { channel, code, reason, .. } = *notice;
        let text = format!("unsubscribed {channel}: {} {reason}", code.number());
        fanfare_protocol::ws::send::write_text(&text, turn.private());
    }

    fn caught_up(&mut self, request: u32, turn: &mut dyn Turn) {
        fanfare_protocol::ws::send::write_text(&format!("{request}: caught up"), turn.private());
    }
}

impl Words {
    fn command(&self, line: &str, turn: &mut dyn Turn) {
        let words: Vec<&str> = line.split(' ').collect();
        let asked = match words[0] {
            "follow" => turn.follow(&from(&words[1..], Since::Now)),
            "again" => turn.follow(&from(&words[1..], Since::Earliest)),
            "back" => turn.follow(&back(&words[1..])),
            "say" => turn.publish(words[1], words[2].as_bytes()),
            "leave" => {
                let text = format!("left {}: {}", words[1], turn.unfollow(words[1]));
                return fanfare_protocol::ws::send::write_text(&text, turn.private());
            }
            "life" => {
                let text = self.lives[words[1]].to_string();
                return fanfare_protocol::ws::send::write_text(&text, turn.private());
            }
            "bye" => return turn.close(CloseCode::POLICY, "as you say"),
            other => panic!("{other}"),
        };
        match asked {
            Ok(request) if self.exact => {
                let text = format!("asked {request}: {line}");
                fanfare_protocol::ws::send::write_text(&text, turn.private());
            }
            Ok(_) => {}
            Err(unasked) => {
                fanfare_protocol::ws::send::write_text(&format!("{unasked:?}"), turn.private());
            }
        }
    }
}

/// Where a channel begins, and what its client missed of it.
fn exactly(followed: &Followed<'_>) -> String {
    let begins = format!("{}@{}", followed.channel, followed.next);
    match followed.gap {
        None => begins,
        Some(GapView { bounds: Some((from, to)), reason, .. }) => {
            format!("{begins} without {from}-{to}, {reason:?}")
        }
        Some(GapView { bounds: None, reason, .. }) => format!("{begins} without ?, {reason:?}"),
    }
}

/// Channels, each with the offset that the client had and the life that it belongs to.
fn back<'a>(words: &[&'a str]) -> Vec<ChannelToFollow<'a>> {
    let each = words.chunks(3).map(|channel| {
        let life = LifeId::parse(channel[2].as_bytes()).unwrap();
        ChannelToFollow::of(channel[0], Since::Offset(channel[1].parse().unwrap(), life))
    });
    each.collect()
}

/// Channels, each all in a word or with its view: `c1=red`.
fn from<'a>(words: &[&'a str], since: Since) -> Vec<ChannelToFollow<'a>> {
    let each = words.iter().map(|word| match word.split_once('=') {
        Some((channel, view)) => ChannelToFollow { channel, since, view: Some(view) },
        None => ChannelToFollow::of(word, since),
    });
    each.collect()
}

pub(super) fn shape() -> Shape {
    let machine = || Box::new(Words::default()) as Box<dyn Machine>;
    Shape { machines: Some(Arc::new(machine)), ..Shape::plain() }
}

/// What the peer has heard since it was last asked, as texts.
pub(super) fn heard(peer: &mut Peer, world: &World) -> Vec<String> {
    let before = peer.heard().count();
    peer.listen(world);
    let texts = peer.heard().skip(before);
    texts.map(|said| String::from_utf8(said.payload.clone()).unwrap()).collect()
}

/// Sends these lines, some in each message, and steps until they are answered.
pub(super) fn ask(peer: &mut Peer, world: &mut World, lines: &str) -> Vec<String> {
    let lines: Vec<&str> = lines.lines().collect();
    lines.chunks(3).for_each(|some| peer.say(world, 1, some.join("\n").as_bytes()));
    world.steps(8);
    heard(peer, world)
}

fn subscriptions(world: &World) -> [u64; 2] {
    [world.metrics.sequencer.subscriptions.read(), world.metrics.shards[0].subscriptions.read()]
}

/// As [`shape`], of clients that say more.
pub(super) fn exact_shape() -> Shape {
    let machine = || Box::new(Words::exact()) as Box<dyn Machine>;
    Shape { machines: Some(Arc::new(machine)), ..Shape::plain() }
}

#[test]
fn a_channel_that_is_added_begins_at_its_answer_and_ends_where_it_is_left() {
    let mut world = World::new(&shape());
    let mut speaker = Peer::follow(&mut world, RAW, &[0]);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let said = ask(&mut speaker, &mut world, "say c0 one\nsay c1 before\nsay c0 two");
    assert_eq!(said, ["1: at 1", "2: at 1", "3: at 2", "one", "two"]);
    assert_eq!(heard(&mut peer, &world), ["one", "two"]);
    // What it says is told to it before the first message of the channel.
    peer.say(&world, 1, b"follow c1 c2");
    speaker.say(&world, 1, b"say c1 before\nsay c2 x");
    world.steps(8);
    let said = heard(&mut peer, &world);
    assert_eq!(said[0], "1: following c1 c2");
    assert_eq!(subscriptions(&world), [4, 4]);
    world.invariants();
    heard(&mut speaker, &world);

    assert_eq!(ask(&mut peer, &mut world, "leave c1"), ["left c1: true"]);
    assert_eq!(subscriptions(&world), [3, 3]);
    ask(&mut speaker, &mut world, "say c1 unheard\nsay c2 heard\nsay c0 too");
    assert_eq!(heard(&mut peer, &world), ["heard", "too"], "in the order of positions");
    assert_eq!(ask(&mut peer, &mut world, "leave c1"), ["left c1: false"]);
    // The channel that the connection began with is left like any other, and may come back.
    assert_eq!(
        ask(&mut peer, &mut world, "leave c0\nfollow c0\nfollow c1"),
        ["left c0: true", "2: following c0", "3: following c1"]
    );
    ask(&mut speaker, &mut world, "say c0 again\nsay c1 and");
    assert_eq!(heard(&mut peer, &world), ["again", "and"]);
    // Its answer goes out before what history has for it.
    let said = ask(&mut peer, &mut world, "leave c2\nagain c2");
    assert_eq!(said, ["left c2: true", "4: following c2", "x", "heard"]);
    world.invariants();
}

/// What history has goes out though the machine has nothing to say.
#[test]
fn a_machine_need_not_say_that_a_channel_is_followed() {
    let machine = || Box::new(Words { quiet: true, ..Words::default() }) as Box<dyn Machine>;
    let mut world = World::new(&Shape { machines: Some(Arc::new(machine)), ..Shape::plain() });
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    assert_eq!(ask(&mut peer, &mut world, "say c1 one\nsay c1 two").len(), 2);
    assert_eq!(ask(&mut peer, &mut world, "again c1"), ["one", "two"]);
}

/// It is told after everything that was published before the answer.
#[test]
fn a_machine_may_be_told_when_its_client_has_caught_up() {
    let mut world = World::new(&exact_shape());
    let mut speaker = Peer::follow(&mut world, RAW, &[0]);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    ask(&mut speaker, &mut world, "say c1 one\nsay c1 two");
    // Nothing is taken until more was published behind the answer.
    world.nets[0].set_window(peer.client, 0);
    peer.say(&world, 1, b"again c1");
    world.steps(8);
    ask(&mut speaker, &mut world, "say c1 three\nsay c0 four");
    assert_eq!(heard(&mut peer, &world), [""; 0]);
    let mut said = Vec::new();
    for _ in 0..60 {
        world.nets[0].set_window(peer.client, 20); // a few bytes at a time
        world.steps(3);
        said.extend(heard(&mut peer, &world));
    }
    let place = |text: &str| said.iter().position(|said| said == text).expect(text);
    assert_eq!(said[..2], ["asked 1: again c1", "1: following c1@1"]);
    assert!(place("two") < place("1: caught up"), "{said:?}");
    assert!(place("one") < place("two") && place("three") < place("four"), "{said:?}");
    assert_eq!(said.len(), 7, "{said:?}");
    // Where there is nothing to catch up with it is told at once, and asks for nothing to be sent.
    let said = ask(&mut speaker, &mut world, "follow c3");
    assert_eq!(said.last().unwrap(), "5: caught up");
}

#[test]
fn a_client_has_caught_up_too_where_the_last_of_it_passes_in_silence() {
    let mut world = World::new(&exact_shape());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    // All that is kept excludes whoever asks for it.
    let except = Some((0, peer.client));
    for _ in 0..2 {
        world.publish_in(1, 10, Kind::Text, Manner { except, ..Manner::default() });
    }
    world.steps(8);
    let said = ask(&mut peer, &mut world, "again c1");
    assert_eq!(said, ["asked 1: again c1", "1: following c1@1", "1: caught up"]);
}

#[test]
fn many_requests_are_under_way_at_once_and_each_is_answered_by_its_number() {
    let mut world = World::new(&shape());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let commands: Vec<String> = (1..=40)
        .map(|nth| match nth % 2 {
            0 => format!("follow more{nth}"),
            _ => format!("say elsewhere text{nth}"),
        })
        .collect();
    let answers = ask(&mut peer, &mut world, &commands.join("\n"));
    let expected = (1..=40).map(|nth| match nth % 2 {
        0 => format!("{nth}: following more{nth}"),
        _ => format!("{nth}: at {}", nth / 2 + 1),
    });
    assert_eq!(answers, expected.collect::<Vec<_>>());
    assert_eq!(subscriptions(&world), [21, 21]);
    world.invariants();
    world.nets[0].reset(peer.client);
    world.steps(20);
    assert_eq!(subscriptions(&world), [0, 0]);
}

#[test]
fn what_is_left_before_its_answer_is_not_followed() {
    let mut world = World::new(&shape());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let said = ask(&mut peer, &mut world, "follow c1 c2\nleave c1\nfollow c3\nleave c3\nfollow c3");
    let expected = [
        "left c1: true",
        "left c3: true",
        "1: following c1 c2",
        "2: following c3",
        "3: following c3",
    ];
    assert_eq!(said, expected);
    assert_eq!(subscriptions(&world), [3, 3], "c0, c2, and c3 once");
    world.invariants();
    assert_eq!(ask(&mut peer, &mut world, "say c1 unheard\nsay c3 once").last().unwrap(), "once");
}

/// The answer to a session that is gone is an unsubscribe, whichever of its requests it was.
#[test]
fn who_is_gone_before_an_answer_follows_nothing() {
    let mut world = World::new(&shape());
    let peer = Peer::follow(&mut world, RAW, &[0]);
    peer.say(&world, 1, b"follow c1\nfollow c2");
    world.tick(0); // told of
    world.tick(0); // read, and asked
    world.nets[0].reset(peer.client);
    world.tick(0);
    world.tick(0);
    world.steps(20);
    assert_eq!(world.metrics.shards[0].connections.read(), 0);
    assert_eq!(subscriptions(&world), [0, 0]);
}

#[test]
fn what_may_not_be_asked_is_said_at_once() {
    let mut shape = shape();
    shape.limits = Limits { channels_per_connection: 3, message_bytes: 100, ..shape.limits };
    let mut world = World::new(&shape);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    for (line, expected) in [
        ("follow c0", "AlreadyFollowed"),
        ("follow c1 c1", "AlreadyFollowed"),
        ("follow c1 c2 c3", "TooManyChannels"),
        ("follow \u{1}", "BadChannel"),
        (&format!("say c0 {}", "long".repeat(26)), "MessageTooLong"),
    ] {
        assert_eq!(ask(&mut peer, &mut world, line), [expected], "{line}");
    }
    assert_eq!(subscriptions(&world), [1, 1], "nothing came of any");
    let many = vec!["say elsewhere x"; 300].join("\n");
    let said = ask(&mut peer, &mut world, &many);
    let refused = said.iter().filter(|text| *text == "TooManyRequests").count();
    assert_eq!(refused, 300 - 256);
    world.steps(40);
    let answered = said.len() - refused + heard(&mut peer, &world).len();
    assert_eq!(answered, 256, "each of the others has its answer");
}

#[test]
fn a_machine_may_close() {
    let mut world = World::new(&shape());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let said = ask(&mut peer, &mut world, "leave c0\nbye");
    assert_eq!(said, ["left c0: true"], "what it wrote before goes out");
    assert_eq!(peer.said.last(), Some(&Said::Close(1008)));
    assert_eq!(subscriptions(&world), [0, 0]);
    assert_eq!(world.metrics.shards[0].protocol_faults.read(), 0, "it is no fault");
    assert_eq!(channel_name(0), "c0");
}

/// What was refused may be asked for again, and what was left of it is nothing.
#[test]
fn a_refused_follow_leaves_nothing_behind() {
    let mut shape = shape();
    shape.limits = Limits { followed_channels: 2, ..shape.limits };
    let mut world = World::new(&shape);
    let mut first = Peer::follow(&mut world, RAW, &[0]);
    let mut second = Peer::follow(&mut world, RAW, &[1]);
    for request in [1, 2] {
        let said = ask(&mut first, &mut world, "follow c2");
        assert_eq!(said, [format!("{request}: FollowedLimit")], "two are followed");
    }
    assert_eq!(ask(&mut second, &mut world, "leave c1"), ["left c1: true"]);
    assert_eq!(ask(&mut first, &mut world, "follow c2"), ["3: following c2"]);
    assert_eq!(
        ask(&mut first, &mut world, "leave c2\nfollow c1"),
        ["left c2: true", "4: following c1"]
    );
    assert_eq!(subscriptions(&world), [2, 2]);
    world.invariants();
}

#[test]
fn what_waits_to_be_published_is_paid_for_out_of_the_budget_of_bodies() {
    let mut shape = shape();
    shape.limits = Limits { bodies_bytes: 300, ..shape.limits }; // strangers have half
    let mut world = World::new(&shape);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let say = format!("say elsewhere {}", "x".repeat(100));
    peer.say(&world, 1, say.as_bytes());
    peer.say(&world, 1, say.as_bytes());
    assert_eq!(ask(&mut peer, &mut world, ""), ["Busy", "1: at 1"]);
    assert_eq!(ask(&mut peer, &mut world, &say), ["2: at 2"], "it is given back");
}
