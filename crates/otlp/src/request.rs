//! Requests with spans, and the resource they belong to.

use wasmtrace_trace::export::otlp::Request;
use wasmtrace_trace::export::spans::ExportSpan;
use wasmtrace_trace::export::zipkin::ZipkinRequest;
use wasmtrace_trace::export::{Encoding, Limits, RunInfo, Signal};
use wasmtrace_trace::recording::Header;

use crate::settings::{Protocol, Settings};

/// The run of a recording, with the resource attributes to send.
pub(crate) fn run_info(header: &Header, settings: &Settings, resource: &[(String, String)]) -> RunInfo {
    let mut run_info = RunInfo::from(header);
    let recorded = std::mem::take(&mut run_info.resource);
    run_info.resource = settings.resource.value.clone();
    for (key, value) in recorded.into_iter().chain(resource.iter().cloned()) {
        run_info.resource.retain(|(known, _)| *known != key);
        run_info.resource.push((key, value));
    }
    run_info
}

/// A request with spans under construction.
pub(crate) enum Batch {
    Otlp(Request),
    Zipkin(ZipkinRequest),
}

impl Batch {
    pub(crate) fn new(protocol: Protocol, limits: Limits) -> Self {
        match protocol {
            Protocol::Zipkin => Batch::Zipkin(ZipkinRequest::new(limits)),
            Protocol::Grpc => Batch::Otlp(Request::new(Signal::Traces, Encoding::Proto, limits)),
            Protocol::Http(encoding) => Batch::Otlp(Request::new(Signal::Traces, encoding, limits)),
        }
    }

    pub(crate) fn span(&mut self, run_info: &RunInfo, span: &ExportSpan<'_>) {
        match self {
            Batch::Otlp(request) => request.span(run_info, span),
            Batch::Zipkin(request) => request.span(run_info, span),
        }
    }

    pub(crate) fn size(&mut self) -> (usize, usize) {
        match self {
            Batch::Otlp(request) => request.size(),
            Batch::Zipkin(request) => request.size(),
        }
    }

    pub(crate) fn take(&mut self, run_info: &RunInfo) -> Vec<u8> {
        match self {
            Batch::Otlp(request) => request.take(run_info),
            Batch::Zipkin(request) => request.take(),
        }
    }
}

/// Maximum number of items of a request, and of bytes: gRPC servers accept 4 MiB by default.
const MOST_ITEMS: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

pub(crate) fn is_full((items, bytes): (usize, usize)) -> bool {
    items >= MOST_ITEMS || bytes >= MOST_BYTES
}
