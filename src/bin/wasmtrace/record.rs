//! `wasmtrace record`

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasmtrace::label::printable;
use wasmtrace::trace::recording::{Footer, MAGIC};

use crate::ending::{leave, show};
use crate::files;
use crate::guest::{Guest, Times};
use crate::guest_args::GuestArgs;
use crate::recorder::{Recorder, Written};
use crate::recordings::EXTENSION;
use crate::sending::{ContextArgs, Place, ResourceArgs, Told};
use crate::terminal::{Global, one_line};

/// Run a module like `run`, and keep everything that happens in a file
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmtrace record [OPTIONS] <WASM> [ARGS]...")]
#[command(after_help = "\
The recording can be read while it is written, and when the process was killed: what is missing then is less than a
second. The guest's exit code is ours, as with `run`.

Examples:
  wasmtrace record -o app.wtrace app.wasm --flag of-the-app
  wasmtrace report app.wtrace
  wasmtrace convert app.wtrace -f chrome -o app.json")]
pub(crate) struct Args {
    /// The recording [default: the module's name with .wtrace, in this folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fail (125) if the recording cannot be written to its end, whatever the guest's exit code
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
        bail!("with --hooks none there is nothing to record, unless it is sampled (--sample)");
    }
    let mut guest = Guest::prepare(&args.guest, true, global)?;
    guest.belongs_to(Place::find(&args.context, Told::File, global)?, &args.resource);
    let path = args.output.unwrap_or_else(|| default_output(args.guest.module()));
    let name = path.display().to_string();
    let file = create(&path).with_context(|| name.clone())?;
    let mut recorder = Recorder::new(file, &guest.subject).with_context(|| name.clone())?;
    let outcome = guest.run(Times::OfEachEvent, |_, batch| recorder.batch(batch))?;
    show(&outcome, false, global);
    args.guest.warn_of(&outcome, global);
    match guest.lines(recorder.sampled()) {
        Ok(lines) => recorder.lines(&lines),
        Err(e) => global.warn("", &[format!("the recording has no source lines: {}", one_line(&e))]),
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
    Ok(leave(&outcome, written.is_err() && args.require_export))
}

fn default_output(module: &Path) -> PathBuf {
    let stem = module.file_stem().filter(|stem| *stem != "-").unwrap_or("trace".as_ref());
    Path::new(stem).with_added_extension(EXTENSION)
}

/// The file, written in place: what is in it can be read at any time. What is there already is replaced if it is a recording
/// or nothing, so that a slip of the hand does not cost a module.
fn create(path: &Path) -> Result<File> {
    if path == Path::new("-") {
        bail!("standard output belongs to the guest: give a file");
    }
    if !files::is_device(path)
        && let Ok(old) = File::open(path)
    {
        let mut head = Vec::new();
        old.take(MAGIC.len() as u64).read_to_end(&mut head)?;
        if !head.is_empty() && !MAGIC.starts_with(&head) {
            bail!("the file is there, and is no recording: it is left as it is");
        }
    }
    Ok(File::create(path)?)
}
