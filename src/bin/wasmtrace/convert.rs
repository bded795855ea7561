//! `wasmtrace convert`

use std::path::PathBuf;

use anyhow::{Result, bail};
use wasmtrace::export::{FORMATS, Format, SAMPLES};

use crate::files::Output;
use crate::recordings::Recording;
use crate::sinks::{self, Pipeline, Sinks};
use crate::terminal::Global;

/// Convert a recording to a format that other tools read
#[derive(Debug, clap::Args)]
#[command(after_help = "\
If the recording is damaged or truncated, the intact part is converted.

Examples:
  wasmtrace convert app.wtrace -f chrome -o app.json
  wasmtrace convert app.wtrace -f folded | inferno-flamegraph > app.svg")]
pub(crate) struct Args {
    /// Recording to read, `-` for standard input [default: the newest *.wtrace file in the current directory]
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", long_help = help())]
    format: Format,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn help() -> String {
    let lines = FORMATS.map(|Format { name, about, .. }| format!("  {name:<10} {about}"));
    format!("Output format.\n\n{}", lines.join("\n"))
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let recording = Recording::open(args.trace.as_deref(), global)?;
    if let Some(output) = args.output.as_ref().filter(|output| recording.is_at(output)) {
        bail!("{}: the output is the recording itself: give another file to -o", output.display());
    }
    if recording.run_info.recording.clock == SAMPLES && args.format.needs_spans {
        bail!("the recording contains samples but no calls (--hooks none): use -f folded");
    }
    let output = Output::create(args.output.as_deref())?;
    let mut sinks = Sinks::none();
    sinks.add(&output.name(), sinks::format_sink(args.format, output.writer()?)?);
    let mut pipeline = Pipeline::new(sinks);
    let replayed = recording.replay(&mut pipeline, global);
    pipeline.worked()?;
    drop(pipeline);
    output.keep()?;
    replayed.damage.map_or(Ok(0), Err)
}
