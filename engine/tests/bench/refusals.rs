//! What is not run, and what is said instead.

use std::net::SocketAddr;

use crate::bench;
use crate::support::node_with;
use fanfare::node::DriverChoice;
use socket2::{Domain, Socket, Type};

/// That it ended with `code` and said all of `words` on standard error.
#[track_caller]
fn refused(line: &str, code: i32, words: &[&str]) {
    let ran = bench(line);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.out.is_empty(), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is missing in {ran:?}");
    }
}

#[test]
fn only_this_machine_is_loaded() {
    refused("connect --url http://192.0.2.1:80", 64, &["192.0.2.1", "--i-own-this-server"]);
    let elsewhere = "paced --url ws://127.0.0.1:1/x --publish-url http://192.0.2.1/p";
    refused(elsewhere, 64, &["--i-own-this-server"]);
    refused("connect --url https://127.0.0.1:443", 64, &["plain"]);
}

#[test]
fn what_makes_no_sense_is_usage() {
    refused("paced --seconds 0", 64, &["--seconds"]);
    refused("paced --size 10", 64, &["--size", "36"]);
    refused("paced --url ws://127.0.0.1:1/x", 64, &["--publish-url"]);
    refused("sprint", 64, &["sprint", "saturate"]);
    refused("paced --ws 0", 64, &["--sse"]);
    refused("channels --ws 2", 64, &["--server-pid"]);
    let one = "unicast --url ws://127.0.0.1:1/x --publish-url http://127.0.0.1:1/p";
    refused(one, 64, &["unicast", "{channel}"]);
}

#[test]
fn without_a_server_it_says_where_it_looked() {
    // A port that nobody else gets, and on which nobody listens.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s").display().to_string();
    let line = format!("paced --ws 2 --url http://{address} --socket {socket}");
    refused(&line, 69, &[&socket, "start one with `fanfare`"]);
    // Connecting is what this mode is about, so its failures are its result.
    let ran = bench(&format!("connect --json --ws 2 --url http://{address} --socket none"));
    assert_eq!(ran.code, Some(65), "{ran:?}");
    assert_eq!(ran.json["failures"]["Connection refused (os error 111)"], 2, "{ran:?}");
}

#[test]
fn a_full_server_is_told_by_its_status() {
    let node = node_with(DriverChoice::Epoll, |settings| {
        settings.limits.connections = 20;
        settings.connections_asked = true;
    });
    let listen = node.addresses().listen;
    let ran = bench(&format!("connect --json --ws 60 --url http://{listen} --socket none"));
    assert_eq!((ran.code, &ran.json["sound"]), (Some(65), &false.into()), "{ran:?}");
    let opened = ran.json["connect"]["opened"].as_u64().unwrap();
    assert!((1..60).contains(&opened), "{ran:?}");
    let failures = ran.json["failures"].as_object().unwrap();
    let failed: u64 = failures.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(opened + failed, 60, "{ran:?}");
    assert!(failures["HTTP 503"].as_u64().unwrap() > 0, "{ran:?}");
}

#[test]
fn people_get_a_table_and_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, plot) = (folder.path().join("s"), folder.path().join("p.svg"));
    let path = socket.clone();
    let node = node_with(DriverChoice::Epoll, |settings| settings.socket = Some(path));
    let ran = bench(&format!(
        "paced --ws 3 --seconds 0.3 --rate 20 --url http://{} --socket {} --plot {}",
        node.addresses().listen,
        socket.display(),
        plot.display()
    ));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for word in ["connected", "3 of 3", "18 of 18", "0 lost", "p99.9", "main, last", "verdict"] {
        assert!(ran.out.contains(word), "{word:?} is missing in {ran:?}");
    }
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<polyline").count() == 2, "{svg}");
}
