//! Whose certificates an endpoint may show.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The authorities that vouch for an endpoint: those that browsers trust, or those of a file.
#[derive(Clone)]
pub struct Authorities(pub(super) Arc<ClientConfig>);

impl Authorities {
    /// Those that Mozilla's browsers trust.
    pub fn public() -> Self {
        Self::of(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// Those of a file in PEM, and no others.
    ///
    /// # Errors
    /// A sentence: it has none, or one that cannot be read.
    pub fn pem(text: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate =
                certificate.map_err(|_| "a certificate in it cannot be read as PEM")?;
            roots.add(certificate).map_err(|_| "a certificate in it is no authority's")?;
        }
        if roots.is_empty() {
            return Err("it has no certificate (-----BEGIN CERTIFICATE-----)".into());
        }
        Ok(Self::of(roots))
    }

    fn of(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}
