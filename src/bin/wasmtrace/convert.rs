//! `wasmtrace convert`

use std::path::PathBuf;

use anyhow::{Result, bail};
use wasmtrace::export::{FORMATS, Format, SAMPLES};

use crate::files::Output;
use crate::recordings::Recording;
use crate::sinks::{self, Pipeline, Sinks};
use crate::terminal::Global;

/// Write a recording in the format of another tool
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a recording that is damaged or cut off, what is sound is written.

Examples:
  wasmtrace convert app.wtrace -f chrome -o app.json
  wasmtrace convert app.wtrace -f folded | inferno-flamegraph > app.svg")]
pub(crate) struct Args {
    /// The recording, `-` for standard input [default: the newest *.wtrace in this folder]
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// The format
    #[arg(short, long, value_name = "FORMAT", long_help = help())]
    format: Format,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn help() -> String {
    let lines = FORMATS.map(|Format { name, about, .. }| format!("  {name:<10} {about}"));
    format!("The format.\n\n{}", lines.join("\n"))
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let recording = Recording::open(args.trace.as_deref(), global)?;
    if let Some(output) = args.output.as_ref().filter(|output| recording.is_at(output)) {
        bail!("{}: this is the recording itself; nothing is written", output.display());
    }
    if recording.subject.recording.clock == SAMPLES && args.format.needs_spans {
        bail!("the recording has samples and no calls (--hooks none): only folded can show that");
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
