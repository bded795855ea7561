//! Reading recordings. Input is not trusted: lengths, counts and ids may have any value.

use std::io::{self, Read};

use wasmparser::BinaryReader;

use super::{END, EVENTS, Footer, HEADER, Header, LINES, MAGIC, MOST_BYTES, OLDEST_VERSION, State, VERSION, checksum};
use crate::batch::Batch;
use crate::context::Context;
use crate::event::{Event, RunOutcome, Trap};
use crate::lines::Lines;
use crate::time_model::TimeModel;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::Manifest;
use wasmtrace_abi::resumption::Resumption;

mod events;

use events::{Times, damaged, read_events, read_lines, text};

/// Maximum size of the header in bytes. A module has at most a million functions.
const MOST_HEADER: usize = 256 << 20;

/// Reads a recording block by block.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: R,
    header: Header,
    state: State,
    /// Offset of the next block.
    offset: usize,
    times: Times,
    /// Estimates event times for [`Reader::block`].
    time_model: TimeModel,
    batch: Batch,
    lines: Lines,
    done: bool,
}

/// The result of [`Reader::block`] and [`Reader::batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Events were read; there may be more.
    Events,
    /// The end of the run.
    Footer(Footer),
    /// The recording ends here without a footer: the process was killed or is still running.
    Stops,
}

/// An undecoded block.
enum Raw {
    Whole(u8, Vec<u8>),
    /// The file ends before the block or within it.
    Cut(bool),
}

impl<R: Read> Reader<R> {
    /// Opens a recording and reads its header. The input should be buffered.
    ///
    /// # Errors
    /// [`ErrorKind::Recording`] if the input is not a recording, has an unknown version, or its header is damaged or
    /// truncated; [`ErrorKind::Io`] if it cannot be read.
    pub fn open(mut input: R) -> Result<Self> {
        let mut magic = Vec::new();
        input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(unreadable)?;
        if magic != MAGIC {
            return Err(damaged(0, "not a recording: it does not begin with `\\x89WTRACE`"));
        }
        let offset = MAGIC.len();
        let (kind, contents) = match raw_block(&mut input, offset)? {
            Raw::Whole(kind, contents) => (kind, contents),
            Raw::Cut(_) => return Err(damaged(offset, "the recording is truncated within its header")),
        };
        if kind != HEADER {
            return Err(damaged(offset, "the first block of the recording is not its header"));
        }
        let header = within(offset + 9, &contents, header)?;
        let offset = offset + 9 + contents.len();
        let times = Times { none: header.stamped, ..Default::default() };
        Ok(Reader {
            input,
            header,
            state: State::new(),
            offset,
            times,
            time_model: TimeModel::new(),
            batch: Batch::default(),
            lines: Lines::default(),
            done: false,
        })
    }

    /// The source lines of sampled instructions read so far. They are at the end of a recording.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The header of the recording.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Offset of the next block in bytes.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Replaces `events` by those of the next block: about a hundred thousand, at most a million. After the end or an
    /// error, no more events follow. A recording that stops between two blocks may have more later
    /// ([`super::Growing`]).
    ///
    /// # Errors
    /// [`ErrorKind::Recording`] with the offset of a damaged block: everything before it is intact, and nothing after
    /// it is read. [`ErrorKind::Io`] if the file cannot be read.
    pub fn block(&mut self, events: &mut Vec<Event>) -> Result<Block> {
        events.clear();
        let mut batch = std::mem::take(&mut self.batch);
        let read = self.batch(&mut batch);
        if matches!(read, Ok(Block::Events)) {
            self.time_model.events(&batch, events);
        }
        self.batch = batch;
        read
    }

    /// Replaces `batch` by the contents of the next block: like [`Reader::block`], but with samples, and without a time
    /// for each event. Use only one of the two methods on a reader.
    ///
    /// # Errors
    /// Those of [`Reader::block`].
    pub fn batch(&mut self, batch: &mut Batch) -> Result<Block> {
        batch.clear();
        loop {
            if std::mem::replace(&mut self.done, true) {
                return Ok(Block::Stops);
            }
            let (kind, contents) = match raw_block(&mut self.input, self.offset)? {
                Raw::Whole(kind, contents) => (kind, contents),
                Raw::Cut(within) => {
                    self.done = within;
                    return Ok(Block::Stops);
                }
            };
            let at = self.offset + 9;
            self.offset = at + contents.len();
            match kind {
                EVENTS => {
                    let (state, times) = (&mut self.state, &mut self.times);
                    if let Err(e) = within(at, &contents, |r| read_events(r, state, times, batch)) {
                        batch.clear();
                        return Err(e);
                    }
                    self.done = false;
                    return Ok(Block::Events);
                }
                LINES => {
                    within(at, &contents, |r| read_lines(r, &mut self.lines))?;
                    self.done = false;
                }
                END => return Ok(Block::Footer(within(at, &contents, end)?)),
                _ => return Err(damaged(at - 9, "unknown block kind")),
            }
        }
    }
}

fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the recording cannot be read").caused_by(e)
}

