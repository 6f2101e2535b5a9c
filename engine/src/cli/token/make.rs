//! Making a token, for development.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Args};
use fanfare_identity::keys::{Algorithm, Key};
use fanfare_identity::{Pattern, Right, Rights};
use serde_json::{Map, Value, json};

use super::given::Secret;
use crate::cli::exit::{self, Failure};
use crate::clock;
use crate::config::units;
use crate::tenancy::{KeyMaterial, Tenancy};

/// The longest that a token for development lives: 90 days.
const TTL_MS_MAX: u64 = 90 * 24 * 3_600 * 1_000;

/// Arguments of `token` alone.
#[derive(Debug, Args)]
pub(super) struct Make {
    #[command(flatten)]
    secret: Secret,
    /// Who the bearer is (sub); nobody in particular without
    #[arg(long, value_name = "USER")]
    sub: Option<String>,
    /// How long it is good, from 1s to 90d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: u64,
    /// Channels that may be listened to: a pattern ("room:*", "**"). May be given several times
    #[arg(long = "channel", visible_alias = "channels", value_name = "PATTERN",
        value_delimiter = ',', value_parser = pattern)]
    channels: Vec<String>,
    /// Channels that may be published to. May be given several times
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', value_parser = pattern)]
    publish: Vec<String>,
    /// A channel that a connection follows at once. May be given several times
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    follow: Vec<String>,
    /// Who made it (iss)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// For whom it is (aud)
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Its own name (jti), by which it can be revoked
    #[arg(long, value_name = "NAME")]
    jti: Option<String>,
    /// What others may be told of the user: one JSON value
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    info: Option<Value>,
}

impl Make {
    pub(super) fn run(&self, matches: &ArgMatches) -> Result<ExitCode, Failure> {
        let mut claims = self.claims(clock::unix_seconds());
        let (key, kid) = match self.secret.tenancy(matches)? {
            Some(tenancy) => self.configured(&tenancy, &mut claims)?,
            None => (self.secret.key()?.ok_or_else(no_secret)?, self.secret.kid.clone()),
        };
        let token =
            key.sign(kid.as_deref(), &Value::Object(claims).to_string()).ok_or_else(|| {
                Failure::new(exit::USAGE, "tokens are made with a secret: HS256, HS384 or HS512")
            })?;
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{token}").and_then(|()| out.flush()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => exit::output(&error).map(|()| ExitCode::SUCCESS),
        }
    }

    /// The first secret of the tenant that the configuration has, by the name that was asked for
    /// if one was. What it asks of issuer and audience is claimed, unless others are.
    fn configured(
        &self,
        tenancy: &Tenancy,
        claims: &mut Map<String, Value>,
    ) -> Result<(Key, Option<String>), Failure> {
        let asked = self.secret.kid.as_deref();
        let mut of_tenant = tenancy.keys.iter().filter(|spec| {
            spec.tenant.as_str() == self.secret.tenant
                && (asked.is_none() || asked == spec.kid.as_deref())
        });
        let found = of_tenant.find_map(|spec| match &spec.material {
            KeyMaterial::Secret(secret) => Some((spec, secret)),
            _ => None,
        });
        let Some((spec, secret)) = found else {
            let what = format!(
                "the configuration has no such secret of the tenant \"{}\": tokens are made with a \
                 secret, or by whoever has the private half of a public key",
                self.secret.tenant
            );
            return Err(Failure::new(exit::CONFIG, what));
        };
        let key = Key::secret(spec.alg.unwrap_or(Algorithm::Hs256), secret);
        let key = key.map_err(|what| Failure::new(exit::CONFIG, what))?;
        let asked_of_it = [("iss", spec.issuer.as_ref()), ("aud", spec.audiences.first())];
        for (name, value) in asked_of_it {
            if let (Some(value), false) = (value, claims.contains_key(name)) {
                claims.insert(name.into(), Value::from(&**value));
            }
        }
        Ok((key, spec.kid.as_deref().map(str::to_owned)))
    }

    fn claims(&self, now_s: u64) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut say = |name: &str, value: Option<Value>| {
            claims.extend(value.map(|value| (name.to_owned(), value)));
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        say("sub", text(&self.sub));
        say("iss", text(&self.issuer));
        say("aud", text(&self.audience));
        say("jti", text(&self.jti));
        say("iat", Some(now_s.into()));
        say("exp", Some((now_s + self.ttl / 1_000).into()));
        say("info", self.info.clone());
        say("follow", (!self.follow.is_empty()).then(|| json!(self.follow)));
        say("channels", self.grants());
        claims
    }

    /// A list where everything is for listeners, else each pattern with its rights.
    fn grants(&self) -> Option<Value> {
        if self.publish.is_empty() {
            return (!self.channels.is_empty()).then(|| json!(self.channels));
        }
        let mut grants = Map::new();
        for pattern in self.channels.iter().chain(&self.publish) {
            let mut rights = Rights::NONE;
            if self.channels.contains(pattern) {
                rights = rights.and(Rights::TO_LISTEN);
            }
            if self.publish.contains(pattern) {
                rights = rights.with(Right::Publish);
            }
            let names: Vec<_> = rights.iter().map(Right::as_str).collect();
            grants.insert(pattern.clone(), json!(names));
        }
        Some(Value::Object(grants))
    }
}

fn no_secret() -> Failure {
    let what = "a token is signed: give --config, or --secret-file (`openssl rand -hex 32 > \
                secret` makes one)";
    Failure::new(exit::CONFIG, what)
}

fn ttl(text: &str) -> Result<u64, String> {
    match units::millis(text)? {
        time @ 1_000..=TTL_MS_MAX => Ok(time),
        _ => Err("a token for development lives from 1s to 90d".into()),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text).map(|pattern| pattern.as_str().to_owned())
}

fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}
