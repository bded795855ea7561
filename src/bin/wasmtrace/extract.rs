//! `wasmtrace extract`

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use wasmtrace::component;
use wasmtrace::export::{Recording, RunInfo};
use wasmtrace::hook::{HookSet, Probes};
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::log::{Damage, Instance, MARKER, Part, parts};
use wasmtrace::trace::recording::Footer;

use crate::files;
use crate::recorder::{Recorder, Written, create};
use crate::recordings::EXTENSION;
use crate::terminal::Global;

/// Make recordings from the log of a component that records itself
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A component that was instrumented with --hooks wasi writes lines to its standard error. The log may contain any other text, \
a prefix before each line, and the same line twice; lines may be in another order. If it has lines of several instances, each \
gets a recording: NAME.wtrace, NAME.2.wtrace, … Existing recordings are replaced. The exit code is 1 if a line is missing; \
what comes before it is written.

Examples:
  wasmtrace instrument --hooks wasi app.wasm -o app.hooked.wasm
  wasmtime run app.hooked.wasm 2> app.log
  wasmtrace extract app.hooked.wasm app.log -o app.wtrace
  wasmtrace report app.wtrace")]
pub(crate) struct Args {
    /// The instrumented file that ran, not the original: the names of functions are in it, and not in the log
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// Log to read [default: standard input]
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,
    /// Recording to write [default: `app.hooked.wtrace` for `app.hooked.wasm`, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the recordings as JSON (docs/schemas/extract.schema.json)
    #[arg(long)]
    json: bool,
}

/// Maximum length of a line that is searched, in bytes. Lines of a recorder have at most 4,048.
const LONGEST: u64 = 1 << 20;

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    if args.output.as_deref() == Some(Path::new("-")) {
        bail!("a recording cannot go to standard output: give a file");
    }
    let name = files::name(Some(&args.component));
    let wasm = files::read(Some(&args.component))?;
    let (build, probes) = self_recording(&wasm).with_context(|| name.clone())?;
    let of_log = files::name(args.log.as_deref());
    let mut log = Log::open(args.log.as_deref()).with_context(|| of_log.clone())?;
    let Index { instances, damaged } = log.index().with_context(|| of_log.clone())?;
    if instances.is_empty() && damaged == 0 {
        bail!("{of_log}: there is no line of a recorder in this text (`{MARKER}…`)");
    }
    let program = args.component.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut extraction = Extraction { program, probes, build, output: output(args), files: 0 };
    let (mut others, mut without_events, mut recordings) = (0, 0, Vec::new());
    for (number, lines) in instances {
        match extraction.instance(number, lines, &mut log).with_context(|| of_log.clone())? {
            Extracted::OtherBuild => others += 1,
            Extracted::NoEvents => without_events += 1,
            Extracted::Recording(done) => recordings.push(*done),
        }
    }
    tell(&of_log, [damaged, others, without_events], &recordings, global);
    if args.json {
        let rows: Vec<&Value> = recordings.iter().map(|done| &done.row).collect();
        files::print_json(&json!({ "schema": "wasmtrace.extract/1", "damaged_lines": damaged, "recordings": rows }))?;
    }
    if recordings.is_empty() && damaged == 0 {
        match others {
            0 => bail!("{of_log}: the recording has no events"),
            _ => bail!("{of_log}: the recordings belong to another build of the component, or to another component"),
        }
    }
    match recordings.into_iter().find_map(|done| done.error) {
        Some(error) => Err(error),
        None if damaged > 0 => bail!("{of_log}: the recordings are not complete"),
        None => Ok(0),
    }
}

fn tell(log: &str, [damaged, others, without_events]: [u64; 3], recordings: &[Done], global: &Global) {
    let count = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let damaged =
        count(damaged, "line of a recorder is cut or was changed", "lines of a recorder are cut or were changed");
    let warnings: Vec<String> = damaged.into_iter().collect();
    global.warn(&format!("{log}: "), &warnings);
    let instances = [
        count(
            others,
            "instance of another component or build is left out",
            "instances of another component or build are left out",
        ),
        count(without_events, "instance has no events", "instances have no events"),
    ];
    for said in instances.into_iter().flatten().filter(|_| !recordings.is_empty()) {
        global.note(&format!("{log}: {said}"));
    }
    for done in recordings.iter().take(20) {
        global.note(&done.said);
    }
    if let Some(more) = recordings.len().checked_sub(20).filter(|more| *more > 0) {
        global.note(&format!("… and {more} more recordings"));
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

/// A line with a part of a recording.
struct Line {
    /// The number of the part.
    number: u32,
    /// The offset of the line in the log.
    at: u64,
    /// The position of the part in the line.
    position: u16,
}

/// The lines of a log with parts of recordings. It has 16 bytes for each line.
struct Index {
    /// The lines of each instance, in the order of their numbers. The instances are in the order of the log.
    instances: Vec<(u64, Vec<Line>)>,
    /// Number of parts that are cut or were changed.
    damaged: u64,
}

/// A log that is read several times.
struct Log {
    file: BufReader<File>,
}

impl Log {
    fn open(path: Option<&Path>) -> Result<Log> {
        let path = path.filter(|path| *path != Path::new("-"));
        if path.is_none() && std::io::stdin().is_terminal() {
            bail!("no input: give a log, or pipe one to standard input");
        }
        let mut file = match path {
            Some(path) => {
                let file = File::open(path)?;
                if file.metadata()?.is_file() { file } else { copied(file)? }
            }
            None => copied(std::io::stdin().lock())?,
        };
        let mut begin = Vec::new();
        (&mut file).take(2).read_to_end(&mut begin)?;
        if matches!(begin[..], [0xff, 0xfe] | [0xfe, 0xff]) {
            bail!("the log is UTF-16: convert it to UTF-8");
        }
        Ok(Log { file: BufReader::with_capacity(1 << 16, file) })
    }

    /// Reads the line at an offset.
    fn line(&mut self, at: u64, line: &mut Vec<u8>) -> Result<()> {
        let now = self.file.stream_position()?;
        self.file.seek_relative(at as i64 - now as i64)?;
        self.next(line)
    }

    /// Reads the next line, or a part of a very long one; nothing at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<()> {
        line.clear();
        self.file.by_ref().take(LONGEST).read_until(b'\n', line)?;
        Ok(())
    }

    fn index(&mut self) -> Result<Index> {
        let (mut line, mut at, mut damaged) = (Vec::new(), 0, 0);
        let mut instances: Vec<(u64, Vec<Line>)> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            self.next(&mut line)?;
            if line.is_empty() {
                break;
            }
            for (position, part) in (0..).zip(parts(&line)) {
                let Ok(Part { instance, number, .. }) = part else {
                    damaged += 1;
                    continue;
                };
                let place = *places.entry(instance).or_insert_with(|| {
                    instances.push((instance, Vec::new()));
                    instances.len() - 1
                });
                instances[place].1.push(Line { number, at, position });
            }
            at += line.len() as u64;
        }
        instances.iter_mut().for_each(|(_, lines)| lines.sort_by_key(|line| line.number));
        Ok(Index { instances, damaged })
    }
}

