//! H31, L7: clients that leave, half or whole, at any moment.

use std::net::Shutdown;

use fanfare::node::Server;
use fanfare::rule::HistoryRule;

use crate::site::{on_both, with_history};
use crate::support::{Client, publish, wait_until};
use crate::wire::{Answer, connect, ended_by_node, get, is_heard, reset, upgrade};

/// One that stays for as long as its client: each transport's.
fn streams() -> [String; 3] {
    let [socket, events] = endless();
    [socket, events, get("/poll?channels=a&wait=30", "")]
}

/// Those that have no last word: who ends its side of one has left it.
fn endless() -> [String; 2] {
    [upgrade("/ws?channels=a", ""), get("/sse?channels=a,b", "")]
}

/// The node has let go of every client but the canary, long before the poll's patience.
fn is_alone(node: &Server) {
    wait_until("all are gone", || node.metrics().shards[0].connections.read() == 1);
    wait_until("all are off", || node.metrics().sequencer.subscriptions.read() == 1);
}

#[test]
fn h31_half_closed() {
    on_both(
        |_| {},
        |site| {
            for request in endless() {
                site.case("H31: half-closed behind the head", |node| {
                    for _ in 0..20 {
                        let mut client = connect(node);
                        client.send(request.as_bytes());
                        client.socket.shutdown(Shutdown::Write).unwrap();
                        ended_by_node(client, &request);
                    }
                    is_alone(node);
                });
                site.case("H31: half-closed when it is open", |node| {
                    let mut client = connect(node);
                    client.send(request.as_bytes());
                    let followed = &node.metrics().sequencer.subscriptions;
                    wait_until("it is open", || followed.read() > 1);
                    client.socket.shutdown(Shutdown::Write).unwrap();
                    ended_by_node(client, &request);
                    is_alone(node);
                });
            }
            site.case("H31: half-closed inside of the head", |node| {
                for length in [0, 1, 20] {
                    let mut client = connect(node);
                    client.send(&get("/sse?channels=a", "").as_bytes()[..length]);
                    client.socket.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(ended_by_node(client, "H31"), b"");
                }
            });
            site.case("an answer that is there already reaches a half-closed client", |node| {
                for target in ["/healthz", "/nothing", "/poll?channels=a&wait=0"] {
                    for _ in 0..20 {
                        let mut client = connect(node);
                        client.send(get(target, "").as_bytes());
                        client.socket.shutdown(Shutdown::Write).unwrap();
                        assert!(Answer::read(&mut client).status >= 200, "{target}");
                        assert_eq!(ended_by_node(client, target), b"");
                    }
                }
            });
        },
    );
}

/// RFC 9112, section 9.6: it has said all it has to say, and listens.
#[test]
fn a_half_closed_poll_gets_its_answer() {
    on_both(
        |_| {},
        |site| {
            let ask = get("/poll?channels=half&wait=30", "");
            for (row, behind, at_once) in [
                ("behind the head", "", true),
                ("while it waits", "", false),
                ("behind another request", &*get("/healthz", ""), true),
            ] {
                site.case(row, |node| {
                    let mut clients: Vec<Client> = (0..20).map(|_| connect(node)).collect();
                    let polls = &node.metrics().shards[0].polls;
                    for client in &mut clients {
                        client.send(format!("{ask}{behind}").as_bytes());
                        if at_once {
                            client.socket.shutdown(Shutdown::Write).unwrap();
                        }
                    }
                    wait_until("they wait", || polls.read() == 20);
                    clients.iter().for_each(|client| {
                        let _ = client.socket.shutdown(Shutdown::Write);
                    });
                    std::thread::sleep(std::time::Duration::from_millis(200));
                    assert_eq!(polls.read(), 20, "they still wait");
                    publish(node, "half", "to be heard");
                    for client in clients {
                        let all = String::from_utf8(ended_by_node(client, row)).unwrap();
                        assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{row}: {all}");
                        assert!(all.contains("\"to be heard\""), "{row}: {all}");
                        let answers = if behind.is_empty() { 1 } else { 2 };
                        assert_eq!(all.matches("HTTP/1.1 200").count(), answers, "{row}: {all}");
                    }
                });
            }
            site.case("L7: and who is gone is let go at once", |node| {
                for _ in 0..20 {
                    let mut client = connect(node);
                    client.send(ask.as_bytes());
                    let polls = &node.metrics().shards[0].polls;
                    wait_until("it waits", || polls.read() == 1);
                    drop(client);
                    wait_until("its place is free", || polls.read() == 0);
                }
                is_alone(node);
            });
        },
    );
}

#[test]
fn h31_reset() {
    on_both(
        |_| {},
        |site| {
            for request in streams() {
                site.case("H31: reset at each byte of the head", |node| {
                    for length in 0..=request.len() {
                        let mut client = connect(node);
                        client.send(&request.as_bytes()[..length]);
                        reset(client);
                    }
                    is_alone(node);
                });
                site.case("H31: gone when it is open, while it is sent to", |node| {
                    let mut clients: Vec<Client> = (0..20).map(|_| connect(node)).collect();
                    clients.iter_mut().for_each(|client| client.send(request.as_bytes()));
                    let followed = &node.metrics().sequencer.subscriptions;
                    wait_until("they are open", || followed.read() > 20);
                    publish(node, "b", "first");
                    for (nth, client) in clients.into_iter().enumerate() {
                        if nth % 2 == 0 {
                            reset(client);
                        }
                    }
                    publish(node, "a", "second");
                    is_alone(node);
                });
            }
            site.case("H31: gone inside of a frame and of a body", |node| {
                let mut client = Client::websocket(node.addresses().listen, "/ws?channels=a");
                is_heard(&mut client, "H31");
                client.send(b"\x01\xfe");
                reset(client);
                let mut client = connect(node);
                let line = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: a\r\n";
                client.send(format!("{line}Content-Length: 100\r\n\r\nhalf").as_bytes());
                drop(client);
                is_alone(node);
            });
        },
    );
}

#[test]
fn l7_what_a_lost_poll_did_not_get_stays() {
    with_history(
        HistoryRule::DEFAULT,
        |_| {},
        |site| {
            site.case("L7", |node| {
                let mut client = Client::get(node.addresses().listen, "/poll?channels=k&wait=0");
                let present: serde_json::Value =
                    serde_json::from_str(&Answer::read(&mut client).body).unwrap();
                let since = present["id"].as_str().unwrap().to_owned();
                let target = format!("/poll?channels=k&since={since}&wait=30");
                let waiting = Client::get(node.addresses().listen, &target);
                wait_until("it waits", || node.metrics().shards[0].polls.read() == 1);
                drop(waiting);
                drop(client);
                is_alone(node);
                publish(node, "k", "kept");
                let mut client = Client::get(node.addresses().listen, &target);
                assert!(Answer::read(&mut client).body.contains("\"kept\""), "L7");
            });
        },
    );
}