/// Reads a block and checks its checksum. Memory grows with the bytes that are present, not with the claimed length.
fn raw_block(input: &mut impl Read, offset: usize) -> Result<Raw> {
    let mut head = Vec::with_capacity(9);
    input.take(9).read_to_end(&mut head).map_err(unreadable)?;
    if head.len() < 9 {
        return Ok(Raw::Cut(!head.is_empty()));
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (kind, length, sum) = (head[0], number(1), number(5));
    let most = if kind == HEADER { MOST_HEADER } else { MOST_BYTES };
    if length as usize > most {
        return Err(damaged(offset, format!("a block of {length} bytes exceeds the maximum size")));
    }
    let mut contents = Vec::new();
    input.take(length.into()).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() < length as usize {
        return Ok(Raw::Cut(true));
    }
    if checksum(kind, length, &contents) != sum {
        return Err(damaged(offset, "the recording is damaged: a block does not match its checksum"));
    }
    Ok(Raw::Whole(kind, contents))
}

/// Decodes the contents of a block, which begin at that offset of the file. All bytes must be used.
fn within<'c, T>(
    offset: usize,
    contents: &'c [u8],
    read: impl FnOnce(&mut BinaryReader<'c>) -> Result<T>,
) -> Result<T> {
    let mut reader = BinaryReader::new(contents, offset);
    let value = read(&mut reader).map_err(|e| match e.kind() {
        ErrorKind::Recording => e,
        // Errors of the parser, whose messages are about modules.
        _ => damaged(e.offset().unwrap_or(offset), format!("the recording is damaged: {}", e.message())),
    })?;
    match reader.eof() {
        true => Ok(value),
        false => Err(damaged(reader.original_position(), "the recording is damaged: a block is too long")),
    }
}

fn header(r: &mut BinaryReader<'_>) -> Result<Header> {
    let at = r.original_position();
    let version = r.read_var_u32()?;
    if !(OLDEST_VERSION..=VERSION).contains(&version) {
        return Err(damaged(at, format!("unknown recording version {version}")));
    }
    let program = text(r)?;
    let began = r.read_var_u64()?;
    let clock = text(r)?;
    let (resolution, min_duration, depth) = (r.read_var_u64()?, r.read_var_u64()?, r.read_var_u64()?);
    let max_depth = depth.checked_sub(1).map(|depth| u32::try_from(depth).unwrap_or(u32::MAX));
    let length = r.read_var_u32()? as usize;
    let at = r.original_position();
    let mut manifest = Manifest::decode(r.read_bytes(length)?, at)?;
    if manifest.restore.is_some() {
        return Err(damaged(at, "the recording is damaged: its Manifest has restoring data"));
    }
    let (context, resource) = if version == 1 { (None, Vec::new()) } else { (context(r)?, resource(r)?) };
    let (stamped, not_sampled) = match version {
        1 | 2 => (false, Some("the recording was made by an earlier version".to_owned())),
        _ => (r.read_u8()? != 0, Some(text(r)?).filter(|text| !text.is_empty())),
    };
    let mut resumption = None;
    if version >= 4 {
        resumption = Resumption::from_byte(r.read_u8()?);
        for probe in &mut manifest.probes {
            probe.label.index = r.read_var_u64()?.checked_sub(1).and_then(|index| u32::try_from(index).ok());
        }
    }
    Ok(Header {
        program,
        began,
        clock,
        resolution,
        min_duration,
        max_depth,
        manifest,
        context,
        resource,
        stamped,
        not_sampled,
        resumption,
    })
}

fn context(r: &mut BinaryReader<'_>) -> Result<Option<Context>> {
    let at = r.original_position();
    let trace = u128::from_be_bytes(r.read_bytes(16)?.try_into().expect("16 bytes"));
    let mut id = || Ok::<_, Error>(u64::from_be_bytes(r.read_bytes(8)?.try_into().expect("8 bytes")));
    let (run, parent) = (id()?, id()?);
    let (flags, state) = (r.read_u8()?, text(r)?);
    match (trace, run) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => Err(damaged(at, "the recording is damaged: an id is zero")),
        _ => Ok(Some(Context { trace, run, parent: Some(parent).filter(|id| *id != 0), flags, state })),
    }
}

fn resource(r: &mut BinaryReader<'_>) -> Result<Vec<(String, String)>> {
    let count = r.read_var_u32()?;
    let mut resource = Vec::new();
    for _ in 0..count {
        resource.push((text(r)?, text(r)?));
    }
    Ok(resource)
}

fn end(r: &mut BinaryReader<'_>) -> Result<Footer> {
    let duration = r.read_var_u64()?;
    let at = r.original_position();
    let ending = match r.read_u8()? {
        0 => RunOutcome::Returned,
        1 => RunOutcome::Exited(r.read_var_u32()? as i32),
        2 => {
            let (code, message) = (text(r)?, text(r)?);
            let count = r.read_var_u32()?;
            let mut frames = Vec::new();
            for _ in 0..count {
                frames.push(r.read_var_u32()?);
            }
            RunOutcome::Trapped(Trap { code, message, frames })
        }
        3 => RunOutcome::Interrupted(r.read_var_u32()? as i32),
        4 => RunOutcome::Unknown,
        _ => return Err(damaged(at, "unknown run outcome")),
    };
    Ok(Footer { ending, duration })
}
