//! A hundred tenants whose channels have equal names, whose clients lose their tokens at random and
//! come back with others: nobody hears a byte of anybody else's, nothing twice, and nothing is
//! missing. (Guarantees 1, 2 and 4 of DESIGN section 9.)
//!
//! A million messages, half of them on each driver, or `FANFARE_MESSAGES`; which token is taken
//! back when is a matter of `FANFARE_SEED`.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::UNIX_EPOCH;

use fanfare::channel::{ChannelName, Tenant};
use fanfare::config::load_text;
use fanfare::node::{DriverChoice, Server};
use fanfare::rule::{Rule, Rules, Window};
use fanfare::sequencer::command::{BatchAnswer, Command, Publication};
use fanfare_identity::keys::{Algorithm, Key};
use fanfare_identity::{Revocation, Revoke};
use fanfare_protocol::message::Kind;
use serde_json::{Value, json};

use support::{Client, DRIVERS, keep, node_with, upgrade, wait_until};

const TENANTS: usize = 100;
/// The same names in each.
const CHANNELS: [&str; 2] = ["room:1", "room:2"];
const CLIENTS: usize = TENANTS * CHANNELS.len();
/// Messages of a channel by which a client may be behind before the publisher waits: fewer than are
/// kept, so that whoever comes back misses nothing.
const BEHIND_MAX: u64 = 500;
const KEPT: u64 = 2_000;
/// Messages of a channel from one revocation to the next.
const ROUNDS_TO_REVOCATION: u64 = 10;

/// What one client has heard, for the publisher.
#[derive(Default)]
struct Progress {
    /// Messages, in order and without a hole.
    heard: AtomicU64,
    /// Tokens that it has had.
    lives: AtomicU64,
    /// The last of them is revoked, and it has not come back.
    is_revoked: AtomicBool,
}

/// One client of one tenant.
struct Follower {
    listen: SocketAddr,
    tenant: usize,
    channel: &'static str,
    messages: u64,
    progress: Arc<Progress>,
}

fn secret(tenant: usize) -> String {
    format!("tenant {tenant:03}: a secret of its own, long enough")
}

fn tenant(nth: usize) -> Tenant {
    Tenant::new(&format!("t{nth}"))
}

fn configuration() -> String {
    let mut text = String::from("listen = '127.0.0.1:0'\n");
    for nth in 0..TENANTS {
        let secret = secret(nth);
        text += &format!("[[tenants]]\nname = 't{nth}'\n");
        text += &format!("[[tenants.keys]]\nkid = 't{nth}'\nsecret = '{secret}'\n");
    }
    text
}

/// The name of the token that a client has in one of its lives.
fn token_id(channel: &str, life: u64) -> String {
    format!("{channel}/{life}")
}

impl Follower {
    fn token(&self, life: u64) -> String {
        let key = Key::secret(Algorithm::Hs256, secret(self.tenant).as_bytes()).unwrap();
        let end = UNIX_EPOCH.elapsed().unwrap().as_secs() + 3_600;
        let claims = json!({
            "sub": "ann",
            "exp": end,
            "jti": token_id(self.channel, life),
            "channels": [self.channel],
        });
        key.sign(Some(&format!("t{}", self.tenant)), &claims.to_string()).unwrap()
    }

    /// Follows its channel to the last message, with a new token whenever one was taken back.
    fn run(self) {
        let mut last = None;
        while self.progress.heard.load(Relaxed) < self.messages {
            let life = self.progress.lives.load(Relaxed);
            let mut client = self.connect(life, last.as_deref());
            self.progress.is_revoked.store(false, Relaxed);
            while self.progress.heard.load(Relaxed) < self.messages {
                match client.frame() {
                    (0x81, frame) => self.hear(&frame, &mut last),
                    (0x89, payload) => client.send_frame(0x8a, &payload),
                    (0x88, payload) => {
                        assert_eq!(&payload[2..], b"token_revoked", "closed for this alone");
                        break;
                    }
                    (first, _) => panic!("a frame of {first:#x}"),
                }
            }
            self.progress.lives.store(life + 1, Relaxed);
        }
    }

