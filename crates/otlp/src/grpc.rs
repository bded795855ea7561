//! One gRPC request: a message and its response on an HTTP/2 stream
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! OTLP needs no more of gRPC than that, so this is h2 on a single-threaded runtime, on the sending thread and never
//! within another runtime. A full client with services, balancing and pools would be 30 more crates.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::http::{USER_AGENT, gzip};
use super::response::{self, Retry, Said, Trouble};
use super::settings::{Exporter, without_secrets};
use super::tls;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use wasmtrace_trace::export::Signal;

type Sender = h2::client::SendRequest<std::io::Cursor<Vec<u8>>>;

/// A gRPC client for one endpoint.
pub(super) struct Grpc {
    runtime: tokio::runtime::Runtime,
    tls: Option<Arc<rustls::ClientConfig>>,
    endpoint: Uri,
    /// The endpoint without secrets, for messages.
    shown: String,
    headers: HeaderMap,
    gzip: bool,
    /// The connection, kept open between requests.
    connection: Option<Sender>,
}

/// Maximum size of a response in bytes that is read.
const LONGEST_ANSWER: usize = 64 << 10;

fn service(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "opentelemetry.proto.collector.trace.v1.TraceService",
        Signal::Logs => "opentelemetry.proto.collector.logs.v1.LogsService",
        Signal::Metrics => "opentelemetry.proto.collector.metrics.v1.MetricsService",
    }
}

