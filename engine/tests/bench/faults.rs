//! What a server does wrong is found and told apart, to the message; and what it does right in its
//! own way (fragments, chunks, a subscribe frame, pings) is no fault.

use std::sync::atomic::Ordering::SeqCst;

use crate::stand_in::{Fault, JOIN, StandIn};
use crate::{Ran, bench};

const CLIENTS: u64 = 6;
const MESSAGES: u64 = 30;

fn paced(stand_in: &StandIn, clients: &str, driver: &str) -> Ran {
    let address = stand_in.address;
    bench(&format!(
        "paced {clients} --seconds 0.6 --rate 50 --size 100 --json --driver {driver} \
         --url http://{address}/join --publish-url http://{address}/publish"
    ))
}

/// The first message is the roll call's; a few may be, where the machine is busy.
const LATE: u32 = 15;

const ALL: [(u32, Fault); 5] = [
    (LATE, Fault::Drop),
    (LATE + 2, Fault::Double),
    (LATE + 4, Fault::Delay),
    (LATE + 7, Fault::Stray),
    (LATE + 8, Fault::Drop),
];

fn kinds() -> [(String, &'static str); 4] {
    let ws = format!("--ws {CLIENTS} --subscribe-frame {JOIN}");
    let sse = format!("--sse {CLIENTS}");
    [(ws.clone(), "uring"), (ws, "epoll"), (sse.clone(), "uring"), (sse, "epoll")]
}

#[test]
fn loss_duplicates_disorder_and_strays_are_counted_to_the_message() {
    for (clients, driver) in kinds() {
        let ran = paced(&StandIn::start(&ALL), &clients, driver);
        assert_eq!(ran.code, Some(65), "{ran:?}");
        let json = &ran.json;
        assert_eq!(json["sound"], false);
        for (what, each) in [
            ("lost", 2),
            ("duplicates", 1),
            ("disordered", 1),
            ("strays", 1),
            ("delivered", MESSAGES - 2),
            ("expected", MESSAGES),
        ] {
            assert_eq!(json[what], each * CLIENTS, "{what} for {clients} on {driver}: {json}");
        }
    }
}

#[test]
fn each_fault_alone_makes_a_run_unsound() {
    for fault in [Fault::Drop, Fault::Double, Fault::Delay, Fault::Stray] {
        let stand_in = StandIn::start(&[(LATE, fault)]);
        let ran = paced(&stand_in, &format!("--sse {CLIENTS}"), "epoll");
        assert_eq!((ran.code, &ran.json["sound"]), (Some(65), &false.into()), "{fault:?}: {ran:?}");
    }
}

#[test]
fn others_messages_are_strays_where_each_client_has_a_channel_of_its_own() {
    let address = StandIn::start(&[]).address; // which gives everything to everyone
    let ran = bench(&format!(
        "unicast --sse {CLIENTS} --seconds 0.3 --window 2 --json --driver epoll \
         --url http://{address}/join?{{channel}} --publish-url http://{address}/publish"
    ));
    assert_eq!((ran.code, &ran.json["sound"]), (Some(65), &false.into()), "{ran:?}");
    let number = |what: &str| ran.json[what].as_u64().unwrap();
    assert!(number("messages") > 0 && number("lost") == 0, "{ran:?}");
    assert!(number("strays") >= number("messages") * (CLIENTS - 1), "{ran:?}");
}

#[test]
fn a_server_with_ways_of_its_own_is_sound() {
    for (clients, driver) in kinds() {
        let stand_in = StandIn::start(&[]);
        let ran = paced(&stand_in, &clients, driver);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.json["delivered"], CLIENTS * MESSAGES);
        let pongs = if clients.contains("--ws") { CLIENTS } else { 0 };
        assert_eq!(stand_in.pongs.load(SeqCst), pongs, "a ping is owed a pong");
    }
}
