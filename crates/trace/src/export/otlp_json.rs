//! The OTLP file format (OpenTelemetry specification, "OpenTelemetry Protocol File Exporter"): each line is one
//! `ExportTraceServiceRequest` in OTLP's JSON encoding.

use std::io::{self, Write};

use super::otlp::{Encoding, Request, Signal};
use super::spans::{Limits, Spans, attribute};
use super::{RunInfo, Sink, Summary};
use crate::budget::LeftOut;
use crate::span_builder::Change;

/// Number of spans in a line.
const BATCH: usize = 512;

/// Maximum length of a line in bytes, after which it ends.
const LONGEST_LINE: usize = 4 << 20;

/// Writes OTLP JSON lines.
pub struct OtlpJson<W: Write> {
    out: W,
    spans: Spans,
    line: Request,
}

impl<W: Write> std::fmt::Debug for OtlpJson<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpJson").finish_non_exhaustive()
    }
}

impl<W: Write> OtlpJson<W> {
    /// Creates a sink that writes batches to `out`. If the run has no trace context, it gets a random trace id.
    ///
    /// # Errors
    /// If the system cannot generate random numbers.
    pub fn new(out: W) -> io::Result<Self> {
        let limits = Limits::default();
        let line = Request::new(Signal::Traces, Encoding::Json, limits);
        Ok(OtlpJson { out, spans: Spans::new(limits)?, line })
    }

    fn write_line(&mut self, run_info: &RunInfo) -> io::Result<()> {
        let mut line = self.line.take(run_info);
        line.push(b'\n');
        self.out.write_all(&line)
    }
}

impl<W: Write> Sink for OtlpJson<W> {
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        let OtlpJson { spans, line, .. } = self;
        let written = match change {
            Change::Closed { span, .. } if span.calls > 1 => {
                let total = attribute("wasm.call.total_ns", span.end - span.start);
                let more = vec![attribute("wasm.call.count", span.calls), total];
                spans.closed(run_info, span, span.parent, more, |span| line.span(run_info, &span));
                true
            }
            _ => spans.change(run_info, change, |span| line.span(run_info, &span)).is_some(),
        };
        if !written {
            return Ok(());
        }
        let (count, bytes) = self.line.size();
        if count >= BATCH || bytes >= LONGEST_LINE { self.write_line(run_info) } else { Ok(()) }
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let OtlpJson { spans, line, .. } = self;
        let LeftOut { merged_calls, short, not_selected, .. } = summary.left_out;
        let mut more = vec![attribute("wasm.call.count", summary.profile.calls())];
        if merged_calls + short + not_selected > 0 {
            more.push(attribute("wasm.spans.merged", merged_calls));
            more.push(attribute("wasm.spans.left_out", short + not_selected));
        }
        spans.finish(run_info, summary.ending, summary.duration, more, |span| line.span(run_info, &span));
        self.write_line(run_info)?;
        self.out.flush()
    }
}
