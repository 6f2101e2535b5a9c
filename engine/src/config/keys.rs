//! Keys that sign tokens, as a file has them: in `[auth]` and in `[[tenants.keys]]`.
//!
//! A key is said in one of four ways, and its algorithm belongs to it: a secret is for HMAC alone,
//! a public key for anything else, so that no token can have its public key taken for a secret
//! (THREATS J2). Files are read when everything is known, beside the file that names them.

use std::path::{Path, PathBuf};

use fanfare_identity::keys::{Algorithm, KeySources};
use toml::de::DeValue;

use super::document::{Section, expected};
use super::read;
use super::secret::{self, SmallFile};
use super::source::{Problem, Source, Sourced};
use crate::channel::Tenant;
use crate::keys::{Authorities, KeyAddress};
use crate::tenancy::{KeyMaterial, KeySpec};

/// Shorter secrets are refused (RFC 7518, section 3.2: as long as the hash; THREATS J20).
const SECRET_BYTES_MIN: usize = 32;
/// Names of keys, issuers and audiences.
const WORD_BYTES_MAX: usize = 255;
/// What a table says of a key.
#[derive(Debug)]
pub(super) struct KeyDraft {
    kid: Option<Sourced<Box<str>>>,
    alg: Option<Sourced<Algorithm>>,
    issuer: Option<Sourced<Box<str>>>,
    audiences: Option<Sourced<Box<[Box<str>]>>>,
    authorities: Option<Sourced<PathBuf>>,
    said: Vec<Sourced<Said>>,
    /// A key was named that is none, and complained of.
    is_told: bool,
    table: Source,
    place: std::sync::Arc<str>,
}

/// What a key is judged beside.
pub(super) struct Beside<'a> {
    /// Where files are unless they say.
    pub(super) folder: &'a Path,
    /// The keys before it.
    pub(super) keys: KeySources,
    /// Whether tokens need an end.
    pub(super) require_exp: bool,
}

/// In which way.
#[derive(Debug)]
enum Said {
    Secret(Vec<u8>),
    SecretFile(PathBuf),
    PublicKeyFile(PathBuf),
    JwksUrl(Box<str>),
}

impl Said {
    fn key(&self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::SecretFile(_) => "secret_file",
            Self::PublicKeyFile(_) => "public_key_file",
            Self::JwksUrl(_) => "jwks_url",
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_) | Self::SecretFile(_))
    }
}

impl KeyDraft {
    /// Asks a table for all that a key may say. Ending the table is the caller's.
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        fn any<T>(said: Option<Sourced<T>>, of: fn(T) -> Said) -> Option<Sourced<Said>> {
            said.map(|Sourced { value, source }| Sourced { value: of(value), source })
        }
        let secret = section.value("secret", |value| Ok(read::text(value)?.into_bytes()));
        let said = [
            any(secret, Said::Secret),
            any(section.value("secret_file", read::path), Said::SecretFile),
            any(section.value("public_key_file", read::path), Said::PublicKeyFile),
            any(section.value("jwks_url", jwks_url), Said::JwksUrl),
        ];
        let words = ["secret", "secret_file", "public_key_file", "jwks_url"];
        let named = words.iter().filter(|word| section.has(word)).count();
        let said: Vec<_> = said.into_iter().flatten().collect();
        Self {
            is_told: said.len() < named,
            said,
            kid: section.value("kid", word),
            alg: section.value("alg", alg),
            issuer: section.value("issuer", word),
            audiences: section.value("audience", audiences),
            authorities: section.value("jwks_ca_file", read::path),
            table: section.source(),
            place: section.place(),
        }
    }

    /// Whether the table says any key.
    pub(super) fn has_key(&self) -> bool {
        !self.said.is_empty()
    }

    /// Where an inline secret stands, so that the file itself is a secret.
    pub(super) fn inline_secret(&self) -> Option<&Source> {
        let inline = self.said.iter().find(|said| matches!(said.value, Said::Secret(_)));
        inline.map(|said| &said.source)
    }

    /// The key of this tenant, or what is wrong with it.
    pub(super) fn settle(
        mut self,
        tenant: &Tenant,
        beside: &mut Beside<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<KeySpec> {
        let mut complain = |source: &Source, what: String| {
            problems.push(Problem::new(source.clone(), what));
        };
        if let [first, second, ..] = &self.said[..] {
            let (first, at, second) = (first.value.key(), &second.source, second.value.key());
            complain(at, format!("{first} and {second} are both there: a key is one of them"));
            return None;
        }
        let Some(Sourced { value: said, source }) = self.said.pop() else {
            if self.is_told {
                return None;
            }
            let what = "this names no key: write one of secret, secret_file, public_key_file, \
                        jwks_url";
            complain(&self.table, what.into());
            return None;
        };
        let (is_secret, key) = (said.is_secret(), said.key());
        if let Some(alg) = &self.alg
            && alg.value.is_symmetric() != is_secret
        {
            let fits = names(|alg| alg.is_symmetric() == is_secret);
            let what = format!("alg: {} is not for a {key}: use {fits}", alg.value);
            complain(&alg.source, what);
            return None;
        }
        let mut authorities = None;
        if let Some(Sourced { value, source }) = &self.authorities {
            let read = match key {
                "jwks_url" => authority(&beside.folder.join(value)),
                other => Err(format!("this is for a jwks_url, and the key is a {other}")),
            };
            match read {
                Ok(text) => authorities = Some(text),
                Err(what) => complain(source, format!("jwks_ca_file: {what}")),
            }
        }
        let alg = self.alg.map(|said| said.value).or(is_secret.then_some(Algorithm::Hs256));
        let spec = material(said, alg.is_some(), beside.folder).and_then(|material| {
            let spec = KeySpec {
                tenant: tenant.clone(),
                kid: self.kid.map(|said| said.value),
                alg,
                material,
                issuer: self.issuer.map(|said| said.value),
                audiences: self.audiences.map_or_else(Box::default, |said| said.value),
                authorities,
                place: self.place,
            };
            spec.add_to(&mut beside.keys, beside.require_exp).map(|_| spec)
        });
        spec.map_err(|what| complain(&source, format!("{key}: {what}"))).ok()
    }
}

