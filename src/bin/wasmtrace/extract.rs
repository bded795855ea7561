//! `wasmtrace extract`

use std::collections::HashMap;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use wasmtrace::component;
use wasmtrace::export::{Recording, RunInfo};
use wasmtrace::hook::{HookSet, Probes};
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::log::{Damage, Instance, MARKER, Part, part};
use wasmtrace::trace::recording::Footer;

use crate::files;
use crate::recorder::{Recorder, Written, create};
use crate::recordings::EXTENSION;
use crate::terminal::Global;

/// Make recordings from the log of a component that records itself
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A component that was instrumented with --hooks wasi writes lines to its standard error. The log may contain any other text, \
and a prefix before each line. If it has lines of several instances, each gets a recording: NAME.wtrace, NAME.2.wtrace, …

Examples:
  wasmtrace instrument --hooks wasi app.wasm -o app.hooked.wasm
  wasmtime run app.hooked.wasm 2> app.log
  wasmtrace extract app.hooked.wasm app.log -o app.wtrace
  wasmtrace report app.wtrace")]
pub(crate) struct Args {
    /// The instrumented component that ran: the names of its functions are not in the log
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// Log to read [default: standard input]
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,
    /// Recording to write [default: the component's name with .wtrace, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the recordings as JSON (docs/schemas/extract.schema.json)
    #[arg(long)]
    json: bool,
}

/// Maximum number of recordings that are written at the same time. If there are more instances, the one is ended that wrote
/// nothing for the longest time.
const MOST_AT_ONCE: usize = 200;

/// Maximum length of a line that is searched, in bytes. Lines of a recorder have about 4,100.
const LONGEST: u64 = 1 << 20;

/// An instance whose lines are read.
struct Open {
    instance: Instance,
    recorder: Option<Recorder>,
    path: PathBuf,
    /// The line of the log with its last part.
    seen: u64,
    error: Option<anyhow::Error>,
}

/// What is known of an instance whose recording was written.
struct Done {
    row: Value,
    said: String,
    error: Option<anyhow::Error>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let name = files::name(Some(&args.component));
    let wasm = files::read(Some(&args.component))?;
    let (build, probes) = self_recording(&wasm).with_context(|| name.clone())?;
    let program = args.component.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut log =
        Log { program, probes, build, output: output(args), open: HashMap::new(), ended: Vec::new(), files: 0 };
    let of_log = files::name(args.log.as_deref());
    let damaged = log.read(input(args.log.as_deref())?).with_context(|| of_log.clone())?;
    let recordings = log.finish();
    if recordings.is_empty() && damaged == 0 {
        bail!("{of_log}: there is no line of a recorder in this text (`{MARKER}…`)");
    }
    if damaged > 0 {
        let lines = match damaged {
            1 => "1 line of a recorder is cut or was changed".to_owned(),
            _ => format!("{damaged} lines of a recorder are cut or were changed"),
        };
        global.warn(&of_log, &[lines]);
    }
    for done in recordings.iter().take(20) {
        global.note(&done.said);
    }
    if let Some(more) = recordings.len().checked_sub(20).filter(|more| *more > 0) {
        global.note(&format!("… and {more} more recordings"));
    }
    if args.json {
        let rows: Vec<&Value> = recordings.iter().map(|done| &done.row).collect();
        files::print_json(&json!({ "schema": "wasmtrace.extract/1", "damaged_lines": damaged, "recordings": rows }))?;
    }
    match recordings.into_iter().find_map(|done| done.error) {
        Some(error) => Err(error),
        None if damaged > 0 => bail!("{of_log}: the recordings are not complete"),
        None => Ok(0),
    }
}

/// The build of a component that records itself, and the functions in its events.
fn self_recording(wasm: &[u8]) -> Result<(u64, Probes)> {
    if !component::is_component(wasm) {
        bail!("this is not a component: give the one that was instrumented with --hooks wasi");
    }
    match component::probes(wasm)? {
        Some((manifest, probes)) if manifest.hooks == HookSet::Wasi => Ok((component::build(wasm)?, probes)),
        Some((manifest, _)) => {
            bail!("this component has --hooks {} and does not record itself", manifest.hooks.name())
        }
        None => bail!("this component has no hooks: give the one that was instrumented with --hooks wasi"),
    }
}

fn output(args: &Args) -> PathBuf {
    let stem = args.component.file_stem().filter(|stem| *stem != "-").unwrap_or("trace".as_ref());
    args.output.clone().unwrap_or_else(|| Path::new(stem).with_added_extension(EXTENSION))
}

