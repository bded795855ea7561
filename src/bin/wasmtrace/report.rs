//! `wasmtrace report`

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use wasmtrace::export::{Flat, RunInfo, Sink, Sort, Tree, hex};
use wasmtrace::label::Resumption;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::budget::Budget;
use wasmtrace::trace::profile::{Node, Totals};
use wasmtrace::trace::recording::Footer;
use wasmtrace::trace::span_builder::{Anomalies, What};

use crate::file_sinks::{FileSink, MAX_SPANS};
use crate::lines::HotLines;
use crate::page;
use crate::recordings::{self, Recording};
use crate::sinks::{Pipeline, Sinks};
use crate::table_args::TableArgs;
use crate::terminal::Global;

/// Show where the time of a recording went
#[derive(Debug, clap::Args)]
#[command(after_help = "\
If the recording is damaged or truncated, the intact part is shown.

Examples:
  wasmtrace report
  wasmtrace report --flat --sort self app.wtrace
  wasmtrace report --lines app.wtrace
  wasmtrace report --html app.html app.wtrace
  wasmtrace report --json app.wtrace | jq '.functions[0]'")]
pub(crate) struct Args {
    /// Recording to read, `-` for standard input [default: the newest *.wtrace file in the current directory]
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// Show the call tree (the default)
    #[arg(long, conflicts_with = "flat")]
    tree: bool,
    /// Show one line for each function
    #[arg(long)]
    flat: bool,
    /// Show the source lines with the most samples, first of each function, then of the whole program
    #[arg(long, conflicts_with_all = ["tree", "flat", "sort"])]
    lines: bool,
    /// Sort by this column, largest first [default: total; self with --flat]
    #[arg(long, value_name = "BY", value_enum)]
    sort: Option<SortArg>,
    #[command(flatten)]
    table: TableArgs,
    /// Write an HTML page instead: flame graphs, call tree, functions and source lines in one file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tree", "flat", "lines", "sort", "min_share", "width", "json"])]
    html: Option<PathBuf>,
    /// Open the HTML page in the browser; without --html it is a temporary file
    #[arg(long, conflicts_with_all = ["tree", "flat", "lines", "sort", "min_share", "width", "json"])]
    open: bool,
    /// Print the whole report as JSON
    #[arg(long, conflicts_with_all = ["tree", "flat", "sort", "min_share", "width", "full_names"])]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SortArg {
    /// Time from entry to exit, callees included
    Total,
    /// Time without callees
    #[value(name = "self")]
    Own,
    /// Number of calls
    Calls,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    if args.html.is_some() || args.open {
        return write_html(args, global);
    }
    let recording = Recording::open(args.trace.as_deref(), global)?;
    let sort = match args.sort {
        Some(SortArg::Total) => Sort::Total,
        Some(SortArg::Own) => Sort::Own,
        Some(SortArg::Calls) => Sort::Calls,
        None if args.flat => Sort::Own,
        None => Sort::Total,
    };
    let out = std::io::stdout();
    let look = args.table.look(&out, sort);
    let out = BufWriter::new(out);
    let table: Box<dyn Sink> = if args.flat { Box::new(Flat::new(out, look)) } else { Box::new(Tree::new(out, look)) };
    let mut sinks = Sinks::none();
    if !args.json && !args.lines {
        sinks.add("standard output", table);
    }
    let run_info = recording.run_info.clone();
    let mut pipeline = Pipeline::new(sinks);
    let replayed = recording.replay(&mut pipeline, global);
    let lines = args.lines.then(|| HotLines::of(&replayed));
    if args.json {
        write_json(&run_info, &replayed.end, &pipeline, lines.as_ref()).context("standard output")?;
    } else if let Some(lines) = &lines {
        let mut out = BufWriter::new(std::io::stdout());
        lines.write(&mut out, &run_info, &look).and_then(|()| out.flush()).context("standard output")?;
    }
    pipeline.worked()?;
    replayed.damage.map_or(Ok(0), Err)
}

