//! Which connections of a shard are of a user: found without a search, and at no cost for those of
//! nobody in particular.

use std::collections::{BTreeSet, HashMap};

use fanfare_identity::User;

use crate::channel::Tenant;

/// Users, each with the places of its connections. A user's places are in order, so that they are
/// gone through in steps while connections come and go.
#[derive(Default)]
pub(super) struct Users(HashMap<(Tenant, User), Places>);

/// Most users have one connection on a shard.
enum Places {
    One(u32),
    Many(BTreeSet<u32>),
}

impl Users {
    /// A connection at this place is of this user.
    pub(super) fn enter(&mut self, tenant: &Tenant, user: &User, place: u32) {
        use std::collections::hash_map::Entry;
        match self.0.entry((tenant.clone(), user.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(Places::One(place));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Places::One(first) => {
                    let both = BTreeSet::from([*first, place]);
                    entry.insert(Places::Many(both));
                }
                Places::Many(places) => {
                    places.insert(place);
                }
            },
        }
    }

    /// The connection at this place is gone, or of somebody else.
    pub(super) fn leave(&mut self, tenant: &Tenant, user: &User, place: u32) {
        let key = (tenant.clone(), user.clone());
        let is_last = match self.0.get_mut(&key) {
            None => return,
            Some(Places::One(only)) => *only == place,
            Some(Places::Many(places)) => {
                places.remove(&place);
                places.is_empty()
            }
        };
        if is_last {
            self.0.remove(&key);
        }
    }

    /// The first place of this user that is not before `from`.
    pub(super) fn next(&self, tenant: &Tenant, user: &User, from: u32) -> Option<u32> {
        match self.0.get(&(tenant.clone(), user.clone()))? {
            Places::One(only) => Some(*only).filter(|only| *only >= from),
            Places::Many(places) => places.range(from..).next().copied(),
        }
    }

    /// Panics where it is not what the connections have: tenants, users and places.
    pub(super) fn invariants<'a>(&self, have: impl Iterator<Item = (&'a Tenant, &'a User, u32)>) {
        let mut count = 0;
        for (tenant, user, place) in have {
            assert_eq!(self.next(tenant, user, place), Some(place), "a user's connection is found");
            count += 1;
        }
        let places = |places: &Places| match places {
            Places::One(_) => 1,
            Places::Many(places) => places.len(),
        };
        assert_eq!(count, self.0.values().map(places).sum::<usize>(), "and nobody else");
        assert!(self.0.values().all(|it| places(it) > 0), "nobody is kept who is not here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_tenant_and_name_and_leave_nothing_behind() {
        let (here, there) = (Tenant::default(), Tenant::new("acme"));
        let (ada, bob) = (User::new("ada"), User::new("bob"));
        let mut users = Users::default();
        for place in [7, 3, 900_000] {
            users.enter(&here, &ada, place);
        }
        users.enter(&there, &ada, 4);
        users.enter(&here, &bob, 5);
        let all = |users: &Users, tenant: &Tenant, user: &User| {
            let mut found = Vec::new();
            while let Some(place) =
                users.next(tenant, user, found.last().map_or(0, |last| last + 1))
            {
                found.push(place);
            }
            found
        };
        assert_eq!(all(&users, &here, &ada), [3, 7, 900_000]);
        assert_eq!(all(&users, &there, &ada), [4]);
        assert_eq!(all(&users, &there, &bob), []);
        users.leave(&here, &ada, 7);
        users.leave(&here, &ada, 4);
        assert_eq!(all(&users, &here, &ada), [3, 900_000]);
        for (tenant, user, place) in
            [(&here, &ada, 3), (&here, &ada, 900_000), (&there, &ada, 4), (&here, &bob, 5)]
        {
            users.leave(tenant, user, place);
        }
        assert!(users.0.is_empty());
        users.invariants(std::iter::empty());
    }
}
