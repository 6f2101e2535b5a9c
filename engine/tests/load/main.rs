//! A thousand clients on every transport follow twenty channels while two publishers, one on the
//! Unix socket and one on the HTTP API, send ten thousand messages, each with its own sequence.
//! Every client checks every message: in order, none lost, none twice; and whoever follows a
//! channel saw the same order.

mod follower;
mod publishers;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::node::DriverChoice;
use mio::{Events, Interest, Poll, Token};

use follower::{Follower, Kind};

const CLIENTS: usize = 1_000;
const CHANNELS: usize = 20;
/// Of each publisher, to each channel.
const MESSAGES_EACH: u64 = 250;
/// Threads that drive clients.
const THREADS: usize = 2;
/// A hang, not a measure.
const LONGEST: Duration = Duration::from_secs(600);

#[test]
fn a_thousand_clients_get_ten_thousand_messages_uring() {
    run(DriverChoice::Uring);
}

#[test]
fn a_thousand_clients_get_ten_thousand_messages_epoll() {
    run(DriverChoice::Epoll);
}

fn run(driver: DriverChoice) {
    // One of them at a time: each is a load.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|broken| broken.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.sock");
    // No timer comes to the help of a client that was forgotten.
    let node = support::node_with(driver, |settings| settings.socket = Some(path.clone()));
    let (listen, api) = (node.addresses().listen, node.addresses().api.unwrap());
    let began = Instant::now();
    let (ready, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let orders = thread::scope(|scope| {
        let drivers: Vec<_> = (0..THREADS)
            .map(|nth| {
                scope.spawn({
                    let (ready, done) = (&ready, &done);
                    move || drive(listen, nth, ready, done, began)
                })
            })
            .collect();
        while ready.load(SeqCst) < CLIENTS {
            assert!(began.elapsed() < LONGEST, "{} are ready", ready.load(SeqCst));
            assert!(drivers.iter().all(|driver| !driver.is_finished()), "clients failed");
            thread::sleep(Duration::from_millis(1));
        }
        let socket = scope.spawn(|| publishers::by_socket(&path));
        let http = scope.spawn(|| publishers::by_http(api));
        socket.join().expect("the socket takes all");
        http.join().expect("the API takes all");
        drivers.into_iter().flat_map(|driver| driver.join().unwrap()).collect::<Vec<_>>()
    });
    let published = node.metrics().sequencer.published.read();
    assert_eq!(published, 2 * CHANNELS as u64 * MESSAGES_EACH);
    assert_eq!(published, 10_000);
    same_orders(&orders);
    let refused: u64 = node.metrics().shards.iter().map(|shard| shard.slow_closed.read()).sum();
    assert_eq!(refused, 0, "nobody was slow");
    support::wait_until("everyone is gone", || node.metrics().sequencer.subscriptions.read() == 0);
    node.stop();
}

/// Whoever follows a channel saw it in the same order.
fn same_orders(orders: &[(usize, u64)]) {
    let mut of: HashMap<usize, u64> = HashMap::new();
    for (channel, order) in orders {
        assert_eq!(of.entry(*channel).or_insert(*order), order, "one order of channel {channel}");
    }
    assert_eq!(of.len(), CHANNELS);
}

/// Drives every client of thread `nth` until all clients of all threads have everything, and a
/// little longer, so that what came twice would be seen. Gives the order of each channel seen.
fn drive(
    listen: SocketAddr,
    nth: usize,
    ready: &AtomicUsize,
    done: &AtomicUsize,
    began: Instant,
) -> Vec<(usize, u64)> {
    let mut poll = Poll::new().unwrap();
    let (mut clients, mut has_started) = (Vec::new(), false);
    for number in (nth..CLIENTS).step_by(THREADS) {
        let mut client = Follower::connect(listen, number);
        let token = Token(clients.len());
        poll.registry().register(&mut client.socket, token, Interest::READABLE).unwrap();
        clients.push(client);
    }
    let (mut events, mut over) = (Events::with_capacity(1_024), None::<Instant>);
    loop {
        if let Err(error) = poll.poll(&mut events, Some(Duration::from_millis(20))) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
            continue;
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            let (was_ready, was_done) = (client.is_ready, client.is_done());
            client.readable();
            ready.fetch_add(usize::from(client.is_ready && !was_ready), SeqCst);
            done.fetch_add(usize::from(client.is_done() && !was_done), SeqCst);
        }
        if !has_started && ready.load(SeqCst) == CLIENTS {
            clients.iter_mut().for_each(Follower::start);
            has_started = true;
        }
        if began.elapsed() > LONGEST {
            let slow = clients.iter().find(|client| !client.is_done());
            panic!("only {} have everything; one of the others: {slow:?}", done.load(SeqCst));
        }
        if done.load(SeqCst) == CLIENTS {
            let over = over.get_or_insert_with(Instant::now);
            if over.elapsed() > Duration::from_millis(300) {
                break;
            }
        }
    }
    let kinds: Vec<Kind> = clients.iter().map(|client| client.kind).collect();
    assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "every kind was driven");
    clients.iter().flat_map(Follower::orders).collect()
}
