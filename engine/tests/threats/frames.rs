//! W1 to W12 and W20: frames that RFC 6455 or a limit forbids, and those that look as if.

use fanfare::node::Server;

use crate::site::on_both;
use crate::support::Client;
use crate::wire::{CUTS, ends, frame, is_heard, masked};

fn websocket(node: &Server) -> Client {
    Client::websocket(node.addresses().listen, "/ws?channels=a")
}

/// Frames that end the connection with `code`, however they are cut.
#[track_caller]
fn closes(node: &Server, row: &str, bytes: &[u8], code: u16) {
    for cut in CUTS {
        let mut client = websocket(node);
        cut.send(&mut client, bytes);
        let shown = &bytes[..bytes.len().min(20)];
        assert_eq!(client.close_code(), code, "{row}, {cut:?}: {shown:02x?}");
        ends(client, row);
    }
}

/// Frames that are taken, however they are cut.
#[track_caller]
fn taken(node: &Server, row: &str, bytes: &[u8]) {
    for cut in CUTS {
        let mut client = websocket(node);
        cut.send(&mut client, bytes);
        is_heard(&mut client, row);
    }
}

/// A masked header that declares what never comes.
fn header(first: u8, length: &[u8]) -> Vec<u8> {
    [&[first], length, &[1, 2, 3, 4]].concat()
}

#[test]
fn w1_to_w5_headers() {
    on_both(
        |_| {},
        |site| {
            site.case("W1: no mask", |node| {
                closes(node, "W1", b"\x81\x01a", 1002);
                closes(node, "W1: nor on an empty one", b"\x81\x00", 1002);
                closes(node, "W1: nor on a close", b"\x88\x00", 1002);
            });
            site.case("W2: reserved bits", |node| {
                for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc2, 0xc8, 0xc9, 0xca] {
                    closes(node, "W2", &frame(first, b"a"), 1002);
                }
                let continued = [frame(0x01, b"a"), frame(0xc0, b"b")].concat();
                closes(node, "W2: on a continuation", &continued, 1002);
            });
            site.case("W3: reserved opcodes", |node| {
                for opcode in (3..=7).chain(11..=15) {
                    closes(node, "W3", &frame(0x80 | opcode, b"a"), 1002);
                }
            });
            site.case("W4: a length of 2^63 and more", |node| {
                let top_bit = [0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
                closes(node, "W4", &header(0x82, &top_bit), 1002);
                closes(node, "W4", &header(0x82, &[0xff; 9]), 1002);
                closes(node, "W4: on a continuation", &header(0x80, &top_bit), 1002);
            });
            site.case("W5: a length that is longer than needed", |node| {
                for length in
                    [&[0xfe, 0, 5][..], &[0xfe, 0, 125], &[0xff, 0, 0, 0, 0, 0, 0, 0, 200]]
                {
                    closes(node, "W5", &header(0x81, length), 1002);
                }
            });
        },
    );
}

#[test]
fn w6_to_w8_sizes() {
    const LIMIT: usize = 64 << 10;
    on_both(
        |_| {},
        |site| {
            site.case("W6: 1 GiB is declared and does not come", |node| {
                let gib = header(0x82, &[0xff, 0, 0, 0, 0, 0x40, 0, 0, 0]);
                closes(node, "W6", &gib, 1009);
                let beyond = header(0x82, &[0xff, 0, 0, 0, 0, 0, 1, 0, 1]);
                closes(node, "W6: one byte over the limit", &beyond, 1009);
            });
            site.case("W7: the sum of the fragments", |node| {
                let half = [7; LIMIT / 2];
                let mut bytes = frame(0x02, &half);
                bytes.extend(frame(0x00, &half));
                let full = [bytes.clone(), frame(0x80, b"")].concat();
                let mut client = websocket(node);
                client.send(&full);
                is_heard(&mut client, "64 KiB are taken");
                bytes.extend(frame(0x80, b"1"));
                let mut client = websocket(node);
                client.send(&bytes);
                assert_eq!(client.close_code(), 1009);
                ends(client, "W7");
            });
            site.case("W8: fragments, empty ones too", |node| {
                let most = [frame(0x01, b""), frame(0x00, b"").repeat(254)].concat();
                taken(node, "256", &[most.clone(), frame(0x80, b"")].concat());
                closes(node, "W8", &[most, frame(0x00, b"").repeat(2)].concat(), 1008);
                let pinged = [frame(0x00, b""), frame(0x8a, b"")].concat().repeat(300);
                closes(node, "W8: with pongs between", &[frame(0x02, b""), pinged].concat(), 1008);
            });
        },
    );
}

