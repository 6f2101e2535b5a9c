//! A client that was told by polls until a WebSocket comes for it, knocks, and takes it over.

use std::collections::VecDeque;

use fanfare_protocol::message::Kind;
use serde_json::Value;

use super::held::{Asked, get, is_empty_in_the_end, numbers, shape};
use super::polled::{follower, publish};
use super::wire::masked;
use super::world::{Shape, World};
use crate::driver::sim::{Chance, Client, Standing, Temper};
use crate::limits::Limits;
use crate::sequencer::command::Command;

/// A WebSocket that has come for a client.
struct Knocking {
    shard: usize,
    client: Client,
    bytes: VecDeque<u8>,
    head: String,
}

impl Knocking {
    fn new(world: &World, shard: usize, id: &str, behind: &[u8]) -> Self {
        let client = world.nets[shard].connect();
        let head = format!(
            "GET /lines/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        world.nets[shard].write(client, &[head.as_bytes(), behind].concat());
        Self { shard, client, bytes: VecDeque::new(), head: String::new() }
    }

    fn say(&self, world: &World, text: &str) {
        world.nets[self.shard].write(self.client, &masked(1, text.as_bytes()));
    }

    /// Takes what is there: the texts of whole frames, and of a close its code.
    fn hear(&mut self, world: &World) -> Vec<String> {
        self.bytes.extend(world.nets[self.shard].take(self.client));
        let bytes = self.bytes.make_contiguous();
        if self.head.is_empty() {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Vec::new();
            };
            let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
            self.head = String::from_utf8(head).unwrap();
        }
        let mut texts = Vec::new();
        while self.head.starts_with("HTTP/1.1 101 ") {
            let bytes = self.bytes.make_contiguous();
            let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { break };
            let (start, length) = match second {
                126 if bytes.len() < 4 => break,
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                length => (2, usize::from(length)),
            };
            let Some(payload) = bytes.get(start..start + length) else { break };
            texts.push(match first {
                0x81 => text(payload),
                0x88 => format!("closed {}", u16::from_be_bytes([payload[0], payload[1]])),
                0x89 => "ping".into(),
                other => format!("{other:#x}"),
            });
            self.bytes.drain(..start + length);
        }
        texts
    }

    fn status(&self) -> &str {
        self.head.get(9..12).unwrap_or_default()
    }

    fn standing(&self, world: &World) -> Standing {
        world.nets[self.shard].standing(self.client)
    }
}

fn text(payload: &[u8]) -> String {
    let said: Value = serde_json::from_slice(payload).unwrap();
    said["text"].as_str().map_or_else(|| said.to_string(), Into::into)
}

/// As clients of such protocols do it: probe, leave off polling, come.
#[test]
fn a_socket_takes_over_a_client_that_has_left_off_polling() {
    for (polled, knocks) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new(&shape(2));
        let id = follower(&mut world);
        let mut poll = Asked::hold(&world, polled, Some(&id), Some(25));
        world.steps(12);
        assert_eq!((poll.hear(&world).len(), poll.status), (0, None), "it waits");
        let mut socket = Knocking::new(&world, knocks, &id, b"");
        world.steps(12);
        assert_eq!((socket.hear(&world).len(), socket.status()), (0, "101"));
        assert_eq!((poll.hear(&world).len(), poll.ended, poll.status), (0, true, Some(200)));
        assert_eq!(poll.standing(&world), Standing::Open, "its connection stays");
        socket.say(&world, "probe");
        world.steps(4);
        assert_eq!(socket.hear(&world), ["probed"]);
        // Who asks once more is not kept waiting, and has what there is.
        for count in [0, 1] {
            publish(&mut world, count);
            let mut again = Asked::hold(&world, polled, Some(&id), Some(25));
            world.steps(12);
            assert_eq!(numbers(&again.hear(&world)).len(), count);
            assert!(again.ended);
        }
        Asked::bring(&world, polled, &id, "what");
        publish(&mut world, 2);
        world.steps(12);
        assert_eq!(socket.hear(&world), [""; 0], "it is not the client's yet");
        socket.say(&world, "come");
        socket.say(&world, "follow c1");
        world.steps(12);
        publish(&mut world, 1);
        world.publish(1, 10, Kind::Text);
        world.steps(6);
        let told = socket.hear(&world);
        assert_eq!(told[..1], ["what is what"]);
        assert!(told.contains(&"following c1@1".into()), "{told:?}");
        assert_eq!(numbers(&told), [2, 3, 4, 5]);
        world.invariants();

        let mut late = Asked::hold(&world, 1, Some(&id), Some(25));
        let mut brought = Asked::bring(&world, 1, &id, "bye");
        let mut other = Knocking::new(&world, 1, &id, b"");
        world.steps(12);
        late.hear(&world);
        brought.hear(&world);
        other.hear(&world);
        assert_eq!((late.status, brought.status), (Some(409), Some(410)));
        assert_eq!(other.status(), "409");
        world.pass(26_000);
        assert_eq!(socket.hear(&world), ["ping"], "it is a WebSocket like any other");
        world.nets[knocks].write(socket.client, &masked(10, b""));
        socket.say(&world, "bye");
        world.steps(6);
        assert_eq!(socket.hear(&world), ["closed 1000"]);
        is_empty_in_the_end(&mut world);
    }
}

