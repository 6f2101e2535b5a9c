//! H14 to H19 and H21 to H23: upgrades that are refused, and bytes that come too early.

use crate::site::on_both;
use crate::wire::{Answer, Cut, connect, ends, frame, get, is_heard, refused, status, upgrade};

const WS: &str = "/ws?channels=a";

#[test]
fn h14_h15_what_follows_the_head() {
    on_both(
        |_| {},
        |site| {
            site.case("H14: a body on an upgrade is a smuggled request", |node| {
                let smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
                let length = format!("Content-Length: {}\r\n", smuggled.len());
                for fields in [length.as_str(), "Transfer-Encoding: chunked\r\n"] {
                    let bytes = format!("{}{smuggled}", upgrade(WS, fields));
                    let answer = refused(node, "H14", bytes.as_bytes(), 400);
                    assert_eq!(answer.error(), "unexpected_body");
                }
            });
            site.case("H15: behind an upgrade a request is a frame, and a bad one", |node| {
                let mut client = connect(node);
                client.send(format!("{}{}", upgrade(WS, ""), get("/healthz", "")).as_bytes());
                assert_eq!(status(&client.head()), 101);
                assert_eq!(client.close_code(), 1002); // `G` has a reserved bit and no mask
                ends(client, "H15");
            });
            site.case("H15: behind a refused upgrade it is dropped", |node| {
                let refusal = upgrade(WS, "Sec-WebSocket-Version: 8\r\n");
                let bytes = format!("{refusal}{}", get("/healthz", "").repeat(3));
                refused(node, "H15", bytes.as_bytes(), 426);
            });
        },
    );
}

/// What a proxy would never pass on as a request, behind one that it may take for a tunnel's.
fn smuggled() -> String {
    "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n\
     smuggled"
        .into()
}

#[test]
fn h15_nothing_behind_a_refused_upgrade_is_a_request() {
    let foreign = "Origin: https://evil.example\r\n";
    let rows: [(&str, &str, u16); 10] = [
        ("/ws?channels=*", "", 400),
        ("/ws?channels=", "", 400),
        ("/ws", "", 400),
        ("/ws?channels=a&since=x", "", 400),
        ("/ws?channels=a&format=x", "", 400),
        ("/ws?channels=a", foreign, 403),
        ("/ws?channels=a", "Expect: 100-continue\r\n", 417),
        ("/nowhere", "", 404),
        ("/sse?channels=a&since=x", "", 400),
        ("/poll?channels=a&wait=x", "", 400),
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H15: whatever it was refused for", |node| {
                let published = node.metrics().sequencer.published.read();
                for (target, fields, status) in rows {
                    let bytes = format!("{}{}", upgrade(target, fields), smuggled());
                    refused(node, "H15", bytes.as_bytes(), status);
                }
                let by_post = upgrade("/ws?channels=a", "").replacen("GET", "POST", 1);
                refused(node, "H15", format!("{by_post}{}", smuggled()).as_bytes(), 405);
                assert_eq!(node.metrics().sequencer.published.read(), published);
            });
            site.case("H15: where an upgrade is not refused but passed over", |node| {
                let published = node.metrics().sequencer.published.read();
                for target in ["/healthz", "/", "/poll?channels=a&wait=0"] {
                    let bytes = format!("{}{}", upgrade(target, ""), smuggled());
                    let mut client = connect(node);
                    client.send(bytes.as_bytes());
                    let answer = Answer::read(&mut client);
                    assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
                    let (_, rest) = client.end();
                    assert_eq!(rest, b"", "{target}");
                }
                assert_eq!(node.metrics().sequencer.published.read(), published);
            });
        },
    );
}

#[test]
fn h15_refusals_of_the_sequencer_end_the_connection_too() {
    let one = |settings: &mut fanfare::node::Settings| settings.limits.followed_channels = 1;
    on_both(one, |site| {
        site.case("H15: no room for another channel", |node| {
            let published = node.metrics().sequencer.published.read();
            let bytes = format!("{}{}", upgrade("/ws?channels=another", ""), smuggled());
            assert_eq!(refused(node, "H15", bytes.as_bytes(), 503).error(), "followed_limit");
            assert_eq!(node.metrics().sequencer.published.read(), published);
        });
    });
}

#[test]
fn h16_frames_before_our_101() {
    on_both(
        |_| {},
        |site| {
            site.case("H16: in one segment with the upgrade", |node| {
                let heard = &node.metrics().shards[0].client_messages;
                let before = heard.read();
                let mut client = connect(node);
                let mut bytes = upgrade(WS, "").into_bytes();
                bytes.extend(frame(0x81, b"a message"));
                bytes.extend(frame(0x89, b"ping"));
                bytes.extend(&frame(0x89, b"the rest comes later")[..9]);
                client.send(&bytes);
                assert_eq!(status(&client.head()), 101);
                assert_eq!(client.frame(), (0x8a, b"ping".to_vec()));
                client.send(&frame(0x89, b"the rest comes later")[9..]);
                assert_eq!(client.frame(), (0x8a, b"the rest comes later".to_vec()));
                assert_eq!(heard.read(), before + 1);
            });
            site.case("H16: 16 KiB and more of them", |node| {
                let mut client = connect(node);
                let mut bytes = upgrade(WS, "").into_bytes();
                bytes.extend(frame(0x82, &[7; 60_000]));
                bytes.extend(frame(0x89, b"ping"));
                client.send(&bytes);
                assert_eq!(status(&client.head()), 101);
                assert_eq!(client.frame(), (0x8a, b"ping".to_vec()));
            });
            site.case("H16: a close before our 101", |node| {
                let mut client = connect(node);
                let mut bytes = upgrade(WS, "").into_bytes();
                bytes.extend(frame(0x88, &1000u16.to_be_bytes()));
                client.send(&bytes);
                assert_eq!(status(&client.head()), 101);
                assert_eq!(client.close_code(), 1000);
                ends(client, "H16");
            });
        },
    );
}

