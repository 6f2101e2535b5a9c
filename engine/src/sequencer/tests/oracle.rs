//! What the sequencer has to say, found out the slow way: everything that ever happened is kept in
//! lists and looked through anew for each question.

use fanfare_protocol::message::GapReason;

use fanfare_protocol::id::Id;

use super::super::command::{Gap, Published, Since};
use super::node::{EPOCH, at};
use crate::channel::Tenant;
use crate::rule::{HistoryRule, Rules};

pub(super) const SHARDS: usize = 3;

/// A message that was published, in whichever life of its channel.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) life: usize,
    pub(super) offset: u64,
    pub(super) position: u64,
    pub(super) cost: usize,
    at: u64,
    /// `None` while it is kept.
    pub(super) gone: Option<GapReason>,
}

/// One life of a channel.
#[derive(Debug)]
pub(super) struct ModelLife {
    name: &'static str,
    rule: HistoryRule,
    pub(super) ended: bool,
    watermark: u64,
    pub(super) last: u64,
    /// When it was used last, known to the second, and the position then.
    used: (u64, u64),
}

/// What this node knows of a name, from when it is first followed or published to until it is
/// neither followed nor alive.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) gone: bool,
    /// For each shard: subscribers, where it is interested.
    pub(super) interest: [Option<u64>; SHARDS],
    /// For each shard: when the interest's last subscriber left, and a number of that event.
    left: [Option<(u64, u64)>; SHARDS],
    pub(super) log_from: [u64; SHARDS],
}

/// A message that was published under a key.
pub(super) struct Keyed {
    name: &'static str,
    key: usize,
    pub(super) bytes: usize,
    pub(super) published: Published,
    at: u64,
}

/// Positions of up to 256 trimmed messages of one life.
struct Block {
    life: usize,
    positions: Vec<(u64, u64)>,
}

pub(super) struct Oracle {
    pub(super) now: u64,
    /// The last item of the log: its position, and the time of its record.
    last: (u64, u64),
    /// All items of the log, likewise.
    stood: Vec<(u64, u64)>,
    pub(super) said: Vec<Said>,
    pub(super) lives: Vec<ModelLife>,
    pub(super) records: Vec<Record>,
    blocks: Vec<Block>,
    keyed: Vec<Keyed>,
    keys: usize,
    key_age_ms: u64,
    pub(super) watermark: u64,
    events: u64,
    rules: Rules,
    pub(super) budget: usize,
    channels: usize,
    followed_channels: usize,
    pub(super) interest_ms: u64,
    pub(super) idle_ms: u64,
}

impl Record {
    pub(super) fn subscribers(&self) -> u64 {
        self.interest.iter().flatten().sum()
    }

    pub(super) fn mask(&self) -> u64 {
        let interested = (0..SHARDS).filter(|shard| self.interest[*shard].is_some());
        interested.map(|shard| 1 << shard).sum()
    }
}

impl Oracle {
    pub(super) fn new(now: u64, rules: Rules, limits: &crate::limits::Limits) -> Self {
        Self {
            now,
            last: (0, 0),
            stood: Vec::new(),
            said: Vec::new(),
            lives: Vec::new(),
            records: Vec::new(),
            blocks: Vec::new(),
            keyed: Vec::new(),
            keys: limits.idempotency_keys,
            key_age_ms: limits.idempotency_age_ms,
            watermark: 0,
            events: 0,
            rules,
            budget: limits.history_bytes,
            channels: limits.channels,
            followed_channels: limits.followed_channels,
            interest_ms: limits.interest_ms,
            idle_ms: limits.channel_idle_ms,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last.0
    }

    /// One item more stands in the log, in the present record if that is of this millisecond and
    /// has room: it holds 4,095.
    pub(super) fn stand(&mut self) {
        let (last, at) = self.last;
        let follows = last > 0 && at == self.now && last % 4_096 < 4_094;
        let position = if follows { last + 1 } else { (last / 4_096 + 1) * 4_096 };
        self.last = (position, self.now);
        self.stood.push(self.last);
    }

    /// The position of the message that so many others have followed, or one less, where nothing
    /// may stand; of a negative number, a position after the end.
    pub(super) fn ago(&self, messages: i64) -> u64 {
        let Ok(ago) = usize::try_from(messages) else {
            return self.last().saturating_add_signed(-messages);
        };
        match self.said.len().checked_sub(ago + 1) {
            _ if ago == 0 => self.last(),
            Some(nth) if ago % 3 == 0 => self.said[nth].position - 1,
            Some(nth) => self.said[nth].position,
            None => 0,
        }
    }

    pub(super) fn alive(&self, name: &str) -> Option<usize> {
        self.lives.iter().position(|life| !life.ended && life.name == name)
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.lives.len()).filter(|life| !self.lives[*life].ended)
    }

