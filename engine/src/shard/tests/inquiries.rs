//! What backends ask of connections and do to them, in steps: who is meant, when, and at what cost
//! for the others.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use fanfare_identity::{Identity, Pattern, User};
use fanfare_protocol::message::Kind;
use fanfare_protocol::ws::CloseCode;

use super::commands::{ask, heard, shape};
use super::peer::Peer;
use super::truth::channel_name;
use super::wire::{Said, Way};
use super::world::{Shape, World};
use crate::channel::Tenant;
use crate::inquiry::{Act, DirectMessage, DirectRefusal, Dismissal, Findings, Inquiry, Whom};
use crate::origin::Origin;
use crate::sequencer::command::Command;
use crate::shard::tick_budget::TickBudget;

const RAW: Way = Way::Socket { json: false };
const JSON: Way = Way::Socket { json: true };
const SSE: Way = Way::Events { json: false };

/// Asks the shards of a world within its tenant, and hears what they find.
fn inquire(world: &World, whom: Whom, act: Act) -> Receiver<Findings> {
    inquire_of(world, world.node.context().tenant.clone(), whom, act)
}

fn inquire_of(world: &World, tenant: Tenant, whom: Whom, act: Act) -> Receiver<Findings> {
    let (tell, hear) = channel();
    let answer = Box::new(move |findings| tell.send(findings).unwrap());
    let inquiry = Arc::new(Inquiry::new(tenant, whom, act, 100_000, answer));
    assert!(world.node.inbox().offer(Command::Inquire(inquiry)).is_ok());
    hear
}

fn why(code: CloseCode) -> Dismissal {
    Dismissal { code, reason: "so".into() }
}

fn all() -> Pattern {
    Pattern::everything()
}

/// From now on the connection at this place speaks for somebody.
fn speaks_for(world: &mut World, place: u32, tenant: &Tenant, user: &str) {
    let identity = Identity { user: Some(User::new(user)), ..Identity::anonymous(tenant.clone()) };
    let clients = &mut world.node.shards[0].clients;
    let token = clients.connections.token(place).expect("it is there");
    let now = world.now;
    clients.call(token, now, |session, _| session.set_identity(Arc::new(identity)));
}

fn places(world: &World) -> Vec<u32> {
    world.node.shards[0].clients.connections.table.iter().map(|(place, _)| place).collect()
}

#[test]
fn those_of_a_user_are_meant_and_of_no_other_tenants_user_of_that_name() {
    let mut world = World::new(&Shape::plain());
    let tenant = world.node.context().tenant.clone();
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::follow(&mut world, SSE, &[0])).collect();
    let places = places(&world);
    for (place, tenant, user) in [
        (places[0], &tenant, "ada"),
        (places[1], &tenant, "ada"),
        (places[2], &Tenant::new("acme"), "ada"),
        (places[3], &tenant, "bob"),
    ] {
        speaks_for(&mut world, place, tenant, user);
    }
    world.invariants();
    let ada = || Whom::User(User::new("ada"));
    let described = inquire(&world, ada(), Act::Describe);
    world.steps(3);
    let found = described.recv().unwrap();
    assert_eq!(found.connections, 2);
    let users: Vec<_> =
        found.described.iter().map(|it| it.user.as_ref().unwrap().as_str()).collect();
    assert_eq!(users, ["ada", "ada"]);
    assert_eq!(&*found.described[0].channels[0].channel.name, channel_name(0));
    let closed = inquire(&world, ada(), Act::Disconnect(why(CloseCode::FORBIDDEN)));
    world.steps(3);
    assert_eq!(closed.recv().unwrap().connections, 2);
    assert_eq!(world.metrics.shards[0].dismissed.read(), 2);
    let ended = peers.iter_mut().map(|peer| {
        peer.listen(&world);
        peer.said.last() == Some(&Said::Closed("so".into()))
    });
    assert_eq!(ended.filter(|ended| *ended).count(), 2);
    world.invariants();
    let again = inquire(&world, ada(), Act::Describe);
    world.steps(3);
    assert_eq!(again.recv().unwrap().connections, 0, "nothing is kept of who has gone");
    let theirs = inquire_of(&world, Tenant::new("acme"), ada(), Act::Describe);
    world.steps(3);
    assert_eq!(theirs.recv().unwrap().connections, 1);
}

