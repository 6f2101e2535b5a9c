//! A graceful stop: what was acknowledged is delivered, everyone is told, and it ends in time.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use fanfare::node::{DriverChoice, Server};
use fanfare::rule::Window;
use fanfare::sequencer::command::{BatchAnswer, Command};

use crate::publisher::{publish_until_goodbye, publisher_that_reads_nothing};
use crate::support::{
    Client, DRIVERS, NEVER_MS, batch, find, in_time, keep, node_with, publish_all, rules, text,
    upgrade, wait_until,
};

/// Wide enough that nobody falls out of it on a busy machine.
const WINDOW: Window = Window { count: 1_000_000, bytes: 1 << 30 };

fn with_socket(driver: DriverChoice, folder: &tempfile::TempDir) -> Server {
    let path = folder.path().join("fanfare.sock");
    node_with(driver, |settings| {
        // Who is not done by itself keeps the node until the test fails.
        settings.limits.close_ms = NEVER_MS;
        settings.socket = Some(path);
        settings.rules = rules(&[("**", keep(1_000), WINDOW)]);
    })
}

/// All messages of a raw WebSocket, and the code of its close.
fn read_websocket(mut client: Client) -> (Vec<u64>, u16) {
    let mut numbers = Vec::new();
    loop {
        let (first, payload) = client.frame();
        match first {
            0x81 => numbers.push(text(&payload).parse().unwrap()),
            0x88 => {
                let code = u16::from_be_bytes(payload[..2].try_into().unwrap());
                client.send_frame(0x88, &payload[..2]);
                let (reset, rest) = client.end();
                assert!(!reset && rest.is_empty(), "after the close: {rest:?}");
                return (numbers, code);
            }
            other => panic!("{other:#x}"),
        }
    }
}

/// What ends an event stream where the node ends.
const FAREWELL: &str = "retry: 1000\nevent: fanfare.close\n\
    data: {\"event\":\"fanfare.close\",\"reason\":\"restart\"}\n\n";

/// All messages of a raw event stream, and its last block.
fn read_stream(client: Client) -> (Vec<u64>, String) {
    let (reset, bytes) = client.end();
    assert!(!reset, "a stream ends, it is not cut off");
    let stream = text(&bytes);
    let (blocks, last) = stream.split_at(stream.find(FAREWELL).expect("an end"));
    let numbers = blocks
        .lines()
        .filter(|line| !line.starts_with("data: {")) // the opening
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|number| number.parse().unwrap());
    (numbers.collect(), last.to_owned())
}

