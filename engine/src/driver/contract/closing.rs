//! What the peer sees of a close, and that a closed token is dead for good.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::super::Close;
use super::{Driver, Ended, Event, Make, PATIENCE, Rig, SendOutcome, read_to_end, sockets, suite};

suite! {
    a_graceful_close_ends_the_stream_after_its_last_byte
    bytes_that_nobody_read_do_not_cost_the_peer_its_last_answer
    an_abort_resets
    a_closed_token_is_dead_though_its_place_lives_again
    a_close_ends_an_open_watch
    a_driver_that_goes_closes_everything
    two_thousand_connections_leave_nothing_behind
}

fn a_graceful_close_ends_the_stream_after_its_last_byte<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (client, token) = rig.accept();
    let (mut idle, _idle_token) = rig.accept();
    assert_eq!(rig.send(token, b"last words"), None);
    rig.driver.close(token, Close::Gracefully);
    assert_eq!(rig.read_to_end(&client), (b"last words".to_vec(), Ok(())));
    // The neighbour that is watched and silent is not touched.
    idle.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn bytes_that_nobody_read_do_not_cost_the_peer_its_last_answer<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut client, token) = rig.accept();
    client.write_all(&[b'x'; 20_000]).unwrap();
    rig.until_readable(token);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.send(token, b"431 too long"), None);
    rig.driver.close(token, Close::Gracefully);
    assert_eq!(rig.read_to_end(&client), (b"431 too long".to_vec(), Ok(())));
}

fn an_abort_resets<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (client, token) = rig.accept();
    rig.driver.close(token, Close::Abort);
    assert_eq!(rig.read_to_end(&client).1, Err(ErrorKind::ConnectionReset));
}

fn a_closed_token_is_dead_though_its_place_lives_again<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(1) else { return };
    let (mut old_client, old) = rig.accept();
    old_client.write_all(b"told of nobody").unwrap();
    rig.until_readable(old);
    rig.driver.close(old, Close::Gracefully);
    rig.poll_for(Duration::from_millis(20));
    let (mut client, new) = rig.accept();
    assert_eq!(new.index, old.index, "the only place is used again");
    assert_ne!(new.generation, old.generation);
    client.write_all(b"for the new one").unwrap();
    assert_eq!(rig.receive(old), Err(Ended::Silence));
    assert_eq!(rig.send(old, b"lost"), Some(SendOutcome::Failed(libc::EBADF)));
    rig.driver.watch_writable(old);
    rig.driver.close(old, Close::Abort);
    rig.until_readable(new);
    rig.poll_for(Duration::from_millis(30));
    for event in &rig.told {
        assert!(matches!(event, Event::Readable { token, .. } if *token == new), "{event:?}");
    }
    assert_eq!(rig.receive_all(new).0, b"for the new one");
    assert_eq!(rig.send(new, b"alive"), None);
    let mut heard = [0; 5];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"alive");
}

fn a_close_ends_an_open_watch<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(1) else { return };
    let (client, token) = rig.accept();
    rig.fill(token);
    rig.driver.close(token, Close::Gracefully);
    // An armed watch that was not cancelled would hold the socket, and no FIN would be sent.
    assert_eq!(rig.read_to_end(&client).1, Ok(()));
    rig.poll_for(Duration::from_millis(20));
    assert!(rig.told.is_empty(), "{:?}", rig.told);
}

fn a_driver_that_goes_closes_everything<M: Make>() {
    for want_peers in [false, true] {
        let Some(mut rig) = Rig::with::<M>(40, want_peers, "127.0.0.1:0") else { return };
        let mut pairs = rig.accept_many(30);
        let address = rig.address;
        drop(rig);
        for (client, _) in &mut pairs {
            assert_eq!(read_to_end(client), (vec![], Ok(())));
        }
        drop(pairs);
        // Nobody listens there any more, so that somebody else may.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = TcpListener::bind(address) {
            assert!(Instant::now() < deadline, "the port is not freed: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Sockets of this machine on `port`'s side that are established or half closed: kernel facts, so
/// that sockets without a descriptor count too.
fn sockets_on(port: u16) -> usize {
    sockets::all().iter().filter(|it| it.port == port && it.is_open).count()
}

fn two_thousand_connections_leave_nothing_behind<M: Make>() {
    const CAPACITY: usize = 16;
    let Some(mut rig) = Rig::new::<M>(CAPACITY) else { return };
    for round in 0..250 {
        // 8 at a time in a table of 16, so that closing may lag behind accepting by a round.
        let pairs = rig.accept_many(8);
        for (nth, (mut client, token)) in pairs.into_iter().enumerate() {
            match (round + nth) % 3 {
                0 => drop(client),
                1 => client.write_all(b"something unread").unwrap(),
                _ => assert_eq!(rig.send(token, b"something"), None),
            }
            let how = if nth % 2 == 0 { Close::Gracefully } else { Close::Abort };
            rig.driver.close(token, how);
        }
        rig.poll_for(Duration::ZERO);
        rig.told.clear();
    }
    let deadline = Instant::now() + PATIENCE;
    while sockets_on(rig.address.port()) > 0 {
        assert!(Instant::now() < deadline, "{} are left", sockets_on(rig.address.port()));
        rig.poll_for(Duration::from_millis(10));
    }
    let full = rig.accept_many(CAPACITY);
    assert_eq!(full.len(), CAPACITY, "every place can be used again");
}
