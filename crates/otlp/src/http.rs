//! One HTTP/1.1 request, and the meaning of its response.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::response::{self, Retry, Said, Trouble};
use super::settings::{Exporter, Protocol, without_secrets};
use super::tls;
use wasmtrace_trace::export::{Encoding, Signal};

/// The `User-Agent` of requests.
pub(super) const USER_AGENT: &str = concat!("wasmtrace/", env!("CARGO_PKG_VERSION"));

/// An HTTP client for one endpoint.
pub(super) struct Http {
    agent: ureq::Agent,
    url: String,
    /// The endpoint without secrets, for messages.
    shown: String,
    headers: Vec<(String, String)>,
    content_type: &'static str,
    gzip: bool,
}

/// Maximum size of a response in bytes that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

impl Http {
    pub(super) fn new(exporter: &Exporter) -> Result<Self, String> {
        let config = ureq::Agent::config_builder()
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            // A redirected POST would become a GET, so redirects are reported instead.
            .max_redirects(0)
            .max_redirects_will_error(false);
        let config = match exporter.endpoint.value.starts_with("https:") {
            true => {
                let identity = tls::Identity::read(exporter)?;
                let roots = identity.roots.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned());
                let client = identity.client.as_ref().zip(tls::key_of_ureq(exporter)?).map(|((chain, _), key)| {
                    let chain: Vec<_> =
                        chain.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect();
                    ureq::tls::ClientCert::new_with_certs(&chain, key)
                });
                let tls = ureq::tls::TlsConfig::builder()
                    .provider(ureq::tls::TlsProvider::Rustls)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .root_certs(ureq::tls::RootCerts::Specific(Arc::new(roots.collect())))
                    .client_cert(client);
                config.tls_config(tls.build())
            }
            false => config,
        };
        Ok(Http {
            agent: config.build().new_agent(),
            url: exporter.endpoint.value.clone(),
            shown: without_secrets(&exporter.endpoint.value),
            headers: exporter.headers.value.clone(),
            content_type: match exporter.protocol.value {
                Protocol::Http(Encoding::Proto) => "application/x-protobuf",
                _ => "application/json",
            },
            gzip: exporter.gzip.value,
        })
    }

    /// Sends one request and returns the sink's messages.
    pub(super) fn send(&mut self, signal: Option<Signal>, body: &[u8], timeout: Duration) -> Result<Said, Trouble> {
        let mut request = self.agent.post(&self.url).header("content-type", self.content_type);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let packed;
        let mut body = body;
        if self.gzip {
            request = request.header("content-encoding", "gzip");
            packed = gzip(body);
            body = &packed;
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        let mut response = request.send(body).map_err(|e| trouble(&self.shown, &e))?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let (kind, after) = (header("content-type"), header("retry-after"));
        let answer = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let kind = kind.split(';').next().unwrap_or("").trim();
        if status.is_success() {
            let answer = match answer {
                Err(ureq::Error::BodyExceedsLimit(_)) => {
                    return Err(response::no_collector(&self.shown));
                }
                answer => answer.map_err(|e| trouble(&self.shown, &e))?,
            };
            return match signal {
                Some(signal) => {
                    response::of_success(signal, kind, &answer).map_err(|()| response::no_collector(&self.shown))
                }
                None => Ok(Said::default()),
            };
        }
        let said = response::message(kind, &answer.unwrap_or_default());
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let again = match status.as_u16() {
            // Seconds. The date form is rare; the default pause is used for it.
            429 | 502 | 503 | 504 => Retry::Later(after.trim().parse().ok().map(Duration::from_secs)),
            _ => Retry::Never,
        };
        Err(Trouble { again, message: format!("{} responds with {status}{said}", self.shown) })
    }
}

fn trouble(url: &str, e: &ureq::Error) -> Trouble {
    let again = match e {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => Retry::Unanswered,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => Retry::Unanswered,
        // Errors of a URL, a header or a certificate are permanent.
        _ => Retry::Never,
    };
    let why = match e {
        ureq::Error::Io(io) => io.to_string(),
        ureq::Error::Timeout(_) => "no response in time".to_owned(),
        other => other.to_string(),
    };
    Trouble { again, message: format!("{url}: {why}") }
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
