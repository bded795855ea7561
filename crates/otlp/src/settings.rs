//! The export settings: OpenTelemetry's environment variables, overridden by the command line.
//!
//! Names and meanings of the variables are those of the OpenTelemetry specification ("OpenTelemetry Protocol Exporter",
//! "Environment Variable Specification"). A variable for one signal takes precedence over the general one. An empty
//! variable counts as not set. An invalid value causes a warning and is ignored. An invalid endpoint is not ignored but
//! fails, so that data for one server is not sent to another.

mod environment;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ExportError;
use wasmtrace_trace::context::Context;
pub use wasmtrace_trace::export::url::without_secrets;
use wasmtrace_trace::export::{Encoding, Limits, url};

/// A setting with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The variable or option that set the value, or `default`.
    pub from: String,
}

impl<T> Setting<T> {
    /// A setting with its default value.
    pub fn default(value: T) -> Self {
        Setting { value, from: "default".to_owned() }
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: f(self.value), from: self.from }
    }
}

/// The protocol of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, as protobuf or JSON.
    Http(Encoding),
    /// Zipkin's JSON, version 2, over HTTP.
    Zipkin,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Grpc => "grpc",
            Protocol::Http(Encoding::Proto) => "http/protobuf",
            Protocol::Http(Encoding::Json) => "http/json",
            Protocol::Zipkin => "zipkin",
        })
    }
}

/// The exporter settings of one signal.
#[derive(Debug, Clone)]
pub struct Exporter {
    /// Whether the signal is sent.
    pub enabled: Setting<bool>,
    /// The protocol.
    pub protocol: Setting<Protocol>,
    /// The complete URL; for gRPC the part before the service. A value that is not a URL is kept here, and then nothing
    /// is sent.
    pub endpoint: Setting<String>,
    /// HTTP headers or gRPC metadata.
    pub headers: Setting<Vec<(String, String)>>,
    /// Time limit of one request.
    pub timeout: Setting<Duration>,
    /// Whether requests are compressed with gzip.
    pub gzip: Setting<bool>,
    /// A PEM file with the certificate authorities to trust instead of the system's.
    pub certificate: Setting<Option<PathBuf>>,
    /// A PEM file with the client certificate.
    pub client_certificate: Setting<Option<PathBuf>>,
    /// A PEM file with the key of the client certificate.
    pub client_key: Setting<Option<PathBuf>>,
}

impl Exporter {
    /// Checks that the endpoint is usable.
    ///
    /// # Errors
    /// [`ExportError::Setting`] if the endpoint is not a URL.
    pub fn check(&self) -> Result<(), ExportError> {
        match url::is_url(&self.endpoint.value) {
            true => Ok(()),
            false => {
                let message = format!("{} is not a URL with http:// or https://", self.endpoint.from);
                Err(ExportError::Setting(message))
            }
        }
    }
}

/// The sampler: which traces are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// All traces, or none.
    Always(bool),
    /// This share of the traces, 0 to 1.
    Ratio(f64),
    /// Traces whose parent span is sampled. Of traces without a parent, this share.
    ParentBased(f64),
}

impl Sampler {
    /// Whether the run with this context is sent. The decision depends only on the trace id, so that all participants
    /// make the same one.
    pub fn wants(self, context: &Context) -> bool {
        // The last 56 bits of the trace id are random.
        let random = context.trace as u64 & ((1 << 56) - 1);
        let below = |ratio: f64| random >= ((1.0 - ratio) * (1u64 << 56) as f64) as u64;
        match self {
            Sampler::Always(all) => all,
            Sampler::Ratio(ratio) => below(ratio),
            Sampler::ParentBased(_) if context.parent.is_some() => context.is_sampled(),
            Sampler::ParentBased(ratio) => below(ratio),
        }
    }
}

/// All export settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether sending is disabled (`OTEL_SDK_DISABLED`).
    pub disabled: Setting<bool>,
    /// Whether the environment asks for sending: it names an endpoint or an exporter.
    pub asked: Setting<bool>,
    /// The exporter for spans.
    pub traces: Exporter,
    /// The exporter for log lines of the manual API.
    pub logs: Exporter,
    /// The exporter for metrics of the manual API.
    pub metrics: Exporter,
    /// Whether metrics have delta temporality, instead of cumulative.
    pub delta: Setting<bool>,
    /// The sampler.
    pub sampler: Setting<Sampler>,
    /// Size limits of spans.
    pub limits: Limits,
    /// Resource attributes, including `service.name` if it is set.
    pub resource: Setting<Vec<(String, String)>>,
    /// Whether to propagate the trace context, and whether to propagate baggage, from the host to the guest.
    pub propagate: Setting<[bool; 2]>,
    /// Variables that were ignored.
    pub warnings: Vec<SettingWarning>,
}

/// A variable, or a part of one, that was ignored. Values are not shown, since they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingWarning {
    /// The value of the variable is invalid.
    Invalid {
        /// The name of the variable.
        variable: String,
        /// What the value has to be.
        expected: String,
    },
    /// The variable names an exporter that is not supported.
    UnknownExporter {
        /// The name of the variable.
        variable: String,
        /// The name of the exporter.
        exporter: String,
    },
}

impl fmt::Display for SettingWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingWarning::Invalid { variable, expected } => write!(f, "{variable} is ignored: it is not {expected}"),
            SettingWarning::UnknownExporter { variable, exporter } => {
                write!(f, "{variable}: unknown exporter `{exporter}`; supported are otlp, zipkin and none")
            }
        }
    }
}

/// The sink that the command line names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// None: the environment decides.
    #[default]
    Environment,
    /// OTLP, to this URL or to the endpoint of the environment.
    Otlp(Option<String>),
    /// Zipkin, to this URL or to the endpoint of the environment.
    Zipkin(Option<String>),
}

/// Decodes percent-encoding.
pub(crate) fn decoded(text: &str) -> Option<String> {
    Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned())
}
