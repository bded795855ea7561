//! `wasmtrace record`

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasmtrace::label::printable;
use wasmtrace::runtime::RunResult;
use wasmtrace::trace::recording::Footer;

use crate::ending::{leave, show};
use crate::guest::{Guest, Times};
use crate::guest_args::GuestArgs;
use crate::recorder::{Recorder, Written, create};
use crate::recordings::{EXTENSION, repetition};
use crate::repeat;
use crate::sending::{ContextArgs, Place, ResourceArgs, Told};
use crate::terminal::{Global, one_line};

/// Run a module like `run`, and write all events to a file
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmtrace record [OPTIONS] <WASM> [ARGS]...")]
#[command(after_help = "\
The recording can be read while it is written. If the process is killed, at most the last second is missing. The exit \
code is the guest's, as with `run`; with --repeat, that of the last run that failed.

Examples:
  wasmtrace record -o app.wtrace app.wasm --flag of-the-app
  wasmtrace report app.wtrace
  wasmtrace record --repeat 5 -o before.wtrace app.wasm
  wasmtrace report --html app.html app.wtrace")]
pub(crate) struct Args {
    /// File to write [default: the module's name with .wtrace, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run the program N times and write NAME.1.wtrace to NAME.N.wtrace, for `diff`. Each run reads the same standard
    /// input; only the first one's output is shown
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: Option<u16>,
    /// Exit with 125 if the recording cannot be written completely, regardless of the guest's exit code
    #[arg(long)]
    require_export: bool,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    resource: ResourceArgs,
    #[command(flatten)]
    guest: GuestArgs,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<u8> {
    if !args.guest.is_watched() {
        bail!("--hooks none records nothing: add --sample to record samples");
    }
    let mut guest = Guest::prepare(&args.guest, true, global)?;
    let path = args.output.clone().unwrap_or_else(|| default_output(args.guest.module()));
    if let Some(count) = args.repeat {
        return repeat::run(count.into(), guest, global, |guest, number| {
            record(guest, &repetition(&path, number), &args, number == 1, global)
        });
    }
    let (outcome, failed) = record(&mut guest, &path, &args, true, global)?;
    Ok(leave(&outcome, failed))
}

/// Runs the guest once and records it. Returns the result, and whether the command fails because of the recording.
fn record(
    guest: &mut Guest,
    path: &Path,
    args: &Args,
    shows_results: bool,
    global: &Global,
) -> Result<(RunResult, bool)> {
    guest.belongs_to(Place::find(&args.context, Told::File, global)?, &args.resource);
    let name = path.display().to_string();
    let file = create(path).with_context(|| name.clone())?;
    let mut recorder = Recorder::new(file, &guest.run_info).with_context(|| name.clone())?;
    let mut outcome = guest.run(Times::OfEachEvent, |_, batch| recorder.batch(batch))?;
    if !shows_results {
        outcome.results.clear();
    }
    show(&outcome, false, global);
    args.guest.warn_of(&outcome, global);
    match guest.lines(recorder.sampled()) {
        Ok(lines) => recorder.lines(&lines),
        Err(e) => global.warn("", &[format!("the recording contains no source lines: {}", one_line(&e))]),
    }
    let written = recorder.finish(Footer { ending: outcome.ending.clone(), duration: outcome.duration });
    match &written {
        Ok(Written { events, bytes }) => {
            global.note(&format!("{name}: {events} events in {bytes} bytes"));
        }
        Err(e) => {
            let _ = writeln!(anstream::stderr(), "wasmtrace: the recording is incomplete: {}: {e}", printable(&name));
        }
    }
    Ok((outcome, written.is_err() && args.require_export))
}

fn default_output(module: &Path) -> PathBuf {
    let stem = module.file_stem().filter(|stem| *stem != "-").unwrap_or("trace".as_ref());
    Path::new(stem).with_added_extension(EXTENSION)
}
