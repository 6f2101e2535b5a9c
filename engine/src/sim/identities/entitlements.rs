//! Who may hear what at each moment, as a table that anyone can read: keys, rules and revocations,
//! and what becomes of the real ones when they change.

use std::collections::{HashMap, HashSet};
use std::ops::{BitOr, BitOrAssign};
use std::sync::Arc;

use fanfare_identity::keys::{KeyPolicy, KeySet, KeySources};
use fanfare_identity::{Access, Pattern, Revocation, Revoke, Right, Rights, User};

use super::token::{CHANNELS, IssuedToken, KEYS, ROOMS, TENANTS, USERS, key};
use crate::channel::Tenant;
use crate::driver::sim::Chance;
use crate::rule::{HistoryRule, Rule, Rules, Window};

/// What Fanfare allows between clocks, written down once more.
const LEEWAY_MS: u64 = 30_000;

/// Reasons for which somebody may not hear something, any of which it may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Denials(u8);

impl Denials {
    /// It may.
    pub(super) const NONE: Self = Self(0);
    /// Its token is not good, or was revoked.
    pub(super) const BAD: Self = Self(1);
    /// Its token has ended.
    pub(super) const EXPIRED: Self = Self(2);
    /// A channel is not for it.
    pub(super) const FORBIDDEN: Self = Self(4);
    /// A channel is not for those who have shown nothing.
    pub(super) const NEEDED: Self = Self(8);

    /// Whether one of the reasons is among these.
    pub(super) fn has_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// The reasons that a status, or the code of a close, can have.
    pub(super) fn told_by(code: u16) -> Self {
        match code {
            401 => Self::BAD | Self::NEEDED | Self::EXPIRED,
            4401 => Self::BAD | Self::NEEDED,
            4505 => Self::EXPIRED,
            403 | 4403 => Self::FORBIDDEN,
            other => panic!("told {other}, which says nothing of who may"),
        }
    }

    /// The reason that the end of an event stream names.
    pub(super) fn named(reason: &str) -> Self {
        match reason {
            "invalid_token" | "token_revoked" => Self::BAD,
            "token_expired" => Self::EXPIRED,
            "forbidden" => Self::FORBIDDEN,
            "token_needed" => Self::NEEDED,
            other => panic!("a stream ends with {other}, which says nothing of who may"),
        }
    }
}

impl BitOr for Denials {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Denials {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// What the rules of one tenant allow without a grant.
#[derive(Clone, Copy)]
struct Allows {
    /// `hall`, to users.
    hall: bool,
    /// `open`, to everybody.
    open: bool,
    /// `user:{user}`, to that user.
    own: bool,
}

/// The table.
pub(super) struct Entitlements {
    keys: [[bool; KEYS.len()]; TENANTS.len()],
    allows: [Allows; TENANTS.len()],
    revoked_ids: HashSet<(usize, u64)>,
    /// Before which second a user's tokens do not count.
    revoked_users: HashMap<(usize, usize), u64>,
    revoked_all: [u64; TENANTS.len()],
}

impl Entitlements {
    /// All keys are there, every rule allows what it can, and nothing was revoked.
    pub(super) fn new() -> Self {
        Self {
            keys: [[true; KEYS.len()]; TENANTS.len()],
            allows: [Allows { hall: true, open: true, own: true }; TENANTS.len()],
            revoked_ids: HashSet::new(),
            revoked_users: HashMap::new(),
            revoked_all: [0; TENANTS.len()],
        }
    }

    /// What is wrong with a token at `unix_ms`; `is_new` where it is shown and nobody is here by it
    /// yet: who is here needs its key no more.
    pub(super) fn of_token(&self, token: &IssuedToken, unix_ms: u64, is_new: bool) -> Denials {
        let IssuedToken { tenant, key, user, id, issued_s, expires_s, is_forged, .. } = token;
        let mut denials = Denials::NONE;
        if *is_forged || (is_new && !self.keys[*tenant][*key]) {
            denials |= Denials::BAD;
        }
        let user = user.and_then(|user| self.revoked_users.get(&(*tenant, user)));
        let before_s = self.revoked_all[*tenant].max(user.copied().unwrap_or_default());
        let is_too_old = before_s > 0 && issued_s.is_none_or(|issued_s| issued_s < before_s);
        if is_too_old || self.revoked_ids.contains(&(*tenant, *id)) {
            denials |= Denials::BAD;
        }
        if unix_ms >= expires_s * 1_000 + LEEWAY_MS {
            denials |= Denials::EXPIRED;
        }
        denials
    }

