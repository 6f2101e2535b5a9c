//! The three parts of a token, before anything in them is read.
//!
//! A token comes from a stranger, so what costs memory comes after what costs none: its length and
//! its dots first, then the alphabet, part by part, as parts are needed.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::limits::TOKEN_BYTES_MAX;
use crate::refusal::TokenRefusal;

/// A token in its parts: `header.claims.signature` (RFC 7515, section 7.1), still in base64url.
#[derive(Clone, Copy)]
pub(crate) struct Envelope<'t> {
    /// What the signature is for: header, dot, claims, as they were written.
    pub signed: &'t [u8],
    header: &'t [u8],
    claims: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Envelope<'t> {
    /// Finds the parts. Allocates nothing.
    ///
    /// # Errors
    /// A token that is too long, or that has other than three parts.
    pub fn split(token: &'t [u8]) -> Result<Self, TokenRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefusal::invalid("a token has at most 8,192 bytes"));
        }
        let mut dots =
            token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenRefusal::invalid(match dots.next() {
                Some(_) if dots.next().is_none() => {
                    "the token has five parts, as encrypted ones have (JWE): it must be signed only"
                }
                _ => "a token has three parts with a dot between each two: header.claims.signature",
            }));
        };
        let (header, claims, signature) =
            (&token[..first], &token[first + 1..second], &token[second + 1..]);
        Ok(Self { signed: &token[..second], header, claims, signature })
    }

    /// The header's JSON.
    ///
    /// # Errors
    /// It is not in base64url.
    pub fn header(&self) -> Result<Vec<u8>, TokenRefusal> {
        decoded(self.header, "header")
    }

    /// The claims' JSON: nothing of it is to be believed before the signature was checked.
    ///
    /// # Errors
    /// They are not in base64url.
    pub fn claims(&self) -> Result<Vec<u8>, TokenRefusal> {
        decoded(self.claims, "claims")
    }

    /// The signature's bytes.
    ///
    /// # Errors
    /// There is none, or it is not in base64url.
    pub fn signature(&self) -> Result<Vec<u8>, TokenRefusal> {
        if self.signature.is_empty() {
            return Err(TokenRefusal::invalid("the token is not signed"));
        }
        decoded(self.signature, "signature")
    }
}

/// Reads base64url as RFC 7515 has it: no padding, no white space, no `+` and `/`, and no bits that
/// say nothing, so that every part has one spelling.
fn decoded(part: &[u8], name: &'static str) -> Result<Vec<u8>, TokenRefusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| {
        TokenRefusal::invalid(Cow::Owned(format!(
            "the {name} of the token is not in base64url without padding"
        )))
    })
}
