//! Which key a token was signed by, and so whose it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::jwk_set::NamedKey;
use super::key::Key;
use super::policy::KeyPolicy;
use super::sources::EndpointId;
use crate::identity::Identity;
use crate::refusal::{TokenRefusal, quoted};
use crate::token::{Claims, Envelope, Header, issuer_hint};

/// Signatures that are checked for one token, at most, whoever shows it: each costs 2 to 60 us, and
/// one of ES384 0.9 ms (`identity/benches/verify.rs`).
pub const TRIED_MAX: usize = 8;
/// An endpoint is asked for a key that it lacks no more often than this.
pub const ASK_AGAIN_S: u64 = 10;

/// The keys of all tenants at one moment. Nothing in it changes, so threads share it by an `Arc`.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<HeldKey>,
    endpoints: Vec<EndpointState>,
    /// Places in `keys`, by algorithm.
    index: [AlgorithmIndex; Algorithm::ALL.len()],
}

/// Places of one algorithm's keys.
#[derive(Debug, Default)]
struct AlgorithmIndex {
    named: HashMap<Box<str>, Vec<u32>>,
    nameless: Vec<u32>,
}

/// One key and all that its tokens are judged by.
#[derive(Clone, Debug)]
pub(super) struct HeldKey {
    pub policy: Arc<KeyPolicy>,
    pub key: Arc<Key>,
    /// The last second at which it is good, of one that its endpoint has ceased to publish.
    pub until_s: Option<u64>,
    kid: Option<Box<str>>,
    endpoint: Option<EndpointId>,
}

/// What is known of an endpoint beside its keys.
#[derive(Clone, Debug)]
pub(super) struct EndpointState {
    pub policy: Arc<KeyPolicy>,
    pub only: Option<Algorithm>,
    /// When it was asked last, and whether in vain.
    pub asked_s: Option<u64>,
    pub failed: bool,
}

/// What a token is.
#[derive(Debug)]
pub enum Verdict {
    /// It was signed by a key of ours, and is good now.
    Known(Box<Identity>),
    /// It is not, and this is why.
    Refused(TokenRefusal),
    /// The key that it names is none that is known, and an endpoint may have it that was not asked
    /// of late. Nothing of the token is believed: once the endpoint was asked, whatever came of
    /// that, verify it anew.
    Pending(PendingKey),
}

/// What a token waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingKey {
    /// Whom to ask.
    pub endpoint: EndpointId,
}

impl KeySet {
    pub(super) fn new(keys: Vec<HeldKey>, endpoints: Vec<EndpointState>) -> Self {
        let mut set = Self { keys, endpoints, index: Default::default() };
        for (place, held) in set.keys.iter().enumerate() {
            let index = &mut set.index[held.key.algorithm() as usize];
            let places = match &held.kid {
                Some(kid) => index.named.entry(kid.clone()).or_default(),
                None => &mut index.nameless,
            };
            places.push(place as u32);
        }
        set
    }

