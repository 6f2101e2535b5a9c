//! Each budget, filled from outside, and all of them at once: a node in a process of its own keeps
//! within what was said, as the system counts its memory, and who asks for little gets everything
//! meanwhile. What waits for the order while nothing is placed has a test of its own, in
//! `in_flight.rs`.

#[path = "budgets/fill.rs"]
mod fill;
#[path = "budgets/server.rs"]
mod server;
#[path = "support/mod.rs"]
mod support;

use fill::Unfinished;
use server::{BUDGET, MIB, NODE_BYTES, PUBLISHER_BYTES, PUBLISHERS, RING, Server};

/// That the process takes no more than was said, of its budgets beside a node, and a tenth.
fn keeps_within(server: &Server, what: &str, said: u64) {
    server.look();
    let (peak, said) = (server.peak(), said + NODE_BYTES);
    eprintln!("{what}: the process took {} MiB, {} were said", peak / MIB, said / MIB);
    assert!(peak <= said + said / 10, "{what}: it took {peak}, {said} were said");
}

/// That so many bytes are nearly all that there may be.
fn is_full(what: &str, held: u64) {
    eprintln!("{what}: {} MiB are held", held / MIB);
    assert!(held > BUDGET / 10 * 8 && held <= BUDGET, "{what}: {held} of {BUDGET}");
}

fn private(driver: &str) {
    let (server, mut follower) = Server::start(driver);
    assert_eq!(server.number("fanfare_private_limit_bytes"), BUDGET);
    let mut hogs = fill::private(&server);
    server.wait_until("it is filled, and let go of", || {
        server.number("fanfare_private_let_go_total") >= hogs.len() as u64 / 2
    });
    is_full("private", server.number("fanfare_private_bytes"));
    keeps_within(&server, driver, BUDGET);
    let head = hogs[0].head();
    assert!(head.starts_with("HTTP/1.1 503 "), "who has held most for longest goes first: {head}");
    assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
    server.serves_as_ever(&mut follower);
    drop(hogs);
    support::wait_until("all is given back", || server.number("fanfare_private_bytes") == 0);
}

#[test]
fn what_clients_hold_for_themselves_keeps_within_its_budget_uring() {
    private("uring");
}

#[test]
fn what_clients_hold_for_themselves_keeps_within_its_budget_epoll() {
    private("epoll");
}

fn history(driver: &str) {
    let (server, mut follower) = Server::start(driver);
    assert_eq!(server.number("fanfare_history_limit_bytes"), BUDGET);
    fill::history(&server, 3 * fill::messages_kept());
    is_full("history", server.number("fanfare_history_bytes"));
    // Until it is read by all shards a message is in the ring, too.
    keeps_within(&server, driver, BUDGET + RING);
    server.serves_as_ever(&mut follower);
}

#[test]
fn what_is_kept_keeps_within_its_budget_uring() {
    history("uring");
}

#[test]
fn what_is_kept_keeps_within_its_budget_epoll() {
    history("epoll");
}

/// Until nobody waits for room: so many were ended, or took their turn with others.
fn wait_until_rendered(server: &Server, clients: usize) {
    server.wait_until("it is filled, and clients are ended for it", || {
        let ended = server.number("fanfare_holders_closed_total");
        ended >= clients as u64 / 2 && server.number("fanfare_waiting_for_room") == 0
    });
}

fn rendered(driver: &str) {
    let (server, mut follower) = Server::start(driver);
    assert_eq!(server.number("fanfare_rendered_limit_bytes"), BUDGET);
    let channels = fill::messages_kept();
    fill::history(&server, channels);
    let hogs = fill::rendered(&server, channels);
    wait_until_rendered(&server, hogs.len());
    is_full("rendered", server.rendered());
    let kept = server.number("fanfare_history_bytes");
    // What was published just now may be rendered above the budget by a sixteenth.
    keeps_within(&server, driver, BUDGET + BUDGET / 16 + kept + RING);
    server.serves_as_ever(&mut follower);
    drop(hogs);
    let only_one = || server.number("fanfare_connections") == 1;
    support::wait_until("nobody else holds anything", only_one);
    server.serves_as_ever(&mut follower);
}

#[test]
fn what_is_rendered_keeps_within_its_budget_uring() {
    rendered("uring");
}

#[test]
fn what_is_rendered_keeps_within_its_budget_epoll() {
    rendered("epoll");
}

/// Lets publishers say what they may until no more is taken.
fn wait_until_in_flight(server: &Server, publishers: &mut Unfinished) {
    server.wait_until("it is filled, and nothing more is read", || {
        let said = publishers.go_on();
        said == 0 && server.number("fanfare_publishers_held") > 0
    });
}

fn in_flight(driver: &str) {
    let (server, mut follower) = Server::start(driver);
    assert_eq!(server.number("fanfare_in_flight_limit_bytes"), BUDGET);
    let mut publishers = Unfinished::begin(&server);
    wait_until_in_flight(&server, &mut publishers);
    is_full("in flight", server.number("fanfare_in_flight_bytes"));
    keeps_within(&server, driver, BUDGET + PUBLISHERS as u64 * PUBLISHER_BYTES);
    server.serves_as_ever(&mut follower);
    drop(publishers);
    support::wait_until("all is given back", || server.number("fanfare_in_flight_bytes") == 0);
}

#[test]
fn what_waits_for_the_order_keeps_within_its_budget_uring() {
    in_flight("uring");
}

#[test]
fn what_waits_for_the_order_keeps_within_its_budget_epoll() {
    in_flight("epoll");
}

fn all_at_once(driver: &str) {
    let (server, mut follower) = Server::start(driver);
    let channels = fill::messages_kept();
    fill::history(&server, 2 * channels);
    let mut publishers = Unfinished::begin(&server);
    wait_until_in_flight(&server, &mut publishers);
    let heads = fill::private(&server);
    let readers = fill::rendered(&server, 2 * channels);
    wait_until_rendered(&server, readers.len() / 2);
    wait_until_in_flight(&server, &mut publishers);
    is_full("history", server.number("fanfare_history_bytes"));
    is_full("rendered", server.rendered());
    is_full("private", server.number("fanfare_private_bytes"));
    is_full("in flight", server.number("fanfare_in_flight_bytes"));
    keeps_within(&server, driver, 4 * BUDGET + RING + PUBLISHERS as u64 * PUBLISHER_BYTES);
    // Which counts what was not filled, too.
    keeps_within(&server, "doctor", server.said_by_doctor() - NODE_BYTES);
    server.serves_as_ever(&mut follower);
    drop((heads, readers, publishers));
    support::wait_until("all is given back", || {
        server.number("fanfare_connections") == 1
            && server.number("fanfare_private_bytes") == 0
            && server.number("fanfare_in_flight_bytes") == 0
    });
    server.serves_as_ever(&mut follower);
}

#[test]
fn all_budgets_filled_at_once_come_to_no_more_than_doctor_says_uring() {
    all_at_once("uring");
}

#[test]
fn all_budgets_filled_at_once_come_to_no_more_than_doctor_says_epoll() {
    all_at_once("epoll");
}
