//! Who may hear what, against a real node on both drivers: each way in of a token, what is told to
//! one that is not good, and what ends what was open by one.

use std::time::UNIX_EPOCH;

use fanfare::channel::{ChannelName, Tenant};
use fanfare::config::load_text;
use fanfare::node::{Server, Settings};
use fanfare::sequencer::command::{Command, Publication, PublishAnswer};
use fanfare_identity::keys::{Algorithm, Key};
use fanfare_protocol::message::Kind;
use serde_json::{Value, json};

use crate::site::on_both;
use crate::support::{Client, publish, upgrade};
use crate::wire::{Answer, connect, ends, get, status};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &[u8] = b"acmeacmeacmeacmeacmeacmeacmeacme";

/// Everybody hears the canary and `open:`; users have a channel each.
const CONFIGURATION: &str = "
listen = '127.0.0.1:0'
[auth]
secret = '0123456789abcdef0123456789abcdef'
[auth.cookie]
name = 'fan'
[[tenants]]
name = 'acme'
[[tenants.keys]]
kid = 'acme'
secret = 'acmeacmeacmeacmeacmeacmeacmeacme'
[[channels]]
match = 'canary'
history = { count = 1 }
window = { count = 1, bytes = 1024 }
allow = { anonymous = ['subscribe'] }
[[channels]]
match = 'open:*'
history = { count = 100, age = '100ms' }
allow = { anonymous = ['subscribe'] }
[[channels]]
match = 'user:{user}'
history = { count = 100, age = '100ms' }
allow = { user = ['subscribe'] }
[[channels]]
match = '**'
history = { count = 100, age = '100ms' }
";

fn judging(settings: &mut Settings) {
    let read = load_text("f", CONFIGURATION).unwrap_or_else(|problems| panic!("{problems}"));
    settings.tenancy = read.settings.tenancy;
    settings.rules = read.settings.rules;
}

fn now_s() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn signed(secret: &[u8], kid: Option<&str>, claims: &Value) -> String {
    let key = Key::secret(Algorithm::Hs256, secret).unwrap();
    key.sign(kid, &claims.to_string()).unwrap()
}

/// A token of `ann` for `room:*` that lives for so many seconds, with these claims beside.
fn token(life_s: i64, more: Value) -> String {
    let end = now_s().checked_add_signed(life_s).unwrap();
    let mut claims = json!({"sub": "ann", "exp": end, "channels": ["room:*"]});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    signed(SECRET, None, &claims)
}

