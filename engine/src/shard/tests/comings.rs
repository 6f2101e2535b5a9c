//! Clients that come to channels and leave them on living sessions, under chance: a client hears of
//! a channel exactly what was published from where its answer says that it begins, in order, up to
//! where it leaves.

use std::collections::HashMap;
use std::sync::Arc;

use super::commands::{Words, heard};
use super::peer::Peer;
use super::wire::Way;
use super::world::{COUNTED, Shape, World};
use crate::driver::sim::{Chance, Temper};
use crate::shard::tick_budget::TickBudget;
use fanfare_protocol::dialect::machine::Machine;

const CHANNELS: usize = 4;

/// What one client asked for and was told.
struct Client {
    peer: Peer,
    /// What it will follow when everything that it has said is done.
    wanted: [bool; CHANNELS],
    /// Messages that it publishes, by request.
    said: HashMap<u32, (usize, u64)>,
    /// By which request it follows a channel, as far as it was told.
    asked: [Option<u32>; CHANNELS],
    /// Of each channel that it follows: the first offset that is its, and the numbers that came.
    follows: [Option<(u64, Vec<u64>)>; CHANNELS],
    /// Requests to follow that were answered, and how many of them have caught up.
    followed: usize,
    caught_up: usize,
    /// The same of those that it has left.
    left: Vec<(usize, u64, Vec<u64>)>,
}

/// Every message by its channel and number, with its offset.
type Offsets = HashMap<(usize, u64), u64>;

impl Client {
    fn new(world: &mut World) -> Self {
        let peer = Peer::ask(world, Way::Socket { json: false }, &[9], None, 0);
        Self {
            peer,
            wanted: [false; CHANNELS],
            said: HashMap::new(),
            asked: [None; CHANNELS],
            follows: [const { None }; CHANNELS],
            followed: 0,
            caught_up: 0,
            left: Vec::new(),
        }
    }

    /// Asks for something that it may ask for.
    fn act(&mut self, world: &World, numbers: &mut u64, chance: &mut Chance) {
        let channel = chance.below(CHANNELS);
        let line = match (chance.below(4), self.wanted[channel]) {
            (0, false) => {
                self.wanted[channel] = true;
                format!("follow c{channel}")
            }
            (0, true) => {
                self.wanted[channel] = false;
                format!("leave c{channel}")
            }
            _ => {
                *numbers += 1;
                format!("say c{channel} c{channel}#{numbers}")
            }
        };
        self.peer.say(world, 1, line.as_bytes());
    }

    fn listen(&mut self, world: &World, offsets: &mut Offsets) {
        for text in heard(&mut self.peer, world) {
            let place = |name: &str| name[1..].parse::<usize>().unwrap();
            let message = |text: &str| {
                let (name, number) = text.split_once('#')?;
                Some((place(name), number.parse::<u64>().unwrap()))
            };
            if text.ends_with(": caught up") {
                self.caught_up += 1;
            } else if let Some(asked) = text.strip_prefix("asked ") {
                let (request, line) = asked.split_once(": ").unwrap();
                let (request, last) = (request.parse().unwrap(), line.rsplit(' ').next().unwrap());
                match message(last) {
                    Some(message) => drop(self.said.insert(request, message)),
                    None => self.asked[place(last)] = Some(request),
                }
            } else if let Some((channel, number)) = message(&text) {
                let follow = self.follows[channel].as_mut();
                follow.unwrap_or_else(|| panic!("{text} is not followed")).1.push(number);
            } else if let Some(left) = text.strip_prefix("left ") {
                let channel = place(left.strip_suffix(": true").expect("it was wanted"));
                self.asked[channel] = None;
                let left = self.follows[channel].take();
                self.left.extend(left.map(|(next, numbers)| (channel, next, numbers)));
            } else if let Some((request, follow)) = text.split_once(": following ") {
                let (name, next) = follow.split_once('@').expect("with where it begins");
                self.followed += 1;
                // What was left before its answer is not followed by it.
                if self.asked[place(name)] == Some(request.parse().unwrap()) {
                    self.follows[place(name)] = Some((next.parse().unwrap(), Vec::new()));
                }
            } else {
                let (request, offset) = text.split_once(": at ").expect("an answer");
                let said = self.said.remove(&request.parse().unwrap()).expect("asked once");
                offsets.insert(said, offset.parse().unwrap());
            }
        }
    }