    /// Whether no token could ever be believed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.endpoints.is_empty()
    }

    /// Who a token says its bearer is, if that can be believed at `now_s` seconds since 1970. The
    /// work is bounded by the length that a token may have and by eight signatures; nothing waits.
    pub fn verify(&self, token: &[u8], now_s: u64) -> Verdict {
        self.judge(token, now_s).unwrap_or_else(Verdict::Refused)
    }

    fn judge(&self, token: &[u8], now_s: u64) -> Result<Verdict, TokenRefusal> {
        let envelope = Envelope::split(token)?;
        let header = Header::read(&envelope.header()?)?;
        let signature = envelope.signature()?;
        let (tried, could_be) = self.candidates(&header, &envelope, now_s);
        let mut refusal = None;
        for held in &tried {
            if !held.key.verifies(envelope.signed, &signature) {
                continue;
            }
            let claims = envelope.claims().and_then(|json| Claims::read(&json));
            match claims.and_then(|claims| claims.judged(&held.policy, now_s)) {
                Ok(identity) => return Ok(Verdict::Known(Box::new(identity))),
                // One key may be in several tenants' sets, by policies that differ.
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        match self.elsewhere(&header, &envelope, now_s) {
            Elsewhere::Ask(endpoint) => Ok(Verdict::Pending(PendingKey { endpoint })),
            Elsewhere::Silent => Err(TokenRefusal::no_keys(format!(
                "no key for {} {} is known, and the endpoint that may have it could not be asked",
                header.algorithm,
                called(&header)
            ))),
            Elsewhere::Nowhere => Err(unsigned(&header, tried.len(), could_be)),
        }
    }

    /// The keys that may have signed a token, and how many there were before some were left out:
    /// those that it can mean by name and algorithm, those of the issuer first that it says it has.
    fn candidates(
        &self,
        header: &Header,
        envelope: &Envelope<'_>,
        now_s: u64,
    ) -> (Vec<&HeldKey>, usize) {
        let AlgorithmIndex { named, nameless } = &self.index[header.algorithm as usize];
        let of_name =
            header.kid.as_ref().map(|kid| named.get(kid).map_or(&[][..], |places| places));
        let places: Vec<&u32> = match of_name {
            Some(of_name) => of_name.iter().chain(nameless).collect(),
            None => nameless.iter().chain(named.values().flatten()).collect(),
        };
        let held = places.into_iter().map(|place| &self.keys[*place as usize]);
        let mut held: Vec<_> = held.filter(|held| held.is_good(now_s)).collect();
        let could_be = held.len();
        if could_be > TRIED_MAX {
            let issuer = hint(envelope);
            held.retain(|held| held.policy.issuer.is_none() || held.policy.issuer == issuer);
            held.sort_by_key(|held| held.policy.issuer.is_none());
            held.truncate(TRIED_MAX);
        }
        (held, could_be)
    }

    /// Whether an endpoint may have a key for this token that is not known here.
    fn elsewhere(&self, header: &Header, envelope: &Envelope<'_>, now_s: u64) -> Elsewhere {
        if header.algorithm.is_symmetric() || self.endpoints.is_empty() {
            return Elsewhere::Nowhere; // nobody publishes a secret
        }
        let issuer = hint(envelope);
        let mut silent = false;
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let id = EndpointId(place as u32);
            let takes = endpoint.only.is_none_or(|only| only == header.algorithm)
                && (endpoint.policy.issuer.is_none() || endpoint.policy.issuer == issuer);
            if !takes || self.has(id, header, now_s) {
                continue;
            }
            let asked_of_late = |asked_s: u64| asked_s.abs_diff(now_s) < ASK_AGAIN_S;
            if !endpoint.asked_s.is_some_and(asked_of_late) {
                return Elsewhere::Ask(id);
            }
            silent |= endpoint.failed;
        }
        if silent { Elsewhere::Silent } else { Elsewhere::Nowhere }
    }

    /// Whether a key that a token names is one that this endpoint has given: then it is not asked
    /// again for a signature that is not that key's.
    fn has(&self, endpoint: EndpointId, header: &Header, now_s: u64) -> bool {
        let Some(kid) = &header.kid else { return false };
        let named = &self.index[header.algorithm as usize].named;
        named.get(kid).into_iter().flatten().any(|place| {
            let held = &self.keys[*place as usize];
            held.endpoint == Some(endpoint) && held.is_good(now_s)
        })
    }
}

impl HeldKey {
    pub(super) fn new(
        policy: &Arc<KeyPolicy>,
        named: NamedKey,
        endpoint: Option<EndpointId>,
    ) -> Self {
        let NamedKey { kid, key } = named;
        Self { policy: Arc::clone(policy), key: Arc::new(key), until_s: None, kid, endpoint }
    }

    /// The same, good until then, unless its end was settled before.
    pub(super) fn retired(self, until_s: u64) -> Self {
        Self { until_s: self.until_s.or(Some(until_s)), ..self }
    }

    /// The same key at an endpoint of another configuration.
    pub(super) fn moved(&self, policy: &Arc<KeyPolicy>, endpoint: EndpointId) -> Self {
        Self { policy: Arc::clone(policy), endpoint: Some(endpoint), ..self.clone() }
    }

    pub(super) fn is_good(&self, now_s: u64) -> bool {
        self.until_s.is_none_or(|until_s| now_s <= until_s)
    }

    /// Whether the other makes this one superfluous, within one source.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.key.is_same(&other.key)
    }
}

/// Where the key of a token could be that none of ours has signed.
enum Elsewhere {
    Ask(EndpointId),
    /// At an endpoint that was asked a moment ago, in vain.
    Silent,
    Nowhere,
}

fn hint(envelope: &Envelope<'_>) -> Option<Box<str>> {
    let claims = envelope.claims().ok()?;
    issuer_hint(&claims).map(String::into_boxed_str)
}

/// What the token calls its key, for a sentence.
fn called(header: &Header) -> String {
    match &header.kid {
        Some(kid) => format!("called {}", quoted(kid)),
        None => "without a name".into(),
    }
}

/// Why no key's signature is on the token.
fn unsigned(header: &Header, tried: usize, could_be: usize) -> TokenRefusal {
    let (algorithm, called) = (header.algorithm, called(header));
    TokenRefusal::invalid(match (tried, could_be) {
        (0, _) => {
            format!("no key here is for {algorithm} and {called}, as the token says of its own")
        }
        (1, 1) => format!("the signature is not that of the key for {algorithm} {called}"),
        (tried, all) if tried == all => {
            format!("the signature is that of none of the {all} keys for {algorithm} {called}")
        }
        (tried, all) => format!(
            "{all} keys for {algorithm} could be meant, more than the {tried} that are tried: \
             tokens need a `kid`, or keys an `issuer`"
        ),
    })
}
