//! Tokens that count no more although their time is not over.
//!
//! A token is revoked by its own name (`jti`), with all of its user's, or with all that its tenant
//! had issued before a time. An entry is kept for as long as tokens can live that it is about:
//! whoever makes one says until when, and after that `exp` does its work. Tokens of a user are
//! revoked that were issued before a time, so that the user can sign in again; one that does not
//! say when it was issued cannot show that it is a new one, and is revoked.

use std::collections::HashMap;
use std::fmt;

use crate::identity::{Identity, User};
use crate::tenant::Tenant;

/// What counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// The token of this name (`jti`).
    Token(Box<str>),
    /// Every token of this user that was issued before a time, in seconds since 1970. A token
    /// issued in the very second is not: who means all until now says the next one.
    User(User, u64),
    /// Every token of the tenant that was issued before a time, in seconds since 1970.
    IssuedBefore(u64),
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose tokens.
    pub tenant: Tenant,
    /// Which of them.
    pub what: Revoke,
    /// Until when it is remembered, in seconds since 1970: when the last token that it is about
    /// expires. `u64::MAX` is for ever.
    pub until_s: u64,
}

impl Revocation {
    /// Whether this identity is of a token that it is about: for connections that live.
    pub fn concerns(&self, identity: &Identity) -> bool {
        self.tenant == identity.tenant
            && match &self.what {
                Revoke::Token(id) => identity.token_id.as_deref() == Some(id),
                Revoke::User(user, before_s) => {
                    identity.user.as_ref() == Some(user) && is_older(identity, *before_s)
                }
                Revoke::IssuedBefore(before_s) => {
                    !identity.is_anonymous() && is_older(identity, *before_s)
                }
            }
    }
}

/// By what a token was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// By its name.
    Token,
    /// With its user's.
    User,
    /// With all that were issued before a time.
    IssuedBefore,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "the token was revoked by its id (jti)",
            Self::User => "the tokens of its user were revoked",
            Self::IssuedBefore => "all tokens that its tenant issued before a time were revoked",
        })
    }
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationsFull {
    /// How many there may be.
    pub most: usize,
    /// Whether that bounds one tenant, not all of them.
    pub of_tenant: bool,
}

impl fmt::Display for RevocationsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.of_tenant { "this tenant has" } else { "there are" };
        write!(
            f,
            "{whose} {} revocations already, as many as are remembered, so this one was not made: \
             revoke all tokens that were issued before a time, which is one, or give revocations \
             the time at which their tokens expire",
            self.most
        )
    }
}

impl std::error::Error for RevocationsFull {}

/// All revocations of a node.
#[derive(Clone, Debug)]
pub struct Revocations {
    tenants: HashMap<Tenant, OfTenant>,
    len: usize,
    most: usize,
    most_of_tenant: usize,
    /// None is over before this.
    next_end_s: u64,
}

#[derive(Clone, Debug, Default)]
struct OfTenant {
    /// Until when each is remembered.
    tokens: HashMap<Box<str>, u64>,
    users: HashMap<User, Before>,
    all: Option<Before>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    issued_before_s: u64,
    until_s: u64,
}

