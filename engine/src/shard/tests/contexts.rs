//! A shard is given another context: who is here goes on, who comes is served by the new one. And
//! clients of two tenants on one shard, over one order: nothing of one comes to the other.

use std::sync::{Arc, Mutex};

use fanfare_protocol::message::Kind;

use super::commands::{ask, heard, shape};
use super::peer::Peer;
use super::wire::{Said, Way, request};
use super::world::World;
use crate::admission::origin::Origins;
use crate::channel::{ChannelName, Tenant};
use crate::limits::Limits;
use crate::sequencer::command::{Command, Publication, PublishAnswer};
use crate::transport::Context;

const RAW: Way = Way::Socket { json: false };

/// Gives the node this in place of what it has.
fn swap(world: &mut World, limits: Limits, tenant: &str) {
    let before = Arc::clone(world.node.context());
    let Context { loopback, dev, wall, origins_key, .. } = *before;
    let context = Context::new(limits, Tenant::new(tenant));
    world.node.set_context(Context { loopback, dev, wall, origins_key, ..context });
}

/// What a poll from the beginning of the order finds in `c0`.
fn kept(world: &mut World) -> Vec<String> {
    let mut poll = Peer::ask(world, Way::Poll, &[0], Some(0), 0);
    world.steps(8);
    poll.listen(world);
    let answers = poll.said.iter().filter_map(|said| match said {
        Said::Answer { messages, gaps, .. } => {
            assert!(gaps.is_empty(), "of nobody else's: {gaps:?}");
            Some(messages)
        }
        _ => None,
    });
    let texts = answers.flatten().map(|it| String::from_utf8(it.payload.clone()).unwrap());
    texts.collect()
}

/// Publishes under one key, and says whether that was found to be a duplicate, and its offset.
fn publish(world: &mut World, tenant: &str) -> (bool, u64) {
    let told = Arc::new(Mutex::new(None));
    let telling = Arc::clone(&told);
    let publication = Publication {
        channel: ChannelName::new(Tenant::new(tenant), "c9"),
        also: Box::default(),
        kind: Kind::Text,
        event: None,
        idempotency_key: Some((*b"key").into()),
        ephemeral: false,
        except: None,
        data: (*b"the same").into(),
    };
    let answer = PublishAnswer::Callback(Box::new(move |result| {
        *telling.lock().unwrap() = Some(result.expect("there is room"));
    }));
    let publish = Command::Publish(publication, answer);
    assert!(world.node.inbox().offer(publish).is_ok());
    for _ in 0..4 {
        world.node.step(world.now);
    }
    let published = told.lock().unwrap().take().expect("it is answered");
    (published.duplicate, published.offset)
}

#[test]
fn nothing_crosses_between_tenants() {
    let mut world = World::new(&shape());
    let limits = world.node.context().limits.clone();
    let mut first = Peer::follow(&mut world, RAW, &[0]);
    swap(&mut world, limits.clone(), "other");
    let mut second = Peer::follow(&mut world, RAW, &[0]);

    // Live; and who is here stays whose it was, also for what it asks for later.
    assert!(ask(&mut first, &mut world, "say c0 one").contains(&"one".into()));
    assert!(ask(&mut second, &mut world, "say c0 two").contains(&"two".into()));
    assert!(!heard(&mut first, &world).contains(&"two".into()));
    ask(&mut first, &mut world, "follow c1");
    ask(&mut second, &mut world, "follow c1");
    ask(&mut second, &mut world, "say c1 mine");
    assert!(!heard(&mut first, &world).contains(&"mine".into()));
    let texts = |peer: &Peer| peer.heard().map(|it| it.payload.clone()).collect::<Vec<_>>();
    let both = [texts(&first), texts(&second)];
    let has = |nth: usize, text: &str| both[nth].iter().any(|it| it == text.as_bytes());
    assert!(has(0, "one") && !has(0, "two") && !has(0, "mine"));
    assert!(has(1, "two") && has(1, "mine") && !has(1, "one"));

    // What is kept, from any place; the positions are of one order.
    assert_eq!(kept(&mut world), ["two"]);
    swap(&mut world, limits, "sim");
    assert_eq!(kept(&mut world), ["one"]);

    // Keys.
    assert_eq!(publish(&mut world, "sim"), (false, 1));
    assert_eq!(publish(&mut world, "other"), (false, 1));
    assert_eq!(publish(&mut world, "sim"), (true, 1));
    world.node.shards[0].invariants();
}

#[test]
fn who_comes_is_served_by_the_new_context_and_who_is_here_goes_on() {
    let mut world = World::new(&shape());
    let mut first = Peer::follow(&mut world, RAW, &[0, 1]);
    let page = |world: &World| {
        let peer = Peer::mute(world, RAW);
        let head = request(RAW, &["c0".into()], None, 0, None);
        let origin = "Origin: https://a.example\r\n\r\n";
        let head = head.strip_suffix("\r\n").unwrap().to_owned() + origin;
        world.nets[0].write(peer.client, head.as_bytes());
        peer
    };
    let status = |world: &mut World, mut peer: Peer| {
        world.steps(6);
        peer.listen(world);
        peer.said.remove(0)
    };
    let before = page(&world);
    assert_eq!(status(&mut world, before), Said::Head(403));

    let before = Arc::clone(world.node.context());
    let Context { loopback, dev, wall, origins_key, ref tenant, .. } = *before;
    let limits = Limits { channels_per_connection: 1, ..before.limits.clone() };
    let context = Context::new(limits, tenant.clone());
    let origins = Origins::new(&["https://a.example".into()]).unwrap();
    world.node.set_context(Context { origins, loopback, dev, wall, origins_key, ..context });

    let now = page(&world);
    assert_eq!(status(&mut world, now), Said::Head(101), "its origin is listed now");
    let two = Peer::ask(&world, RAW, &[0, 1], None, 0);
    assert_eq!(status(&mut world, two), Said::Head(400), "one channel is the limit now");
    assert!(ask(&mut first, &mut world, "say c1 still").contains(&"still".into()));
    world.node.shards[0].invariants();
}