    /// Everything that it was to hear it heard.
    fn check(&self, offsets: &Offsets) {
        assert!(self.said.is_empty(), "each request has its answer");
        assert_eq!(self.caught_up, self.followed, "everyone catches up in the end");
        let of = |channel: usize, numbers: &[u64]| -> Vec<u64> {
            numbers.iter().map(|number| offsets[&(channel, *number)]).collect()
        };
        for (channel, next, numbers) in &self.left {
            let expected: Vec<u64> = (*next..).take(numbers.len()).collect();
            assert_eq!(of(*channel, numbers), expected, "c{channel}, which it has left");
        }
        for (channel, follow) in self.follows.iter().enumerate() {
            assert_eq!(self.wanted[channel], follow.is_some(), "c{channel}");
            let Some((next, numbers)) = follow else { continue };
            let head = offsets.iter().filter(|((of, _), _)| *of == channel);
            let head = head.map(|(_, offset)| *offset).max().unwrap_or(0);
            assert_eq!(of(channel, numbers), (*next..=head).collect::<Vec<_>>(), "c{channel}");
        }
    }
}

fn shape(seed: u64, chance: &mut Chance) -> Shape {
    let mut shape = Shape { seed, ..Shape::plain() };
    let machine = || Box::new(Words::exact()) as Box<dyn Machine>;
    shape.machines = Some(Arc::new(machine));
    if chance.percent(50) {
        shape.temper = Temper::LIAR;
    }
    let tiny = TickBudget { entries: 8, units: 2, receives: 2, batches: 1, quantum: 3 };
    shape.budget = if chance.percent(50) { tiny } else { COUNTED };
    shape.limits.inbox_commands = [1, 2, 256][chance.below(3)];
    shape.limits.ring_entries = [4, 8, 1_024][chance.below(3)];
    shape.limits.interest_ms = [10, 5_000][chance.below(2)];
    shape
}

/// How many messages were heard, and how often channels were left.
fn play(seed: u64) -> (usize, usize) {
    let chance = &mut Chance::new(seed);
    let mut world = World::new(&shape(seed, chance));
    let mut clients: Vec<Client> = (0..5).map(|_| Client::new(&mut world)).collect();
    let (mut offsets, mut numbers) = (Offsets::new(), 0);
    for step in 0..400 {
        for client in &mut clients {
            if chance.percent(15) {
                client.act(&world, &mut numbers, chance);
            }
        }
        world.now = world.now.plus(chance.below(20) as u64);
        world.step();
        clients.iter_mut().for_each(|client| client.listen(&world, &mut offsets));
        if step % 16 == 0 {
            world.invariants();
        }
    }
    for _ in 0..600 {
        world.step();
        clients.iter_mut().for_each(|client| client.listen(&world, &mut offsets));
    }
    world.invariants();
    clients.iter().for_each(|client| client.check(&offsets));
    let left = clients.iter().map(|client| client.left.len()).sum();
    let follows = clients.iter().flat_map(|client| client.follows.iter().flatten());
    (follows.map(|(_, numbers)| numbers.len()).sum(), left)
}

#[test]
fn who_comes_and_goes_hears_exactly_what_is_published_meanwhile() {
    let (mut heard, mut left) = (0, 0);
    for seed in 1..=40 {
        let result = std::panic::catch_unwind(|| play(seed));
        let (more, gone) = result.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        heard += more;
        left += gone;
    }
    assert!(heard > 1_000 && left > 200, "the worlds are not idle: {heard} {left}");
}
