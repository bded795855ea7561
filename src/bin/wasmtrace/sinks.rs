//! The sinks of a trace, as given on the command line.

use std::io::{BufWriter, Write};

use anyhow::Result;
use wasmtrace::export::{Destination, FORMATS, RunInfo, SINKS, Sink, Sort, Summary, Tree};
use wasmtrace::label;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::budget::{Budget, LeftOut, Thresholds};
use wasmtrace::trace::calltree::CallTree;
use wasmtrace::trace::lines::Lines;
use wasmtrace::trace::merger::Merger;
use wasmtrace::trace::span_builder::{Change, SpanBuilder, What};
use wasmtrace::trace::time_model::{Step, TimeModel};

use crate::table_args::TableArgs;

pub(crate) fn help() -> String {
    let sinks = SINKS.into_iter().chain(FORMATS.map(|format| (format.name, format.about)));
    let lines: Vec<String> = sinks.map(|(name, about)| format!("  {name:<10} {about}")).collect();
    format!(
        "Destination of the trace, repeatable: NAME, NAME:FILE for a file (`-` is standard output), or NAME:URL for a server.\n\n{}",
        lines.join("\n")
    )
}

/// Feeds batches into the call tree, and its changes into the sinks.
pub(crate) struct Pipeline {
    tree: CallTree,
    sinks: Sinks,
    budget: Budget,
    spans: Spans,
}

/// Single calls with their times. The call tree has other times: it needs no single calls, so it relies on samples.
struct Spans {
    time_model: TimeModel,
    builder: SpanBuilder,
    /// Merges short calls.
    merger: Merger,
}

impl Pipeline {
    pub(crate) fn new(sinks: Sinks) -> Self {
        Pipeline::within(sinks, Budget::default(), Thresholds::default())
    }

    /// A pipeline that passes only spans within a budget to its sinks.
    pub(crate) fn within(sinks: Sinks, budget: Budget, thresholds: Thresholds) -> Self {
        let merger = Merger::new(budget.clone(), thresholds);
        let spans = Spans { time_model: TimeModel::new(), builder: SpanBuilder::new(), merger };
        Pipeline { tree: CallTree::new(), sinks, budget, spans }
    }

    /// A pipeline for events without times: calls are counted only.
    pub(crate) fn counting(sinks: Sinks) -> Self {
        Pipeline { tree: CallTree::counting(), ..Pipeline::new(sinks) }
    }

    /// Adds a sink that is not given on the command line.
    pub(crate) fn add(&mut self, sink: Box<dyn Sink>) {
        self.sinks.add("standard error", sink);
    }

    /// Whether a sink needs the begin and end time of each call.
    pub(crate) fn wants_spans(&self) -> bool {
        self.sinks.want_changes()
    }

    pub(crate) fn batch(&mut self, run_info: &RunInfo, batch: &Batch) {
        let Pipeline { tree, sinks, spans, .. } = self;
        tree.batch(batch);
        if sinks.want_changes() {
            let Spans { time_model, builder, merger } = spans;
            let mut tell = |change: &Change<'_>| sinks.each(|sink| sink.change(run_info, change));
            time_model.batch(batch, |step| {
                if let Step::Event(event) = step {
                    builder.event(event, &mut |change| merger.change(change, &mut tell));
                }
            });
        }
    }

    /// Adds a number of lost samples.
    pub(crate) fn lost(&mut self, samples: u64) {
        self.tree.lost(samples);
    }

    /// Ends the run after `duration`, or with its last event.
    pub(crate) fn finish(&mut self, run_info: &RunInfo, ending: &RunOutcome, duration: u64, lines: &Lines) {
        let Pipeline { tree, sinks, budget, spans } = self;
        let Spans { builder, merger, .. } = spans;
        tree.finish(ending, duration, |_| {});
        if sinks.want_changes() {
            let mut tell = |change: &Change<'_>| sinks.each(|sink| sink.change(run_info, change));
            let end = duration.max(builder.last());
            builder.finish(end, ending, &mut |change| merger.change(change, &mut tell));
            merger.finish(&mut tell);
        }
        let duration = duration.max(tree.elapsed());
        let (anomalies, accuracy, left_out) = (tree.anomalies(), tree.accuracy(), merger.left_out());
        let keeps = |what: &What| match (what, &budget.selected) {
            (What::Call(function), Some(selected)) => selected.contains(function),
            _ => true,
        };
        let collapsed = (budget.selected.is_some() || budget.max_depth.is_some())
            .then(|| tree.profile().collapsed(keeps, budget.max_depth));
        let profile = collapsed.as_ref().unwrap_or(tree.profile());
        let summary = Summary { ending, duration, profile, anomalies, accuracy, lines, left_out };
        sinks.each(|sink| sink.finish(run_info, &summary));
    }

    /// What the sinks did not get as spans.
    pub(crate) fn left_out(&self) -> LeftOut {
        self.spans.merger.left_out()
    }

    pub(crate) fn tree(&self) -> &CallTree {
        &self.tree
    }

    /// Time from the start of the run to its last event, in nanoseconds.
    pub(crate) fn last(&self) -> u64 {
        self.tree.elapsed()
    }

    /// Returns the first failure of a sink as an error.
    pub(crate) fn worked(&mut self) -> Result<()> {
        let failed = self.sinks.failed.drain(..).next();
        failed.map_or(Ok(()), |(name, e)| Err(anyhow::Error::new(e).context(name)))
    }

    pub(crate) fn sinks(&self) -> &Sinks {
        &self.sinks
    }
}

/// All open sinks with their names. A sink that fails is not called again.
pub(crate) struct Sinks {
    open: Vec<(String, Box<dyn Sink>)>,
    failed: Vec<(String, std::io::Error)>,
    pub(crate) shows_ending: bool,
}

impl Sinks {
    pub(crate) fn none() -> Self {
        Sinks { open: Vec::new(), failed: Vec::new(), shows_ending: false }
    }

    /// Opens the sinks that are shown during a run or at its end. Files and servers get their data from a recording.
    pub(crate) fn open(destinations: &[Destination], table: &TableArgs) -> Self {
        let mut sinks = Sinks::none();
        if destinations.contains(&Destination::Tree) {
            sinks.shows_ending = true;
            let err = std::io::stderr();
            let look = table.look(&err, Sort::Total);
            sinks.add("the tree", Box::new(Tree::new(BufWriter::new(err), look)));
        }
        sinks
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn add(&mut self, name: &str, sink: Box<dyn Sink>) {
        self.open.push((name.to_owned(), sink));
    }

    fn want_changes(&self) -> bool {
        self.open.iter().any(|(_, sink)| sink.wants_changes())
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Sink) -> std::io::Result<()>) {
        let mut at = 0;
        while let Some((_, sink)) = self.open.get_mut(at) {
            match call(sink.as_mut()) {
                Ok(()) => at += 1,
                Err(e) => {
                    let (name, _) = self.open.remove(at);
                    self.failed.push((name, e));
                }
            }
        }
    }

    /// Prints the failures of all sinks. Returns whether there were any.
    pub(crate) fn report(&self) -> bool {
        for (name, e) in &self.failed {
            let _ = writeln!(anstream::stderr(), "wasmtrace: the trace is incomplete: {}: {e}", label::printable(name));
        }
        !self.failed.is_empty()
    }
}
