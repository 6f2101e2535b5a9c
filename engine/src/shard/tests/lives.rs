//! Clients that come back with an offset and the life of the channel that it belongs to, for each
//! of their channels: the real order and the real fan-out behind a dialect with commands.

use super::commands::{ask, exact_shape, heard};
use super::peer::Peer;
use super::wire::Way;
use super::world::{COUNTED, Shape, World};
use crate::limits::Limits;
use crate::rule::{HistoryRule, Window};
use crate::shard::tick_budget::TickBudget;

const RAW: Way = Way::Socket { json: false };

fn peer(world: &mut World) -> Peer {
    Peer::follow(world, RAW, &[0])
}

/// How a client that follows it is told that the channel's life is named.
fn life(peer: &mut Peer, world: &mut World, channel: &str) -> String {
    ask(peer, world, &format!("life {channel}")).pop().unwrap()
}

/// What a new client hears that comes back with these.
fn back(world: &mut World, places: &str) -> Vec<String> {
    let mut peer = peer(world);
    let said = ask(&mut peer, world, &format!("back {places}"));
    world.nets[0].reset(peer.client);
    world.steps(4);
    assert_eq!(said[0], format!("asked 1: back {places}"));
    said[1..].to_vec()
}

#[test]
fn who_comes_back_gets_what_followed_in_each_channel() {
    let mut world = World::new(&exact_shape());
    let (mut speaker, mut gone) = (peer(&mut world), peer(&mut world));
    ask(&mut speaker, &mut world, "say c1 one\nsay c1 two");
    // One channel has a life, the other one is still to begin it.
    ask(&mut gone, &mut world, "follow c1\nfollow c2");
    let lives = ["c1", "c2"].map(|channel| life(&mut gone, &mut world, channel));
    ask(&mut speaker, &mut world, "say c1 three\nsay c2 x");
    assert_eq!(heard(&mut gone, &world), ["three", "x"]);
    world.nets[0].reset(gone.client);
    ask(&mut speaker, &mut world, "say c2 y\nsay c1 four\nsay c2 z");

    let [one, two] = &lives;
    let said = back(&mut world, &format!("c2 1 {two} c1 3 {one}"));
    assert_eq!(said, ["1: following c2@2 c1@4", "y", "four", "z", "1: caught up"]);
    let said = back(&mut world, &format!("c1 0 {one}"));
    assert_eq!(said[..5], ["1: following c1@1", "one", "two", "three", "four"]);
    let said = back(&mut world, &format!("c2 3 {two} c1 4 {one}"));
    assert_eq!(said, ["1: following c2@4 c1@5", "1: caught up"], "it had everything");
    world.invariants();
}

#[test]
fn who_comes_back_late_is_told_exactly_what_it_missed() {
    let history = HistoryRule { count: 2, ..HistoryRule::DEFAULT };
    let window = Window { count: 2, ..Window::DEFAULT };
    let mut world = World::new(&Shape { history, window, ..exact_shape() });
    let mut speaker = peer(&mut world);
    ask(
        &mut speaker,
        &mut world,
        "say c1 one\nsay c1 two\nfollow c1\nsay c1 3\nsay c1 4\nsay c1 5",
    );
    let life = life(&mut speaker, &mut world, "c1");
    let said = back(&mut world, &format!("c1 1 {life}"));
    assert_eq!(said, ["1: following c1@4 without 2-3, Trimmed", "4", "5", "1: caught up"]);
    let said = back(&mut world, &format!("c1 6 {life}"));
    assert_eq!(said, ["1: following c1@6 without ?, Unknown", "1: caught up"], "nobody had that");
}

#[test]
fn of_another_life_nothing_is_known() {
    let history = HistoryRule { age_ms: 100, ..HistoryRule::DEFAULT };
    let limits = Limits { channel_idle_ms: 500, ..exact_shape().limits };
    let mut world = World::new(&Shape { history, limits, ..exact_shape() });
    let mut speaker = peer(&mut world);
    ask(&mut speaker, &mut world, "follow c1\nsay c1 one\nsay c1 two");
    let first = life(&mut speaker, &mut world, "c1");
    world.now = world.now.plus(100 + 1_000 + 500);
    world.steps(8);
    ask(&mut speaker, &mut world, "say c1 anew");
    let said = back(&mut world, &format!("c1 1 {first}"));
    assert_eq!(said, ["1: following c1@1 without ?, Unknown", "anew", "1: caught up"]);
    world.begin_epoch();
    world.steps(8);
    let said = back(&mut world, &format!("c1 1 {first}"));
    assert_eq!(said, ["1: following c1@1 without ?, Epoch", "1: caught up"]);
    heard(&mut speaker, &world);
    ask(&mut speaker, &mut world, "leave c1\nfollow c1");
    let second = life(&mut speaker, &mut world, "c1");
    ask(&mut speaker, &mut world, "say c1 new");
    let said = back(&mut world, &format!("c1 0 {second}"));
    assert_eq!(said, ["1: following c1@1", "new", "1: caught up"]);
}

/// Its first channel is followed a turn before the last one.
#[test]
fn a_request_in_slices_begins_where_its_last_slice_is() {
    let budget = TickBudget { units: 1, ..COUNTED };
    let mut world = World::new(&Shape { budget, ..exact_shape() });
    let (speaker, mut gone) = (peer(&mut world), peer(&mut world));
    ask(&mut gone, &mut world, "follow c1 c2 c3 c4");
    world.steps(20);
    let [one, two] = ["c1", "c2"].map(|channel| life(&mut gone, &mut world, channel));
    world.nets[0].reset(gone.client);
    speaker.say(&world, 1, b"say c1 a\nsay c2 b\nsay c1 c\nsay c2 d\nsay c1 e\nsay c2 f");
    world.steps(20);
    let mut peer = peer(&mut world);
    peer.say(&world, 1, format!("back c2 1 {two} c1 1 {one} c3 0 {two}").as_bytes());
    for nth in 0..6 {
        speaker.say(&world, 1, format!("say c{} more{nth}", nth % 3 + 1).as_bytes());
        world.step();
    }
    world.steps(40);
    let said = heard(&mut peer, &world);
    assert_eq!(said[1], "1: following c2@2 c1@2 c3@1", "{said:?}");
    let more: Vec<&String> = said.iter().filter(|text| text.starts_with("more")).collect();
    assert_eq!(more, ["more0", "more1", "more2", "more3", "more4", "more5"], "{said:?}");
    assert!(["c", "d", "e", "f"].iter().all(|text| said.contains(&text.to_string())), "{said:?}");
    assert_eq!(said.len(), 2 + 4 + 6 + 1, "{said:?}");
    world.invariants();
}
