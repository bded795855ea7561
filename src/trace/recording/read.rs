//! The way back. Nothing that is read is trusted: lengths, counts and ids may be anything.

use std::io::{self, Read};

use wasmparser::BinaryReader;

use super::{
    END, EVENTS, End, HEADER, Header, MAGIC, MOST_BYTES, MOST_EVENTS, MOST_TEXT, OLDEST_VERSION, SLOTS, State, VERSION,
    checksum, op,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hook::{Manifest, ProbeId};
use crate::trace::context::Context;
use crate::trace::{Ending, Event, EventKind, Level, Manual, Misuse, Trap};

/// The longest header: a module has at most a million functions, and their names are not endless.
const MOST_HEADER: usize = 256 << 20;

/// Reads a recording, block by block.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: R,
    header: Header,
    state: State,
    /// Where the next block begins.
    offset: usize,
    /// The time of the last event.
    last: u64,
    done: bool,
}

/// What [`Reader::block`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Events; there may be more.
    Events,
    /// The end of the run.
    End(End),
    /// The recording stops here, without an end: the process was killed, or still runs.
    Stops,
}

/// A block as it stands in the file.
enum Raw {
    Whole(u8, Vec<u8>),
    /// The file ends before it, or within it.
    Cut(bool),
}

impl<R: Read> Reader<R> {
    /// Reads the header. Give a buffered input.
    ///
    /// # Errors
    /// [`ErrorKind::Recording`] if this is no recording, one of another version, or its header is damaged or cut;
    /// [`ErrorKind::Io`] if it cannot be read.
    pub fn open(mut input: R) -> Result<Self> {
        let mut magic = Vec::new();
        input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(unreadable)?;
        if magic != MAGIC {
            return Err(damaged(0, "this is no recording (a recording begins with \\x89WTRACE)"));
        }
        let offset = MAGIC.len();
        let (kind, contents) = match raw_block(&mut input, offset)? {
            Raw::Whole(kind, contents) => (kind, contents),
            Raw::Cut(_) => return Err(damaged(offset, "the recording is cut off within its header")),
        };
        if kind != HEADER {
            return Err(damaged(offset, "the recording does not begin with its header"));
        }
        let header = within(offset + 9, &contents, header)?;
        let offset = offset + 9 + contents.len();
        Ok(Reader { input, header, state: State::new(), offset, last: 0, done: false })
    }

    /// What is known before the first event.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where in the recording the next block begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Clears `events` and fills it with those of the next block: about a hundred thousand, a million at most. After the end,
    /// and after an error, the recording stops. Where it stops between two blocks, there may be more another time
    /// ([`super::Growing`]).
    ///
    /// # Errors
    /// [`ErrorKind::Recording`] with the offset of the block that is damaged: what came before is sound, what comes after is
    /// not read. [`ErrorKind::Io`] if the file cannot be read.
    pub fn block(&mut self, events: &mut Vec<Event>) -> Result<Block> {
        events.clear();
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
                let (state, last) = (&mut self.state, &mut self.last);
                if let Err(e) = within(at, &contents, |r| read_events(r, state, last, events)) {
                    events.clear();
                    return Err(e);
                }
                self.done = false;
                Ok(Block::Events)
            }
            END => Ok(Block::End(within(at, &contents, end)?)),
            _ => Err(damaged(at - 9, "a block of a kind that is not known here")),
        }
    }
}

fn damaged(offset: usize, message: impl Into<String>) -> Error {
    Error::at(ErrorKind::Recording, offset, message)
}

fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the recording cannot be read").caused_by(e)
}

/// Reads a block and holds it against its checksum. Memory grows with what is there, not with what the length claims.
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
        return Err(damaged(offset, format!("a block of {length} bytes, which is more than there can be")));
    }
    let mut contents = Vec::new();
    input.take(length.into()).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() < length as usize {
        return Ok(Raw::Cut(true));
    }
    if checksum(kind, length, &contents) != sum {
        return Err(damaged(offset, "the recording is damaged: a block does not fit its checksum"));
    }
    Ok(Raw::Whole(kind, contents))
}

