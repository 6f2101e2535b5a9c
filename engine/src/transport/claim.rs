//! Whom a request to follow says it is from, before anything is done for it.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_identity::keys::EndpointId;
use fanfare_protocol::http::{Request, Violation};

use super::Context;
use super::credential::Credential;
use crate::admission::origin::Access;
use crate::authority::{Denial, Identified};

/// What is known of who asks.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It brought nothing: nobody in particular.
    Nobody,
    /// Somebody.
    Known(Bearer),
    /// What it brought is not believed.
    Denied(Denial),
    /// What it brought can be judged when this endpoint was asked for its keys.
    Pending(EndpointId, Secret),
}

/// Somebody whose token or ticket was good.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Who.
    pub identity: Arc<Identity>,
    /// The channels that a ticket is for; `None` for all that the identity may follow.
    pub only: Option<Box<[Arc<str>]>>,
    /// Whether it was a ticket, which is good for one request and for nothing beyond that.
    pub by_ticket: bool,
}

/// A token that waits to be judged. Nobody sees it.
#[derive(Clone)]
pub struct Secret(pub Box<[u8]>);

impl Claim {
    /// Of a request whose origin was found to be this.
    ///
    /// # Errors
    /// It brings what nobody reads, or two things.
    pub(super) fn of(
        request: &Request<'_>,
        access: Access,
        context: &Context,
        now_ms: u64,
    ) -> Result<Self, Violation> {
        let Some(authority) = &context.authority else { return Ok(Self::Nobody) };
        let credential = Credential::of(request, access, &authority.ways)?;
        Ok(match (authority.identify(&credential, now_ms), credential) {
            (Ok(Identified::Pending(endpoint)), Credential::Token(token)) => {
                Self::Pending(endpoint, Secret(token.as_ref().into()))
            }
            (identified, _) => Self::from(identified),
        })
    }

    /// Who it is, where that is known and somebody.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Known(bearer) => Some(&bearer.identity),
            _ => None,
        }
    }

    /// Bytes of memory of its own, beside an identity, which others may share.
    pub fn memory(&self) -> usize {
        match self {
            Self::Pending(_, secret) => secret.0.len(),
            _ => 0,
        }
    }
}

impl From<Result<Identified, Denial>> for Claim {
    fn from(identified: Result<Identified, Denial>) -> Self {
        match identified {
            Ok(Identified::Nobody) => Self::Nobody,
            Ok(Identified::Known(bearer)) => Self::Known(bearer),
            // Whoever asks again keeps the token; others are told to come back.
            Ok(Identified::Pending(_)) => Self::Denied(Denial::of_keys()),
            Err(denial) => Self::Denied(denial),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(...)")
    }
}
