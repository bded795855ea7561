//! Files that a trace is written to in the formats of other tools, from a recording.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasmtrace::export::{Destination, FileEncoding, Format, Sink, left_out_text};
use wasmtrace::trace::budget::Budget;
use wasmtrace::trace::recording::{Block, Reader};
use wasmtrace::trace::span_builder::{Change, SpanBuilder};
use wasmtrace::trace::thresholds::{Fitted, thresholds};
use wasmtrace::trace::{RunOutcome, recording::Footer};

use crate::counted::Counted;
use crate::files::{Output, is_device, is_same};
use crate::progress::Progress;
use crate::recordings::{Recording, Replayed};
use crate::sinks::{Pipeline, Sinks};
use crate::terminal::Global;

/// Maximum number of spans in a file by default. Viewers become slow with some hundred thousand.
pub(crate) const MAX_SPANS: u64 = 250_000;

/// Files that will be larger than this get a warning.
const LARGE: u64 = 100_000_000;

/// Opens the files among the destinations of a run.
///
/// # Errors
/// If a file cannot be opened, is the module, or belongs to two sinks.
#[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use it"))]
pub(crate) fn create(destinations: &[Destination], module: &Path) -> Result<Vec<FileSink>> {
    let mut files: Vec<FileSink> = Vec::new();
    let mut paths: Vec<&Path> = Vec::new();
    for destination in destinations {
        let Destination::File(format, path) = destination else { continue };
        if path != Path::new("-") && is_same(path, module) {
            bail!("{}: the file of a sink is the module itself: give another file", path.display());
        }
        files.push(FileSink::create(*format, Some(path))?);
        if !is_device(path) && paths.iter().any(|other| is_same(other, path)) {
            bail!("{}: two sinks have the same file", path.display());
        }
        paths.push(path);
    }
    Ok(files)
}

/// A file that a trace is written to in a format. It appears when it is complete.
pub(crate) struct FileSink {
    format: Format,
    output: Output,
    is_gzip: bool,
    written: Arc<AtomicU64>,
}

impl FileSink {
    /// Opens the file, before there is anything to write. The path `-` and `None` are standard output. A name that ends with
    /// `.gz` asks for gzip.
    pub(crate) fn create(format: Format, path: Option<&Path>) -> Result<FileSink> {
        let ends_gz = path.is_some_and(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz")));
        let is_gzip = ends_gz && format.encoding != FileEncoding::Gzip;
        let output = Output::create(path)?;
        if output.is_terminal() && (is_gzip || format.encoding != FileEncoding::Text) {
            bail!("the format {} is binary data, which a terminal cannot show: give a file", format.name);
        }
        Ok(FileSink { format, output, is_gzip, written: Arc::default() })
    }

    #[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use it"))]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn name(&self) -> String {
        self.output.name()
    }

    /// A sink that writes to the file.
    pub(crate) fn sink(&self) -> Result<Box<dyn Sink>> {
        let counted = Counted { inner: self.output.writer()?, count: self.written.clone() };
        let out = BufWriter::with_capacity(1 << 16, counted);
        let out: Box<dyn Write> = if self.is_gzip { Box::new(Gzip::new(out)) } else { Box::new(out) };
        Ok((self.format.open)(out)?)
    }

    /// Keeps the file, which is complete.
    pub(crate) fn keep(self) -> Result<()> {
        self.output.keep()
    }

    /// Writes a recording to the file, with at most as many spans as the budget has, and says what was merged or left out.
    ///
    /// # Errors
    /// Those of writing. If the recording is damaged, the file has its intact part, and the result has the error.
    pub(crate) fn write(self, recording: &Path, budget: &Budget, global: &Global) -> Result<Replayed> {
        let size = recording.metadata().map_or(0, |data| data.len());
        let name = self.name();
        let fitted = match self.format.has_spans {
            true => {
                let read = Arc::new(AtomicU64::new(0));
                let _progress = Progress::of(&format!("counting the calls for {name}"), global.is_quiet(), {
                    let read = read.clone();
                    move || percent(&read, size)
                });
                thresholds(budget, |tell| spans(recording, &read, tell))?
            }
            false => Fitted::default(),
        };
        let bytes = fitted.spans * self.format.span_bytes;
        if bytes > LARGE && !self.is_gzip {
            let (spans, megabytes) = (fitted.spans, bytes / 1_000_000);
            let warning = format!("{name}: {spans} spans will take about {megabytes} MB, which few viewers can open");
            global.warn("", &[format!("{warning}; --max-spans writes fewer, and a name with .gz compresses the file")]);
        }
        let mut sinks = Sinks::none();
        sinks.add(&name, self.sink()?);
        let mut pipeline = Pipeline::within(sinks, budget.clone(), fitted.thresholds);
        let (recording, read) = Recording::open_counted(recording)?;
        let written = self.written.clone();
        let progress = Progress::of(&format!("writing {name}"), global.is_quiet(), move || {
            format!("{}, {:.1} MB", percent(&read, size), written.load(Ordering::Relaxed) as f64 / 1e6)
        });
        let replayed = recording.replay(&mut pipeline, global);
        progress.end();
        pipeline.worked()?;
        for sentence in left_out_text(&pipeline.left_out()) {
            global.note(&format!("{name}: {sentence}"));
        }
        drop(pipeline);
        self.keep()?;
        Ok(replayed)
    }
}

fn percent(read: &AtomicU64, size: u64) -> String {
    format!("{} %", (read.load(Ordering::Relaxed) * 100).checked_div(size).unwrap_or(100).min(100))
}

/// Calls `tell` with each change of the spans of a recording, up to its end or the first damage.
fn spans(path: &Path, read: &Arc<AtomicU64>, tell: &mut dyn FnMut(&Change<'_>)) -> Result<()> {
    read.store(0, Ordering::Relaxed);
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let counted = Counted { inner: file, count: read.clone() };
    let mut reader = Reader::open(BufReader::with_capacity(1 << 16, counted))?;
    let mut builder = SpanBuilder::new();
    let mut events = Vec::new();
    let end = loop {
        match reader.block(&mut events) {
            Ok(Block::Events) => events.iter().for_each(|event| builder.event(event, &mut |change| tell(change))),
            Ok(Block::Footer(end)) => break end,
            Ok(Block::Stops) | Err(_) => break Footer { ending: RunOutcome::Unknown, duration: 0 },
        }
    };
    builder.finish(end.duration.max(builder.last()), &end.ending, &mut |change| tell(change));
    Ok(())
}

/// A gzip stream that is complete when it is flushed: sinks flush once, at their end.
struct Gzip<W: Write>(GzEncoder<W>);

impl<W: Write> Gzip<W> {
    fn new(out: W) -> Self {
        Gzip(GzEncoder::new(out, Compression::default()))
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.try_finish()?;
        self.0.get_mut().flush()
    }
}
