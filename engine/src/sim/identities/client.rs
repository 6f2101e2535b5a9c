//! A client that speaks for a user of a tenant, or for nobody, and what it checks: that it hears
//! all that it may, nothing else, and is told why when that ends.

use std::collections::BTreeSet;

use fanfare_protocol::id::Id;

use super::entitlements::Denials;
use super::token::{CHANNELS, IssuedToken, Issuers, ROOMS, TENANTS, USERS};
use super::world::{TIMERS_MS, TenantsWorld, mark};
use crate::driver::sim::{Chance, Client, SimNet, Standing};
use crate::sim::trace::Trace;
use crate::sim::truth::number_in;
use crate::sim::wire::{Ear, MessageSaid, Said, Way, beginning, masked, request};

/// A token whose end is at least so far away is told of so long before it.
const FAR_MS: u64 = 60_000;
const NOTICE_MS: u64 = 30_000;

/// How it says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    /// With its request.
    Field,
    /// By its first message.
    Message,
    /// Not at all.
    Nobody,
}

/// A connection.
struct Line {
    client: Client,
    ear: Ear,
    channels: Vec<usize>,
    /// By what it is here; nothing before it has shown that, and of nobody in particular.
    token: Option<IssuedToken>,
    /// What it is to show by its first message.
    unshown: Option<IssuedToken>,
    /// A new token that it has shown, of which it has heard nothing yet.
    offered: Option<IssuedToken>,
    /// Whether it is known to be let in.
    is_admitted: bool,
    is_open: bool,
    /// Behind which position it is to hear everything.
    begin: Option<u64>,
    heard: BTreeSet<u64>,
    last: u64,
    /// Reasons that there were to end it since the node was at rest, and whether there was a moment
    /// without any.
    denials: Denials,
    was_free: bool,
    /// Whether it was told that it ends.
    is_told: bool,
    left: bool,
    /// When it was open by its token first, and whether it was told of the end of that.
    since_ms: u64,
    is_warned: bool,
    /// The last bytes that came, in which a mark may have begun.
    tail: Vec<u8>,
}

pub(super) struct TenantClient {
    shard: usize,
    way: Way,
    arrival: Arrival,
    tenant: usize,
    user: Option<usize>,
    wallet: Vec<IssuedToken>,
    line: Option<Line>,
    /// The last position that it knows.
    since: u64,
    pub(super) heard: u64,
    /// How often it was told that it may not.
    pub(super) denied: u64,
    pub(super) refreshed: u64,
    pub(super) trace: Trace,
}

impl TenantClient {
    pub(super) fn new(shards: usize, chance: &mut Chance) -> Self {
        let ways = [Way::Socket { json: true }, Way::Events { json: true }, Way::Poll];
        let way = ways[[0, 0, 1, 2][chance.below(4)]];
        let arrival = match chance.below(10) {
            0 | 1 => Arrival::Nobody,
            2..=4 if way == ways[0] => Arrival::Message,
            _ => Arrival::Field,
        };
        // Who brings no token is of the first tenant.
        let tenant = if arrival == Arrival::Nobody { 0 } else { chance.below(TENANTS.len()) };
        let user =
            (arrival != Arrival::Nobody && !chance.percent(10)).then(|| chance.below(USERS.len()));
        Self {
            shard: chance.below(shards),
            way,
            arrival,
            tenant,
            user,
            wallet: Vec::new(),
            line: None,
            since: 0,
            heard: 0,
            denied: 0,
            refreshed: 0,
            trace: Trace::new(),
        }
    }

    /// The token that it has shown last, if it is here by one.
    pub(super) fn token(&self) -> Option<&IssuedToken> {
        self.line.as_ref()?.token.as_ref()
    }

    /// What it does in one step.
    pub(super) fn act(&mut self, world: &TenantsWorld, issuers: &mut Issuers, chance: &mut Chance) {
        if self.line.is_none() {
            if chance.percent(20) {
                self.connect(world, issuers, chance);
            }
            return;
        }
        match chance.below(100) {
            0 => self.reset(world),
            1..=3 => self.refresh(world, issuers, chance),
            4 => self.leave(world),
            _ => {}
        }
    }

    fn new_token(
        &mut self,
        world: &TenantsWorld,
        issuers: &mut Issuers,
        chance: &mut Chance,
    ) -> IssuedToken {
        let token = issuers.issue((self.tenant, self.user), world.unix_ms() / 1_000, chance);
        self.wallet.push(token.clone());
        token
    }