impl Revocations {
    /// None yet; `most` at once, of which one tenant may have `most_of_tenant`. Each takes about
    /// 100 bytes and its name.
    pub fn new(most: usize, most_of_tenant: usize) -> Self {
        Self { tenants: HashMap::new(), len: 0, most, most_of_tenant, next_end_s: u64::MAX }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one. One that is there already lasts as long, and reaches as far, as the two together.
    ///
    /// # Errors
    /// There is no room; nothing was changed.
    pub fn revoke(&mut self, revocation: &Revocation) -> Result<(), RevocationsFull> {
        let Revocation { tenant, what, until_s } = revocation;
        let found = self.tenants.get(tenant);
        if !found.is_some_and(|of| of.has(what)) {
            // One of all tokens has a place of its own: a tenant has one such, and needs it most
            // where there is no room for others.
            let has_own_place = matches!(what, Revoke::IssuedBefore(_));
            if !has_own_place && found.map_or(0, OfTenant::len) >= self.most_of_tenant {
                return Err(RevocationsFull { most: self.most_of_tenant, of_tenant: true });
            }
            if !has_own_place && self.len >= self.most {
                return Err(RevocationsFull { most: self.most, of_tenant: false });
            }
            self.len += 1;
        }
        self.tenants.entry(tenant.clone()).or_default().add(what, *until_s);
        self.next_end_s = self.next_end_s.min(*until_s);
        Ok(())
    }

    /// Whether the token of this identity is revoked, and by what. One whose time is over and that
    /// [`Revocations::expire`] has not taken away yet still counts; its tokens have expired.
    pub fn revokes(&self, identity: &Identity) -> Option<Revoked> {
        if self.is_empty() || identity.is_anonymous() {
            return None;
        }
        let of = self.tenants.get(&identity.tenant)?;
        if identity.token_id.as_ref().is_some_and(|id| of.tokens.contains_key(id)) {
            return Some(Revoked::Token);
        }
        let user = identity.user.as_ref().and_then(|user| of.users.get(user));
        if user.is_some_and(|before| is_older(identity, before.issued_before_s)) {
            return Some(Revoked::User);
        }
        let all = of.all.is_some_and(|before| is_older(identity, before.issued_before_s));
        all.then_some(Revoked::IssuedBefore)
    }

    /// Forgets those whose time is over at this second.
    pub fn expire(&mut self, now_s: u64) {
        if now_s < self.next_end_s {
            return;
        }
        self.tenants.retain(|_, of| {
            of.tokens.retain(|_, until_s| *until_s > now_s);
            of.users.retain(|_, before| before.until_s > now_s);
            of.all = of.all.filter(|before| before.until_s > now_s);
            of.len() > 0
        });
        self.len = self.tenants.values().map(OfTenant::len).sum();
        let ends = self.tenants.values().flat_map(OfTenant::ends);
        self.next_end_s = ends.min().unwrap_or(u64::MAX);
    }
}

impl OfTenant {
    fn len(&self) -> usize {
        self.tokens.len() + self.users.len() + usize::from(self.all.is_some())
    }

    fn has(&self, what: &Revoke) -> bool {
        match what {
            Revoke::Token(id) => self.tokens.contains_key(id),
            Revoke::User(user, _) => self.users.contains_key(user),
            Revoke::IssuedBefore(_) => self.all.is_some(),
        }
    }

    fn add(&mut self, what: &Revoke, until_s: u64) {
        let none = Before { issued_before_s: 0, until_s: 0 };
        match what {
            Revoke::Token(id) => {
                let until = self.tokens.entry(id.clone()).or_default();
                *until = until_s.max(*until);
            }
            Revoke::User(user, before_s) => {
                self.users.entry(user.clone()).or_insert(none).widen(*before_s, until_s);
            }
            Revoke::IssuedBefore(before_s) => {
                self.all.get_or_insert(none).widen(*before_s, until_s);
            }
        }
    }

