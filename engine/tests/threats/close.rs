//! W14 and W15: how a WebSocket is closed, well and badly.

use fanfare::node::Server;

use crate::site::on_both;
use crate::support::Client;
use crate::wire::{CUTS, ended_by_node, ends, frame, is_heard};

fn websocket(node: &Server) -> Client {
    Client::websocket(node.addresses().listen, "/ws?channels=a")
}

fn payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

#[test]
fn w14_codes() {
    let forbidden = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    on_both(
        |_| {},
        |site| {
            site.case("W14: closes that are none", |node| {
                let mut rows = vec![(vec![3], 1002), (payload(1000, b"\xff"), 1007)];
                rows.push((payload(1000, b"\xe2\x82"), 1007));
                rows.extend(forbidden.map(|code| (payload(code, b"why"), 1002)));
                for (payload, code) in rows {
                    for cut in CUTS {
                        let mut client = websocket(node);
                        cut.send(&mut client, &frame(0x88, &payload));
                        assert_eq!(client.close_code(), code, "W14, {cut:?}: {payload:?}");
                        ends(client, "W14");
                    }
                }
            });
            site.case("W14: closes that are some get their code back", |node| {
                for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4508, 4999] {
                    let mut client = websocket(node);
                    client.send(&frame(0x88, &payload(code, "tsch\u{fc}ss".as_bytes())));
                    assert_eq!(client.close_code(), code);
                    ends(client, "W14");
                }
                let mut client = websocket(node);
                client.send(&frame(0x88, b""));
                assert_eq!(client.frame(), (0x88, Vec::new()));
                ends(client, "W14: without a code");
            });
        },
    );
}

#[test]
fn w15_after_the_close() {
    on_both(
        |settings| settings.limits.close_ms = 1_000,
        |site| {
            site.case("W15: data after a close, and a second one", |node| {
                let heard = node.metrics().shards[0].client_messages.read();
                let mut client = websocket(node);
                let close = frame(0x88, &payload(1000, b""));
                let after = [frame(0x81, b"more"), frame(0x89, b"ping"), close.clone()].concat();
                client.send(&[close, after].concat());
                assert_eq!(client.close_code(), 1000);
                ends(client, "W15: one close and nothing else");
                assert_eq!(node.metrics().shards[0].client_messages.read(), heard);
            });
            site.case("W15: the node ends by itself after a close of the client's", |node| {
                let mut client = websocket(node);
                client.send(&frame(0x88, &payload(1000, b"")));
                assert_eq!(client.close_code(), 1000);
                assert_eq!(ended_by_node(client, "W15"), b"");
            });
            site.case("W15: and after a close of its own that nobody answers", |node| {
                let mut client = websocket(node);
                client.send(b"\x81\x00");
                assert_eq!(client.close_code(), 1002);
                client.send(&frame(0x81, b"what?")); // read and dropped: no RST
                assert_eq!(ended_by_node(client, "W15"), b"");
            });
            site.case("nothing is sent after a close, whatever is published", |node| {
                let mut client = websocket(node);
                is_heard(&mut client, "it is open");
                client.send(b"\x81\x00");
                assert_eq!(client.close_code(), 1002);
                crate::support::publish(node, "a", "too late");
                ends(client, "W15");
            });
        },
    );
}
