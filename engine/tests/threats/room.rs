//! H28: a node that has all the connections, or followed channels, that it may have.

use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, STREAM, accepted, connect, ends, field, get, is_heard, status, upgrade};

/// The canary has one of four.
fn four(settings: &mut Settings) {
    settings.limits.connections = 4;
    settings.connections_asked = true;
}

/// A WebSocket and a poll are told 503; an EventSource would take that for the end.
fn come_back_later(node: &Server, channel: &str, word: &str) {
    for request in [
        upgrade(&format!("/ws?channels={channel}"), ""),
        get(&format!("/poll?channels={channel}"), "Origin: http://localhost\r\n"),
    ] {
        let mut client = connect(node);
        client.send(request.as_bytes());
        let answer = Answer::read(&mut client);
        assert_eq!((answer.status, answer.error().as_str()), (503, word), "{request}");
        assert_eq!(answer.field("Retry-After"), Some("1"));
        assert_eq!(answer.field("Connection"), Some("close"));
        let page = request.contains("Origin").then_some("http://localhost");
        assert_eq!(answer.field("Access-Control-Allow-Origin"), page, "it may read why");
        ends(client, "H28");
    }
    let mut client = Client::get(node.addresses().listen, &format!("/sse?channels={channel}"));
    let head = client.head();
    assert_eq!(status(&head), 200);
    assert_eq!(field(&head, "Content-Type"), Some(STREAM));
    assert_eq!(client.farewell(), "full");
    ends(client, "H28");
}

#[test]
fn h28_the_connection_limit() {
    on_both(four, |site| {
        site.case("H28", |node| {
            let listen = node.addresses().listen;
            let shard = &node.metrics().shards[0];
            let connect = || Client::websocket(listen, "/ws?channels=a");
            let mut clients = [connect(), connect(), connect()];
            come_back_later(node, "a", "full");
            accepted(node, "health is not refused", get("/healthz", "").as_bytes());
            clients.iter_mut().for_each(|client| is_heard(client, "H28"));
            wait_until("those without room are gone", || shard.connections.read() == 4);
            let [first, ..] = clients;
            drop(first);
            wait_until("one has left", || shard.connections.read() == 3);
            is_heard(&mut connect(), "there is room again");
        });
    });
}

#[test]
fn h28_the_channel_limit() {
    let three = |settings: &mut Settings| settings.limits.followed_channels = 3;
    on_both(three, |site| {
        site.case("more channels than there may be", |node| {
            let listen = node.addresses().listen;
            let mut client = Client::websocket(listen, "/ws?channels=a,b&format=raw");
            come_back_later(node, "c", "full");
            come_back_later(node, "a,c", "full");
            is_heard(&mut client, "the others are served");
            is_heard(&mut Client::websocket(listen, "/ws?channels=b,a&format=raw"), "known ones");
        });
    });
}
