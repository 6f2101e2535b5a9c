//! An order that is killed at any place, also while a checkpoint is written, comes back from the
//! last whole one and the log, and decides as one that never was away.

use std::collections::BTreeMap;
use std::sync::mpsc;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;
use fanfare_protocol::record::checkpoint::Wrong;

use super::super::checkpoint::{CheckpointMark, Written};
use super::super::command::*;
use super::super::restore::{Replay, Restoring};
use super::journal::{Journal, NAMES, Replica, assert_same, said, small_limits, small_rules};
use super::node::{name, publication, session};
use crate::clock::Millis;
use crate::driver::sim::Chance;

/// Seeds of an ordinary `cargo test`.
const SEEDS: u64 = 60;
/// What is done in one of them.
const OPS: usize = 150;

/// A checkpoint, and what the order was when it was begun.
struct Saved {
    bytes: Vec<u8>,
    state: BTreeMap<String, String>,
    position: u64,
}

struct World {
    chance: Chance,
    journal: Journal,
    now: Millis,
    /// Reads what the other writes, and is never killed.
    undying: Replica,
    mortal: Replica,
    under_way: Option<Saved>,
    whole: Option<Saved>,
    kills: u64,
    duplicates: u64,
    half_written: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let journal = Journal::default();
        Self {
            chance: Chance::new(seed),
            now: Millis(1_000),
            undying: Replica::new(&journal, false, small_limits(), small_rules()),
            mortal: Replica::new(&journal, true, small_limits(), small_rules()),
            journal,
            under_way: None,
            whole: None,
            kills: 0,
            duplicates: 0,
            half_written: 0,
        }
    }

    fn act(&mut self) {
        match self.chance.below(100) {
            0..40 => self.publish(),
            40..44 => self.publish_for_nobody_else(),
            44..47 => self.follow(),
            47 => self.begin_epoch(),
            48..65 => {
                let ms = [3, 30, 120, 700][self.chance.below(4)];
                self.now = self.now.plus(self.chance.below(ms) as u64);
            }
            65..72 => self.begin(),
            72..93 => self.write(),
            _ => self.kill(),
        }
        self.run();
    }

    fn run(&mut self) {
        self.mortal.run(self.now);
        self.undying.run(self.now);
        let [one, other] = [&self.undying, &self.mortal].map(|it| it.sequencer.state());
        assert_eq!(one, other, "they assign the same");
    }

    fn publish(&mut self) {
        // Few channels, bodies and keys, so that they meet again.
        let (channels, bytes, key) = match self.chance.percent(40) {
            true => (3, 1 + self.chance.below(20) / 19, Some(self.chance.below(3))),
            false => (NAMES.len(), self.chance.below(300), None),
        };
        let nth = self.chance.below(channels);
        let also = match self.chance.percent(25) {
            true => [name(NAMES[(nth + 1) % channels]), name(NAMES[(nth + 2) % channels])].into(),
            false => Box::default(),
        };
        let publication = Publication { also, ..said(NAMES[nth], bytes, key) };
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |result| answer.send(result).unwrap());
        let command = Command::Publish(publication, PublishAnswer::Callback(answer));
        self.mortal.send(command);
        self.mortal.run(self.now);
        let result = heard.recv().expect("it is answered");
        self.duplicates += u64::from(result.is_ok_and(|published| published.duplicate));
    }

    fn publish_for_nobody_else(&mut self) {
        let channel = NAMES[self.chance.below(NAMES.len())];
        let publication = Publication { ephemeral: true, ..publication(channel, 5) };
        self.mortal.send(Command::Publish(publication, PublishAnswer::Nobody));
    }

    fn follow(&mut self) {
        let channel = NAMES[self.chance.below(NAMES.len())];
        for replica in [&mut self.undying, &mut self.mortal] {
            let requester = Requester { shard: 0, session: session(0), request: 0 };
            let channels = [(name(channel), Since::Now)].into();
            replica.send(Command::Subscribe(Box::new(Subscribe { requester, channels })));
        }
    }

    /// Another epoch begins, and a checkpoint that is being written is given up.
    fn begin_epoch(&mut self) {
        let epoch = Epoch::from_random(self.chance.draw());
        self.journal.begin_epoch(self.now, epoch, Secret([self.chance.draw() as u8; 16]));
        self.mortal.run(self.now);
        let mut bytes = Vec::new();
        let written = self.mortal.sequencer.write_checkpoint(1, &mut bytes);
        assert_eq!((written, bytes.len()), (Written::None, 0));
        self.half_written += u64::from(self.under_way.take().is_some());
    }

    fn begin(&mut self) {
        let sequencer = &mut self.mortal.sequencer;
        sequencer.begin_checkpoint(CheckpointMark { incarnation: self.chance.draw(), chain: 0 });
        let position = sequencer.performer.order.applied.position;
        let state = self.mortal.state();
        self.under_way = Some(Saved { bytes: Vec::new(), state, position });
    }

    /// A piece of the checkpoint; once it is whole, it says what was true when it was begun.
    fn write(&mut self) {
        let Some(saved) = &mut self.under_way else { return };
        let units = 1 + self.chance.below(12);
        match self.mortal.sequencer.write_checkpoint(units, &mut saved.bytes) {
            Written::More => return,
            Written::Whole => {}
            Written::None => panic!("it was begun, in this epoch"),
        }
        let saved = self.under_way.take().expect("it is whole now");
        let mut replay = self.read(&saved.bytes);
        self.replay(&mut replay, saved.position);
        let restored = Replica::restored(&self.journal, replay);
        assert_same(&saved.state, &restored.state());
        restored.sequencer.invariants();
        self.whole = Some(saved);
    }

    /// Reads a checkpoint in pieces.
    fn read(&mut self, bytes: &[u8]) -> Replay {
        let mut restoring = Restoring::new(1, small_limits(), small_rules());
        let (mut left, piece) = (Vec::new(), 1 + self.chance.below(2_000));
        for piece in bytes.chunks(piece) {
            left.extend_from_slice(piece);
            let mut rest = left.as_slice();
            restoring.read(&mut rest).expect("it is ours");
            left = rest.to_vec();
        }
        restoring.replay(&left).expect("it is whole")
    }

    /// Reads the log up to a place, without what is not needed.
    fn replay(&self, replay: &mut Replay, until: u64) {
        let items = (0..self.journal.len()).map(|nth| self.journal.read(nth).expect("it is"));
        let from = replay.from();
        for item in items.filter(|item| (from..=until).contains(&item.position)) {
            replay.apply(item);
        }
    }

    /// Kills the one that can be: what it had written of a checkpoint is no checkpoint.
    fn kill(&mut self) {
        if let Some(half) = self.under_way.take() {
            let mut restoring = Restoring::new(1, small_limits(), small_rules());
            let mut rest = half.bytes.as_slice();
            restoring.read(&mut rest).expect("as far as it is there");
            let wrong = restoring.replay(rest).err().map(|unreadable| unreadable.wrong);
            assert_eq!(wrong, Some(Wrong::NoEnd));
            self.half_written += u64::from(!half.bytes.is_empty());
        }
        let Some(whole) = self.whole.take() else { return };
        let mut replay = self.read(&whole.bytes);
        self.replay(&mut replay, u64::MAX);
        self.mortal = Replica::restored(&self.journal, replay);
        self.whole = Some(whole);
        self.run();
        self.compare();
        self.kills += 1;
    }

    fn compare(&self) {
        assert_same(&self.undying.state(), &self.mortal.state());
    }
}

/// Kills, duplicates and checkpoints that were cut off.
fn play(seed: u64) -> [u64; 3] {
    let played = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        for op in 0..OPS {
            world.act();
            if op % 10 == 0 {
                world.compare();
            }
        }
        [world.kills, world.duplicates, world.half_written]
    });
    played.unwrap_or_else(|panic| {
        eprintln!(
            "again: FANFARE_SEED_FIRST={seed} FANFARE_SEEDS=1 cargo test -p fanfare --lib \
             an_order_that_comes_back"
        );
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn an_order_that_comes_back_decides_as_one_that_never_was_away() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("FANFARE_SEED_FIRST").unwrap_or(1);
    let seeds = number("FANFARE_SEEDS").unwrap_or(SEEDS);
    let mut sums = [0; 3];
    for seed in first..first + seeds {
        for (sum, more) in sums.iter_mut().zip(play(seed)) {
            *sum += more;
        }
    }
    println!("{seeds} seeds: {sums:?} kills, duplicates, checkpoints cut off");
    assert!(sums.iter().all(|sum| *sum >= seeds), "the worlds are not idle: {sums:?}");
}