    /// Asks to follow some channels, mostly such as it may.
    fn connect(&mut self, world: &TenantsWorld, issuers: &mut Issuers, chance: &mut Chance) {
        let token = (self.arrival != Arrival::Nobody).then(|| match self.wallet.last() {
            Some(last) if chance.percent(40) => last.clone(),
            _ => self.new_token(world, issuers, chance),
        });
        let may_hear = |channel: usize| {
            let denials = world.entitlements.of_channels(token.as_ref(), self.tenant, &[channel]);
            denials == Denials::NONE
        };
        let mut channels: Vec<usize> = (0..CHANNELS.len())
            .filter(|channel| chance.percent(if may_hear(*channel) { 60 } else { 2 }))
            .collect();
        if self.arrival == Arrival::Message && channels.iter().all(|it| *it >= ROOMS) {
            channels.insert(0, 0); // what nobody may without a token, so that it is asked for one
        }
        if channels.is_empty() {
            return;
        }
        let token = token.map(|token| match chance.percent(5) {
            true => Issuers::forge(&token, chance),
            false => token,
        });
        let client = world.nets[self.shard].connect();
        let (mut token, mut unshown) = (token, None);
        if self.arrival == Arrival::Message {
            unshown = token.take();
        }
        self.line = Some(Line {
            client,
            ear: Ear::new(self.way),
            channels,
            token,
            unshown,
            offered: None,
            is_admitted: false,
            is_open: false,
            begin: None,
            heard: BTreeSet::new(),
            last: 0,
            denials: Denials::NONE,
            was_free: false,
            is_told: false,
            left: false,
            since_ms: 0,
            is_warned: false,
            tail: Vec::new(),
        });
        self.ask(world, chance);
    }

    /// Makes its request.
    fn ask(&mut self, world: &TenantsWorld, chance: &mut Chance) {
        let Some(line) = &mut self.line else { return };
        let names: Vec<String> = line.channels.iter().map(|it| CHANNELS[*it].into()).collect();
        let is_poll = self.way == Way::Poll;
        let since = (is_poll || chance.percent(40)).then_some(self.since);
        let id = since.map(|since| world.id(since));
        let wait = if is_poll { [1, 25][chance.below(2)] } else { 0 };
        let mut head = request(self.way, &names, id.as_deref(), wait, None);
        if since.is_none() && chance.percent(30) {
            head = beginning(&head, "since=earliest");
        }
        if let Some(token) = &line.token {
            let end = head.len() - 2;
            head.insert_str(end, &format!("Authorization: Bearer {}\r\n", token.text));
        }
        world.nets[self.shard].write(line.client, head.as_bytes());
        line.begin = since.filter(|_| is_poll);
        line.is_admitted = false;
        line.forget();
        line.note(world);
    }

    /// Shows another token on its WebSocket: a new one of its own, or one that is not.
    fn refresh(&mut self, world: &TenantsWorld, issuers: &mut Issuers, chance: &mut Chance) {
        let Some(line) = &self.line else { return };
        let is_socket = matches!(self.way, Way::Socket { .. });
        if !is_socket || !line.is_open || line.left || line.is_told || line.offered.is_some() {
            return;
        }
        let now_s = world.unix_ms() / 1_000;
        let token = match chance.below(10) {
            0 => {
                let whose = (chance.below(TENANTS.len()), Some(chance.below(USERS.len())));
                issuers.issue(whose, now_s, chance)
            }
            1 => Issuers::forge(&self.new_token(world, issuers, chance), chance),
            2 if !self.wallet.is_empty() => self.wallet[chance.below(self.wallet.len())].clone(),
            _ => self.new_token(world, issuers, chance),
        };
        let line = self.line.as_mut().expect("it is there");
        line.show(&token, &world.nets[self.shard]);
        line.offered = Some(token);
        line.note(world);
    }

    pub(super) fn reset(&mut self, world: &TenantsWorld) {
        if let Some(line) = self.line.take() {
            world.nets[self.shard].reset(line.client);
        }
    }

    /// Closes as it should.
    fn leave(&mut self, world: &TenantsWorld) {
        let Some(line) = &mut self.line else { return };
        let is_socket = matches!(self.way, Way::Socket { .. });
        if is_socket && line.is_open && !line.left && !line.is_told {
            world.nets[self.shard].write(line.client, &masked(8, &1000_u16.to_be_bytes()));
            line.left = true;
        }
    }

    /// Reads what is there, and checks every word of it.
    pub(super) fn listen(&mut self, world: &TenantsWorld, chance: &mut Chance) {
        let Some(line) = &mut self.line else { return };
        line.note(world);
        let net = &world.nets[self.shard];
        let standing = net.standing(line.client);
        let bytes = net.take(line.client);
        self.trace.note(world.now, &bytes);
        line.look_for_others(&bytes, self.tenant);
        for said in line.ear.hear(&bytes) {
            self.heard_one(said, world, chance);
        }
        let Some(line) = &mut self.line else { return };
        if matches!(standing, Standing::Ended | Standing::Reset) {
            // The word of who may not may be cut off, where time jumps and the network is slow.
            let is_cut = standing == Standing::Reset && world.lies;
            let is_excused = line.left || (is_cut && line.denials != Denials::NONE);
            assert!(line.is_told || is_excused, "{} was ended without a word", line.describe());
            self.line = None;
            return;
        }
        let is_asked = line.ear.hears_frames() && line.unshown.is_some() && !line.is_told;
        if is_asked && chance.percent(50) {
            let token = line.unshown.take().expect("it is there");
            line.show(&token, net);
            line.token = Some(token);
            line.forget();
            line.note(world);
        }
    }

