//! A client with commands: it asks for much at once and hears what comes of each by its number,
//! over a WebSocket or over many requests on any shard, of which it may lose any.

mod errand;
mod session;

use std::collections::BTreeMap;

use self::errand::{Brought, Listening, PostStatus, SOCKET};
use self::session::{PendingRequest, Session};
use super::canary::{Canary, spoil};
use super::fact::CHANNELS;
use super::fact::{channel_name, channel_of};
use super::follower::{Begin, ChannelTold, Follower};
use super::persona::{Allowance, Mood};
use super::trace::Trace;
use super::wire::{Said, masked, request};
use super::world::World;
use crate::driver::sim::{Chance, Standing};

/// How long a slow client's close is waited for.
const SLOW_LINGER_MS: u64 = 5_000;

/// The client.
pub(super) struct Talker {
    /// Whether many requests bring it.
    is_held: bool,
    session: Option<Session>,
    follower: Follower,
    numbers: u64,
    allowance: Allowance,
    pub(super) canary: Option<Canary>,
    /// What it has read, and when.
    pub(super) trace: Trace,
    pub(super) heard: u64,
    pub(super) gaps: u64,
    /// What came of what it asked for.
    pub(super) answers: u64,
}

impl Talker {
    pub(super) fn new(is_held: bool, allowance: Allowance) -> Self {
        Self {
            is_held,
            session: None,
            follower: Follower::new(allowance.may_forget, allowance.keeps_all),
            numbers: 0,
            allowance,
            canary: None,
            trace: Trace::new(),
            heard: 0,
            gaps: 0,
            answers: 0,
        }
    }

    /// What it does in one step.
    pub(super) fn act(&mut self, world: &mut World, chance: &mut Chance) {
        let Some(session) = &mut self.session else {
            if chance.percent(20) {
                self.begin(world, chance);
            }
            return;
        };
        match chance.below(100) {
            _ if session.closes_by.is_some() => {}
            0 => self.break_off(world, chance),
            1 => session.feel(world, Mood::Stopped),
            2 => session.feel(world, Mood::Slow(400 + chance.below(2_000))),
            3..=8 => session.feel(world, Mood::Eager),
            9 if chance.percent(20) => {
                self.command(world, chance, (Vec::new(), vec!["bye".into()]))
            }
            10..=40 if !session.is_over => {
                let commands = self.commands(world, chance);
                self.command(world, chance, commands);
            }
            41..=60 if self.is_held => session.listen_on(world, chance),
            _ => {}
        }
    }

    /// Time has jumped: whatever has a deadline may be over.
    pub(super) fn jumped(&mut self) {
        self.session.iter_mut().for_each(|session| session.is_tainted = true);
    }

    fn begin(&mut self, world: &World, chance: &mut Chance) {
        let shard = chance.below(world.nets.len());
        let mut asked = BTreeMap::new();
        let listens = if self.is_held {
            let wait = [None, Some(1), Some(25)][chance.below(3)];
            Listening::held(world, (shard, None), None, wait)
        } else {
            let channel = chance.below(CHANNELS);
            let first = vec![(channel, Begin::Now)];
            asked.insert(0, PendingRequest::Follow(first, world.truth.position()));
            let head = request(SOCKET, &[channel_name(channel)], None, 0, None);
            Listening::socket(world, shard, &head)
        };
        self.session = Some(Session::new(listens, asked, world.now));
    }

    /// Loses what it hears by. Where something came over it and was not read, it is to begin anew.
    fn break_off(&mut self, world: &World, chance: &mut Chance) {
        let Some(session) = &mut self.session else { return };
        if session.listens.is_empty() {
            return;
        }
        let lost = session.listens.remove(chance.below(session.listens.len()));
        let is_clean = self.is_held && lost.is_untouched(world);
        // Somebody may try to go on with it all the same.
        session.is_over |= self.is_held && lost.is_told_by_stream() && chance.percent(50);
        let keeps_session = is_clean || session.is_over;
        lost.reset(world);
        session.is_tainted = true;
        if !keeps_session {
            self.lose(world);
        }
    }