    /// How many channels have a life, and how many are followed.
    pub(super) fn counts(&self) -> (usize, usize) {
        let followed = self.records.iter().filter(|record| record.subscribers() > 0);
        (self.living().count(), followed.count())
    }

    /// The record of a name that there is one of.
    pub(super) fn record(&self, name: &str) -> Option<usize> {
        self.records.iter().position(|record| !record.gone && record.name == name)
    }

    pub(super) fn last_offset(&self, name: &str) -> u64 {
        self.alive(name).map_or(0, |life| self.lives[life].last)
    }

    /// Places in `said` of what a life keeps.
    pub(super) fn kept(&self, life: usize) -> Vec<usize> {
        let mine = |said: &Said| said.life == life && said.gone.is_none();
        (0..self.said.len()).filter(|place| mine(&self.said[*place])).collect()
    }

    pub(super) fn floor(&self, name: &str) -> u64 {
        let kept = self.alive(name).map_or(Vec::new(), |life| self.kept(life));
        kept.first().map_or(self.last_offset(name) + 1, |place| self.said[*place].offset)
    }

    pub(super) fn bytes(&self) -> usize {
        let kept = self.said.iter().filter(|said| said.gone.is_none());
        kept.map(|said| said.cost).sum::<usize>() + self.packed()
    }

    /// 96 bytes for a block, and a byte for each seven bits of a difference.
    fn packed(&self) -> usize {
        let block = |block: &Block| {
            let pairs = block.positions.windows(2);
            let bytes = pairs.map(|pair| {
                let bits = (pair[1].1 - pair[0].1).ilog2() as usize + 1;
                bits.div_ceil(7)
            });
            96 + bytes.sum::<usize>()
        };
        self.blocks.iter().map(block).sum()
    }

    fn drop_message(&mut self, place: usize, reason: GapReason) {
        let Said { life, offset, position, .. } = self.said[place];
        self.said[place].gone = Some(reason);
        let newest = self.blocks.iter_mut().rev().find(|block| block.life == life);
        match newest.filter(|block| block.positions.len() < 256) {
            Some(block) => block.positions.push((offset, position)),
            None => self.blocks.push(Block { life, positions: vec![(offset, position)] }),
        }
        while self.packed() > self.budget / 8 {
            self.blocks.remove(0);
        }
    }

    fn fit(&mut self, more: usize) {
        while self.bytes() + more > self.budget {
            match self.said.iter().position(|said| said.gone.is_none()) {
                Some(oldest) => {
                    self.drop_message(oldest, GapReason::Trimmed);
                }
                None => drop(self.blocks.remove(0)),
            }
        }
    }

