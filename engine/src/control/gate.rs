//! What every request passes before anything of it is done: Host, Expect, Origin, key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fanfare_protocol::refusals;

use super::answer::Fault;
use super::api::Api;
use super::caller::{Asked, Caller, action_of};
use super::routes;
use crate::admission::host::is_loopback_host;
use crate::admission::origin::{Access, Origins};

/// Lets a request pass or answers it. One that asks for a WebSocket, which the API never becomes,
/// is the last of its connection: a proxy may take the connection for a tunnel from here on, and
/// what a client sends through that is no request (THREATS H15).
pub(super) async fn pass(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_last = asks_for_websocket(request.headers());
    let mut response = match api.judge(request.method(), request.uri(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(fault) => fault.closing().into_response(),
    };
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn asks_for_websocket(fields: &HeaderMap) -> bool {
    let words =
        fields.get_all(UPGRADE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"websocket"))
}

impl Api {
    fn judge(&self, method: &Method, uri: &Uri, fields: &HeaderMap) -> Result<Caller, Fault> {
        let host = host(uri, fields)?;
        if fields
            .get_all(EXPECT)
            .iter()
            .any(|e| !e.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Fault::new(
                StatusCode::EXPECTATION_FAILED,
                "bad_expectation",
                "the only Expect that is known is 100-continue: send none",
            ));
        }
        judge_coding(fields)?;
        self.judge_origin(host, fields)?;
        match action_of(method, uri.path()) {
            // A probe has no key, and learns nothing but that.
            Some(Asked::Nothing) => Ok(self.nobody()),
            asked => self.judge_key(asked, fields),
        }
    }

    /// Pages of other sites have no business here, not even pages of this machine on another port:
    /// a page that may publish does so through its own server.
    fn judge_origin(&self, host: &str, fields: &HeaderMap) -> Result<(), Fault> {
        let origin = one(fields, &ORIGIN)?.map(HeaderValue::as_bytes);
        if Origins::default().access(origin, Some(host), false) == Access::Refused {
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "this API is for backends, and the request comes from a page of another site: \
                 publish from your server",
            ));
        }
        // A stranger's page that rebinds its own name to 127.0.0.1 is of the same host, but must
        // say that name. Who has the key needs no such proof.
        if self.loopback && self.changes.api_keys().is_empty() && !is_loopback_host(host) {
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "foreign_host",
                "this API listens on loopback without a key, so the Host must be localhost or a \
                 loopback address: use that, or set an API key",
            ));
        }
        Ok(())
    }

    /// Who asks, if the key may do what is asked for. Of a path that is not there only those who
    /// have some key are told so.
    fn judge_key(&self, asked: Option<Asked>, fields: &HeaderMap) -> Result<Caller, Fault> {
        let keys = self.changes.api_keys();
        let caller = if keys.is_empty() {
            self.nobody()
        } else {
            let field = one(fields, &AUTHORIZATION)?;
            let sent = field.and_then(|value| bearer(value.as_bytes()));
            let key = sent.and_then(|sent| keys.find(sent));
            let key = key.ok_or_else(|| self.refusals.unknown(field.is_some()))?;
            if let Some(Asked::Key(action)) = asked
                && !key.actions.has(action)
            {
                return Err(self.refusals.forbidden(action, key.hash.id(), &key.place));
            }
            Caller { tenant: key.tenant.clone() }
        };
        if asked.is_none() { Err(routes::unknown_path()) } else { Ok(caller) }
    }

    /// One that no key speaks for.
    fn nobody(&self) -> Caller {
        Caller { tenant: self.config.tenant.clone() }
    }
}

/// hyper undoes `chunked` where it ends the list, but no coding that stands before it: the coded
/// bytes would be published as if they were the message.
fn judge_coding(fields: &HeaderMap) -> Result<(), Fault> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Fault::new(
            StatusCode::NOT_IMPLEMENTED,
            "unknown_transfer_coding",
            "the only transfer coding that is known is chunked, alone: send others as \
             Content-Encoding (gzip, deflate, br)",
        )),
    }
}

/// The Host that was asked for. RFC 9112, section 3.2: a request without exactly one is answered
/// 400; hyper leaves that to us.
fn host<'a>(uri: &Uri, fields: &'a HeaderMap) -> Result<&'a str, Fault> {
    let host = one(fields, &HOST)?.and_then(|host| host.to_str().ok()).ok_or_else(|| {
        Fault::bad_request("bad_host", "a request names exactly one Host (RFC 9112, section 3.2)")
    })?;
    match uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Fault::bad_request("bad_host", "the target and the Host field name two hosts"))
        }
        _ => Ok(host),
    }
}

/// The one value of a field that must not stand twice.
fn one<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Fault> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Fault::bad_request(
            "repeated_field",
            "Host, Origin, Authorization and Idempotency-Key stand in a request once at most",
        )),
        (value, None) => Ok(value),
    }
}

/// The one `Idempotency-Key`, judged for its length.
pub(super) fn idempotency_key(fields: &HeaderMap) -> Result<Option<&[u8]>, Fault> {
    one(fields, &HeaderName::from_static("idempotency-key"))?
        .map(|key| checked_key(key.as_bytes()))
        .transpose()
}

/// An idempotency key that may be carried.
pub(super) fn checked_key(key: &[u8]) -> Result<&[u8], Fault> {
    const BYTES_MAX: usize = fanfare_protocol::limits::IDEMPOTENCY_KEY_BYTES_MAX;
    if (1..=BYTES_MAX).contains(&key.len()) {
        return Ok(key);
    }
    Err(Fault::unprocessable("bad_idempotency_key", refusals::BAD_KEY))
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_keys() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Bearer"), None);
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bearerabc"), None);
        assert_eq!(bearer(b"Bearer "), Some(&b""[..]));
    }
}