    /// Its session is no more, as far as it is concerned.
    pub(super) fn lose(&mut self, world: &World) {
        let Some(session) = self.session.take() else { return };
        session.listens.into_iter().for_each(|it| it.reset(world));
        session.brings.into_iter().for_each(|it| it.reset(world));
        self.follower.lost();
    }

    /// Some commands, with their numbers.
    fn commands(&mut self, world: &mut World, chance: &mut Chance) -> (Vec<u64>, Vec<String>) {
        let (mut numbers, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..1 + chance.below(4) {
            let Some((asked, line)) = self.choose(world, chance) else { continue };
            let Some(session) = &mut self.session else { break };
            self.numbers += 1;
            session.asked.insert(self.numbers, asked);
            numbers.push(self.numbers);
            lines.push(format!("{} {line}", self.numbers));
        }
        (numbers, lines)
    }

    /// Something that it may ask for.
    fn choose(&self, world: &mut World, chance: &mut Chance) -> Option<(PendingRequest, String)> {
        let session = self.session.as_ref()?;
        let channel = chance.below(CHANNELS);
        let (is_asked, follows) = (session.is_asked(channel), self.follower.follows(channel));
        let may_leave = match follows {
            true => !is_asked,
            // Over one socket a command comes behind what was asked before.
            false => {
                let is_left = session.is_asked_to_leave(channel);
                !self.is_held && session.is_asked_to_follow(channel) && !is_left
            }
        };
        if may_leave && chance.percent(20) {
            return Some((
                PendingRequest::Leave(channel),
                format!("leave {}", channel_name(channel)),
            ));
        }
        if !follows && !is_asked && chance.percent(60) {
            let mut channels = vec![(channel, self.follower.begin(channel, chance))];
            let other = (channel + 1 + chance.below(CHANNELS - 1)) % CHANNELS;
            if chance.percent(30) && !session.is_asked(other) && !self.follower.follows(other) {
                channels.push((other, self.follower.begin(other, chance)));
            }
            let words = channels
                .iter()
                .map(|(channel, begin)| self.follower.word(*channel, *begin, &world.truth));
            let line = format!("from {}", words.collect::<Vec<_>>().join(" "));
            return Some((PendingRequest::Follow(channels, world.truth.position()), line));
        }
        if self.allowance.may_forget || session.asked.len() > 200 {
            return None; // what it publishes is to be the next of its channel, whatever ends
        }
        let (number, text) = world.say(channel);
        Some((PendingRequest::Say(number), format!("say {} {text}", channel_name(channel))))
    }

    /// Sends lines.
    fn command(
        &mut self,
        world: &World,
        chance: &mut Chance,
        (numbers, lines): (Vec<u64>, Vec<String>),
    ) {
        let Some(session) = &mut self.session else { return };
        let lines = lines.join("\n");
        session.is_tainted |= lines == "bye";
        let shard = chance.below(world.nets.len());
        match (&session.id, session.listens.first()) {
            _ if lines.is_empty() => {}
            (Some(id), _) => {
                session.brings.push(Brought::new(world, shard, id, (numbers, &lines)));
            }
            (None, Some(socket)) if !self.is_held => {
                world.nets[socket.shard].write(socket.client, &masked(1, lines.as_bytes()));
            }
            // It does not know yet what it is called.
            (None, _) => numbers.iter().for_each(|number| drop(session.asked.remove(number))),
        }
    }

    /// Reads what it is willing to and checks every word of it.
    pub(super) fn listen(&mut self, world: &World) {
        let Some(session) = &mut self.session else { return };
        let mut heard = Vec::new();
        for listening in &mut session.listens {
            let said = listening.hear(world);
            heard.push((listening.has_ended(), said));
        }
        // What took the place of another speaks after it.
        heard.sort_by_key(|(has_ended, _)| !has_ended);
        let is_whole = session.listens.iter().any(|it| it.once);
        let mut said: Vec<Said> = heard.into_iter().flat_map(|(_, said)| said).collect();
        if let Some(canary) = self.canary {
            spoil(canary, &mut said);
        }
        for one in said {
            match &one {
                // Its secret is another one in each run.
                Said::Told(text) if text.starts_with("session ") => {}
                one => self.trace.note(world.now, format!("{one:?}").as_bytes()),
            }
            self.heard_one(one, is_whole, world);
        }
        self.hear_errands(world);
    }

    fn heard_one(&mut self, said: Said, is_whole: bool, world: &World) {
        let Some(session) = &mut self.session else { return };
        let truth = &world.truth;
        match said {
            Said::Head(410) => self.is_gone(world),
            Said::Head(200) => assert!(!session.is_over, "it goes on behind what is lost"),
            Said::Head(_) | Said::Open(_) | Said::Pong(_) | Said::Heartbeat => {}
            Said::Told(text) => match text.strip_prefix("session ") {
                Some(id) => session.id = Some(id.to_owned()),
                None => self.told(&text, world),
            },
            Said::Message(message) => {
                self.heard += 1;
                self.follower.message(&message, truth);
            }
            Said::Gap(gap) => {
                self.gaps += 1;
                self.follower.gap(&gap, is_whole, truth);
            }
            Said::Ping => session.frame(world, 10, b""),
            Said::Close(code) => {
                session.frame(world, 8, &code.to_be_bytes());
                let ms = if code == 4508 { SLOW_LINGER_MS } else { world.limits().close_ms };
                session.closes_by = Some(world.now.plus(ms));
            }
            Said::Closed(reason) => {
                assert_eq!(reason, "slow");
                assert!(self.is_excused(world), "a client that did nothing was called slow");
            }
            Said::Answer { .. } => panic!("it does not poll: {said:?}"),
            Said::Unsubscribed(_) => panic!("nobody ends its subscriptions"),
            Said::Expiring(_) | Said::Refreshed => panic!("nobody has a token"),
        }
    }

    /// What has come of what it hears by, and of what it brought.
    fn hear_errands(&mut self, world: &World) {
        let Some(session) = &mut self.session else { return };
        let mut is_over = false;
        for nth in (0..session.listens.len()).rev() {
            let listening = &session.listens[nth];
            let standing = listening.standing(world);
            let is_gone = matches!(standing, Standing::Ended | Standing::Reset);
            if listening.has_ended() || listening.is_refused || is_gone {
                // What was on its way over one that failed may be lost.
                is_over |= !listening.has_ended() && (listening.is_open || !self.is_held);
                is_over |= !listening.has_ended() && standing == Standing::Reset;
                session.listens.remove(nth).reset(world);
                session.detached = Some(world.now);
            }
        }
        let is_held = session.listens.iter().any(|it| it.is_open);
        session.detached = if is_held { None } else { session.detached.or(Some(world.now)) };
        let mut is_gone = false;
        let mut brought = std::mem::take(&mut session.brings);
        brought.retain_mut(|brought| match brought.hear(world, &mut self.trace) {
            PostStatus::Waiting => true,
            PostStatus::Taken => false,
            PostStatus::NotTaken => {
                for number in &brought.numbers {
                    let asked = session.asked.remove(number);
                    assert!(asked.is_some(), "{number} was not taken and is answered");
                }
                false
            }
            PostStatus::Gone => {
                is_gone = true;
                false
            }
            PostStatus::Lost => {
                is_over = true;
                false
            }
        });
        session.brings = brought;
        match (is_gone, is_over) {
            (true, _) => self.is_gone(world),
            (false, true) => self.ended(world),
            (false, false) => {}
        }
    }

    /// There is no such session any more: was it allowed to end?
    fn is_gone(&mut self, world: &World) {
        let Some(session) = &self.session else { return };
        let detached_ms = world.limits().detached_ms;
        let nobody_came =
            session.detached.is_some_and(|since| world.now.since(since) >= detached_ms);
        assert!(nobody_came || self.is_excused(world), "a session is gone that was held");
        self.lose(world);
    }

    /// Our side has ended what it hears by.
    fn ended(&mut self, world: &World) {
        assert!(self.is_excused(world), "a session was ended that did nothing");
        self.lose(world);
    }

    fn is_excused(&self, world: &World) -> bool {
        let Some(session) = &self.session else { return true };
        let never_came = session.listens.iter().all(|it| !it.is_open);
        session.is_tainted
            || never_came && !self.is_held
            || self.allowance.lies
            || self.follower.may_be_ended(&world.truth)
    }

    /// What came of a request, by its number; or the machine did not understand.
    fn told(&mut self, text: &str, world: &World) {
        let Some(session) = &mut self.session else { return };
        let (number, answer) = text.split_once(' ').expect("a number and an answer");
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("no answer of ours: {text}"));
        let asked = session.asked.remove(&number);
        let asked = asked.unwrap_or_else(|| panic!("answered twice, or not asked: {text}"));
        self.answers += 1;
        let words: Vec<&str> = answer.split(' ').collect();
        match (asked, &words[..]) {
            (PendingRequest::Follow(wanted, asked_at), ["following", _, channels @ ..]) => {
                for told in channels.chunks(4).map(ChannelTold::read) {
                    let begin = wanted.iter().find(|(channel, _)| *channel == told.channel);
                    let Some((_, begin)) = begin else { continue }; // it was left meanwhile
                    if told.gap.is_some() {
                        self.gaps += 1;
                    }
                    self.follower.answered(told, *begin, asked_at, &world.truth);
                }
                let is_followed = |(channel, _): &(usize, _)| self.follower.follows(*channel);
                assert!(wanted.iter().all(is_followed), "not all that it asked for: {text}");
            }
            (PendingRequest::Leave(channel), ["left", name, was]) => {
                assert_eq!(channel_of(name), channel);
                assert_eq!(*was, "true", "it was followed, or asked for: {text}");
                session.cancel(channel);
                if self.follower.follows(channel) {
                    self.follower.left(channel);
                }
            }
            (PendingRequest::Say(number), ["at", offset, id]) => {
                let position = world.truth.position_in(id);
                let place = (position, vec![offset.parse().expect("an offset")]);
                assert_eq!(Some(place), world.truth.place_of(number), "{text}");
            }
            (PendingRequest::Follow(..) | PendingRequest::Say(_), ["Busy" | "TooManyRequests"]) => {
            }
            (PendingRequest::Follow(..) | PendingRequest::Say(_), ["LogFailed"])
                if world.log.has_failed() => {}
            (_, other) => panic!("no answer to that: {other:?}"),
        }
    }

    /// The node is at rest: who listens has everything, and an answer to all that it asked for.
    pub(super) fn at_rest(&mut self, world: &World) {
        let Some(session) = &self.session else { return };
        let listens = |it: &Listening| it.is_held(world) && it.mood == Mood::Eager;
        let is_listening = session.listens.iter().any(listens);
        let waits = |brought: &Brought| !brought.is_accepted(world);
        assert!(session.brings.iter().all(waits), "lines that were brought have no answer");
        if is_listening && !session.is_over {
            if let Some(by) = session.closes_by {
                assert!(world.now < by, "both sides have closed and the connection stands");
                return; // what it said before may have been cut, and with it our close
            }
            let asked = session.asked.keys().collect::<Vec<_>>();
            let is_answered = asked.is_empty() || !session.brings.is_empty();
            assert!(is_answered, "no answer to {asked:?}");
            self.follower.all_told(world.truth.position(), &world.truth);
        }
    }
}
