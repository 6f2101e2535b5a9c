//! Clients apart from their sockets: one client over many requests on several shards, that are
//! held, bring something, end, are lost and come twice.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::message::Kind;
use serde_json::Value;

use super::lines::{Lines, Talk};
use super::world::{Shape, World};
use crate::driver::sim::{Chance, Client, Standing, Temper};
use crate::limits::Limits;
use crate::session_id::SessionId;

/// A world whose shards hand sockets to one another.
pub(super) fn shape(shards: usize) -> Shape {
    let machine = || Box::new(Talk::default()) as Box<dyn Machine>;
    let (machines, door) = (Some(Arc::new(machine) as _), Some(Arc::new(Lines) as _));
    Shape { shards, machines, door, ..Shape::plain() }
}

/// One request and what came of it.
pub(super) struct Asked {
    shard: usize,
    pub(super) client: Client,
    bytes: Vec<u8>,
    /// The head of the answer, which was taken, and whether it comes in chunks.
    pub(super) head: String,
    chunked: bool,
    pub(super) status: Option<u16>,
    length: usize,
    pub(super) body: String,
    pub(super) ended: bool,
}

impl Asked {
    pub(super) fn new(world: &World, shard: usize, request: &str) -> Self {
        let client = world.nets[shard].connect();
        let mut asked = Self {
            shard,
            client,
            bytes: Vec::new(),
            head: String::new(),
            chunked: false,
            status: None,
            length: 0,
            body: String::new(),
            ended: false,
        };
        asked.again(world, request);
        asked
    }

    /// Another request on the same socket.
    pub(super) fn again(&mut self, world: &World, request: &str) {
        self.hear(world); // what is left of the answer before
        (self.chunked, self.status, self.ended) = (false, None, false);
        self.body.clear();
        world.nets[self.shard].write(self.client, request.as_bytes());
    }

    pub(super) fn hold(world: &World, shard: usize, id: Option<&str>, wait: Option<u64>) -> Self {
        Self::new(world, shard, &get(id, wait))
    }

    pub(super) fn bring(world: &World, shard: usize, id: &str, lines: &str) -> Self {
        Self::new(world, shard, &post(id, lines))
    }

    /// What is there after so many steps.
    pub(super) fn heard_in(&mut self, world: &mut World, steps: usize) -> Vec<String> {
        world.steps(steps);
        self.hear(world)
    }

    /// Takes what is there. The texts of whole events.
    pub(super) fn hear(&mut self, world: &World) -> Vec<String> {
        self.bytes.extend(world.nets[self.shard].take(self.client));
        self.read();
        if self.ended && self.status == Some(200) && !self.chunked {
            return self.told();
        }
        let mut events = Vec::new();
        while self.chunked
            && let Some(end) = self.body.find("\n\n")
        {
            let event: String = self.body.drain(..end + 2).collect();
            events.extend(event.lines().find_map(|line| Some(line.strip_prefix("data: ")?.into())));
        }
        events
    }

    /// Takes what is told in an answer with a length, where it is a list.
    fn told(&mut self) -> Vec<String> {
        let Ok(list) = serde_json::from_str::<Vec<Value>>(&self.body) else { return Vec::new() };
        self.body.clear();
        self.length = 0;
        let text = |it: &Value| it["text"].as_str().map_or_else(|| it.to_string(), Into::into);
        list.iter().map(text).collect()
    }

    fn read(&mut self) {
        if self.status.is_none() {
            let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            let head = String::from_utf8(self.bytes.drain(..end + 4).collect()).unwrap();
            self.status = Some(head[9..12].parse().unwrap());
            self.chunked = head.contains("\r\nTransfer-Encoding: chunked\r\n");
            let length = head.split_once("Content-Length: ").map(|(_, rest)| rest);
            let length = length.and_then(|rest| rest.split_once("\r\n"));
            self.length = length.map_or(0, |(length, _)| length.parse().unwrap());
            self.head = head;
        }
        if !self.chunked {
            let body = self.length - self.body.len();
            let body: Vec<u8> = self.bytes.drain(..body.min(self.bytes.len())).collect();
            self.body.push_str(std::str::from_utf8(&body).unwrap());
            self.ended = self.body.len() == self.length;
            return;
        }
        while let Some(line) = self.bytes.windows(2).position(|two| two == b"\r\n") {
            let digits = std::str::from_utf8(&self.bytes[..line]).unwrap();
            let length = usize::from_str_radix(digits, 16).unwrap();
            let Some(chunk) = self.bytes.get(line + 2..line + 4 + length) else { return };
            self.body.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            self.ended |= length == 0;
            self.bytes.drain(..line + 4 + length);
        }
    }