impl Grpc {
    pub(super) fn new(exporter: &Exporter) -> Result<Self, String> {
        let url = &exporter.endpoint.value;
        let shown = without_secrets(url);
        let endpoint: Uri = url.parse().map_err(|e| format!("{shown}: {e}"))?;
        let tls = match endpoint.scheme_str() {
            Some("https") => Some(tls::Identity::read(exporter)?.http2()?),
            _ => None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &exporter.headers.value {
            let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is not a valid header name"))?;
            let value: HeaderValue =
                value.parse().map_err(|_| format!("the value of the header {name} is not valid"))?;
            headers.append(name, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        Ok(Grpc { runtime, tls, endpoint, shown, headers, gzip: exporter.gzip.value, connection: None })
    }

    /// Sends one request and returns the sink's messages.
    pub(super) fn send(&mut self, signal: Signal, body: &[u8], timeout: Duration) -> Result<Said, Trouble> {
        let Grpc { runtime, tls, endpoint, shown, headers, gzip: packed, connection } = self;
        let exchange = async {
            let reused = connection.is_some();
            let sender = match connection.take() {
                Some(sender) => sender,
                None => connect(endpoint, shown, tls.clone()).await?,
            };
            let ready = match sender.ready().await {
                Ok(sender) => sender,
                // The idle connection was closed by the peer.
                Err(_) if reused => connect(endpoint, shown, tls.clone()).await?.ready().await.map_err(broken)?,
                Err(e) => return Err(broken(e)),
            };
            let mut sender = ready;
            let said = exchange(&mut sender, request(endpoint, headers, signal, *packed, timeout), body, *packed).await;
            *connection = Some(sender);
            said
        };
        let said = runtime.block_on(async { tokio::time::timeout(timeout, exchange).await });
        let said = said.unwrap_or_else(|_| {
            Err(Trouble { again: Retry::Unanswered, message: format!("{shown}: no response within {timeout:.1?}") })
        });
        match said {
            Ok((kind, answer)) if kind.starts_with("application/grpc") => {
                response::of_success(signal, "application/grpc", &answer)
                    .map_err(|()| response::no_collector(&self.shown))
            }
            Ok(_) => Err(response::no_collector(&self.shown)),
            Err(trouble) => {
                // A connection that failed once is not reused.
                if trouble.again == Retry::Unanswered {
                    self.connection = None;
                }
                Err(trouble)
            }
        }
    }
}

fn broken(e: h2::Error) -> Trouble {
    Trouble { again: Retry::Unanswered, message: format!("the connection failed: {e}") }
}

async fn connect(endpoint: &Uri, shown: &str, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Sender, Trouble> {
    let unreached = |e: std::io::Error| Trouble { again: Retry::Unanswered, message: format!("{shown}: {e}") };
    let host = endpoint.host().expect("`Exporter::check` has seen that there is one");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = endpoint.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await.map_err(unreached)?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return handshake(stream).await };
    let name = rustls::pki_types::ServerName::try_from(bare.to_owned())
        .map_err(|e| Trouble { again: Retry::Never, message: format!("{host}: {e}") })?;
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|e| Trouble { again: Retry::Never, message: format!("{shown}: TLS: {e}") })?;
    handshake(stream).await
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, Trouble> {
    let (sender, connection) = h2::client::Builder::new().handshake(stream).await.map_err(broken)?;
    // Its errors also fail the request.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(endpoint: &Uri, headers: &HeaderMap, signal: Signal, packed: bool, timeout: Duration) -> Request<()> {
    let (scheme, authority) =
        (endpoint.scheme_str().unwrap_or("http"), endpoint.authority().map_or("", |a| a.as_str()));
    let path = endpoint.path().trim_end_matches('/');
    let mut request = Request::post(format!("{scheme}://{authority}{path}/{}/Export", service(signal)))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", USER_AGENT)
        .header("grpc-timeout", format!("{}m", timeout.as_millis().clamp(1, 99_999_999)));
    if packed {
        request = request.header("grpc-encoding", "gzip");
    }
    let mut request = request.body(()).expect("all of these are valid");
    request.headers_mut().extend(headers.clone());
    request
}

/// Sends a request message with its prefix, and returns the response message without it.
async fn exchange(
    sender: &mut Sender,
    request: Request<()>,
    body: &[u8],
    packed: bool,
) -> Result<(String, Vec<u8>), Trouble> {
    let (response, mut stream) = sender.send_request(request, false).map_err(broken)?;
    let body = if packed { &gzip(body)[..] } else { body };
    let mut framed = Vec::with_capacity(body.len() + 5);
    framed.push(packed.into());
    framed.extend(u32::try_from(body.len()).expect("requests have a few megabytes").to_be_bytes());
    framed.extend_from_slice(body);
    stream.send_data(std::io::Cursor::new(framed), true).map_err(broken)?;

    let response = response.await.map_err(broken)?;
    let (head, mut body) = response.into_parts();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(broken)?;
        let _ = body.flow_control().release_capacity(part.len());
        answer.extend_from_slice(&part);
        if answer.len() > LONGEST_ANSWER {
            break;
        }
    }
    let trailers = body.trailers().await.map_err(broken)?;
    let text = |name: &str| {
        let value = trailers.as_ref().and_then(|t| t.get(name)).or_else(|| head.headers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let kind = text("content-type").unwrap_or_default();
    match text("grpc-status").and_then(|status| status.parse().ok()) {
        Some(0) => Ok((kind, answer.get(5..).unwrap_or_default().to_vec())),
        Some(code) => {
            let details = unbase64(&text("grpc-status-details-bin").unwrap_or_default());
            let said = percent_decoded(&text("grpc-message").unwrap_or_default());
            let (said, after) = response::grpc_failure(&said, &details);
            Err(Trouble {
                again: again(code, after),
                message: format!("the sink responds with {}: {said}", name(code)),
            })
        }
        // Not gRPC: a proxy or another server.
        None if matches!(head.status.as_u16(), 429 | 502 | 503 | 504) => {
            Err(Trouble { again: Retry::Later(None), message: format!("the sink responds with {}", head.status) })
        }
        None => Err(Trouble {
            again: Retry::Never,
            message: format!("the sink does not respond like a collector (HTTP {})", head.status.as_u16()),
        }),
    }
}

/// Whether a status code allows a retry (OTLP specification, "Failures").
fn again(code: u32, after: Option<Duration>) -> Retry {
    match code {
        1 | 4 | 10 | 11 | 14 | 15 => Retry::Later(after),
        8 if after.is_some() => Retry::Later(after),
        _ => Retry::Never,
    }
}

fn name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "ok",
        "cancelled",
        "unknown",
        "invalid argument",
        "deadline exceeded",
        "not found",
        "already exists",
        "permission denied",
        "resource exhausted",
        "failed precondition",
        "aborted",
        "out of range",
        "unimplemented",
        "internal error",
        "unavailable",
        "data loss",
        "unauthenticated",
    ];
    NAMES.get(code as usize).map_or_else(|| format!("status {code}"), |name| (*name).to_owned())
}

fn percent_decoded(text: &str) -> String {
    super::settings::decoded(text).unwrap_or_else(|| text.to_owned())
}

/// Decodes base64 of either alphabet, padded or not, up to the first invalid character.
fn unbase64(text: &str) -> Vec<u8> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let standard = |c| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    };
    let is_digit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let mut digits: String = text.chars().map(standard).take_while(is_digit).collect();
    if digits.len() % 4 == 1 {
        digits.pop(); // six bits are no byte
    }
    GeneralPurpose::new(&STANDARD, LENIENT).decode(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding() {
        assert_eq!(unbase64("aGVsbG8="), b"hello");
        assert_eq!(unbase64("aGVsbG8"), b"hello");
        assert_eq!(unbase64("_-8"), [0xff, 0xef]);
        assert_eq!(unbase64(""), b"");
    }
}
