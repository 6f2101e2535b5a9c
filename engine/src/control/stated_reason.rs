//! Why a backend ends something, as it says it: a code and a reason.

use std::borrow::Cow;

use axum::http::Uri;
use fanfare_protocol::id::parse_decimal;
use fanfare_protocol::ws::CloseCode;
use serde::Deserialize;

use super::answer::Fault;
use super::target;
use crate::inquiry::{Dismissal, REASON_BYTES_MAX};

/// The two fields, in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedReason<'a> {
    pub(super) code: Option<u64>,
    #[serde(borrow, default)]
    pub(super) reason: Option<Cow<'a, str>>,
}

impl<'a> StatedReason<'a> {
    /// The two fields, in a query.
    pub(super) fn of_query(uri: &'a Uri) -> Result<Self, Fault> {
        target::spelled_right(uri, &["code", "reason"])?;
        let code = match target::parameter(uri, "code")? {
            None => None,
            Some(text) => Some(parse_decimal(text.as_bytes()).ok_or_else(bad_code)?),
        };
        Ok(Self { code, reason: target::parameter(uri, "reason")? })
    }

    /// Whether neither is there.
    pub(super) fn is_empty(&self) -> bool {
        self.code.is_none() && self.reason.is_none()
    }

    /// What is told to clients; without a code that they are not to come back unchanged.
    pub(super) fn judged(self, unsaid: &str) -> Result<Dismissal, Fault> {
        let code = match self.code {
            None => CloseCode::FORBIDDEN,
            Some(number @ 4000..=4999) => {
                CloseCode::from_wire(number as u16).expect("an application's code may be sent")
            }
            Some(_) => return Err(bad_code()),
        };
        let reason = self.reason.as_deref().unwrap_or(unsaid);
        if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            let message = format!(
                "\"reason\" is up to {REASON_BYTES_MAX} bytes of UTF-8 without control characters: \
                 a close frame has no room for more"
            );
            return Err(Fault::unprocessable("bad_reason", message));
        }
        Ok(Dismissal { code, reason: reason.into() })
    }
}

fn bad_code() -> Fault {
    Fault::unprocessable(
        "bad_code",
        "\"code\" is a number from 4000 to 4999: 44xx says that the client is not to come back \
         unchanged, 45xx that it is to come back",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_judged() {
        let judged = |query: &str| {
            let uri: Uri = format!("/x?{query}").parse().unwrap();
            let why = StatedReason::of_query(&uri).and_then(|why| why.judged("unsaid"));
            why.ok().map(|why| (why.code.number(), why.reason.to_string()))
        };
        assert_eq!(judged(""), Some((4403, "unsaid".into())));
        assert_eq!(judged("code=4505&reason=a+b"), Some((4505, "a b".into())));
        assert_eq!(judged("reason="), Some((4403, String::new())));
        let longest = "x".repeat(REASON_BYTES_MAX);
        assert_eq!(judged(&format!("reason={longest}")), Some((4403, longest.clone())));
        for query in [
            "code=1000",
            "code=3999",
            "code=5000",
            "code=69939", // 4403 in its lower half
            "code=-4403",
            "code=",
            "code=4403&code=4403",
            "cod=4403",
            "reason=%0a",
            "reason=%ff",
            &format!("reason={longest}x"),
        ] {
            assert_eq!(judged(query), None, "{query}");
        }
    }
}