/// A copy of what cannot be read twice.
fn copied(mut input: impl Read) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// What became of an instance.
enum Extracted {
    OtherBuild,
    NoEvents,
    Recording(Box<Done>),
}

/// A recording that was written.
struct Done {
    row: Value,
    said: String,
    error: Option<anyhow::Error>,
}

struct Extraction {
    program: String,
    probes: Probes,
    build: u64,
    output: PathBuf,
    /// Number of recordings so far.
    files: usize,
}

impl Extraction {
    /// Writes the recording of an instance. The outer error is one of the log.
    fn instance(&mut self, number: u64, lines: Vec<Line>, log: &mut Log) -> Result<Extracted> {
        let (mut instance, mut recorder, mut error) = (Instance::new(), None::<Recorder>, None);
        let path = numbered(&self.output, self.files + 1);
        let (mut text, mut last): (_, Option<Part>) = (Vec::new(), None);
        let mut batch = Batch::default();
        for Line { at, position, .. } in lines {
            log.line(at, &mut text)?;
            let Some(Ok(part)) = parts(&text).into_iter().nth(position.into()) else {
                bail!("the log was changed while it was read");
            };
            if last.as_ref().is_some_and(|last| last.number == part.number) {
                if last != Some(part) {
                    error = Some(anyhow::Error::msg(
                        "two instances have the same number because they began at the same time",
                    ));
                    break;
                }
                continue; // the same line twice
            }
            match instance.push(&part, self.build, &mut batch) {
                Err(Damage::OtherBuild) => return Ok(Extracted::OtherBuild),
                Err(damage) => error = Some(anyhow::Error::new(damage)),
                Ok(()) => {}
            }
            if recorder.is_none() && (!batch.words.is_empty() || batch.events() > 0) {
                match self.recorder(&path, instance.began) {
                    Ok(begun) => recorder = Some(begun),
                    Err(e) => error = Some(e),
                }
            }
            if let Some(recorder) = &mut recorder {
                recorder.batch(&batch);
                batch.clear();
            }
            last = Some(part);
            if error.is_some() {
                break;
            }
        }
        if recorder.is_none() && error.is_none() {
            return Ok(Extracted::NoEvents);
        }
        self.files += 1;
        Ok(Extracted::Recording(Box::new(done(number, &path, &instance, recorder, error))))
    }

    fn recorder(&self, path: &Path, began: u64) -> Result<Recorder> {
        let recording = Recording {
            clock: "coarse".to_owned(),
            stamped: true,
            not_sampled: Some("the component recorded itself".to_owned()),
            ..Default::default()
        };
        let run_info = RunInfo { recording, began, ..RunInfo::of(&self.program, self.probes.clone()) };
        Ok(Recorder::new(create(path)?, &run_info)?)
    }
}

/// Ends a recording.
fn done(
    number: u64,
    path: &Path,
    instance: &Instance,
    recorder: Option<Recorder>,
    mut error: Option<anyhow::Error>,
) -> Done {
    // What comes after an error is not known.
    let (ending, duration) = instance.end();
    let ending = if error.is_some() { RunOutcome::Unknown } else { ending };
    let described = ending.describe();
    let written = recorder.map(|recorder| recorder.finish(Footer { ending, duration })).transpose();
    let Written { events, bytes } = written
        .unwrap_or_else(|e| {
            error.get_or_insert(e.into());
            None
        })
        .unwrap_or(Written { events: 0, bytes: 0 });
    let file = path.display().to_string();
    let error = error.map(|error| error.context(format!("{file} has {events} events")));
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
    Done { row, said: format!("{file}: {events} events in {bytes} bytes"), error }
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
