//! The table of file formats for traces, with one row per format, and the parsing of sinks.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use super::callgrind::Callgrind;
use super::chrome::Chrome;
use super::firefox::Firefox;
use super::folded::Folded;
use super::html::Html;
use super::otlp_json::OtlpJson;
use super::perfetto::Perfetto;
use super::pprof::Pprof;
use super::speedscope::Speedscope;
use super::{Sink, url};

/// A format that is written to a file: a row of [`FORMATS`].
#[derive(Clone, Copy)]
pub struct Format {
    /// The name on the command line.
    pub name: &'static str,
    /// What the format is, and which programs read it.
    pub about: &'static str,
    /// The usual ending of a file's name, without the first dot.
    pub extension: &'static str,
    /// Whether the format shows single calls, each with its beginning and its end. Other formats only need a call tree.
    pub has_spans: bool,
    /// Whether the format has nothing to show for a run that was only sampled.
    pub needs_spans: bool,
    /// Whether the format shows source lines of samples.
    pub has_lines: bool,
    /// Whether the format contains the ids of the trace that the run belongs to.
    pub has_trace_ids: bool,
    /// Whether the contents are not text, or gzipped already.
    pub encoding: FileEncoding,
    /// About how many bytes a span takes in a file.
    pub span_bytes: u64,
    /// Creates a sink that writes the format.
    pub open: Open,
}

/// How the contents of a file are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEncoding {
    /// Text, such as JSON.
    Text,
    /// Bytes that a terminal cannot show.
    Binary,
    /// Bytes that are gzipped already.
    Gzip,
}

/// Creates a sink that writes a trace to the given writer, which should be buffered.
pub type Open = fn(Box<dyn Write>) -> io::Result<Box<dyn Sink>>;

/// Text with spans and without lines. The rows below differ from it.
const SPANS: Format = Format {
    name: "",
    about: "",
    extension: "json",
    has_spans: true,
    needs_spans: false,
    has_lines: false,
    has_trace_ids: false,
    encoding: FileEncoding::Text,
    span_bytes: 100,
    open: |_| unreachable!("each row has its own"),
};

/// Text that is made of the call tree.
const TREE: Format = Format { has_spans: false, span_bytes: 0, ..SPANS };

/// Every format that is written to a file.
pub const FORMATS: [Format; 9] = [
    Format {
        name: "html",
        about: "page with flame graphs, call tree and functions, for any browser, without a network",
        extension: "html",
        has_lines: true,
        span_bytes: 12,
        open: |out| Ok(Box::new(Html::new(out))),
        ..SPANS
    },
    Format {
        name: "speedscope",
        about: "speedscope JSON, for https://www.speedscope.app",
        extension: "speedscope.json",
        span_bytes: 75,
        open: |out| Ok(Box::new(Speedscope::new(out))),
        ..SPANS
    },
    Format {
        name: "firefox",
        about: "Firefox Profiler JSON, for https://profiler.firefox.com",
        has_lines: true,
        span_bytes: 60,
        open: |out| Ok(Box::new(Firefox::new(out))),
        ..SPANS
    },
    Format {
        name: "perfetto",
        about: "Perfetto trace, for https://ui.perfetto.dev",
        extension: "pftrace",
        needs_spans: true,
        encoding: FileEncoding::Binary,
        span_bytes: 50,
        open: |out| Ok(Box::new(Perfetto::new(out))),
        ..SPANS
    },
    Format {
        name: "chrome",
        about: "Chrome Trace Event JSON, for chrome://tracing and many viewers",
        needs_spans: true,
        span_bytes: 250,
        open: |out| Ok(Box::new(Chrome::new(out))),
        ..SPANS
    },
    Format {
        name: "pprof",
        about: "pprof profile, for `go tool pprof`: calls, and self time in nanoseconds, with source lines",
        extension: "pb.gz",
        has_lines: true,
        encoding: FileEncoding::Gzip,
        open: |out| Ok(Box::new(Pprof::new(out))),
        ..TREE
    },
    Format {
        name: "callgrind",
        about: "callgrind profile, for KCachegrind and callgrind_annotate: calls, and nanoseconds by source line",
        extension: "callgrind",
        has_lines: true,
        open: |out| Ok(Box::new(Callgrind::new(out))),
        ..TREE
    },
    Format {
        name: "folded",
        about: "folded stacks with self time in nanoseconds, for flame graphs",
        extension: "folded",
        open: |out| Ok(Box::new(Folded::new(out))),
        ..TREE
    },
    Format {
        name: "otlp-json",
        about: "OTLP file format: one JSON object per line",
        extension: "jsonl",
        needs_spans: true,
        has_trace_ids: true,
        span_bytes: 600,
        open: |out| Ok(Box::new(OtlpJson::new(out)?)),
        ..SPANS
    },
];