#[test]
fn w9_w10_order_and_control() {
    on_both(
        |_| {},
        |site| {
            site.case("W9: continuations and starts out of order", |node| {
                closes(node, "W9", &frame(0x80, b"a"), 1002);
                closes(node, "W9", &frame(0x00, b""), 1002);
                closes(node, "W9", &[frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002);
                closes(node, "W9", &[frame(0x02, b"a"), frame(0x01, b"b")].concat(), 1002);
                let again = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat();
                closes(node, "W9", &again, 1002);
            });
            site.case("W10: control frames", |node| {
                for opcode in [8, 9, 10] {
                    closes(node, "W10: fragmented", &frame(opcode, b"a"), 1002);
                    closes(node, "W10: too long", &frame(0x80 | opcode, &[b'a'; 126]), 1002);
                }
                let mut client = websocket(node);
                client.send(&frame(0x89, &[b'a'; 125]));
                assert_eq!(client.frame(), (0x8a, vec![b'a'; 125]));
                let between = [frame(0x01, b"a"), frame(0x8a, b"b"), frame(0x80, b"c")].concat();
                taken(node, "between two fragments", &between);
            });
        },
    );
}

#[test]
fn w11_w12_utf8() {
    // Overlong, a surrogate, beyond Unicode, a continuation byte alone, a byte of no encoding.
    let bad: [&[u8]; 5] = [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xff"];
    on_both(
        |_| {},
        |site| {
            site.case("W11: no UTF-8", |node| {
                for bytes in bad {
                    closes(node, "W11", &frame(0x81, bytes), 1007);
                    closes(node, "W11", &frame(0x01, &[b"ok ", bytes].concat()), 1007);
                    taken(node, "but binary is anything", &frame(0x82, bytes));
                }
                closes(node, "W11: cut short", &frame(0x81, b"\xe2\x82"), 1007);
                let cut = [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat();
                closes(node, "W11: cut short by the end", &cut, 1007);
            });
            site.case("W11: said when it arrives, not at the end", |node| {
                let whole = frame(0x81, "\u{3ba}\u{1f79}\u{3c3}\u{d7ff} and more".as_bytes());
                let mut broken = whole;
                broken[6 + 3] = 0xf5 ^ 4; // the fourth byte of the payload
                let mut client = websocket(node);
                client.send(&broken[..6 + 4]);
                assert_eq!(client.close_code(), 1007);
                ends(client, "W11");
            });
            site.case("W12: a code point over fragments and segments", |node| {
                let [a, b, c, d] = [b"\xf0", b"\x9f", b"\x8e", b"\xba"].map(|byte| byte.to_vec());
                let parts = [frame(0x01, &a), frame(0x00, &b), frame(0x00, &c), frame(0x80, &d)];
                taken(node, "W12", &parts.concat());
            });
            site.case("W20: masks that do not mask", |node| {
                for mask in [[0; 4], [7; 4], [0xff; 4]] {
                    taken(node, "W20", &masked(0x81, "k\u{f6}nnen".as_bytes(), mask).repeat(3));
                }
            });
        },
    );
}

#[test]
fn messages_are_counted_and_dropped() {
    on_both(
        |_| {},
        |site| {
            site.case("the plain dialect has no commands", |node| {
                let shard = &node.metrics().shards[0];
                let before = (shard.client_messages.read(), shard.protocol_faults.read());
                let mut client = websocket(node);
                client.send(&frame(0x81, b"{\"subscribe\":\"b\"}"));
                client.send(&[frame(0x02, b"\0"), frame(0x80, b"\xff")].concat());
                client.send(&frame(0x81, b""));
                is_heard(&mut client, "messages");
                assert_eq!(shard.client_messages.read(), before.0 + 3);
                client.send(&frame(0x80, b""));
                assert_eq!(client.close_code(), 1002);
                assert_eq!(shard.protocol_faults.read(), before.1 + 1);
            });
        },
    );
}
