//! Writes a recording, while a program runs or from a log.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wasmtrace::export::RunInfo;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::lines::{Lines, Sampled};
use wasmtrace::trace::recording::{Footer, MAGIC, Writer};

use crate::files;

/// Minimum time between two flushes of the file. Batches arrive at least four times a second.
const FLUSH: Duration = Duration::from_millis(500);

/// Writes batches to a recording. After a write error it writes no more, and the guest goes on.
pub(crate) struct Recorder {
    writer: std::io::Result<Writer<Counted>>,
    events: u64,
    last: u64,
    flushed: Instant,
    sampled: Sampled,
}

pub(crate) struct Written {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Recorder {
    pub(crate) fn new(file: File, run_info: &RunInfo) -> std::io::Result<Self> {
        let writer = Writer::new(Counted { file, bytes: 0 }, &run_info.header())?;
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

    /// The sampled instructions.
    pub(crate) fn sampled(&self) -> &Sampled {
        &self.sampled
    }

    /// Writes the source lines of the sampled instructions.
    pub(crate) fn lines(&mut self, lines: &Lines) {
        if let Ok(writer) = &mut self.writer
            && let Err(e) = writer.lines(lines)
        {
            self.writer = Err(e);
        }
    }

    pub(crate) fn finish(self, mut end: Footer) -> std::io::Result<Written> {
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

/// Creates the file in place, so that it can be read while it is written. Replaces an existing file only if it is empty or a
/// recording, so that a mistyped path does not destroy a module.
pub(crate) fn create(path: &Path) -> Result<File> {
    if path == Path::new("-") {
        bail!("a recording cannot go to standard output, which the guest uses: give a file");
    }
    if !files::is_device(path)
        && let Ok(old) = File::open(path)
    {
        let mut head = Vec::new();
        old.take(MAGIC.len() as u64).read_to_end(&mut head)?;
        if !head.is_empty() && !MAGIC.starts_with(&head) {
            bail!("the file exists and is not a recording: delete it or give another name");
        }
    }
    Ok(File::create(path)?)
}
