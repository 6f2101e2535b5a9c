//! Who is who, as a file has it: `[auth]`, `[[tenants]]`, `[[api_keys]]`, `[[socket_peers]]`.
//!
//! What is read here is settled together: names must be of tenants that there are, no key may be of
//! two of them, and files of keys are read beside the file that names them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use fanfare_identity::keys::KeySources;
use fanfare_identity::{Actions, ApiKey, ApiKeyHash};
use toml::de::DeValue;

use super::channels::{self, Rest, RuleDraft};
use super::document::Section;
use super::keys::{Beside, KeyDraft};
use super::meant;
use super::read;
use super::source::{Problem, Source, Sourced};
use super::units;
use crate::channel::Tenant;
use crate::tenancy::{PeerId, SocketPeer, Tenancy, TenantLimits, TenantSettings, TokenSettings};

/// A tenant's name: it stands in logs, metrics, records and file names.
const NAME_BYTES_MAX: usize = 64;
/// The longest age of connections that means anything.
const MAX_AGE_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Everything of it that a file said.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    /// `[auth]`.
    pub(super) auth: Option<AuthDraft>,
    tenants: Vec<TenantDraft>,
    api_keys: Vec<ApiKeyDraft>,
    peers: Vec<PeerDraft>,
}

/// `[auth]`.
#[derive(Debug)]
pub(super) struct AuthDraft {
    key: KeyDraft,
    settings: TokenSettings,
    source: Source,
}

/// One of `[[tenants]]`.
#[derive(Debug)]
struct TenantDraft {
    /// `None` where it has none, or one that was complained of.
    name: Option<Sourced<String>>,
    is_told: bool,
    limits: TenantLimits,
    keys: Vec<KeyDraft>,
    api_keys: Vec<ApiKeyDraft>,
    channels: Vec<RuleDraft>,
    source: Source,
    place: Arc<str>,
}

/// One of `[[api_keys]]`.
#[derive(Debug)]
struct ApiKeyDraft {
    hash: Sourced<ApiKeyHash>,
    actions: Actions,
    place: Arc<str>,
}

/// One of `[[socket_peers]]`.
#[derive(Debug)]
struct PeerDraft {
    who: PeerId,
    tenant: Sourced<String>,
}

/// What it comes to.
#[derive(Debug, Default)]
pub(super) struct SettledTenants {
    pub(super) tenancy: Tenancy,
    /// Each tenant's own rules.
    pub(super) rules: Vec<(Tenant, Vec<RuleDraft>)>,
}

impl Tenants {
    pub(super) fn read(root: &Section<'_, '_>, rest: Rest) -> Self {
        Self {
            auth: auth(root.has("auth"), root.section("auth")),
            tenants: root.sections("tenants").into_iter().map(|one| tenant(one, rest)).collect(),
            api_keys: root.sections("api_keys").into_iter().filter_map(api_key).collect(),
            peers: root.sections("socket_peers").into_iter().filter_map(peer).collect(),
        }
    }

    /// Where a secret stands in the file itself.
    pub(super) fn inline_secret(&self) -> Option<&Source> {
        let keys = self.tenants.iter().flat_map(|tenant| &tenant.keys);
        let mut all = self.auth.iter().map(|auth| &auth.key).chain(keys);
        all.find_map(KeyDraft::inline_secret)
    }

    /// The cookie that may hold a token, with where it is said.
    pub(super) fn cookie(&self) -> Option<&Source> {
        let auth = self.auth.as_ref()?;
        auth.settings.cookie.as_ref().map(|_| &auth.source)
    }

    /// Whether a file says anything by which clients are judged.
    pub(super) fn judges_clients(&self) -> bool {
        let any_allows = || self.tenants.iter().flat_map(|tenant| &tenant.channels);
        self.auth.is_some() || !self.tenants.is_empty() || any_allows().any(|r| r.allow.is_some())
    }

    /// Whether there is a key for backends.
    pub(super) fn has_api_keys(&self) -> bool {
        let own = self.tenants.iter().map(|tenant| tenant.api_keys.len()).sum::<usize>();
        own + self.api_keys.len() > 0
    }

