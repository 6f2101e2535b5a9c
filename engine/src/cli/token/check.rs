//! Explaining a token: what it says, and whether it is believed.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Args};
use fanfare_identity::Identity;
use fanfare_identity::keys::{JwkSet, Key, KeyPolicy, Verdict};
use fanfare_identity::token::{TOKEN_BYTES_MAX, Unverified};

use super::given::{Secret, read};
use crate::channel::Tenant;
use crate::cli::exit::{self, Failure};
use crate::clock;
use crate::keys::{Authorities, KeyAddress, KeyEndpoint, KeyPlan};

/// Arguments of `token check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The token, or "-" for standard input
    #[arg(value_name = "TOKEN")]
    token: String,
    #[command(flatten)]
    secret: Secret,
    /// A file with a public key in PEM (with --alg), or a key set in JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["secret", "secret_file",
        "config"])]
    public_key_file: Option<PathBuf>,
    /// Where a key set is fetched from
    #[arg(long, value_name = "URL", conflicts_with_all = ["secret", "secret_file",
        "config", "public_key_file"])]
    jwks_url: Option<String>,
    /// Whose certificates that may show, as a file in PEM [default: whom browsers trust]
    #[arg(long, value_name = "FILE", requires = "jwks_url")]
    jwks_ca_file: Option<PathBuf>,
    /// What the token's iss has to be
    #[arg(long, value_name = "NAME")]
    issuer: Option<Box<str>>,
    /// One of these has to be in the token's aud
    #[arg(long, value_name = "NAME")]
    audience: Vec<Box<str>>,
    /// Take tokens that never end
    #[arg(long)]
    no_exp: bool,
}

impl Check {
    pub(super) fn run(&self, matches: &ArgMatches) -> Result<ExitCode, Failure> {
        let token = self.token()?;
        let mut page = String::new();
        if let Ok(said) = Unverified::read(&token) {
            page.push_str("It says, and anybody can have written it:\n");
            let _ = writeln!(page, "  header  {}", printable(&said.header));
            let _ = writeln!(page, "  claims  {}\n", printable(&said.claims));
        }
        let (mut plan, at) = (self.plan(matches)?, clock::unix_seconds());
        let failures = plan.fetch_all().map_err(|error| {
            Failure::new(exit::UNAVAILABLE, format!("cannot fetch keys: {error}"))
        })?;
        let code = match plan.sources.snapshot().verify(&token, at) {
            Verdict::Known(identity) => {
                explain(&identity, at, &mut page);
                0
            }
            Verdict::Refused(refusal) => {
                let _ = writeln!(page, "It is refused ({}): {}.", refusal.code(), refusal.rule());
                if refusal.is_want_of_keys() { exit::UNAVAILABLE } else { exit::DATA }
            }
            Verdict::Pending(_) => {
                let _ = writeln!(page, "Its key is not known, and no endpoint could be asked.");
                exit::UNAVAILABLE
            }
        };
        failures.iter().for_each(|what| crate::cli::say::say(&format!("keys: {what}")));
        let mut out = std::io::stdout().lock();
        out.write_all(page.as_bytes())
            .and_then(|()| out.flush())
            .or_else(|error| exit::output(&error))?;
        Ok(ExitCode::from(code))
    }

    /// The token's bytes, without the end of a line; no more than one that is too long has.
    fn token(&self) -> Result<Vec<u8>, Failure> {
        if self.token != "-" {
            return Ok(self.token.clone().into_bytes());
        }
        let mut bytes = Vec::new();
        let all = std::io::stdin().lock().take(TOKEN_BYTES_MAX as u64 + 3).read_to_end(&mut bytes);
        all.map_err(|error| Failure::new(exit::IO, format!("cannot read the token: {error}")))?;
        bytes.truncate(bytes.trim_ascii_end().len());
        Ok(bytes)
    }

    fn plan(&self, matches: &ArgMatches) -> Result<KeyPlan, Failure> {
        let wrong = |what: String| Failure::new(exit::CONFIG, what);
        if let Some(tenancy) = self.secret.tenancy(matches)? {
            return KeyPlan::of(&tenancy).map_err(wrong);
        }
        let policy = Arc::new(KeyPolicy {
            issuer: self.issuer.clone(),
            audiences: self.audience.clone().into(),
            require_exp: !self.no_exp,
            ..KeyPolicy::new(Tenant::new(&self.secret.tenant))
        });
        let (alg, kid) = (self.secret.alg, self.secret.kid.as_deref());
        let mut plan = KeyPlan::default();
        if let Some(key) = self.secret.key()? {
            plan.sources.add_key(&policy, kid, key).map_err(wrong)?;
        } else if let Some(path) = &self.public_key_file {
            let text = read(path)?;
            if text.trim_ascii_start().starts_with(b"{") {
                let set = JwkSet::read(&text, alg).map_err(wrong)?;
                plan.sources.add_set(&policy, set).map_err(wrong)?;
            } else {
                let alg = alg.ok_or_else(|| {
                    wrong("a key in PEM does not say what it is for: give --alg".into())
                })?;
                let key = Key::pem(alg, &text).map_err(wrong)?;
                plan.sources.add_key(&policy, kid, key).map_err(wrong)?;
            }
        } else if let Some(url) = &self.jwks_url {
            let address = KeyAddress::parse(url).map_err(wrong)?;
            let authorities = match &self.jwks_ca_file {
                Some(path) => Authorities::pem(&read(path)?).map_err(wrong)?,
                None => Authorities::public(),
            };
            let id = plan.sources.add_endpoint(&policy, alg);
            plan.endpoints.push(KeyEndpoint { id, address, authorities });
        } else {
            let what = "nothing can be believed without a key: give --config, \
                        --secret-file, --public-key-file or --jwks-url";
            return Err(wrong(what.into()));
        }
        Ok(plan)
    }
}

/// What a good token makes of its bearer.
fn explain(identity: &Identity, now_s: u64, page: &mut String) {
    let user = identity
        .user
        .as_ref()
        .map_or("nobody in particular".into(), |user| format!("the user {:?}", user.as_str()));
    let _ = writeln!(
        page,
        "It is good. Its bearer is {user} of the tenant {:?}, and may:",
        identity.tenant.as_str()
    );
    for grant in identity.grants.iter() {
        let rights: Vec<_> = grant.rights.iter().map(|right| right.as_str()).collect();
        let rights = if rights.is_empty() { "nothing".into() } else { rights.join(", ") };
        let _ = writeln!(page, "  {}  {rights}", grant.pattern.as_str());
    }
    if identity.grants.iter().next().is_none() {
        page.push_str("  nothing by itself: what the rules of channels allow its user\n");
    }
    for name in &identity.follow {
        let _ = writeln!(page, "  {name}  is followed at once");
    }
    let _ = match identity.expires_s.map(|end_s| end_s.checked_sub(now_s)) {
        Some(Some(left_s)) => writeln!(page, "It ends in {left_s} s."),
        Some(None) => writeln!(page, "It has ended, within the 30 s that clocks may differ."),
        None => writeln!(page, "It never ends."),
    };
}

/// What a stranger wrote, on a terminal: without what would move the cursor.
fn printable(text: &str) -> String {
    let mut printed = String::new();
    for char in text.chars() {
        match char.is_control() || ('\u{200e}'..='\u{206f}').contains(&char) {
            true => printed.extend(char.escape_unicode()),
            false => printed.push(char),
        }
    }
    printed
}
