//! One world from its seed: what kind it is, what its publishers and clients do, and that it comes
//! to rest with nobody forgotten.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::message::{Change, Kind};

use super::canary::Canary;
use super::fact::CHANNELS;
use super::history::HistoryRequest;
use super::lines::{Lines, Talk};
use super::persona::{Allowance, Mood, Persona};
use super::slow_log::LogTemper;
use super::talker::Talker;
use super::truth::channel_name;
use super::wire::{Way, request};
use super::world::{COUNTED, Manner, Shape, World};
use crate::driver::sim::{Chance, Temper};
use crate::rule::{HistoryRule, Slow, Window};
use crate::shard::tick_budget::TickBudget;

fn pick<T: Copy>(chance: &mut Chance, of: &[T]) -> T {
    of[chance.below(of.len())]
}

/// All who hear something.
#[derive(Default)]
struct Cast {
    personas: Vec<Persona>,
    talkers: Vec<Talker>,
}

impl Cast {
    fn listen(&mut self, world: &World, chance: &mut Chance) {
        self.personas.iter_mut().for_each(|persona| persona.listen(world, chance));
        self.talkers.iter_mut().for_each(|talker| talker.listen(world));
    }

    fn jumped(&mut self) {
        self.personas.iter_mut().for_each(|persona| persona.jumped = true);
        self.talkers.iter_mut().for_each(Talker::jumped);
    }

    fn at_rest(&mut self, world: &World) {
        self.personas.iter_mut().for_each(|persona| persona.at_rest(world));
        self.talkers.iter_mut().for_each(|talker| talker.at_rest(world));
    }

    fn leave(&mut self, world: &World) {
        self.personas.iter_mut().for_each(|persona| persona.reset(world));
        self.talkers.iter_mut().for_each(|talker| talker.lose(world));
    }

    /// What they heard, and the digest of it behind what the world has told.
    fn played(&self, world: &World) -> Played {
        let (personas, talkers) = (self.personas.iter(), self.talkers.iter());
        let each = personas.map(|it| (it.heard, it.gaps, &it.trace));
        let each = each.chain(talkers.map(|it| (it.heard, it.gaps, &it.trace)));
        let (mut heard, mut gaps, mut all) = (0, 0, world.trace.clone());
        for (messages, notices, trace) in each {
            (heard, gaps) = (heard + messages, gaps + notices);
            all.note(world.now, &trace.digest().to_le_bytes());
        }
        let answers = self.talkers.iter().map(|talker| talker.answers).sum();
        Played { heard, gaps, answers, trace: all.digest() }
    }
}

/// Clients with commands, in some worlds, whose shards hand sockets to one another then.
fn talkers(shape: &mut Shape, chance: &mut Chance, allowance: Allowance) -> Vec<Talker> {
    let count = pick(chance, &[0, 0, 2, 5]);
    if count > 0 {
        let machine = || Box::new(Talk::default()) as Box<dyn Machine>;
        shape.machines = Some(Arc::new(machine));
        shape.door = Some(Arc::new(Lines));
        shape.limits.detached_ms = pick(chance, &[2_000, 30_000]);
    }
    (0..count).map(|_| Talker::new(chance.percent(60), allowance)).collect()
}

