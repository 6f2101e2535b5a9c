//! Requests of pages that are about a token alone: for a ticket, which stands in its place in one
//! URL, and to go on with a new one where a stream is open.

use std::sync::Arc;

use fanfare_identity::{TICKET_LIFE_MS, TICKET_RANDOM_BYTES, Ticket};
use fanfare_protocol::http::parameters::Gathering;
use fanfare_protocol::http::response;
use fanfare_protocol::http::{Answer, ContentType, Ending, HttpDate, Request, Status, Violation};

use super::Context;
use super::claim::{Bearer, Claim};
use super::decision::Decision;
use super::request::Asker;
use crate::authority::{Denial, TICKET_CHANNELS_MAX};
use crate::channel::ChannelName;
use crate::origin::{Named, Origin};

/// Where a ticket is asked for.
pub(super) const TICKETS: &str = "/v1/tickets";

/// A request that is about a token.
#[derive(Debug)]
pub struct TokenRequest {
    /// Whom it says that it is from.
    claim: Claim,
    /// What it is to do.
    pub errand: TokenErrand,
    /// The origin of the page that may read the answer.
    pub origin: Option<Box<str>>,
}

/// What such a request is to do.
#[derive(Debug)]
pub enum TokenErrand {
    /// Give a ticket: for these channels, or for all that the bearer may follow.
    Ticket(Option<Box<[Arc<str>]>>),
    /// Put the token in the place of the one that this connection has shown.
    Refresh(Named),
}

/// The connection whose token is to be refreshed at this path, if it is such a path.
pub(super) fn refreshed(path: &str, context: &Context) -> Option<Option<Named>> {
    let id = path.strip_prefix("/v1/connections/")?.strip_suffix("/refresh")?;
    Some(Origin::parse(id).and_then(|origin| origin.named(context.origins_key)))
}

/// Decides about a request for a ticket.
///
/// # Errors
/// A parameter of it is wrong, or nobody has tokens here.
pub(super) fn ticket(
    request: &Request<'_>,
    context: &Context,
    asker: &Asker<'_>,
) -> Result<Decision, Violation> {
    request.without_body()?;
    let mut gathering = Gathering::new(context.limits.channels_per_connection);
    gathering.take_all(request.query())?;
    let channels: Box<[Arc<str>]> =
        gathering.found().channels.iter().map(|name| Arc::from(&**name)).collect();
    if channels.len() > TICKET_CHANNELS_MAX {
        return Err(Violation::TooManyChannels);
    }
    let channels = (!channels.is_empty()).then_some(channels);
    decided(TokenErrand::Ticket(channels), context, asker)
}

/// Decides about a request with a new token.
///
/// # Errors
/// There is no such connection, or nobody has tokens here.
pub(super) fn refresh(
    of: Option<Named>,
    request: &Request<'_>,
    context: &Context,
    asker: &Asker<'_>,
) -> Result<Decision, Violation> {
    request.without_body()?;
    let of = of.ok_or(Violation::SessionGone)?;
    decided(TokenErrand::Refresh(of), context, asker)
}

fn decided(
    errand: TokenErrand,
    context: &Context,
    asker: &Asker<'_>,
) -> Result<Decision, Violation> {
    if context.authority.is_none() {
        return Err(Violation::NotFound);
    }
    let (claim, origin) = (asker.claim.clone(), asker.reader.map(Box::from));
    Ok(Decision::Token(Box::new(TokenRequest { claim, errand, origin })))
}

impl TokenRequest {
    /// Who asks.
    ///
    /// # Errors
    /// Nobody in particular, or somebody who is not believed.
    pub fn bearer(&self) -> Result<&Bearer, Denial> {
        match &self.claim {
            Claim::Known(bearer) if bearer.by_ticket => {
                let rule = "a ticket stands for a token where something is followed alone".into();
                Err(Denial { violation: Violation::Forbidden, rule })
            }
            Claim::Known(bearer) => Ok(bearer),
            Claim::Denied(denial) => Err(denial.clone()),
            Claim::Pending(..) => Err(Denial::of_keys()),
            Claim::Nobody => {
                let rule = "it is about a token, and brings none".into();
                Err(Denial { violation: Violation::TokenNeeded, rule })
            }
        }
    }

    /// Answers with a ticket.
    ///
    /// # Errors
    /// The bearer may not follow one of the channels, or there is no room for one more ticket.
    pub fn issue(
        &self,
        context: &Context,
        random: &[u8; TICKET_RANDOM_BYTES],
        (date, ending): (HttpDate, Ending),
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Denial> {
        let bearer = self.bearer()?;
        let (Some(authority), TokenErrand::Ticket(channels)) = (&context.authority, &self.errand)
        else {
            return Ok(());
        };
        for name in channels.iter().flatten() {
            let channel = ChannelName::new(bearer.identity.tenant.clone(), name);
            let right = fanfare_identity::Right::Subscribe;
            authority.check(Some(&bearer.identity), right, &channel)?;
        }
        let (identity, channels) = (Arc::clone(&bearer.identity), channels.clone());
        let text = authority.issue(random, Ticket { identity, channels }, now_ms)?;
        let seconds = TICKET_LIFE_MS / 1_000;
        let body = format!("{{\"ticket\":\"{text}\",\"expires_in\":{seconds}}}");
        let fields = response::unstored(self.origin.as_deref());
        let (status, content_type) = (Status::Ok, ContentType::Json);
        let answer =
            Answer { date, status, content_type, ending, fields: &fields, head_only: false };
        answer.write(out, body.as_bytes());
        Ok(())
    }
}
