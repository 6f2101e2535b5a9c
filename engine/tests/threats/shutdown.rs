//! H28 at the end of a node: what clients are told, and that nothing waits for ever.

use std::sync::Arc;
use std::thread;

use fanfare::node::Server;

use crate::support::{Client, DRIVERS, node_with, publish, wait_until};
use crate::wire::{Answer, connect, ended_by_node, field, frame, get, status, upgrade};

fn on_both_to_the_end(run: impl Fn(Server) + Sync) {
    thread::scope(|scope| {
        for driver in DRIVERS {
            let run = &run;
            scope.spawn(move || {
                let node = node_with(driver, |settings| {
                    settings.shards = Some(1);
                    settings.limits.close_ms = 200;
                });
                let metrics = Arc::clone(node.metrics());
                run(node);
                let shard = &metrics.shards[0];
                let left =
                    [&shard.connections, &shard.websockets, &shard.event_streams, &shard.polls];
                assert!(left.iter().all(|gauge| gauge.read() == 0), "{driver:?}: {shard:?}");
                assert_eq!(shard.subscriptions.read(), 0);
            });
        }
    });
}

#[test]
fn farewells() {
    on_both_to_the_end(|node| {
        let listen = node.addresses().listen;
        let mut websocket = Client::websocket(listen, "/ws?channels=a");
        let mut stream = Client::get(listen, "/sse?channels=a");
        assert_eq!(status(&stream.head()), 200);
        let mut poll = Client::get(listen, "/poll?channels=b&wait=30");
        let mut idle = Client::get(listen, "/healthz");
        assert_eq!(Answer::read(&mut idle).status, 200);
        let mut half = connect(&node);
        half.send(b"GET /healthz HTTP/1.1\r\n");
        let followed = &node.metrics().sequencer.subscriptions;
        wait_until("all follow", || followed.read() == 3);
        wait_until("all are there", || node.metrics().shards[0].connections.read() == 5);
        publish(&node, "a", "the last message");
        let stopping = thread::spawn(move || node.stop());

        assert_eq!(websocket.text_frame(), "the last message", "before any farewell");
        assert_eq!(websocket.close_code(), 1012);
        websocket.send(&frame(0x88, &1012u16.to_be_bytes()));
        assert_eq!(ended_by_node(websocket, "WebSocket"), b"");

        stream.opening();
        assert!(stream.block().starts_with("data: the last message\nid: "));
        assert_eq!(stream.farewell(), "restart", "and then the end");
        assert_eq!(ended_by_node(stream, "event stream"), b"");

        let answer = Answer::read(&mut poll);
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("\"messages\":[]"), "{answer:?}");
        assert_eq!(ended_by_node(poll, "poll"), b"");
        assert_eq!(ended_by_node(idle, "idle"), b"");
        half.send(b"Host: localhost\r\n\r\n");
        assert_eq!(Answer::read(&mut half).status, 200);
        ended_by_node(half, "a head under way");
        stopping.join().unwrap();
    });
}

/// A request to the API that has not ended holds the shutdown up, for a while, before the end of
/// the order: what comes meanwhile on connections that are open.
#[test]
fn while_it_drains() {
    on_both_to_the_end(|node| {
        let (listen, api) = (node.addresses().listen, node.addresses().api.unwrap());
        let ready = |client: &mut Client| {
            client.send(get("/readyz", "").as_bytes());
            Answer::read(client)
        };
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(listen)).collect();
        for client in &mut clients {
            assert_eq!((ready(client).body.as_str(), 200), ("ok\n", 200));
        }
        let mut backend = Client::connect(api);
        let line = "POST /v1/channels/a HTTP/1.1\r\n";
        backend.send(format!("{line}Host: {api}\r\nContent-Length: 2\r\n\r\nh").as_bytes());
        wait_until("the API has read it", || node.metrics().bodies.held() > 0);
        let stopping = thread::spawn(move || node.stop());

        let [probe, websocket, stream, poll] = clients.as_mut_slice() else { panic!("four") };
        let mut told = ready(probe);
        while told.status == 200 {
            told = ready(probe);
        }
        assert_eq!((told.status, told.body.as_str()), (503, "draining\n"));
        for (client, request) in
            [(websocket, upgrade("/ws?channels=a", "")), (poll, get("/poll?channels=a", ""))]
        {
            client.send(request.as_bytes());
            let answer = Answer::read(client);
            assert_eq!((answer.status, answer.error().as_str()), (503, "draining"));
            assert_eq!(answer.field("Retry-After"), Some("1"));
        }
        stream.send(get("/sse?channels=a", "").as_bytes());
        let head = stream.head();
        assert_eq!((status(&head), field(&head, "Connection")), (200, Some("close")));
        assert_eq!(stream.farewell(), "restart");
        backend.send(b"i");
        stopping.join().unwrap();
    });
}

#[test]
fn clients_that_do_not_leave() {
    on_both_to_the_end(|node| {
        let listen = node.addresses().listen;
        let mut silent = Client::websocket(listen, "/ws?channels=a");
        let never_ends = Client::connect(listen);
        wait_until("both are there", || node.metrics().shards[0].connections.read() == 2);
        let stopping = thread::spawn(move || node.stop());
        assert_eq!(silent.close_code(), 1012);
        ended_by_node(silent, "who answers no close");
        ended_by_node(never_ends, "who has never spoken");
        stopping.join().unwrap();
    });
}