    fn end_life(&mut self, life: usize) {
        self.lives[life].ended = true;
        let mut last = 0;
        for said in self.said.iter_mut().filter(|said| said.life == life) {
            said.gone = said.gone.or(Some(GapReason::Unknown));
            last = said.position;
        }
        self.watermark = self.watermark.max(last);
        self.blocks.retain(|block| block.life != life);
        let record = self.record(self.lives[life].name).expect("a life has a record");
        let record = &mut self.records[record];
        for shard in 0..SHARDS {
            if record.interest[shard] == Some(0) {
                (record.interest[shard], record.left[shard]) = (None, None);
            }
            record.log_from[shard] = 1;
        }
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        for nth in 0..self.records.len() {
            let record = &self.records[nth];
            let unused = record.mask() == 0 && self.alive(record.name).is_none();
            self.records[nth].gone |= unused;
        }
    }

    /// Messages are promised for their age, and a use may have been a second later than is known.
    fn promised(&self, life: usize) -> u64 {
        let HistoryRule { count, bytes, age_ms } = self.lives[life].rule;
        if count > 0 && bytes > 0 { age_ms + 1_000 } else { 1_000 }
    }

    fn due(&self, life: usize) -> u64 {
        self.lives[life].used.0 + self.promised(life) + self.idle_ms
    }

    /// Ends lives that are over, so many at most.
    pub(super) fn end_lives(&mut self, max: usize) {
        for _ in 0..max {
            let over = self.living().filter(|life| self.due(*life) <= self.now);
            let Some(life) = over.min_by_key(|life| (self.due(*life), self.lives[*life].used.1))
            else {
                break;
            };
            self.end_life(life);
        }
    }

    /// The life of this channel, begun where there is none; `None` where there may be no more.
    fn find_or_begin(&mut self, name: &'static str) -> Option<usize> {
        if let Some(life) = self.alive(name) {
            return Some(life);
        }
        if self.living().count() >= self.channels {
            let free = self
                .living()
                .filter(|life| self.lives[*life].used.0 + self.promised(*life) <= self.now);
            let least = free.min_by_key(|life| self.lives[*life].used.1)?;
            self.end_life(least);
        }
        self.find_or_make(name);
        self.lives.push(ModelLife {
            name,
            rule: self.rules.of(&Tenant::default(), name).1.history,
            ended: false,
            watermark: self.watermark,
            last: 0,
            used: (self.now, self.last()),
        });
        Some(self.lives.len() - 1)
    }

    fn find_or_make(&mut self, name: &'static str) -> usize {
        self.record(name).unwrap_or_else(|| {
            let (interest, left, log_from) = ([None; SHARDS], [None; SHARDS], [0; SHARDS]);
            self.records.push(Record { name, gone: false, interest, left, log_from });
            self.records.len() - 1
        })
    }

    /// What time alone makes due.
    pub(super) fn upkeep(&mut self) {
        loop {
            let kept = (0..self.said.len()).filter(|place| self.said[*place].gone.is_none());
            let due = |place: &usize| {
                self.said[*place].at + self.lives[self.said[*place].life].rule.age_ms
            };
            let next = kept.min_by_key(|place| (due(place), *place));
            let Some(next) = next.filter(|place| due(place) <= self.now) else { break };
            self.drop_message(next, GapReason::Expired);
        }
        for record in &mut self.records {
            for shard in 0..SHARDS {
                if record.left[shard].is_some_and(|(at, _)| at + self.interest_ms <= self.now) {
                    (record.interest[shard], record.left[shard]) = (None, None);
                }
            }
        }
        self.end_lives(usize::MAX);
    }

