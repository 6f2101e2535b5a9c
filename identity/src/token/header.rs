//! What a token says of its own signature. It is not believed: it chooses which keys are tried.

use std::borrow::Cow;

use super::limits::NAME_BYTES_MAX;
use super::members::Members;
use crate::keys::Algorithm;
use crate::refusal::{TokenRefusal, quoted};

/// The protected header of a token (RFC 7515, section 4).
///
/// Keys and addresses of keys that a token brings along (`jwk`, `jku`, `x5u`, `x5c`) are passed
/// over: who would believe them believes whoever signs.
pub(crate) struct Header {
    /// What the token is signed by, as it says; a key is for one algorithm, whatever a token says.
    pub algorithm: Algorithm,
    /// The name of its key: compared with the names of ours, and used for nothing else.
    pub kid: Option<Box<str>>,
}

impl Header {
    /// Reads the header of a signed token.
    ///
    /// # Errors
    /// Whatever asks for more than a plain signature by one of the known algorithms.
    pub fn read(json: &[u8]) -> Result<Self, TokenRefusal> {
        let members = Members::read(json)
            .map_err(|what| TokenRefusal::invalid(format!("the header of the token is {what}")))?;
        let (mut algorithm, mut kid) = (None, None);
        for (name, value) in members.0 {
            match &*name {
                "alg" => algorithm = Some(read_algorithm(value.get())?),
                "kid" => kid = Some(read_kid(value.get())?),
                "crit" => return Err(refused("names extensions that must be understood (`crit`)")),
                "b64" => return Err(refused("wants its claims without base64url (`b64`)")),
                "zip" => return Err(refused("wants to be inflated (`zip`)")),
                "enc" => return Err(refused("is that of an encrypted token (`enc`)")),
                "cty" => refuse_nested(value.get())?,
                _ => {}
            }
        }
        let algorithm = algorithm.ok_or_else(|| refused("names no algorithm (`alg`)"))?;
        Ok(Self { algorithm, kid })
    }
}

fn refused(what: &'static str) -> TokenRefusal {
    TokenRefusal::invalid(format!("the header of the token {what}"))
}

fn read_algorithm(value: &str) -> Result<Algorithm, TokenRefusal> {
    let name: Cow<'_, str> =
        serde_json::from_str(value).map_err(|_| refused("has an `alg` that is no string"))?;
    Algorithm::parse(&name).ok_or_else(|| {
        TokenRefusal::invalid(format!(
            "the token says that its algorithm is {}, which no key can have",
            quoted(&name)
        ))
    })
}

fn read_kid(value: &str) -> Result<Box<str>, TokenRefusal> {
    let kid: Box<str> =
        serde_json::from_str(value).map_err(|_| refused("has a `kid` that is no string"))?;
    if kid.len() > NAME_BYTES_MAX {
        return Err(refused("has a `kid` of more than 255 bytes"));
    }
    Ok(kid)
}

/// A token inside of a token is said to be one by `cty` (RFC 7519, section 5.2).
fn refuse_nested(value: &str) -> Result<(), TokenRefusal> {
    let kind: Cow<'_, str> =
        serde_json::from_str(value).map_err(|_| refused("has a `cty` that is no string"))?;
    let kind = kind.trim_start_matches("application/");
    if kind.eq_ignore_ascii_case("JWT") {
        return Err(refused("is that of a token inside of a token (`cty`)"));
    }
    Ok(())
}
