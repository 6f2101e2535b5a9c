//! Views of a channel: what a client called it when it asked, in the bytes of all who called it so.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::limits::VIEWS_MAX;
use fanfare_protocol::message::Kind;
use fanfare_protocol::refusals::TOO_MANY_VIEWS;
use serde_json::Value;

use super::commands::{Words, ask, heard, shape};
use super::peer::Peer;
use super::truth::channel_name;
use super::wire::{Way, request};
use super::world::{Shape, World};
use crate::rule::{HistoryRule, Slow, Window};

/// A client whose messages come as JSON, and what its machine says as it is.
fn client(world: &mut World) -> Peer {
    let mut peer = Peer::mute(world, Way::Socket { json: false });
    let head = request(Way::Socket { json: true }, &[channel_name(0)], None, 25, None);
    world.nets[0].write(peer.client, head.as_bytes());
    world.steps(6);
    assert_eq!(heard(&mut peer, world).len(), 1, "its opening");
    peer
}

/// Of each message its channel, its view and its payload, up to what fills it.
fn told(peer: &mut Peer, world: &World) -> Vec<String> {
    let said = heard(peer, world);
    let said = said.iter().map(|text| serde_json::from_str::<Value>(text).expect(text));
    let line = said.map(|it| {
        let text = |name: &str| it[name].as_str().unwrap_or("-").to_string();
        let payload = text("data");
        let number = payload.split(';').next().unwrap_or_default();
        format!("{} {} {number}", text("channel"), text("view"))
    });
    line.collect()
}

fn subscriptions(world: &World) -> [u64; 2] {
    [world.metrics.sequencer.subscriptions.read(), world.metrics.shards[0].subscriptions.read()]
}

fn publish(world: &mut World, channel: usize) {
    world.publish(channel, 40, Kind::Text);
    world.steps(4);
}

/// Bytes that are rendered where so many read by each of two views, and each is told its own.
fn by_two_views(crowd: usize) -> u64 {
    let mut world = World::new(&shape());
    let mut without = client(&mut world);
    ask(&mut without, &mut world, "follow c1");
    let mut peers: Vec<(Peer, &str)> = Vec::new();
    for _ in 0..crowd {
        for view in ["red", "b\"lue"] {
            let mut peer = client(&mut world);
            let said = ask(&mut peer, &mut world, &format!("follow c1={view} c2"));
            assert_eq!(said, ["1: following c1 c2"]);
            peers.push((peer, view));
        }
    }
    // One takes little at a time: whatever is left of a send is of its own view.
    let (mut slow, _) = peers.remove(0);
    world.nets[0].set_window(slow.client, 7);
    [1, 2, 1, 1].into_iter().for_each(|channel| publish(&mut world, channel));
    world.invariants();
    assert_eq!(told(&mut without, &world), ["c1 - #n1", "c1 - #n3", "c1 - #n4"]);
    for (peer, view) in &mut peers {
        let expected = [(1, 1), (2, 2), (1, 3), (1, 4)].map(|(channel, number)| {
            let view = if channel == 1 { *view } else { "-" };
            format!("c{channel} {view} #n{number}")
        });
        assert_eq!(told(peer, &world), expected);
    }
    let mut late = Vec::new();
    for _ in 0..200 {
        world.nets[0].set_window(slow.client, 7);
        world.steps(2);
        late.extend(told(&mut slow, &world));
    }
    assert_eq!(late, ["c1 red #n1", "c2 - #n2", "c1 red #n3", "c1 red #n4"]);
    world.metrics.shards[0].rendered_bytes.read()
}

#[test]
fn what_is_rendered_by_a_view_is_shared_by_all_who_read_by_it() {
    assert_eq!(by_two_views(1), by_two_views(10), "no more is rendered for more of them");
}

#[test]
fn one_view_too_many_is_refused_until_another_is_forgotten() {
    let mut world = World::new(&shape());
    let mut peers: Vec<Peer> = (0..VIEWS_MAX).map(|_| client(&mut world)).collect();
    for (nth, peer) in peers.iter_mut().enumerate() {
        assert_eq!(ask(peer, &mut world, &format!("follow c1=v{nth}")), ["1: following c1"]);
    }
    publish(&mut world, 1);
    let mut late = client(&mut world);
    let before = subscriptions(&world);
    let said = ask(&mut late, &mut world, "follow c2 c1=more\nfollow c3");
    assert_eq!(said, [format!("1: {TOO_MANY_VIEWS}"), "2: following c3".into()]);
    let expected = before.map(|count| count + 1);
    assert_eq!(subscriptions(&world), expected, "nothing of the first request is followed");
    // One that is there has room for everyone, as has no view at all.
    assert_eq!(ask(&mut late, &mut world, "follow c1=v3"), ["3: following c1"]);
    ask(&mut late, &mut world, "leave c1");
    assert_eq!(ask(&mut late, &mut world, "follow c1"), ["4: following c1"]);
    ask(&mut late, &mut world, "leave c1");
    // What was rendered by v5 is rendered anew by the view that has its number now.
    assert_eq!(told(&mut peers[5], &world), ["c1 v5 #n1"]);
    assert_eq!(ask(&mut peers[5], &mut world, "leave c1"), ["left c1: true"]);
    let said = ask(&mut late, &mut world, "again c1=more");
    assert_eq!(said[0], "5: following c1");
    assert!(said[1].starts_with(r#"{"channel":"c1","view":"more","id":"#), "{said:?}");
    world.invariants();
    assert_eq!(told(&mut peers[6], &world), ["c1 v6 #n1"]);
    peers.iter().for_each(|peer| world.nets[0].reset(peer.client));
    world.steps(10);
    publish(&mut world, 1);
    assert_eq!(told(&mut late, &world), ["c1 more #n2"]);
    world.invariants();
}

#[test]
fn what_is_no_view_is_not_asked() {
    let mut world = World::new(&shape());
    let mut peer = client(&mut world);
    assert_eq!(ask(&mut peer, &mut world, "follow c1="), ["BadView"]);
    assert_eq!(ask(&mut peer, &mut world, "follow c1=\u{1}"), ["BadView"]);
    assert_eq!(subscriptions(&world), [1, 1], "nothing came of either");
}

#[test]
fn a_gap_is_told_by_the_view_of_whoever_is_too_slow() {
    let history = HistoryRule { count: 2, bytes: 100_000_000, age_ms: 600_000 };
    let window = Window { count: 2, bytes: 1 << 30 };
    let machine = || Box::new(Words::default()) as Box<dyn Machine>;
    let slow = vec![Slow::Window; 2];
    let shape =
        Shape { history, window, slow, machines: Some(Arc::new(machine)), ..Shape::plain() };
    let mut world = World::new(&shape);
    let mut peer = client(&mut world);
    ask(&mut peer, &mut world, "follow c1=red");
    world.nets[0].set_window(peer.client, 0);
    (0..20).for_each(|_| publish(&mut world, 1));
    world.nets[0].set_window(peer.client, 1 << 20);
    world.steps(10);
    let said = String::from_utf8_lossy(&world.nets[0].take(peer.client)).into_owned();
    let gap = r#"{"event":"fanfare.gap","channel":"c1","view":"red","from":1,"#;
    assert!(said.contains(gap), "{said}");
}