    /// Judges it as a whole. `default` is the tenant that there always is; files of keys are in
    /// `folder` unless they say where.
    pub(super) fn settle(
        self,
        default: &Tenant,
        folder: &Path,
        problems: &mut Vec<Problem>,
    ) -> SettledTenants {
        let mut settled = SettledTenants::default();
        let names = names(&self.tenants, problems);
        let any_keys = self.tenants.iter().any(|tenant| !tenant.keys.is_empty());
        let mut api_keys: Vec<(Tenant, ApiKeyDraft)> =
            self.api_keys.into_iter().map(|key| (default.clone(), key)).collect();
        let tenancy = &mut settled.tenancy;
        let require_exp = self.auth.as_ref().is_none_or(|auth| auth.settings.require_exp);
        let beside = &mut Beside { folder, keys: KeySources::default(), require_exp };
        if let Some(auth) = self.auth {
            tenancy.tokens = auth.settings;
            // Where tenants have their keys, [auth] may say no more than how tokens come.
            if auth.key.has_key() || !any_keys {
                tenancy.keys.extend(auth.key.settle(default, beside, problems));
            }
        }
        for draft in self.tenants {
            let Some(name) = draft.name else { continue };
            let tenant = Tenant::new(&name.value);
            let keys = draft.keys.into_iter();
            tenancy.keys.extend(keys.filter_map(|key| key.settle(&tenant, beside, problems)));
            api_keys.extend(draft.api_keys.into_iter().map(|key| (tenant.clone(), key)));
            settled.rules.push((tenant.clone(), draft.channels));
            let TenantDraft { limits, place, .. } = draft;
            tenancy.tenants.push(TenantSettings { tenant, limits, place });
        }
        tenancy.api_keys = unique(api_keys, problems);
        let peers = self.peers.into_iter();
        tenancy.peers = peers.filter_map(|peer| peer.settle(default, &names, problems)).collect();
        settled
    }
}

/// The names of the tenants; two of one name are told.
fn names(tenants: &[TenantDraft], problems: &mut Vec<Problem>) -> Vec<String> {
    let mut names: HashMap<&str, &Arc<str>> = HashMap::new();
    for tenant in tenants {
        let Some(name) = &tenant.name else {
            if tenant.is_told {
                continue;
            }
            let what = "this tenant has no \"name\": write name = \"acme\", for example";
            problems.push(Problem::new(tenant.source.clone(), what));
            continue;
        };
        match names.get(&*name.value) {
            Some(place) => {
                let what = format!(
                    "name: the tenant \"{}\" stands at {place} already: put all of it there",
                    name.value
                );
                problems.push(Problem::new(name.source.clone(), what));
            }
            None => {
                names.insert(&name.value, &tenant.place);
            }
        }
    }
    tenants.iter().filter_map(|tenant| Some(tenant.name.as_ref()?.value.clone())).collect()
}

/// The keys of backends; one that is there twice is told, as only one of the two would count.
fn unique(drafts: Vec<(Tenant, ApiKeyDraft)>, problems: &mut Vec<Problem>) -> Vec<ApiKey> {
    let mut places: HashMap<String, Arc<str>> = HashMap::new();
    let mut keys = Vec::new();
    for (tenant, ApiKeyDraft { hash, actions, place }) in drafts {
        let text = hash.value.to_string();
        if let Some(other) = places.insert(text, Arc::clone(&place)) {
            let what = format!(
                "hash: the same key stands at {other}: make one for each (`fanfare api-key`)"
            );
            problems.push(Problem::new(hash.source, what));
            continue;
        }
        keys.push(ApiKey { tenant, actions, hash: hash.value, place: (&*place).into() });
    }
    keys
}

fn auth(is_there: bool, section: Section<'_, '_>) -> Option<AuthDraft> {
    let key = KeyDraft::read(&section);
    let usual = TokenSettings::default();
    let switch = |key, usual| section.value(key, read::switch).map_or(usual, |said| said.value);
    let settings = TokenSettings {
        require_exp: switch("require_exp", usual.require_exp),
        query_token: switch("query_token", usual.query_token),
        max_age_ms: section.value("max_age", max_age).map(|said| said.value),
        cookie: cookie(section.section("cookie")),
    };
    let source = section.source();
    section.end();
    is_there.then_some(AuthDraft { key, settings, source })
}

fn max_age(value: &DeValue<'_>) -> Result<u64, String> {
    match read::time(value)? {
        age @ 1_000..=MAX_AGE_MS_MAX => Ok(age),
        age => Err(format!("{} is not between 1s and a year", units::millis_text(age))),
    }
}

