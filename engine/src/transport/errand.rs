//! What is to be done about a request of a client that comes over many sockets.

use fanfare_protocol::http::{Body, Request, Violation};
use fanfare_protocol::ws::handshake;

use super::Context;
use super::claim::Claim;
use super::decision::Decision;
use super::door::{Carriage, Errand, HoldRequest};
use super::follow_request::takes_chunks;
use super::request::Asker;

/// Decides about a request that is to do this.
///
/// # Errors
/// It is refused for this.
pub(super) fn decide(
    errand: Errand,
    request: &Request<'_>,
    context: &Context,
    asker: &Asker<'_>,
) -> Result<Decision, Violation> {
    let origin = asker.reader.map(Box::from);
    let identity = match &asker.claim {
        Claim::Denied(denial) => return Err(denial.violation),
        Claim::Pending(..) => return Err(Violation::KeysUnavailable),
        claim => claim.identity().cloned(),
    };
    let (carriage, hold) = match errand {
        Errand::Begin(hold) => (Carriage::Begin(hold), hold),
        Errand::Hold(session, hold) => (Carriage::Held(session, hold), hold),
        Errand::Upgrade(session, upgrade) => {
            let carriage = Carriage::Socket(session, upgrade, handshake::decide(request)?);
            let held = HoldRequest { carriage, origin, identity };
            return Ok(Decision::Hold(Box::new(held)));
        }
        Errand::Bring(session) => {
            let Body::Length(length) = request.body else {
                return Err(Violation::LengthNeeded);
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let limits = &context.limits;
            if length > limits.ws.message_bytes.min(limits.message_bytes) {
                return Err(Violation::BodyTooLong);
            }
            return Ok(Decision::Bring { session, origin, length });
        }
    };
    request.without_body()?;
    if hold.once.is_none() && !takes_chunks(request) {
        return Err(Violation::HttpVersion);
    }
    Ok(Decision::Hold(Box::new(HoldRequest { carriage, origin, identity })))
}
