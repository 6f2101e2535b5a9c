//! Where a request says who asks: the token or the ticket that it brings, found and not yet
//! believed.
//!
//! Whatever is found here is a secret: it goes to whoever judges it and nowhere else.

use std::borrow::Cow;

use fanfare_protocol::http::{Request, Violation};

use crate::admission::origin::Access;

/// The item of `Sec-WebSocket-Protocol` that is a token: a browser's `WebSocket` has no other place
/// for one.
const PROTOCOL_ITEM: &[u8] = b"fanfare.bearer.";

/// Where tokens are looked for beside `Authorization` and the subprotocols of a WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Whether the query may have one.
    pub query: bool,
    /// The name of a cookie that is one.
    pub cookie: Option<Box<str>>,
}

/// What a request brings.
#[derive(PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing: nobody in particular asks.
    None,
    /// A token.
    Token(Cow<'a, [u8]>),
    /// A ticket, which is good once.
    Ticket(Cow<'a, str>),
}

impl<'a> Credential<'a> {
    /// What this request brings. `access` is what was found of its origin.
    ///
    /// # Errors
    /// [`Violation::TwoTokens`], [`Violation::QueryToken`], [`Violation::CookieOrigin`], or what is
    /// wrong with the query.
    pub fn of(request: &Request<'a>, access: Access, ways: &Ways) -> Result<Self, Violation> {
        let mut found = Self::None;
        match request.fields.one("authorization") {
            Ok(value) => found.take(value.and_then(bearer))?,
            Err(_) => return Err(Violation::TwoTokens),
        }
        for item in request.fields.elements("sec-websocket-protocol") {
            found.take(item.strip_prefix(PROTOCOL_ITEM))?;
        }
        let query = request.query();
        if let Some(token) = query.value("token")? {
            if !ways.query {
                return Err(Violation::QueryToken);
            }
            found.join(Self::Token(match token {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            }))?;
        }
        if let Some(ticket) = query.value("ticket")? {
            found.join(Self::Ticket(ticket))?;
        }
        // A browser sends it whether the page wants to or not: whoever brings something else means
        // that.
        if found == Self::None
            && let Some(token) = ways.cookie.as_deref().and_then(|name| cookie(request, name))
        {
            if !is_from_a_page_of_ours(request, access) {
                return Err(Violation::CookieOrigin);
            }
            found = Self::Token(token.into());
        }
        Ok(found)
    }

    fn take(&mut self, token: Option<&'a [u8]>) -> Result<(), Violation> {
        token.map_or(Ok(()), |token| self.join(Self::Token(token.into())))
    }

    /// One may be brought twice, but not two (THREATS J18).
    fn join(&mut self, other: Self) -> Result<(), Violation> {
        match self {
            Self::None => *self = other,
            known if *known == other => {}
            _ => return Err(Violation::TwoTokens),
        }
        Ok(())
    }
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1). Another
/// scheme is for somebody else, a proxy on the way perhaps.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

/// The first cookie of this name (RFC 6265, section 5.4: the most specific path comes first).
fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let pairs = request.fields.all("cookie").flat_map(|field| field.split(|byte| *byte == b';'));
    let named = pairs.filter_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let is_it = parts.next()?.trim_ascii() == name.as_bytes();
        parts.next().filter(|_| is_it).map(<[u8]>::trim_ascii)
    });
    named
        .map(|value| {
            value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value)
        })
        .next()
}

/// Whether a browser says that a page asks which may: one of an origin that is allowed, or, where
/// browsers send no Origin (a GET of their own site), of this very site. No page can forge either.
fn is_from_a_page_of_ours(request: &Request<'_>, access: Access) -> bool {
    let same_site = || request.fields.one("sec-fetch-site") == Ok(Some(b"same-origin"));
    access == Access::Allowed || (access == Access::NoneSent && same_site())
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(...)",
            Self::Ticket(_) => "Ticket(...)",
        })
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::http::HeadReader;
    use fanfare_protocol::limits::HttpLimits;

    use super::*;

    /// What a request with this target and these lines brings, as text.
    fn found(target: &str, lines: &str, access: Access) -> Result<String, Violation> {
        let ways = Ways { query: target.starts_with("/open"), cookie: Some("fan".into()) };
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut reader = HeadReader::new();
        reader.feed(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        let request = reader.request(&HttpLimits::DEFAULT).unwrap();
        Credential::of(&request, access, &ways).map(|found| match found {
            Credential::None => String::new(),
            Credential::Token(token) => String::from_utf8_lossy(&token).into_owned(),
            Credential::Ticket(ticket) => format!("ticket {ticket}"),
        })
    }

    #[test]
    fn each_way_brings_a_token() {
        let none = Access::NoneSent;
        for (target, lines) in [
            ("/ws", "Authorization: Bearer a.b.c\r\n"),
            ("/ws", "authorization: bEARER  a.b.c \r\n"),
            ("/ws", "Sec-WebSocket-Protocol: fanfare, fanfare.bearer.a.b.c\r\n"),
            ("/open?token=a.b.c", ""),
            ("/open?token=a%2Eb.c", "Authorization: Bearer a.b.c\r\n"),
            ("/ws", "Cookie: x=1; fan=a.b.c; fan=d\r\nSec-Fetch-Site: same-origin\r\n"),
            ("/ws", "Cookie: fan=\"a.b.c\"\r\nSec-Fetch-Site: same-origin\r\n"),
            ("/ws", "Cookie: fan=other\r\nAuthorization: Bearer a.b.c\r\n"),
        ] {
            assert_eq!(found(target, lines, none).as_deref(), Ok("a.b.c"), "{target} {lines}");
        }
        let allowed = found("/ws", "Origin: https://a\r\nCookie: fan=a.b.c\r\n", Access::Allowed);
        assert_eq!(allowed.as_deref(), Ok("a.b.c"));
        assert_eq!(found("/sse?ticket=t", "", none).as_deref(), Ok("ticket t"));
        for lines in ["", "Authorization: Basic YTpi\r\n", "Cookie: fans=a.b.c; x=fan=1\r\n"] {
            assert_eq!(found("/sse", lines, none).as_deref(), Ok(""), "{lines}");
        }
    }

    #[test]
    fn j18_two_that_differ_are_refused() {
        for (target, lines) in [
            ("/open?token=a.b.c", "Authorization: Bearer d.e.f\r\n"),
            ("/open?token=a.b.c&ticket=t", ""),
            ("/ws?ticket=t", "Authorization: Bearer a.b.c\r\n"),
            ("/ws", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            ("/ws", "Authorization: Bearer a\r\nSec-WebSocket-Protocol: fanfare.bearer.b\r\n"),
            ("/ws", "Sec-WebSocket-Protocol: fanfare.bearer.a, fanfare.bearer.b\r\n"),
        ] {
            let refused = found(target, lines, Access::NoneSent);
            assert_eq!(refused, Err(Violation::TwoTokens), "{target} {lines}");
        }
    }

    #[test]
    fn a_url_and_a_cookie_are_believed_where_that_is_safe() {
        assert_eq!(found("/sse?token=a", "", Access::NoneSent), Err(Violation::QueryToken));
        for site in ["", "Sec-Fetch-Site: same-site\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
            let lines = format!("Cookie: fan=a\r\n{site}");
            let refused = found("/sse", &lines, Access::NoneSent);
            assert_eq!(refused, Err(Violation::CookieOrigin), "{site}");
        }
    }

    #[test]
    fn what_is_found_is_not_shown() {
        let shown = format!("{:?}", Credential::Token(b"secret"[..].into()));
        assert!(!shown.contains("secret"));
    }
}
