//! A client that is here shows a new token, so that it goes on when its old one ends.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::{Encoding, TokenNotice};
use fanfare_protocol::http::Violation;
use fanfare_protocol::ws::CloseCode;

use super::effect::Effect;
use super::heard::Heard;
use super::here::Here;
use super::tenure::Tenure;
use crate::authority::{Denial, Identified};
use crate::transport::websocket::close_of;

/// What has become of it.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// It goes on.
    Done,
    /// The token is somebody else's.
    Denied(Denial),
}

/// Over its own WebSocket. A token that is not good ends the connection, which is never taken for
/// one that has shown none.
pub(super) fn by_token(token: &[u8], encoding: Encoding, here: &mut Here<'_>) -> Heard {
    // Each is a signature to be checked, in the time of everybody else.
    let now = here.now;
    if here.line.tenure.as_mut().is_some_and(|tenure| !tenure.may_show_another(now)) {
        return Heard::fault(CloseCode::RATE_LIMITED, "too many tokens");
    }
    let context = here.shared.context.clone();
    let Some(authority) = &context.authority else { return Heard::Fine };
    let denial = match authority.identify_token(token, here.unix_ms()) {
        Ok(Identified::Known(bearer)) => match by_identity(bearer.identity, encoding, here) {
            Refreshed::Done => return Heard::Fine,
            Refreshed::Denied(denial) => denial,
        },
        Ok(Identified::Pending(endpoint)) => {
            here.shared.want(Effect::WantKeys(endpoint));
            encoding.token(TokenNotice::TryAgain, here.private());
            return Heard::Fine;
        }
        Ok(Identified::Nobody) => return Heard::Fine,
        Err(denial) if denial.violation == Violation::KeysUnavailable => {
            encoding.token(TokenNotice::TryAgain, here.private());
            return Heard::Fine;
        }
        Err(denial) => denial,
    };
    here.shared.denied(&denial, here.line.identity().map(|it| &**it), here.now);
    let (code, reason) = close_of(denial.violation);
    Heard::Dismissed(code, reason)
}

/// This is the identity of its new token.
pub(super) fn by_identity(
    identity: Arc<Identity>,
    encoding: Encoding,
    here: &mut Here<'_>,
) -> Refreshed {
    let before = here.line.identity();
    let is_same = match before {
        Some(before) => before.tenant == identity.tenant && before.user == identity.user,
        // Nobody in particular becomes somebody of the tenant whose channels it follows.
        None => identity.tenant == here.shared.context.tenant,
    };
    if !is_same {
        let rule = "a new token is for the same user of the same tenant".into();
        return Refreshed::Denied(Denial { violation: Violation::BadToken, rule });
    }
    let mut tenure = Tenure::of(identity, here);
    if let Some(before) = here.line.tenure.as_deref() {
        tenure.goes_on_from(before);
    }
    let notice = TokenNotice::Refreshed(tenure.left_s(here.now));
    here.line.tenure = Some(tenure);
    encoding.token(notice, here.private());
    here.shared.want(Effect::AskAgain);
    here.shared.want(Effect::Visit);
    Refreshed::Done
}
