//! `wasmtrace run`

use std::path::Path;

use anyhow::{Result, bail};
use wasmtrace::export::Destination;
use wasmtrace::trace::lines::Lines;
use wasmtrace::trace::recording::Footer;

use crate::brief;
use crate::ending::{leave, show};
use crate::file_sinks;
use crate::guest::{Guest, Times};
use crate::guest_args::GuestArgs;
use crate::page;
use crate::sending::{self, ContextArgs, Place, ResourceArgs, Spool, SpoolArgs, Told};
use crate::sinks::{self, Pipeline, Sinks};
use crate::table_args::TableArgs;
use crate::terminal::{Global, one_line};
use crate::twice;

/// Instrument a module or component in memory, run it, and show where its time went
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmtrace run [OPTIONS] <WASM> [ARGS]...")]
#[command(after_help = "\
The exit code is the guest's (0 to 255); 134 after a trap, 125 if wasmtrace fails, 130 after SIGINT, 143 after SIGTERM.

Examples:
  wasmtrace run app.wasm --flag of-the-app
  wasmtrace run --dir . --env HOME app.wasm input.txt
  wasmtrace run --open app.wasm
  wasmtrace run --select '-@std' --sink html:app.html --sink pprof:app.pb.gz app.wasm
  wasmtrace run --sink otlp:http://localhost:4318 app.wasm
  wasmtrace run --hooks none --sample app.wasm
  wasmtrace run --invoke fib lib.wasm 30
  wasmtrace run --invoke 'fib(30)' lib.component.wasm
  CARGO_TARGET_WASM32_WASIP1_RUNNER='wasmtrace run' cargo test --target wasm32-wasip1

As the runner of `cargo test`, it prints one line for each test binary and writes a recording next to it. With --sink \
tree or --verbose, it prints the tree.")]
pub(crate) struct Args {
    /// Destination of the trace, repeatable: NAME[:FILE or URL]
    #[arg(long = "sink", value_name = "SINK", long_help = sinks::help())]
    sinks: Vec<Destination>,
    /// Show the run in the browser instead, as an HTML page in a temporary file
    #[arg(long, conflicts_with = "twice")]
    open: bool,
    /// Run the program twice: without hooks to measure times, then with hooks to count calls. Both runs get the same
    /// standard input, which is read to its end first; the output of the second run is discarded
    #[arg(long)]
    twice: bool,
    #[command(flatten)]
    table: TableArgs,
    /// Exit with 125 if a sink fails, regardless of the guest's exit code
    #[arg(long)]
    require_export: bool,
    #[command(flatten)]
    spool: SpoolArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    resource: ResourceArgs,
    #[command(flatten)]
    guest: GuestArgs,
}

pub(crate) fn run(mut args: Args, global: &Global) -> Result<u8> {
    let page = match args.open {
        true => Some(page::temporary(&guest_name(args.guest.module()))?),
        false => None,
    };
    args.sinks.extend(page.iter().map(|page| Destination::File(page::format(), page.clone())));
    if args.twice {
        return twice::run(&args.guest, &args.sinks, &args.table, args.require_export, global);
    }
    let mut guest = Guest::prepare(&args.guest, false, global)?;
    // `--hooks none` without `--sample` is the baseline for measurements: it records nothing to show.
    let unhooked = !args.guest.is_watched() && args.sinks.is_empty();
    if args.guest.is_unhooked() && args.guest.is_watched() {
        let has_spans = |sink: &Destination| match sink {
            Destination::Tree | Destination::None => false,
            Destination::File(format, _) => format.needs_spans,
            Destination::Otlp(_) | Destination::Zipkin(_) => true,
        };
        if args.sinks.iter().any(has_spans) {
            bail!(
                "--hooks none records samples but no calls: use --sink tree, or a format such as html, pprof or folded"
            );
        }
    }
    let is_brief =
        args.sinks.is_empty() && !global.verbose && args.guest.has_calls() && brief::is_cargo_test(args.guest.module());
    let targets = if unhooked || !args.guest.has_calls() { Vec::new() } else { sending::targets(&args.sinks, global) };
    let default = [if unhooked || is_brief || !targets.is_empty() { Destination::None } else { Destination::Tree }];
    let destinations = if args.sinks.is_empty() { &default[..] } else { &args.sinks };
    let files = file_sinks::create(destinations, args.guest.module())?;
    let mut pipeline = Pipeline::new(Sinks::open(destinations, &args.table));
    if is_brief {
        pipeline.add(Box::new(brief::Line));
    }
    let told = match targets.is_empty() {
        false => Told::Sink,
        true if destinations.iter().any(|d| matches!(d, Destination::File(format, _) if format.has_trace_ids)) => {
            Told::File
        }
        true => Told::Nobody,
    };
    let place = Place::find(&args.context, told, global)?;
    let sampled = place.sampled;
    guest.belongs_to(place, &args.resource);
    let mut spool = match Spool::begin(targets, files, sampled, &args.spool, &guest.run_info, global) {
        Err(e) if !args.require_export => {
            global.complain(&format!("the trace cannot be spooled, so no sink gets it: {}", one_line(&e)));
            None
        }
        spool => spool?,
    };
    let interrupt = guest.interrupt();
    let mut recording = is_brief.then(|| brief::Recording::begin(args.guest.module(), &guest.run_info, global));
    let shown = !pipeline.sinks().is_empty();
    let times = if spool.is_some() || recording.is_some() || pipeline.wants_spans() {
        Times::OfEachEvent
    } else {
        Times::OfSamples
    };
    let outcome = guest.run(times, |run_info, batch| {
        if let Some(spool) = &mut spool {
            spool.recorder().batch(batch);
        }
        if let Some(recording) = &mut recording {
            recording.batch(batch);
        }
        if shown {
            pipeline.batch(run_info, batch);
        }
    })?;
    show(&outcome, pipeline.sinks().shows_ending, global);
    args.guest.warn_of(&outcome, global);
    let mut failed = false;
    if shown {
        pipeline.lost(outcome.samples_lost);
        let not_sampled = &mut guest.run_info.recording.not_sampled;
        *not_sampled = not_sampled.take().or(outcome.not_sampled.clone());
        pipeline.finish(&guest.run_info, &outcome.ending, outcome.duration, &Lines::default());
        failed = pipeline.sinks().report();
    }
    if let Some(recording) = recording {
        let end = Footer { ending: outcome.ending.clone(), duration: outcome.duration };
        failed |= recording.finish(end, global);
    }
    if let Some(mut spool) = spool {
        if spool.has_lines() {
            match guest.lines(spool.recorder().sampled()) {
                Ok(lines) => spool.recorder().lines(&lines),
                Err(e) => global.warn("", &[format!("the files contain no source lines: {}", one_line(&e))]),
            }
        }
        let end = Footer { ending: outcome.ending.clone(), duration: outcome.duration };
        failed |= !spool.send(end, &interrupt, global);
    }
    if let Some(page) = page {
        page::open(&page, global);
    }
    Ok(leave(&outcome, failed && args.require_export))
}

/// The name of the program's file.
fn guest_name(module: &Path) -> String {
    module.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