/// Writes the HTML page, and opens it if that was asked for.
fn write_html(args: &Args, global: &Global) -> Result<u8> {
    let trace = recordings::find(args.trace.as_deref(), global)?;
    recordings::refuse_output(&trace, args.html.as_deref())?;
    let copy;
    let trace = match trace.metadata().is_ok_and(|data| data.is_file()) {
        true => &*trace,
        false => {
            copy = recordings::copied(&trace)?;
            copy.path()
        }
    };
    let recording = Recording::open(Some(trace), global)?;
    let page = match &args.html {
        Some(page) => page.clone(),
        None => page::temporary(&recording.run_info.program)?,
    };
    drop(recording);
    let budget = Budget { max_spans: Some(MAX_SPANS), ..Budget::default() };
    let replayed = FileSink::create(page::format(), Some(&page))?.write(trace, &budget, global)?;
    if args.open {
        page::open(&page, global);
    }
    replayed.damage.map_or(Ok(0), Err)
}

/// Writes the report as one JSON object with one row a line. Rows are streamed: there may be hundreds of thousands.
fn write_json(run_info: &RunInfo, end: &Footer, pipeline: &Pipeline, lines: Option<&HotLines>) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let head = wasmtrace::export::json_text(&head(run_info, end, pipeline));
    write!(out, "{},\n  \"functions\": [", head.trim_end().trim_end_matches('}').trim_end())?;
    let mut functions = pipeline.tree().profile().by_function();
    functions.sort_by_key(|f| std::cmp::Reverse(f.self_time));
    write_rows(&mut out, functions.iter().map(|f| function(run_info, f)))?;
    write!(out, "],\n  \"tree\": [")?;
    write_rows(&mut out, pipeline.tree().profile().nodes().map(|n| node(run_info, n)))?;
    if let Some(lines) = lines {
        write!(out, "],\n  \"lines\": [")?;
        write_rows(&mut out, lines.json(run_info))?;
    }
    writeln!(out, "]\n}}")?;
    out.flush()
}

fn write_rows(out: &mut impl Write, rows: impl Iterator<Item = Value>) -> std::io::Result<()> {
    for (i, row) in rows.enumerate() {
        write!(out, "{}\n    {}", if i == 0 { "" } else { "," }, wasmtrace::export::json_line(&row))?;
    }
    write!(out, "\n  ")
}

fn head(run_info: &RunInfo, end: &Footer, pipeline: &Pipeline) -> Value {
    let profile = pipeline.tree().profile();
    let accuracy = pipeline.tree().accuracy();
    let (clock_gaps, gap_sum, gap_most) = profile.clock_gaps();
    let (grows, pages) = profile.memory_grows();
    json!({
        "schema": "wasmtrace.report/1",
        "program": run_info.program,
        "module_sha256": run_info.hash.map(|hash| hex(&hash)),
        "began_unix_nanos": run_info.began,
        "duration_nanos": pipeline.last().max(end.duration),
        "ending": ending(run_info, &end.ending),
        "recording": {
            "clock": run_info.recording.clock,
            "resolution_nanos": run_info.recording.resolution,
            "min_duration_nanos": run_info.recording.min_duration,
            "max_depth": run_info.recording.max_depth,
            "stamped": run_info.recording.stamped,
            "not_sampled": run_info.recording.not_sampled,
            "resumption": run_info.recording.resumption.map(Resumption::as_str),
            "drifts": { "count": clock_gaps, "sum_nanos": gap_sum, "most_nanos": gap_most },
        },
        "times": {
            "samples": accuracy.samples,
            "samples_seen_by_another_thread": accuracy.seen,
            "samples_in_hooks": accuracy.in_hooks,
            "samples_lost": accuracy.lost,
            "host_nanos": accuracy.host,
            "without_hooks_nanos": accuracy.without_hooks,
        },
        "calls": profile.calls(),
        "calls_counted_only": profile.elided().values().sum::<u64>(),
        "manual_spans": profile.manual_spans(),
        "memory_grow": { "count": grows, "pages": pages },
        "irregular": anomalies(pipeline.tree().anomalies(), profile.merged()),
    })
}

