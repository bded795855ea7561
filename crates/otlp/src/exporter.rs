//! Reading a recording and sending its spans, logs and metrics.

use std::io::{self, Read};
use std::time::Instant;

use wasmtrace_trace::event::RunOutcome;
use wasmtrace_trace::export::metrics::Metrics;
use wasmtrace_trace::export::otlp::Request;
use wasmtrace_trace::export::spans::{Attribute, Spans, attribute};
use wasmtrace_trace::export::{Encoding, RunInfo, Signal};
use wasmtrace_trace::recording::{Block, Footer, Reader};
use wasmtrace_trace::span_builder::{Change, Note, Span, SpanBuilder};

use crate::budget::{self, Budget, Kept, SpanDisposition, Sum};
use crate::error::ExportError;
use crate::options::ExportOptions;
use crate::request::{Batch, is_full, run_info};
use crate::sender::SignalSender;
use crate::sent_spans::SentSpans;
use crate::settings::{Exporter, Protocol, Settings};

/// What an export has sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The trace id in hex.
    pub trace: String,
    /// Number of spans, including the run's own.
    pub spans: u64,
    /// Number of those spans that were sent during the run.
    pub sent_during_run: u64,
    /// Number of spans, log records and metric data points that the sink rejected. No other number includes them.
    pub rejected: u64,
    /// Number of log records.
    pub logs: u64,
    /// Number of metrics.
    pub metrics: u64,
    /// Number of calls and manual spans that were merged into other spans.
    pub merged: u64,
    /// Number of calls and manual spans that were dropped.
    pub left_out: u64,
    /// Messages of the sink, and problems that did not stop the export.
    pub said: Vec<String>,
}

/// Sends the recording that `open` opens. `open` may be called twice and must start at the beginning each time.
///
/// # Errors
/// [`ExportError`] if not everything was accepted. Sending the recording again sends the same spans.
pub fn export<R: Read>(
    open: impl FnMut() -> io::Result<R>,
    options: &ExportOptions<'_>,
) -> Result<Exported, ExportError> {
    export_rest(open, options, &SentSpans::default())
}

/// Sends the part of a recording that was not sent during the run ([`IncrementalExport`](crate::IncrementalExport)).
///
/// # Errors
/// Those of [`export`].
pub fn export_rest<R: Read>(
    mut open: impl FnMut() -> io::Result<R>,
    options: &ExportOptions<'_>,
    already: &SentSpans,
) -> Result<Exported, ExportError> {
    let mut read = || open();
    let budget = match options.max_spans {
        0 => Budget::all(),
        most => {
            let mut count = budget::Count::new(most, already);
            replay(read()?, options, |_, what| {
                if let Step::Change(change) = what {
                    count.change(change);
                }
                Ok(())
            })?;
            count.budget()
        }
    };
    let mut delivery: Option<Delivery<'_>> = None;
    let mut delivered = Exported::default();
    let mut budget = Some(budget);
    replay(read()?, options, |run_info, step| {
        let delivery = match &mut delivery {
            Some(delivery) => delivery,
            none => none.insert(Delivery::begin(options, budget.take().expect("taken once"), already)?),
        };
        match step {
            Step::Change(change) => delivery.change(run_info, change),
            Step::Footer(ended) => {
                delivered = delivery.finish(run_info, &ended)?;
                Ok(())
            }
        }
    })?;
    Ok(delivered)
}

/// A step of replaying a recording.
enum Step<'s> {
    Change(&'s Change<'s>),
    Footer(Ended<'s>),
}

struct Ended<'s> {
    ending: &'s RunOutcome,
    duration: u64,
    calls: u64,
    /// The reason why the recording ends early.
    stops: Option<&'s str>,
}

/// Replays a recording up to its end or the first damage.
fn replay(
    input: impl Read,
    options: &ExportOptions<'_>,
    mut tell: impl FnMut(&RunInfo, Step<'_>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut reader = Reader::open(io::BufReader::with_capacity(1 << 16, input))?;
    let run_info = run_info(reader.header(), options.settings, &options.resource);
    let mut fold = SpanBuilder::new();
    let mut events = Vec::new();
    let mut failed = Ok(());
    let (end, stops) = loop {
        match reader.block(&mut events) {
            Ok(Block::Events) => {
                for event in &events {
                    fold.event(event, &mut |change| {
                        if failed.is_ok() {
                            failed = tell(&run_info, Step::Change(change));
                        }
                    });
                }
                std::mem::replace(&mut failed, Ok(()))?;
            }
            Ok(Block::Footer(end)) => break (Some(end), None),
            Ok(Block::Stops) => break (None, Some("the recording ends before the run".to_owned())),
            Err(e) => break (None, Some(e.to_string())),
        }
    };
    let unknown = || Footer { ending: RunOutcome::Unknown, duration: fold.last() };
    let Footer { ending, duration } = end.or(options.end.clone()).unwrap_or_else(unknown);
    let duration = duration.max(fold.last());
    fold.finish(duration, &ending, &mut |change| {
        if failed.is_ok() {
            failed = tell(&run_info, Step::Change(change));
        }
    });
    failed?;
    tell(&run_info, Step::Footer(Ended { ending: &ending, duration, calls: fold.calls(), stops: stops.as_deref() }))
}

/// The spans, logs and metrics being sent.
struct Delivery<'d> {
    options: &'d ExportOptions<'d>,
    kept: Kept<'d>,
    already: &'d SentSpans,
    /// Number of closed spans, and of those sent during the run.
    closed: u64,
    sent_during_run: u64,
    spans: Spans,
    batch: Batch,
    /// The request for log lines, if they are not sent as span events.
    logs: Option<Request>,
    /// The metrics, if they are not sent as span events.
    metrics: Option<Metrics>,
    /// One sender for each signal.
    span_way: SignalSender<'d>,
    log_way: SignalSender<'d>,
    metric_way: SignalSender<'d>,
}