    fn heard_one(&mut self, said: Said, world: &TenantsWorld, chance: &mut Chance) {
        let Some(line) = &mut self.line else { return };
        match said {
            Said::Head(101 | 200) | Said::Heartbeat => {}
            Said::Head(status) => self.denied(Denials::told_by(status), world),
            Said::Closed(reason) => self.denied(Denials::named(&reason), world),
            Said::Close(1000) if line.left => world.nets[self.shard].half_close(line.client),
            Said::Close(code) => {
                world.nets[self.shard].write(line.client, &masked(8, &code.to_be_bytes()));
                self.denied(Denials::told_by(code), world);
            }
            Said::Open(id) => {
                assert!(line.was_free, "{} was let in", line.describe());
                (line.is_open, line.is_admitted) = (true, true);
                (line.since_ms, line.is_warned) = (world.unix_ms(), false);
                let begin = position(&id);
                line.begin = Some(begin);
                self.since = begin;
            }
            Said::Expiring(in_s) => {
                assert!(line.token.is_some() && in_s * 1_000 <= NOTICE_MS, "{}", line.describe());
                line.is_warned = true;
            }
            Said::Refreshed => {
                let token = line.offered.take().expect("it has shown one");
                assert!(line.may_become(&token), "{} is another's now", line.describe());
                line.token = Some(token);
                (line.since_ms, line.is_warned) = (world.unix_ms(), false);
                self.refreshed += 1;
            }
            Said::Message(message) => {
                assert!(line.is_open && !line.is_told, "it is not there to hear it");
                self.since = line.message(&message, world, self.tenant);
                self.heard += 1;
            }
            Said::Answer { id, messages, gaps } => {
                assert!(line.was_free, "{} was answered", line.describe());
                assert_eq!(gaps, [], "everything is kept");
                for message in &messages {
                    line.message(message, world, self.tenant);
                    self.heard += 1;
                }
                self.since = position(&id);
                line.owes_nothing(world, self.tenant, self.since);
                self.ask(world, chance);
            }
            other => panic!("{} was told {other:?}", line.describe()),
        }
    }

    /// It was told for one of these reasons that it may not, and ends its side.
    fn denied(&mut self, reasons: Denials, world: &TenantsWorld) {
        let Some(line) = &mut self.line else { return };
        let is = line.denials;
        let who = line.describe();
        assert!(is.has_any(reasons), "{who} was told {reasons:?}, and there was {is:?}");
        assert!(!line.is_told, "{who} was told twice");
        line.is_told = true;
        world.nets[self.shard].half_close(line.client);
        self.denied += 1;
    }

    /// The node is at rest: who may not be here is not, who may has all that is for it.
    pub(super) fn settled(&mut self, world: &TenantsWorld) {
        let Some(line) = &mut self.line else { return };
        let who = line.describe();
        assert!(!line.is_told && !line.left, "{who} has not gone");
        if line.ear.hears_frames() && !line.is_open && line.token.is_none() {
            // It is to say who it is, and some never will.
            if self.arrival == Arrival::Nobody {
                assert!(line.denials.has_any(Denials::NEEDED), "{who} waits to be let in");
                self.reset(world);
            }
            return;
        }
        assert!(line.offered.is_none(), "{who} has heard nothing of its new token");
        assert!(line.is_admitted || line.was_free, "{who} was never to be let in");
        line.is_admitted = true;
        let unix_ms = world.unix_ms() - TIMERS_MS;
        let denials = line.reasons(world, unix_ms);
        assert_eq!(denials, Denials::NONE, "{who} is still here");
        line.owes_nothing(world, self.tenant, u64::MAX);
        if self.way != Way::Poll {
            assert!(line.is_open, "{who} was not let in");
            let ends_ms = line.token.as_ref().map(|token| token.expires_s * 1_000 + 30_000);
            let is_far = |ends_ms: &u64| *ends_ms >= line.since_ms + FAR_MS;
            let is_near = ends_ms.filter(is_far).is_some_and(|it| it <= unix_ms + NOTICE_MS);
            assert!(!is_near || line.is_warned, "{who} was not told that it ends");
        }
        line.forget();
        line.note(world);
    }
}