/// Reads all of a block's contents, which begin at that offset of the file.
fn within<'c, T>(
    offset: usize,
    contents: &'c [u8],
    read: impl FnOnce(&mut BinaryReader<'c>) -> Result<T>,
) -> Result<T> {
    let mut reader = BinaryReader::new(contents, offset);
    let value = read(&mut reader).map_err(|e| match e.kind() {
        ErrorKind::Recording => e,
        // Those of the reader, whose words are about modules.
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
        return Err(damaged(at, format!("a recording of version {version}, which is not known here")));
    }
    let program = text(r)?;
    let began = r.read_var_u64()?;
    let clock = text(r)?;
    let (resolution, min_duration, depth) = (r.read_var_u64()?, r.read_var_u64()?, r.read_var_u64()?);
    let max_depth = depth.checked_sub(1).map(|depth| u32::try_from(depth).unwrap_or(u32::MAX));
    let length = r.read_var_u32()? as usize;
    let at = r.original_position();
    let manifest = Manifest::decode(r.read_bytes(length)?, at)?;
    let (context, resource) = if version == 1 { (None, Vec::new()) } else { (context(r)?, resource(r)?) };
    Ok(Header { program, began, clock, resolution, min_duration, max_depth, manifest, context, resource })
}

fn context(r: &mut BinaryReader<'_>) -> Result<Option<Context>> {
    let at = r.original_position();
    let trace = u128::from_be_bytes(r.read_bytes(16)?.try_into().expect("16 bytes"));
    let mut id = || Ok::<_, Error>(u64::from_be_bytes(r.read_bytes(8)?.try_into().expect("8 bytes")));
    let (run, parent) = (id()?, id()?);
    let (flags, state) = (r.read_u8()?, text(r)?);
    match (trace, run) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => Err(damaged(at, "the recording is damaged: an id that is none")),
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

fn end(r: &mut BinaryReader<'_>) -> Result<End> {
    let duration = r.read_var_u64()?;
    let at = r.original_position();
    let ending = match r.read_u8()? {
        0 => Ending::Returned,
        1 => Ending::Exited(r.read_var_u32()? as i32),
        2 => {
            let (code, message) = (text(r)?, text(r)?);
            let count = r.read_var_u32()?;
            let mut frames = Vec::new();
            for _ in 0..count {
                frames.push(r.read_var_u32()?);
            }
            Ending::Trapped(Trap { code, message, frames })
        }
        3 => Ending::Interrupted(r.read_var_u32()? as i32),
        4 => Ending::Unknown,
        _ => return Err(damaged(at, "an ending that is not known here")),
    };
    Ok(End { ending, duration })
}

fn text(r: &mut BinaryReader<'_>) -> Result<String> {
    let at = r.original_position();
    let text = r.read_unlimited_string()?;
    if text.len() > MOST_TEXT {
        return Err(damaged(at, format!("the recording is damaged: a text of {} bytes", text.len())));
    }
    Ok(text.to_owned())
}

fn read_events(r: &mut BinaryReader<'_>, state: &mut State, last: &mut u64, events: &mut Vec<Event>) -> Result<()> {
    let at = r.original_position();
    let (began, unit, count) = (r.read_var_u64()?, r.read_var_u64()?, r.read_var_u32()?);
    if count > MOST_EVENTS || began < *last {
        return Err(damaged(at, "the recording is damaged: more events than a block holds, or a time that steps back"));
    }
    let count = count as usize;
    let mut now = began;
    while !r.eof() {
        let at = r.original_position();
        let wrong = |what: &str| damaged(at, format!("the recording is damaged: {what}"));
        let op = r.read_u8()?;
        let passed = match op {
            op::TIME => r.read_var_u64()?.checked_mul(unit),
            op::TIME_NANOS => Some(r.read_var_u64()?),
            op::TIMES..op::ENTER_SLOT => u64::from(op - op::TIMES + 1).checked_mul(unit),
            op::LONG_TIMES.. => u64::from(op - op::LONG_TIMES + 33).checked_mul(unit),
            _ => Some(0),
        };
        now = passed.and_then(|passed| now.checked_add(passed)).ok_or_else(|| wrong("a time that is none"))?;
        let mut push = |kind| events.push(Event { at: now, kind });
        match op {
            op::TIME | op::TIME_NANOS | op::TIMES..op::ENTER_SLOT | op::LONG_TIMES.. => {}
            op::ENTER | op::ENTER_SLOT..op::LEAF_SLOT => {
                let id = called(op, op::ENTER, op::ENTER_SLOT, state, r)?;
                state.entered(id);
                push(EventKind::Enter(ProbeId(id)));
            }
            op::LEAF | op::LEAF_SLOT..op::LONG_TIMES => {
                let id = called(op, op::LEAF, op::LEAF_SLOT, state, r)?;
                push(EventKind::Enter(ProbeId(id)));
                push(EventKind::Exit(ProbeId(id)));
            }
            op::EXITS..op::TIMES => {
                for _ in 0..=op - op::EXITS {
                    let id = state.open.pop().ok_or_else(|| wrong("an exit, and nothing is open"))?;
                    push(EventKind::Exit(ProbeId(id)));
                }
            }
            op::EXIT => {
                let id = r.read_var_u32()?;
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
            op::FOLDED => push(EventKind::Folded(ProbeId(r.read_var_u32()?), r.read_var_u32()?)),
            op::DRIFT => push(EventKind::Drift(r.read_var_u64()?)),
            op::SPAN_ENTER => push(manual(Manual::SpanEnter(text(r)?))),
            op::SPAN_EXIT => push(manual(Manual::SpanExit)),
            op::TAGS => push(manual(Manual::Tags(text(r)?))),
            op::METRIC => push(manual(Manual::Metric(text(r)?))),
            op::LOG => {
                let level = Level::from_number(r.read_u8()?.into()).ok_or_else(|| wrong("a level that is none"))?;
                push(manual(Manual::Log(level, text(r)?)));
            }
            op::MISUSE => {
                let misuse = Misuse::from_number(r.read_u8()?).ok_or_else(|| wrong("a misuse that is none"))?;
                push(manual(Manual::Misuse(misuse)));
            }
        }
        if events.len() > count {
            return Err(wrong("more events than its block says"));
        }
    }
    if events.len() < count {
        return Err(damaged(at, "the recording is damaged: fewer events than its block says"));
    }
    *last = now;
    Ok(())
}

fn manual(manual: Manual) -> EventKind {
    EventKind::Manual(Box::new(manual))
}

/// The function that is named, or that is in a slot.
fn called(op: u8, named: u8, in_slot: u8, state: &mut State, r: &mut BinaryReader<'_>) -> Result<u32> {
    if op != named {
        return Ok(state.slots[usize::from(op - in_slot) % SLOTS]);
    }
    let id = r.read_var_u32()?;
    state.slots[State::slot(id)] = id;
    Ok(id)
}