fn encoding(exporter: &Exporter) -> Encoding {
    match exporter.protocol.value {
        Protocol::Http(encoding) => encoding,
        Protocol::Grpc | Protocol::Zipkin => Encoding::Proto,
    }
}

impl<'d> Delivery<'d> {
    fn begin(options: &'d ExportOptions<'d>, budget: Budget, already: &'d SentSpans) -> Result<Self, ExportError> {
        let Settings { traces, logs, metrics, limits, .. } = options.settings;
        Ok(Delivery {
            options,
            kept: Kept::new(budget, already),
            already,
            closed: 0,
            sent_during_run: 0,
            spans: Spans::new(*limits)?,
            batch: Batch::new(traces.protocol.value, *limits),
            logs: logs.enabled.value.then(|| Request::new(Signal::Logs, encoding(logs), *limits)),
            metrics: metrics.enabled.value.then(Metrics::default),
            span_way: SignalSender::new(traces, Signal::Traces, options),
            log_way: SignalSender::new(logs, Signal::Logs, options),
            metric_way: SignalSender::new(metrics, Signal::Metrics, options),
        })
    }

    /// Handles a change of the recording.
    ///
    /// # Errors
    /// The reason why nothing more will be accepted.
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> Result<(), ExportError> {
        match change {
            Change::Opened { number, what, .. } => self.kept.opened(*number, what),
            Change::Closed { span, depth } => {
                self.closed += 1;
                match self.kept.closed(span, *depth) {
                    SpanDisposition::Alone(_) if self.already.is_sent(span.number, self.closed) => {
                        self.spans.forget(span.number);
                        self.sent_during_run += 1;
                    }
                    SpanDisposition::Alone(parent) => self.span(run_info, span, parent, Vec::new()),
                    SpanDisposition::Merged => {}
                }
            }
            Change::Noted { at, span, note } => {
                let number = self.kept.innermost(*span).unwrap_or(0);
                match (note, &mut self.logs, &mut self.metrics) {
                    (Note::Log(level, message), Some(logs), _) => {
                        let context = self.spans.context(run_info);
                        logs.log(context, context.span(number), run_info.began.saturating_add(*at), *level, message);
                        if is_full(logs.size()) {
                            self.send_logs(run_info);
                        }
                    }
                    (Note::Metric(line), _, Some(metrics)) => metrics.line(line),
                    _ => {
                        if let Some(number) = self.kept.innermost_unsent(*span) {
                            self.spans.noted(run_info, *at, number, note);
                        }
                    }
                }
            }
        }
        let others = self.logs.is_some() || self.metrics.is_some();
        let late = || self.options.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let over = self.span_way.failed().is_some() && (!others || late());
        if over { Err(ExportError::Sink(self.failure().expect("something failed"))) } else { Ok(()) }
    }

    fn span(&mut self, run_info: &RunInfo, span: &Span<'_>, parent: Option<u64>, more: Vec<Attribute>) {
        let Delivery { spans, batch, .. } = self;
        spans.closed(run_info, span, parent, more, |span| batch.span(run_info, &span));
        if is_full(self.batch.size()) {
            self.send_spans(run_info);
        }
    }

