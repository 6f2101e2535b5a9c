//! A thread of the node panics: nobody waits for what it did, the node says so, and it can be
//! stopped. The panics are real and come from what an embedder may hand in: a callback of a publish
//! runs on the sequencer's thread, what hears clients' messages on a shard's.

mod support;

use std::sync::mpsc;

use fanfare::node::Server;
use fanfare::sequencer::command::{Command, PublishAnswer, Refusal};
use fanfare_protocol::dialect::machine::{Answer, Machine, Piece, Turn};

use support::{
    Client, DRIVERS, PATIENCE, batch, in_time, node, node_hearing, publish_all, wait_until,
};

struct Panics;

impl Machine for Panics {
    fn piece(&mut self, _: Piece<'_>, _: &mut dyn Turn) {
        panic!("injected by a test");
    }

    fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
}

/// Waits for the loss, which is told once and can be read ever after; then stops the node.
fn assert_lost(node: &Server, thread: &str) {
    let told = node.vigil().losses().recv_timeout(PATIENCE);
    assert_eq!(told.as_deref(), Ok(thread));
    assert_eq!(node.vigil().lost(), Some(thread));
    let mut api = Client::get(node.addresses().api.unwrap(), "/readyz");
    assert!(api.head().starts_with("HTTP/1.1 503 "), "a node with a loss is not ready");
}

fn assert_stops(node: Server) {
    in_time("it waits for no lost thread", || node.stop());
}

#[test]
fn a_lost_sequencer_is_told_to_everyone() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut websocket = Client::websocket(listen, "/ws?channels=demo");
        let mut stream = Client::get(listen, "/sse?channels=demo");
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        wait_until("both follow", || node.metrics().sequencer.subscriptions.read() == 2);

        let one = batch([("demo", "x".to_string())]).pop().unwrap();
        let answer = PublishAnswer::Callback(Box::new(|_| panic!("injected by a test")));
        assert!(node.inbox().send(Command::Publish(one, answer)).is_ok());
        assert_lost(&node, "fanfare-sequencer");

        // 1012: come again. The message that was being published may have been seen.
        let closed = websocket.close_code();
        assert_eq!(closed, 1012);
        let (reset, _) = stream.end();
        assert!(!reset, "a stream ends, and its client comes again");
        let one = batch([("demo", "y".to_string())]).pop().unwrap();
        let (tell, hear) = mpsc::channel();
        let answer = PublishAnswer::Callback(Box::new(move |result| tell.send(result).unwrap()));
        assert!(node.inbox().send(Command::Publish(one, answer)).is_ok());
        assert_eq!(hear.recv_timeout(PATIENCE), Ok(Err(Refusal::ShuttingDown)));
        assert_stops(node);
    }
}

#[test]
fn a_lost_shard_is_told_and_the_others_go_on() {
    for driver in DRIVERS {
        let node = node_hearing(driver, |_| {}, || Box::new(Panics));
        let follow = || Client::websocket(node.addresses().listen, "/ws?channels=demo");
        let (mut clients, mut shards) = (Vec::new(), Vec::new());
        while !(shards.contains(&0) && shards.contains(&1)) {
            let before = node.metrics().shards[0].subscriptions.read();
            clients.push(follow());
            shards.push(usize::from(node.metrics().shards[0].subscriptions.read() == before));
        }
        let other = shards.iter().position(|shard| *shard != shards[0]).unwrap();
        clients[0].send_frame(0x81, b"hello");
        assert_lost(&node, &format!("fanfare-shard-{}", shards[0]));

        // Its ring place does not hold up the rest: more than the ring has entries goes through.
        for nth in 0..10 {
            publish_all(&node, (0..1_000).map(|at| ("demo", format!("{}", nth * 1_000 + at))));
            for at in 0..1_000 {
                assert_eq!(clients[other].text_frame(), format!("{}", nth * 1_000 + at));
            }
        }
        drop(clients);
        assert_stops(node);
    }
}
