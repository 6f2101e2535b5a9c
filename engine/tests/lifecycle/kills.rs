//! Clients that die at every moment of their life: nothing of them stays.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use fanfare::node::Server;
use socket2::SockRef;

use crate::support::{Client, DRIVERS, node_with, publish_all, upgrade, wait_until};

const KILLS: u64 = 2_000;
const THREADS: u64 = 4;
/// Fewer places than kills by far: a place that leaks is missed.
const PLACES: usize = 64;
const SEED: u64 = 0x5eed_0000_0000_0001;

/// xorshift64*: good enough to choose how to die.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

#[test]
fn clients_killed_at_any_moment_leave_nothing_behind() {
    let seed = std::env::var("FANFARE_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("replay with FANFARE_TEST_SEED={seed}");
    for driver in DRIVERS {
        let node = node_with(driver, |settings| {
            settings.limits.connections = PLACES;
            settings.connections_asked = true;
            settings.limits.interest_ms = 200;
        });
        let listen = node.addresses().listen;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let killers: Vec<_> = (0..THREADS)
                .map(|nth| {
                    scope.spawn(move || {
                        let mut random = Random(seed + nth);
                        (0..KILLS / THREADS).for_each(|_| live_and_die(listen, &mut random));
                    })
                })
                .collect();
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    publish_all(&node, (0..8).map(|nth| (channel(nth), "x".repeat(2_000))));
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let ends: Vec<_> = killers.into_iter().map(|killer| killer.join()).collect();
            over.store(true, SeqCst);
            ends.into_iter().for_each(|end| end.unwrap());
        });
        nothing_is_left(&node);
        every_place_serves(&node);
        nothing_is_left(&node);
        node.stop();
    }
}

fn channel(nth: u64) -> &'static str {
    ["a", "b", "c", "d", "e", "f", "g", "h"][nth as usize % 8]
}

/// One client's life, up to a moment.
fn live_and_die(listen: SocketAddr, random: &mut Random) {
    let mut client = Client::connect(listen);
    let channels = match random.below(3) {
        0 => channel(random.below(8)).to_owned(),
        1 => format!("{},{}", channel(random.below(4)), channel(4 + random.below(4))),
        _ => "a,b,c,d,e,f,g,h,nobody-else".to_owned(),
    };
    let format = ["raw", "json"][random.below(2) as usize];
    let get = |target: String| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = match random.below(4) {
        0 | 1 => upgrade(&format!("/ws?channels={channels}&format={format}")),
        2 => get(format!("/sse?channels={channels}&format={format}")),
        _ => get(format!("/poll?channels={channels}&wait={}", random.below(2) * 20)),
    };
    match random.below(8) {
        0 => {}
        1 => {
            let half = 1 + random.below(request.len() as u64 - 1) as usize;
            send(&client, &request.as_bytes()[..half]);
        }
        2 => send(&client, request.as_bytes()),
        3 => {
            send(&client, request.as_bytes());
            thread::sleep(Duration::from_micros(random.below(2_000)));
        }
        4 => {
            // With bytes that it never reads, until the node may be blocked.
            send(&client, request.as_bytes());
            thread::sleep(Duration::from_millis(random.below(20)));
        }
        5 if request.starts_with("GET /ws") => {
            send(&client, request.as_bytes());
            client.head();
            // A ping, and a frame that ends in its middle.
            send(&client, &[0x89, 0x80, 1, 2, 3, 4, 0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1]);
        }
        6 if request.starts_with("GET /ws") => {
            send(&client, request.as_bytes());
            client.head();
            send(&client, &[0x88, 0x80, 1, 2, 3, 4]);
        }
        _ => {
            send(&client, request.as_bytes());
            client.head();
            if !request.starts_with("GET /poll") {
                client.until(|bytes| (bytes.len() > 1_000).then_some(bytes.len()));
            }
        }
    }
    let socket = SockRef::from(&client.socket);
    match random.below(3) {
        0 => socket.set_linger(Some(Duration::ZERO)).unwrap(), // RST
        1 => drop(client.socket.shutdown(std::net::Shutdown::Write)),
        _ => {}
    }
}

/// The node may have closed already: that is not what is tested.
fn send(client: &Client, bytes: &[u8]) {
    use std::io::Write;
    let _ = (&client.socket).write_all(bytes);
}

fn nothing_is_left(node: &Server) {
    let left = || {
        let shards = node.metrics().shards.iter();
        let gauges = shards.flat_map(|shard| {
            let gauges = [
                ("connections", &shard.connections),
                ("websockets", &shard.websockets),
                ("event streams", &shard.event_streams),
                ("polls", &shard.polls),
                ("subscriptions", &shard.subscriptions),
                ("channels", &shard.channels),
                ("rendered bytes", &shard.rendered_bytes),
            ];
            gauges.map(|(name, gauge)| (name, gauge.read()))
        });
        let all = ("subscribers", node.metrics().sequencer.subscriptions.read());
        gauges.chain([all]).filter(|(_, value)| *value != 0).collect::<Vec<_>>()
    };
    wait_until("nothing is left", || left().is_empty());
}

/// As many clients as there are places all get a message.
fn every_place_serves(node: &Server) {
    let listen = node.addresses().listen;
    let mut clients: Vec<Client> =
        (0..PLACES).map(|_| Client::websocket(listen, "/ws?channels=last")).collect();
    let published = publish_all(node, [("last", "here".to_owned())]);
    assert_eq!(published[0].subscribers, PLACES as u64);
    clients.iter_mut().for_each(|client| assert_eq!(client.text_frame(), "here"));
    // One more is told that there is no room.
    let mut extra = Client::connect(listen);
    extra.send(upgrade("/ws?channels=last").as_bytes());
    assert!(extra.head().starts_with("HTTP/1.1 503 "));
    drop(extra);
    wait_until("the extra one is gone", || {
        let shards = node.metrics().shards.iter();
        shards.map(|shard| shard.connections.read()).sum::<u64>() == PLACES as u64
    });
}
