//! Moves by the engine's drivers: detached, handed over through a channel, adopted.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use fanfare::driver::epoll::Epoll;
use fanfare::driver::uring::Uring;
use fanfare::driver::{Close, Detached, Driver, DriverConfig, Event, Token, Waker};

use crate::pair::{Meeting, PATIENCE, cpu_nanos};
use crate::{Costs, client, listener};

pub(crate) fn uring(moves: u64, costs: &mut Costs) -> io::Result<()> {
    run(Uring::new, moves, costs)
}

pub(crate) fn epoll(moves: u64, costs: &mut Costs) -> io::Result<()> {
    run(Epoll::new, moves, costs)
}

fn config(listener: TcpListener, waker: &Arc<Waker>) -> DriverConfig {
    let waker = Arc::clone(waker);
    DriverConfig { listener, waker, capacity: 64, want_peers: false, entries: 1_024 }
}

fn run<D: Driver + 'static>(
    make: fn(DriverConfig) -> io::Result<D>,
    moves: u64,
    costs: &mut Costs,
) -> io::Result<()> {
    let (here, address) = listener()?;
    let mut giver = make(config(here, &Waker::new()?))?;
    giver.set_accepting(true);
    let waker = Waker::new()?;
    let (to, from) = channel();
    let meeting = Arc::new(Meeting::new());
    let taker = thread::spawn({
        let (meeting, waker) = (Arc::clone(&meeting), Arc::clone(&waker));
        move || take(make, moves, &from, &meeting, &waker)
    });
    let mut events = Vec::new();
    for nth in 0..moves {
        let client = client(address)?;
        let token = accepted(&mut giver, &mut events);
        meeting.wait_for_sleep(nth);
        let (began, cpu) = (meeting.now(), cpu_nanos());
        let socket = giver.detach(token).map_err(io::Error::from_raw_os_error)?;
        to.send(socket).expect("the taker takes all");
        waker.wake();
        let gone = meeting.now();
        costs.giver_cpu += cpu_nanos() - cpu;
        costs.latency.push(meeting.wait_until_told(nth, began));
        costs.giver.push((gone - began).as_nanos() as u64);
        drop(client);
    }
    costs.taker_cpu += taker.join().expect("the taker ends")?;
    Ok(())
}

/// A socket that was told of, with its byte.
fn accepted(driver: &mut impl Driver, events: &mut Vec<Event>) -> Token {
    let mut new = None;
    loop {
        driver.poll(Some(Duration::from_millis(100)), events);
        for event in events.drain(..) {
            match event {
                Event::Accepted { token, .. } => new = Some(token),
                Event::Readable { token, .. } if new == Some(token) => return token,
                _ => {}
            }
        }
    }
}

/// The taker's thread; gives the CPU time that it used.
fn take<D: Driver>(
    make: fn(DriverConfig) -> io::Result<D>,
    moves: u64,
    from: &Receiver<Detached>,
    meeting: &Meeting,
    waker: &Arc<Waker>,
) -> io::Result<u64> {
    let mut driver = make(config(listener()?.0, waker))?;
    let (mut events, mut told, mut cpu) = (Vec::new(), 0, 0);
    driver.poll(Some(Duration::ZERO), &mut events);
    while told < moves {
        meeting.sleeps(told);
        let before = cpu_nanos();
        driver.poll(Some(PATIENCE), &mut events);
        for socket in from.try_iter() {
            driver.adopt(socket).expect("there is a place");
        }
        driver.poll(Some(Duration::ZERO), &mut events);
        cpu += cpu_nanos() - before;
        for event in events.drain(..) {
            if let Event::Readable { token, hangup: false, .. } = event {
                meeting.notes_time();
                driver.close(token, Close::Abort);
                driver.poll(Some(Duration::ZERO), &mut Vec::new());
                meeting.is_done(told);
                told += 1;
            }
        }
    }
    Ok(cpu)
}