fn input(path: Option<&Path>) -> Result<Box<dyn BufRead>> {
    match path.filter(|path| *path != Path::new("-")) {
        None if std::io::stdin().is_terminal() => bail!("no input: give a log, or pipe one to standard input"),
        None => Ok(Box::new(std::io::stdin().lock())),
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| files::name(Some(path)))?;
            Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
        }
    }
}

/// A log that is read.
struct Log {
    program: String,
    probes: Probes,
    build: u64,
    output: PathBuf,
    open: HashMap<u64, Open>,
    ended: Vec<(u64, Done)>,
    /// Number of recordings that were begun.
    files: usize,
}

impl Log {
    /// Reads the log to its end. Returns the number of damaged lines.
    fn read(&mut self, mut input: Box<dyn BufRead>) -> Result<u64> {
        let (mut line, mut at, mut damaged) = (Vec::new(), 0, 0);
        loop {
            line.clear();
            if input.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(damaged);
            }
            at += 1;
            match part(&line) {
                Some(Ok(part)) => self.part(&part, at)?,
                Some(Err(_)) => damaged += 1,
                None => {}
            }
        }
    }

    fn part(&mut self, part: &Part, at: u64) -> Result<()> {
        if !self.open.contains_key(&part.instance) {
            if self.open.len() >= MOST_AT_ONCE
                && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.seen).map(|(number, _)| *number)
            {
                self.end(oldest);
            }
            self.files += 1;
            let path = numbered(&self.output, self.files);
            let open = Open { instance: Instance::new(), recorder: None, path, seen: at, error: None };
            self.open.insert(part.instance, open);
        }
        let open = self.open.get_mut(&part.instance).expect("it was added");
        open.seen = at;
        if open.error.is_some() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let pushed = open.instance.push(part, self.build, &mut batch);
        if open.recorder.is_none() && !batch.is_empty() {
            let name = || open.path.display().to_string();
            let recording = Recording {
                clock: "coarse".to_owned(),
                stamped: true,
                not_sampled: Some("the component recorded itself".to_owned()),
                ..Default::default()
            };
            let run_info = RunInfo { recording, ..RunInfo::of(&self.program, self.probes.clone()) };
            let run_info = RunInfo { began: open.instance.began, ..run_info };
            let file = create(&open.path).with_context(name)?;
            open.recorder = Some(Recorder::new(file, &run_info).with_context(name)?);
        }
        if let Some(recorder) = &mut open.recorder {
            recorder.batch(&batch);
        }
        if let Err(damage) = pushed {
            open.error = Some(match damage {
                Damage::OtherBuild => anyhow::Error::new(damage),
                _ => anyhow::Error::new(damage).context(open.path.display().to_string()),
            });
        }
        Ok(())
    }

    /// Ends the recording of an instance.
    fn end(&mut self, number: u64) {
        let Some(Open { instance, recorder, path, seen, mut error }) = self.open.remove(&number) else { return };
        let (ending, duration) = instance.end();
        let file = path.display().to_string();
        let described = ending.describe();
        let written = recorder.map(|recorder| recorder.finish(Footer { ending, duration })).transpose();
        let Written { events, bytes } = match written {
            Ok(written) => written.unwrap_or(Written { events: 0, bytes: 0 }),
            Err(e) => {
                error.get_or_insert(anyhow::Error::new(e).context(file.clone()));
                Written { events: 0, bytes: 0 }
            }
        };
        let said = format!("{file}: {events} events in {bytes} bytes");
        let row = json!({
            "file": file,
            "instance": format!("{number:016x}"),
            "began_unix_nanos": instance.began,
            "duration_nanos": duration,
            "events": events,
            "bytes": bytes,
            "ending": described,
            "error": error.as_ref().map(|error| format!("{error:#}")),
        });
        self.ended.push((seen, Done { row, said, error }));
    }

    /// Ends all recordings. They are returned in the order in which the instances ended.
    fn finish(mut self) -> Vec<Done> {
        let open: Vec<u64> = self.open.keys().copied().collect();
        open.into_iter().for_each(|number| self.end(number));
        self.ended.sort_by_key(|(seen, _)| *seen);
        self.ended.into_iter().map(|(_, done)| done).collect()
    }
}

/// The path of the recording with this number: the first has none.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 || files::is_device(path) {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{number}"),
    };
    path.with_file_name(name)
}