/// What kind of world this seed is.
fn shape(seed: u64, chance: &mut Chance) -> (Shape, Allowance) {
    let mut shape = Shape { seed, shards: 1 + chance.below(4), ..Shape::plain() };
    shape.backends = pick(chance, &[0, 1, 3]);
    let (busy, lazy) = (LogTemper { steps: 3, room: 2 }, LogTemper { steps: 20, room: 64 });
    shape.log = pick(chance, &[LogTemper::PROMPT, LogTemper::PROMPT, busy, lazy]);
    let faulty = Temper { fail: 1, ..Temper::LIAR };
    shape.temper = pick(chance, &[Temper::HONEST, Temper::HONEST, Temper::LIAR, faulty]);
    let tiny = TickBudget { entries: 8, units: 2, receives: 2, batches: 1, quantum: 3 };
    shape.budget = pick(chance, &[TickBudget::DEFAULT, TickBudget::DEFAULT, COUNTED, tiny]);
    let limits = &mut shape.limits;
    limits.ring_entries = pick(chance, &[4, 8, 64, 1_024]);
    limits.ring_bytes = pick(chance, &[1_000, 20_000, 1 << 20]);
    limits.inbox_commands = pick(chance, &[1, 2, 8, 256]);
    limits.rendered_bytes = pick(chance, &[3_000, 100_000, 256_000_000]);
    limits.interest_ms = pick(chance, &[100, 5_000]);
    limits.idempotency_age_ms = 1 << 40; // so that a repeated key is always known
    let may_forget = chance.percent(30);
    if may_forget {
        limits.channel_idle_ms = 500;
        limits.channels = pick(chance, &[CHANNELS - 1, CHANNELS, 1_000]);
        limits.history_bytes = pick(chance, &[3_000, 200_000]);
    }
    let keeps_all = !may_forget && chance.percent(30);
    if keeps_all {
        // A few of the longest messages are more than the default promises, and worlds grow old.
        (shape.history.bytes, shape.history.age_ms) = (1 << 30, 1 << 40);
    } else {
        shape.history = HistoryRule {
            count: pick(chance, &[0, 1, 3, 20]),
            bytes: pick(chance, &[500, 5_000, 1_000_000]),
            age_ms: pick(chance, &[0, 300, 5_000, 600_000]),
        };
    }
    shape.window = Window {
        count: pick(chance, &[1, 2, 8, 64, 1_024]),
        bytes: pick(chance, &[1_000, 50_000, 1_000_000]),
    };
    if chance.percent(60) {
        shape.slow = (0..CHANNELS).map(|_| pick(chance, &Slow::ALL)).collect();
    }
    if chance.percent(20) {
        shape.capacity = (6, 4);
    }
    // In a tiny window even a client that takes everything lags when it comes back with a backlog.
    let tiny = shape.window.count < 64 || shape.window.bytes < 1_000_000;
    let is_tight = shape.limits.rendered_bytes < 1_000_000;
    let lies = shape.temper.delay > 0 || tiny || is_tight;
    (shape, Allowance { lies, may_forget, keeps_all, is_tight })
}

/// Publishes something; of a hundred messages so many are ephemeral, and so many in several
/// channels, and some exclude a client.
fn publish(
    world: &mut World,
    personas: &[Persona],
    (ephemeral, several): (u8, u8),
    chance: &mut Chance,
) {
    let bytes = match chance.below(100) {
        0 => 80_000,
        1..=3 => 9_000,
        _ => chance.below(200),
    };
    let kind = pick(chance, &[Kind::Text, Kind::Json, Kind::Binary]);
    let excluded = chance.percent(20).then(|| &personas[chance.below(personas.len())]);
    let manner = Manner {
        ephemeral: chance.percent(ephemeral),
        except: excluded.and_then(|persona| persona.client(world)),
    };
    let count = if chance.percent(several) { 1 + chance.below(CHANNELS) } else { 1 };
    let mut channels: Vec<usize> = (0..CHANNELS).collect();
    while channels.len() > count {
        channels.remove(chance.below(channels.len()));
    }
    if chance.percent(50) {
        channels.reverse();
    }
    world.publish_to(channels, bytes, kind, manner);
}

/// Publishes under a key, or once more what was published under one.
fn publish_keyed(world: &mut World, chance: &mut Chance) {
    if chance.percent(50) {
        return world.publish_again(chance);
    }
    let kind = pick(chance, &[Kind::Text, Kind::Json, Kind::Binary]);
    let first = chance.below(CHANNELS);
    let count = if chance.percent(30) { 1 + chance.below(CHANNELS) } else { 1 };
    let channels = (first..first + count).map(|channel| channel % CHANNELS).collect();
    world.publish_keyed(channels, chance.below(200), kind);
}

/// Some visitors come to channels and leave them; not before the node's parts have asked the order
/// what they ask at its start.
fn come_and_go(world: &mut World, step: usize, visits: u8, visitors: &mut Chance) {
    let come = step >= 8 && visitors.percent(visits);
    for _ in 0..if come { 1 + visitors.below(12) } else { 0 } {
        let change = pick(visitors, &[Change::Join, Change::Leave]);
        world.change(change, visitors.below(CHANNELS), "somebody");
    }
}

