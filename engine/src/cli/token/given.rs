//! The key that the command line gives.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use fanfare_identity::keys::{Algorithm, Key};

use crate::cli::exit::{self, Failure};
use crate::cli::serve_flags::of_file;
use crate::config;
use crate::tenancy::Tenancy;

/// No key is longer; a mistaken path ends here.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A secret, or the file that holds it, or the configuration that has it.
#[derive(Debug, Args)]
pub(super) struct Secret {
    /// The configuration whose keys are taken
    #[arg(long, value_name = "FILE", conflicts_with_all = ["secret", "secret_file", "alg"])]
    config: Option<PathBuf>,
    /// Whose key it is
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) tenant: String,
    /// The secret, which everyone on this machine sees in the list of processes: for secrets that
    /// are none
    #[arg(long, value_name = "TEXT", hide_env_values = true, conflicts_with = "secret_file")]
    secret: Option<Hidden>,
    /// The file that holds the secret; the end of its last line is not part of it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// What the key is for [default: HS256]
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    pub(super) alg: Option<Algorithm>,
    /// What the token calls the key
    #[arg(long, value_name = "NAME")]
    pub(super) kid: Option<String>,
}

/// A word that is never shown.
#[derive(Clone)]
struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// What the configuration says of tenants, if one was given.
    pub(super) fn tenancy(&self, matches: &ArgMatches) -> Result<Option<Tenancy>, Failure> {
        if self.config.is_none() {
            return Ok(None);
        }
        let wrong = |what: String| Failure::new(exit::CONFIG, what);
        let config = of_file(&self.config, matches).map_err(wrong)?;
        let config = config::load(config).map_err(|problems| wrong(problems.to_string()))?;
        Ok(Some(config.settings.tenancy))
    }

    /// The key that it is, if one was given.
    pub(super) fn key(&self) -> Result<Option<Key>, Failure> {
        let bytes = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => secret.0.clone().into_bytes(),
            (None, Some(path)) => line_of(read(path)?),
            (None, None) => return Ok(None),
        };
        let key = Key::secret(self.alg.unwrap_or(Algorithm::Hs256), &bytes);
        key.map(Some).map_err(|what| Failure::new(exit::CONFIG, what))
    }
}

/// The bytes of a small file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let fault = |what: &dyn std::fmt::Display| {
        Failure::new(exit::CONFIG, format!("cannot read {}: {what}", path.display()))
    };
    // Looked at before it is opened: a FIFO would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(|error| fault(&error))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(fault(&"it is not a small file"));
    }
    std::fs::read(path).map_err(|error| fault(&error))
}

fn line_of(mut bytes: Vec<u8>) -> Vec<u8> {
    while let Some(b'\r' | b'\n') = bytes.last() {
        bytes.pop();
    }
    bytes
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::parse(name).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::as_str);
        format!("there are {}", names.join(", "))
    })
}