    fn finish(&mut self, run_info: &RunInfo, step: &Ended<'_>) -> Result<Exported, ExportError> {
        let (sums, merged, left_out) =
            std::mem::replace(&mut self.kept, Kept::new(Budget::all(), self.already)).finish();
        for (sum, inside) in &sums {
            let Sum { what, start, end, how, tags, .. } = sum;
            let (number, start, end, how, self_time) = (sum.number(), *start, *end, *how, 0);
            let several = vec![attribute("wasm.call.count", sum.count), attribute("wasm.call.total_ns", sum.total)];
            let span = Span { number, parent: *inside, what, start, end, self_time, how, tags, calls: sum.count };
            self.span(run_info, &span, *inside, if sum.count > 1 { several } else { Vec::new() });
        }
        let mut more = vec![attribute("wasm.call.count", step.calls)];
        if merged + left_out > 0 {
            more.push(attribute("wasm.spans.merged", merged));
            more.push(attribute("wasm.spans.left_out", left_out));
        }
        if let Some(stops) = step.stops {
            more.push(attribute("wasm.trace.incomplete", stops));
        }
        let Delivery { spans, batch, .. } = self;
        spans.finish(run_info, step.ending, step.duration, more, |span| batch.span(run_info, &span));
        self.send_spans(run_info);
        self.send_logs(run_info);
        let mut said = Vec::new();
        let metrics = self.send_metrics(run_info, step.duration, &mut said);
        if let Some(failure) = self.failure() {
            return Err(ExportError::Sink(failure));
        }
        said.splice(0..0, self.said());
        said.extend(step.stops.map(|stops| format!("the trace is incomplete: {stops}")));
        let already = &self.already.said;
        Ok(Exported {
            trace: format!("{:032x}", self.spans.context(run_info).trace),
            spans: (self.sent_during_run + self.span_way.taken()).saturating_sub(already.rejected()),
            sent_during_run: self.sent_during_run.saturating_sub(already.rejected()),
            rejected: self.ways().iter().fold(already.rejected(), |sum, way| sum.saturating_add(way.said().rejected())),
            logs: self.log_way.taken(),
            // Rejected data points do not say which metric they belong to.
            metrics: metrics.min(self.metric_way.taken()),
            merged,
            left_out,
            said,
        })
    }

    fn ways(&self) -> [&SignalSender<'d>; 3] {
        [&self.span_way, &self.log_way, &self.metric_way]
    }

    /// The messages of the sink about accepted requests.
    fn said(&self) -> Vec<String> {
        let mut of_spans = self.already.said.clone();
        of_spans.add(self.span_way.said());
        let (of_logs, of_metrics) = (self.log_way.said(), self.metric_way.said());
        let of_spans = of_spans.sentences(Signal::Traces);
        of_spans.chain(of_logs.sentences(Signal::Logs)).chain(of_metrics.sentences(Signal::Metrics)).collect()
    }

    /// The reason why not everything was accepted, with what was.
    fn failure(&self) -> Option<String> {
        let names = ["spans", "logs", "metrics"];
        let mut parts: Vec<String> = Vec::new();
        for (name, way) in names.into_iter().zip(self.ways()) {
            let Some(why) = way.failed() else { continue };
            // If all signals share an endpoint, they share its error; spans are the main signal.
            if !parts.iter().any(|part| part == why) {
                parts.push(if name == "spans" { why.to_owned() } else { format!("{name}: {why}") });
            }
        }
        if parts.is_empty() {
            return None;
        }
        let sent = names.into_iter().zip(self.ways()).filter(|(_, way)| way.failed().is_none() && way.taken() > 0);
        let sent: Vec<&str> = sent.map(|(name, _)| name).collect();
        if !sent.is_empty() {
            parts.push(format!("{} were sent", sent.join(" and ")));
        }
        match self.already.spans().saturating_sub(self.already.said.rejected()) {
            0 => {}
            count => parts.push(format!("{count} spans were sent during the run")),
        }
        parts.extend(self.said());
        Some(parts.join("; "))
    }

    fn send_spans(&mut self, run_info: &RunInfo) {
        let (items, _) = self.batch.size();
        self.span_way.send(&self.batch.take(run_info), items);
    }

    fn send_logs(&mut self, run_info: &RunInfo) {
        let Some(logs) = &mut self.logs else { return };
        let (items, _) = logs.size();
        if items > 0 {
            self.log_way.send(&logs.take(run_info), items);
        }
    }

    /// Sends the metrics and returns their number.
    fn send_metrics(&mut self, run_info: &RunInfo, duration: u64, said: &mut Vec<String>) -> u64 {
        let Some(metrics) = self.metrics.take() else { return 0 };
        let by_metric = metrics.by_metric();
        if metrics.left_out > 0 {
            said.push(format!("{} metrics were dropped: unknown format, or too many series", metrics.left_out));
        }
        if !by_metric.is_empty() {
            let Settings { metrics: exporter, limits, delta, .. } = self.options.settings;
            let mut request = Request::new(Signal::Metrics, encoding(exporter), *limits);
            let times = [run_info.began, run_info.began.saturating_add(duration)];
            by_metric.iter().for_each(|series| request.metric(series, times, delta.value));
            self.metric_way.send(&request.take(run_info), by_metric.iter().map(|series| series.len()).sum());
        }
        by_metric.len() as u64
    }
}