    fn ends(&self) -> impl Iterator<Item = u64> {
        let befores = self.users.values().chain(&self.all).map(|before| before.until_s);
        self.tokens.values().copied().chain(befores)
    }
}

impl Before {
    fn widen(&mut self, before_s: u64, until_s: u64) {
        self.issued_before_s = self.issued_before_s.max(before_s);
        self.until_s = self.until_s.max(until_s);
    }
}

fn is_older(identity: &Identity, before_s: u64) -> bool {
    identity.issued_s.is_none_or(|issued| issued < before_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(tenant: &str, user: &str, token: &str, issued_s: Option<u64>) -> Identity {
        Identity {
            user: Some(User::new(user)),
            token_id: Some(token.into()),
            issued_s,
            ..Identity::anonymous(Tenant::new(tenant))
        }
    }

    fn revocation(tenant: &str, what: Revoke, until_s: u64) -> Revocation {
        Revocation { tenant: Tenant::new(tenant), what, until_s }
    }

    #[test]
    fn a_token_is_revoked_by_name_by_user_and_by_time() {
        let token = revocation("a", Revoke::Token("t1".into()), 900);
        let user = revocation("a", Revoke::User(User::new("ann"), 500), 900);
        let all = revocation("a", Revoke::IssuedBefore(300), 900);
        let cases = [
            (identity("a", "bob", "t1", Some(600)), Some(Revoked::Token)),
            (identity("a", "bob", "T1", Some(600)), None),
            (identity("a", "ann", "t2", Some(499)), Some(Revoked::User)),
            (identity("a", "ann", "t2", Some(500)), None), // she has signed in again
            (identity("a", "ann", "t2", None), Some(Revoked::User)),
            (identity("a", "bob", "t2", Some(299)), Some(Revoked::IssuedBefore)),
            (identity("a", "bob", "t2", Some(300)), None),
            (identity("a", "bob", "t2", None), Some(Revoked::IssuedBefore)),
            (identity("b", "ann", "t1", Some(1)), None), // another tenant's
            (Identity::anonymous(Tenant::new("a")), None),
        ];
        let mut revocations = Revocations::new(10, 10);
        for one in [&token, &user, &all] {
            revocations.revoke(one).unwrap();
        }
        for (identity, expected) in cases {
            assert_eq!(revocations.revokes(&identity), expected, "{identity:?}");
            let concerns = [&token, &user, &all].map(|one| one.concerns(&identity));
            assert_eq!(concerns.contains(&true), expected.is_some(), "living ones: {identity:?}");
        }
    }

    #[test]
    fn entries_end_with_the_tokens_that_they_are_about() {
        let mut revocations = Revocations::new(10, 10);
        let ann = identity("a", "ann", "t1", Some(1));
        revocations.revoke(&revocation("a", Revoke::Token("t1".into()), 100)).unwrap();
        revocations.revoke(&revocation("a", Revoke::IssuedBefore(5), 200)).unwrap();
        revocations.revoke(&revocation("b", Revoke::Token("x".into()), u64::MAX)).unwrap();
        revocations.expire(99);
        assert_eq!((revocations.len(), revocations.revokes(&ann)), (3, Some(Revoked::Token)));
        revocations.expire(100);
        assert_eq!(
            (revocations.len(), revocations.revokes(&ann)),
            (2, Some(Revoked::IssuedBefore))
        );
        revocations.expire(200);
        assert_eq!((revocations.len(), revocations.revokes(&ann)), (1, None));
        revocations.expire(u64::MAX - 1);
        assert_eq!(revocations.len(), 1, "for ever");
    }

    #[test]
    fn one_that_is_there_reaches_as_far_as_both() {
        let mut revocations = Revocations::new(1, 1);
        let user = |before, until| revocation("a", Revoke::User(User::new("ann"), before), until);
        revocations.revoke(&user(50, 900)).unwrap();
        revocations.revoke(&user(20, 100)).unwrap();
        revocations.expire(500);
        let old = identity("a", "ann", "t", Some(49));
        assert_eq!(
            revocations.revokes(&old),
            Some(Revoked::User),
            "the later word takes none back"
        );
    }

    #[test]
    fn there_is_room_for_so_many_and_a_tenant_has_its_share() {
        let mut revocations = Revocations::new(3, 2);
        let token = |tenant: &str, id: &str| revocation(tenant, Revoke::Token(id.into()), 100);
        revocations.revoke(&token("a", "1")).unwrap();
        revocations.revoke(&token("a", "2")).unwrap();
        let full = revocations.revoke(&token("a", "3")).unwrap_err();
        assert_eq!(full, RevocationsFull { most: 2, of_tenant: true });
        assert!(full.to_string().contains("this tenant has 2 revocations"), "{full}");
        revocations.revoke(&token("a", "1")).expect("it is there already");
        revocations.revoke(&token("b", "1")).unwrap();
        let full = revocations.revoke(&token("c", "1")).unwrap_err();
        assert_eq!(full, RevocationsFull { most: 3, of_tenant: false });
        assert_eq!(revocations.revokes(&identity("c", "x", "1", None)), None, "it was not made");
        revocations.expire(100);
        assert!(revocations.is_empty());
        revocations.revoke(&token("c", "1")).expect("there is room again");
    }
}
