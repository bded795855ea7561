//! TLS settings: trusted authorities and the client certificate, for rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::Exporter;

pub(super) struct Identity {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Identity {
    /// Reads the files that the settings name, or the system's certificate authorities.
    pub(super) fn read(exporter: &Exporter) -> Result<Self, String> {
        let roots = match &exporter.certificate.value {
            Some(path) => certificates(path)?,
            None => {
                let system = rustls_native_certs::load_native_certs();
                if system.certs.is_empty() {
                    return Err("the system has no certificates to trust: \
                        OTEL_EXPORTER_OTLP_CERTIFICATE can name some"
                        .to_owned());
                }
                system.certs
            }
        };
        let client = match (&exporter.client_certificate.value, &exporter.client_key.value) {
            (Some(chain), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
                Some((certificates(chain)?, key))
            }
            (None, None) => None,
            _ => return Err("a client certificate and its key must be given together".to_owned()),
        };
        Ok(Identity { roots, client })
    }

    /// The configuration for rustls, with HTTP/2 in ALPN.
    pub(super) fn http2(self) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(self.roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots);
        let mut config = match self.client {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|e| e.to_string())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || -> Result<Vec<_>, rustls::pki_types::pem::Error> { CertificateDer::pem_file_iter(path)?.collect() };
    let found = read().map_err(|e| format!("{}: {e}", path.display()))?;
    if found.is_empty() { Err(format!("{} contains no certificate", path.display())) } else { Ok(found) }
}

/// The client key in the form that the HTTP client needs.
pub(super) fn key_of_ureq(exporter: &Exporter) -> Result<Option<ureq::tls::PrivateKey<'static>>, String> {
    let Some(path) = &exporter.client_key.value else { return Ok(None) };
    let pem = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    ureq::tls::PrivateKey::from_pem(&pem).map(Some).map_err(|e| format!("{}: {e}", path.display()))
}
