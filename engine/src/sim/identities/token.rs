//! Tokens as the backends of tenants sign them, and as others forge them.

use fanfare_identity::keys::{Algorithm, Key};
use serde_json::{Value, json};

use crate::driver::sim::Chance;

/// The tenants. The first is the one that those have who bring no token.
pub(super) const TENANTS: [&str; 4] = ["sim", "acme", "beta", "a"];
/// The channels of each of them.
pub(super) const CHANNELS: [&str; 7] =
    ["room:0", "room:1", "room:2", "hall", "open", "user:ann", "user:bob"];
/// The users of each of them.
pub(super) const USERS: [&str; 2] = ["ann", "bob"];
/// How many of the channels are rooms, which stand first: a grant alone lets in to those.
pub(super) const ROOMS: usize = 3;
/// Keys of each tenant, by their names.
pub(super) const KEYS: [&str; 2] = ["k0", "k1"];

/// What a token says, and how it is written.
#[derive(Clone)]
pub(super) struct IssuedToken {
    pub(super) tenant: usize,
    pub(super) key: usize,
    pub(super) user: Option<usize>,
    /// Its name, which other tenants give to tokens of theirs.
    pub(super) id: u64,
    pub(super) issued_s: Option<u64>,
    pub(super) expires_s: u64,
    /// Which rooms it grants.
    pub(super) rooms: [bool; ROOMS],
    /// Whether it was signed by nobody who may.
    pub(super) is_forged: bool,
    pub(super) text: String,
}

/// A key of a tenant.
pub(super) fn key(tenant: usize, nth: usize) -> Key {
    let secret = format!("{:032}", 1 + tenant * KEYS.len() + nth);
    Key::secret(Algorithm::Hs256, secret.as_bytes()).expect("it is long enough")
}

/// What signs.
#[derive(Default)]
pub(super) struct Issuers {
    /// The number of the last token of each tenant.
    ids: [u64; TENANTS.len()],
}

impl Issuers {
    /// A token of this tenant for this user, or for somebody who has grants and no name.
    pub(super) fn issue(
        &mut self,
        (tenant, user): (usize, Option<usize>),
        now_s: u64,
        chance: &mut Chance,
    ) -> IssuedToken {
        self.ids[tenant] += 1;
        let id = self.ids[tenant];
        let life_s = [2, 20, 70, 150, 1_000][chance.below(5)];
        let expires_s = if chance.percent(4) { now_s - 60 } else { now_s + life_s };
        let issued_s = (!chance.percent(10)).then_some(now_s);
        let mut rooms = [false; ROOMS].map(|_| chance.percent(70));
        // Without a user and a grant it would be a token of nobody.
        rooms[0] |= user.is_none();
        let key_of = chance.below(KEYS.len());
        let granted: Vec<&str> =
            (0..ROOMS).filter(|nth| rooms[*nth]).map(|nth| CHANNELS[nth]).collect();
        let channels = if rooms == [true; ROOMS] { vec!["room:*"] } else { granted };
        let mut claims = json!({"exp": expires_s, "jti": id.to_string(), "channels": channels});
        if let Some(user) = user {
            claims["sub"] = USERS[user].into();
        }
        if let Some(issued_s) = issued_s {
            claims["iat"] = issued_s.into();
        }
        let signed = key(tenant, key_of).sign(Some(KEYS[key_of]), &claims.to_string());
        let text = signed.expect("a secret signs");
        let key = key_of;
        let is_forged = false;
        IssuedToken { tenant, key, user, id, issued_s, expires_s, rooms, is_forged, text }
    }

    /// One that looks like that and is worth nothing.
    pub(super) fn forge(token: &IssuedToken, chance: &mut Chance) -> IssuedToken {
        let parts: Vec<&str> = token.text.split('.').collect();
        let more: Value = json!({"exp": token.expires_s + 9_999, "channels": ["**"]});
        let nobodys = Key::secret(Algorithm::Hs256, &[7; 32]).expect("it is long enough");
        let others = nobodys.sign(Some(KEYS[token.key]), &more.to_string()).expect("it signs");
        let payload = others.split('.').nth(1).expect("three parts");
        let text = match chance.below(4) {
            0 => others.clone(),
            1 => format!("{}.{payload}.{}", parts[0], parts[2]),
            2 => format!("{}.{}.{}", parts[0], parts[1], &parts[2][1..]),
            _ => format!("{}.{}.", "eyJhbGciOiJub25lIn0", parts[1]), // of the algorithm "none"
        };
        IssuedToken { is_forged: true, text, ..token.clone() }
    }
}
