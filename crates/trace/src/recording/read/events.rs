//! Blocks of events and of lines.

use wasmparser::BinaryReader;

use super::super::{MOST_EVENTS, MOST_LINES, MOST_TEXT, SLOTS, State, op};
use crate::batch::{Batch, MarkKind, Place, Sample, Stamp};
use crate::event::{Event, EventKind, Level, Manual, Misuse};
use crate::lines::Lines;
use wasmtrace_abi::buffer::{FUNCTIONS, Kind, word};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::ProbeId;

/// Decoded times.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    /// The time of the last event.
    pub(super) last: u64,
    /// Time at which the last stamp ended.
    pub(super) stamped: u64,
    /// Whether entries and exits have no times.
    pub(super) none: bool,
}

pub(super) fn damaged(offset: usize, message: impl Into<String>) -> Error {
    Error::at(ErrorKind::Recording, offset, message)
}

pub(super) fn text(r: &mut BinaryReader<'_>) -> Result<String> {
    let at = r.original_position();
    let text = r.read_unlimited_string()?;
    if text.len() > MOST_TEXT {
        return Err(damaged(at, format!("the recording is damaged: a string of {} bytes is too long", text.len())));
    }
    Ok(text.to_owned())
}

pub(super) fn read_events(
    r: &mut BinaryReader<'_>,
    state: &mut State,
    times: &mut Times,
    batch: &mut Batch,
) -> Result<()> {
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
            op::ELIDED => push(EventKind::Elided(ProbeId(r.read_var_u32()?), r.read_var_u32()?)),
            op::CLOCK_GAP => push(EventKind::ClockGap(r.read_var_u64()?)),
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
        (op::IN_HOOK_MODULE, _) => Place::HookModule,
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

pub(super) fn read_lines(r: &mut BinaryReader<'_>, lines: &mut Lines) -> Result<()> {
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