impl Line {
    fn show(&self, token: &IssuedToken, net: &SimNet) {
        let message = format!("{{\"token\":\"{}\"}}", token.text);
        net.write(self.client, &masked(1, message.as_bytes()));
    }

    /// What came before counts no more for what may be told of it.
    fn forget(&mut self) {
        (self.denials, self.was_free) = (Denials::NONE, false);
    }

    /// Whether a new token is of the same user of the same tenant, or the first of somebody.
    fn may_become(&self, token: &IssuedToken) -> bool {
        match &self.token {
            Some(before) => (before.tenant, before.user) == (token.tenant, token.user),
            None => token.tenant == 0,
        }
    }

    /// The reasons that there are to end it, by the token that it is here by.
    fn reasons(&self, world: &TenantsWorld, unix_ms: u64) -> Denials {
        self.reasons_by(self.token.as_ref(), !self.is_admitted, world, unix_ms)
    }

    fn reasons_by(
        &self,
        token: Option<&IssuedToken>,
        is_new: bool,
        world: &TenantsWorld,
        unix_ms: u64,
    ) -> Denials {
        let of = &world.entitlements;
        let of_token = token.map(|token| of.of_token(token, unix_ms, is_new));
        // Who shows nothing is of the first tenant.
        let tenant = token.map_or(0, |token| token.tenant);
        of_token.unwrap_or_default() | of.of_channels(token, tenant, &self.channels)
    }

    /// Remembers which reasons there are at this moment.
    fn note(&mut self, world: &TenantsWorld) {
        let unix_ms = world.unix_ms();
        let denials = self.reasons(world, unix_ms);
        self.denials |= denials;
        self.was_free |= denials == Denials::NONE;
        if let Some(token) = &self.offered {
            let mut denials = self.reasons_by(Some(token), true, world, unix_ms);
            if !self.may_become(token) {
                denials |= Denials::BAD;
            }
            self.denials |= denials;
        }
    }

    /// No byte of another tenant's message ever comes, wherever the bytes are cut.
    fn look_for_others(&mut self, bytes: &[u8], tenant: usize) {
        self.tail.extend_from_slice(bytes);
        for (other, name) in TENANTS.iter().enumerate() {
            let mark = mark(name);
            let comes = self.tail.windows(mark.len()).any(|it| it == mark.as_bytes());
            assert!(other == tenant || !comes, "{} hears {name}", self.describe());
        }
        let end = self.tail.len().saturating_sub(16);
        self.tail.drain(..end);
    }

    /// A message came, in its turn and once. Gives its position.
    fn message(&mut self, message: &MessageSaid, world: &TenantsWorld, tenant: usize) -> u64 {
        let who = self.describe();
        let number = number_in(&message.payload).expect("it has a number");
        let broadcast = &world.broadcasts[&number];
        assert_eq!(broadcast.tenant, tenant, "{who} hears another tenant's");
        assert!(message.payload == broadcast.payload.as_bytes(), "the payload is changed");
        let name = message.channel.as_deref().expect("it says in which channel");
        let is_its =
            |channel: &&usize| CHANNELS[**channel] == name && self.channels.contains(channel);
        assert!(broadcast.channels.iter().any(|it| is_its(&it)), "{who} hears of {name}");
        let at = position(message.id.as_deref().expect("it has an id"));
        assert_eq!(broadcast.position, Some(at), "the id is its own");
        assert!(at > self.last, "{who} hears {number} late or twice");
        self.last = at;
        self.heard.insert(number);
        at
    }

    /// Everything was heard that was said to it behind its beginning, up to there.
    fn owes_nothing(&self, world: &TenantsWorld, tenant: usize, to: u64) {
        let Some(begin) = self.begin else { return };
        for (number, broadcast) in &world.broadcasts {
            let Some(at) = broadcast.position else { continue };
            let is_its = broadcast.tenant == tenant
                && broadcast.channels.iter().any(|it| self.channels.contains(it));
            let is_owed = is_its && at > begin && at <= to;
            assert!(!is_owed || self.heard.contains(number), "{} lacks {number}", self.describe());
        }
    }

    fn describe(&self) -> String {
        let of = |token: &IssuedToken| {
            let IssuedToken { tenant, user, id, expires_s, is_forged, .. } = token;
            let (name, user) = (TENANTS[*tenant], user.map(|user| USERS[user]));
            format!("{user:?} of {name} by {id} until {expires_s}, forged {is_forged}")
        };
        let names: Vec<&str> = self.channels.iter().map(|it| CHANNELS[*it]).collect();
        let who = self.token.as_ref().map_or("nobody".into(), of);
        let next = self.offered.as_ref().map(of);
        format!("{:?}, {who}, then {next:?}, in {names:?},", self.client)
    }
}

fn position(id: &str) -> u64 {
    Id::parse(id.as_bytes()).expect("an id").position
}
