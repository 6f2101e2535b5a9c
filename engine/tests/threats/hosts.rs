//! Names under which a node answers, and what development mode does not outlive: DNS rebinding, an
//! API key, a proxy on the way.

use fanfare::admission::host::Hosts;
use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::support::{Client, text};
use crate::wire::{Answer, connect, refused, status, upgrade};

const PUBLISH: &str = "/playground/publish?channel=a";

/// What reads, follows or writes, and what tells nothing of anybody's.
const GETS: [&str; 6] =
    ["/", "/healthz", "/readyz", "/sse?channels=a", "/poll?channels=a&wait=0", "/nowhere"];

fn request(line: &str, host: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes()
}

fn publish(host: &str, fields: &str) -> Vec<u8> {
    let line = format!("POST {PUBLISH}");
    [&request(&line, host, &format!("{fields}Content-Length: 2\r\n"))[..], b"hi"].concat()
}

fn answer(node: &Server, bytes: &[u8]) -> Answer {
    let mut client = connect(node);
    client.send(bytes);
    Answer::read(&mut client)
}

fn published(node: &Server) -> u64 {
    node.metrics().sequencer.published.read()
}

/// What the metrics say of the mode.
fn mode(node: &Server, key: &str) -> String {
    let api = node.addresses().api.unwrap();
    let mut client = Client::connect(api);
    let line = format!("GET /metrics HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n{key}\r\n");
    client.send(line.as_bytes());
    let page = text(&client.end().1);
    let line = page.lines().find(|line| line.starts_with("fanfare_development_mode "));
    line.unwrap_or_else(|| panic!("no mode in {page}")).to_owned()
}

#[test]
fn in_development_mode_only_loopback_and_listed_names_are_answered() {
    let listed = |settings: &mut Settings| {
        settings.hosts = Hosts::new(&["app.example".into(), "b.example:81".into()]).unwrap();
    };
    on_both(listed, |site| {
        site.case("a page that rebinds its name to 127.0.0.1", |node| {
            let before = published(node);
            for host in [
                "evil.example",
                "evil.example:7070",
                "localhost.evil.example",
                "10.0.0.1",
                "0.0.0.0:7070",
                "b.example",
                "app.example.evil",
            ] {
                let origin = format!("Origin: http://{host}\r\n");
                // A page can add such a field to its own requests, and gets nothing by it.
                let forged = format!("{origin}X-Forwarded-For: 127.0.0.1\r\n");
                for fields in ["", &origin, &forged] {
                    for target in GETS {
                        let bytes = request(&format!("GET {target}"), host, fields);
                        let answer = refused(node, host, &bytes, 403);
                        assert_eq!(answer.error(), "foreign_host");
                        assert!(answer.body.contains("--no-dev"), "it says what to do");
                        assert_eq!(answer.field("Access-Control-Allow-Origin"), None);
                    }
                    let answer = refused(node, host, &publish(host, fields), 403);
                    assert_eq!(answer.error(), "foreign_host");
                    let socket = upgrade("/ws?channels=a", fields);
                    let socket = socket.replacen("Host: localhost", &format!("Host: {host}"), 1);
                    let answer = refused(node, host, socket.as_bytes(), 403);
                    assert_eq!(answer.error(), "foreign_host");
                }
            }
            assert_eq!(published(node), before);
        });
        site.case("names of this machine, listed ones, and none at all", |node| {
            for host in [
                "localhost",
                "LOCALHOST:1",
                "127.0.0.1:7070",
                "127.9.9.9",
                "[::1]:7070",
                "x.localhost",
                "app.example",
                "APP.example:7070",
                "b.example:81",
            ] {
                let bytes = request("GET /poll?channels=a&wait=0", host, "");
                assert_eq!(answer(node, &bytes).status, 200, "{host}");
                assert_eq!(answer(node, &publish(host, "")).status, 200, "{host}");
            }
            // An old health check; no browser sends this.
            assert_eq!(answer(node, b"GET /readyz HTTP/1.0\r\n\r\n").status, 200);
            assert_eq!(mode(node, ""), "fanfare_development_mode 1");
        });
    });
}

