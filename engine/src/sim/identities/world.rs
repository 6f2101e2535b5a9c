//! The node of several tenants, its publishers, and what each tenant has said where.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use clap::ValueEnum;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;

use super::client::TenantClient;
use super::entitlements::Entitlements;
use super::token::{CHANNELS, IssuedToken, TENANTS};
use crate::authority::Authority;
use crate::channel::{ChannelName, Tenant};
use crate::clock::{Millis, Wall};
use crate::driver::sim::{Chance, Sim, SimNet, Temper};
use crate::limits::Limits;
use crate::log::Memory;
use crate::node::{Node, NodeParts, Plans};
use crate::sequencer::Ticket;
use crate::sequencer::command::{Command, Publication, PublishAnswer, Published, Refusal};
use crate::sequencer::inbox::NotTaken;
use crate::shard::Shard;
use crate::shard::tick_budget::TickBudget;
use crate::sim::slow_log::{Hand, LogTemper, SlowLog};
use crate::sim::world::COUNTED;
use crate::tenancy::TokenSettings;
use crate::transport::Context;

/// Milliseconds since 1970 when a world begins.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Steps in which a node comes to rest, or never will.
const STEPS_MAX: usize = 5_000;
/// A lying network may keep anything back for a while.
const QUIET_STEPS: usize = 25;
/// After this long what was due is told: the timers of shards are not exact.
pub(super) const TIMERS_MS: u64 = 100;
/// What takes longer than any world: time jumps here, and nobody is to be cut off for it.
const FOREVER_MS: u64 = 1 << 36;

/// A mistake that the world makes in the node's place, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::sim) enum Slip {
    /// After a revocation nobody is asked again.
    AsksNobody,
    /// Now and then a message goes to the channel of that name of another tenant.
    ForgetsTenant,
}

/// A message of one tenant.
pub(super) struct Broadcast {
    pub(super) tenant: usize,
    pub(super) channels: Vec<usize>,
    pub(super) payload: String,
    /// Where it stands, when that is known.
    pub(super) position: Option<u64>,
}

/// What publishers were told of their messages, by number.
type Answers = Arc<Mutex<Vec<(u64, Result<Published, Refusal>)>>>;

/// The node and what is true of it.
pub(super) struct TenantsWorld {
    pub(super) now: Millis,
    node: Node<Sim, SlowLog<Memory<Ticket>, Ticket>>,
    pub(super) nets: Vec<SimNet>,
    pub(super) entitlements: Entitlements,
    /// By number.
    pub(super) broadcasts: BTreeMap<u64, Broadcast>,
    epoch: Epoch,
    answers: Answers,
    offers: VecDeque<Command>,
    /// Whether the network keeps back what it has.
    pub(super) lies: bool,
    /// For how many steps each shard, and the order, stands still.
    stalled: Vec<u32>,
    order_stalled: u32,
    /// Something was revoked, and nobody was asked again yet.
    is_to_ask: bool,
    pub(super) slip: Option<Slip>,
}

