//! `wasmtrace convert`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wasmtrace::export::{FORMATS, Format, SAMPLES};
use wasmtrace::select::{Rules, select_recorded};
use wasmtrace::trace::budget::Budget;

use crate::file_sinks::{FileSink, MAX_SPANS};
use crate::recordings::{self, Recording};
use crate::terminal::Global;

/// Convert a recording to a format that other tools read
#[derive(Debug, clap::Args)]
#[command(after_help = "\
If the recording is damaged or truncated, the intact part is converted. Totals are exact in every format that has them: \
html, pprof, callgrind, folded.

Examples:
  wasmtrace convert app.wtrace -o app.html
  wasmtrace convert app.wtrace -f perfetto -o app.pftrace
  wasmtrace convert app.wtrace -f speedscope --min-duration 1ms --select '-@std' -o app.speedscope.json.gz
  wasmtrace convert app.wtrace -f folded | inferno-flamegraph > app.svg")]
pub(crate) struct Args {
    /// Recording to read, `-` for standard input [default: the newest *.wtrace file in the current directory]
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// Output format [default: that of the output's name]
    #[arg(short, long, value_name = "FORMAT", long_help = help())]
    format: Option<Format>,
    /// File to write; a name that ends with .gz is compressed [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Merge calls shorter than this
    #[arg(help_heading = SPANS, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    min_duration: Option<Duration>,
    /// Leave out calls nested in N others or more
    #[arg(help_heading = SPANS, long, value_name = "N")]
    max_depth: Option<u32>,
    /// Add a selection rule, as in `run`: the calls of other functions are left out, and their time is their callers'
    #[arg(help_heading = SPANS, long, value_name = "RULE", allow_hyphen_values = true)]
    select: Vec<String>,
    /// Write at most N spans: the longest calls, with shorter ones merged; 0 writes all
    #[arg(help_heading = SPANS, long, value_name = "N", default_value_t = MAX_SPANS)]
    max_spans: u64,
}

const SPANS: &str = "Which calls are written";

fn help() -> String {
    let lines = FORMATS.map(|Format { name, about, .. }| format!("  {name:<10} {about}"));
    format!("Output format [default: that of the output's name].\n\n{}", lines.join("\n"))
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let path = recordings::find(args.trace.as_deref(), global)?;
    recordings::refuse_output(&path, args.output.as_deref())?;
    // The recording may be read several times.
    let copy;
    let path = if path.metadata().is_ok_and(|data| data.is_file()) {
        &*path
    } else {
        copy = recordings::copied(&path)?;
        copy.path()
    };
    let recording = Recording::open(Some(path), global)?;
    let format = match args.format {
        Some(format) => format,
        None => format_of(args.output.as_deref())?,
    };
    if recording.run_info.recording.clock == SAMPLES && format.needs_spans {
        let others = FORMATS.iter().filter(|format| !format.needs_spans).map(|format| format.name).collect::<Vec<_>>();
        bail!("the recording contains samples but no calls (--hooks none): use -f {}", others.join(", "));
    }
    let budget = Budget {
        min_duration: args.min_duration.map_or(0, |least| u64::try_from(least.as_nanos()).unwrap_or(u64::MAX)),
        max_depth: args.max_depth,
        max_spans: Some(args.max_spans).filter(|most| *most > 0),
        selected: if args.select.is_empty() { None } else { Some(selected(&args.select, &recording, global)?) },
    };
    drop(recording);
    let replayed = FileSink::create(format, args.output.as_deref())?.write(path, &budget, global)?;
    replayed.damage.map_or(Ok(0), Err)
}

/// The format that the name of a file stands for.
fn format_of(output: Option<&Path>) -> Result<Format> {
    let names = || FORMATS.map(|format| format.name).join(", ");
    let output = output.with_context(|| format!("give a format to -f: {}", names()))?;
    let name = output.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let ends = |format: &&Format| {
        let end = format!(".{}", format.extension);
        // Several formats are just JSON.
        format.extension != "json" && (name.ends_with(&end) || plain.ends_with(&end))
    };
    let found = FORMATS.iter().find(ends).copied();
    found.with_context(|| {
        format!("{}: the name does not say which format: give one to -f: {}", output.display(), names())
    })
}

fn selected(
    texts: &[String],
    recording: &Recording,
    global: &Global,
) -> Result<std::collections::BTreeSet<wasmtrace::hook::ProbeId>> {
    let mut rules = Rules::default();
    for text in texts {
        rules.push(text)?;
    }
    let (selected, warnings) = select_recorded(&recording.run_info.labels, &rules)?;
    global.warn("", &warnings);
    Ok(selected)
}
