//! Key sets from a real HTTPS endpoint, which Python serves (`jwks/endpoint.py`): THREATS J13 to
//! J15.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fanfare::clock::{Clock, unix_seconds};
use fanfare::keys::{Authorities, KeyAddress, KeyEndpoint, KeyPlan, KeyRenewal};
use fanfare::metrics::Metrics;
use fanfare::vigil::Vigil;
use fanfare_identity::Tenant;
use fanfare_identity::keys::{EndpointId, KeyPolicy, KeySet, KeySources, Verdict};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

/// For what comes as soon as it can; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The endpoint, and the folder that says what it answers.
struct Publisher {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Publisher {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jwks/endpoint.py");
        let mut process = Command::new("python3")
            .args([script.as_ref(), folder.path().as_os_str()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there: scripts/setup installs it");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let publisher = Self { process, folder, port: line.trim().parse().unwrap() };
        publisher.publish(&["k1"]);
        publisher
    }

    /// From now on the set has the key of the tests, by these names.
    fn publish(&self, kids: &[&str]) {
        let der = STANDARD.decode(pem_body(include_str!("../../identity/tests/keys/p256.pub.pem")));
        let der = der.unwrap();
        let (x, y) = der[der.len() - 64..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        let jwk =
            |kid| serde_json::json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid });
        let keys: Vec<_> = kids.iter().map(jwk).collect();
        // Whole or not at all: the endpoint may read it now.
        let new = self.folder.path().join("new");
        fs::write(&new, serde_json::json!({ "keys": keys }).to_string()).unwrap();
        fs::rename(new, self.folder.path().join("keys.json")).unwrap();
    }

    /// From now on every path answers as its name says.
    fn turn_bad(&self) {
        fs::write(self.folder.path().join("bad"), "").unwrap();
    }

    /// Every path that was asked for.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pem_body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// A token by the key of the tests, under this name.
fn token(kid: &str) -> String {
    let pem = include_str!("../../identity/tests/keys/p256.pem");
    let der = STANDARD.decode(pem_body(pem)).unwrap();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).unwrap();
    let header = serde_json::json!({ "alg": "ES256", "kid": kid }).to_string();
    let claims = serde_json::json!({ "sub": "ada", "exp": unix_seconds() + 3_600 }).to_string();
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = key.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

type Told = (Option<EndpointId>, Arc<KeySet>);

struct Node {
    renewal: KeyRenewal,
    told: Receiver<Told>,
    metrics: Arc<Metrics>,
}

impl Node {
    fn start(plan: KeyPlan) -> Self {
        let (tell, told) = channel();
        let metrics = Arc::new(Metrics::new(1));
        let vigil = Vigil::new(Arc::new(AtomicBool::new(true)));
        let guard = vigil.guard("keys", || ());
        let tell = move |asked, keys| drop(tell.send((asked, keys)));
        let renewal =
            KeyRenewal::start(plan, Arc::clone(&metrics), Clock::start(), guard, tell).unwrap();
        Self { renewal, told, metrics }
    }

    fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("keys are told")
    }

    /// The keys once so many endpoints were asked.
    fn after(&self, endpoints: usize) -> Arc<KeySet> {
        let mut asked = std::collections::BTreeSet::new();
        loop {
            let (endpoint, keys) = self.next();
            asked.extend(endpoint);
            if asked.len() == endpoints {
                return keys;
            }
        }
    }
}

fn authorities() -> Authorities {
    Authorities::pem(include_bytes!("jwks/authority.pem")).unwrap()
}

fn plan(urls: &[String], authorities: &Authorities) -> KeyPlan {
    let mut sources = KeySources::default();
    let policy = Arc::new(KeyPolicy::new(Tenant::new("acme")));
    let endpoint = |url: &String| KeyEndpoint {
        id: sources.add_endpoint(&policy, None),
        address: KeyAddress::parse(url).unwrap(),
        authorities: authorities.clone(),
    };
    let endpoints = urls.iter().map(endpoint).collect();
    KeyPlan { sources, endpoints }
}

fn verdict(keys: &KeySet, kid: &str) -> &'static str {
    match keys.verify(token(kid).as_bytes(), unix_seconds()) {
        Verdict::Known(identity) => {
            assert_eq!(identity.tenant.as_str(), "acme");
            "known"
        }
        Verdict::Pending(_) => "pending",
        Verdict::Refused(refusal) => refusal.code(),
    }
}