#[test]
fn an_id_of_another_tenants_connection_is_nobodys() {
    let mut world = World::new(&Shape::plain());
    let _peer = Peer::follow(&mut world, SSE, &[0]);
    let found = inquire(&world, Whom::Everyone, Act::Describe);
    world.steps(3);
    let id: Origin = found.recv().unwrap().described[0].id;
    let key = world.node.context().origins_key;
    let whom = || Whom::Connection(id.named(key).unwrap());
    let disconnect = || Act::Disconnect(why(CloseCode::FORBIDDEN));
    let theirs = inquire_of(&world, Tenant::new("acme"), whom(), disconnect());
    world.steps(3);
    assert_eq!(theirs.recv().unwrap().connections, 0);
    let other = inquire_of(&world, Tenant::new("acme"), Whom::Everyone, disconnect());
    world.steps(3);
    assert_eq!(other.recv().unwrap().connections, 0);
    let mine = inquire(&world, whom(), disconnect());
    world.steps(3);
    assert_eq!(mine.recv().unwrap().connections, 1);
}

#[test]
fn many_are_gone_through_in_units_while_others_are_served() {
    const CROWD: usize = 1_000;
    let budget = TickBudget { units: 50, ..super::world::COUNTED };
    let mut world =
        World::new(&Shape { budget, capacity: (CROWD + 10, CROWD + 10), ..Shape::plain() });
    let mut other = Peer::follow(&mut world, SSE, &[1]);
    let crowd: Vec<Peer> = (0..CROWD).map(|_| Peer::ask(&world, SSE, &[0], None, 0)).collect();
    world.steps(100);
    let crowd_of = |world: &World| world.metrics.sequencer.subscriptions.read();
    assert_eq!(crowd_of(&world), CROWD as u64 + 1);
    let pattern = Pattern::parse(&channel_name(0)).unwrap();
    let act = Act::Disconnect(why(CloseCode::DRAINING));
    let answer = inquire(&world, Whom::Following(pattern), act);
    let mut ticks = 0;
    let mut before = 0;
    let found = loop {
        world.publish(1, 10, Kind::Text);
        world.step();
        world.step();
        ticks += 2;
        assert_eq!(other.listen(&world), 1, "whom it does not concern is served as ever");
        let done = world.metrics.shards[0].dismissed.read();
        assert!(done - before <= 2 * 50 + 64, "{} in two ticks", done - before);
        before = done;
        if let Ok(found) = answer.try_recv() {
            break found;
        }
        assert!(ticks < 1_000, "it comes to an end");
    };
    assert_eq!(found.connections, CROWD);
    assert!(ticks > CROWD / (50 + 64), "{ticks} ticks: not in one go");
    assert!(answer.recv().is_err(), "it is answered once");
    world.steps(100);
    assert_eq!(crowd_of(&world), 1);
    for mut peer in crowd {
        peer.listen(&world);
        assert_eq!(peer.said.last(), Some(&Said::Closed("so".into())));
    }
    world.invariants();
}

#[test]
fn an_unsubscribe_has_its_place_among_the_messages() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, JSON, &[0, 1]);
    let pattern = Pattern::parse(&channel_name(0)).unwrap();
    world.publish(0, 10, Kind::Text);
    world.offer();
    world.step_sequencer();
    let act = Act::Unsubscribe(pattern, why(CloseCode::FORBIDDEN));
    let whom = Whom::Connection(first_id(&world).named(world.node.context().origins_key).unwrap());
    let answer = inquire(&world, whom, act);
    world.step_sequencer();
    world.publish(0, 10, Kind::Text);
    world.publish(1, 10, Kind::Text);
    world.steps(4);
    assert_eq!(answer.recv().unwrap().subscriptions, 1);
    peer.listen(&world);
    let channels: Vec<_> = peer.heard().map(|it| it.channel.clone().unwrap()).collect();
    assert_eq!(channels, [channel_name(1)], "what was not sent yet is not sent either");
    assert_eq!(peer.count(&Said::Unsubscribed(channel_name(0))), 1);
    assert_eq!(world.metrics.sequencer.subscriptions.read(), 1);
    world.invariants();
}

/// The id of the connection in the first place that is taken.
fn first_id(world: &World) -> Origin {
    let shard = &world.node.shards[0];
    let token = shard.clients.connections.token(places(world)[0]).unwrap();
    let named = crate::origin::Named { shard: 0, index: token.index, generation: token.generation };
    Origin::of(named, world.node.context().origins_key)
}

