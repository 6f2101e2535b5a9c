//! `api_tls`: the files that the API speaks TLS with.

use std::path::{Path, PathBuf};

use super::document::Section;
use super::read;
use super::source::{Problem, Sourced};
use crate::api_tls::{ApiTls, TlsFiles};

/// What a file said of the API's TLS.
#[derive(Debug)]
pub(super) struct TlsSaid {
    pub(super) certificate: Sourced<PathBuf>,
    pub(super) key: Sourced<PathBuf>,
}

impl TlsSaid {
    /// Reads the table; `None` where there is none, or half of one, which is complained about.
    pub(super) fn read(section: Section<'_, '_>) -> Option<Self> {
        let certificate = section.value("certificate", read::path);
        let key = section.value("key", read::path);
        if section.has("certificate") != section.has("key") {
            section.complain(
                "api_tls has a certificate and its key: write api_tls = { certificate = \
                 \"chain.pem\", key = \"key.pem\" }",
            );
        }
        section.end();
        Some(Self { certificate: certificate?, key: key? })
    }

    /// The files, of which those without a folder of their own lie beside the configuration.
    pub(super) fn files(&self, folder: &Path) -> TlsFiles {
        TlsFiles {
            certificate: folder.join(&self.certificate.value),
            key: folder.join(&self.key.value),
        }
    }

    /// What is wrong with the files, or with asking for them.
    pub(super) fn problem(&self, folder: &Path, has_api: bool) -> Option<Problem> {
        let what = if has_api {
            format!("api_tls: {}", ApiTls::load(self.files(folder)).err()?)
        } else {
            "api_tls: there is no API that could speak TLS (api = \"none\"): remove it, or say \
             where the API listens"
                .into()
        };
        Some(Problem::new(self.certificate.source.clone(), what))
    }
}
