//! The process: what signals do to it, and what it says by its exit code.

use std::fs::DirEntry;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::support::process::{self, Process, alone};
use crate::support::{Client, wait_until};

/// What a server is told beside its flags: that nothing ends because of the time it takes.
const UNHURRIED: &str = "[limits]\nshutdown = \"1h\"\nclose = \"1m\"\nhead_time = \"1h\"\n\
    ping = \"1h\"\n";

fn unhurried(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("fanfare.toml");
    std::fs::write(&path, UNHURRIED).unwrap();
    path.to_str().unwrap().to_owned()
}

fn command(words: &[&str]) -> Command {
    // Whoever runs the tests by `nohup` ignores SIGHUP, and so would their children.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_fanfare"), "serve"]);
    command.args(["--api", "none", "--socket", "none", "--shards", "2"]).args(words);
    alone(&mut command);
    command
}

/// The server once it is ready, and where it listens.
fn serve(words: &[&str]) -> (Process, SocketAddr) {
    ready(command(words))
}

fn ready(mut command: Command) -> (Process, SocketAddr) {
    let process = Process::start(&mut command);
    let listen = process.address("listen");
    (process, listen)
}

#[test]
fn a_signal_ends_it_with_a_farewell_and_zero() {
    for driver in ["uring", "epoll"] {
        for signal in [Signal::TERM, Signal::INT] {
            let folder = tempfile::tempdir().unwrap();
            let config = unhurried(&folder);
            let words = ["--listen", "127.0.0.1:0", "--driver", driver, "--config", &config];
            let (mut server, listen) = serve(&words);
            let mut websocket = Client::websocket(listen, "/ws?channels=a");
            let mut stream = Client::get(listen, "/sse?channels=a");
            stream.head();
            stream.opening();
            server.signal(signal);
            assert_eq!(websocket.close_code(), 1012);
            websocket.send_frame(0x88, &1012u16.to_be_bytes());
            assert_eq!(stream.farewell(), "restart");
            assert_eq!(stream.end(), (false, Vec::new()));
            assert_eq!(server.end(), Some(0), "{driver}: it waits for nobody");
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, expected) in [(Signal::TERM, 128 + 15), (Signal::INT, 128 + 2)] {
        let folder = tempfile::tempdir().unwrap();
        let config = unhurried(&folder);
        let (mut server, listen) = serve(&["--listen", "127.0.0.1:0", "--config", &config]);
        // One that never answers the farewell keeps it for a minute.
        let mut silent = Client::websocket(listen, "/ws?channels=a");
        server.signal(signal);
        assert_eq!(silent.close_code(), 1012);
        assert!(server.child.try_wait().unwrap().is_none(), "it still waits for the client");
        server.signal(signal);
        assert_eq!(server.end(), Some(expected));
    }
}

/// A terminal that goes away is the end of what was started in it without a configuration file.
#[test]
fn a_sighup_without_a_file_is_an_end() {
    let (mut server, listen) = serve(&["--listen", "127.0.0.1:0"]);
    let mut websocket = Client::websocket(listen, "/ws?channels=a");
    server.signal(Signal::HUP);
    assert_eq!(websocket.close_code(), 1012);
    websocket.send_frame(0x88, &1012u16.to_be_bytes());
    assert_eq!(server.end(), Some(0));
}

/// Who is started by `nohup` is to outlive the terminal.
#[test]
fn an_ignored_sighup_stays_ignored() {
    let program = env!("CARGO_BIN_EXE_fanfare");
    let mut nohup = Command::new("nohup");
    nohup.arg(program).args(["serve", "--api", "none", "--socket", "none", "--shards", "1"]);
    alone(nohup.args(["--listen", "127.0.0.1:0"]));
    let (mut server, listen) = ready(nohup);
    server.signal(Signal::HUP);
    let mut client = Client::websocket(listen, "/ws?channels=a");
    server.signal(Signal::HUP);
    client.send_frame(0x89, b"still?");
    assert_eq!(client.frame(), (0x8a, b"still?".to_vec()));
    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 1012);
    client.send_frame(0x88, &1012u16.to_be_bytes());
    assert_eq!(server.end(), Some(0));
}

