//! Identity in the configuration: what is read, what is refused and where, and what is never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fanfare_identity::keys::Algorithm;
use fanfare_identity::{Access, Action, Actions, MadeKey, Right, Rights};
use tempfile::TempDir;

use super::*;
use crate::tenancy::{KeyMaterial, PeerId, SocketPeer, TenantLimits, TokenSettings};

/// As long as a secret must be, and not a byte longer.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A public key of P-256, as `openssl pkey -pubout` writes it.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEd0gJIrYHe6Sv8rXzQa9JnJb2T1PC\n\
    7qyn6EubXx9PRsti6kV/hHn7K2LFNAqHe1ILoFsBQWZG+d8Sljmb1jPm/Q==\n\
    -----END PUBLIC KEY-----\n";
/// A certificate of whoever vouches for an endpoint.
const AUTHORITY: &str = include_str!("../../tests/jwks/authority.pem");

/// A folder with a private configuration file of this text, a secret and a public key beside it.
struct Written {
    folder: TempDir,
    overrides: Overrides,
}

fn written(toml: &str) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    let private = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    private(&path, toml);
    private(&folder.path().join("secret"), &format!("{SECRET}\n"));
    fs::write(folder.path().join("public.pem"), PEM).unwrap();
    fs::write(folder.path().join("private.pem"), PEM.replace("PUBLIC", "PRIVATE")).unwrap();
    fs::write(folder.path().join("broken.pem"), PEM.replace("MFkw", "AAAA")).unwrap();
    fs::write(folder.path().join("text"), "hello").unwrap();
    fs::write(folder.path().join("authority.pem"), AUTHORITY).unwrap();
    let file = Some(Sourced { value: path, source: Source::Flag("--config".into()) });
    Written { folder, overrides: Overrides { file, ..Overrides::default() } }
}