#[test]
fn j15_a_key_that_is_seen_first_is_fetched_once_however_many_tokens_wait_for_it() {
    let publisher = Publisher::start();
    let node = Node::start(plan(&[publisher.url("good")], &authorities()));
    let (asked, keys) = node.next();
    assert_eq!((asked, verdict(&keys, "k1")), (None, "pending"));
    let (asked, keys) = node.next();
    assert_eq!((asked.is_some(), verdict(&keys, "k1")), (true, "known"));
    assert_eq!(verdict(&keys, "k2"), "invalid_token", "it was asked a moment ago");

    publisher.publish(&["k2"]);
    let asks = node.renewal.asks();
    let endpoint = asked.unwrap();
    (0..10_000).for_each(|_| asks.wanted(endpoint));
    let (_, keys) = node.next();
    assert_eq!((verdict(&keys, "k2"), verdict(&keys, "k1")), ("known", "known"));
    assert_eq!(publisher.requests(), ["/good", "/good"]);
    assert_eq!(node.metrics.keys.fetched.read(), 2);
    node.renewal.stop();
}

#[test]
fn j14_an_endpoint_that_fails_in_any_way_keeps_the_keys_that_it_gave() {
    let faults =
        ["down", "error", "redirect", "page", "garbage", "empty", "huge", "endless", "cut", "slow"];
    let publisher = Publisher::start();
    let node = Node::start(plan(&faults.map(|fault| publisher.url(fault)), &authorities()));
    node.after(faults.len());
    publisher.turn_bad();
    publisher.publish(&["k1", "stolen"]);
    let asks = node.renewal.asks();
    let same = plan(&faults.map(|fault| publisher.url(fault)), &authorities());
    same.endpoints.iter().for_each(|endpoint| asks.wanted(endpoint.id));
    let keys = node.after(faults.len());
    assert_eq!(node.metrics.keys.failed.read(), faults.len() as u64);
    assert_eq!(node.metrics.keys.fetched.read(), faults.len() as u64);
    assert_eq!(verdict(&keys, "k1"), "known");
    assert_ne!(verdict(&keys, "stolen"), "known");
    assert!(!publisher.requests().contains(&"/stolen".to_owned()), "a redirect was followed");
    node.renewal.stop();
}

#[test]
fn j14_a_node_that_has_no_keys_yet_says_that_waiting_helps() {
    let publisher = Publisher::start();
    publisher.turn_bad();
    let node = Node::start(plan(&[publisher.url("error")], &authorities()));
    assert_eq!(verdict(&node.after(1), "k1"), "keys_unavailable");
    node.renewal.stop();
}

#[test]
fn nobody_is_believed_whom_the_authorities_do_not_vouch_for() {
    let publisher = Publisher::start();
    let by_address = format!("https://127.0.0.1:{}/good", publisher.port);
    for (url, authorities) in
        [(publisher.url("good"), Authorities::public()), (by_address, authorities())]
    {
        let node = Node::start(plan(&[url], &authorities));
        assert_eq!(verdict(&node.after(1), "k1"), "keys_unavailable");
        node.renewal.stop();
    }
    assert!(publisher.requests().is_empty());
    for text in ["", "no certificate", include_str!("jwks/localhost.key.pem")] {
        assert!(Authorities::pem(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_keeps_its_keys_over_a_reload_though_it_fails() {
    let publisher = Publisher::start();
    let node = Node::start(plan(&[publisher.url("error")], &authorities()));
    assert_eq!(verdict(&node.after(1), "k1"), "known");
    publisher.turn_bad();
    let urls = [publisher.url("down"), publisher.url("error")];
    node.renewal.reload(plan(&urls, &authorities())).unwrap();
    let (asked, keys) = node.next();
    assert_eq!((asked, verdict(&keys, "k1")), (None, "known"));
    let keys = node.after(2);
    assert_eq!(verdict(&keys, "k1"), "known");
    node.renewal.reload(KeyPlan::default()).unwrap();
    assert_eq!(verdict(&node.next().1, "k1"), "invalid_token");
    node.renewal.stop();
}