fn good() -> String {
    token(3_600, json!({}))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A WebSocket that asks with these fields, before its first frame.
fn socket(node: &Server, target: &str, fields: &str) -> Client {
    let mut client = connect(node);
    let head = upgrade(target);
    let head = head.strip_suffix("\r\n").unwrap();
    client.send(format!("{head}{fields}\r\n").as_bytes());
    let head = client.head();
    assert_eq!(status(&head), 101, "{head}");
    client
}

/// The close frame that comes next, answered: its code and reason.
fn closed(mut client: Client) -> (u16, String) {
    let (first, payload) = client.frame();
    assert_eq!(first, 0x88, "{}", String::from_utf8_lossy(&payload));
    client.send_frame(0x88, &payload[..2]);
    ends(client, "closed");
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

fn message(token: &str) -> String {
    json!({"token": token}).to_string()
}

/// Asks a listener, and gives its answer.
fn ask(address: std::net::SocketAddr, line: &str, fields: &str, body: &str) -> Answer {
    let mut client = Client::connect(address);
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
    client.send(format!("{head}{body}").as_bytes());
    Answer::read(&mut client)
}

/// Has a token taken back by its name.
fn revoke(node: &Server, id: &str) {
    let api = node.addresses().api.expect("tests have an API");
    let body = json!({"token_id": id}).to_string();
    let fields = "Content-Type: application/json\r\n";
    let answer = ask(api, "POST /v1/revocations", fields, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_token_comes_in_every_way_and_opens_what_it_grants() {
    on_both(judging, |site| {
        site.case("bearer on each transport", |node| {
            let fields = bearer(&good());
            let mut client = connect(node);
            client.send(get("/sse?channels=room:1", &fields).as_bytes());
            client.stream_id();
            let mut socket = socket(node, "/ws?channels=room:1&format=json", &fields);
            assert_eq!(socket.json_frame()["event"], "fanfare.open");
            publish(node, "room:1", "1");
            assert_eq!(socket.json_frame()["data"], 1);
            let mut poll = connect(node);
            poll.send(get("/poll?channels=room:1&since=earliest", &fields).as_bytes());
            assert_eq!(Answer::read(&mut poll).status, 200);
        });
        site.case("a subprotocol, which is not told back", |node| {
            let fields = format!("Sec-WebSocket-Protocol: fanfare, fanfare.bearer.{}\r\n", good());
            let mut client = connect(node);
            let head = upgrade("/ws?channels=room:1&format=json");
            let head = head.strip_suffix("\r\n").unwrap();
            client.send(format!("{head}{fields}\r\n").as_bytes());
            let head = client.head();
            assert!(head.contains("Sec-WebSocket-Protocol: fanfare\r\n"), "{head}");
            assert!(!head.contains("bearer"), "{head}");
            assert_eq!(client.json_frame()["event"], "fanfare.open");
        });
        site.case("a cookie, of this very site alone", |node| {
            let cookie = format!("Cookie: a=b; fan={}\r\n", good());
            let of_site = format!("{cookie}Sec-Fetch-Site: same-origin\r\n");
            let mut client = connect(node);
            client.send(get("/sse?channels=room:1", &of_site).as_bytes());
            client.stream_id();
            let mut client = connect(node);
            client.send(get("/sse?channels=room:1", &cookie).as_bytes());
            let answer = Answer::read(&mut client);
            let error = answer.error();
            assert_eq!((answer.status, &*error), (403, "cookie_needs_origin"));
        });
        site.case("the first message", |node| {
            for (query, first) in [
                ("channels=room:1&format=json", message(&good())),
                ("format=json", message(&token(60, json!({"follow": ["news"], "channels": []})))),
                ("channels=user:ann&format=json", format!("  {} ", message(&good()))),
            ] {
                let mut client = socket(node, &format!("/ws?{query}"), "");
                client.send_frame(0x81, first.as_bytes());
                assert_eq!(client.json_frame()["event"], "fanfare.open", "{query}");
            }
        });
    });
}

#[test]
fn a_token_that_is_not_good_is_refused_on_every_transport() {
    let cases = [
        ("J1", "a.b.c".into(), "invalid_token", 4401),
        ("J6", token(-3_600, json!({})), "token_expired", 4505),
        ("J7", token(60, json!({"nbf": now_s() + 600})), "invalid_token", 4401),
        ("J10", "x".repeat(3_000), "invalid_token", 4401),
        (
            "J12",
            signed(&[7; 32], Some("acme"), &json!({"exp": now_s() + 60})),
            "invalid_token",
            4401,
        ),
        ("J19", token(60, json!({"channels": ["a*"]})), "invalid_token", 4401),
    ];
    on_both(judging, |site| {
        for (row, token, error, code) in &cases {
            site.case(row, |node| {
                for path in ["/sse", "/poll"] {
                    // Even where nobody has to show one.
                    for channel in ["room:1", "open:1"] {
                        let mut client = connect(node);
                        let target = format!("{path}?channels={channel}");
                        client.send(get(&target, &bearer(token)).as_bytes());
                        let answer = Answer::read(&mut client);
                        assert_eq!((answer.status, &*answer.error()), (401, *error), "{target}");
                        let field = answer.field("WWW-Authenticate").unwrap();
                        assert!(field.contains("error=\"invalid_token\""), "{field}");
                        assert!(!answer.body.contains(token.as_str()), "it is told to nobody");
                        ends(client, row);
                    }
                }
                let client = socket(node, "/ws?channels=open:1", &bearer(token));
                assert_eq!(closed(client), (*code, (*error).to_owned()), "{row}");
                let mut client = socket(node, "/ws?channels=room:1", "");
                client.send_frame(0x81, message(token).as_bytes());
                assert_eq!(closed(client), (*code, (*error).to_owned()), "{row}");
            });
        }
        site.case("J18", |node| {
            let protocol = "Sec-WebSocket-Protocol: fanfare.bearer.a.b.c\r\n";
            let fields = format!("{}{protocol}", bearer(&good()));
            for (target, fields, error) in [
                ("/sse?channels=room:1", &*fields, "two_tokens"),
                ("/sse?channels=room:1&ticket=x", &*bearer(&good()), "two_tokens"),
                ("/sse?channels=room:1&token=x", "", "query_token"),
            ] {
                let mut client = connect(node);
                client.send(get(target, fields).as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, &*answer.error()), (400, error), "{target}");
                drop(client);
            }
        });
    });
}

#[test]
fn what_nobody_allows_is_refused_with_a_reason() {
    on_both(judging, |site| {
        site.case("without a token", |node| {
            let mut client = connect(node);
            client.send(get("/sse?channels=open:1,room:1", "").as_bytes());
            let answer = Answer::read(&mut client);
            assert_eq!((answer.status, &*answer.error()), (401, "token_needed"));
        });
        site.case("with one that grants other things", |node| {
            for channels in ["hall", "room:1,hall", "user:bob", "room:1:2", "Room:1"] {
                let mut client = connect(node);
                client.send(get(&format!("/sse?channels={channels}"), &bearer(&good())).as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, &*answer.error()), (403, "forbidden"), "{channels}");
                drop(client);
                let target = format!("/ws?channels={channels}");
                let client = socket(node, &target, &bearer(&good()));
                assert_eq!(closed(client), (4403, "forbidden".into()), "{channels}");
            }
        });
        site.case("first messages that are none", |node| {
            let long = message(&"x".repeat(9_000));
            for first in
                ["", "hello", "{}", r#"{"token":1}"#, r#"{"token":"a","token":"b"}"#, &long]
            {
                let mut client = socket(node, "/ws?channels=room:1", "");
                client.send_frame(0x81, first.as_bytes());
                assert_eq!(closed(client).0, 4400, "{first}");
            }
            let mut client = socket(node, "/ws?channels=room:1", "");
            client.send_frame(0x82, message(&good()).as_bytes());
            assert_eq!(closed(client).0, 4400, "in a binary message");
        });
    });
}

#[test]
fn nobody_waits_for_a_token_for_ever() {
    let hasty = |settings: &mut Settings| {
        judging(settings);
        settings.limits.auth_ms = 300;
    };
    on_both(hasty, |site| {
        site.case("4408", |node| {
            let client = socket(node, "/ws?channels=room:1", "");
            assert_eq!(closed(client), (4408, "no token came in time".into()));
            let mut client = socket(node, "/ws?channels=room:1", "");
            client.send_frame(0x01, br#"{"token":""#); // the first piece, and no other
            assert_eq!(closed(client).0, 4408);
        });
    });
}

#[test]
fn j16_what_a_token_has_opened_ends_with_it() {
    on_both(judging, |site| {
        // 30 seconds are for clocks that differ.
        let short = || token(-27, json!({}));
        site.case("expired", |node| {
            let mut client = connect(node);
            client.send(get("/sse?channels=room:1", &bearer(&short())).as_bytes());
            client.stream_id();
            let mut socket = socket(node, "/ws?channels=room:1&format=json", &bearer(&short()));
            assert_eq!(socket.json_frame()["event"], "fanfare.open");
            assert_eq!(socket.json_frame()["event"], "fanfare.expiring");
            assert_eq!(closed(socket), (4505, "token_expired".into()));
            assert!(client.block().contains("event: fanfare.expiring\n"));
            let last = client.block();
            assert!(last.contains(r#""code":4505,"reason":"token_expired""#), "{last}");
            ends(client, "expired");
        });
        site.case("refreshed in time", |node| {
            let mut socket = socket(node, "/ws?channels=room:1&format=json", &bearer(&short()));
            let id = socket.json_frame()["origin"].as_str().unwrap().to_owned();
            let mut stream = connect(node);
            stream.send(get("/sse?channels=room:1", &bearer(&short())).as_bytes());
            let opening = stream.block();
            let data = opening.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let opened: Value = serde_json::from_str(data).unwrap();
            let of_stream = opened["origin"].as_str().unwrap();
            socket.send_frame(0x81, message(&good()).as_bytes());
            assert_eq!(socket.json_frame()["event"], "fanfare.refreshed");
            let line = format!("POST /v1/connections/{of_stream}/refresh");
            let answer = ask(node.addresses().listen, &line, &bearer(&good()), "");
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(stream.block().contains("event: fanfare.refreshed\n"));
            // Not by somebody else's token, and not another connection than there is.
            let bobs = signed(SECRET, None, &json!({"sub": "bob", "exp": now_s() + 60}));
            let answer = ask(node.addresses().listen, &line, &bearer(&bobs), "");
            assert_eq!(answer.status, 403, "{answer:?}");
            for id in ["0000000000000001", "x", &id[1..]] {
                let line = format!("POST /v1/connections/{id}/refresh");
                let answer = ask(node.addresses().listen, &line, &bearer(&good()), "");
                assert_eq!(answer.status, 410, "{answer:?}");
            }
            publish(node, "room:1", "7");
            assert_eq!(socket.json_frame()["data"], 7);
            assert!(stream.block().contains("data: 7\n"));
        });
        site.case("refreshed by what grants less", |node| {
            let mut socket = socket(node, "/ws?channels=room:1&format=json", &bearer(&good()));
            assert_eq!(socket.json_frame()["event"], "fanfare.open");
            let less = token(60, json!({"channels": ["hall"]}));
            socket.send_frame(0x81, message(&less).as_bytes());
            assert_eq!(socket.json_frame()["event"], "fanfare.refreshed");
            assert_eq!(closed(socket), (4403, "forbidden".into()));
        });
    });
}

#[test]
fn j16_a_revoked_token_is_good_for_nothing_any_more() {
    on_both(judging, |site| {
        site.case("revoked", |node| {
            let id = node.driver().to_owned();
            let fields = bearer(&token(3_600, json!({"jti": id})));
            let mut stream = connect(node);
            stream.send(get("/sse?channels=room:1", &fields).as_bytes());
            stream.stream_id();
            let mut one = socket(node, "/ws?channels=room:1&format=json", &fields);
            assert_eq!(one.json_frame()["event"], "fanfare.open");
            let mut other = socket(node, "/ws?channels=room:1&format=json", &bearer(&good()));
            assert_eq!(other.json_frame()["event"], "fanfare.open");
            let mut poll = connect(node);
            poll.send(get("/poll?channels=room:1&wait=30", &fields).as_bytes());
            let polls = &node.metrics().shards[0].polls;
            crate::support::wait_until("it waits", || polls.read() == 1);
            revoke(node, &id);
            assert_eq!(closed(one), (4401, "token_revoked".into()));
            let last = stream.block();
            assert!(last.contains(r#""code":4401,"reason":"token_revoked""#), "{last}");
            ends(stream, "revoked");
            let answer = Answer::read(&mut poll);
            assert_eq!((answer.status, &*answer.error()), (401, "token_revoked"));
            let mut client = connect(node);
            client.send(get("/sse?channels=room:1", &fields).as_bytes());
            assert_eq!(Answer::read(&mut client).error(), "token_revoked");
            publish(node, "room:1", "1");
            assert_eq!(other.json_frame()["data"], 1, "others go on");
        });
    });
}

#[test]
fn j16_a_body_that_comes_late_brings_nobody_back() {
    on_both(judging, |site| {
        site.case("revoked between head and body", |node| {
            for path in ["/sse", "/poll"] {
                let id = format!("{}{path}", node.driver());
                let fields = bearer(&token(3_600, json!({"jti": id})));
                let body = r#"{"channels":["room:1"]}"#;
                let mut client = connect(node);
                let length = body.len();
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\
                     Content-Type: application/json\r\nContent-Length: {length}\r\n\
                     Expect: 100-continue\r\n\r\n"
                );
                client.send(head.as_bytes());
                assert_eq!(status(&client.head()), 100, "the head is judged");
                revoke(node, &id);
                client.send(body.as_bytes());
                let answer = Answer::read(&mut client);
                assert_eq!((answer.status, &*answer.error()), (401, "token_revoked"), "{path}");
            }
        });
        site.case("a first message right behind the request", |node| {
            let mut client = connect(node);
            let mut bytes = upgrade("/ws?channels=room:1&format=json").into_bytes();
            let text = message(&good());
            let length = u16::try_from(text.len()).unwrap().to_be_bytes();
            bytes.extend([0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0]);
            bytes.extend(text.as_bytes());
            client.send(&bytes);
            assert_eq!(status(&client.head()), 101);
            assert_eq!(client.json_frame()["event"], "fanfare.open");
        });
        site.case("tokens without end", |node| {
            let mut client = socket(node, "/ws?channels=room:1&format=json", &bearer(&good()));
            assert_eq!(client.json_frame()["event"], "fanfare.open");
            for _ in 0..5 {
                client.send_frame(0x81, message(&good()).as_bytes());
                assert_eq!(client.json_frame()["event"], "fanfare.refreshed");
            }
            client.send_frame(0x81, message(&good()).as_bytes());
            assert_eq!(closed(client).0, 4529);
        });
        site.case("revocations that cannot be meant", |node| {
            let api = node.addresses().api.expect("tests have an API");
            let long = "x".repeat(256);
            for body in [
                json!({"token_id": ""}),
                json!({"token_id": long}),
                json!({"token_id": "a", "until": 1}),
                json!({"all": true, "issued_before": now_s() * 1_000}),
                json!({"all": true, "user": "ann"}),
            ] {
                let fields = "Content-Type: application/json\r\n";
                let answer = ask(api, "POST /v1/revocations", fields, &body.to_string());
                assert_eq!(answer.status, 422, "{body}: {answer:?}");
            }
        });
    });
}

#[test]
fn a_ticket_is_good_once_and_for_what_it_was_given() {
    on_both(judging, |site| {
        site.case("tickets", |node| {
            let listen = node.addresses().listen;
            let line = "POST /v1/tickets?channels=room:1";
            let chained = ask(listen, "POST /v1/tickets", &bearer(&good()), "");
            let chained: Value = serde_json::from_str(&chained.body).unwrap();
            let chained =
                format!("POST /v1/tickets?ticket={}", chained["ticket"].as_str().unwrap());
            assert_eq!(
                ask(listen, &chained, "", "").error(),
                "forbidden",
                "no ticket for a ticket"
            );
            let given = || {
                let answer = ask(listen, line, &bearer(&good()), "");
                assert_eq!(answer.status, 200, "{answer:?}");
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(body["expires_in"], 10);
                body["ticket"].as_str().unwrap().to_owned()
            };
            let ticket = given();
            let mut client = connect(node);
            client.send(get(&format!("/sse?channels=room:1&ticket={ticket}"), "").as_bytes());
            client.stream_id();
            let mut again = connect(node);
            again.send(get(&format!("/sse?channels=room:1&ticket={ticket}"), "").as_bytes());
            assert_eq!(Answer::read(&mut again).error(), "invalid_ticket");
            let mut other = connect(node);
            other.send(get(&format!("/sse?channels=room:2&ticket={}", given()), "").as_bytes());
            assert_eq!(Answer::read(&mut other).error(), "forbidden");
            for (line, fields, status) in [
                (line, String::new(), 401),
                ("POST /v1/tickets?channels=hall", bearer(&good()), 403),
                ("GET /v1/tickets", bearer(&good()), 405),
                ("POST /v1/publish", bearer(&good()), 404),
            ] {
                assert_eq!(ask(listen, line, &fields, "").status, status, "{line}");
            }
        });
    });
}

#[test]
fn tenants_hear_nothing_of_each_other() {
    on_both(judging, |site| {
        site.case("P8: one name, two channels", |node| {
            let claims = json!({"sub": "ann", "exp": now_s() + 60, "channels": ["room:*"]});
            let acmes = signed(OTHER_SECRET, Some("acme"), &claims);
            let target = "/ws?channels=room:1&format=json";
            let mut of_acme = socket(node, target, &bearer(&acmes));
            let mut of_default = socket(node, target, &bearer(&good()));
            for client in [&mut of_acme, &mut of_default] {
                assert_eq!(client.json_frame()["event"], "fanfare.open");
            }
            let publication = Publication {
                channel: ChannelName::new(Tenant::new("acme"), "room:1"),
                also: Box::default(),
                kind: Kind::Json,
                event: None,
                idempotency_key: None,
                ephemeral: false,
                except: None,
                data: (*b"1").into(),
            };
            let answer = PublishAnswer::Callback(Box::new(|_| {}));
            assert!(node.inbox().send(Command::Publish(publication, answer)).is_ok());
            publish(node, "room:1", "2");
            assert_eq!(of_acme.json_frame()["data"], 1);
            assert_eq!(of_default.json_frame()["data"], 2);
            // The other's token opens nothing of this one's, whatever it says of itself.
            let lies = json!({"sub": "ann", "exp": now_s() + 60, "tenant": "default",
                              "iss": "default", "channels": ["**"]});
            let lies = signed(OTHER_SECRET, Some("acme"), &lies);
            let mut liar = socket(node, target, &bearer(&lies));
            assert_eq!(liar.json_frame()["event"], "fanfare.open");
            publish(node, "room:1", "3");
            assert_eq!(of_default.json_frame()["data"], 3);
            liar.send_frame(0x89, b"");
            assert_eq!(liar.frame().0, 0x8a, "a pong, and no message before it");
        });
    });
}
