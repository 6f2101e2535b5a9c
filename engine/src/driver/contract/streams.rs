//! Bytes in, and when they are told.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{Driver, Ended, Event, Make, PATIENCE, Received, Rig, Token, suite};

suite! {
    bytes_go_both_ways
    bytes_that_came_before_the_watch_are_told
    unread_bytes_are_told_once_and_new_ones_again
    an_end_comes_after_the_bytes_before_it
    a_reset_is_told_and_fails_what_is_asked_next
    a_peer_that_has_ended_its_side_is_gone_when_it_answers_with_a_reset
    a_long_message_streams_through_the_scratch
    one_batch_receives_from_more_sockets_than_there_are_regions
    events_seen_while_sending_are_told_by_the_next_poll
}

fn bytes_go_both_ways<M: Make>() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let Some(mut rig) = Rig::with::<M>(4, false, any) else { return };
        let (mut client, token) = rig.accept();
        assert_eq!(rig.receive(token), Err(Ended::Again));
        client.write_all(b"ping").unwrap();
        assert!(!rig.until_readable(token), "the peer has not ended");
        assert_eq!(rig.receive_all(token), (b"ping".to_vec(), Ended::Again));
        assert_eq!(rig.send(token, b"pong"), None);
        let mut heard = [0; 4];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }
}

fn bytes_that_came_before_the_watch_are_told<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let mut client = rig.connect();
    client.write_all(b"early").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let token = rig.until_accepted();
    rig.until_readable(token);
    assert_eq!(rig.receive_all(token).0, b"early");
}

fn unread_bytes_are_told_once_and_new_ones_again<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut client, token) = rig.accept();
    client.write_all(b"one").unwrap();
    rig.until_readable(token);
    rig.poll_for(Duration::from_millis(60));
    assert!(rig.told.is_empty(), "told again without an arrival: {:?}", rig.told);
    client.write_all(b"two").unwrap();
    rig.until_readable(token);
    assert_eq!(rig.receive_all(token), (b"onetwo".to_vec(), Ended::Again));
    client.write_all(b"three").unwrap();
    rig.until_readable(token);
    assert_eq!(rig.receive_all(token).0, b"three");
}

fn an_end_comes_after_the_bytes_before_it<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut client, token) = rig.accept();
    client.write_all(b"goodbye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    while !rig.until_readable(token) {}
    assert_eq!(rig.receive_all(token), (b"goodbye".to_vec(), Ended::End));
    assert_eq!(rig.send(token, b"bye"), None, "only the peer's side has ended");
    let mut heard = [0; 3];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"bye");
}

fn a_reset_is_told_and_fails_what_is_asked_next<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (client, token) = rig.accept();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    while !rig.until_readable(token) {}
    assert_eq!(rig.receive(token), Err(Ended::Failed(libc::ECONNRESET)));
    let failed = rig.send(token, b"to nobody");
    assert_eq!(failed, Some(super::SendOutcome::Failed(libc::EPIPE)));
}

fn a_long_message_streams_through_the_scratch<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut client, token) = rig.accept();
    let said: Vec<u8> = (0..1_000_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let copy = said.clone();
    let talker = std::thread::spawn(move || {
        client.write_all(&copy).unwrap();
        client
    });
    let (mut heard, mut filled) = (Vec::new(), false);
    while heard.len() < said.len() {
        rig.until_readable(token);
        // The rule for callers: read until a receive was not filled.
        let mut more = true;
        while std::mem::take(&mut more) {
            rig.driver.recv_batch(&[token], &mut |_, received| {
                if let Received::Bytes { bytes, more: filled } = received {
                    heard.extend_from_slice(bytes);
                    more = filled;
                }
            });
            filled |= more;
        }
    }
    assert!(heard == said && filled);
    talker.join().unwrap();
}

fn one_batch_receives_from_more_sockets_than_there_are_regions<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(64) else { return };
    let mut pairs = rig.accept_many(40);
    for (nth, (client, _)) in (0u8..).zip(&mut pairs) {
        client.write_all(&vec![nth; 100 + usize::from(nth)]).unwrap();
    }
    for (_, token) in &pairs {
        rig.until_readable(*token);
    }
    let tokens: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
    let mut came = Vec::new();
    rig.driver.recv_batch(&tokens, &mut |token, received| match received {
        Received::Bytes { bytes, more: false } => came.push((token, bytes.to_vec())),
        other => panic!("{other:?}"),
    });
    assert_eq!(came.len(), 40);
    for (nth, token) in (0u8..).zip(tokens) {
        assert!(came.contains(&(token, vec![nth; 100 + usize::from(nth)])));
    }
}

fn events_seen_while_sending_are_told_by_the_next_poll<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut one, first) = rig.accept();
    let (_two, second) = rig.accept();
    rig.poll_for(Duration::from_millis(10));
    one.write_all(b"while you are busy").unwrap();
    std::thread::sleep(Duration::from_millis(20)); // most likely it is there now
    for _ in 0..3 {
        assert_eq!(rig.send(second, b"busy"), None);
    }
    let began = Instant::now();
    rig.driver.poll(Some(2 * PATIENCE), &mut rig.told);
    assert!(began.elapsed() < PATIENCE, "slept over what it knew already");
    let told = |event: &Event| matches!(event, Event::Readable { token, .. } if *token == first);
    assert!(rig.told.iter().any(told));
}

fn a_peer_that_has_ended_its_side_is_gone_when_it_answers_with_a_reset<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let told = |wanted: Token, over: bool| {
        move |event: &Event| match event {
            Event::Readable { token, hangup: true, gone } => *token == wanted && *gone == over,
            _ => false,
        }
    };
    // One that still listens, and one whose socket is closed: both have ended their side.
    let (mut listens, first) = rig.accept();
    listens.shutdown(Shutdown::Write).unwrap();
    rig.until_event(told(first, false));
    let (closed, second) = rig.accept();
    drop(closed);
    rig.until_event(told(second, false));
    for token in [first, second] {
        assert_eq!(rig.receive(token), Err(Ended::End));
        assert_eq!(rig.send(token, b"there?"), None);
    }
    rig.until_event(told(second, true));
    let mut heard = [0; 6];
    listens.read_exact(&mut heard).unwrap();
    rig.poll_for(Duration::from_millis(50));
    assert!(!rig.told.iter().any(told(first, true)), "it listens: {:?}", rig.told);
}
