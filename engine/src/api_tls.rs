//! TLS for the API: certificate and key from two files, read again when they change.
//!
//! What is loaded has been checked whole: the key is the certificate's, the certificate counts
//! today, nobody else reads the key. At the start anything else is no start; later the files that
//! were good are kept, and the log and a metric say what is wrong with the new ones. A pair that is
//! being written is not read in the middle: it has to stand still from one look to the next.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore, ServerConfig};

use crate::clock;
use crate::config::secret::SmallFile;
use crate::metrics::TlsMetrics;

/// From one look at the files to the next.
const LOOK: Duration = Duration::from_secs(2);
/// A moment after which no certificate counts: asked about it, the verifier says when one ends.
const AFTER_ALL: u64 = 253_402_300_799; // the last second of the year 9999

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that lead from it to one that clients know, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM. Nobody but its owner may read it.
    pub key: PathBuf,
}

/// What is served, for as long as the files stay as they are.
#[derive(Debug)]
pub struct ApiTls {
    files: TlsFiles,
    /// The files as they were just before they were read.
    read: FileLooks,
    pair: Mutex<GoodPair>,
}

/// A pair that was found good.
#[derive(Clone)]
struct GoodPair {
    acceptor: TlsAcceptor,
    /// When the certificate ends, in seconds since 1970.
    ends_unix_s: u64,
}

impl std::fmt::Debug for GoodPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GoodPair").field("ends_unix_s", &self.ends_unix_s).finish_non_exhaustive()
    }
}

/// By what a file is known to be another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileLook {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl ApiTls {
    /// Reads the files and checks them.
    ///
    /// # Errors
    /// A sentence that names the file, says what is wrong with it, and what to do.
    pub fn load(files: TlsFiles) -> Result<Self, String> {
        let looks = looks(&files);
        let pair = Mutex::new(read(&files, clock::unix_seconds())?);
        Ok(Self { files, read: looks, pair })
    }

    /// What the next connection is greeted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Looks at the files for as long as it is polled. Connections that are open go on as they are.
    pub(crate) async fn watch(&self, metrics: &TlsMetrics) {
        let pair = self.pair.lock().unwrap_or_else(PoisonError::into_inner).clone();
        metrics.ends_unix_s.set(pair.ends_unix_s);
        let (mut known, mut seen) = (self.read, self.read);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = looks(&self.files);
            if now != seen {
                seen = now; // it may be half written
            } else if now != known {
                known = now;
                self.renew(metrics);
            }
        }
    }

    fn renew(&self, metrics: &TlsMetrics) {
        match read(&self.files, clock::unix_seconds()) {
            Ok(pair) => {
                metrics.ends_unix_s.set(pair.ends_unix_s);
                metrics.reloads.add(1);
                tracing::info!(ends_unix_s = pair.ends_unix_s, "the API has a new certificate");
                *self.pair.lock().unwrap_or_else(PoisonError::into_inner) = pair;
            }
            Err(what) => {
                metrics.reloads_failed.add(1);
                tracing::error!("the API keeps its old certificate: {what}");
            }
        }
    }
}

/// Of certificate and key.
type FileLooks = [Option<FileLook>; 2];

fn looks(files: &TlsFiles) -> FileLooks {
    let look = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some(FileLook { inode: metadata.ino(), bytes: metadata.len(), changed })
    };
    [look(&files.certificate), look(&files.key)]
}

/// Reads both files; what is wrong with them is a sentence without a byte of the key.
fn read(files: &TlsFiles, now_unix_s: u64) -> Result<GoodPair, String> {
    let (chain, key) = (chain(&files.certificate)?, key(&files.key)?);
    let certificate = files.certificate.display();
    let ends_unix_s =
        end_of(&chain, now_unix_s).map_err(|what| format!("{certificate}: {what}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12]);
    let config = builder.and_then(|it| it.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| {
        let key = files.key.display();
        match error {
            Error::InconsistentKeys(_) => format!(
                "{key} is not the key of {certificate}: the two are made, and renewed, as a pair"
            ),
            _ => format!("{certificate} and {key} cannot be used: {error}"),
        }
    })?;
    // The API is HTTP/1.1: whoever offers only others is refused in the handshake (RFC 7301).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(GoodPair { acceptor: TlsAcceptor::from(Arc::new(config)), ends_unix_s })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = SmallFile::read(path)?;
    let read = CertificateDer::pem_slice_iter(&file.bytes).collect::<Result<Vec<_>, _>>();
    let path = path.display();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!(
            "{path} has no certificate in PEM: the server's stands first (-----BEGIN \
             CERTIFICATE-----), and those that signed it behind"
        )),
        Err(error) => Err(format!("{path} is not a list of certificates in PEM: {error}")),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let file = SmallFile::read(path)?;
    file.check_private(path)?;
    PrivateKeyDer::from_pem_slice(&file.bytes).map_err(|_| {
        format!(
            "{} has no private key in PEM (-----BEGIN PRIVATE KEY-----); one that is encrypted \
             with a passphrase is not read",
            path.display()
        )
    })
}

/// When the first certificate of a chain ends. The verifier is the one that clients use, and its
/// last word is not wanted: who signed it is for them to judge, and so is its name.
fn end_of(chain: &[CertificateDer<'static>], now_unix_s: u64) -> Result<u64, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("it is no certificate: {error}");
    let mut anchors = RootCertStore::empty();
    anchors.add(chain[chain.len() - 1].clone()).map_err(|error| cannot(&error))?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider)
        .build()
        .map_err(|error| cannot(&error))?;
    let name = ServerName::try_from("name.invalid").map_err(|error| cannot(&error))?;
    let judged = |at_unix_s| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at_unix_s));
        match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at) {
            Err(Error::InvalidCertificate(fault)) => Some(fault),
            _ => None,
        }
    };
    use CertificateError::{BadEncoding, Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match judged(now_unix_s) {
        Some(Expired | ExpiredContext { .. }) => {
            return Err("the certificate has expired: no client takes it, so renew it".into());
        }
        Some(NotValidYet | NotValidYetContext { .. }) => {
            return Err("the certificate does not count yet: no client takes it before its time \
                        (is the clock of this machine right?)"
                .into());
        }
        Some(BadEncoding) => return Err(cannot(&"it is damaged")),
        _ => {}
    }
    match judged(AFTER_ALL) {
        Some(ExpiredContext { not_after, .. }) => Ok(not_after.as_secs()),
        _ => Ok(AFTER_ALL),
    }
}
