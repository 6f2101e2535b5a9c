//! One client over many sockets, which come to different shards, on real drivers.
//!
//! By itself, because it counts the descriptors of its process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fanfare::node::{self, DriverChoice, Server, Settings};
use fanfare::sim::lines::{Lines, Talk};
use serde_json::Value;
use support::{Client, DRIVERS, PATIENCE, publish};

mod support;

fn start(driver: DriverChoice) -> Server {
    let settings = Settings { driver, shards: Some(2), ..Settings::on_loopback() };
    node::start_with_door(settings, || Box::new(Talk::default()), Lines)
        .unwrap_or_else(|error| panic!("{driver:?}: {error}"))
}

/// A request that is held, whose answer has begun.
fn hold(address: SocketAddr, target: &str) -> Client {
    let mut client = Client::get(address, target);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client
}

/// What is told with one answer, on a connection that may be used again.
fn poll(client: &mut Client, target: &str) -> Vec<String> {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let (head, body) = client.answer();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
    let list: Vec<Value> = serde_json::from_str(&body).unwrap();
    list.iter().map(|it| it["text"].as_str().map_or_else(|| it.to_string(), Into::into)).collect()
}

/// What the machine says next.
fn said(client: &mut Client) -> String {
    let block = client.block();
    block.strip_prefix("event: said\ndata: ").unwrap_or_else(|| panic!("{block}")).to_owned()
}

/// Status and body of the answer to what is brought.
fn bring(address: SocketAddr, id: &str, lines: &str) -> (String, String) {
    let mut client = Client::connect(address);
    let length = lines.len();
    client.send(
        format!(
            "POST /lines/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n\
             {lines}"
        )
        .as_bytes(),
    );
    let (head, body) = client.answer();
    (head[9..12].to_owned(), body)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each request comes to whichever shard the kernel chose, and of thirty both have some.
#[test]
fn one_client_over_many_sockets() {
    for driver in DRIVERS {
        let node = start(driver);
        let address = node.addresses().listen;
        publish(&node, "c0", "before"); // whatever is opened once is open
        let before = descriptors();

        let mut stream = hold(address, "/lines");
        let id = said(&mut stream).strip_prefix("session ").unwrap().to_owned();
        for nth in 0..15 {
            assert_eq!(bring(address, &id, &format!("follow c{nth}")).0, "200", "{driver:?}");
            assert_eq!(said(&mut stream), format!("following c{nth}@{}", u8::from(nth == 0) + 1));
        }
        publish(&node, "c7", "hello");
        assert!(stream.block().contains(r#""data":"hello""#), "{driver:?}");
        assert_eq!(bring(address, &id, "bye").0, "200");
        assert!(!stream.end().0, "it ends well");
        let (status, body) = bring(address, &id, "follow c0");
        assert!(status == "410" && body.contains("session_gone"), "{status} {body}");

        let mut first = Client::connect(address);
        let id = poll(&mut first, "/lines?wait=20");
        let id = id[0].strip_prefix("session ").unwrap().to_owned();
        bring(address, &id, "follow c0");
        let target = format!("/lines/{id}?wait=20");
        assert_eq!(poll(&mut first, &target), ["following c0@2"]);
        for nth in 0..15 {
            // On a connection that came to this shard or that one, or has come to its session.
            let mut fresh = Client::connect(address);
            let client = if nth % 3 == 0 { &mut first } else { &mut fresh };
            publish(&node, "c0", &format!("number {nth}"));
            let told = poll(client, &target);
            assert!(told[0].contains(&format!("number {nth}\"")), "{driver:?}: {told:?}");
        }
        // A poll waits when a WebSocket comes, wherever each of them is.
        let waiting = std::thread::spawn({
            let target = target.clone();
            move || poll(&mut Client::connect(address), &target)
        });
        let mut socket = Client::websocket(address, &format!("/lines/{id}"));
        socket.send_frame(0x81, b"probe");
        assert_eq!(socket.json_frame()["text"], "probed");
        assert_eq!(waiting.join().unwrap(), [""; 0], "it ends");
        publish(&node, "c0", "between");
        socket.send_frame(0x81, b"come");
        assert_eq!(socket.json_frame()["data"], "between");
        socket.send_frame(0x81, b"follow c1");
        assert_eq!(socket.json_frame()["text"], "following c1@1");
        for nth in 0..20 {
            publish(&node, ["c0", "c1"][nth % 2], &format!("number {nth}"));
            assert_eq!(socket.json_frame()["data"], format!("number {nth}"), "{driver:?}");
        }
        let (status, body) = bring(address, &id, "follow c2");
        assert!(status == "410" && body.contains("session_gone"), "{status} {body}");
        socket.send_frame(0x81, b"bye");
        assert_eq!(socket.close_code(), 1000);

        let accepted = |shard: usize| node.metrics().shards[shard].accepted.read();
        assert!(accepted(0) > 0 && accepted(1) > 0, "both shards had some");

        drop((first, socket));
        until("no socket keeps a descriptor", || descriptors() <= before);
        let mut last = hold(address, "/lines");
        said(&mut last);
        let stopping = std::thread::spawn(move || node.stop());
        let block = last.block();
        assert!(block.contains(r#""reason":"restart""#), "{block}");
        stopping.join().unwrap();
    }
}