/// The sinks that are not files: their names, each with a description.
pub const SINKS: [(&str, &str); 4] = [
    ("tree", "call tree, on standard error (the default)"),
    ("none", "no output"),
    ("otlp", "OTLP collector: otlp:URL (default: OTEL_EXPORTER_OTLP_ENDPOINT, or localhost)"),
    ("zipkin", "Zipkin: zipkin:URL (default: OTEL_EXPORTER_ZIPKIN_ENDPOINT, or localhost)"),
];

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Format").field(&self.name).finish()
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

/// A sink, with its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The call tree on standard error.
    Tree,
    /// No output.
    None,
    /// An OTLP collector at this URL, or at the endpoint that the environment names.
    Otlp(Option<String>),
    /// A Zipkin server at this URL, or on localhost.
    Zipkin(Option<String>),
    /// A file in a format.
    File(Format, PathBuf),
}

/// The error for a sink or format that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSink(String);

impl fmt::Display for UnknownSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownSink {}

impl std::str::FromStr for Format {
    type Err = UnknownSink;

    fn from_str(name: &str) -> Result<Self, UnknownSink> {
        let names = || FORMATS.map(|format| format.name).join(", ");
        let unknown = || UnknownSink(format!("unknown format `{name}`; the formats are {}", names()));
        FORMATS.into_iter().find(|format| format.name == name).ok_or_else(unknown)
    }
}

impl std::str::FromStr for Destination {
    type Err = UnknownSink;

    /// Parses `NAME[:FILE]` or `NAME[:URL]`.
    fn from_str(text: &str) -> Result<Self, UnknownSink> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest).filter(|rest| !rest.is_empty())),
            None => (text, None),
        };
        match (name, rest) {
            ("tree" | "none", Some(_)) => Err(UnknownSink(format!("`{name}` takes no file"))),
            ("tree", None) => Ok(Destination::Tree),
            ("none", None) => Ok(Destination::None),
            ("otlp", url) => Ok(Destination::Otlp(url.map(address).transpose()?)),
            ("zipkin", url) => Ok(Destination::Zipkin(url.map(address).transpose()?)),
            _ => match (name.parse(), rest) {
                (Ok(format), Some(file)) => Ok(Destination::File(format, file.into())),
                (Ok(_), None) => Err(UnknownSink(format!("`{name}` needs a file: {name}:FILE"))),
                (Err(_), _) => {
                    let names = SINKS.map(|(name, _)| name).into_iter().chain(FORMATS.map(|format| format.name));
                    let names: Vec<&str> = names.collect();
                    Err(UnknownSink(format!("unknown sink `{name}`; the sinks are {}", names.join(", "))))
                }
            },
        }
    }
}

/// Parses an HTTP URL, or an address without a scheme.
fn address(text: &str) -> Result<String, UnknownSink> {
    match url::address(text, "http") {
        Some(_) => Ok(text.to_owned()),
        None => Err(UnknownSink(format!("`{text}` is not a URL with http:// or https://"))),
    }
}
