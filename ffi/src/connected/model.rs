//! A model of publisher, link and server: the publisher's own pipeline, the server's own machine,
//! and between them a link that cuts anywhere, on either side.
//!
//! What it holds against them: in one life of the server no message stands in history twice, in
//! whatever order they came in; what was acknowledged stands there once; what was refused not at
//! all; every message has one outcome; and *unknown* is told only where a session was forgotten.

mod world;

use proptest::prelude::*;
use world::World;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish {
        wants_place: bool,
        is_bad: bool,
        has_key: bool,
    },
    Connect,
    Write(usize),
    CarryUp(usize),
    CarryDown(usize),
    Sequence,
    Answer,
    /// The publisher loses the connection; the server hears of it, or not yet.
    Cut {
        is_heard: bool,
    },
    /// The server hears of all connections that are lost.
    Hear,
    /// So much time passes that sessions without a connection are forgotten.
    Forget,
    /// Others' sessions come and go until ours is pushed out, where it has no connection.
    PushOut,
    /// Other publishers turn the window of keys over.
    TurnKeysOver,
    /// Another epoch begins in the running server.
    Epoch,
    Restart,
}

fn apply(world: &mut World, step: Step) {
    match step {
        Step::Publish { wants_place, is_bad, has_key } => {
            world.publish(wants_place, is_bad, has_key);
        }
        Step::Connect => world.connect(),
        Step::Write(bytes) => world.write(bytes),
        Step::CarryUp(bytes) => world.carry_up(bytes),
        Step::CarryDown(bytes) => world.carry_down(bytes),
        Step::Sequence => world.sequence(),
        Step::Answer => world.answer(),
        Step::Cut { is_heard } => world.cut(is_heard),
        Step::Hear => world.hear(),
        Step::Forget => world.forget(),
        Step::PushOut => world.push_out(),
        Step::TurnKeysOver => world.turn_keys_over(),
        Step::Epoch => world.begin_epoch(),
        Step::Restart => world.restart(),
    }
    world.check();
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![1..12_usize, 12..200_usize, Just(usize::MAX)];
    prop_oneof![
        6 => any::<[bool; 5]>().prop_map(|[wants_place, bad, ad, has_key, y]| Step::Publish {
            wants_place,
            is_bad: bad && ad,
            has_key: has_key && y,
        }),
        4 => Just(Step::Connect),
        6 => bytes().prop_map(Step::Write),
        6 => bytes().prop_map(Step::CarryUp),
        6 => bytes().prop_map(Step::CarryDown),
        5 => Just(Step::Sequence),
        5 => Just(Step::Answer),
        2 => any::<bool>().prop_map(|is_heard| Step::Cut { is_heard }),
        2 => Just(Step::Hear),
        1 => Just(Step::TurnKeysOver),
        1 => Just(Step::Epoch),
    ]
}

/// The same with what makes a server forget.
fn harsh_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => step(),
        1 => Just(Step::Forget),
        1 => Just(Step::PushOut),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn while_sessions_are_kept_each_message_is_there_once_and_nothing_is_unknown(
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| apply(&mut world, step));
        world.finish();
        prop_assert_eq!(world.unknown(), 0);
    }

    #[test]
    fn what_a_server_forgets_is_told_and_never_sent_again(
        steps in prop::collection::vec(harsh_step(), 0..200),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| apply(&mut world, step));
        world.finish();
    }
}

/// Messages of every kind of outcome on a link that is cut after so many bytes of each direction;
/// how many bytes there were.
fn run(up: usize, down: usize, is_heard: bool) -> (usize, usize) {
    let mut world = World::new();
    world.connect();
    for nth in 0..7 {
        world.publish(nth % 2 == 0, nth % 3 == 2, nth % 4 == 3);
    }
    let (mut left_up, mut left_down) = (up, down);
    let mut carried = (0, 0);
    for _ in 0..60 {
        world.write(usize::MAX);
        let sent = world.carry_up_at_most(left_up);
        world.sequence();
        world.answer();
        let heard = world.carry_down_at_most(left_down);
        (left_up, left_down) = (left_up - sent, left_down - heard);
        carried = (carried.0 + sent, carried.1 + heard);
        world.check();
        if left_up == 0 || left_down == 0 {
            break;
        }
    }
    world.cut(is_heard);
    world.turn_keys_over();
    world.finish();
    assert_eq!(world.unknown(), 0);
    assert_eq!(world.published(), 5);
    carried
}

#[test]
fn a_cut_at_every_byte_of_either_direction_costs_nothing() {
    let (up, down) = run(1 << 20, 1 << 20, true);
    assert!(up > 150 && down > 300, "{up} and {down} bytes are no test");
    for is_heard in [false, true] {
        for cut in 1..=up {
            run(cut, 1 << 20, is_heard);
        }
        for cut in 1..=down {
            run(1 << 20, cut, is_heard);
        }
    }
}
