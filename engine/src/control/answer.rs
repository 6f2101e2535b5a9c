//! What a request is answered: JSON, and for every refusal a code for programs and a sentence for
//! people (what happened, why, what to do). No answer repeats what was sent.

use std::borrow::Cow;

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fanfare_protocol::refusals;
use serde::Serialize;

use crate::sequencer::command::Refusal;

/// A request that was not done.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    field: Option<(HeaderName, HeaderValue)>,
    closes: bool,
}

#[derive(Serialize)]
struct FaultBody<'a> {
    error: &'a str,
    message: &'a str,
}

impl Fault {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), field: None, closes: false }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn unprocessable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    pub(super) fn too_large(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message)
    }

    /// 503, to be tried again after `retry_s` seconds.
    pub(super) fn unavailable(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_s: u16,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
            .with(header::RETRY_AFTER, retry_s.into())
    }

    /// With one more header field.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { field: Some((name, value)), ..self }
    }

    /// The connection ends with this answer: what follows on it cannot be trusted or will not be
    /// read.
    pub(super) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The same refusal for one message among `count`. Its number is told as programs count and as
    /// people do.
    pub(super) fn at(self, nth: usize, count: usize) -> Self {
        let ordinal = ordinal(nth + 1);
        let message = format!("messages[{nth}] (the {ordinal} of {count}): {}", self.message);
        Self { message: message.into(), ..self }
    }
}

/// 1st, 2nd, 3rd, 4th, 11th, 21st.
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1..=3, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = FaultBody { error: self.code, message: &self.message };
        let mut response = json(self.status, &body);
        let fields = response.headers_mut();
        if let Some((name, value)) = self.field {
            fields.insert(name, value);
        }
        if self.closes {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = refusal_words(refusal);
        match refusal {
            Refusal::ChannelLimit | Refusal::LogFailed => Self::unavailable(code, message, 10),
            Refusal::Conflict => Self::new(StatusCode::CONFLICT, code, message),
            Refusal::Busy | Refusal::ShuttingDown => Self::unavailable(code, message, 1),
            Refusal::RateLimited => Self::new(StatusCode::TOO_MANY_REQUESTS, code, message)
                .with(header::RETRY_AFTER, 1.into()),
            Refusal::FollowedLimit => unreachable!("it follows nothing"),
        }
    }
}

/// The code and the sentence of a refusal of the sequencer.
pub(super) fn refusal_words(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::ChannelLimit => ("channel_limit", refusals::CHANNEL_LIMIT),
        Refusal::Conflict => ("idempotency_conflict", refusals::CONFLICT),
        Refusal::Busy => ("busy", refusals::BUSY),
        Refusal::RateLimited => ("rate_limited", refusals::RATE_LIMITED),
        Refusal::LogFailed => ("log_failed", refusals::LOG_FAILED),
        Refusal::ShuttingDown => ("shutting_down", refusals::SHUTTING_DOWN),
        Refusal::FollowedLimit => unreachable!("it follows nothing"),
    }
}

/// A JSON answer that is made by serde.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("our own structures are always JSON");
    json_bytes(status, bytes)
}

/// A JSON answer that is made already.
pub(super) fn json_bytes(status: StatusCode, mut bytes: Vec<u8>) -> Response {
    bytes.push(b'\n'); // so that a shell's prompt stands on a line of its own
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, fields, bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_count_from_the_first() {
        let cases = [1, 2, 3, 4, 11, 12, 13, 21, 22, 100, 101, 111, 112, 1_003];
        let said = cases.map(ordinal).join(" ");
        assert_eq!(said, "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 100th 101st 111th 112th 1003rd");
    }
}
