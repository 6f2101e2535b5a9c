//! The liar keeps the contract, and catches those who do not.

use super::*;

const SEEDS: u64 = 200;

fn accepted(sim: &mut Sim) -> Token {
    for _ in 0..1000 {
        let mut events = Vec::new();
        sim.poll(None, &mut events);
        if let Some(Event::Accepted { token, .. }) = events.first() {
            return *token;
        }
    }
    panic!("nobody was accepted");
}

fn one(seed: u64, temper: Temper) -> (Sim, SimNet, Client, Token) {
    let (mut sim, net) = Sim::new(seed, 4, temper);
    sim.set_accepting(true);
    let client = net.connect();
    let token = accepted(&mut sim);
    (sim, net, client, token)
}

#[test]
fn a_caller_that_keeps_the_contract_gets_every_byte_both_ways_from_any_seed() {
    for seed in 0..SEEDS {
        let (mut sim, net, client, token) = one(seed, Temper::LIAR);
        let said: Vec<u8> = (0..40_000u32).map(|n| (n % 251) as u8).collect();
        let (mut to_say, mut heard, mut ended) = (said.clone(), Vec::new(), false);
        let (mut sent, mut got, mut blocked) = (0, Vec::new(), false);
        net.set_window(client, 3_000);
        for _ in 0..20_000 {
            let piece = (1 + net.below(900)).min(to_say.len());
            if piece > 0 {
                net.write(client, &to_say.drain(..piece).collect::<Vec<_>>());
            } else if !net.lock().wires[client.0].half_closed {
                net.half_close(client);
            }
            got.extend(net.take_some(client, 700));
            if !blocked && sent < said.len() {
                let mut exceptions = Vec::new();
                let bytes = &said[sent..];
                sim.send_batch(&[Outgoing { token, bytes }], &mut exceptions);
                match exceptions.pop().map(|exception| exception.outcome) {
                    None => sent = said.len(),
                    Some(SendOutcome::Short(n)) => sent += n,
                    Some(SendOutcome::Again) => {
                        blocked = true;
                        sim.watch_writable(token);
                    }
                    Some(SendOutcome::Failed(errno)) => panic!("seed {seed}: {errno}"),
                }
            }
            let mut events = Vec::new();
            sim.poll(None, &mut events);
            blocked &= !events.contains_writable();
            // Reads only when told to, and then until a receive was not filled.
            let mut more = events.iter().any(|event| matches!(event, Event::Readable { .. }));
            let hangup =
                events.iter().any(|event| matches!(event, Event::Readable { hangup: true, .. }));
            while std::mem::take(&mut more) {
                sim.recv_batch(&[token], &mut |_, received| match received {
                    Received::Bytes { bytes, more: filled } => {
                        heard.extend_from_slice(bytes);
                        more = filled || hangup;
                    }
                    Received::End => ended = true,
                    Received::Again => {}
                    Received::Failed(errno) => panic!("seed {seed}: {errno}"),
                });
            }
            if ended && got.len() == said.len() {
                break;
            }
        }
        assert!(heard == said, "seed {seed}: {} of {} bytes came in", heard.len(), said.len());
        assert!(got == said, "seed {seed}: {} of {} bytes went out", got.len(), said.len());
        assert!(ended, "seed {seed}: the end was not told");
    }
}

trait Told {
    fn contains_writable(&self) -> bool;
}