    pub(super) fn standing(&self, world: &World) -> Standing {
        world.nets[self.shard].standing(self.client)
    }
}

pub(super) fn get(id: Option<&str>, wait: Option<u64>) -> String {
    let id = id.map_or_else(String::new, |id| format!("/{id}"));
    let wait = wait.map_or_else(String::new, |wait| format!("?wait={wait}"));
    format!("GET /lines{id}{wait} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(id: &str, lines: &str) -> String {
    let length = lines.len();
    format!(
        "POST /lines/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{lines}"
    )
}

/// A client that has begun on a shard, and its first request.
pub(super) fn begin(world: &mut World, shard: usize, wait: Option<u64>) -> (String, Asked) {
    let mut asked = Asked::hold(world, shard, None, wait);
    world.steps(8);
    let said = asked.hear(world);
    let id = said[0].strip_prefix("session ").expect("it learns what it is called").to_owned();
    assert_eq!((said.len(), asked.status), (1, Some(200)));
    assert_eq!(usize::from(SessionId::parse(&id).unwrap().shard), shard);
    (id, asked)
}

pub(super) fn numbers(said: &[String]) -> Vec<u64> {
    let number = |text: &String| text.split_once("#n")?.1.split_once(';')?.0.parse().ok();
    said.iter().filter_map(number).collect()
}

/// Nothing is left when everybody has gone and the time of those who wait is over.
pub(super) fn is_empty_in_the_end(world: &mut World) {
    world.nets[0].reset_all();
    world.pass(100_000);
    world.is_empty();
    assert_eq!(world.life.detached.load(Relaxed), 0);
}

/// A GET is held on one shard, a POST comes to another.
#[test]
fn what_another_shard_is_told_comes_to_the_session() {
    for (held, brought) in [(0, 1), (1, 0), (2, 2)] {
        let mut world = World::new(&shape(3));
        let (id, mut stream) = begin(&mut world, held, None);
        let mut post = Asked::bring(&world, brought, &id, "follow c0\nfollow c1");
        world.steps(12);
        post.hear(&world);
        assert_eq!((post.status, &*post.body), (Some(200), "ok\n"));
        assert_eq!(stream.hear(&world), ["following c0@1", "following c1@1"]);
        for channel in [0, 1, 0] {
            world.publish(channel, 10, Kind::Text);
            world.steps(3);
        }
        assert_eq!(numbers(&stream.hear(&world)), [1, 2, 3]);
        world.invariants();
        // The same socket brings the next.
        post.again(&world, &self::post(&id, "say c1 #n4;"));
        world.steps(12);
        assert_eq!(stream.hear(&world).len(), 2, "its place, and the message");
        post.again(&world, &self::post(&id, "bye"));
        world.steps(12);
        stream.hear(&world);
        assert!(stream.ended && stream.standing(&world) == Standing::Ended);
        post.again(&world, &self::post(&id, "follow c2"));
        world.steps(12);
        post.hear(&world);
        assert!(post.status == Some(410) && post.body.contains("session_gone"), "{}", post.body);
        is_empty_in_the_end(&mut world);
    }
}

/// One request after the other, each on another shard than the session.
#[test]
fn a_request_is_held_where_its_session_is() {
    let mut world = World::new(&shape(3));
    let (id, mut first) = begin(&mut world, 0, Some(25));
    assert!(first.ended, "it was told something");
    Asked::bring(&world, 0, &id, "follow c0");
    world.steps(12);
    let mut heard = Vec::new();
    let mut polls: Vec<Asked> = (1..3).map(|shard| Asked::new(&world, shard, "")).collect();
    for round in 0..6 {
        let poll = if round == 0 { &mut first } else { &mut polls[round % 2] };
        poll.again(&world, &get(Some(&id), Some(25)));
        world.steps(10);
        if round > 0 {
            assert_eq!(poll.hear(&world), [""; 0], "it waits");
            world.publish(0, 10, Kind::Text);
            world.steps(6);
        }
        heard.extend(poll.hear(&world));
        let answer = (poll.status, &poll.body, heard.last());
        assert!(poll.ended && poll.status == Some(200), "round {round}: {answer:?}");
        assert_eq!(poll.standing(&world), Standing::Open, "it is kept for the next request");
    }
    assert_eq!((&*heard[0], numbers(&heard)), ("following c0@1", vec![1, 2, 3, 4, 5]));
    assert_eq!(world.nets[0].open(), 4, "all sockets are the session's shard's");
    world.invariants();
    is_empty_in_the_end(&mut world);
}

#[test]
fn a_poll_that_waits_in_vain_ends_in_its_time() {
    let mut world = World::new(&shape(2));
    let (id, _) = begin(&mut world, 0, Some(1));
    let mut poll = Asked::hold(&world, 1, Some(&id), Some(20));
    world.pass(19_000);
    assert_eq!((poll.hear(&world).len(), poll.ended), (0, false));
    world.pass(2_000);
    assert_eq!((poll.hear(&world).len(), poll.ended), (0, true));
    // A stream is told that we are there.
    let mut stream = Asked::hold(&world, 1, Some(&id), None);
    world.pass(16_000);
    stream.hear(&world);
    assert!(stream.body.contains(':') && !stream.ended, "{}", stream.body);
    is_empty_in_the_end(&mut world);
}

/// Over a socket over which nothing went nothing is lost; over any other nobody knows.
#[test]
fn a_session_outlives_its_socket_where_nothing_went_over_it() {
    for said in [false, true] {
        let mut world = World::new(&shape(2));
        let (id, _) = begin(&mut world, 0, Some(25));
        Asked::bring(&world, 1, &id, "follow c0");
        let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
        world.steps(12);
        assert_eq!(poll.hear(&world), ["following c0@1"]);
        let lost = Asked::hold(&world, 1, Some(&id), None);
        world.steps(10);
        if said {
            world.publish(0, 10, Kind::Text);
            world.steps(4);
        }
        world.nets[1].reset(lost.client);
        world.steps(4);
        world.publish(0, 10, Kind::Text);
        world.steps(4);
        let mut next = Asked::hold(&world, 1, Some(&id), Some(25));
        world.steps(12);
        let heard = next.hear(&world);
        match said {
            false => assert_eq!((numbers(&heard), next.status), (vec![1], Some(200))),
            true => assert_eq!(next.status, Some(410)),
        }
        is_empty_in_the_end(&mut world);
    }
}

#[test]
fn of_two_requests_at_once_the_later_is_held() {
    for shards in [[0, 0], [1, 1], [0, 1], [1, 0]] {
        let mut world = World::new(&shape(2));
        let (id, _) = begin(&mut world, 0, Some(25));
        let [mut one, mut other] =
            shards.map(|shard| Asked::hold(&world, shard, Some(&id), Some(25)));
        Asked::bring(&world, 1, &id, "follow c0");
        world.steps(12);
        let heard = [one.hear(&world), other.hear(&world)].concat();
        assert_eq!(heard, ["following c0@1"]);
        assert!(one.ended && other.ended, "neither waits for ever");
        is_empty_in_the_end(&mut world);
    }
}

#[test]
fn who_does_not_know_the_whole_id_is_told_that_there_is_no_such_session() {
    let mut world = World::new(&shape(2));
    let (id, _) = begin(&mut world, 0, None);
    let [guessed, of_another] = [0, 1].map(|shard| {
        let place = SessionId::parse(&id).unwrap().place;
        SessionId::new(shard, place).unwrap().to_string()
    });
    for wrong in [&*guessed, &*of_another, "nonsense", &id.replacen("00", "3f", 1)] {
        for shard in [0, 1] {
            let mut held = Asked::hold(&world, shard, Some(wrong), None);
            let mut brought = Asked::bring(&world, shard, wrong, "bye");
            world.steps(12);
            held.hear(&world);
            brought.hear(&world);
            assert_eq!((held.status, brought.status), (Some(410), Some(410)), "{wrong}");
            assert!(held.body.contains("begin a new one"), "{}", held.body);
        }
    }
    world.pass(2_000);
    assert_eq!(world.metrics.shards[0].connections.read(), 2, "the session and its socket");
    is_empty_in_the_end(&mut world);
}

/// What is brought to one that takes nothing is not taken beyond a bound.
#[test]
fn a_session_that_nobody_listens_to_takes_no_more() {
    let mut world = World::new(&shape(2));
    let (id, _) = begin(&mut world, 0, Some(25));
    let mut taken = Asked::bring(&world, 1, &id, "fill");
    world.steps(12);
    taken.hear(&world);
    let mut full = Asked::bring(&world, 1, &id, "fill");
    world.steps(12);
    full.hear(&world);
    assert_eq!((taken.status, full.status), (Some(200), Some(503)));
    assert!(full.body.contains("session_full"), "{}", full.body);
    let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
    world.steps(12);
    assert_eq!(poll.hear(&world)[0].len(), 8 << 10);
    let mut again = Asked::bring(&world, 1, &id, "follow c0");
    world.steps(12);
    again.hear(&world);
    assert_eq!(again.status, Some(200));
    is_empty_in_the_end(&mut world);
}

#[test]
fn sessions_without_a_socket_are_bounded_in_number_and_time() {
    let mut shape = shape(2);
    shape.limits = Limits { detached_sessions: 2, detached_ms: 10_000, ..shape.limits };
    let mut world = World::new(&shape);
    let ids: Vec<String> = (0..4).map(|nth| begin(&mut world, nth % 2, Some(25)).0).collect();
    assert_eq!(world.life.detached.load(Relaxed), 2);
    let mut polls: Vec<Asked> =
        ids.iter().map(|id| Asked::hold(&world, 0, Some(id), Some(25))).collect();
    world.steps(12);
    let mut statuses = |world: &World| {
        let status = |poll: &mut Asked| {
            poll.hear(world);
            poll.status
        };
        polls.iter_mut().map(status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&world), [None, None, Some(410), Some(410)], "who is left waits");
    world.pass(26_000);
    assert_eq!(statuses(&world), [Some(200), Some(200), Some(410), Some(410)]);
    world.pass(9_000);
    assert_eq!(world.life.detached.load(Relaxed), 2);
    world.pass(2_000);
    assert_eq!(world.life.detached.load(Relaxed), 0, "nobody came for them");
    is_empty_in_the_end(&mut world);
}

/// A session is a connection like any other where they are counted.
#[test]
fn a_session_counts_as_a_connection() {
    let mut shape = shape(1);
    shape.limits = Limits { connections: 3, ..shape.limits };
    let mut world = World::new(&shape);
    let _first = begin(&mut world, 0, None);
    let mut second = Asked::hold(&world, 0, None, None);
    world.steps(8);
    second.hear(&world);
    assert_eq!(second.status, Some(503), "its socket would have room, it has none");
    is_empty_in_the_end(&mut world);
}

/// Whatever becomes of the node while a socket is on its way, its client is told.
#[test]
fn a_socket_on_its_way_is_never_lost_without_a_word() {
    for steps in 0..10 {
        for lost in [false, true] {
            let mut world = World::new(&shape(2));
            let (id, mut stream) = begin(&mut world, 0, None);
            let mut moving = Asked::hold(&world, 1, Some(&id), Some(25));
            let mut brought = Asked::bring(&world, 1, &id, "follow c0");
            world.steps(steps);
            match lost {
                true => world.life.lose_order(),
                false => {
                    let _ = world.node.inbox().offer(crate::sequencer::command::Command::Shutdown);
                }
            }
            for _ in 0..40 {
                if lost {
                    (0..2).for_each(|shard| world.tick(shard)); // the order stands still
                } else {
                    world.step();
                }
            }
            let heard = [stream.hear(&world), moving.hear(&world)].concat();
            brought.hear(&world);
            let after = format!("after {steps} steps, lost {lost}: {heard:?}");
            let is_told = |asked: &Asked, world: &World| {
                // Who was accepted and not yet read is let go as ever.
                let unread = [Standing::Waiting, Standing::Ended];
                asked.status.is_some() || steps < 4 && unread.contains(&asked.standing(world))
            };
            assert!(is_told(&brought, &world), "{after}");
            assert!(is_told(&moving, &world) || lost, "{after}");
            if steps >= 4 {
                // What still waits for an order that was lost goes with the node.
                let (net, client) = (world.nets[1].clone(), moving.client);
                drop(world);
                moving.bytes.extend(net.take(client));
                moving.read();
                assert!(moving.status.is_some(), "{after}");
            }
        }
    }
}

/// No place is free where it is to be held.
#[test]
fn a_shard_that_is_full_says_so() {
    let mut shape = shape(2);
    shape.capacity = (8, 2);
    let mut world = World::new(&shape);
    let (id, _stream) = begin(&mut world, 0, None);
    let _other = Asked::hold(&world, 0, None, None);
    world.steps(8);
    let mut moving = Asked::hold(&world, 1, Some(&id), None);
    world.steps(12);
    moving.hear(&world);
    assert_eq!((moving.status, moving.standing(&world)), (Some(503), Standing::Ended));
    world.invariants();
    is_empty_in_the_end(&mut world);
}

/// A client of the chaos, which may do anything with its sockets.
struct Wanderer {
    id: Option<String>,
    held: Vec<Asked>,
    brought: Vec<Asked>,
    /// The next message of each channel, where it follows that.
    next: [Option<u64>; 2],
    wanted: [bool; 2],
    heard: usize,
    lives: usize,
}

impl Wanderer {
    fn new() -> Self {
        let (held, brought) = (Vec::new(), Vec::new());
        Self { id: None, held, brought, next: [None; 2], wanted: [false; 2], heard: 0, lives: 0 }
    }

    fn begin_anew(&mut self) {
        (self.id, self.next, self.wanted) = (None, [None; 2], [false; 2]);
        self.held.clear();
        self.lives += 1;
    }

    fn hear(&mut self, world: &World) {
        let mut gone = false;
        for nth in 0..self.held.len() {
            let said = self.held[nth].hear(world);
            said.iter().for_each(|said| self.note(said));
            let asked = &self.held[nth];
            gone |= asked.status.is_some_and(|status| status != 200);
            // What was on its way over one that failed may be lost.
            gone |= !asked.ended && asked.standing(world) == Standing::Reset;
        }
        self.held.retain(|asked| !asked.ended && asked.standing(world) != Standing::Ended);
        for asked in &mut self.brought {
            asked.hear(world);
            gone |= asked.status == Some(410);
        }
        self.brought.retain(|asked| asked.status.is_none());
        if gone {
            self.begin_anew();
        }
    }

    fn note(&mut self, said: &str) {
        if let Some(id) = said.strip_prefix("session ") {
            self.id = Some(id.to_owned());
        } else if let Some(place) = said.strip_prefix("following c") {
            let (channel, next) = place.split_once('@').unwrap();
            self.next[channel.parse::<usize>().unwrap()] = Some(next.parse().unwrap());
        } else if said.starts_with('{') {
            let said: Value = serde_json::from_str(said).unwrap();
            let Some(offset) = said["offset"].as_u64() else { return };
            let channel: usize = said["channel"].as_str().unwrap()[1..].parse().unwrap();
            let id = &self.id;
            let next = self.next[channel].as_mut().unwrap_or_else(|| panic!("{said} to {id:?}"));
            assert_eq!(offset, *next, "each message of c{channel} once and in order");
            *next += 1;
            self.heard += 1;
        }
    }

    fn act(&mut self, world: &World, chance: &mut Chance) {
        let shard = chance.below(world.nets.len());
        let wait = [None, Some(1), Some(25)][chance.below(3)];
        match (&self.id, chance.below(12)) {
            (None, _) if self.held.is_empty() => {
                self.held.push(Asked::hold(world, shard, None, wait));
            }
            (None, _) => {}
            (Some(id), 0..=3) if self.held.is_empty() => {
                self.held.push(Asked::hold(world, shard, Some(id), wait));
            }
            (Some(id), 4) => self.held.push(Asked::hold(world, shard, Some(id), wait)),
            (Some(id), 5 | 6) if self.brought.is_empty() => {
                let channel = chance.below(2);
                if !std::mem::replace(&mut self.wanted[channel], true) {
                    let line = format!("follow c{channel}");
                    self.brought.push(Asked::bring(world, shard, id, &line));
                }
            }
            (Some(_), 7) if !self.held.is_empty() => {
                let mut lost = self.held.swap_remove(chance.below(self.held.len()));
                lost.bytes.extend(world.nets[lost.shard].take(lost.client));
                world.nets[lost.shard].reset(lost.client);
                // Where something was lost with it, it cannot go on.
                if !lost.bytes.is_empty() || !lost.body.is_empty() {
                    self.begin_anew();
                }
            }
            _ => {}
        }
    }
}

#[test]
fn sim_wanderers_get_each_message_once_whatever_becomes_of_their_sockets() {
    let (mut heard, mut lives) = (0, 0);
    for seed in 1..30 {
        let mut chance = Chance::new(seed);
        let temper = [Temper::HONEST, Temper::LIAR][chance.below(2)];
        let temper = Temper { fail: [0, 2][chance.below(2)], ..temper };
        let mut shape = Shape { seed, temper, ..shape(1 + chance.below(4)) };
        shape.limits.detached_ms = 5_000;
        let mut world = World::new(&shape);
        let mut wanderers: Vec<Wanderer> = (0..4).map(|_| Wanderer::new()).collect();
        for _ in 0..300 {
            for wanderer in &mut wanderers {
                wanderer.act(&world, &mut chance);
            }
            if chance.below(3) == 0 {
                world.publish(chance.below(2), 10, Kind::Text);
            }
            if chance.below(20) == 0 {
                world.pass(400);
            }
            world.step();
            wanderers.iter_mut().for_each(|wanderer| wanderer.hear(&world));
            world.invariants();
        }
        for wanderer in &wanderers {
            heard += wanderer.heard;
            lives += wanderer.lives;
        }
        world.nets[0].set_temper(Temper::HONEST);
        is_empty_in_the_end(&mut world);
    }
    assert!(heard > 1_000 && lives > 25, "the wanderers are not idle: {heard} {lives}");
}
