//! H27 and H29 behind proxies: whose address counts, and who is believed about it.

use fanfare::admission::forwarded::{ForwardedField, TrustedProxies};
use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::support::{Client, wait_until};
use crate::wire::{Answer, STREAM, accepted, connect, ends, get, is_heard, refused, upgrade};

fn trusting(list: &[&str]) -> impl Fn(&mut Settings) + Sync {
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    move |settings| {
        settings.proxies = TrustedProxies::new(&list).unwrap();
        settings.limits.connections_per_address = 2;
    }
}

/// One more WebSocket for a client of the proxy.
fn follow(node: &Server, told: &str) -> Client {
    let mut client = connect(node);
    client.send(upgrade("/ws?channels=a", told).as_bytes());
    client
}

fn welcome(node: &Server, told: &str) -> Client {
    let mut client = follow(node, told);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{told}: {head}");
    client
}

fn turned_away(node: &Server, told: &str) {
    let mut client = follow(node, told);
    let answer = Answer::read(&mut client);
    assert_eq!((answer.status, answer.error()), (429, "too_many_from_address".into()), "{told}");
    assert_eq!(answer.field("Retry-After"), Some("1"));
    ends(client, "H27");
}

#[test]
fn h29_a_trusted_proxys_clients_are_counted_each_by_its_network() {
    on_both(trusting(&["127.0.0.1", "10.0.0.0/8"]), |site| {
        for (first, same, other) in [
            ("203.0.113.9", "6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.10"),
            ("2001:db8::1", "[2001:db8::ffff:1]:80", "2001:db8:0:1::1"),
            ("::ffff:203.0.113.9", "203.0.113.9:1", "::203.0.113.9"),
        ] {
            site.case("H29: the third of one network", |node| {
                let field = |told: &str| format!("X-Forwarded-For: {told}\r\n");
                let shard = &node.metrics().shards[0];
                let before = shard.address_connections_refused.read();
                let mut two = vec![welcome(node, &field(first)), welcome(node, &field(same))];
                turned_away(node, &field(first));
                turned_away(node, &field(same));
                assert_eq!(shard.address_connections_refused.read(), before + 2);
                let others: Vec<Client> = (0..2).map(|_| welcome(node, &field(other))).collect();
                // Whom the proxy does not name, and the proxy itself, are not counted.
                let nobodys: Vec<Client> = (0..4)
                    .map(|nth| {
                        welcome(
                            node,
                            if nth % 2 == 0 { "" } else { "X-Forwarded-For: unknown\r\n" },
                        )
                    })
                    .collect();
                two.iter_mut().for_each(|client| is_heard(client, "H29"));
                let connections = shard.connections.read();
                drop(two.pop());
                wait_until("one has left", || shard.connections.read() < connections);
                drop((welcome(node, &field(first)), others, nobodys));
            });
        }
    });
}

/// A page cannot read the status of a stream: it is told to come back.
#[test]
fn h27_an_event_stream_through_a_proxy_is_told_to_come_back() {
    on_both(trusting(&["127.0.0.1"]), |site| {
        site.case("H27: the third stream", |node| {
            let told = "X-Forwarded-For: 203.0.113.9\r\n";
            let two = [welcome(node, told), welcome(node, told)];
            let mut third = connect(node);
            third.send(get("/sse?channels=a", told).as_bytes());
            let head = third.head();
            assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(STREAM), "{head}");
            let (reset, rest) = third.end();
            let rest = String::from_utf8(rest).unwrap();
            assert!(!reset && rest.contains("retry:") && rest.contains("fanfare.close"), "{rest}");
            let mut poll = connect(node);
            poll.send(get("/poll?channels=a", told).as_bytes());
            assert_eq!(Answer::read(&mut poll).status, 429);
            ends(poll, "H27");
            drop(two);
        });
    });
}

/// A proxy keeps connections and sends requests of many over each: one that was answered is
/// nobody's.
#[test]
fn h29_a_kept_connection_counts_for_whom_it_is_at_work() {
    on_both(trusting(&["127.0.0.1"]), |site| {
        site.case("H29: a pool of connections", |node| {
            let told = |nth: usize| format!("X-Forwarded-For: 203.0.113.{nth}\r\n");
            let mut pool: Vec<Client> = (0..5).map(|_| connect(node)).collect();
            for nth in 0..4 {
                for client in &mut pool {
                    client.send(get("/poll?channels=a&wait=0", &told(nth)).as_bytes());
                    assert_eq!(Answer::read(client).status, 200, "client {nth}");
                }
            }
            let mut waiting: Vec<Client> = (0..2)
                .map(|_| {
                    let mut client = pool.pop().unwrap();
                    client.send(get("/sse?channels=a", &told(9)).as_bytes());
                    assert!(client.head().starts_with("HTTP/1.1 200 "));
                    client
                })
                .collect();
            turned_away(node, &told(9));
            drop(waiting.pop());
            let shard = &node.metrics().shards[0];
            wait_until("one has left", || shard.event_streams.read() == 1);
            drop(welcome(node, &told(9)));
        });
    });
}

/// What cannot be read was written by a proxy that is trusted: said aloud, not passed over.
#[test]
fn h29_a_proxy_that_names_no_client_is_refused_and_only_its_one_field_is_read() {
    on_both(trusting(&["127.0.0.1"]), |site| {
        site.case("H29: X-Forwarded-For", |node| {
            for told in ["rubbish", "203.0.113.999", "for=203.0.113.9", "[::1", "a.example"] {
                let head = get("/healthz", &format!("X-Forwarded-For: {told}\r\n"));
                let answer = refused(node, "H29", head.as_bytes(), 400);
                assert_eq!(answer.error(), "bad_forwarded", "{told}");
            }
            let head = get("/healthz", "X-Forwarded-For: rubbish, 203.0.113.9\r\n");
            accepted(node, "what the client wrote is not looked at", head.as_bytes());
            let two = [0, 1].map(|_| welcome(node, "X-Forwarded-For: 203.0.113.9\r\n"));
            let both = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=192.0.2.1\r\n";
            turned_away(node, both);
            drop(two);
        });
    });
    let other = |settings: &mut Settings| {
        trusting(&["127.0.0.1"])(settings);
        settings.proxies.field = ForwardedField::Forwarded;
    };
    on_both(other, |site| {
        site.case("H29: Forwarded", |node| {
            let two = [0, 1].map(|_| welcome(node, "Forwarded: for=\"[2001:db8::1]:80\"\r\n"));
            turned_away(node, "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=\"[2001:db8::2]\"\r\n");
            let head = get("/healthz", "Forwarded: for=\"\r\n");
            let answer = refused(node, "H29", head.as_bytes(), 400);
            assert_eq!(answer.error(), "bad_forwarded");
            drop(two);
        });
    });
}

/// Who is not listed is not believed, whatever it says; and it is counted, however it is called.
#[test]
fn h29_a_strangers_fields_are_not_read() {
    let change = |settings: &mut Settings| {
        trusting(&["10.0.0.0/8", "2001:db8::/32"])(settings);
        settings.limits.count_loopback = true;
        settings.limits.connections_per_address = 3; // the canary and two
    };
    on_both(change, |site| {
        site.case("H29: an untrusted peer", |node| {
            let told =
                |nth| format!("X-Forwarded-For: 192.0.2.{nth}\r\nForwarded: for=rubbish\r\n");
            let two = [welcome(node, &told(1)), welcome(node, &told(2))];
            turned_away(node, &told(3));
            drop(two);
        });
    });
}
