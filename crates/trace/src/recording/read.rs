//! Reading recordings. Input is not trusted: lengths, counts and ids may have any value.

use std::io::{self, Read};

use wasmparser::BinaryReader;

use super::{
    END, EVENTS, Footer, HEADER, Header, LINES, MAGIC, MOST_BYTES, MOST_EVENTS, MOST_LINES, MOST_TEXT, OLDEST_VERSION,
    SLOTS, State, VERSION, checksum, op,
};
use crate::batch::{Batch, MarkKind, Place, Sample, Stamp};
use crate::context::Context;
use crate::event::{Event, EventKind, Level, Manual, Misuse, RunOutcome, Trap};
use crate::lines::Lines;
use crate::time_model::TimeModel;
use wasmtrace_abi::buffer::{FUNCTIONS, Kind, word};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::Manifest;

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

/// Decoded times.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// The time of the last event.
    last: u64,
    /// Time at which the last stamp ended.
    stamped: u64,
    /// Whether entries and exits have no times.
    none: bool,
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

fn damaged(offset: usize, message: impl Into<String>) -> Error {
    Error::at(ErrorKind::Recording, offset, message)
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
    let manifest = Manifest::decode(r.read_bytes(length)?, at)?;
    if manifest.restore.is_some() {
        return Err(damaged(at, "the recording is damaged: its Manifest has restoring data"));
    }
    let (context, resource) = if version == 1 { (None, Vec::new()) } else { (context(r)?, resource(r)?) };
    let (stamped, not_sampled) = match version {
        1 | 2 => (false, Some("the recording was made by an earlier version".to_owned())),
        _ => (r.read_u8()? != 0, Some(text(r)?).filter(|text| !text.is_empty())),
    };
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

fn text(r: &mut BinaryReader<'_>) -> Result<String> {
    let at = r.original_position();
    let text = r.read_unlimited_string()?;
    if text.len() > MOST_TEXT {
        return Err(damaged(at, format!("the recording is damaged: a string of {} bytes is too long", text.len())));
    }
    Ok(text.to_owned())
}

fn read_events(r: &mut BinaryReader<'_>, state: &mut State, times: &mut Times, batch: &mut Batch) -> Result<()> {
    let at = r.original_position();
    let (began, unit, count) = (r.read_var_u64()?, r.read_var_u64()?, r.read_var_u32()?);
    if count > MOST_EVENTS || began < times.last {
        return Err(damaged(at, "the recording is damaged: too many events in a block, or a decreasing time"));
    }
    let mut now = began;
    let mut events = 0;
    while !r.eof() {
        let at = r.original_position();
        let wrong = |what: &str| damaged(at, format!("the recording is damaged: {what}"));
        let fits = |id: u32| match times.none && id >= FUNCTIONS {
            true => Err(wrong("a function index is too large")),
            false => Ok(()),
        };
        let op = r.read_u8()?;
        let passed = match op {
            op::TIME => r.read_var_u64()?.checked_mul(unit),
            op::TIME_NANOS => Some(r.read_var_u64()?),
            op::TIMES..op::ENTER_SLOT => u64::from(op - op::TIMES + 1).checked_mul(unit),
            op::LONG_TIMES.. => u64::from(op - op::LONG_TIMES + 33).checked_mul(unit),
            _ => Some(0),
        };
        now = passed.and_then(|passed| now.checked_add(passed)).ok_or_else(|| wrong("a time is out of range"))?;
        let mut push = |kind| {
            events += 1;
            match kind {
                EventKind::Enter(id) if times.none => batch.words.push(word(id, Kind::Enter)),
                EventKind::Exit(id) if times.none => batch.words.push(word(id, Kind::Exit)),
                kind => batch.event(Event { at: now, kind }),
            }
        };
        match op {
            op::TIME | op::TIME_NANOS | op::TIMES..op::ENTER_SLOT | op::LONG_TIMES.. => {}
            op::ENTER | op::ENTER_SLOT..op::LEAF_SLOT => {
                let id = called(op, op::ENTER, op::ENTER_SLOT, state, r)?;
                fits(id)?;
                state.entered(id);
                push(EventKind::Enter(ProbeId(id)));
            }
            op::LEAF | op::LEAF_SLOT..op::LONG_TIMES => {
                let id = called(op, op::LEAF, op::LEAF_SLOT, state, r)?;
                fits(id)?;
                if times.none {
                    events += 2;
                    batch.words.push(word(ProbeId(id), Kind::Leaf));
                } else {
                    push(EventKind::Enter(ProbeId(id)));
                    push(EventKind::Exit(ProbeId(id)));
                }
            }
            op::EXITS..op::TIMES => {
                for _ in 0..=op - op::EXITS {
                    let id = state.open.pop().ok_or_else(|| wrong("an exit without an open call"))?;
                    push(EventKind::Exit(ProbeId(id)));
                }
            }
            op::EXIT => {
                let id = r.read_var_u32()?;
                fits(id)?;
                state.left(id);
                push(EventKind::Exit(ProbeId(id)));
            }
            op::UNWOUND => {
                let id = r.read_var_u32()?;
                state.left(id);
                push(EventKind::Unwound(ProbeId(id)));
            }
            op::EXIT_INNERMOST => {
                state.open.pop();
                push(EventKind::ExitInnermost);
            }
            op::MEMORY_GROW => push(EventKind::MemoryGrow(r.read_var_u32()?)),
            op::FOLDED => push(EventKind::Elided(ProbeId(r.read_var_u32()?), r.read_var_u32()?)),
            op::DRIFT => push(EventKind::ClockGap(r.read_var_u64()?)),
            op::SPAN_ENTER => push(manual(Manual::SpanEnter(text(r)?))),
            op::SPAN_EXIT => push(manual(Manual::SpanExit)),
            op::TAGS => push(manual(Manual::Tags(text(r)?))),
            op::METRIC => push(manual(Manual::Metric(text(r)?))),
            op::LOG => {
                let level = Level::from_number(r.read_u8()?.into()).ok_or_else(|| wrong("unknown log level"))?;
                push(manual(Manual::Log(level, text(r)?)));
            }
            op::MISUSE => match r.read_u8()? {
                op::STAMP => {
                    let stamp = stamp(r, times)?.ok_or_else(|| wrong("invalid stamp"))?;
                    batch.mark(MarkKind::Stamp(stamp));
                }
                op::SAMPLE => {
                    let sample = sample(r)?.ok_or_else(|| wrong("invalid place of a sample"))?;
                    batch.mark(MarkKind::Sample(sample));
                }
                number => {
                    let misuse = Misuse::from_number(number).ok_or_else(|| wrong("unknown kind of misuse"))?;
                    push(manual(Manual::Misuse(misuse)));
                }
            },
        }
        if events > count {
            return Err(wrong("a block contains more events than it declares"));
        }
    }
    if events < count {
        return Err(damaged(at, "the recording is damaged: a block contains fewer events than it declares"));
    }
    times.last = now;
    Ok(())
}

fn stamp(r: &mut BinaryReader<'_>, times: &mut Times) -> Result<Option<Stamp>> {
    let (since, ago, stood, host) = (r.read_var_u64()?, r.read_var_u64()?, r.read_var_u64()?, r.read_var_u64()?);
    let before_event = r.read_u8()? != 0;
    let Some(called) = times.stamped.checked_add(since) else { return Ok(None) };
    let Some(returned) = called.checked_add(stood).filter(|_| host <= stood) else { return Ok(None) };
    times.stamped = returned;
    Ok(Some(Stamp { over: called.saturating_sub(ago), called, returned, host, before_event }))
}

/// Maximum plausible weight of a sample in nanoseconds: one day.
const MOST_WEIGHT: u64 = 86_400_000_000_000;

/// Maximum length of a sample's path.
const MOST_PATH: u32 = 4096;

fn sample(r: &mut BinaryReader<'_>) -> Result<Option<Sample>> {
    let (weight, cost, place) = (r.read_var_u64()?, r.read_var_u64()?, r.read_u8()?);
    let mut id = || Ok::<_, Error>(ProbeId(r.read_var_u32()?));
    let kind = place & !op::WITH_PATH;
    let function = matches!(kind, op::IN_FUNCTION | op::AT_OFFSET).then(&mut id).transpose()?;
    let offset = (kind == op::AT_OFFSET).then(&mut id).transpose()?.map(|offset| offset.0);
    let at = match (kind, function) {
        (op::IN_HOOK, _) => Place::Hook,
        (_, Some(id)) => Place::Function { id, offset },
        (op::IN_ENGINE, _) => Place::Engine,
        (op::IN_HOST, _) => Place::Host,
        (op::SEEN, _) => Place::Seen,
        _ => return Ok(None),
    };
    let path = match place & op::WITH_PATH {
        0 => None,
        _ => {
            let length = id()?.0;
            if length > MOST_PATH {
                return Ok(None);
            }
            Some((0..length).map(|_| id()).collect::<Result<_>>()?)
        }
    };
    Ok((weight.max(cost) <= MOST_WEIGHT).then_some(Sample { weight, cost, place: at, path }))
}

fn read_lines(r: &mut BinaryReader<'_>, lines: &mut Lines) -> Result<()> {
    let at = r.original_position();
    let wrong = |what: &str| damaged(at, format!("the recording is damaged: {what}"));
    let count = r.read_var_u32()? as usize;
    if count > MOST_LINES {
        return Err(wrong("too many files in a block of lines"));
    }
    let files = (0..count).map(|_| text(r)).collect::<Result<Vec<_>>>()?;
    let count = r.read_var_u32()? as usize;
    if count > MOST_LINES {
        return Err(wrong("too many lines in a block of lines"));
    }
    for _ in 0..count {
        let [id, offset, file, line] = [r.read_var_u32()?, r.read_var_u32()?, r.read_var_u32()?, r.read_var_u32()?];
        let file = files.get(file as usize).ok_or_else(|| wrong("file index out of bounds"))?;
        lines.insert(ProbeId(id), offset, file, line);
    }
    Ok(())
}

fn manual(manual: Manual) -> EventKind {
    EventKind::Manual(Box::new(manual))
}

/// Reads a function: by name or by slot.
fn called(op: u8, named: u8, in_slot: u8, state: &mut State, r: &mut BinaryReader<'_>) -> Result<u32> {
    if op != named {
        return Ok(state.slots[usize::from(op - in_slot) % SLOTS]);
    }
    let id = r.read_var_u32()?;
    state.slots[State::slot(id)] = id;
    Ok(id)
}
