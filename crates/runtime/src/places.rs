//! Resolving a sample: which function and which instruction, in the guest's code or in a hook.

use std::collections::HashMap;
use std::ops::Range;

use wasmtime::Module;

use super::sampler::image::address_map;
use super::sampler::{FRAMES, RawSample};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_instrument::inserted::Inserted;
use wasmtrace_instrument::module::FuncIdx;
use wasmtrace_trace::batch::{Place, Sample};

/// Maximum number of cached places; 1 MB of code has about as many.
const MOST_KNOWN: usize = 1 << 18;

/// Maximum distance in bytes of machine code to the nearest instruction, for code that belongs to none.
const NEAR: usize = 64;

/// The machine code of all modules of a run.
#[derive(Debug)]
pub(super) struct Places<'m> {
    units: Vec<Unit<'m>>,
    known: HashMap<usize, Place>,
    /// The path of the last sample that was complete.
    whole: Vec<ProbeId>,
}

#[derive(Debug)]
struct Unit<'m> {
    module: Module,
    inserted: Inserted<'m>,
    /// Offset that is added to its function indices.
    first_probe: u32,
    /// The address range of its machine code.
    text: Range<usize>,
    /// For each function, the start of its machine code, its length, and its index; ascending.
    functions: Vec<(u32, u32, u32)>,
    hooks: HashMap<u32, Vec<Range<u32>>>,
}

impl<'m> Places<'m> {
    /// Creates the table for compiled modules, each with its binary and the offset of its function indices.
    pub(super) fn new(
        units: impl Iterator<Item = (Module, &'m wasmtrace_instrument::module::Module<'m>, u32)>,
    ) -> Self {
        let units = units.map(|(module, parsed, first_probe)| {
            let text = module.text().as_ptr_range();
            let mut functions: Vec<(u32, u32, u32)> =
                module.functions().map(|f| (f.offset as u32, f.len as u32, f.index.as_u32())).collect();
            functions.sort_unstable();
            Unit {
                module,
                inserted: Inserted::new(parsed),
                first_probe,
                text: text.start.addr()..text.end.addr(),
                functions,
                hooks: HashMap::new(),
            }
        });
        Places { units: units.collect(), known: HashMap::new(), whole: Vec::new() }
    }

    /// The address ranges of machine code.
    pub(super) fn texts(&self) -> Vec<Range<usize>> {
        self.units.iter().map(|unit| unit.text.clone()).collect()
    }

    /// Resolves a sample; `walked` with its call path.
    pub(super) fn sample(&mut self, raw: &RawSample, walked: bool) -> Sample {
        if raw.seen {
            return Sample { weight: raw.weight, cost: 0, place: Place::Seen, path: None };
        }
        let place = match self.known.get(&raw.pc) {
            Some(place) => *place,
            None => {
                let place = self.place(raw.pc);
                if self.known.len() < MOST_KNOWN {
                    self.known.insert(raw.pc, place);
                }
                place
            }
        };
        let path = walked.then(|| self.path(raw, place));
        Sample { weight: raw.weight, cost: raw.cost, place, path }
    }

    fn place(&mut self, pc: usize) -> Place {
        let Some(unit) = self.units.iter_mut().find(|unit| unit.text.contains(&pc)) else { return Place::Engine };
        let at = pc - unit.text.start;
        let Some((start, length, index)) = unit.function(at) else { return Place::Engine };
        let map = address_map(&unit.module);
        let offset_at = |at: usize| wasmtime_environ::lookup_file_pos(map?, at)?.file_offset();
        let offset = offset_at(at);
        // Code that moves values between registers and the stack belongs to no instruction. It counts for the previous
        // instruction, or for the next one before the first.
        let (start, end) = (start as usize, start as usize + length as usize);
        let near = || {
            let before = (at.saturating_sub(NEAR).max(start)..at).rev().find_map(offset_at);
            before.or_else(|| (at + 1..end.min(at + NEAR)).find_map(offset_at))
        };
        if let Some(offset) = offset {
            let hooks = unit.hooks.entry(index).or_insert_with(|| unit.inserted.of(FuncIdx(index)));
            let next = hooks.partition_point(|hook| hook.start <= offset);
            if hooks[..next].last().is_some_and(|hook| offset < hook.end) {
                return Place::Hook;
            }
        }
        Place::Function { id: ProbeId(unit.first_probe + index), offset: offset.or_else(near) }
    }

    /// The open calls, outermost first.
    fn path(&mut self, raw: &RawSample, place: Place) -> Box<[ProbeId]> {
        let Place::Function { id, .. } = place else { return Box::default() };
        let caller = |back: usize| {
            let unit = self.units.iter().find(|unit| unit.text.contains(&back.wrapping_sub(1)))?;
            let (_, _, index) = unit.function(back - 1 - unit.text.start)?;
            Some(ProbeId(unit.first_probe + index))
        };
        // Before `push rbp` and after `pop rbp`, the return address is on top of the stack. Before `mov rbp, rsp` it is
        // below the pushed frame pointer. The frames are the caller's then.
        let unit = self.units.iter().find(|unit| unit.text.contains(&raw.pc));
        let inside = unit.and_then(|unit| {
            let at = raw.pc - unit.text.start;
            Some((at as u32 - unit.function(at)?.0, unit.module.text().get(at).copied()?))
        });
        const RET: u8 = 0xc3;
        let without_frame = match inside {
            Some((0, _) | (_, RET)) => Some(raw.top[0]),
            Some((1, _)) => Some(raw.top[1]),
            _ => None,
        };
        let callers = without_frame.into_iter().chain(raw.frames.iter().copied()).filter_map(caller);
        let mut path: Vec<ProbeId> = std::iter::once(id).chain(callers).collect();
        path.reverse();
        if raw.frames.len() < FRAMES {
            self.whole.clone_from(&path);
        } else if let Some(begins) = self.whole.iter().position(|id| Some(id) == path.first()) {
            // If a path was truncated, its outermost calls are taken from the last complete path that led there.
            path.splice(0..0, self.whole[..begins].iter().copied());
        }
        path.into()
    }

    /// The start of each module's machine code, and the offset of its function indices.
    pub(super) fn firsts(&self) -> Vec<(usize, u32)> {
        self.units.iter().map(|unit| (unit.text.start, unit.first_probe)).collect()
    }
}

impl Unit<'_> {
    fn function(&self, at: usize) -> Option<(u32, u32, u32)> {
        let next = self.functions.partition_point(|(start, ..)| *start as usize <= at);
        let function = *self.functions[..next].last()?;
        (at < function.0 as usize + function.1 as usize).then_some(function)
    }
}
