//! Rules, keys and tenants as TOML: what counts, with where it stands, and never a secret.

use std::fmt::Write;

use fanfare_identity::keys::Algorithm;
use fanfare_identity::{Access, ApiKey, Rights};

use super::show::{history, list, quoted, window};
use super::units::{bytes_text, millis_text};
use crate::node::Settings;
use crate::rule::Rule;
use crate::tenancy::{KeyMaterial, KeySpec, PeerId, TenantLimits, TenantSettings, TokenSettings};

/// What stands where a secret is.
const HIDDEN: &str = "***";

/// `[[channels]]` of all tenants, `[auth]`, `[[api_keys]]`, `[[socket_peers]]` and `[[tenants]]`,
/// each where there are any.
pub(super) fn page(settings: &Settings) -> String {
    let mut page = String::new();
    let common: Vec<_> = settings.rules.common().collect();
    for rule in &common[..common.len() - 1] {
        put_rule(&mut page, "channels", rule, settings.tenancy.on);
    }
    let tenancy = &settings.tenancy;
    let of_default = |key: &&KeySpec| key.tenant.is_default();
    let named = |name: &str| tenancy.tenants.iter().any(|one| one.tenant.as_str() == name);
    let (keys, api_keys) = (tenancy.keys.iter(), tenancy.api_keys.iter());
    // A tenant that is listed has its keys there.
    let is_listed = named("default");
    let in_auth: Vec<_> = keys.clone().filter(of_default).filter(|_| !is_listed).collect();
    if tenancy.tokens != TokenSettings::default() || !in_auth.is_empty() {
        page.push_str("\n[auth]\n");
        in_auth.into_iter().for_each(|key| put_key(&mut page, key));
        put_tokens(&mut page, &tenancy.tokens);
    }
    for key in api_keys.clone().filter(|key| key.tenant.is_default() && !is_listed) {
        put_api_key(&mut page, "api_keys", key);
    }
    for peer in &tenancy.peers {
        let (word, id) = match peer.who {
            PeerId::User(id) => ("uid", id),
            PeerId::Group(id) => ("gid", id),
        };
        let tenant = quoted(peer.tenant.as_str());
        put(&mut page, &format!("\n[[socket_peers]]\n{word} = {id}\ntenant = {tenant}"));
    }
    for TenantSettings { tenant, limits, place } in &tenancy.tenants {
        put(&mut page, &format!("\n[[tenants]] # {place}\nname = {}", quoted(tenant.as_str())));
        put_limits(&mut page, limits);
        for key in keys.clone().filter(|key| key.tenant == *tenant) {
            put(&mut page, "\n[[tenants.keys]]");
            put_key(&mut page, key);
        }
        for key in api_keys.clone().filter(|key| key.tenant == *tenant) {
            put_api_key(&mut page, "tenants.api_keys", key);
        }
        for rule in settings.rules.own(tenant) {
            put_rule(&mut page, "tenants.channels", rule, true);
        }
    }
    page
}

fn put(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a String takes all");
}

fn put_rule(page: &mut String, table: &str, rule: &Rule, with_access: bool) {
    let pattern = quoted(rule.pattern.as_str());
    let (history, window) = (history(rule.history), window(rule.window));
    let (slow, place) = (rule.slow.as_str(), &rule.place);
    put(page, &format!("\n[[{table}]] # {place}\nmatch = {pattern}"));
    put(page, &format!("history = {history}\nwindow = {window}\nslow = \"{slow}\""));
    if with_access {
        put(page, &format!("allow = {}", allow(rule.access)));
    }
    if !rule.presence {
        put(page, "presence = false");
    }
}

/// What a rule allows, as it would be written.
pub(super) fn allow(access: Access) -> String {
    let rights = |rights: Rights| {
        let names: Vec<_> = rights.iter().map(|right| right.as_str().to_owned()).collect();
        list(&names)
    };
    format!("{{ anonymous = {}, user = {} }}", rights(access.anonymous), rights(access.user))
}

fn put_key(page: &mut String, key: &KeySpec) {
    let KeySpec { kid, alg, material, issuer, audiences, authorities, place, .. } = key;
    let (word, value) = match material {
        KeyMaterial::Secret(_) => ("secret", HIDDEN),
        KeyMaterial::PublicKey(_) => ("public_key_file", "(read)"),
        KeyMaterial::Jwks(url) => ("jwks_url", &**url),
    };
    put(page, &format!("{word} = {} # {place}", quoted(value)));
    let of = |word: &str, value: Option<&str>| {
        value.map(|value| format!("{word} = {}\n", quoted(value))).unwrap_or_default()
    };
    page.push_str(&of("alg", alg.map(Algorithm::as_str)));
    page.push_str(&of("kid", kid.as_deref()));
    page.push_str(&of("issuer", issuer.as_deref()));
    page.push_str(&of("jwks_ca_file", authorities.as_ref().map(|_| "(read)")));
    if !audiences.is_empty() {
        let audiences: Vec<_> = audiences.iter().map(ToString::to_string).collect();
        put(page, &format!("audience = {}", list(&audiences)));
    }
}

fn put_tokens(page: &mut String, tokens: &TokenSettings) {
    let TokenSettings { require_exp, query_token, max_age_ms, cookie } = tokens;
    put(page, &format!("require_exp = {require_exp}\nquery_token = {query_token}"));
    if let Some(age) = max_age_ms {
        put(page, &format!("max_age = \"{}\"", millis_text(*age)));
    }
    if let Some(name) = cookie {
        put(page, &format!("cookie = {{ name = {} }}", quoted(name)));
    }
}

/// The id of a key is no secret: by it logs name the key.
fn put_api_key(page: &mut String, table: &str, key: &ApiKey) {
    let ApiKey { hash, actions, place, .. } = key;
    let hash = quoted(&format!("sha256:{}:{HIDDEN}", hash.id()));
    let actions: Vec<_> = actions.words().into_iter().map(str::to_owned).collect();
    put(page, &format!("\n[[{table}]] # {place}\nhash = {hash}\nactions = {}", list(&actions)));
}

fn put_limits(page: &mut String, limits: &TenantLimits) {
    let plain = |number: Option<u64>| number.map(|number| number.to_string());
    let bytes = |number: Option<u64>| number.map(|number| quoted(&bytes_text(number)));
    let rows = [
        ("connections", plain(limits.connections)),
        ("channels", plain(limits.channels)),
        ("subscriptions", plain(limits.subscriptions)),
        ("publish_rate", plain(limits.publish_rate)),
        ("publish_burst", plain(limits.publish_burst)),
        ("delivery_bytes", bytes(limits.delivery_bytes)),
        ("history_bytes", bytes(limits.history_bytes)),
    ];
    let said: Vec<_> =
        rows.into_iter().filter_map(|(word, value)| Some(format!("{word} = {}", value?))).collect();
    if !said.is_empty() {
        put(page, &format!("limits = {{ {} }}", said.join(", ")));
    }
}
