//! Bytes out: silence is success, and every byte that was not taken is accounted for.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Driver, Event, Exception, Make, Outgoing, Rig, SendOutcome, Token, suite};
use crate::driver::Close;

suite! {
    a_peer_that_does_not_read_makes_sends_short_then_again_then_writable
    one_that_has_ended_its_side_and_does_not_read_has_no_room
    one_that_has_ended_its_side_is_closed_however_it_was_watched
    every_stream_is_byte_exact_whatever_was_short
    a_batch_larger_than_an_enter_reaches_everyone
    one_batch_tells_each_exception_by_its_place
    a_socket_twice_in_a_batch_is_refused
}

fn a_peer_that_does_not_read_makes_sends_short_then_again_then_writable<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    let (mut client, token) = rig.accept();
    let (taken, short) = rig.fill(token);
    assert!(short);
    // The second of two watches changes nothing.
    rig.driver.watch_writable(token);
    rig.poll_for(Duration::from_millis(60));
    assert!(rig.told.is_empty(), "there is no room yet: {:?}", rig.told);
    let mut heard = vec![0; taken];
    client.read_exact(&mut heard).unwrap();
    rig.until_writable(token);
    // Whatever else happens to the socket: a watch fires once.
    client.write_all(b"something else").unwrap();
    rig.until_readable(token);
    rig.poll_for(Duration::from_millis(60));
    let again = rig.told.iter().any(|event| matches!(event, Event::Writable { .. }));
    assert!(!again, "a watch fired twice");
    rig.driver.watch_writable(token);
    rig.until_writable(token);
    assert_eq!(rig.send(token, b"room"), None);
}

/// A client that has ended its side, before there was a watch for room or behind it, and does not
/// read. How much waits for it.
fn half_closed<D: Driver>(rig: &mut Rig<D>, early: bool) -> (TcpStream, Token, usize) {
    let (client, token) = rig.accept();
    let before = if early { 0 } else { rig.fill(token).0 };
    client.shutdown(Shutdown::Write).unwrap();
    assert!(rig.until_readable(token), "its end is told");
    (client, token, before + rig.fill(token).0)
}

/// Whether room is told of in a while, and how often a sleep ended in it.
fn told_room<D: Driver>(rig: &mut Rig<D>) -> (bool, usize) {
    let (deadline, mut sleeps) = (Instant::now() + Duration::from_millis(120), 0);
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        rig.driver.poll(Some(left), &mut rig.told);
        sleeps += 1;
    }
    let room = rig.told.iter().any(|event| matches!(event, Event::Writable { .. }));
    rig.told.clear();
    (room, sleeps)
}

fn one_that_has_ended_its_side_and_does_not_read_has_no_room<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    for early in [false, true] {
        let (mut client, token, mut waits) = half_closed(&mut rig, early);
        for round in 0..3 {
            rig.driver.watch_writable(token);
            let (room, sleeps) = told_room(&mut rig);
            assert!(!room, "early {early}, round {round}: nothing was read");
            assert!(sleeps < 20, "{sleeps} sleeps of a driver that has nothing to tell");
            client.read_exact(&mut vec![0; waits]).unwrap();
            rig.until_writable(token);
            assert!(!told_room(&mut rig).0, "a watch fired twice");
            for _ in 0..3 {
                rig.driver.watch_writable(token);
                rig.until_writable(token);
            }
            assert_eq!(rig.send(token, b"room"), None);
            waits = 4 + rig.fill(token).0;
        }
        drop(client); // over unread bytes, which resets the connection
        rig.until_writable(token);
        assert!(matches!(rig.send(token, b"x"), Some(SendOutcome::Failed(_))));
    }
}

/// An operation that is still armed on a socket keeps its end from the peer.
fn one_that_has_ended_its_side_is_closed_however_it_was_watched<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(1) else { return };
    for (early, told, again) in
        [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]
    {
        let (mut client, token, waits) = half_closed(&mut rig, early);
        let taken = if told { waits } else { 0 };
        client.read_exact(&mut vec![0; taken]).unwrap();
        if told {
            rig.until_writable(token);
        }
        if again {
            rig.driver.watch_writable(token);
        }
        rig.driver.close(token, Close::Gracefully);
        let (rest, end) = rig.read_to_end(&client);
        assert_eq!((rest.len(), end), (waits - taken, Ok(())), "{early} {told} {again}");
    }
}

