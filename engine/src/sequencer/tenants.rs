//! What tenants use of the order, as far as they have limits of their own: how fast they publish,
//! and how much their connections follow.
//!
//! Both are this node's affair and are judged before anything stands in the log, so what is decided
//! from the log on is the same wherever it is read. A tenant without limits costs a look at a table
//! that is empty where nobody has any.

use std::collections::HashMap;

use crate::admission::rate::{Rate, TokenBucket};
use crate::channel::Tenant;
use crate::clock::Millis;
use crate::limits::Limits;

/// How fast tenants publish.
#[derive(Default)]
pub(super) struct TenantRates(HashMap<Tenant, (Rate, TokenBucket)>);

/// How much the connections of tenants follow.
#[derive(Default)]
pub(super) struct TenantSubscriptions(HashMap<Tenant, FollowedShare>);

/// Of one tenant.
#[derive(Default)]
struct FollowedShare {
    max: u64,
    count: u64,
}

impl TenantRates {
    /// Of those that have a limit. Without a burst it is what comes back in a second.
    pub(super) fn new(limits: &Limits) -> Self {
        let number = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
        let rates = limits.tenants.iter().filter_map(|(tenant, limits)| {
            let per_s = number(limits.publish_rate?);
            let burst = limits.publish_burst.map_or(per_s, number);
            Some((tenant.clone(), (Rate { per_s, burst }, TokenBucket::default())))
        });
        Self(rates.collect())
    }

    /// Takes room for one message of this tenant; whether it was there.
    pub(super) fn take(&mut self, tenant: &Tenant, now: Millis) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some((rate, bucket)) = self.0.get_mut(tenant) else { return true };
        bucket.take(*rate, now, 1).is_ok()
    }
}

impl TenantSubscriptions {
    /// Of those that have a limit.
    pub(super) fn new(limits: &Limits) -> Self {
        let shares = limits.tenants.iter().filter_map(|(tenant, limits)| {
            let share = FollowedShare { max: limits.subscriptions?, count: 0 };
            Some((tenant.clone(), share))
        });
        Self(shares.collect())
    }

    /// Whether connections of this tenant may follow so many channels more.
    pub(super) fn have_room(&self, tenant: &Tenant, more: usize) -> bool {
        let share = self.0.get(tenant);
        share.is_none_or(|share| share.count.saturating_add(more as u64) <= share.max)
    }

    /// One more.
    pub(super) fn join(&mut self, tenant: &Tenant) {
        if let Some(share) = self.of(tenant) {
            share.count += 1;
        }
    }

    /// One fewer.
    pub(super) fn leave(&mut self, tenant: &Tenant) {
        if let Some(share) = self.of(tenant) {
            share.count -= 1;
        }
    }

    fn of(&mut self, tenant: &Tenant) -> Option<&mut FollowedShare> {
        if self.0.is_empty() { None } else { self.0.get_mut(tenant) }
    }

    /// Panics where a tenant that has a limit follows another number than `count` says.
    pub(super) fn invariants(&self, count: impl Fn(&Tenant) -> u64) {
        for (tenant, share) in &self.0 {
            assert_eq!(share.count, count(tenant), "what {tenant:?} follows is counted");
            assert!(share.count <= share.max);
        }
    }
}