    /// What keeps the bearer of a token, or nobody in particular, from channels of a tenant.
    pub(super) fn of_channels(
        &self,
        token: Option<&IssuedToken>,
        tenant: usize,
        channels: &[usize],
    ) -> Denials {
        let user = token.and_then(|token| token.user);
        let Allows { hall, open, own } = self.allows[tenant];
        let may_hear = |channel: &usize| match CHANNELS[*channel] {
            _ if *channel < ROOMS => token.is_some_and(|token| token.rooms[*channel]),
            "hall" => hall && user.is_some(),
            "open" => open,
            name => own && user.is_some_and(|user| name == format!("user:{}", USERS[user])),
        };
        match channels.iter().all(may_hear) {
            true => Denials::NONE,
            false if token.is_some() => Denials::FORBIDDEN,
            false => Denials::NEEDED,
        }
    }

    /// Revokes something of this tenant, often this token or its user, at `now_s`.
    pub(super) fn revoke(
        &mut self,
        token: &IssuedToken,
        now_s: u64,
        chance: &mut Chance,
    ) -> Revocation {
        let tenant = token.tenant;
        let what = match (chance.below(8), token.user) {
            (0, _) => {
                self.revoked_all[tenant] = now_s;
                Revoke::IssuedBefore(now_s)
            }
            (1..=3, Some(user)) => {
                let before_s = now_s + chance.below(2) as u64;
                let known_s = self.revoked_users.entry((tenant, user)).or_default();
                *known_s = before_s.max(*known_s);
                Revoke::User(User::new(USERS[user]), before_s)
            }
            _ => {
                self.revoked_ids.insert((tenant, token.id));
                Revoke::Token(token.id.to_string().into())
            }
        };
        Revocation { tenant: Tenant::new(TENANTS[tenant]), what, until_s: u64::MAX }
    }

    /// The configuration is another one: a rule of a tenant changes, or a key goes or comes back.
    pub(super) fn reconfigure(&mut self, tenant: usize, chance: &mut Chance) {
        let Allows { hall, open, own } = &mut self.allows[tenant];
        let it = match chance.below(5) {
            0 => hall,
            1 => open,
            2 => own,
            _ => &mut self.keys[tenant][chance.below(KEYS.len())],
        };
        *it = !*it;
    }

    /// The keys that there are.
    pub(super) fn keys(&self) -> KeySet {
        let mut sources = KeySources::default();
        for (tenant, name) in TENANTS.iter().enumerate() {
            let policy = Arc::new(KeyPolicy::new(Tenant::new(name)));
            for nth in (0..KEYS.len()).filter(|nth| self.keys[tenant][*nth]) {
                let added = sources.add_key(&policy, Some(KEYS[nth]), key(tenant, nth));
                added.expect("no two tenants have one key");
            }
        }
        sources.snapshot()
    }

    /// The rules of all tenants, by which everything is kept.
    pub(super) fn rules(&self) -> Rules {
        let listen = |allowed: bool| match allowed {
            true => Rights::NONE.with(Right::Subscribe),
            false => Rights::NONE,
        };
        let history = HistoryRule { count: 1 << 40, bytes: 1 << 30, age_ms: 1 << 40 };
        let window = Window { count: 1 << 20, bytes: 1 << 30 };
        let rule = |pattern: &str, access: Access| {
            let pattern = Pattern::of_rule(pattern).expect("a pattern");
            Rule { pattern, history, window, access, ..Rule::default() }
        };
        let rest = rule("**", Access::CLOSED);
        TENANTS.iter().enumerate().fold(
            Rules::closed_by(Vec::new(), rest),
            |rules, (tenant, name)| {
                let Allows { hall, open, own } = self.allows[tenant];
                let to_users = |allowed| Access { user: listen(allowed), ..Access::CLOSED };
                let to_all = Access { anonymous: listen(open), ..Access::CLOSED };
                let own = rule("user:{user}", to_users(own));
                let rules_of = vec![rule("hall", to_users(hall)), rule("open", to_all), own];
                rules.with_own(Tenant::new(name), rules_of)
            },
        )
    }
}