/// What the nth byte of a stream is, so that a lost, doubled or swapped piece shows.
fn byte(stream: usize, nth: usize) -> u8 {
    ((nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 ^ stream as u8
}

fn hash_stream(mut client: TcpStream, total: usize) -> u64 {
    let (mut hasher, mut buffer, mut left) = (DefaultHasher::new(), vec![0; 10_000], total);
    while left > 0 {
        let n = client.read(&mut buffer).unwrap();
        assert!(n > 0 && n <= left, "the stream ends early or has more");
        buffer[..n].iter().for_each(|byte| hasher.write_u8(*byte));
        left -= n;
    }
    hasher.finish()
}

fn every_stream_is_byte_exact_whatever_was_short<M: Make>() {
    const TOTAL: usize = 3 << 20;
    let Some(mut rig) = Rig::new::<M>(8) else { return };
    let pairs = rig.accept_many(4);
    let tokens: Vec<Token> = pairs.iter().map(|pair| pair.1).collect();
    let readers: Vec<_> = pairs
        .into_iter()
        .map(|(client, _)| std::thread::spawn(move || hash_stream(client, TOTAL)))
        .collect();
    let streams: Vec<Vec<u8>> =
        (0..4).map(|s| (0..TOTAL).map(|nth| byte(s, nth)).collect()).collect();
    let (mut sent, mut blocked, mut shorts) = ([0; 4], [false; 4], 0);
    while sent.iter().any(|sent| *sent < TOTAL) {
        let owing: Vec<usize> = (0..4).filter(|s| sent[*s] < TOTAL && !blocked[*s]).collect();
        // Slices of many sizes, copied so that they can be spoiled when the call is over: whatever
        // the kernel would still read of them would show in the hash.
        let slice = |s: usize| sent[s]..TOTAL.min(sent[s] + 1 + (sent[s] * 31 + s) % 150_000);
        let mut copies: Vec<Vec<u8>> =
            owing.iter().map(|s| streams[*s][slice(*s)].to_vec()).collect();
        let mut exceptions = Vec::new();
        let sends: Vec<Outgoing<'_>> = owing
            .iter()
            .zip(&copies)
            .map(|(s, bytes)| Outgoing { token: tokens[*s], bytes })
            .collect();
        rig.driver.send_batch(&sends, &mut exceptions);
        copies.iter_mut().for_each(|copy| copy.fill(0xee));
        for (nth, s) in owing.iter().enumerate() {
            let exception = exceptions.iter().find(|exception| exception.nth == nth);
            match exception.map(|exception| exception.outcome) {
                None => sent[*s] += copies[nth].len(),
                Some(SendOutcome::Short(n)) => (sent[*s], shorts) = (sent[*s] + n, shorts + 1),
                Some(SendOutcome::Again) => {
                    blocked[*s] = true;
                    rig.driver.watch_writable(tokens[*s]);
                }
                Some(SendOutcome::Failed(errno)) => panic!("failed with {errno}"),
            }
        }
        let timeout = owing.is_empty().then_some(Duration::from_secs(5));
        rig.driver.poll(timeout.or(Some(Duration::ZERO)), &mut rig.told);
        for event in rig.told.drain(..) {
            if let Event::Writable { token } = event {
                blocked[tokens.iter().position(|of| *of == token).unwrap()] = false;
            }
        }
    }
    assert!(shorts > 0, "no send was short: nothing was proved");
    for (stream, reader) in streams.iter().zip(readers) {
        let mut hasher = DefaultHasher::new();
        stream.iter().for_each(|byte| hasher.write_u8(*byte));
        assert_eq!(reader.join().unwrap(), hasher.finish());
    }
}

fn a_batch_larger_than_an_enter_reaches_everyone<M: Make>() {
    const EVERYONE: usize = 600;
    let Some(mut rig) = Rig::new::<M>(EVERYONE) else { return };
    let mut pairs = rig.accept_many(EVERYONE);
    let messages: Vec<String> = (0..EVERYONE).map(|nth| format!("for {nth:4}")).collect();
    let sends: Vec<Outgoing<'_>> = pairs
        .iter()
        .zip(&messages)
        .map(|((_, token), message)| Outgoing { token: *token, bytes: message.as_bytes() })
        .collect();
    let mut exceptions = Vec::new();
    rig.driver.send_batch(&sends, &mut exceptions);
    assert!(exceptions.is_empty(), "{exceptions:?}");
    for ((client, _), message) in pairs.iter_mut().zip(&messages) {
        let mut heard = [0; 8];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, message.as_bytes());
    }
}

fn one_batch_tells_each_exception_by_its_place<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(600) else { return };
    let mut pairs = rig.accept_many(300);
    // Place 280 lies behind the first enter. It is full, and 290 is gone.
    let (full, gone) = (pairs[280].1, pairs[290].1);
    rig.fill(full);
    let (client, _) = pairs.pop().unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let reset = rig.until_event(|event| matches!(event, Event::Readable { hangup: true, .. }));
    let Event::Readable { token: last, .. } = reset else { unreachable!("it was looked for") };
    rig.driver.close(gone, super::super::Close::Abort);
    // A little room may have come meanwhile: the kernel asks its peer for some now and then.
    while rig.send(full, &[7; 64 << 10]) != Some(SendOutcome::Again) {}
    let tokens = pairs.iter().map(|pair| pair.1);
    let sends: Vec<_> =
        tokens.chain([last]).map(|token| Outgoing { token, bytes: b"hello" }).collect();
    let mut exceptions = Vec::new();
    rig.driver.send_batch(&sends, &mut exceptions);
    exceptions.sort_by_key(|exception| exception.nth);
    assert_eq!(
        exceptions,
        [
            Exception { nth: 280, outcome: SendOutcome::Again },
            Exception { nth: 290, outcome: SendOutcome::Failed(libc::EBADF) },
            Exception { nth: 299, outcome: SendOutcome::Failed(libc::ECONNRESET) },
        ]
    );
}

fn a_socket_twice_in_a_batch_is_refused<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    if !cfg!(debug_assertions) {
        return;
    }
    let (_client, token) = rig.accept();
    let twice = [Outgoing { token, bytes: b"a" }, Outgoing { token, bytes: b"b" }];
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rig.driver.send_batch(&twice, &mut Vec::new());
    }));
    assert!(sent.is_err());
}
