//! How long a poll sleeps, and who ends it.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Driver, Ended, Event, Make, PATIENCE, Rig, sockets, suite};

suite! {
    a_poll_sleeps_as_long_as_it_was_told
    a_wake_ends_a_sleep_from_another_thread
    a_wake_before_the_sleep_is_not_lost
    a_wake_is_used_up
    polls_that_do_not_wait_tell_all_before_they_tell_nothing
}

fn timed<D: Driver>(rig: &mut Rig<D>, timeout: Option<Duration>) -> Duration {
    let began = Instant::now();
    rig.driver.poll(timeout, &mut rig.told);
    began.elapsed()
}

fn a_poll_sleeps_as_long_as_it_was_told<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    rig.poll_for(Duration::from_millis(5));
    for ms in [3, 40, 120] {
        let slept = timed(&mut rig, Some(Duration::from_millis(ms)));
        assert!(slept >= Duration::from_millis(ms), "slept {slept:?} of {ms} ms");
        assert!(slept < PATIENCE, "slept {slept:?} of {ms} ms");
    }
    assert!(timed(&mut rig, Some(Duration::ZERO)) < PATIENCE);
    assert!(rig.told.is_empty());
}

fn a_wake_ends_a_sleep_from_another_thread<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    for _ in 0..20 {
        let waker = Arc::clone(&rig.waker);
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        // Sleeps may end early; a sleep without an end of its own may not go on for ever.
        assert!(timed(&mut rig, None) < PATIENCE);
        other.join().unwrap();
    }
}

fn a_wake_before_the_sleep_is_not_lost<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    rig.waker.wake();
    assert!(timed(&mut rig, Some(2 * PATIENCE)) < PATIENCE);
    rig.poll_for(Duration::from_millis(5));
    for _ in 0..100 {
        rig.waker.wake();
        rig.waker.wake();
        assert!(timed(&mut rig, Some(2 * PATIENCE)) < PATIENCE);
    }
}

fn a_wake_is_used_up<M: Make>() {
    let Some(mut rig) = Rig::new::<M>(4) else { return };
    rig.waker.wake();
    rig.poll_for(Duration::from_millis(20));
    let slept = timed(&mut rig, Some(Duration::from_millis(60)));
    assert!(slept >= Duration::from_millis(60), "a wake ended two sleeps: {slept:?}");
}

/// More than any driver tells at once.
/// Waits until the kernel has brought all that clients said to this port.
fn until_it_is_there(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while sockets::all().iter().any(|it| it.peer_port == port && it.unsent > 0) {
        assert!(Instant::now() < deadline, "bytes do not get through");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn polls_that_do_not_wait_tell_all_before_they_tell_nothing<M: Make>() {
    const CLIENTS: usize = 150;
    let Some(mut rig) = Rig::new::<M>(CLIENTS) else { return };
    let mut clients = rig.accept_many(CLIENTS);
    for _ in 0..5 {
        rig.poll_for(Duration::from_millis(5));
        rig.told.clear();
        for (client, _) in &mut clients {
            client.write_all(b"x").unwrap();
        }
        until_it_is_there(rig.address.port());
        loop {
            let before = rig.told.len();
            rig.driver.poll(Some(Duration::ZERO), &mut rig.told);
            if rig.told.len() == before {
                break;
            }
        }
        for (_, token) in &clients {
            let is_its =
                |event: &Event| matches!(event, Event::Readable { token: of, .. } if of == token);
            assert!(rig.told.iter().any(is_its), "{token:?} was not told");
            assert_eq!(rig.receive(*token), Ok(b"x".to_vec()));
            assert_eq!(rig.receive(*token), Err(Ended::Again));
        }
    }
}
