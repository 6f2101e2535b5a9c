//! G4 to G6, D2, and the signals: the binary, its exit codes, and what it says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::session::{Open, SessionId};
use fanfare_protocol::ingest::write;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::{Process, alone};
use crate::support::step_timer::undisturbed;
use crate::support::{Client, PATIENCE};

/// A server that runs in a folder of its own.
struct Server {
    process: Process,
    listen: SocketAddr,
    api: SocketAddr,
    folder: TempDir,
}

fn command(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env("XDG_RUNTIME_DIR", folder).current_dir(folder).args(flags);
    alone(&mut command);
    command
}

impl Server {
    /// Starts and waits until it is ready.
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = [&["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"], flags].concat();
        let process = Process::start(&mut command(folder.path(), &flags));
        let (listen, api) = (process.address("listen"), process.address("api"));
        Self { process, listen, api, folder }
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Its exit code (as a shell gives it), and all that it said.
    fn end(&mut self) -> (i32, String) {
        let code = self.process.end().unwrap_or(-1);
        (code, self.process.all_said().to_owned())
    }
}

/// A start that does not become one: its exit code and what it said.
fn refused(folder: &Path, flags: &[&str]) -> (i32, String) {
    let (mut process, is_ready) = Process::begin(&mut command(folder, flags));
    assert!(!is_ready, "it serves: {}", process.said);
    (process.end().unwrap_or(-1), process.all_said().to_owned())
}

#[track_caller]
fn is_refused(flags: &[&str], code: i32, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (ended, said) = refused(folder.path(), flags);
    assert_eq!(ended, code, "{flags:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    for (signal, driver) in [(Signal::TERM, "uring"), (Signal::INT, "epoll")] {
        let mut server = Server::start(&["--driver", driver]);
        let mut client = Client::websocket(server.listen, "/ws?channels=a");
        let socket = server.folder.path().join("fanfare.sock");
        assert!(socket.exists());
        server.signal(signal);
        assert_eq!(client.close_code(), 1012);
        drop(client);
        let (code, said) = server.end();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("\"stopped\"") && !said.contains("panic"), "{said}");
        assert!(!socket.exists(), "it leaves nothing behind");
    }
}

#[test]
fn a_second_signal_ends_it_now() {
    let mut server = Server::start(&[]);
    let mut client = Client::websocket(server.listen, "/ws?channels=a");
    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 1012); // it waits for an answer, which does not come
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, 128 + 15);
}

#[test]
fn d2_a_socket_that_is_in_use_and_one_that_was() {
    let flags = ["--listen", "127.0.0.1:0", "--api", "none"];
    let mut server = Server::start(&[]);
    let (code, said) = refused(server.folder.path(), &flags);
    assert!([69, 78].contains(&code) && said.contains("fanfare.sock"), "{code}: {said}");
    let socket = server.folder.path().join("fanfare.sock");
    drop(Client::websocket(server.listen, "/ws?channels=a")); // and the first one lives on
    server.process.child.kill().unwrap();
    server.process.child.wait().unwrap();
    assert!(socket.exists(), "who is killed leaves it");
    let mut next = Process::start(&mut command(server.folder.path(), &flags));
    next.signal(Signal::TERM);
    assert_eq!(next.end(), Some(0), "a stale socket is replaced");
}

#[test]
fn g6_addresses_that_cannot_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let words = ["Another process has the port", taken.as_str()];
    thread::scope(|scope| {
        scope.spawn(|| is_refused(&["--listen", &taken, "--api", "none"], 69, &words));
        scope.spawn(|| is_refused(&["--listen", "127.0.0.1:0", "--api", &taken], 69, &words));
        scope.spawn(|| {
            let flags = ["--listen", "192.0.2.1:0", "--i-understand-insecure", "--api", "none"];
            is_refused(&flags, 78, &["does not have that address"]);
        });
    });
}

#[test]
fn g4_more_connections_than_this_process_can_hold() {
    let any = ["--listen", "127.0.0.1:0", "--api", "none", "--socket", "none"];
    for driver in ["uring", "epoll"] {
        let more = ["--driver", driver, "--max-connections", "60000000", "--shards", "1"];
        let words = ["max_connections is 60000000", "raise the open files limit to"];
        is_refused(&[&any[..], &more].concat(), 78, &words);
    }
}