    /// Publishes; says in which life and whether the message is kept.
    pub(super) fn publish(&mut self, name: &'static str, cost: usize) -> Option<usize> {
        let life = self.find_or_begin(name)?;
        let rule = self.lives[life].rule;
        let is_kept =
            rule.age_ms > 0 && rule.count > 0 && cost <= rule.bytes && cost <= self.budget;
        loop {
            let kept = self.kept(life);
            let bytes: usize = kept.iter().map(|place| self.said[*place].cost).sum();
            let Some(first) = kept.first() else { break };
            let full = kept.len() as u64 + 1 > rule.count || bytes + cost > rule.bytes;
            if is_kept && !full {
                break;
            }
            let reason = if rule.age_ms == 0 { GapReason::Expired } else { GapReason::Trimmed };
            self.drop_message(*first, reason);
        }
        if is_kept {
            self.fit(cost);
        }
        self.lives[life].last += 1;
        let (offset, position) = (self.lives[life].last, self.last());
        let at = self.now;
        self.said.push(Said { life, offset, position, cost, at, gone: None });
        if !is_kept {
            let reason = if rule.age_ms == 0 { GapReason::Expired } else { GapReason::Trimmed };
            self.drop_message(self.said.len() - 1, reason);
            self.fit(0);
        }
        let (used, last) = (self.lives[life].used.0, self.last());
        if used + 1_000 <= self.now {
            self.lives[life].used = (self.now, last);
        }
        Some(life)
    }

    /// What was published under this key, while that is remembered.
    pub(super) fn keyed(&self, name: &str, key: usize) -> Option<&Keyed> {
        let newest = self.keyed.iter().rev().take(self.keys);
        let young = |keyed: &&Keyed| keyed.at + self.key_age_ms > self.now;
        newest.filter(young).find(|keyed| keyed.name == name && keyed.key == key)
    }

    pub(super) fn remember(
        &mut self,
        name: &'static str,
        key: usize,
        bytes: usize,
        published: Published,
    ) {
        self.keyed.push(Keyed { name, key, bytes, published, at: self.now });
    }

    /// Whether all of the channels may be followed.
    pub(super) fn may_follow(&self, names: &[&'static str]) -> bool {
        let is_followed = |name: &&&'static str| {
            self.record(name).is_some_and(|record| self.records[record].subscribers() > 0)
        };
        let new = names.len() - names.iter().filter(is_followed).count();
        self.counts().1 + new <= self.followed_channels
    }

    /// One connection of a shard more follows a channel: its record.
    pub(super) fn join(&mut self, name: &'static str, shard: usize) -> usize {
        let (nth, last) = (self.find_or_make(name), self.last_offset(name));
        let record = &mut self.records[nth];
        if record.interest[shard].is_none() {
            record.log_from[shard] = last + 1;
        }
        record.interest[shard] = Some(record.interest[shard].unwrap_or(0) + 1);
        record.left[shard] = None;
        nth
    }

    pub(super) fn unsubscribe(&mut self, record: usize, shard: usize) {
        self.events += 1;
        let left = (self.now, self.events);
        let has_life = self.alive(self.records[record].name).is_some();
        let record = &mut self.records[record];
        let subscribers = record.interest[shard].as_mut().expect("it follows");
        *subscribers -= 1;
        if *subscribers == 0 && has_life {
            record.left[shard] = Some(left);
        } else if *subscribers == 0 {
            record.interest[shard] = None;
        }
        self.drop_unused();
    }

    /// Messages of the channel after this position that nobody can have again.
    fn missed(&self, name: &str, position: u64) -> Vec<&Said> {
        let missed = self.said.iter().filter(|said| {
            self.lives[said.life].name == name && said.position > position && said.gone.is_some()
        });
        missed.collect()
    }

    /// The life of a name that is the first to begin at this position or later.
    fn first_life_from(&self, name: &str, position: u64) -> Option<usize> {
        let mut first = self.said.iter().filter(|said| said.offset == 1);
        let life =
            first.find(|said| said.position >= position && self.lives[said.life].name == name);
        life.map(|said| said.life)
    }

    /// The position that names the life of a channel.
    pub(super) fn life_name(&self, name: &str) -> u64 {
        let of = |life| self.said.iter().find(|said| said.life == life);
        self.alive(name).and_then(of).map_or(self.last() + 1, |first| first.position)
    }