/// However what it says is cut, and before its own answer: each message comes once, in order.
#[test]
fn what_a_socket_says_is_the_same_however_it_is_cut() {
    let said = [masked(1, b"probe"), masked(1, b"come"), masked(1, b"say c1 x")].concat();
    let told = |cut: usize, at_once: bool| {
        let mut world = World::new(&shape(2));
        let id = follower(&mut world);
        publish(&mut world, 2);
        let (first, rest) = said.split_at(cut);
        let mut socket = Knocking::new(&world, 1, &id, if at_once { first } else { b"" });
        world.steps(12);
        if !at_once {
            world.nets[1].write(socket.client, first);
            world.steps(3);
        }
        world.nets[1].write(socket.client, rest);
        world.steps(12);
        publish(&mut world, 1);
        world.invariants();
        socket.hear(&world)
    };
    let whole = told(said.len(), true);
    assert_eq!(whole[0], "probed");
    assert_eq!(numbers(&whole), [1, 2, 3]);
    assert!(whole.contains(&"at 1".into()) && whole.len() == 5, "{whole:?}");
    for cut in 0..said.len() {
        for at_once in [false, true] {
            let cut_told = told(cut, at_once);
            assert_eq!(numbers(&cut_told), numbers(&whole), "cut at {cut}: {cut_told:?}");
            assert_eq!(cut_told.len(), whole.len(), "cut at {cut}: {cut_told:?}");
        }
    }
}

#[test]
fn a_socket_that_does_not_come_leaves_the_client_to_its_polls() {
    let mut world = World::new(&shape(2));
    let id = follower(&mut world);
    let mut socket = Knocking::new(&world, 1, &id, b"");
    world.steps(12);
    let mut second = Knocking::new(&world, 0, &id, b"");
    world.steps(12);
    socket.hear(&world);
    second.hear(&world);
    assert_eq!((socket.status(), second.status()), ("101", "409"), "one at a time");
    world.pass(Limits::default().head_ms - 1_000);
    assert_eq!(socket.hear(&world), [""; 0]);
    world.pass(2_000);
    assert_eq!(socket.hear(&world), ["closed 1008"], "it took too long");
    for (says, end) in [("nonsense", "closed 1008"), ("", "")] {
        let mut socket = Knocking::new(&world, 1, &id, b"");
        world.steps(12);
        match says {
            "" => world.nets[1].reset(socket.client),
            says => socket.say(&world, says),
        }
        world.steps(6);
        assert_eq!(socket.hear(&world).concat(), end);
    }
    let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
    world.steps(12);
    assert_eq!((poll.hear(&world).len(), poll.status), (0, None), "it waits again");
    publish(&mut world, 1);
    assert_eq!(numbers(&poll.hear(&world)), [1]);

    // With its session it ends, too.
    let socket = Knocking::new(&world, 1, &id, b"");
    world.steps(12);
    Asked::bring(&world, 0, &id, "bye");
    world.steps(12);
    assert_eq!(socket.standing(&world), Standing::Ended);
    is_empty_in_the_end(&mut world);
}