impl Told for Vec<Event> {
    fn contains_writable(&self) -> bool {
        self.iter().any(|event| matches!(event, Event::Writable { .. }))
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let (mut sim, net) = Sim::new(seed, 8, Temper::LIAR);
        sim.set_accepting(true);
        let mut events = Vec::new();
        for _ in 0..50 {
            let client = net.connect();
            net.write(client, b"hello");
            sim.poll(None, &mut events);
        }
        format!("{events:?}")
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_stale_token_is_silent_and_its_place_is_used_again() {
    let (mut sim, net) = Sim::new(1, 1, Temper::HONEST);
    sim.set_accepting(true);
    let first = net.connect();
    let old = accepted(&mut sim);
    sim.close(old, Close::Gracefully);
    assert_eq!(net.standing(first), Standing::Ended);
    let second = net.connect();
    let new = accepted(&mut sim);
    assert_eq!((new.index, net.token(second)), (old.index, Some(new)));
    sim.recv_batch(&[old], &mut |_, received| panic!("{received:?}"));
    sim.close(old, Close::Abort);
    assert_eq!(net.standing(second), Standing::Open);
}

#[test]
fn at_a_full_table_clients_wait_and_nobody_is_lost() {
    let (mut sim, net) = Sim::new(1, 1, Temper::HONEST);
    sim.set_accepting(true);
    let (_in, waits) = (net.connect(), net.connect());
    let mut events = Vec::new();
    sim.poll(None, &mut events);
    let [Event::Accepted { token, .. }] = events[..] else { panic!("{events:?}") };
    assert!(net.accepting());
    assert_eq!(net.standing(waits), Standing::Waiting);
    sim.close(token, Close::Gracefully);
    accepted(&mut sim);
    assert_eq!(net.standing(waits), Standing::Open);
}

#[test]
fn an_injected_accept_failure_is_told_once() {
    let (mut sim, net) = Sim::new(1, 4, Temper::HONEST);
    sim.set_accepting(true);
    net.fail_next_accept(libc::EMFILE);
    net.connect();
    let mut events = Vec::new();
    sim.poll(None, &mut events);
    assert!(matches!(events[..], [Event::AcceptFailed(libc::EMFILE)]));
    sim.set_accepting(true);
    accepted(&mut sim);
}

#[test]
fn closing_and_resetting_look_as_they_do_on_a_network() {
    let (mut sim, net, client, token) = one(1, Temper::HONEST);
    sim.send_batch(&[Outgoing { token, bytes: b"bye" }], &mut Vec::new());
    sim.close(token, Close::Gracefully);
    assert_eq!((net.take(client), net.standing(client)), (b"bye".to_vec(), Standing::Ended));

    let (mut sim, net, client, token) = one(1, Temper::HONEST);
    sim.send_batch(&[Outgoing { token, bytes: b"bye" }], &mut Vec::new());
    sim.close(token, Close::Abort);
    assert_eq!((net.take(client), net.standing(client)), (vec![], Standing::Reset));

    let (mut sim, net, client, token) = one(1, Temper::HONEST);
    net.write(client, b"never read");
    net.reset(client);
    let mut events = Vec::new();
    sim.poll(None, &mut events);
    assert!(matches!(events[..], [Event::Readable { hangup: true, .. }]));
    let failed = |_: Token, received: Received<'_>| {
        assert!(matches!(received, Received::Failed(libc::ECONNRESET)));
    };
    sim.recv_batch(&[token], &mut { failed });
    let mut exceptions = Vec::new();
    sim.send_batch(&[Outgoing { token, bytes: b"x" }], &mut exceptions);
    let outcome = SendOutcome::Failed(libc::EPIPE);
    assert_eq!(exceptions, [Exception { nth: 0, outcome }]);
}

#[test]
fn sockets_fail_where_they_are_told_to() {
    let temper = Temper { fail: 100, ..Temper::HONEST };
    let (mut sim, net, client, token) = one(1, temper);
    let mut exceptions = Vec::new();
    sim.send_batch(&[Outgoing { token, bytes: b"x" }], &mut exceptions);
    assert!(matches!(exceptions[0].outcome, SendOutcome::Failed(_)));
    assert_eq!(net.standing(client), Standing::Reset);
}

#[test]
#[should_panic(expected = "in a batch of sends twice")]
fn two_sends_for_one_socket_are_caught() {
    let (mut sim, _net, _client, token) = one(1, Temper::HONEST);
    let send = Outgoing { token, bytes: b"x" };
    sim.send_batch(&[send, send], &mut Vec::new());
}

#[test]
#[should_panic(expected = "a send of nothing")]
fn an_empty_send_is_caught() {
    let (mut sim, _net, _client, token) = one(1, Temper::HONEST);
    sim.send_batch(&[Outgoing { token, bytes: b"" }], &mut Vec::new());
}

#[test]
#[should_panic(expected = "a send to Token")]
fn a_send_to_a_closed_socket_is_caught() {
    let (mut sim, _net, _client, token) = one(1, Temper::HONEST);
    sim.close(token, Close::Gracefully);
    sim.send_batch(&[Outgoing { token, bytes: b"x" }], &mut Vec::new());
}

#[test]
#[should_panic(expected = "a watch for Token")]
fn a_watch_for_a_closed_socket_is_caught() {
    let (mut sim, _net, _client, token) = one(1, Temper::HONEST);
    sim.close(token, Close::Gracefully);
    sim.watch_writable(token);
}
