//! `tail` against a server that is played by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::process::Signal;

use crate::{Process, fanfare, run};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 20\n\n";

/// Answers one connection after the other, each with one of `answers`, and gives the request heads.
/// A stream that ends with `(stays)` stays open until the client leaves.
fn play(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0, "the head is whole");
            }
            heads.push(head);
            let answer = answer.replace("(stream)", STREAM);
            (&stream).write_all(answer.trim_end_matches("(stays)").as_bytes()).unwrap();
            if answer.ends_with("(stays)") {
                let _ = reader.read_to_end(&mut Vec::new()); // until the client leaves
            }
            let _ = stream.shutdown(Shutdown::Both); // it may have left already
        }
        heads
    });
    (url, thread)
}

fn tail(url: &str, words: &[&str]) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanfare(folder.path());
    Process::start(command.arg("tail").args(words).env("FANFARE_URL", url))
}

#[test]
fn a_lost_stream_goes_on_where_it_broke_off() {
    let (url, server) = play(&[
        "(stream)id: 00000001-4\n\nid: 00000001-5\ndata: first\n\nid: 00000001-6\ndata: half",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        "(stream)event: fanfare.gap\ndata: {\"channel\":\"a b\",\"from\":6,\"to\":6,\"missed\":1,\
         \"reason\":\"trimmed\"}\n\nid: 00000001-7\ndata: last\n\n(stays)",
    ]);
    let process = tail(&url, &["a b", "--since", "00000001-3"]);
    assert_eq!((process.out_line(), process.out_line()), ("first\n".into(), "last\n".into()));
    process.signal(Signal::INT);
    let end = process.end();
    end.expect(0, &["gap in \"a b\": 1 missing, offsets 6 to 6", "503", "connected again"]);
    let heads = server.join().unwrap();
    let from = |head: &str| {
        let from = head.lines().find_map(|line| {
            line.to_lowercase().strip_prefix("last-event-id: ").map(str::to_owned)
        });
        from.unwrap_or_default()
    };
    let target = "GET /sse?channel=a%20b&format=raw&since=00000001-3 HTTP/1.1";
    assert!(heads.iter().all(|head| head.starts_with(target)), "{heads:#?}");
    let froms: Vec<_> = heads.iter().map(|head| from(head)).collect();
    assert_eq!(froms, ["", "00000001-5", "00000001-5"]);
}

#[test]
fn several_channels_print_payloads_and_json_prints_envelopes() {
    const EVENTS: &str = "(stream)data: {\"channel\":\"a\",\"offset\":1,\"data\":{\"n\":\n\
        data: 1}}\n\ndata: {\"channel\":\"b\",\"offset\":1,\"data\":\"text\"}\n\n\
        data: {\"channel\":\"b\",\"offset\":2,\"base64\":\"AAE=\"}\n\n(stays)";
    let (url, server) = play(&[EVENTS]);
    let process = tail(&url, &["a", "b"]);
    let lines = [process.out_line(), process.out_line(), process.out_line()];
    assert_eq!(lines, ["{\"n\": 1}\n", "text\n", "AAE=\n"]);
    process.signal(Signal::INT);
    process.end().expect(0, &[]);
    assert!(server.join().unwrap()[0].contains("channel=a&channel=b&format=json"));

    let (url, server) = play(&[EVENTS]);
    let process = tail(&url, &["--json", "a"]);
    assert_eq!(process.out_line(), "{\"channel\":\"a\",\"offset\":1,\"data\":{\"n\": 1}}\n");
    process.signal(Signal::INT);
    process.end().expect(0, &[]);
    assert!(server.join().unwrap()[0].contains("channel=a&format=json"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    // One line may still fit into the pipe, and one into the reader; the third finds nobody.
    let (url, _server) = play(&[
        "(stream)data: 1\n\n",
        "(stream)data: 2\n\n",
        "(stream)data: 3\n\n",
        "(stream)data: 4\n\n(stays)",
    ]);
    let mut process = tail(&url, &["a"]);
    assert_eq!(process.out_line(), "1\n");
    process.out = mpsc::channel().1;
    let end = process.end();
    assert_eq!(end.code, Some(0), "{end:#?}");
    assert!(!end.err.contains("Broken pipe") && !end.err.contains("panicked"), "{end:#?}");
}

#[test]
fn final_answers_end_it() {
    for (answer, code, word) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 0, ""),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 77, "403"),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 65, "400"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 69, "is it Fanfare?"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 69, "is it Fanfare?"),
    ] {
        let (url, _server) = play(Box::leak(Box::new([answer])));
        let folder = tempfile::tempdir().unwrap();
        let end = run(fanfare(folder.path()).args(["tail", "a", "--url", &url]), "");
        end.expect(code, &[word]);
    }
}