#[test]
fn g5_the_driver_that_was_asked_for_is_the_one_that_serves() {
    for driver in ["uring", "epoll"] {
        let mut server = Server::start(&["--driver", driver]);
        let mut client = Client::websocket(server.listen, "/ws?channels=a");
        server.signal(Signal::TERM);
        assert_eq!(client.close_code(), 1012);
        drop(client);
        assert_eq!(server.end().0, 0);
    }
}

/// Longer than a head may take. What came before the thread looks again came in time.
#[test]
fn what_came_while_it_stood_still_is_read_before_time_is_judged() {
    thread::scope(|scope| {
        for driver in ["uring", "epoll"] {
            scope.spawn(move || {
                let server = Server::start(&["--driver", driver, "--shards", "1"]);
                let mut publisher = UnixStream::connect(server.folder.path().join("fanfare.sock"));
                let publisher = publisher.as_mut().unwrap();
                publisher.write_all(b"FANFARE\x01\x09\0\0\0\x01").unwrap();
                let body = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                            Content-Length: 4\r\n\r\n";
                let [healthz, host] = ["GET /healthz HTTP/1.1\r\n", "Host: localhost\r\n\r\n"];
                let begin = |at: SocketAddr, first: &str| {
                    let mut client = Client::connect(at);
                    client.send(first.as_bytes());
                    client
                };
                let heads: Vec<Client> = (0..100).map(|_| begin(server.listen, healthz)).collect();
                let bodies: Vec<Client> = (0..20).map(|_| begin(server.listen, body)).collect();
                let api: Vec<Client> = (0..20).map(|_| begin(server.api, healthz)).collect();
                thread::sleep(Duration::from_millis(300)); // all of it is read
                server.signal(Signal::STOP);
                let finish = |clients: &mut Vec<Client>, rest: &str| {
                    clients.iter_mut().for_each(|client| client.send(rest.as_bytes()));
                };
                let mut all = [(heads, host), (bodies, "body"), (api, host)];
                all.iter_mut().for_each(|(clients, rest)| finish(clients, rest));
                publisher.write_all(&[0; 8]).unwrap(); // a frame that is none
                thread::sleep(Duration::from_millis(5_500));
                server.signal(Signal::CONT);
                for (clients, rest) in &mut all {
                    for client in clients {
                        let status = crate::wire::status(&client.head());
                        assert_eq!(status, 200, "{driver}, {rest:?}");
                    }
                }
                let mut said = Vec::new();
                publisher.read_to_end(&mut said).unwrap();
                let said = String::from_utf8_lossy(&said).into_owned();
                assert!(!said.contains("in time"), "{driver}: {said:?}");
            });
        }
    });
}

/// A poll that a stop broke off tells of nobody, though somebody has come.
#[test]
fn a_session_that_is_taken_up_while_it_stood_still_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fanfare.toml");
    std::fs::write(&config, "[limits]\npublisher_session_age = \"2s\"\n").unwrap();
    let server = Server::start(&["--config", config.to_str().unwrap(), "--shards", "1"]);
    let socket = server.folder.path().join("fanfare.sock");
    let mut sessions = 0;
    undisturbed("it is not forgotten", Duration::from_secs(2), |timer| {
        sessions += 1;
        let session = SessionId([sessions; 16]);
        assert!(!is_known(&mut open(&socket, session)));
        timer.step_from_here();
        thread::sleep(Duration::from_millis(300)); // its end is read
        server.signal(Signal::STOP);
        timer.step();
        thread::sleep(Duration::from_millis(100)); // every thread of it stands still
        let mut publisher = open(&socket, session);
        thread::sleep(Duration::from_secs(3));
        server.signal(Signal::CONT);
        is_known(&mut publisher)
    });
}

/// A publisher that takes up a session, and is not answered yet.
fn open(socket: &Path, session: SessionId) -> UnixStream {
    let mut said = Vec::new();
    write::session_preface(&mut said);
    write::open(&Open { session, resumes: false, confirmed: 0 }, &mut said);
    let mut publisher = UnixStream::connect(socket).unwrap();
    publisher.set_read_timeout(Some(PATIENCE)).unwrap();
    publisher.write_all(&said).unwrap();
    publisher
}

/// Whether the server knows its session, as it says.
fn is_known(publisher: &mut UnixStream) -> bool {
    let mut decoder = Decoder::new();
    let mut bytes = [0; 128];
    let read = publisher.read(&mut bytes).unwrap();
    match decoder.next(&mut &bytes[..read]) {
        Ok(Some(Reply::Hello(hello))) => hello.session.unwrap().known,
        other => panic!("{other:?}"),
    }
}
