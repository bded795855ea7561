//! `wasmtrace record`

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wasmtrace::export::Subject;
use wasmtrace::label::printable;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::lines::{Lines, Sampled};
use wasmtrace::trace::recording::{End, MAGIC, Writer};

use crate::guest::{Guest, GuestArgs, Times};
use crate::recordings::EXTENSION;
use crate::sending::{ContextArgs, Place, ResourceArgs, Told};
use crate::{Global, files, one_line, run};

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

/// What is in the file is never older than this when a handover of events comes, at least four times a second.
const FLUSH: Duration = Duration::from_millis(500);

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
    run::show(&outcome, false, global);
    args.guest.warn_of(&outcome, global);
    match guest.lines(recorder.sampled()) {
        Ok(lines) => recorder.lines(&lines),
        Err(e) => global.warn("", &[format!("the recording has no source lines: {}", one_line(&e))]),
    }
    let written = recorder.finish(End { ending: outcome.ending.clone(), duration: outcome.duration });
    match &written {
        Ok(Written { events, bytes }) => {
            global.note(&format!("{name}: {events} events in {bytes} bytes"));
        }
        Err(e) => {
            let _ = writeln!(anstream::stderr(), "wasmtrace: the recording is incomplete: {}: {e}", printable(&name));
        }
    }
    Ok(run::leave(&outcome, written.is_err() && args.require_export))
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

/// Writes what comes; after an error it writes no more, and the guest goes on.
pub(crate) struct Recorder {
    writer: std::io::Result<Writer<Counted>>,
    events: u64,
    last: u64,
    flushed: Instant,
    sampled: Sampled,
}

pub(crate) struct Written {
    events: u64,
    bytes: u64,
}

impl Recorder {
    pub(crate) fn new(file: File, subject: &Subject) -> std::io::Result<Self> {
        let writer = Writer::new(Counted { file, bytes: 0 }, &subject.header())?;
        Ok(Recorder { writer: Ok(writer), events: 0, last: 0, flushed: Instant::now(), sampled: Sampled::default() })
    }

    pub(crate) fn batch(&mut self, batch: &Batch) {
        let Ok(writer) = &mut self.writer else { return };
        let mut write = || -> std::io::Result<()> {
            writer.batch(batch)?;
            if self.flushed.elapsed() >= FLUSH {
                writer.flush()?;
                self.flushed = Instant::now();
            }
            Ok(())
        };
        if let Err(e) = write() {
            self.writer = Err(e);
            return;
        }
        self.events += batch.events();
        self.last = batch.last().max(self.last);
        self.sampled.batch(batch);
    }

    /// Where samples were taken.
    pub(crate) fn sampled(&self) -> &Sampled {
        &self.sampled
    }

    /// Adds the source lines of those places.
    pub(crate) fn lines(&mut self, lines: &Lines) {
        if let Ok(writer) = &mut self.writer
            && let Err(e) = writer.lines(lines)
        {
            self.writer = Err(e);
        }
    }

    pub(crate) fn finish(self, mut end: End) -> std::io::Result<Written> {
        end.duration = end.duration.max(self.last);
        let Counted { bytes, .. } = self.writer?.finish(&end)?;
        Ok(Written { events: self.events, bytes })
    }
}

struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