fn ending(run_info: &RunInfo, ending: &RunOutcome) -> Value {
    let mut value = match ending {
        RunOutcome::Returned => json!({ "kind": "returned" }),
        RunOutcome::Exited(code) => json!({ "kind": "exited", "code": code }),
        RunOutcome::Trapped(trap) => {
            let frames: Vec<u32> =
                trap.frames.iter().map(|frame| run_info.index(wasmtrace::hook::ProbeId(*frame))).collect();
            json!({ "kind": "trapped", "trap": trap.code, "message": trap.message, "frames": frames })
        }
        RunOutcome::Interrupted(signal) => json!({ "kind": "interrupted", "signal": signal }),
        RunOutcome::Unknown => json!({ "kind": "unknown" }),
    };
    value["text"] = ending.describe().into();
    value
}

fn anomalies(anomalies: &Anomalies, merged: u64) -> Value {
    let misuse: Map<String, Value> = anomalies.misuse.iter().map(|(what, n)| ((*what).to_owned(), json!(n))).collect();
    json!({
        "stray_exits": anomalies.stray_exits,
        "unwound": anomalies.unwound,
        "stray_span_exits": anomalies.stray_span_exits,
        "spans_never_closed": anomalies.forgotten,
        "spans_refused": anomalies.refused,
        "calls_refused": anomalies.refused_calls,
        "tags_left_out": anomalies.tags_left_out,
        "calls_merged": merged,
        "misuse": misuse,
    })
}

/// The members of a row that identify it: a function, or a manual span.
fn named(run_info: &RunInfo, what: &What) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("name".to_owned(), run_info.name(what).into());
    match what {
        What::Call(probe) => row.insert("function".to_owned(), run_info.index(*probe).into()),
        What::Manual(_) => row.insert("manual".to_owned(), true.into()),
    };
    row
}

fn function(run_info: &RunInfo, f: &Totals) -> Value {
    let mut row = named(run_info, &f.what);
    if let Some(label) = run_info.label(&f.what) {
        row.insert("file".to_owned(), json!(run_info.file(&f.what)));
        row.insert("line".to_owned(), json!(label.line));
    }
    row.extend([
        ("calls".to_owned(), f.calls.into()),
        ("calls_counted_only".to_owned(), f.elided.into()),
        ("total_nanos".to_owned(), f.total.into()),
        ("self_nanos".to_owned(), f.self_time.into()),
        ("samples".to_owned(), f.samples.1.into()),
        ("self_samples".to_owned(), f.samples.0.into()),
        ("estimated".to_owned(), f.estimated.into()),
    ]);
    Value::Object(row)
}

/// A node of the call tree, with the index of its parent in the list; parents come before children. The list is flat because
/// nested values may exceed the depth that JSON parsers accept.
fn node(run_info: &RunInfo, node: &Node) -> Value {
    let mut row = named(run_info, node.what.as_ref().expect("only the root is nothing"));
    // The root is not in the list.
    let parent = node.parent.map(|id| id.index()).and_then(|index| index.checked_sub(1));
    row.extend([
        ("parent".to_owned(), json!(parent)),
        ("calls".to_owned(), node.calls.into()),
        ("total_nanos".to_owned(), node.total.into()),
        ("self_nanos".to_owned(), node.self_time.into()),
        ("samples".to_owned(), node.samples.1.into()),
        ("self_samples".to_owned(), node.samples.0.into()),
        ("estimated".to_owned(), node.estimated.into()),
        ("recursive".to_owned(), node.recursive.into()),
        ("unwound".to_owned(), node.unwound.into()),
        ("open_at_the_end".to_owned(), node.cut_off.into()),
        ("trapped".to_owned(), node.trapped.into()),
        ("never_closed".to_owned(), node.forgotten.into()),
        ("logs".to_owned(), node.logs.into()),
        ("metrics".to_owned(), node.metrics.into()),
        ("tags".to_owned(), json!(node.tags)),
    ]);
    Value::Object(row)
}