#[test]
fn what_was_acknowledged_is_delivered_before_the_farewell() {
    for driver in DRIVERS {
        let folder = tempfile::tempdir().unwrap();
        let node = with_socket(driver, &folder);
        let (listen, path) = (node.addresses().listen, node.addresses().socket.clone().unwrap());
        let mut streams = Vec::new();
        let websockets: Vec<Client> =
            (0..6).map(|_| Client::websocket(listen, "/ws?channels=a")).collect();
        for _ in 0..6 {
            let mut stream = Client::get(listen, "/sse?channels=a");
            assert!(stream.head().starts_with("HTTP/1.1 200 "));
            streams.push(stream);
        }
        let mut poll = Client::get(listen, "/poll?channels=silent&wait=25");
        wait_until("everyone follows", || node.metrics().sequencer.subscriptions.read() == 13);
        let websockets: Vec<_> =
            websockets.into_iter().map(|it| thread::spawn(|| read_websocket(it))).collect();
        let streams: Vec<_> =
            streams.into_iter().map(|it| thread::spawn(|| read_stream(it))).collect();
        let publisher = thread::spawn(move || publish_until_goodbye(&path, "a"));
        wait_until("some are published", || node.metrics().sequencer.published.read() > 1_000);
        in_time("everyone leaves at once", || node.stop());
        let accepted = publisher.join().unwrap();
        assert!(accepted > 900, "{accepted}");
        let all = |numbers: &[u64]| {
            assert_eq!(numbers, Vec::from_iter(1..=numbers.len() as u64), "in order, no hole");
            assert!(numbers.len() as u64 >= accepted, "{} of {accepted}", numbers.len());
        };
        for websocket in websockets {
            let (numbers, code) = websocket.join().unwrap();
            all(&numbers);
            assert_eq!(code, 1012);
        }
        for stream in streams {
            let (numbers, last) = stream.join().unwrap();
            all(&numbers);
            assert_eq!(last, FAREWELL);
        }
        let (head, body) = poll.answer();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(body.contains(r#""messages":[]"#), "{body}");
        assert_eq!(poll.end(), (false, Vec::new()));
    }
}

#[test]
fn a_burst_right_before_the_end_is_delivered_whole() {
    for driver in DRIVERS {
        // One, several, and more than a shard reads in one tick.
        for burst in [1, 1, 1, 10, 1_900] {
            let folder = tempfile::tempdir().unwrap();
            let node = with_socket(driver, &folder);
            let listen = node.addresses().listen;
            let websocket = Client::websocket(listen, "/ws?channels=a");
            let mut stream = Client::get(listen, "/sse?channels=a");
            stream.head();
            let mut poll = Client::get(listen, "/poll?channels=b&wait=25");
            wait_until("all follow", || node.metrics().sequencer.subscriptions.read() == 3);
            let messages = (1..=burst).map(|number: u64| ("a", number.to_string()));
            let messages = batch(messages.chain([("b", "last".to_owned())]));
            // Nothing stands between the last message and the end of the order.
            let publish = Command::PublishBatch(messages, BatchAnswer::Each(Box::new(drop)));
            assert!(node.inbox().send(publish).is_ok());
            assert!(node.inbox().send(Command::Shutdown).is_ok());
            let stop = thread::spawn(|| in_time("everyone leaves at once", || node.stop()));
            let all = Vec::from_iter(1..=burst);
            assert_eq!(read_websocket(websocket), (all.clone(), 1012));
            assert_eq!(read_stream(stream), (all, FAREWELL.to_owned()));
            assert!(poll.answer().1.contains(r#""data":"last""#));
            stop.join().unwrap();
        }
    }
}

#[test]
fn clients_that_do_not_leave_are_cut_off_in_time() {
    for driver in DRIVERS {
        let node = node_with(driver, |settings| {
            settings.rules = rules(&[]);
            settings.limits.shutdown_ms = 500; // all others are longer than the test
        });
        let listen = node.addresses().listen;
        let idle = Client::connect(listen);
        let mut half = Client::connect(listen);
        half.send(b"GET /ws?channels=a HTTP/1.1\r\nHo");
        let silent = Client::websocket(listen, "/ws?channels=a");
        // One that takes nothing: its bytes wait in the node.
        let mut full = Client::narrow(listen);
        full.send(upgrade("/ws?channels=b").as_bytes());
        full.until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4));
        let long = "x".repeat(900_000);
        publish_all(&node, [("b", long)]);
        thread::sleep(Duration::from_millis(100));
        in_time("they are cut off", || node.stop());
        assert_eq!(idle.end().1, b"");
        assert!(text(&half.end().1).len() < 2_000);
        let (_, bytes) = silent.end();
        assert_eq!((bytes[0], &bytes[2..4]), (0x88, &1012u16.to_be_bytes()[..]));
        drop(full);
    }
}

/// All that can take time takes it at once, and the limit holds for all of it together.
#[test]
fn the_limit_is_that_of_the_whole_end() {
    const LIMIT_MS: u64 = 8_000;
    // Side by side, because they wait and do not work.
    thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("fanfare.sock");
                let node = node_with(driver, |settings| {
                    settings.socket = Some(path.clone());
                    settings.api = Some("127.0.0.1:0".parse().unwrap());
                    settings.limits.shutdown_ms = LIMIT_MS;
                });
                // A client that takes nothing, a publisher that reads nothing, and a request to the
                // API whose body does not come.
                let mut client = Client::narrow(node.addresses().listen);
                client.send(b"GET /sse?channels=b HTTP/1.1\r\nHost: localhost\r\n\r\n");
                client.until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4));
                publish_all(&node, [("b", "x".repeat(900_000))]);
                let publisher = publisher_that_reads_nothing(&path);
                let mut request = Client::connect(node.addresses().api.unwrap());
                request.send(b"POST /v1/channels/a HTTP/1.1\r\nHost: localhost\r\n");
                request.send(b"Content-Length: 5\r\n\r\nx");
                thread::sleep(Duration::from_millis(300));
                let began = Instant::now();
                node.stop();
                let took = began.elapsed();
                // One after the other they would take it twice.
                assert!(took < Duration::from_millis(2 * LIMIT_MS), "{driver:?}: {took:?}");
                drop((client, publisher, request));
            });
        }
    });
}

#[test]
fn a_stop_under_load_ends_everyone_and_leaves_the_port() {
    for driver in DRIVERS {
        let folder = tempfile::tempdir().unwrap();
        let start = |listen: Option<SocketAddr>| {
            node_with(driver, |settings| {
                settings.listen = listen.unwrap_or(settings.listen);
                settings.socket = Some(folder.path().join("fanfare.sock"));
                settings.rules = rules(&[("**", keep(1_000), WINDOW)]);
            })
        };
        let mut node = start(None);
        for _ in 0..3 {
            let (listen, path) =
                (node.addresses().listen, node.addresses().socket.clone().unwrap());
            let clients: Vec<Client> = (0..200)
                .map(|nth| match nth % 3 {
                    0 => Client::websocket(listen, "/ws?channels=a"),
                    1 => Client::get(listen, "/sse?channels=a,b"),
                    _ => Client::get(listen, "/poll?channels=a&wait=20"),
                })
                .collect();
            let publisher = thread::spawn(move || publish_until_goodbye(&path, "a"));
            let reader = thread::spawn(move || {
                for client in clients {
                    client.socket.set_nonblocking(false).unwrap();
                    client.end(); // to the end, however it comes
                }
            });
            wait_until("some are published", || node.metrics().sequencer.published.read() > 500);
            in_time("those who answer no farewell are cut off", || node.stop());
            assert!(publisher.join().unwrap() > 400);
            reader.join().unwrap();
            node = start(Some(listen));
            assert_eq!(node.addresses().listen, listen);
        }
        node.stop();
    }
}
