//! Which connections of a shard are of a user: found without a search, and at no cost for those of
//! nobody in particular.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fanfare_identity::{Identity, User};

use crate::channel::Tenant;

/// Users, each with the places of its connections.
#[derive(Default)]
pub(super) struct Users {
    places: HashMap<(Tenant, User), UserPlaces>,
    /// As whom each place was entered: what its connection says may have changed since.
    entered: HashMap<u32, Arc<Identity>>,
}

/// Most users have one connection on a shard. Several are in order, so that they are gone through
/// in steps while others come and go.
enum UserPlaces {
    One(u32),
    Several(BTreeSet<u32>),
}

impl UserPlaces {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(places) => places.len(),
        }
    }
}

impl Users {
    /// The connection at this place speaks for somebody; where that has no name, nothing is kept.
    /// Whether it had one.
    pub(super) fn enter(&mut self, place: u32, identity: &Arc<Identity>) -> bool {
        let Some(user) = &identity.user else { return false };
        self.leave(place);
        self.entered.insert(place, Arc::clone(identity));
        match self.places.entry((identity.tenant.clone(), user.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(UserPlaces::One(place));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                UserPlaces::One(first) => {
                    let both = BTreeSet::from([*first, place]);
                    entry.insert(UserPlaces::Several(both));
                }
                UserPlaces::Several(places) => {
                    places.insert(place);
                }
            },
        }
        true
    }

    /// The connection at this place is gone, or speaks for nobody any more.
    pub(super) fn leave(&mut self, place: u32) {
        let Some(identity) = self.entered.remove(&place) else { return };
        let user = identity.user.clone().expect("nobody else is entered");
        let Entry::Occupied(mut entry) = self.places.entry((identity.tenant.clone(), user)) else {
            return debug_assert!(false, "who was entered is there");
        };
        let is_last = match entry.get_mut() {
            UserPlaces::One(_) => true,
            UserPlaces::Several(places) => {
                places.remove(&place);
                places.is_empty()
            }
        };
        if is_last {
            entry.remove();
        }
    }

    /// The first place of this user that is not before `from`.
    pub(super) fn next(&self, tenant: &Tenant, user: &User, from: u32) -> Option<u32> {
        match self.places.get(&(tenant.clone(), user.clone()))? {
            UserPlaces::One(only) => Some(*only).filter(|only| *only >= from),
            UserPlaces::Several(places) => places.range(from..).next().copied(),
        }
    }

    /// Panics where it is not what the connections say, each place with its identity.
    pub(super) fn invariants<'a>(&self, have: impl Iterator<Item = (u32, &'a Identity)>) {
        let mut count = 0;
        for (place, identity) in have {
            let Some(user) = &identity.user else { continue };
            let found = self.next(&identity.tenant, user, place);
            assert_eq!(found, Some(place), "a user's connection is found");
            count += 1;
        }
        let places = self.places.values().map(UserPlaces::len);
        assert!(places.clone().all(|len| len > 0), "nobody is kept who is not here");
        assert_eq!((count, count), (places.sum(), self.entered.len()), "and nobody else is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(tenant: &Tenant, user: &str) -> Arc<Identity> {
        let user = Some(User::new(user));
        Arc::new(Identity { user, ..Identity::anonymous(tenant.clone()) })
    }

    #[test]
    fn users_are_found_by_tenant_and_name_and_leave_nothing_behind() {
        let (here, there) = (Tenant::default(), Tenant::new("acme"));
        let have = [
            (7, identity(&here, "ada")),
            (3, identity(&here, "ada")),
            (900_000, identity(&here, "ada")),
            (4, identity(&there, "ada")),
            (5, identity(&here, "bob")),
        ];
        let mut users = Users::default();
        have.iter().for_each(|(place, identity)| assert!(users.enter(*place, identity)));
        assert!(!users.enter(9, &Arc::new(Identity::anonymous(here.clone()))));
        users.invariants(have.iter().map(|(place, identity)| (*place, &**identity)));
        let all = |users: &Users, tenant: &Tenant, user: &str| {
            let (user, mut found) = (User::new(user), Vec::new());
            let next = |found: &[u32]| found.last().map_or(0, |last| last + 1);
            while let Some(place) = users.next(tenant, &user, next(&found)) {
                found.push(place);
            }
            found
        };
        assert_eq!(all(&users, &here, "ada"), [3, 7, 900_000]);
        assert_eq!(all(&users, &there, "ada"), [4]);
        assert_eq!(all(&users, &there, "bob"), [0; 0]);
        users.leave(7);
        users.leave(8);
        assert_eq!(all(&users, &here, "ada"), [3, 900_000]);
        users.enter(3, &identity(&here, "bob"));
        assert_eq!(all(&users, &here, "ada"), [900_000]);
        assert_eq!(all(&users, &here, "bob"), [3, 5], "it speaks for somebody else now");
        [3, 900_000, 4, 5].into_iter().for_each(|place| users.leave(place));
        assert!(users.places.is_empty() && users.entered.is_empty());
    }
}