#[test]
fn behind_a_proxy_there_is_no_development_mode() {
    on_both(
        |_| {},
        |site| {
            site.case("whatever the proxy leaves behind", |node| {
                let before = published(node);
                for trace in [
                    "X-Forwarded-For: 203.0.113.9",
                    "x-forwarded-proto: https",
                    "Forwarded: for=203.0.113.9",
                    "Via: 1.1 proxy",
                    "X-Real-IP: 203.0.113.9",
                ] {
                    let trace = format!("{trace}\r\n");
                    let answer = refused(node, &trace, &publish("localhost", &trace), 403);
                    assert_eq!(answer.error(), "not_in_development");
                    let page = format!("Origin: http://localhost:3000\r\n{trace}");
                    let bytes = request("GET /poll?channels=a&wait=0", "localhost", &page);
                    let answer = refused(node, &trace, &bytes, 403);
                    assert_eq!(answer.error(), "origin_not_allowed");
                    let bytes = request("GET /", "localhost", &trace);
                    assert!(!shows_form(&self::answer(node, &bytes)), "{trace}");
                    // What is for everyone still is.
                    let bytes = request("GET /poll?channels=a&wait=0", "localhost", &trace);
                    assert_eq!(self::answer(node, &bytes).status, 200, "{trace}");
                }
                assert_eq!(published(node), before);
                assert!(shows_form(&answer(node, &request("GET /", "localhost", ""))));
            });
        },
    );
}

/// Whether the page has a form to publish with that a person sees.
fn shows_form(page: &Answer) -> bool {
    assert_eq!((page.status, page.field("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let (_, form) = page.body.split_once("id=\"publish-form\"").expect("there is a form");
    !form.split_once('>').unwrap().0.contains("hidden")
}

#[test]
fn with_an_api_key_or_without_development_mode_every_name_is_answered_and_nobody_publishes() {
    let key = "0123456789abcdef0123456789abcdef";
    let bearer = format!("Authorization: Bearer {key}\r\n");
    let with_key = |settings: &mut Settings| {
        settings.hosts = Hosts::default();
        settings.api_key = Some(key.into());
    };
    let production = |settings: &mut Settings| {
        settings.hosts = Hosts::default();
        settings.dev = false;
    };
    let check = |node: &Server, key: &str| {
        let before = published(node);
        for host in ["localhost", "app.example", "10.0.0.1:7070"] {
            let answer = refused(node, host, &publish(host, ""), 403);
            assert_eq!(answer.error(), "not_in_development");
            for target in GETS {
                let bytes = request(&format!("GET {target}"), host, "");
                let mut client = connect(node);
                client.send(&bytes);
                let expected = if target == "/nowhere" { 404 } else { 200 };
                assert_eq!(status(&client.head()), expected, "{target} at {host}");
            }
            assert!(!shows_form(&self::answer(node, &request("GET /", host, ""))));
        }
        assert_eq!(published(node), before);
        assert_eq!(mode(node, key), "fanfare_development_mode 0");
    };
    // The canary is heard over the API, which asks for the key here: so without a site.
    for driver in crate::support::DRIVERS {
        for (change, key) in [(&with_key as &dyn Fn(&mut Settings), &*bearer), (&production, "")] {
            let node = crate::support::node_with(driver, change);
            check(&node, key);
            node.stop();
        }
    }
}

#[test]
fn listed_hosts_hold_in_production_too() {
    let listed = |settings: &mut Settings| {
        settings.hosts = Hosts::new(&["app.example".into()]).unwrap();
        settings.dev = false;
    };
    on_both(listed, |site| {
        site.case("names that are listed, and others", |node| {
            for (host, expected) in [("app.example", 200), ("localhost", 200)] {
                let bytes = request("GET /healthz", host, "");
                assert_eq!(answer(node, &bytes).status, expected, "{host}");
            }
            let bytes = request("GET /poll?channels=a&wait=0", "evil.example", "");
            assert_eq!(refused(node, "a name", &bytes, 403).error(), "foreign_host");
        });
    });
}