    /// What is owed to whoever had `offset` of the life that this names, and the gap before it.
    fn after_offset(&self, name: &str, offset: u64, life: Id) -> (Vec<u64>, Option<Gap>) {
        let unbounded = |reason| Some(Gap { bounds: None, reason });
        let alive = self.alive(name);
        let kept = alive.map_or(Vec::new(), |life| self.kept(life));
        let kept: Vec<&Said> = kept.iter().map(|place| &self.said[*place]).collect();
        let all = || kept.iter().map(|said| said.position).collect();
        if life.epoch.number() != EPOCH {
            return (all(), unbounded(GapReason::Epoch));
        }
        if life.position > self.last() + 1 {
            return (Vec::new(), unbounded(GapReason::Unknown));
        }
        // A life of any channel that ended since may have been one of this.
        let watermark = alive.map_or(self.watermark, |life| self.lives[life].watermark);
        let is_known = watermark < life.position;
        match alive {
            None if is_known && offset == 0 => return (Vec::new(), None),
            Some(_) if is_known && self.first_life_from(name, life.position) == alive => {}
            _ => return (all(), unbounded(GapReason::Unknown)),
        }
        if offset > self.last_offset(name) {
            return (Vec::new(), unbounded(GapReason::Unknown));
        }
        let missed = self
            .said
            .iter()
            .filter(|said| Some(said.life) == alive && said.offset > offset && said.gone.is_some());
        let missed: Vec<&Said> = missed.collect();
        let gap = missed.last().map(|last| Gap {
            bounds: Some((missed[0].offset, last.offset)),
            reason: last.gone.unwrap(),
        });
        let owed = kept.iter().filter(|said| said.offset > offset);
        (owed.map(|said| said.position).collect(), gap)
    }

    /// Positions of kept messages to deliver, and the gap before them.
    pub(super) fn start(&self, name: &str, since: Since) -> (Vec<u64>, Option<Gap>) {
        let unbounded = |reason| Some(Gap { bounds: None, reason });
        let life = self.alive(name);
        let kept = life.map_or(Vec::new(), |life| self.kept(life));
        let positions = kept.iter().map(|place| self.said[*place].position);
        let id = match since {
            Since::Now => return (Vec::new(), None),
            Since::Unreadable => return (Vec::new(), unbounded(GapReason::Unknown)),
            Since::After(id) => id,
            Since::Offset(offset, life) => return self.after_offset(name, offset, life.0),
            Since::Earliest => return (positions.collect(), None),
            Since::Last(count) => {
                let skip = kept.len().saturating_sub(usize::try_from(count).unwrap());
                return (positions.skip(skip).collect(), None);
            }
            Since::Time(time) => {
                let is_older = |place: &usize| self.said[*place].at < time.0;
                let older = kept.iter().filter(|place| is_older(place)).count();
                if older > 0 {
                    return (positions.skip(older).collect(), None);
                }
                let before = self.stood.iter().rev().find(|(_, at)| *at < time.0);
                at(before.map_or(0, |(position, _)| *position))
            }
        };
        if id.epoch.number() != EPOCH {
            return (positions.collect(), unbounded(GapReason::Epoch));
        }
        if id.position > self.last() {
            return (Vec::new(), unbounded(GapReason::Unknown));
        }
        let owed = positions.filter(|position| *position > id.position).collect();
        let watermark = life.map_or(self.watermark, |life| self.lives[life].watermark);
        let missed = self.missed(name, id.position);
        if id.position < watermark {
            return (owed, unbounded(GapReason::Unknown));
        }
        let Some(first) = missed.first() else { return (owed, None) };
        assert!(missed.iter().all(|said| Some(said.life) == life), "an earlier life was missed");
        let newest = missed.last().unwrap();
        let remembered = self.blocks.iter().any(|block| {
            block.life == first.life && block.positions.contains(&(first.offset, first.position))
        });
        let bounds = remembered.then_some((first.offset, newest.offset));
        (owed, Some(Gap { bounds, reason: newest.gone.unwrap() }))
    }
}
