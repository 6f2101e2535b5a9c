//! H4 and H27 at scale: 15,000 handshakes that do not go on, from 250 addresses, beside a good
//! client that connects. By the binary, in a process of its own, since both ends of so many sockets
//! do not fit into one.
//!
//! What is asserted holds on a busy machine: the good client is served while all of them are there,
//! and each of them is over when its time is. How long it takes is printed, and stands in
//! `docs/PERFORMANCE.md` as it was measured; on a quiet machine, with a release build:
//!
//! ```text
//! cargo test --release -p fanfare --test half_open -- --nocapture
//! ```

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use support::process::{Process, serve};
use support::{Client, PATIENCE, wait_until};

/// Handshakes that are begun.
const STRANGERS: usize = 15_000;
/// Of one address: below the limit of connections and of heads.
const EACH: usize = 60;
/// How often the good client connects while they are there.
const CONNECTS: usize = 100;

/// Long enough that all are there at once, whatever the machine.
const CONFIG: &str = "max_connections = 16_000\n[limits]\nhead_time = '20s'\n\
                      count_loopback = true\nhandshakes_per_address = 1_000\n";

/// One more socket from this address, with half a head.
fn stranger(to: SocketAddr, nth: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let block = (nth / EACH) as u8;
    let from = SocketAddr::from((Ipv4Addr::new(127, 66, block, 1), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap_or_else(|error| panic!("stranger {nth}: {error}"));
    let mut socket = TcpStream::from(socket);
    socket.write_all(b"GET /sse?channels=a HTTP/1.1\r\nHost: localhost\r\nX-").unwrap();
    socket
}

/// The good client's connects: the time of each, from its SYN to its 101.
fn connects(to: SocketAddr) -> Vec<Duration> {
    let one = |_| {
        let began = Instant::now();
        drop(Client::websocket(to, "/ws?channels=good"));
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..CONNECTS).map(one).collect();
    times.sort();
    times
}

fn shown(times: &[Duration]) -> String {
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    format!("median {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100))
}

fn number(api: SocketAddr, name: &str) -> u64 {
    let mut client = TcpStream::connect(api).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    client.read_to_string(&mut page).unwrap();
    let of = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
    page.lines().filter(|line| line.starts_with(name)).filter_map(of).sum()
}

#[test]
fn strangers_who_never_finish_a_handshake_keep_nobody_waiting_and_are_over_in_time() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| most as usize);
    assert!(
        most >= 16_600,
        "an open files limit of {most} holds no {STRANGERS} sockets: ulimit -n"
    );
    for driver in ["uring", "epoll"] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("f.toml");
        fs::write(&config, CONFIG).unwrap();
        let mut command = serve();
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket", "none"]);
        command.args(["--driver", driver, "--shards", "1", "--config"]).arg(&config);
        let mut node = Process::start(&mut command);
        let (listen, api) = (node.address("listen"), node.address("api"));

        let alone = connects(listen);
        let began = Instant::now();
        let strangers: Vec<TcpStream> = (0..STRANGERS).map(|nth| stranger(listen, nth)).collect();
        let came = began.elapsed();
        wait_until("all are there", || number(api, "fanfare_connections{") >= STRANGERS as u64);
        let beside = connects(listen);
        assert!(
            number(api, "fanfare_connections{") >= STRANGERS as u64,
            "they were there all along"
        );
        assert_eq!(number(api, "fanfare_turned_away_total{"), 0);

        let mut over = Vec::new();
        for mut socket in strangers {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            over.clear();
            socket.read_to_end(&mut over).unwrap();
            assert!(over.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&over));
        }
        let gone = began.elapsed();
        wait_until("nobody is left", || number(api, "fanfare_connections{") == 0);
        println!(
            "{driver}: {STRANGERS} came in {came:?}, the last was over {gone:?} after the first"
        );
        println!("  connects alone:       {}", shown(&alone));
        println!("  connects beside them: {}", shown(&beside));
        node.signal(Signal::TERM);
        assert_eq!(node.end(), Some(0));
    }
}
