//! H29: the PROXY protocol, where it is expected and where it is not.

use std::time::Duration;

use fanfare::admission::forwarded::TrustedProxies;
use fanfare::node::{Server, Settings, start};

use crate::site::on_both;
use crate::support::{Client, DRIVERS, node_with, wait_until};
use crate::wire::{Answer, Cut, ended_by_node, ends, get, refused, upgrade};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn header(address: [u8; 4]) -> Vec<u8> {
    let rest = [192, 0, 2, 1, 0xc0, 0, 1, 0xbb, 4, 0, 3, 1, 2, 3];
    [SIGNATURE, &[0x21, 0x11, 0, 18], &address, &rest].concat()
}

fn node(driver: fanfare::node::DriverChoice, trusted: &str) -> Server {
    node_with(driver, |settings| {
        settings.shards = Some(1);
        settings.limits.connections_per_address = 2;
        settings.proxies = TrustedProxies::new(&[trusted.into()]).unwrap();
        settings.proxies.proxy_protocol = true;
    })
}

fn connect(node: &Server, header: &[u8], cut: Cut) -> Client {
    let mut client = Client::connect(node.addresses().listen);
    cut.send(&mut client, header);
    client
}

fn follows(node: &Server, header: &[u8], cut: Cut) -> Client {
    let mut client =
        connect(node, &[header, upgrade("/ws?channels=a", "").as_bytes()].concat(), cut);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

/// H29: its clients are counted by the address in the header, of either version, however it is cut.
#[test]
fn h29_a_proxy_says_before_the_first_byte_whose_they_are() {
    for driver in DRIVERS {
        let node = node(driver, "127.0.0.1");
        let shard = &node.metrics().shards[0];
        let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 49152 443\r\n".to_vec();
        for cut in [Cut::Whole, Cut::ByteByByte] {
            for [first, same, other] in [
                [header([203, 0, 113, 9]), line.clone(), header([203, 0, 113, 10])],
                [
                    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(),
                    b"PROXY TCP6 2001:db8::9:1 2001:db8::2 1 2\r\n".to_vec(),
                    b"PROXY TCP6 2001:db8:0:1::1 2001:db8::2 1 2\r\n".to_vec(),
                ],
            ] {
                let two = [follows(&node, &first, cut), follows(&node, &same, cut)];
                let mut third = connect(&node, &first, cut);
                let answer = Answer::read(&mut third);
                assert_eq!((answer.status, answer.error()), (429, "too_many_from_address".into()));
                ends(third, "H29");
                drop((follows(&node, &other, cut), two));
                wait_until("all have left", || shard.connections.read() == 0);
            }
        }
        // Of whom nothing is known nobody is counted, and what he says of himself is not believed.
        let told = "X-Forwarded-For: 203.0.113.9\r\n";
        let unknown = [
            b"PROXY UNKNOWN\r\n".to_vec(),
            [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
            [SIGNATURE, &[0x21, 0, 0, 0]].concat(),
        ];
        let asks = |header: &Vec<u8>| {
            let mut client = connect(&node, header, Cut::Whole);
            client.send(upgrade("/ws?channels=a", told).as_bytes());
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            client
        };
        let many: Vec<Client> = unknown.iter().cycle().take(6).map(asks).collect();
        drop((follows(&node, &line, Cut::Whole), many));
        node.stop();
    }
}

#[test]
fn h29_without_its_header_a_connection_is_ended_without_a_word() {
    for driver in DRIVERS {
        let proxied = node(driver, "127.0.0.1");
        let shard = &proxied.metrics().shards[0];
        for bytes in [
            get("/healthz", "").as_bytes(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 49152 x\r\n",
            b"PROXY SCTP 203.0.113.9 192.0.2.1 1 2\r\n",
            &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        ] {
            let before = shard.proxy_headers_refused.read();
            let client = connect(&proxied, bytes, Cut::Whole);
            assert_eq!(ended_by_node(client, "H29"), b"");
            assert_eq!(shard.proxy_headers_refused.read(), before + 1);
        }
        wait_until("nothing is left", || shard.connections.read() == 0);
        proxied.stop();
        // Whoever is no proxy has no business here.
        let strangers = node(driver, "10.0.0.1");
        let client = connect(&strangers, &header([203, 0, 113, 9]), Cut::Whole);
        assert_eq!(ended_by_node(client, "H29"), b"");
        strangers.stop();
    }
}

/// H4: a header that does not come has the deadline of a head.
#[test]
fn h4_a_header_that_is_not_whole_in_time() {
    for driver in DRIVERS {
        let settings = Settings {
            driver,
            shards: Some(1),
            limits: fanfare::limits::Limits { head_ms: 300, ..Default::default() },
            ..Settings::on_loopback()
        };
        let mut proxies = TrustedProxies::new(&["127.0.0.1".into()]).unwrap();
        proxies.proxy_protocol = true;
        let node = start(Settings { proxies, ..settings }).unwrap();
        let mut client = connect(&node, b"PROXY TCP4 203.0.113.9", Cut::Whole);
        client.socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(Answer::read(&mut client).status, 408);
        ends(client, "H4");
        node.stop();
    }
}

/// H29: where no header is expected it is no request.
#[test]
fn h29_a_header_where_none_is_expected() {
    on_both(
        |_| {},
        |site| {
            site.case("H29: PROXY", |node| {
                let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 49152 443\r\n";
                let request = get("/healthz", "");
                for header in [&line[..], &header([203, 0, 113, 9])] {
                    refused(node, "H29", &[header, request.as_bytes()].concat(), 400);
                }
            });
        },
    );
}
