//! Recordings, as `report` and `convert` read them.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use wasmtrace::export::Subject;
use wasmtrace::label::printable;
use wasmtrace::trace::Ending;
use wasmtrace::trace::recording::{Block, End, Reader};

use crate::sinks::Pipeline;
use crate::{Global, files};

/// What a recording's file is called: `NAME.wtrace`.
pub(crate) const EXTENSION: &str = "wtrace";

/// A recording whose header has been read.
pub(crate) struct Recording {
    name: String,
    path: PathBuf,
    reader: Reader<Box<dyn Read>>,
    pub(crate) subject: Subject,
}

/// What all of it came to.
pub(crate) struct Replayed {
    pub(crate) end: End,
    /// Why the rest was not read.
    pub(crate) damage: Option<anyhow::Error>,
}

impl Recording {
    /// Opens a recording: `-` is standard input, no path the newest recording in this folder.
    pub(crate) fn open(path: Option<&Path>, global: &Global) -> Result<Recording> {
        let path = &find(path, global)?;
        let name = files::name(Some(path));
        let input: Box<dyn Read> = if path == Path::new("-") {
            if std::io::stdin().is_terminal() {
                bail!("no input: give a file, or pipe a recording into standard input");
            }
            Box::new(std::io::stdin())
        } else {
            Box::new(BufReader::with_capacity(1 << 16, File::open(path).with_context(|| name.clone())?))
        };
        let reader = Reader::open(input).with_context(|| name.clone())?;
        let subject = Subject::from(reader.header());
        let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path }.to_owned();
        Ok(Recording { name, path, reader, subject })
    }

    /// Whether it was read from the file at `path`.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        matches!((self.path.canonicalize(), path.canonicalize()), (Ok(own), Ok(other)) if own == other)
    }

    /// Plays it into the pipeline, to its end or as far as it is sound.
    pub(crate) fn replay(mut self, pipeline: &mut Pipeline, global: &Global) -> Replayed {
        let mut events = Vec::new();
        let mut last = 0;
        let stops = |damage: Option<anyhow::Error>, last| Replayed {
            end: End { ending: Ending::Unknown, duration: last },
            damage,
        };
        let replayed = loop {
            match self.reader.block(&mut events) {
                Ok(Block::Events) => {
                    last = events.last().map_or(last, |event| event.at);
                    pipeline.events(&self.subject, &events);
                }
                Ok(Block::End(end)) => break Replayed { end, damage: None },
                Ok(Block::Stops) => {
                    let warning = format!("{}: it stops here: the run was killed, or is not over", self.name);
                    global.warn("", &[printable(&warning).into_owned()]);
                    break stops(None, last);
                }
                Err(e) => break stops(Some(anyhow::Error::new(e).context(self.name.clone())), last),
            }
        };
        pipeline.finish(&self.subject, &replayed.end.ending, replayed.end.duration);
        replayed
    }
}

/// The path that was given, or that of the newest recording in this folder.
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
    for entry in std::fs::read_dir(".").context("this folder")? {
        let path = entry.context("this folder")?.path();
        let Ok(data) = path.metadata() else { continue };
        if data.is_file() && path.extension().is_some_and(|e| e == EXTENSION) {
            newest = newest.max(Some((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), path)));
        }
    }
    let Some((_, path)) = newest else {
        bail!("there is no recording (*.{EXTENSION}) in this folder: give one, or make one with `wasmtrace record`")
    };
    Ok(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
}