#[test]
fn h17_to_h19_handshakes() {
    let ask = |line: &str, fields: &str| {
        format!("{line}\r\nHost: localhost\r\n{fields}\r\n").replace("KEY", "Sec-WebSocket-Key")
    };
    let (asks, v13) =
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n");
    let key = "KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let line = format!("GET {WS} HTTP/1.1");
    on_both(
        |_| {},
        |site| {
            site.case("H17: no upgrade", |node| {
                let all = format!("{asks}{v13}{key}");
                let by_post = ask(&format!("POST {WS} HTTP/1.1"), &all);
                let answer = refused(node, "H17", by_post.as_bytes(), 405);
                assert_eq!(answer.field("Allow"), Some("GET"));
                let old = ask(&format!("GET {WS} HTTP/1.0"), &all);
                refused(node, "H17", old.as_bytes(), 400);
                for asks in [
                    "",
                    "Upgrade: websocket\r\n",
                    "Connection: Upgrade\r\n",
                    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
                ] {
                    let head = ask(&line, &format!("{asks}{v13}{key}"));
                    let answer = refused(node, "H17", head.as_bytes(), 426);
                    assert_eq!(answer.field("Upgrade"), Some("websocket"));
                }
            });
            site.case("H18: another version", |node| {
                for version in ["8", "0", "14", "13, 8", ""] {
                    let field = format!("Sec-WebSocket-Version: {version}\r\n");
                    let head = ask(&line, &format!("{asks}{field}{key}"));
                    let answer = refused(node, "H18", head.as_bytes(), 426);
                    assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13"));
                }
            });
            site.case("H19: keys that are none", |node| {
                let long = format!("KEY: {}\r\n", "A".repeat(8_192));
                let twice = key.repeat(2);
                for key in [
                    "",
                    "KEY:\r\n",
                    "KEY: AAAA\r\n",
                    "KEY: dGhlIHNhbXBsZSBub25jZQ\r\n",
                    "KEY: dGhlIHNhbXBsZSBub25jZTEy\r\n",
                    "KEY: dGhl!HNhbXBsZSBub25jZQ==\r\n",
                    &long,
                    &twice,
                ] {
                    let head = ask(&line, &format!("{asks}{v13}{key}"));
                    let answer = refused(node, "H19", head.as_bytes(), 400);
                    assert_eq!(answer.error(), "bad_websocket_key");
                }
            });
        },
    );
}

#[test]
fn h21_h22_offers_are_declined() {
    let long = format!("Sec-WebSocket-Extensions: {}\r\n", "x; y=7, ".repeat(1_024));
    let offers = [
        "Sec-WebSocket-Protocol: chat, superchat\r\n",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: x\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=7\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16; x; x\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n",
        &long,
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H21, H22", |node| {
                for offer in offers {
                    let mut client = connect(node);
                    client.send(upgrade(WS, offer).as_bytes());
                    let head = client.head();
                    assert_eq!(status(&head), 101);
                    let key = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
                    assert!(head.contains(key), "RFC 6455, section 1.3: {head}");
                    assert_eq!(head.matches("Sec-WebSocket").count(), 1, "{head}");
                    is_heard(&mut client, "H21, H22");
                }
            });
        },
    );
}

#[test]
fn h23_expectations() {
    let publish = |fields: &str| {
        format!("POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
    };
    on_both(
        |_| {},
        |site| {
            site.case("H23: 100 before the body, and the answer after it", |node| {
                let mut client = connect(node);
                let fields = "Content-Length: 2\r\nExpect: 100-continue\r\n";
                client.send(publish(fields).as_bytes());
                assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
                client.send(b"hi");
                let answer = Answer::read(&mut client);
                assert_eq!(answer.status, 200, "{answer:?}");
                // Who sends the body at once needs no 100.
                client.send(format!("{}hi", publish(fields)).as_bytes());
                assert_eq!(Answer::read(&mut client).status, 200);
            });
            site.case("H23: no 100 for a body that is not read", |node| {
                for (fields, status) in [
                    ("Content-Length: 0\r\nExpect: 100-continue\r\n", 400),
                    ("Content-Length: 99999999\r\nExpect: 100-continue\r\n", 413),
                    ("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", 411),
                    ("Content-Length: 2\r\nExpect: 200-ok\r\n", 417),
                    ("Content-Length: 2\r\nExpect: 100-continue, x\r\n", 417),
                ] {
                    refused(node, "H23", publish(fields).as_bytes(), status);
                }
            });
            site.case("H23: an upgrade keeps nobody waiting", |node| {
                let bytes = upgrade(WS, "Expect: 100-continue\r\n");
                refused(node, "H23", bytes.as_bytes(), 417);
            });
            site.case("an upgrade byte by byte", |node| {
                let mut client = connect(node);
                Cut::ByteByByte.send(&mut client, upgrade(WS, "").as_bytes());
                assert_eq!(status(&client.head()), 101);
            });
        },
    );
}
