//! Who a client is and what it may do: the one place that is asked, by every way in.
//!
//! A node without one asks nobody: whoever reaches it listens to everything.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_identity::keys::{EndpointId, KeySet, Verdict};
use fanfare_identity::token::LEEWAY_S;
use fanfare_identity::{
    Decision, Explanation, Identity, Revocations, Right, TICKET_RANDOM_BYTES, Ticket, Tickets,
    decide, explain,
};
use fanfare_protocol::http::Violation;

use crate::channel::ChannelName;
use crate::rule::Rules;
use crate::tenancy::TokenSettings;
use crate::transport::claim::Bearer;
use crate::transport::credential::{Credential, Ways};

/// Revocations that are remembered at once: 10 MB, and 35 MB with the longest names.
const REVOCATIONS_MAX: usize = 100_000;
/// Tickets that are out at once: a thousand a second. Each holds an identity, which is as large as
/// a token, and names of channels: 20 KB at most together.
const TICKETS_MAX: usize = 10_000;
/// Channels that a ticket may be for.
pub const TICKET_CHANNELS_MAX: usize = 32;

/// Asks for keys: see [`Authority::wanted`].
pub type KeysWanted = Arc<dyn Fn(EndpointId) -> bool + Send + Sync>;

/// What decides. Nothing in it changes but the tickets that are out and what was revoked: another
/// one takes its place when keys or rules do.
#[derive(Clone)]
pub struct Authority {
    /// Where tokens are looked for.
    pub ways: Ways,
    /// How long a connection may last that has shown a token, in milliseconds, if there is an end.
    pub max_age_ms: Option<u64>,
    /// Asks an endpoint for keys that it may have, without waiting; the answer comes as another
    /// authority. Whether there was room for one more question.
    pub wanted: Option<KeysWanted>,
    /// Of all tenants.
    pub keys: Arc<KeySet>,
    /// What channels allow without a grant.
    pub rules: Arc<Rules>,
    /// What was taken back.
    pub revocations: Arc<Mutex<Revocations>>,
    /// One-time tickets that are out. They and revocations are made by one thread and looked at by
    /// any, which waits for nobody longer than a look into a table takes.
    pub tickets: Arc<Mutex<Tickets>>,
}

/// Why somebody is not let in, or not to something.
#[derive(Clone, Debug)]
pub struct Denial {
    /// What the client is told.
    pub violation: Violation,
    /// Which rule decided, for the log and the admin.
    pub rule: Cow<'static, str>,
}

/// Who somebody is.
#[derive(Debug)]
pub enum Identified {
    /// Nobody in particular: no token was brought.
    Nobody,
    /// Somebody, by a good token or ticket.
    Known(Bearer),
    /// That cannot be said before this endpoint was asked for its keys.
    Pending(EndpointId),
}

impl Authority {
    /// By a configuration, before its keys are known: nobody is believed yet.
    pub fn new(tokens: &TokenSettings, rules: Arc<Rules>, tenants: usize) -> Self {
        // One tenant cannot take what the others need.
        let share = |most: usize| most.div_ceil(tenants.max(1));
        let revocations = Revocations::new(REVOCATIONS_MAX, share(REVOCATIONS_MAX));
        let tickets = Tickets::new(TICKETS_MAX, share(TICKETS_MAX));
        let ways = Ways { query: tokens.query_token, cookie: tokens.cookie.clone() };
        Self {
            ways,
            max_age_ms: tokens.max_age_ms,
            wanted: None,
            keys: Arc::default(),
            rules,
            revocations: Arc::new(Mutex::new(revocations)),
            tickets: Arc::new(Mutex::new(tickets)),
        }
    }

    /// Who brings this, at `now_ms` milliseconds since 1970.
    ///
    /// # Errors
    /// It is not believed, or was taken back.
    pub fn identify(&self, credential: &Credential<'_>, now_ms: u64) -> Result<Identified, Denial> {
        match credential {
            Credential::None => Ok(Identified::Nobody),
            Credential::Token(token) => self.identify_token(token, now_ms),
            Credential::Ticket(text) => {
                let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
                let ticket = tickets.redeem(text.as_bytes(), now_ms).ok_or_else(|| {
                    let rule = "the ticket is unknown, was used, or is older than it may be";
                    Denial { violation: Violation::BadTicket, rule: rule.into() }
                })?;
                let Ticket { identity, channels } = ticket;
                let bearer = Bearer { identity, only: channels, by_ticket: true };
                self.unless_ended(&bearer.identity, now_ms).map(|()| Identified::Known(bearer))
            }
        }
    }