fn material(said: Said, has_alg: bool, folder: &Path) -> Result<KeyMaterial, String> {
    match said {
        Said::Secret(secret) => checked(secret),
        Said::SecretFile(path) => checked(secret::bytes_of_file(&folder.join(path))?),
        Said::PublicKeyFile(path) => public_key(&folder.join(path), has_alg),
        Said::JwksUrl(url) => Ok(KeyMaterial::Jwks(url)),
    }
}

/// The certificates of whoever vouches for an endpoint.
fn authority(path: &Path) -> Result<Box<[u8]>, String> {
    let text = SmallFile::read(path)?.bytes;
    Authorities::pem(&text).map_err(|what| format!("{}: {what}", path.display()))?;
    Ok(text.into())
}

fn checked(secret: Vec<u8>) -> Result<KeyMaterial, String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "the secret has {} bytes, so that whoever has one token can guess it: use at least \
             {SECRET_BYTES_MIN} random ones (`openssl rand -base64 48` makes some)",
            secret.len()
        ));
    }
    Ok(KeyMaterial::Secret(secret.into()))
}

fn public_key(path: &Path, has_alg: bool) -> Result<KeyMaterial, String> {
    let bytes = SmallFile::read(path)?.bytes;
    let has = |words: &[u8]| bytes.windows(words.len()).any(|found| found == words);
    let shown = path.display();
    if has(b"PRIVATE KEY-----") {
        return Err(format!(
            "{shown} holds a private key, which is for whoever makes tokens alone: give the public \
             one (`openssl pkey -in KEY -pubout` writes it)"
        ));
    }
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    match (is_json, has(b"-----BEGIN "), has_alg) {
        (false, false, _) => Err(format!(
            "{shown} holds neither a public key in PEM (-----BEGIN PUBLIC KEY-----) nor a set of \
             keys in JSON"
        )),
        (false, true, false) => {
            Err("a key in PEM does not say what it is for: say so, as in alg = \"RS256\" or \
             alg = \"ES256\""
                .into())
        }
        _ => Ok(KeyMaterial::PublicKey(bytes.into())),
    }
}

fn alg(value: &DeValue<'_>) -> Result<Algorithm, String> {
    let word = read::text(value)?;
    Algorithm::parse(&word).ok_or_else(|| {
        let all = names(|_| true);
        format!("\"{word}\" is not an algorithm of tokens: there are {all}")
    })
}

fn names(fits: impl Fn(Algorithm) -> bool) -> String {
    let names: Vec<_> =
        Algorithm::ALL.into_iter().filter(|alg| fits(*alg)).map(Algorithm::as_str).collect();
    names.join(", ")
}

fn word(value: &DeValue<'_>) -> Result<Box<str>, String> {
    let text = read::text(value)?;
    if text.is_empty() || text.len() > WORD_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("this has 1 to {WORD_BYTES_MAX} bytes and no control characters"));
    }
    Ok(text.into())
}

/// One, or a list of which one will do.
fn audiences(value: &DeValue<'_>) -> Result<Box<[Box<str>]>, String> {
    match value {
        DeValue::String(_) => Ok([word(value)?].into()),
        DeValue::Array(entries) if entries.is_empty() => {
            Err("an empty list would let no token in: leave it out to take any".into())
        }
        DeValue::Array(entries) => entries.iter().map(|entry| word(entry.get_ref())).collect(),
        _ => Err(expected("a string, or a list of strings", value)),
    }
}

/// Where keys are fetched from nobody in between may change them: HTTPS, or this machine.
fn jwks_url(value: &DeValue<'_>) -> Result<Box<str>, String> {
    let text = word(value)?;
    let rest = |scheme: &str| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
    let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    if let Some(rest) = rest("https://") {
        let good = !authority(rest).is_empty() && !authority(rest).contains('@');
        if !good {
            return Err("this URL names no host, or a password".into());
        }
        return KeyAddress::parse(&text).map(|_| text);
    }
    let is_near = |rest: &str| crate::admission::host::is_loopback_host(&authority(rest));
    match rest("http://") {
        Some(rest) if is_near(rest) => KeyAddress::parse(&text).map(|_| text),
        Some(_) => {
            Err("keys that come by plain http can be exchanged on their way: use https".into())
        }
        None => Err("this is a URL, as in \"https://id.example.com/.well-known/jwks.json\"".into()),
    }
}