/// What one client does in one step.
fn act(persona: &mut Persona, world: &World, chance: &mut Chance) {
    if !persona.is_connected() {
        if chance.percent(20) {
            persona.connect(world, chance);
        }
        return;
    }
    match chance.below(100) {
        0 => persona.reset(world),
        1 => persona.half_close(world),
        2 => persona.feel(world, Mood::Stopped),
        3 => persona.feel(world, Mood::Slow(400 + chance.below(2_000))),
        4..=8 => persona.feel(world, Mood::Eager),
        9 => persona.say(world, 9, b"are you there?"),
        10 => persona.say(world, 1, b"a message that nobody wants"),
        11 => persona.say(world, 8, &[3, 232]),
        _ => {}
    }
}

/// Everybody who is not there comes at once, and a crowd with them that asks for all that is kept
/// of every channel, some of which is gone before it is answered.
fn storm(world: &mut World, cast: &mut Cast, chance: &mut Chance) {
    for persona in cast.personas.iter_mut().filter(|persona| !persona.is_connected()) {
        persona.connect(world, chance);
    }
    let names: Vec<String> = (0..CHANNELS).map(channel_name).collect();
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let net = &world.nets[chance.below(world.nets.len())];
            let client = net.connect();
            let way = pick(chance, &[Way::Socket { json: true }, Way::Poll]);
            net.write(client, request(way, &names, Some(&world.id(0)), 0, None).as_bytes());
            (net.clone(), client)
        })
        .collect();
    let (gone, left) = crowd.split_at(chance.below(crowd.len()));
    gone.iter().for_each(|(net, client)| net.reset(*client));
    for _ in 0..chance.below(6) {
        world.step();
        cast.listen(world, chance);
    }
    left.iter().for_each(|(net, client)| net.reset(*client));
}

/// A backend reads a channel from its beginning, or from somewhere on.
fn read_history(world: &mut World, chance: &mut Chance) {
    let position = world.truth.position();
    let since = match chance.below(4) {
        0 => None,
        1 => Some(position),
        _ => Some(world.truth.some_position(chance)),
    };
    let limit = pick(chance, &[1, 3, 100, 1_000]);
    world.read_history(HistoryRequest { channel: chance.below(CHANNELS), since, limit });
}

/// Nothing arrives in the log for a while, or it fails for good.
fn hinder_log(world: &World, fails: bool, chance: &mut Chance) {
    match chance.below(100) {
        0..=2 => world.log.hold(),
        3..=12 => world.log.let_go(),
        _ => {}
    }
    if fails {
        world.log.fail();
    }
}

/// Runs until the node is at rest, and sees that nobody was forgotten.
fn rest(world: &mut World, cast: &mut Cast, chance: &mut Chance) {
    world.log.let_go();
    let (mut quiet, mut steps, mut before) = (0, 0, 0);
    // A lying network may keep anything back for a while.
    while quiet < 25 {
        if world.metrics.shards.iter().any(|shard| shard.waiting_for_room.read() > 0) {
            world.jump(20); // whoever holds what others wait for has a second
        }
        world.step();
        cast.listen(world, chance);
        let sent = world.metrics.shards.iter().map(|shard| shard.sends.read()).sum::<u64>();
        quiet = if world.is_quiet() && sent == before { quiet + 1 } else { 0 };
        before = sent;
        steps += 1;
        // An inbox of one, and twelve polls that ask again after each message: thousands of steps.
        assert!(steps < 50_000, "the node never comes to rest: {}", world.unrest());
    }
    cast.at_rest(world);
}

/// Lets everybody leave, and sees that nothing is left of them.
fn end(world: &mut World, cast: &mut Cast, chance: &mut Chance) {
    rest(world, cast, chance);
    cast.leave(world);
    for _ in 0..40 {
        world.jump(2_000);
        world.steps(8);
    }
    rest(world, &mut Cast::default(), chance);
    world.is_empty();
}

