//! The process: what signals do to it, and what it says by its exit code.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Client, PATIENCE};

struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    listen: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // where a test failed; else it has ended
        let _ = self.child.wait();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["serve", "--api", "none", "--socket", "none", "--shards", "2"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG");
    command
}

/// The server once it is ready.
fn serve(words: &[&str]) -> Server {
    let mut child = command(words).spawn().expect("the binary was built");
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"ready\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let listen = event["fields"]["listen"].as_str().or(event["listen"].as_str()).unwrap();
    let listen = listen.parse().unwrap();
    Server { child, log, listen }
}

impl Server {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code, and how long it took.
    fn end(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("it does not end");
    }
}

#[test]
fn a_signal_ends_it_with_a_farewell_and_zero() {
    for driver in ["uring", "epoll"] {
        for signal in [Signal::TERM, Signal::INT] {
            let mut server = serve(&["--listen", "127.0.0.1:0", "--driver", driver]);
            let mut websocket = Client::websocket(server.listen, "/ws?channels=a");
            let mut stream = Client::get(server.listen, "/sse?channels=a");
            stream.head();
            stream.opening();
            server.signal(signal);
            assert_eq!(websocket.close_code(), 1012);
            websocket.send_frame(0x88, &1012u16.to_be_bytes());
            assert_eq!(stream.line(), "retry: 1000");
            assert_eq!(stream.end(), (false, Vec::new()));
            let (code, took) = server.end();
            assert_eq!(code, Some(0), "{driver}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = serve(&["--listen", "127.0.0.1:0"]);
    // One that never answers the farewell keeps it for two seconds.
    let mut silent = Client::websocket(server.listen, "/ws?channels=a");
    server.signal(Signal::TERM);
    assert_eq!(silent.close_code(), 1012);
    assert!(server.child.try_wait().unwrap().is_none(), "it still waits for the client");
    server.signal(Signal::TERM);
    let (code, took) = server.end();
    assert_eq!(code, Some(128 + 15));
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_port_in_use_is_exit_69_and_a_killed_owner_frees_it() {
    for driver in ["uring", "epoll"] {
        let mut owner = serve(&["--listen", "127.0.0.1:0", "--driver", driver]);
        let listen = owner.listen.to_string();
        let second = command(&["--listen", &listen, "--driver", driver]).output().unwrap();
        assert_eq!(second.status.code(), Some(69));
        let said = String::from_utf8(second.stderr).unwrap();
        assert!(said.contains(&format!("cannot listen on {listen}")), "{said}");
        let clients: Vec<Client> =
            (0..50).map(|_| Client::websocket(owner.listen, "/ws?channels=a")).collect();
        owner.child.kill().unwrap();
        let next = serve(&["--listen", &listen, "--driver", driver]);
        assert_eq!(next.listen, owner.listen);
        Client::websocket(next.listen, "/ws?channels=a");
        drop((clients, next));
        let mut rest = String::new();
        let _ = owner.log.read_line(&mut rest); // nothing, or a line of its last moment
    }
}