impl Written {
    fn load(&self) -> Config {
        load(self.overrides.clone()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The sentences of what is wrong, without the folder of the test.
    fn complaints(&self) -> Vec<String> {
        let Problems(problems) = load(self.overrides.clone()).expect_err("it is wrong");
        let folder = format!("{}/", self.folder.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
    }
}

/// That there is one problem, at this place, whose sentence has these words.
#[track_caller]
fn refused(toml: &str, place: &str, words: &str) {
    let complaints = written(toml).complaints();
    assert_eq!(complaints.len(), 1, "{toml}: {complaints:#?}");
    let right = complaints[0].starts_with(&format!("f.toml:{place}: "));
    assert!(right && complaints[0].contains(words), "{toml}: {}", complaints[0]);
    assert!(!complaints[0].contains(SECRET), "a secret is shown: {}", complaints[0]);
}

fn hash() -> String {
    MadeKey::of(&[7; fanfare_identity::API_KEY_RANDOM_BYTES]).hash.to_string()
}

/// One tenant without ceremony, and all that there is.
#[test]
fn one_secret_is_all_that_it_takes() {
    let config = written(&format!("[auth]\nsecret = '{SECRET}'\n")).load();
    let Settings { tenancy, dev, .. } = config.settings;
    assert!(tenancy.on && !dev, "it ends development mode by itself");
    assert_eq!(tenancy.tokens, TokenSettings::default());
    let [key] = &tenancy.keys[..] else { panic!("{:?}", tenancy.keys) };
    assert!(key.tenant.is_default() && key.alg == Some(Algorithm::Hs256));
    assert_eq!(key.material, KeyMaterial::Secret(SECRET.as_bytes().into()));
    assert!(key.place.ends_with("f.toml:1"), "{}", key.place);
}

#[test]
fn a_configuration_of_two_tenants_is_read() {
    let hash = hash();
    let written = written(&format!(
        "[auth]\nrequire_exp = false\nquery_token = true\nmax_age = '1h'\n\
         cookie = {{ name = 'token' }}\n\
         [[channels]]\nmatch = 'user:{{user}}:**'\nallow = {{ user = ['subscribe', 'history'] }}\n\
         [[channels]]\nmatch = 'quiet:*'\npresence = false\n\
         [[tenants]]\nname = 'acme'\n\
         limits = {{ connections = 10, publish_rate = 5, delivery_bytes = '1MB' }}\n\
         [[tenants.keys]]\nkid = '1'\nsecret_file = 'secret'\nissuer = 'https://a'\n\
         audience = ['x', 'y']\n\
         [[tenants.keys]]\npublic_key_file = 'public.pem'\nalg = 'ES256'\n\
         [[tenants.api_keys]]\nhash = '{hash}'\nactions = ['publish', 'read']\n\
         [[tenants.channels]]\nmatch = 'room:*'\nhistory = {{ count = 3 }}\n\
         allow = {{ anonymous = ['subscribe'], user = ['publish'] }}\n\
         [[tenants]]\nname = 'beta'\n\
         [[tenants.keys]]\njwks_url = 'https://id.example.com/jwks'\n\
         [[socket_peers]]\nuid = 33\ntenant = 'beta'\n\
         [[socket_peers]]\ngid = 34\ntenant = 'default'\n"
    ));
    let Settings { tenancy, rules, .. } = written.load().settings;
    assert_eq!(
        tenancy.tokens,
        TokenSettings {
            require_exp: false,
            query_token: true,
            max_age_ms: Some(3_600_000),
            cookie: Some("token".into())
        }
    );
    let (acme, beta) = (Tenant::new("acme"), Tenant::new("beta"));
    let owners: Vec<_> = tenancy.keys.iter().map(|key| key.tenant.clone()).collect();
    assert_eq!(owners, [acme.clone(), acme.clone(), beta.clone()]);
    let [first, second, third] = &tenancy.keys[..] else { panic!() };
    assert_eq!((first.kid.as_deref(), first.issuer.as_deref()), (Some("1"), Some("https://a")));
    assert_eq!(first.audiences.len(), 2);
    assert_eq!((second.alg, third.alg), (Some(Algorithm::Es256), None));
    let limits = TenantLimits {
        connections: Some(10),
        publish_rate: Some(5),
        delivery_bytes: Some(1_000_000),
        ..TenantLimits::default()
    };
    assert_eq!((tenancy.tenants[0].limits, tenancy.tenants.len()), (limits, 2));
    let expected = Actions::NONE.with(Action::Publish).with(Action::Read);
    assert_eq!((&tenancy.api_keys[0].tenant, tenancy.api_keys[0].actions), (&acme, expected));
    let peer = |who, tenant| SocketPeer { who, tenant };
    let peers = [peer(PeerId::User(33), beta.clone()), peer(PeerId::Group(34), Tenant::default())];
    assert_eq!(tenancy.peers, peers);

    let room = rules.of(&acme, "room:1").1;
    assert_eq!(room.history.count, 3);
    assert!(room.place.ends_with("f.toml:26"), "{}", room.place);
    let subscribe = Rights::NONE.with(Right::Subscribe);
    let access = Access { anonymous: subscribe, user: Rights::NONE.with(Right::Publish) };
    assert_eq!(room.access, access);
    assert_eq!(rules.of(&beta, "room:1").1.access, Access::CLOSED, "another tenant's own rule");
    let own = rules.of(&beta, "user:ann:inbox").1;
    assert_eq!(own.access.user, subscribe.with(Right::History), "a rule of all tenants");
    let quiet = rules.of(&acme, "quiet:1").1;
    assert!(!quiet.presence && quiet.access == Access::CLOSED);
}

#[test]
fn who_says_who_may_asks_who_they_are() {
    let loads = |toml: &str| {
        let Settings { tenancy, rules, dev, .. } = written(toml).load().settings;
        (tenancy.on, rules.of(&Tenant::default(), "a").1.access, dev)
    };
    assert_eq!(loads(""), (false, Access::OPEN, true));
    let subscribe = Access { anonymous: Rights::NONE.with(Right::Subscribe), user: Rights::NONE };
    let rule = "[[channels]]\nmatch = 'a'\nallow = { anonymous = ['subscribe'] }\n";
    assert_eq!(loads(rule), (true, subscribe, false));
    let other = rule.replace("'a'", "'b'");
    assert_eq!(loads(&other), (true, Access::CLOSED, false), "what no rule allows is refused");
    let key = format!("[[api_keys]]\nhash = '{}'\nactions = ['all']\n", hash());
    assert_eq!(loads(&key), (false, Access::OPEN, false), "a key for backends judges no client");
    assert_eq!(loads("[[tenants]]\nname = 'a'\n"), (true, Access::CLOSED, false));
}

#[test]
fn listeners_that_others_reach_are_fine_with_identity() {
    let toml = format!("listen = '0.0.0.0:1'\n[auth]\nsecret = '{SECRET}'\n");
    assert!(!written(&toml).load().settings.insecure);
    let key = format!("[[api_keys]]\nhash = '{}'\nactions = ['all']\n", hash());
    let api = format!("api = '0.0.0.0:1'\n{key}");
    assert!(!written(&api).load().settings.insecure);
    let clients = format!("listen = '0.0.0.0:1'\n{key}");
    refused(&clients, "1:10", "add [auth]");
}

/// J2, J20, G3: what would make tokens worth nothing does not start.
#[test]
fn keys_that_are_none_are_refused() {
    refused("[auth]\nsecret = 'short'\n", "2:10", "the secret has 5 bytes");
    let short = &SECRET[1..];
    refused(&format!("[auth]\nsecret = '{short}'\n"), "2:10", "the secret has 31 bytes");
    refused("[auth]\nrequire_exp = true\n", "1:1", "names no key");
    let two = format!("[auth]\nsecret = '{SECRET}'\njwks_url = 'https://a/b'\n");
    refused(&two, "3:12", "secret and jwks_url are both there");
    let confused = "[auth]\npublic_key_file = 'public.pem'\nalg = 'HS256'\n";
    refused(confused, "3:7", "HS256 is not for a public_key_file");
    let reverse = format!("[auth]\nsecret = '{SECRET}'\nalg = 'RS256'\n");
    refused(&reverse, "3:7", "RS256 is not for a secret");
    for alg in ["none", "NONE", "hs256", ""] {
        let toml = format!("[auth]\nsecret = '{SECRET}'\nalg = '{alg}'\n");
        refused(&toml, "3:7", "is not an algorithm of tokens");
    }
    let key = |line: &str| format!("[auth]\nalg = 'ES256'\n{line}\n");
    refused(&key("public_key_file = 'private.pem'"), "3:19", "holds a private key");
    refused(&key("public_key_file = 'text'"), "3:19", "neither a public key in PEM");
    refused(&key("public_key_file = 'broken.pem'"), "3:19", "no public key for ES256");
    let curve = key("public_key_file = 'public.pem'").replace("ES256", "ES384");
    refused(&curve, "3:19", "no public key for ES384");
    refused(&key("public_key_file = 'absent'"), "3:19", "cannot read absent");
    refused("[auth]\npublic_key_file = 'public.pem'\n", "2:19", "does not say what it is for");
    refused("[auth]\njwks_url = 'http://id.example.com/k'\n", "2:12", "use https");
    refused("[auth]\njwks_url = 'https://'\n", "2:12", "this is a URL");
    refused("[auth]\njwks_url = 'https://u:p@a/k'\n", "2:12", "a password");
    assert!(written("[auth]\njwks_url = 'http://127.0.0.1:9/k'\n").load().settings.tenancy.on);
    refused("[auth]\njwks_url = 'https://a b/k'\n", "2:12", "no URL");
    let vouched = |key: &str, file: &str| format!("[auth]\n{key}\njwks_ca_file = '{file}'\n");
    let url = "jwks_url = 'https://id.example.com/k'";
    let config = written(&vouched(url, "authority.pem")).load();
    assert_eq!(config.settings.tenancy.keys[0].authorities.as_deref(), Some(AUTHORITY.as_bytes()));
    refused(&vouched(url, "text"), "3:16", "has no certificate");
    refused(&vouched(url, "absent"), "3:16", "cannot read absent");
    let secret = format!("secret = '{SECRET}'");
    refused(&vouched(&secret, "authority.pem"), "3:16", "the key is a secret");
    let list = format!("[auth]\nsecret = '{SECRET}'\naudience = []\n");
    refused(&list, "3:12", "no token in");
}

#[test]
fn secrets_are_read_only_where_nobody_else_could_have() {
    let inline = written(&format!("[[tenants]]\nname = 'a'\nkeys = [{{ secret = '{SECRET}' }}]\n"));
    let path = inline.folder.path().join("f.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let found = inline.complaints();
    assert!(found[0].starts_with("f.toml:3:20: ") && found[0].contains("chmod 600"), "{found:?}");
    let named = written("[auth]\nsecret_file = 'secret'\n");
    let secret = named.folder.path().join("secret");
    fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
    let found = named.complaints();
    assert!(found[0].starts_with("f.toml:2:15: secret_file: secret holds a secret"), "{found:?}");
}

#[test]
fn cookies_are_not_for_every_page() {
    let toml = |origins| {
        format!("origins = {origins}\n[auth]\nsecret = '{SECRET}'\ncookie = {{ name = 't' }}\n")
    };
    refused(&toml("['*']"), "1:11", "lets every page in");
    assert!(
        written(&toml("['https://a.example']")).load().settings.tenancy.tokens.cookie.is_some()
    );
    let without = format!("origins = ['*']\n[auth]\nsecret = '{SECRET}'\n");
    assert!(written(&without).load().settings.tenancy.on);
    refused(&toml("[]").replace("'t'", "'a b'"), "4:19", "no cookie's name");
}

#[test]
fn tenants_are_checked_together() {
    let hash = hash();
    refused("[[tenants]]\nlimits = { channels = 1 }\n", "1:1", "no \"name\"");
    refused("[[tenants]]\nname = 'a:b'\n", "2:8", "letters, digits");
    refused("[[tenants]]\nname = 'a'\n[[tenants]]\nname = 'a'\n", "4:8", "f.toml:1 already");
    refused("[[tenants]]\nname = 'a'\n[[tenants.keys]]\nkid = 'x'\n", "3:1", "names no key");
    let shared = format!(
        "[auth]\nsecret = '{SECRET}'\n[[tenants]]\nname = 'a'\nkeys = [{{ secret = '{SECRET}' }}]\n"
    );
    refused(&shared, "5:20", "have the same key");
    refused("[[tenants]]\nname = 'a'\nlimts = {}\n", "3:1", "\"limits\"");
    refused("[[tenants]]\nname = 'a'\nlimits = { conections = 1 }\n", "3:12", "\"connections\"");
    refused("[[tenants]]\nname = 'a'\nlimits = { publish_rate = 0 }\n", "3:27", "between 1");
    let keys = |extra: &str| format!("[[api_keys]]\nhash = '{hash}'\nactions = ['all']\n{extra}");
    refused(&keys(&keys("")), "5:8", "the same key stands at");
    refused("[[api_keys]]\nactions = ['all']\n", "1:1", "no \"hash\"");
    refused(&format!("[[api_keys]]\nhash = '{hash}'\n"), "1:1", "may do nothing");
    refused(&keys("").replace("'all'", "'write'"), "3:12", "\"publish\"");
    let key = MadeKey::of(&[7; fanfare_identity::API_KEY_RANDOM_BYTES]).key;
    refused(&keys("").replace(&hash, &key), "2:8", "the key itself");
    let peer = "[[tenants]]\nname = 'acme'\n[[socket_peers]]\nuid = 1\ntenant = 'acmee'\n";
    refused(peer, "5:10", "did you mean \"acme\"?");
    refused(&peer.replace("uid = 1\n", ""), "3:1", "one user or one group");
    refused(&peer.replace("uid = 1\n", "uid = 1\ngid = 1\n"), "3:1", "one user or one group");
}

/// What `config check` prints names every place and no secret.
#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let hash = hash();
    let written = written(&format!(
        "api_key = 'plain-0123456789'\n[auth]\nsecret = '{SECRET}+'\n\
         [[tenants]]\nname = 'acme'\nlimits = {{ history_bytes = '1MB' }}\n\
         [[tenants.keys]]\nkid = 'k'\nsecret_file = 'secret'\n\
         [[tenants.api_keys]]\nhash = '{hash}'\nactions = ['publish']\n\
         [[tenants.channels]]\nmatch = 'r:*'\nallow = {{ user = ['publish'] }}\n"
    ));
    let config = written.load();
    let shown = config.effective_toml();
    for text in [shown.clone(), format!("{config:?}")] {
        for secret in [SECRET, "plain-0123456789", &hash[hash.len() - 64..]] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    for line in [
        "secret = \"***\"",
        "[[tenants]]",
        "name = \"acme\"",
        "limits = { history_bytes = \"1MB\" }",
        "hash = \"sha256:070707070707:***\"",
        "actions = [\"publish\"]",
        "allow = { anonymous = [], user = [\"publish\"] }",
        "f.toml:13",
    ] {
        assert!(shown.contains(line), "no {line} in\n{shown}");
    }
}

#[test]
fn more_keys_without_names_than_are_tried_are_warned_of() {
    let tenants = |count: usize, more: &str| {
        let one = |nth| {
            let secret = format!("key {nth:02} of tenants that have no names yet");
            format!("[[tenants]]\nname = 't{nth}'\n[[tenants.keys]]\nsecret = '{secret}'\n{more}")
        };
        let text: String = (0..count).map(one).collect();
        let warnings = written(&text).load().warnings();
        warnings.iter().filter(|it| it.contains("neither a kid nor an issuer")).count()
    };
    assert_eq!((tenants(8, ""), tenants(9, "")), (0, 1));
    assert_eq!(tenants(9, "issuer = 'x'\n"), 0);
}