fn personas(chance: &mut Chance, shards: usize, allowance: Allowance) -> Vec<Persona> {
    (0..2 + chance.below(12))
        .map(|_| {
            let json = chance.percent(50);
            let way = pick(chance, &[Way::Socket { json }, Way::Events { json }, Way::Poll]);
            let mut channels: Vec<usize> = (0..CHANNELS).collect();
            let keep = if chance.percent(50) { 1 } else { 1 + chance.below(CHANNELS) };
            while channels.len() > keep {
                channels.remove(chance.below(channels.len()));
            }
            let max = pick(chance, &[None, None, None, Some(100), Some(1_000)]);
            let mut persona = Persona::new(chance.below(shards), way, channels, allowance);
            persona.max = max;
            persona
        })
        .collect()
}

/// What came of one world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Played {
    /// Messages that its clients heard.
    pub(super) heard: u64,
    /// Gaps that they were told.
    pub(super) gaps: u64,
    /// What came of commands of theirs.
    pub(super) answers: u64,
    /// A digest of all that publishers were answered and clients read, and when.
    pub(super) trace: u64,
}

/// Lets the world itself tell the lie, where that is one of its own.
fn lie(world: &mut World, canary: Option<Canary>) {
    world.backends.lie = canary == Some(Canary::WrongOutcome);
    world.forgets_keys = canary == Some(Canary::ForgetKey);
    if canary == Some(Canary::WrongTicket) {
        world.log.lie();
    }
}

/// One world from its seed. `canary` is a lie that its clients tell themselves; `verbose` tells
/// what each client's connection is whenever the node is at rest.
///
/// # Panics
/// When a promise is broken.
pub(super) fn play(seed: u64, canary: Option<Canary>, verbose: bool) -> Played {
    let chance = &mut Chance::new(seed);
    let (mut shape, allowance) = shape(seed, chance);
    // Those who came to the simulation later have a chance of their own.
    let talk = &mut Chance::new(seed.rotate_left(32));
    let talkers = talkers(&mut shape, talk, allowance);
    let mut world = World::new(&shape);
    world.keeps = (allowance.may_forget, allowance.keeps_all);
    lie(&mut world, canary);
    let mut cast = Cast { personas: personas(chance, shape.shards, allowance), talkers };
    for persona in &mut cast.personas {
        (persona.canary, persona.verbose) = (canary, verbose);
    }
    cast.talkers.iter_mut().for_each(|talker| talker.canary = canary);
    let ephemeral = pick(chance, &[0, 0, 20, 80]);
    let several = pick(chance, &[0, 0, 10, 60]);
    let epochs = pick(chance, &[0, 0, 1, 5]);
    let fails_at = chance.percent(5).then(|| chance.below(160));
    // A key is forgotten with its epoch; and who repeats has a chance of its own.
    let keys = &mut Chance::new(seed.rotate_left(16));
    let keyed = if epochs == 0 { pick(keys, &[0, 0, 20, 60]) } else { 0 };
    // Those who come and go have a chance of their own, and in half of the runs nobody does.
    let visitors = &mut Chance::new(!seed);
    let visits = pick(visitors, &[0, 0, 10, 60]);
    for step in 0..160 {
        for _ in 0..pick(chance, &[0, 0, 1, 3, 20]) {
            publish(&mut world, &cast.personas, (ephemeral, several), chance);
        }
        if keys.percent(keyed) {
            publish_keyed(&mut world, keys);
        }
        for persona in &mut cast.personas {
            act(persona, &world, chance);
        }
        cast.talkers.iter_mut().for_each(|talker| talker.act(&mut world, talk));
        world.now = world.now.plus(chance.below(20) as u64);
        if chance.percent(3) {
            let ms = pick(chance, &[200, 1_200, 6_000, 16_000, 30_000, 70_000]);
            world.jump(ms);
            cast.jumped();
        }
        if chance.percent(3) {
            world.stall(chance.below(shape.shards), 1 + chance.below(40) as u32);
        }
        if chance.percent(3) {
            storm(&mut world, &mut cast, chance);
        }
        if chance.percent(epochs) {
            world.begin_epoch();
        }
        hinder_log(&world, fails_at == Some(step), chance);
        come_and_go(&mut world, step, visits, visitors);
        if talk.percent(30) {
            read_history(&mut world, talk);
        }
        world.backends.break_off();
        world.step();
        cast.listen(&world, chance);
        if step % 16 == 0 {
            world.invariants();
        }
        if chance.percent(3) {
            rest(&mut world, &mut cast, chance);
        }
    }
    end(&mut world, &mut cast, chance);
    cast.played(&world)
}