/// A part of an answer is on its way to a poll: what comes over the socket might come before it.
#[test]
fn a_client_that_comes_in_the_middle_of_an_answer_begins_anew() {
    let mut world = World::new(&shape(1));
    let id = follower(&mut world);
    publish(&mut world, 3);
    let poll = Asked::hold(&world, 0, Some(&id), Some(25));
    world.nets[0].set_window(poll.client, 100);
    world.steps(8);
    let mut socket = Knocking::new(&world, 0, &id, &masked(1, b"come"));
    world.steps(12);
    assert_eq!(numbers(&socket.hear(&world)), [0; 0]);
    assert_eq!(socket.standing(&world), Standing::Ended);
    let mut next = Asked::hold(&world, 0, Some(&id), Some(25));
    world.steps(12);
    next.hear(&world);
    assert_eq!(next.status, Some(410));
    is_empty_in_the_end(&mut world);
}

#[test]
fn who_knocks_and_who_has_come_are_told_of_the_end() {
    let mut world = World::new(&shape(2));
    let ids = [follower(&mut world), follower(&mut world)];
    let come = masked(1, b"come");
    let mut sockets =
        [Knocking::new(&world, 1, &ids[0], b""), Knocking::new(&world, 1, &ids[1], &come)];
    world.steps(12);
    publish(&mut world, 1);
    let _ = world.node.inbox().offer(Command::Shutdown);
    world.steps(12);
    let told = sockets.each_mut().map(|socket| socket.hear(&world));
    assert_eq!(told[0], ["closed 1012"]);
    assert_eq!((numbers(&told[1]), &*told[1][1]), (vec![1], "closed 1012"));
}

/// Under chance, with drivers that lie: polls, a socket in between, and each message once.
#[test]
fn sim_a_client_misses_nothing_on_its_way_from_polls_to_a_socket() {
    let mut over_sockets = 0;
    for seed in 1..40 {
        let mut chance = Chance::new(seed);
        let temper = [Temper::HONEST, Temper::LIAR][chance.below(2)];
        let temper = Temper { fail: 0, ..temper };
        let mut world = World::new(&Shape { seed, ..shape(1 + chance.below(3)) });
        let shards = world.nets.len();
        let (id, _) = super::held::begin(&mut world, chance.below(shards), Some(25));
        Asked::bring(&world, chance.below(shards), &id, "follow c0");
        world.steps(12);
        world.nets[0].set_temper(temper);
        let (mut heard, mut poll, mut socket) = (Vec::new(), None::<Asked>, None::<Knocking>);
        let (mut has_come, mut published, mut idle) = (false, 0, None::<Asked>);
        for step in 0..500 {
            if step < 400 && chance.below(4) == 0 {
                world.publish(0, 10, Kind::Text);
                published += 1;
            }
            world.step();
            let shard = chance.below(shards);
            match &mut poll {
                Some(asked) => {
                    heard.extend(numbers(&asked.hear(&world)));
                    // Where its socket could not be moved it asks again.
                    let is_fine = matches!(asked.status, None | Some(200 | 503));
                    assert!(is_fine, "{seed}: {}", asked.body);
                    if asked.ended {
                        idle = poll.take().filter(|asked| asked.status == Some(200));
                    }
                }
                None if socket.as_ref().is_none_or(|it| it.status() != "101")
                    || chance.below(3) == 0 && !has_come =>
                {
                    let request = get(Some(&id), Some(25));
                    let mut next = idle.take().filter(|_| chance.below(9) > 0);
                    match &mut next {
                        Some(asked) => asked.again(&world, &request),
                        None => next = Some(Asked::new(&world, shard, &request)),
                    }
                    poll = next;
                }
                None if !has_come => {
                    socket.as_ref().unwrap().say(&world, "come");
                    has_come = true;
                }
                None => {}
            }
            if socket.is_none() && step > 100 && chance.below(20) == 0 {
                socket = Some(Knocking::new(&world, shard, &id, b""));
            }
            if let Some(socket) = &mut socket {
                let told = numbers(&socket.hear(&world));
                over_sockets += told.len();
                heard.extend(told);
            }
            socket = socket.filter(|socket| socket.status() != "503");
            world.invariants();
        }
        assert!(has_come, "{seed}");
        assert_eq!(heard, (1..=published).collect::<Vec<_>>(), "{seed}");
        world.nets[0].set_temper(Temper::HONEST);
        is_empty_in_the_end(&mut world);
    }
    assert!(over_sockets > 1_000, "{over_sockets}");
}
