//! The plain dialect end to end, on both drivers: what is published arrives.

mod support;

use support::{Client, DRIVERS, node, publish, wait_until};

#[test]
fn a_message_reaches_every_transport() {
    for driver in DRIVERS {
        let node = node(driver);
        let listen = node.addresses().listen;
        let mut websocket = Client::websocket(listen, "/ws?channels=demo");
        let mut stream = Client::get(listen, "/sse?channels=demo");
        assert!(stream.head().starts_with("HTTP/1.1 200 "));
        stream.opening();
        let mut poll = Client::get(listen, "/poll?channels=demo");
        wait_until("three subscribers", || node.metrics().sequencer.subscriptions.read() == 3);
        let answer = publish(&node, "demo", "hi");
        assert!(answer.contains(r#""offset":1,"subscribers":3"#), "{answer}");
        assert_eq!(websocket.text_frame(), "hi");
        let block = stream.block();
        assert!(block.starts_with("data: hi\n"), "{block}");
        let (_, body) = poll.answer();
        assert!(body.contains(r#""channel":"demo""#) && body.contains(r#""data":"hi""#), "{body}");
        drop((websocket, stream, poll));
        wait_until("nobody is left", || {
            node.metrics().sequencer.subscriptions.read() == 0
                && node.metrics().shards.iter().all(|shard| shard.connections.read() == 0)
        });
        node.stop();
    }
}