impl TenantsWorld {
    pub(super) fn new(seed: u64, chance: &mut Chance) -> Self {
        let (now, shards) = (Millis(1_000), 1 + chance.below(3));
        let tiny = TickBudget { entries: 8, units: 2, receives: 2, batches: 1, quantum: 3 };
        let budget = [TickBudget::DEFAULT, COUNTED, tiny][chance.below(3)];
        let lazy = LogTemper { steps: 6, room: 64 };
        let log = [LogTemper::PROMPT, lazy][chance.below(2)];
        let temper = [Temper::HONEST, Temper::LIAR][chance.below(2)];
        let limits = Limits {
            connections_per_address: 0,
            heads_per_address: 0,
            ring_entries: [8, 1_024][chance.below(2)],
            inbox_commands: [2, 256][chance.below(2)],
            head_ms: FOREVER_MS,
            auth_ms: FOREVER_MS,
            client_message_ms: FOREVER_MS,
            ping_ms: FOREVER_MS,
            idle_ms: FOREVER_MS,
            stall_ms: FOREVER_MS,
            ..Limits::default()
        };
        let entitlements = Entitlements::new();
        let tokens = TokenSettings::default();
        let keys = Arc::new(entitlements.keys());
        let rules = entitlements.rules();
        let authority = Authority { keys, ..Authority::new(&tokens, Arc::new(rules.clone()), 1) };
        let context = Context {
            loopback: true,
            dev: true,
            origins_key: Chance::new(seed).draw(),
            wall: Wall::Since(EPOCH_MS),
            authority: Some(Arc::new(authority)),
            ..Context::new(limits, Tenant::new(TENANTS[0]))
        };
        let epoch = Epoch::from_random(seed);
        let plans = Plans::stepped(epoch, context, rules, shards, 64);
        let slow = SlowLog::new(Memory::default(), log, Hand::default(), seed);
        let seeds = (0..shards as u64).map(|shard| seed.wrapping_mul(31).wrapping_add(shard));
        let (drivers, nets): (Vec<_>, Vec<_>) =
            seeds.map(|seed| Sim::new(seed, 64, temper)).unzip();
        let mut node = Node::new(NodeParts::join(plans, slow), drivers, now);
        node.shards.iter_mut().for_each(|shard| shard.set_budget(budget));
        node.sequencer.set_turn(budget.units);
        Self {
            now,
            node,
            nets,
            entitlements,
            broadcasts: BTreeMap::new(),
            epoch,
            answers: Arc::default(),
            offers: VecDeque::new(),
            lies: temper.delay > 0,
            stalled: vec![0; shards],
            order_stalled: 0,
            is_to_ask: false,
            slip: None,
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.now.0
    }

    /// What a position is called.
    pub(super) fn id(&self, position: u64) -> String {
        Id { epoch: self.epoch, position }.to_string()
    }

    /// A backend of a tenant publishes in channels of it. Others use the same keys.
    pub(super) fn publish(&mut self, tenant: usize, channels: Vec<usize>, chance: &mut Chance) {
        let number = self.broadcasts.len() as u64 + 1;
        let name = TENANTS[tenant];
        let filler = "@".repeat(chance.below(200));
        let payload = format!("#n{number};{} {filler}", mark(name));
        let (kind, data) = match chance.percent(50) {
            true => (Kind::Text, payload.clone()),
            false => (Kind::Json, format!("\"{payload}\"")),
        };
        let strays = self.slip == Some(Slip::ForgetsTenant) && chance.percent(2);
        let whose = if strays { (tenant + 1) % TENANTS.len() } else { tenant };
        let mut names = channels
            .iter()
            .map(|channel| ChannelName::new(Tenant::new(TENANTS[whose]), CHANNELS[*channel]));
        let of_tenant = self.broadcasts.values().filter(|it| it.tenant == tenant).count();
        let publication = Publication {
            channel: names.next().expect("it is for one at least"),
            also: names.collect(),
            kind,
            event: None,
            idempotency_key: Some(format!("k{of_tenant}").into_bytes().into()),
            ephemeral: false,
            except: None,
            data: data.into_bytes().into(),
        };
        let answers = Arc::clone(&self.answers);
        let answer = move |result| answers.lock().unwrap().push((number, result));
        let answer = PublishAnswer::Callback(Box::new(answer));
        self.offers.push_back(Command::Publish(publication, answer));
        let position = None;
        self.broadcasts.insert(number, Broadcast { tenant, channels, payload, position });
    }

    /// Something of the tenant of this token is revoked. Those who are here are asked again now, or
    /// a little later.
    pub(super) fn revoke(&mut self, token: &IssuedToken, chance: &mut Chance) {
        let now_s = self.unix_ms() / 1_000;
        let revocation = self.entitlements.revoke(token, now_s, chance);
        let authority = self.authority();
        authority.revocations.lock().unwrap().revoke(&revocation).expect("there is room");
        self.is_to_ask = true;
        if chance.percent(70) {
            self.ask_again();
        }
    }

    /// As [`crate::node::ContextPost::ask_again`] does: the same again, as another context.
    pub(super) fn ask_again(&mut self) {
        if std::mem::take(&mut self.is_to_ask) && self.slip != Some(Slip::AsksNobody) {
            self.node.set_context(Context::clone(self.node.context()));
        }
    }

    /// Rules or keys of a tenant are others.
    pub(super) fn reload(&mut self, tenant: usize, chance: &mut Chance) {
        self.entitlements.reconfigure(tenant, chance);
        let (keys, rules) = (self.entitlements.keys(), self.entitlements.rules());
        let (keys, rules) = (Arc::new(keys), Arc::new(rules));
        let authority = Authority { keys, rules, ..Authority::clone(&self.authority()) };
        let authority = Some(Arc::new(authority));
        let before = Context::clone(self.node.context());
        self.node.set_context(Context { authority, ..before });
        self.is_to_ask = false;
    }

    fn authority(&self) -> Arc<Authority> {
        self.node.context().authority.clone().expect("clients are asked who they are")
    }

    /// A shard, or the order, stands still for so many steps.
    pub(super) fn stall(&mut self, chance: &mut Chance) {
        let steps = 1 + chance.below(20) as u32;
        match chance.below(self.stalled.len() + 1) {
            0 => self.order_stalled = steps,
            shard => self.stalled[shard - 1] = steps,
        }
    }

    /// What waits is offered, and the order takes a step.
    pub(super) fn step_order(&mut self) {
        while let Some(command) = self.offers.pop_front() {
            if let Err(NotTaken::Full(command)) = self.node.inbox().offer(command) {
                self.offers.push_front(command);
                break;
            }
        }
        match self.order_stalled.checked_sub(1) {
            Some(rest) => self.order_stalled = rest,
            None => drop(self.node.step_order(self.now)),
        }
        for (number, result) in std::mem::take(&mut *self.answers.lock().unwrap()) {
            let published = result.expect("there is room");
            assert!(!published.duplicate, "message {number} is taken for another tenant's");
            let broadcast = self.broadcasts.get_mut(&number).expect("it was published");
            let before = broadcast.position.replace(published.id.position);
            assert_eq!(before, None, "message {number} has its place once");
        }
    }

    /// A tick of each shard that does not stand still.
    pub(super) fn step_shards(&mut self) {
        for (shard, stalled) in self.stalled.iter_mut().enumerate() {
            match stalled.checked_sub(1) {
                Some(rest) => *stalled = rest,
                None => drop(self.node.tick(shard, self.now)),
            }
        }
    }

    /// Everything that is under way ends, and clients hear it: all of them are judged then by what
    /// is true now, but for what has become due within [`TIMERS_MS`].
    pub(super) fn settle(&mut self, clients: &mut [TenantClient], chance: &mut Chance) {
        self.ask_again();
        self.rest(clients, chance);
        self.now = self.now.plus(TIMERS_MS);
        self.rest(clients, chance);
        self.node.invariants();
        for client in clients {
            client.settled(self);
        }
    }

    fn rest(&mut self, clients: &mut [TenantClient], chance: &mut Chance) {
        let (mut quiet, mut before) = (0, 0);
        for _ in 0..STEPS_MAX {
            self.step_order();
            self.step_shards();
            clients.iter_mut().for_each(|client| client.listen(self, chance));
            let shards = self.node.metrics().shards.iter();
            let sent = shards.map(|shard| shard.sends.read()).sum::<u64>();
            quiet = if self.is_quiet() && sent == before { quiet + 1 } else { 0 };
            before = sent;
            if quiet == QUIET_STEPS {
                return;
            }
        }
        panic!("the node comes to no rest: {:?}", self.node.unrest());
    }

    fn is_quiet(&self) -> bool {
        let stands = self.stalled.iter().all(|steps| *steps == 0) && self.order_stalled == 0;
        stands && self.offers.is_empty() && self.node.is_quiet()
    }

    /// Every client is gone: nothing of any is left.
    pub(super) fn assert_empty(&mut self) {
        for _ in 0..40 {
            self.now = self.now.plus(2_000);
            for _ in 0..8 {
                self.step_order();
                self.step_shards();
            }
        }
        self.node.shards.iter().for_each(Shard::assert_empty);
        assert_eq!(self.node.life().connections.load(Relaxed), 0);
    }
}

/// What each message of a tenant has, and nobody else's.
pub(super) fn mark(tenant: &str) -> String {
    format!("<{tenant}>")
}
