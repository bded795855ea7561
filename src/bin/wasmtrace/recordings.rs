//! Opening and replaying recordings, for `report`, `convert` and `push`.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;
use wasmtrace::export::RunInfo;
use wasmtrace::label::printable;
use wasmtrace::select::categories;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::calltree::CallTree;
use wasmtrace::trace::lines::{Lines, Sampled};
use wasmtrace::trace::recording::{Block, Footer, Reader};
use wasmtrace::trace::span_builder::What;

use crate::counted::Counted;
use crate::files;
use crate::sinks::Pipeline;
use crate::terminal::Global;

/// The file extension of recordings: `NAME.wtrace`.
pub(crate) const EXTENSION: &str = "wtrace";

/// A recording whose header has been read.
pub(crate) struct Recording {
    name: String,
    reader: Reader<Box<dyn Read>>,
    pub(crate) run_info: RunInfo,
}

/// The result of replaying a recording.
pub(crate) struct Replayed {
    pub(crate) end: Footer,
    /// The error at which reading stopped, if there was one.
    pub(crate) damage: Option<anyhow::Error>,
    /// The sampled instructions.
    pub(crate) sampled: Sampled,
    pub(crate) lines: Lines,
}

impl Recording {
    /// Opens a recording and reads its header. `-` is standard input, `None` the newest recording in the current directory.
    pub(crate) fn open(path: Option<&Path>, global: &Global) -> Result<Recording> {
        let path = &find(path, global)?;
        Recording::open_with(path, Arc::default())
    }

    /// Opens a recording at a path, and counts the bytes that are read.
    pub(crate) fn open_counted(path: &Path) -> Result<(Recording, Arc<AtomicU64>)> {
        let read = Arc::default();
        Ok((Recording::open_with(path, Arc::clone(&read))?, read))
    }

    fn open_with(path: &Path, count: Arc<AtomicU64>) -> Result<Recording> {
        let name = files::name(Some(path));
        let input: Box<dyn Read> = if path == Path::new("-") {
            if std::io::stdin().is_terminal() {
                bail!("no input: give a file, or pipe a recording to standard input");
            }
            Box::new(std::io::stdin())
        } else {
            let inner = File::open(path).with_context(|| name.clone())?;
            Box::new(BufReader::with_capacity(1 << 16, Counted { inner, count }))
        };
        let reader = Reader::open(input).with_context(|| name.clone())?;
        let mut run_info = RunInfo::from(reader.header());
        run_info.categories = categories(&run_info.labels);
        Ok(Recording { name, reader, run_info })
    }

    /// Replays the recording into the pipeline, up to its end or the first damage.
    pub(crate) fn replay(mut self, pipeline: &mut Pipeline, global: &Global) -> Replayed {
        let mut batch = Batch::default();
        let mut last = 0;
        let mut sampled = Sampled::default();
        let replayed = |end, damage| Replayed { end, damage, lines: Lines::default(), sampled: Sampled::default() };
        let stops = |damage: Option<anyhow::Error>, last| {
            replayed(Footer { ending: RunOutcome::Unknown, duration: last }, damage)
        };
        let replayed = loop {
            match self.reader.batch(&mut batch) {
                Ok(Block::Events) => {
                    last = batch.last().max(last);
                    sampled.batch(&batch);
                    pipeline.batch(&self.run_info, &batch);
                }
                Ok(Block::Footer(end)) => break replayed(end, None),
                Ok(Block::Stops) => {
                    let warning =
                        format!("{}: the recording is incomplete: the run was killed or is still running", self.name);
                    global.warn("", &[printable(&warning).into_owned()]);
                    break stops(None, last);
                }
                Err(e) => break stops(Some(anyhow::Error::new(e).context(self.name.clone())), last),
            }
        };
        pipeline.finish(&self.run_info, &replayed.end.ending, replayed.end.duration, self.reader.lines());
        Replayed { lines: self.reader.lines().clone(), sampled, ..replayed }
    }
}

/// The path of one of several recordings of a program: `app.wtrace` becomes `app.1.wtrace`.
pub(crate) fn repetition(path: &Path, number: usize) -> PathBuf {
    match path.extension() {
        Some(extension) => path.with_extension(number.to_string()).with_added_extension(extension),
        None => path.with_added_extension(number.to_string()),
    }
}

/// The hottest functions are named until they make up this share of all calls. Functions below [`LEAST_HOT`] are not hot.
const HOT: f64 = 0.9;
const LEAST_HOT: f64 = 0.01;

/// The functions with the most calls in a recording, by their raw names.
pub(crate) fn hottest(path: &Path) -> Result<Vec<String>> {
    let name = || path.display().to_string();
    let file = BufReader::with_capacity(1 << 16, File::open(path).with_context(name)?);
    let mut reader = Reader::open(file).with_context(name)?;
    let (mut tree, mut batch) = (CallTree::counting(), Batch::default());
    while reader.batch(&mut batch).with_context(name)? == Block::Events {
        tree.batch(&batch);
    }
    let labels = RunInfo::from(reader.header()).labels;
    let mut functions: Vec<(u64, &str)> = Vec::new();
    for totals in tree.profile().by_function() {
        if let What::Call(probe) = totals.what
            && let Some(label) = labels.get(&probe)
        {
            functions.push((totals.calls, &label.name));
        }
    }
    let all = functions.iter().map(|(calls, _)| calls).sum::<u64>() as f64;
    functions.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    let mut left_out = 0.0;
    let hot = functions.into_iter().take_while(|(calls, _)| {
        let goes_on = left_out < HOT * all && *calls as f64 >= LEAST_HOT * all;
        left_out += *calls as f64;
        goes_on
    });
    Ok(hot.map(|(_, name)| name.to_owned()).collect())
}

/// Fails if an output is the recording itself, which `-` may be too.
pub(crate) fn refuse_output(recording: &Path, output: Option<&Path>) -> Result<()> {
    let recording = if recording == Path::new("-") { Path::new("/dev/stdin") } else { recording };
    match output {
        Some(output) if output != Path::new("-") && files::is_same(recording, output) => {
            bail!("{}: the output is the recording itself: give another file", output.display())
        }
        _ => Ok(()),
    }
}

/// Copies a recording that can be read only once, such as standard input, to a temporary file.
pub(crate) fn copied(path: &Path) -> Result<NamedTempFile> {
    let name = || files::name(Some(path));
    let copy = NamedTempFile::new()?;
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        if std::io::stdin().is_terminal() {
            bail!("no input: give a file, or pipe a recording to standard input");
        }
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(name)?)
    };
    std::io::copy(&mut input, &mut copy.as_file()).with_context(name)?;
    Ok(copy)
}

/// The given path, or that of the newest recording in the current directory.
pub(crate) fn find(path: Option<&Path>, global: &Global) -> Result<PathBuf> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let newest = newest_recording()?;
    global.say(&format!("reading {}", newest.display()));
    Ok(newest)
}

fn newest_recording() -> Result<PathBuf> {
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(".").context("current directory")? {
        let path = entry.context("current directory")?.path();
        let Ok(data) = path.metadata() else { continue };
        if data.is_file() && path.extension().is_some_and(|e| e == EXTENSION) {
            newest = newest.max(Some((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), path)));
        }
    }
    let Some((_, path)) = newest else {
        bail!(
            "there is no recording (*.{EXTENSION}) in the current directory: give a file, or create one with `wasmtrace record`"
        )
    };
    Ok(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
}
