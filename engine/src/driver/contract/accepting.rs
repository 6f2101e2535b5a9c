//! Accepting, its pauses, and the full table.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::{ACCEPTS_MAX, Close, Token};
use super::{Driver, Event, Make, PATIENCE, Rig, suite};

suite! {
    nobody_is_accepted_until_asked_for
    on_and_off_loses_nobody
    at_a_full_table_clients_wait_and_nobody_is_lost
    one_poll_accepts_a_bounded_number
    peers_are_told_where_wanted
}

fn nobody_is_accepted_until_asked_for<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (_first, _) = rig.accept();
    rig.driver.set_accepting(false);
    rig.poll_for(Duration::from_millis(20));
    let _client = rig.connect();
    rig.poll_for(Duration::from_millis(60));
    assert!(rig.told.is_empty(), "{:?}", rig.told);
    rig.driver.set_accepting(true);
    rig.until_accepted();
}

fn on_and_off_loses_nobody<M: Make>() {
    const CLIENTS: usize = 300;
    for want_peers in [false, true] {
        let Some(mut rig) = Rig::with::<M>(CLIENTS + 20, want_peers, "127.0.0.1:0") else { return };
        let address = rig.address;
        let clients = std::thread::spawn(move || {
            let greeted = |_| {
                let mut client = TcpStream::connect(address).unwrap();
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                client.write_all(b"?").unwrap();
                client
            };
            let mut clients: Vec<TcpStream> = (0..CLIENTS).map(greeted).collect();
            for client in &mut clients {
                client.read_exact(&mut [0]).unwrap();
            }
        });
        let (mut accepted, mut rounds, deadline) = (0, 0u64, Instant::now() + PATIENCE);
        while accepted < CLIENTS {
            rounds += 1;
            rig.driver.set_accepting(rounds % 3 == 0);
            rig.driver.poll(Some(Duration::from_micros(rounds % 7 * 100)), &mut rig.told);
            for event in std::mem::take(&mut rig.told) {
                if let Event::Accepted { token, .. } = event {
                    assert_eq!(rig.send(token, b"!"), None);
                    accepted += 1;
                }
            }
            assert!(Instant::now() < deadline, "{accepted} of {CLIENTS} were accepted");
        }
        clients.join().unwrap();
    }
}

/// More clients than places: each is accepted as soon as another has left, without anybody asking,
/// and has its answer.
fn at_a_full_table_clients_wait_and_nobody_is_lost<M: Make>() {
    const PLACES: usize = 5;
    const CLIENTS: usize = 4 * PLACES;
    for want_peers in [false, true] {
        let Some(mut rig) = Rig::with::<M>(PLACES, want_peers, "127.0.0.1:0") else { return };
        assert_eq!(rig.driver.capacity(), PLACES);
        let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| rig.connect()).collect();
        let mut inside: Vec<Token> = (0..PLACES).map(|_| rig.until_accepted()).collect();
        rig.poll_for(Duration::from_millis(30));
        assert!(rig.told.is_empty(), "nobody else, and no failure: {:?}", rig.told);
        for _ in PLACES..CLIENTS {
            let leaves = inside.remove(0);
            assert_eq!(rig.send(leaves, b"bye"), None);
            rig.driver.close(leaves, Close::Gracefully);
            inside.push(rig.until_accepted());
        }
        for token in inside {
            assert_eq!(rig.send(token, b"bye"), None);
            rig.driver.close(token, Close::Gracefully);
        }
        for client in &clients {
            assert_eq!(rig.read_to_end(client), (b"bye".to_vec(), Ok(())));
        }
    }
}

fn one_poll_accepts_a_bounded_number<M: Make>() {
    const CLIENTS: usize = 3 * ACCEPTS_MAX;
    let Some(mut rig) = Rig::new::<M>(CLIENTS + 10) else { return };
    let _clients: Vec<TcpStream> = (0..CLIENTS).map(|_| rig.connect()).collect();
    let (mut accepted, deadline) = (0, Instant::now() + PATIENCE);
    while accepted < CLIENTS {
        assert!(Instant::now() < deadline, "{accepted} of {CLIENTS}");
        rig.driver.poll(Some(Duration::from_millis(100)), &mut rig.told);
        let told = std::mem::take(&mut rig.told);
        let count = told.iter().filter(|event| matches!(event, Event::Accepted { .. })).count();
        assert!(count <= ACCEPTS_MAX, "{count} at once");
        accepted += count;
    }
}

fn peers_are_told_where_wanted<M: Make>() {
    for (any, want_peers) in [("127.0.0.1:0", true), ("[::1]:0", true), ("127.0.0.1:0", false)] {
        let Some(mut rig) = Rig::with::<M>(64, want_peers, any) else { return };
        // More at once than there are lanes.
        let clients: Vec<TcpStream> = (0..50).map(|_| rig.connect()).collect();
        let mut peers: Vec<_> = (0..50)
            .map(|_| match rig.until_event(|event| matches!(event, Event::Accepted { .. })) {
                Event::Accepted { peer, .. } => peer,
                other => unreachable!("{other:?}"),
            })
            .collect();
        let mut wanted: Vec<_> =
            clients.iter().map(|client| want_peers.then(|| client.local_addr().unwrap())).collect();
        peers.sort();
        wanted.sort();
        assert_eq!(peers, wanted);
    }
}