    fn connect(&self, life: u64, since: Option<&str>) -> Client {
        let mut client = Client::connect(self.listen);
        let since = since.map_or("earliest", |id| id);
        let target = format!("/ws?channels={}&format=json&since={since}", self.channel);
        let head = upgrade(&target);
        let token = self.token(life);
        let head = head.strip_suffix("\r\n").unwrap();
        client.send(format!("{head}Authorization: Bearer {token}\r\n\r\n").as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        client
    }

    fn hear(&self, frame: &[u8], last: &mut Option<String>) {
        let frame: Value = serde_json::from_slice(frame).unwrap();
        assert_ne!(frame["event"], "fanfare.gap", "{frame}");
        if let Some(id) = frame["id"].as_str() {
            *last = Some(id.to_owned());
        }
        if frame["event"] == "fanfare.open" {
            return;
        }
        let next = self.progress.heard.load(Relaxed);
        let expected = json!({"tenant": self.tenant, "channel": self.channel, "nth": next});
        assert_eq!(frame["data"], expected, "of {} in {}", self.channel, self.tenant);
        self.progress.heard.store(next + 1, Relaxed);
    }
}

/// A message to each channel of each tenant.
fn round(nth: u64) -> Vec<Publication> {
    let channels = (0..TENANTS).flat_map(|of| CHANNELS.map(|channel| (of, channel)));
    let publication = |(of, channel): (usize, &str)| Publication {
        channel: ChannelName::new(tenant(of), channel),
        also: Box::default(),
        kind: Kind::Json,
        event: None,
        idempotency_key: None,
        ephemeral: false,
        except: None,
        data: json!({"tenant": of, "channel": channel, "nth": nth}).to_string().into_bytes().into(),
    };
    channels.map(publication).collect()
}

fn publish(node: &Server, publications: Vec<Publication>) {
    let count = publications.len();
    let answer = BatchAnswer::Each(Box::new(move |results| {
        assert!(results.len() == count && results.iter().all(Result::is_ok));
    }));
    assert!(node.inbox().send(Command::PublishBatch(publications, answer)).is_ok());
}

/// Takes back the token that this client has now.
fn revoke(node: &Server, client: usize, progress: &Progress) {
    if progress.is_revoked.swap(true, Relaxed) {
        return;
    }
    let (of, channel) = (client / CHANNELS.len(), CHANNELS[client % CHANNELS.len()]);
    let id = token_id(channel, progress.lives.load(Relaxed));
    let what = Revoke::Token(id.into());
    let revocation = Revocation { tenant: tenant(of), what, until_s: u64::MAX };
    let context = node.post().context();
    let authority = context.authority.as_ref().expect("clients are asked");
    authority.revocations.lock().unwrap().revoke(&revocation).unwrap();
    node.post().ask_again();
}

fn number(name: &str, rest: u64) -> u64 {
    std::env::var(name).map_or(rest, |text| text.parse().expect("a number"))
}

fn run(driver: DriverChoice, messages: u64, seed: u64) {
    let rounds = messages.div_ceil(CLIENTS as u64);
    let node = node_with(driver, |settings| {
        let read = load_text("f", &configuration()).unwrap_or_else(|error| panic!("{error}"));
        settings.tenancy = read.settings.tenancy;
        let window = Window { count: KEPT, bytes: 64 << 20 };
        let rule = Rule { access: fanfare_identity::Access::CLOSED, ..Rule::default() };
        settings.rules = Rules::closed_by(Vec::new(), Rule { history: keep(KEPT), window, ..rule });
        settings.limits.history_bytes = 1 << 30;
    });
    let progress: Vec<Arc<Progress>> = (0..CLIENTS).map(|_| Arc::default()).collect();
    let followers: Vec<_> = progress
        .iter()
        .enumerate()
        .map(|(nth, progress)| Follower {
            listen: node.addresses().listen,
            tenant: nth / CHANNELS.len(),
            channel: CHANNELS[nth % CHANNELS.len()],
            messages: rounds,
            progress: Arc::clone(progress),
        })
        .map(|follower| thread::spawn(move || follower.run()))
        .collect();
    let mut chance = seed;
    for nth in 0..rounds {
        publish(&node, round(nth));
        if nth % ROUNDS_TO_REVOCATION == 0 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let client = (chance >> 33) as usize % CLIENTS;
            revoke(&node, client, &progress[client]);
            // Within a second, it is promised; a machine that stalls is waited for.
            let is_back = || !progress[client].is_revoked.load(Relaxed);
            wait_until("who is revoked is cut off, and comes back", is_back);
        }
        wait_until("all follow", || {
            let alive =
                followers.iter().all(|it| !it.is_finished()) || nth + 1 + BEHIND_MAX > rounds;
            assert!(alive, "a follower has failed, by FANFARE_SEED={seed}: see above");
            progress.iter().all(|it| it.heard.load(Relaxed) + BEHIND_MAX > nth)
        });
    }
    for follower in followers {
        follower.join().unwrap_or_else(|_| panic!("FANFARE_SEED={seed}, {driver:?}: see above"));
    }
    let lives: u64 = progress.iter().map(|it| it.lives.load(Relaxed)).sum();
    assert!(lives > CLIENTS as u64, "tokens were taken back");
    node.stop();
}

#[test]
fn tenants_with_equal_names_hear_their_own_while_tokens_are_revoked() {
    let (messages, seed) = (number("FANFARE_MESSAGES", 1_000_000), number("FANFARE_SEED", 1));
    for driver in DRIVERS {
        run(driver, messages / 2, seed);
    }
}