/// `[auth.cookie]`: there is one where it has a name.
fn cookie(section: Section<'_, '_>) -> Option<Box<str>> {
    let name = section.value("name", |value| {
        let text = read::text(value)?;
        // RFC 6265, section 4.1.1: a cookie's name is a token (RFC 9110, section 5.6.2).
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_token) {
            return Err("this is no cookie's name: letters, digits, - and _".into());
        }
        Ok(text)
    });
    section.end();
    name.map(|said| said.value.into())
}

fn tenant(section: Section<'_, '_>, rest: Rest) -> TenantDraft {
    let name = section.value("name", tenant_name);
    let is_told = name.is_none() && section.has("name");
    let limits = limits(section.section("limits"));
    let keys = section.sections("keys").into_iter().map(|key| {
        let draft = KeyDraft::read(&key);
        key.end();
        draft
    });
    let keys = keys.collect();
    let api_keys = section.sections("api_keys").into_iter().filter_map(api_key).collect();
    let channels = channels::read_all(section.sections("channels"), rest);
    let (source, place) = (section.source(), section.place());
    section.end();
    TenantDraft { name, is_told, limits, keys, api_keys, channels, source, place }
}

fn tenant_name(value: &DeValue<'_>) -> Result<String, String> {
    let text = read::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_plain) {
        return Err(format!(
            "a tenant's name has 1 to {NAME_BYTES_MAX} letters, digits, \"-\", \"_\" and \".\""
        ));
    }
    Ok(text)
}

fn limits(section: Section<'_, '_>) -> TenantLimits {
    let count = |key, min| {
        section.value(key, |value| read::between(value, min, 1 << 32, "")).map(|said| said.value)
    };
    let bytes = |key| {
        let said = section.value(key, |value| read::bytes_between(value, 1 << 10, 1 << 40, ""));
        said.map(|said| said.value)
    };
    let limits = TenantLimits {
        connections: count("connections", 0),
        channels: count("channels", 0),
        subscriptions: count("subscriptions", 0),
        publish_rate: count("publish_rate", 1),
        publish_burst: count("publish_burst", 1),
        delivery_bytes: bytes("delivery_bytes"),
        history_bytes: bytes("history_bytes"),
    };
    section.end();
    limits
}

fn api_key(section: Section<'_, '_>) -> Option<ApiKeyDraft> {
    let hash = section.value("hash", |value| ApiKeyHash::parse(&read::text(value)?));
    let actions = section.list("actions", |value| Actions::parse(&read::text(value)?));
    if hash.is_none() && !section.has("hash") {
        section.complain("this key has no \"hash\": `fanfare api-key` makes a key and its hash");
    }
    if actions.is_none() && !section.has("actions") {
        section.complain(
            "this key may do nothing: write actions = [\"publish\"], or [\"all\"] for everything",
        );
    }
    let place = section.place();
    section.end();
    let all = actions?.value.into_iter().fold(Actions::NONE, Actions::and);
    Some(ApiKeyDraft { hash: hash?, actions: all, place })
}

fn peer(section: Section<'_, '_>) -> Option<PeerDraft> {
    let uid = section.value("uid", read::id).map(|said| said.value);
    let gid = section.value("gid", read::id).map(|said| said.value);
    let tenant = section.value("tenant", tenant_name);
    let told = (!section.has("uid") || uid.is_some()) && (!section.has("gid") || gid.is_some());
    let who = match (uid, gid) {
        (Some(uid), None) => Some(PeerId::User(uid)),
        (None, Some(gid)) => Some(PeerId::Group(gid)),
        _ if !told => None,
        _ => {
            section.complain(
                "a peer is one user or one group: write uid = 33 or gid = 33, as `id` prints them",
            );
            None
        }
    };
    if tenant.is_none() && !section.has("tenant") {
        section.complain("this peer has no \"tenant\": whose channels does it publish to?");
    }
    section.end();
    Some(PeerDraft { who: who?, tenant: tenant? })
}

impl PeerDraft {
    fn settle(
        self,
        default: &Tenant,
        names: &[String],
        problems: &mut Vec<Problem>,
    ) -> Option<SocketPeer> {
        let Sourced { value: name, source } = self.tenant;
        if name == default.as_str() || names.contains(&name) {
            return Some(SocketPeer { who: self.who, tenant: Tenant::new(&name) });
        }
        let meant = meant::nearest(&name, names.iter(), |one| one);
        let hint = meant.map_or(String::new(), |meant| format!("; did you mean \"{meant}\"?"));
        let what = format!("tenant: there is no tenant \"{name}\" in [[tenants]]{hint}");
        problems.push(Problem::new(source, what));
        None
    }
}
