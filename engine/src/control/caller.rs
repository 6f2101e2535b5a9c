//! Who asks the API, and what each path asks of a key.
//!
//! A key says whose channels a request is about and what it may do; nothing else does, no word of
//! the request least of all. A path that stands in no line here is not there: one that was
//! forgotten cannot be open.

use std::sync::Mutex;

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use fanfare_identity::Action;

use super::answer::Fault;
use crate::channel::Tenant;
use crate::clock::{self, Millis};
use crate::diagnostics::line_limit::LineLimit;

/// Who asks, as the gate has found out.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Whose channels the request names.
    pub(super) tenant: Tenant,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        Ok(parts.extensions.get::<Self>().cloned().expect("every request passes the gate"))
    }
}

/// What a path asks of whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing: a probe has no key.
    Nothing,
    /// A key that may do this.
    Key(Action),
}

/// What a request asks of its key; `None` where there is no such path.
pub(super) fn action_of(method: &Method, path: &str) -> Option<Asked> {
    let path = path.strip_prefix('/')?;
    if matches!(path, "healthz" | "readyz") {
        return Some(Asked::Nothing);
    }
    if path == "metrics" {
        return Some(Asked::Key(Action::Metrics));
    }
    let rest = path.strip_prefix("v1/")?;
    let (kind, of) = rest.split_once('/').map_or((rest, None), |(kind, of)| (kind, Some(of)));
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    Some(Asked::Key(match (kind, of) {
        ("channels", Some(channel)) if !reads && !channel.contains('/') => Action::Publish,
        ("channels", _) => Action::Read,
        ("publish", None) => Action::Publish,
        ("connections" | "users", _) | ("disconnect" | "unsubscribe", None) => Action::Connections,
        ("tickets" | "revocations" | "explain", _) => Action::Tokens,
        ("reload", None) => Action::Reload,
        _ => return None,
    }))
}

/// Requests that were refused for their keys: told in the log, not each one.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<[LineLimit<10_000>; 2]>);

impl Refusals {
    /// A request without a key that is known.
    pub(super) fn unknown(&self, has_key: bool) -> Fault {
        if let Some(more) = self.take(0) {
            let what = if has_key { "an API key that is none" } else { "no API key" };
            tracing::warn!(more, "a request to the API came with {what}");
        }
        let realm = HeaderValue::from_static("Bearer realm=\"fanfare\"");
        Fault::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the API key is missing or wrong: send it as \"Authorization: Bearer KEY\"",
        )
        .with(WWW_AUTHENTICATE, realm)
    }

    /// A request whose key may do other things. It is told nothing of what it asked about.
    pub(super) fn forbidden(&self, action: Action, id: &str, place: &str) -> Fault {
        if let Some(more) = self.take(1) {
            tracing::warn!(more, id, place, %action, "an API key has not the action that it needs");
        }
        let message = format!(
            "this API key may not do this: the request needs the action \"{action}\", and \
             whoever runs the server decides which actions a key has"
        );
        Fault::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Whether a line of this kind may be written now, and how many were not since the last.
    fn take(&self, kind: usize) -> Option<u64> {
        let mut limits = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        limits[kind].take(Millis(clock::unix_seconds().saturating_mul(1_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_asks_for_its_action_and_no_other_path_is_there() {
        let get = Method::GET;
        let key = |method: &Method, path: &str| match action_of(method, path) {
            Some(Asked::Key(action)) => action.as_str(),
            Some(Asked::Nothing) => "nothing",
            None => "no path",
        };
        for (path, expected) in [
            ("/v1/channels/a", "read"),
            ("/v1/channels/a/history", "read"),
            ("/v1/channels", "read"),
            ("/metrics", "metrics"),
            ("/healthz", "nothing"),
            ("/readyz", "nothing"),
            ("/v1/connections/1", "connections"),
            ("/v1/users/ann", "connections"),
            ("/v1/users", "connections"),
            ("/", "no path"),
            ("", "no path"),
            ("//metrics", "no path"),
            ("/v1", "no path"),
            ("/v2/publish", "no path"),
            ("/v1/publish/x", "no path"),
            ("/metrics/", "no path"),
            ("/healthz/", "no path"),
        ] {
            assert_eq!(key(&get, path), expected, "GET {path}");
        }
        for (path, expected) in [
            ("/v1/channels/a", "publish"),
            ("/v1/publish", "publish"),
            ("/v1/tickets", "tokens"),
            ("/v1/revocations", "tokens"),
            ("/v1/explain", "tokens"),
            ("/v1/reload", "reload"),
            ("/v1/disconnect", "connections"),
            ("/v1/unsubscribe", "connections"),
        ] {
            assert_eq!(key(&Method::POST, path), expected, "POST {path}");
        }
        assert_eq!(key(&Method::DELETE, "/v1/channels/a"), "publish", "405 is for who may");
    }
}
