//! H28: a node that has all the connections, or followed channels, that it may have.

use fanfare::node::{Server, Settings};
use fanfare::rule::{HistoryRule, Rules, Window};

use crate::site::on_both;
use crate::support::{Client, NEVER_MS, wait_until};
use crate::wire::{
    Answer, STREAM, accepted, connect, ends, field, get, is_heard, refused, status, upgrade,
};

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
    assert_eq!(client.farewell(), word);
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

/// The canary's channel is the only one that there may be, and keeps what it was told.
fn one_that_keeps(settings: &mut Settings) {
    let history = HistoryRule { count: 1, bytes: 1_000_000, age_ms: NEVER_MS };
    settings.rules = Rules::new(Vec::new(), history, Window { count: 1, bytes: 1_000 });
    settings.limits.channels = 1;
}

#[test]
fn h28_the_limit_of_kept_channels() {
    on_both(one_that_keeps, |site| {
        site.case("a message for one more channel than there may be", |node| {
            let publish = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                           Content-Length: 2\r\n\r\nhi";
            let answer = refused(node, "H28", publish.as_bytes(), 503);
            assert_eq!(answer.error(), "channel_limit");
            assert_eq!(answer.field("Retry-After"), Some("10"));
            is_heard(&mut Client::websocket(node.addresses().listen, "/ws?channels=a"), "H28");
        });
    });
}

#[test]
fn h28_the_limit_of_followed_channels() {
    let three = |settings: &mut Settings| settings.limits.followed_channels = 3;
    on_both(three, |site| {
        site.case("more channels than there may be", |node| {
            let listen = node.addresses().listen;
            let mut client = Client::websocket(listen, "/ws?channels=a,b&format=raw");
            come_back_later(node, "c", "followed_limit");
            come_back_later(node, "a,c", "followed_limit");
            is_heard(&mut client, "the others are served");
            is_heard(&mut Client::websocket(listen, "/ws?channels=b,a&format=raw"), "known ones");
        });
    });
}
