//! Where keys come from, and what has come from there so far.

use std::sync::Arc;

use super::algorithm::Algorithm;
use super::jwk_set::{JwkSet, NamedKey, SET_KEYS_MAX};
use super::key::Key;
use super::policy::KeyPolicy;
use super::set::{EndpointState, HeldKey, KeySet};

/// For how long a key is good that its endpoint has ceased to publish: tokens that were signed by
/// it a moment ago are on their way.
pub const GRACE_S: u64 = 60;
/// Keys of one endpoint that are kept until their grace has passed, at most.
const RETIRED_MAX: usize = SET_KEYS_MAX;

/// An address that key sets are fetched from, by its place among those that were configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(pub(super) u32);

impl EndpointId {
    /// Its place among the endpoints, in the order in which they were added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All sources of keys that a configuration names, with the keys that they have now. One part of
/// the program owns it, and gives the others a [`KeySet`] whenever something has changed.
#[derive(Debug, Default)]
pub struct KeySources {
    stated: Vec<HeldKey>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    state: EndpointState,
    keys: Vec<HeldKey>,
}

impl KeySources {
    /// A key that the configuration has. Tokens may call it `kid`; one without a name is tried for
    /// every token of its algorithm.
    ///
    /// # Errors
    /// A sentence: another tenant has the same key, and nothing would tell their tokens apart.
    pub fn add_key(
        &mut self,
        policy: &Arc<KeyPolicy>,
        kid: Option<&str>,
        key: Key,
    ) -> Result<(), String> {
        self.refuse_shared(policy, &key)?;
        self.stated.push(HeldKey::new(policy, NamedKey { kid: kid.map(Box::from), key }, None));
        Ok(())
    }

    /// All keys of a set that the configuration has.
    ///
    /// # Errors
    /// As [`KeySources::add_key`]; nothing is added then.
    pub fn add_set(&mut self, policy: &Arc<KeyPolicy>, set: JwkSet) -> Result<(), String> {
        set.keys.iter().try_for_each(|named| self.refuse_shared(policy, &named.key))?;
        self.stated.extend(set.keys.into_iter().map(|named| HeldKey::new(policy, named, None)));
        Ok(())
    }

    /// An address that key sets are fetched from. It has no key until [`KeySources::answered`].
    /// `only` is the one algorithm that its keys are used for, if the configuration says one.
    pub fn add_endpoint(&mut self, policy: &Arc<KeyPolicy>, only: Option<Algorithm>) -> EndpointId {
        let policy = Arc::clone(policy);
        let state = EndpointState { policy, only, asked_s: None, failed: false };
        self.endpoints.push(Endpoint { state, keys: Vec::new() });
        EndpointId(self.endpoints.len() as u32 - 1)
    }

    /// The one algorithm that an endpoint's keys are used for, if there is one: for
    /// [`JwkSet::read`].
    pub fn only_algorithm(&self, endpoint: EndpointId) -> Option<Algorithm> {
        self.endpoints[endpoint.index()].state.only
    }

    /// An endpoint has given this set, at `now_s` seconds since 1970. Keys that it had and has no
    /// more are good for [`GRACE_S`] from now.
    pub fn answered(&mut self, endpoint: EndpointId, set: JwkSet, now_s: u64) {
        let id = endpoint;
        let Endpoint { state, keys } = &mut self.endpoints[id.index()];
        (state.asked_s, state.failed) = (Some(now_s), false);
        let fresh = set.keys.into_iter().map(|named| HeldKey::new(&state.policy, named, Some(id)));
        let fresh: Vec<_> = fresh.collect();
        let mut retired: Vec<_> = keys
            .drain(..)
            .filter(|old| old.is_good(now_s) && !fresh.iter().any(|new| new.is_same(old)))
            .map(|old| old.retired(now_s.saturating_add(GRACE_S)))
            .collect();
        // Those that have gone last stand first, and so go last.
        retired.sort_by_key(|old| std::cmp::Reverse(old.until_s));
        retired.truncate(RETIRED_MAX);
        *keys = fresh;
        keys.append(&mut retired);
    }

    /// An endpoint was asked in vain, at `now_s`. Its keys stay.
    pub fn failed(&mut self, endpoint: EndpointId, now_s: u64) {
        let state = &mut self.endpoints[endpoint.index()].state;
        (state.asked_s, state.failed) = (Some(now_s), true);
    }

    /// Takes over what other sources know of an endpoint of theirs, which is the same by another
    /// configuration: nothing where it is used for another algorithm.
    pub fn keep(&mut self, endpoint: EndpointId, others: &Self, before: EndpointId) {
        let Endpoint { state, keys } = &mut self.endpoints[endpoint.index()];
        let old = &others.endpoints[before.index()];
        if state.only == old.state.only && keys.is_empty() {
            (state.asked_s, state.failed) = (old.state.asked_s, old.state.failed);
            *keys = old.keys.iter().map(|held| held.moved(&state.policy, endpoint)).collect();
        }
    }

    /// The keys as they are now.
    pub fn snapshot(&self) -> KeySet {
        let keys = self.stated.iter().chain(self.endpoints.iter().flat_map(|one| &one.keys));
        let states = self.endpoints.iter().map(|endpoint| endpoint.state.clone());
        KeySet::new(keys.cloned().collect(), states.collect())
    }

    /// Two tenants with one key would be one tenant: whose a token is, would be chance.
    fn refuse_shared(&self, policy: &KeyPolicy, key: &Key) -> Result<(), String> {
        let other = self.stated.iter().find(|other| {
            other.policy.tenant != policy.tenant
                && other.policy.overlaps(policy)
                && other.key.is_same(key)
        });
        match other {
            None => Ok(()),
            Some(other) => Err(format!(
                "tenants \"{}\" and \"{}\" have the same key, and nothing tells their tokens \
                 apart: give each a key of its own, or each an `issuer`",
                other.policy.tenant.as_str(),
                policy.tenant.as_str()
            )),
        }
    }
}