/// Refusals that only the configuration ends are told to whoever reads the log, and not each.
#[test]
fn pages_and_names_that_are_refused_are_told_in_the_log() {
    for driver in ["uring", "epoll"] {
        let (mut server, listen) = serve(&["--listen", "127.0.0.1:0", "--driver", driver]);
        for _ in 0..40 {
            for fields in ["Host: localhost\r\nOrigin: https://page.example", "Host: name.example"]
            {
                let mut client = Client::connect(listen);
                client.send(format!("GET /sse?channels=a HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
                assert!(client.head().starts_with("HTTP/1.1 403 "));
            }
        }
        server.signal(Signal::TERM);
        assert_eq!(server.end(), Some(0));
        let log = server.all_said();
        let refusals = log.lines().filter(|line| line.contains("refused")).count();
        assert!(refusals < 40, "one of a kind from each shard, and 10 s later another: {log}");
        assert!(log.contains("origins = [\\\"https://page.example\\\"]"), "how to allow: {log}");
        assert!(log.contains("hosts = [\\\"name.example\\\"]"), "how to allow it: {log}");
    }
}

/// What becomes of a node that cannot write its log: it serves on, says farewell and ends in order.
fn serves_and_ends(server: &mut Process, listen: SocketAddr, before_the_end: impl FnOnce()) {
    let mut websocket = Client::websocket(listen, "/ws?channels=a");
    before_the_end();
    server.signal(Signal::TERM);
    assert_eq!(websocket.close_code(), 1012);
    websocket.send_frame(0x88, &1012u16.to_be_bytes());
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_log_whose_reader_has_gone_is_no_reason_to_end() {
    for driver in ["uring", "epoll"] {
        let (mut server, listen) = serve(&["--listen", "127.0.0.1:0", "--driver", driver]);
        server.log = None;
        serves_and_ends(&mut server, listen, || {});
    }
}

#[test]
fn a_log_that_nobody_reads_makes_nobody_wait() {
    for driver in ["uring", "epoll"] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut command = command(&["--driver", driver, "--listen", "127.0.0.1:0"]);
        command.stderr(writer.try_clone().unwrap());
        let mut server = Process::silent(&mut command);
        drop(command);
        let listen = listens(&server.child, Ipv4Addr::LOCALHOST);
        // Fills it, and waits then as a node would that waits for its log; until the reader goes.
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, &[b'x'; 1 << 20]));
        // The pipe has 16 pages, and the node's own line may be alone in the first.
        wait_until("the pipe is full", || rustix::io::ioctl_fionread(&reader).unwrap() >= 60 << 10);
        serves_and_ends(&mut server, listen, || {});
    }
}

#[test]
fn a_log_on_a_full_disk_is_counted() {
    for driver in ["uring", "epoll"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let other = Ipv4Addr::new(127, 0, 0, 2);
        let mut command = process::serve();
        command.args(["--socket", "none", "--shards", "2", "--driver", driver]);
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.2:0"]);
        command.stderr(full);
        let mut server = Process::silent(&mut command);
        let api = listens(&server.child, other);
        let listen = listens(&server.child, Ipv4Addr::LOCALHOST);
        serves_and_ends(&mut server, listen, || {
            wait_until("the line that says it is ready is counted", || {
                let (head, page) = Client::get(api, "/metrics").answer();
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let count = "fanfare_log_dropped_total ";
                let count = page.lines().find_map(|it| it.strip_prefix(count));
                count.unwrap().parse::<u64>().unwrap() >= 1
            });
        });
    }
}

/// Where a node that cannot tell its address listens on `host`, as the kernel has it.
fn listens(child: &Child, host: Ipv4Addr) -> SocketAddr {
    let mut address = None;
    wait_until("it listens", || {
        address = listening(child, host);
        address.is_some()
    });
    address.unwrap()
}

fn listening(child: &Child, host: Ipv4Addr) -> Option<SocketAddr> {
    const LISTENS: &str = "0A";
    let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?;
    let name = |file: std::io::Result<DirEntry>| {
        std::fs::read_link(file.ok()?.path()).ok()?.into_os_string().into_string().ok()
    };
    let open: Vec<String> = files.filter_map(name).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let on_host = format!("{:08X}:", u32::from(host).swap_bytes());
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = columns[1].strip_prefix(&on_host).filter(|_| columns[3] == LISTENS)?;
        let is_its = open.contains(&format!("socket:[{}]", columns[9]));
        is_its.then(|| (host, u16::from_str_radix(port, 16).unwrap()).into())
    })
}

#[test]
fn a_port_in_use_is_exit_69_and_a_killed_owner_frees_it() {
    for driver in ["uring", "epoll"] {
        let (mut owner, address) = serve(&["--listen", "127.0.0.1:0", "--driver", driver]);
        let listen = address.to_string();
        let second = command(&["--listen", &listen, "--driver", driver]).output().unwrap();
        assert_eq!(second.status.code(), Some(69));
        let said = String::from_utf8(second.stderr).unwrap();
        assert!(said.contains(&format!("cannot listen on {listen}")), "{said}");
        let clients: Vec<Client> =
            (0..50).map(|_| Client::websocket(address, "/ws?channels=a")).collect();
        owner.child.kill().unwrap();
        let (next, again) = serve(&["--listen", &listen, "--driver", driver]);
        assert_eq!(again, address);
        Client::websocket(again, "/ws?channels=a");
        drop((clients, next));
        let mut rest = String::new();
        // Nothing, or a line of its last moment.
        let _ = owner.log.take().unwrap().read_line(&mut rest);
    }
}
