//! What a configuration says of tenants: whose keys sign tokens, which backends publish for whom,
//! and what each tenant may use.
//!
//! It is what was read, whole and judged, and nothing runs on it: whoever starts a node makes of it
//! what checks tokens and requests. No secret in it is ever shown.

use std::fmt;
use std::sync::Arc;

use fanfare_identity::keys::{Algorithm, EndpointId, JwkSet, Key, KeyPolicy, KeySources};
use fanfare_identity::{Actions, ApiKey, ApiKeyHash};

use crate::channel::Tenant;

/// Everything that a configuration says of tenants and tokens.
#[derive(Clone, Debug, Default)]
pub struct Tenancy {
    /// Whether clients are asked who they are: there is `[auth]`, a tenant, or a rule that says who
    /// may. Then nothing is allowed that neither a grant nor a rule allows.
    pub on: bool,
    /// How tokens come and how long they hold.
    pub tokens: TokenSettings,
    /// The keys that sign tokens, of all tenants.
    pub keys: Vec<KeySpec>,
    /// The tenants, beside the one that there always is; that one too where it has limits.
    pub tenants: Vec<TenantSettings>,
    /// Keys of backends, by their hashes.
    pub api_keys: Vec<ApiKey>,
    /// Whose channels publishers on the Unix socket write to, by their user or group; the first
    /// that matches counts.
    pub peers: Vec<SocketPeer>,
}

impl Tenancy {
    /// What each tenant may use.
    pub fn limits(&self) -> Arc<[(Tenant, TenantLimits)]> {
        self.tenants.iter().map(|it| (it.tenant.clone(), it.limits)).collect()
    }
}

/// A key of backends in plain words, as a configuration has it without ceremony. It may do
/// everything, for the tenant that there always is.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainApiKey(Box<str>);

impl PlainApiKey {
    /// What backends send.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As one among the others.
    pub fn hashed(&self, tenant: Tenant) -> ApiKey {
        let (actions, hash) = (Actions::ALL, ApiKeyHash::of_plain(&self.0));
        ApiKey { tenant, actions, hash, place: "api_key".into() }
    }
}

impl<T: Into<Box<str>>> From<T> for PlainApiKey {
    fn from(key: T) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for PlainApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainApiKey(***)")
    }
}

/// How tokens come and how long they hold: `[auth]`, for all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Whether a token needs an end (`exp`).
    pub require_exp: bool,
    /// Whether a token may stand in the URL, where proxies log it.
    pub query_token: bool,
    /// The longest that a connection lives, in milliseconds; `None` for as long as its token.
    pub max_age_ms: Option<u64>,
    /// The cookie that may hold a token.
    pub cookie: Option<Box<str>>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self { require_exp: true, query_token: false, max_age_ms: None, cookie: None }
    }
}

/// A key that signs tokens, or where such keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Whose tokens it signs.
    pub tenant: Tenant,
    /// What tokens may call it.
    pub kid: Option<Box<str>>,
    /// The one algorithm that it is for; `None` where its key set says.
    pub alg: Option<Algorithm>,
    /// The key.
    pub material: KeyMaterial,
    /// What `iss` has to be.
    pub issuer: Option<Box<str>>,
    /// One of these has to be in `aud`; none where it does not matter.
    pub audiences: Box<[Box<str>]>,
    /// Whose certificates its endpoint may show, as a text in PEM; `None` for those that browsers
    /// trust.
    pub authorities: Option<Box<[u8]>>,
    /// Where it stands: `fanfare.toml:12`.
    pub place: Arc<str>,
}

impl KeySpec {
    /// Adds it to where keys come from, and gives its endpoint where it has one.
    ///
    /// # Errors
    /// A sentence: it is no key of its algorithm, too weak, or another tenant's too.
    pub fn add_to(
        &self,
        sources: &mut KeySources,
        require_exp: bool,
    ) -> Result<Option<EndpointId>, String> {
        let (tenant, issuer) = (self.tenant.clone(), self.issuer.clone());
        let policy = KeyPolicy { tenant, issuer, audiences: self.audiences.clone(), require_exp };
        let (policy, kid) = (Arc::new(policy), self.kid.as_deref());
        match &self.material {
            KeyMaterial::Secret(secret) => {
                let key = Key::secret(self.alg.unwrap_or(Algorithm::Hs256), secret)?;
                sources.add_key(&policy, kid, key)?;
            }
            KeyMaterial::PublicKey(text) if text.trim_ascii_start().starts_with(b"{") => {
                sources.add_set(&policy, JwkSet::read(text, self.alg)?)?;
            }
            KeyMaterial::PublicKey(text) => {
                let alg = self.alg.ok_or("a key in PEM does not say what it is for: say alg")?;
                sources.add_key(&policy, kid, Key::pem(alg, text)?)?;
            }
            KeyMaterial::Jwks(_) => return Ok(Some(sources.add_endpoint(&policy, self.alg))),
        }
        Ok(None)
    }
}

/// What signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A secret that whoever makes tokens shares.
    Secret(Box<[u8]>),
    /// The text of a file: PEM, or a set of keys in JSON.
    PublicKey(Box<[u8]>),
    /// The address of a set of keys.
    Jwks(Box<str>),
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(***)"),
            Self::PublicKey(text) => write!(f, "PublicKey({} bytes)", text.len()),
            Self::Jwks(url) => write!(f, "Jwks({url})"),
        }
    }
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Who it is.
    pub tenant: Tenant,
    /// What it may use.
    pub limits: TenantLimits,
    /// Where it stands: `fanfare.toml:12`.
    pub place: Arc<str>,
}

/// What one tenant may use, within what the node may; `None` for no bound of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Connections of clients.
    pub connections: Option<u64>,
    /// Channels that were published to and are not forgotten.
    pub channels: Option<u64>,
    /// Subscriptions of all its connections together.
    pub subscriptions: Option<u64>,
    /// Messages published in a second.
    pub publish_rate: Option<u64>,
    /// Messages that may come at once, beyond that rate.
    pub publish_burst: Option<u64>,
    /// Bytes sent to its clients in a second.
    pub delivery_bytes: Option<u64>,
    /// Bytes of history.
    pub history_bytes: Option<u64>,
}

/// Publishers on the Unix socket of one user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPeer {
    /// Who they are.
    pub who: PeerId,
    /// Whose channels they write to.
    pub tenant: Tenant,
}

/// What the kernel says of a peer of the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerId {
    /// Its user's number.
    User(u32),
    /// The number of its process's own group, not of the others that it may be in.
    Group(u32),
}