#[test]
fn who_asks_to_follow_when_it_comes_does_not_slip_through() {
    for act in [
        Act::Unsubscribe(all(), why(CloseCode::FORBIDDEN)),
        Act::Disconnect(why(CloseCode::FORBIDDEN)),
    ] {
        let mut world = World::new(&Shape::plain());
        let asking = Peer::ask(&world, SSE, &[0], None, 0);
        // Its request is on its way to the order, and behind it the question.
        for _ in 0..20 {
            world.tick(0);
            if world.node.shards[0].clients.commands.is_ready()
                || world.metrics.shards[0].accepted.read() > 0 && is_asking(&world)
            {
                break;
            }
        }
        assert!(is_asking(&world), "it has asked and has no answer");
        let answer = inquire(&world, Whom::Everyone, act);
        world.steps(6);
        assert_eq!(answer.recv().unwrap().connections, 1);
        let said = String::from_utf8(world.nets[0].take(asking.client)).unwrap();
        assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
        assert!(said.contains("\"code\":4403,\"reason\":\"so\""), "{said}");
        world.steps(6);
        assert_eq!(world.metrics.sequencer.subscriptions.read(), 0);
        world.invariants();
    }
}

fn is_asking(world: &World) -> bool {
    let table = &world.node.shards[0].clients.connections.table;
    table.iter().any(|(_, it)| !it.session.asks_for(&all()).is_empty())
}

#[test]
fn a_machine_is_told_and_may_follow_again() {
    let mut world = World::new(&shape());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    assert_eq!(ask(&mut peer, &mut world, "follow c1"), ["1: following c1"]);
    let answer =
        inquire(&world, Whom::Everyone, Act::Unsubscribe(all(), why(CloseCode::FORBIDDEN)));
    world.steps(4);
    assert_eq!(answer.recv().unwrap().subscriptions, 2);
    let mut told = heard(&mut peer, &world);
    told.sort();
    assert_eq!(told, ["unsubscribed c0: 4403 so", "unsubscribed c1: 4403 so"]);
    assert_eq!(world.metrics.sequencer.subscriptions.read(), 0, "and it is still there");
    assert_eq!(ask(&mut peer, &mut world, "follow c0"), ["2: following c0"]);
    // What is asked for and has no answer is left too.
    peer.say(&world, 1, b"follow c2");
    world.tick(0);
    world.tick(0);
    assert!(is_asking(&world));
    let answer = inquire(
        &world,
        Whom::Everyone,
        Act::Unsubscribe(Pattern::parse("c2").unwrap(), why(CloseCode::FORBIDDEN)),
    );
    world.steps(8);
    assert_eq!(answer.recv().unwrap().subscriptions, 1);
    assert_eq!(world.metrics.sequencer.subscriptions.read(), 1, "c0 alone");
    world.invariants();
}

#[test]
fn what_one_connection_is_sent_is_bounded_by_what_it_takes_and_by_memory() {
    let mut world = World::new(&Shape::plain());
    let slow = Peer::follow(&mut world, SSE, &[0]);
    world.nets[0].set_window(slow.client, 0);
    let key = world.node.context().origins_key;
    let whom = Whom::Connection(first_id(&world).named(key).unwrap());
    let data: Box<[u8]> = vec![b'x'; 1_500].into();
    let message = DirectMessage { event: None, kind: Kind::Text, data };
    let mut results = Vec::new();
    for _ in 0..10 {
        let answer = inquire(&world, whom.clone(), Act::Send(message.clone()));
        world.steps(3);
        results.push(answer.recv().unwrap().not_taken);
    }
    let taken = results.iter().take_while(|it| it.is_none()).count();
    assert!((2..=4).contains(&taken), "{results:?}");
    assert!(results[taken..].iter().all(|it| *it == Some(DirectRefusal::Full)), "{results:?}");
    world.invariants();
    let mut polled = Peer::ask(&world, Way::Poll, &[0], None, 25);
    world.steps(4);
    let answer = inquire(&world, Whom::Everyone, Act::Send(message));
    world.steps(4);
    let found = answer.recv().unwrap();
    assert_eq!((found.connections, found.not_taken), (2, Some(DirectRefusal::Full)));
    assert_eq!(polled.listen(&world), 0);
}

#[test]
fn descriptions_take_no_more_than_the_room_that_the_question_brings() {
    let mut world = World::new(&Shape::plain());
    let peers: Vec<Peer> = (0..20).map(|_| Peer::follow(&mut world, SSE, &[0, 1, 2])).collect();
    let (tell, hear) = channel();
    let answer = Box::new(move |findings| tell.send(findings).unwrap());
    let tenant = world.node.context().tenant.clone();
    let inquiry = Inquiry::new(tenant, Whom::Everyone, Act::Describe, 1_100, answer);
    assert!(world.node.inbox().offer(Command::Inquire(Arc::new(inquiry))).is_ok());
    world.steps(3);
    let found: Findings = hear.recv().unwrap();
    assert_eq!(found.connections, peers.len(), "all are counted");
    let channels: usize = found.described.iter().map(|it| it.channels.len()).sum();
    assert!(found.described.len() * 256 + channels * 66 <= 1_100, "{found:?}");
    assert!(found.described.len() >= 2 && found.described[0].subscriptions == 3);
}
