//! The methods that this listener knows.

use super::violation::Violation;

/// A method that a path may take or refuse. Others never become a [`super::Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of RFC 9110 and RFC 5789
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// A safe request with a body (draft-ietf-httpbis-safe-method-w-body).
    Query,
}

impl Method {
    /// Case-sensitive, as methods are (RFC 9110, section 9.1).
    pub(super) fn parse(word: &str) -> Result<Self, Violation> {
        Ok(match word {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "QUERY" => Self::Query,
            "CONNECT" | "TRACE" => return Err(Violation::MethodNever),
            _ => return Err(Violation::UnknownMethod),
        })
    }
}