    /// Gives a ticket out of random bytes, which must be the kernel's.
    ///
    /// # Errors
    /// There is no room for one more.
    pub fn issue(
        &self,
        random: &[u8; TICKET_RANDOM_BYTES],
        ticket: Ticket,
        now_ms: u64,
    ) -> Result<String, Denial> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.issue(random, ticket, now_ms).map_err(|full| Denial {
            violation: Violation::TooManyTickets,
            rule: full.to_string().into(),
        })
    }

    /// Who is the bearer of this token.
    ///
    /// # Errors
    /// As [`Authority::identify`].
    pub fn identify_token(&self, token: &[u8], now_ms: u64) -> Result<Identified, Denial> {
        match self.keys.verify(token, now_ms / 1_000) {
            Verdict::Known(identity) => {
                let bearer = Bearer { identity: Arc::from(identity), only: None, by_ticket: false };
                self.unless_ended(&bearer.identity, now_ms).map(|()| Identified::Known(bearer))
            }
            Verdict::Pending(pending) => Ok(Identified::Pending(pending.endpoint)),
            Verdict::Refused(refusal) => {
                let violation = match &refusal {
                    it if it.is_expired() => Violation::TokenExpired,
                    it if it.is_want_of_keys() => Violation::KeysUnavailable,
                    _ => Violation::BadToken,
                };
                Err(Denial { violation, rule: refusal.rule().to_owned().into() })
            }
        }
    }

    /// Whether somebody who was known counts still: a ticket may be younger than its token is old,
    /// and from a head to the end of its body is long enough for anything.
    ///
    /// # Errors
    /// The token has ended, or was taken back.
    pub fn unless_ended(&self, identity: &Identity, now_ms: u64) -> Result<(), Denial> {
        if identity.expires_s.is_some_and(|end_s| end_s + LEEWAY_S <= now_ms / 1_000) {
            let rule = "the token has expired since it was shown".into();
            return Err(Denial { violation: Violation::TokenExpired, rule });
        }
        self.unless_revoked(identity)
    }

    /// Whether somebody may do this with a channel of the same tenant, step by step.
    pub fn explain(&self, identity: &Identity, right: Right, channel: &ChannelName) -> Explanation {
        let rule = self.rules.of(&channel.tenant, &channel.name).1;
        explain(identity, Some(rule.access()), right, &channel.name)
    }

    fn unless_revoked(&self, identity: &Identity) -> Result<(), Denial> {
        let revocations = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        revocations.revokes(identity).map_or(Ok(()), |revoked| {
            let rule = revoked.to_string().into();
            Err(Denial { violation: Violation::TokenRevoked, rule })
        })
    }

    /// Whether somebody may still be here, who follows these channels.
    ///
    /// # Errors
    /// The token was taken back, or a channel may not be followed any more.
    pub fn judge(
        &self,
        identity: Option<&Identity>,
        channels: &mut dyn Iterator<Item = &Arc<ChannelName>>,
    ) -> Result<(), Denial> {
        identity.map_or(Ok(()), |identity| self.unless_revoked(identity))?;
        for channel in channels {
            self.check(identity, Right::Subscribe, channel)?;
        }
        Ok(())
    }

    /// Whether that somebody, or nobody in particular, may do this with a channel.
    ///
    /// # Errors
    /// It may not, and by which rule.
    pub fn check(
        &self,
        identity: Option<&Identity>,
        right: Right,
        channel: &ChannelName,
    ) -> Result<(), Denial> {
        let nobody;
        let who = match identity {
            Some(identity) => identity,
            None => {
                nobody = Identity::anonymous(channel.tenant.clone());
                &nobody
            }
        };
        // Names are made with the tenant of whoever says them; that it is so is the wall itself.
        if who.tenant != channel.tenant {
            let rule = "the channel is another tenant's: this is a bug in Fanfare".into();
            return Err(Denial { violation: Violation::Forbidden, rule });
        }
        let rule = self.rules.of(&channel.tenant, &channel.name).1;
        match decide(who, Some(rule.access()), right, &channel.name) {
            Decision::Refused(why) => Err(Denial {
                violation: match identity {
                    Some(_) => Violation::Forbidden,
                    None => Violation::TokenNeeded,
                },
                rule: format!("{right} to the channel: {why}").into(),
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("ways", &self.ways).finish_non_exhaustive()
    }
}

impl Denial {
    /// The token is somebody's of another tenant.
    pub fn of_another_tenant() -> Self {
        let rule = "the token is not of this tenant".into();
        Self { violation: Violation::BadToken, rule }
    }

    /// The keys that could have signed a token cannot be had now.
    pub fn of_keys() -> Self {
        let rule = "the endpoint that may have the token's key has not answered".into();
        Self { violation: Violation::KeysUnavailable, rule }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}
