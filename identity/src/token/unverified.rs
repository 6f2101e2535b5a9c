//! What a token says, for whoever wants to see it with their own eyes.

use super::envelope::Envelope;
use crate::refusal::TokenRefusal;

/// The texts in a token. Anybody can have written them: they are to be shown, and not believed.
pub struct Unverified {
    /// Its header, as a rule in JSON.
    pub header: String,
    /// Its claims, as a rule in JSON.
    pub claims: String,
}

impl Unverified {
    /// Reads them, and looks no further.
    ///
    /// # Errors
    /// It has not three parts in base64url, or they are not text.
    pub fn read(token: &[u8]) -> Result<Self, TokenRefusal> {
        let envelope = Envelope::split(token)?;
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| TokenRefusal::invalid("the token is not in UTF-8"))
        };
        Ok(Self { header: text(envelope.header()?)?, claims: text(envelope.claims()?)? })
    }
}
