//! Resolving a sample: which function and which instruction, in the guest's code or in a hook.

use std::collections::HashMap;
use std::ops::Range;

use super::compiled::{Compiled, CompiledFunction};
use super::sampler::image::address_map;
use super::sampler::{FRAMES, RawSample};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_instrument::component::Attribution;
use wasmtrace_instrument::inserted::Inserted;
use wasmtrace_instrument::module::{FuncIdx, Module};
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

/// A core module within a compiled file.
#[derive(Debug)]
pub(super) struct CoreModule<'m> {
    pub(super) module: &'m Module<'m>,
    /// The offset of the module in the file.
    pub(super) offset: usize,
    pub(super) attribution: Attribution,
}

/// What was compiled together: a module, or the core modules of a component.
#[derive(Debug)]
struct Unit<'m> {
    compiled: Compiled,
    /// The address range of its machine code.
    text: Range<usize>,
    /// The functions by ascending start.
    functions: Vec<CompiledFunction>,
    /// The core modules in the order of the file.
    modules: Vec<UnitModule<'m>>,
}

#[derive(Debug)]
struct UnitModule<'m> {
    inserted: Inserted<'m>,
    /// The module as offsets in the file.
    range: Range<usize>,
    attribution: Attribution,
    /// The hooks of functions in which samples were taken.
    hooks: HashMap<u32, Vec<Range<u32>>>,
}

impl<'m> Places<'m> {
    /// Creates the table for compiled files, each with its core modules in the order of the file.
    pub(super) fn new(units: impl Iterator<Item = (Compiled, Vec<CoreModule<'m>>)>) -> Self {
        let units = units.map(|(compiled, modules)| Unit::new(compiled, modules));
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
        unit.place(pc - unit.text.start)
    }

    /// The open calls, outermost first.
    fn path(&mut self, raw: &RawSample, place: Place) -> Box<[ProbeId]> {
        let Place::Function { id, .. } = place else { return Box::default() };
        let caller = |back: usize| {
            let unit = self.units.iter().find(|unit| unit.text.contains(&back.wrapping_sub(1)))?;
            unit.probe(unit.function(back - 1 - unit.text.start)?)
        };
        // Before `push rbp` and after `pop rbp`, the return address is on top of the stack. Before `mov rbp, rsp` it is
        // below the pushed frame pointer. The frames are the caller's then.
        let unit = self.units.iter().find(|unit| unit.text.contains(&raw.pc));
        let inside = unit.and_then(|unit| {
            let at = raw.pc - unit.text.start;
            Some((at as u32 - unit.function(at)?.start, unit.compiled.text().get(at).copied()?))
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
        let first = |unit: &Unit<'_>| match unit.modules.first()?.attribution {
            Attribution::Probes(first) => Some((unit.text.start, first)),
            Attribution::Hooks | Attribution::Caller => None,
        };
        self.units.iter().filter_map(first).collect()
    }
}

impl<'m> Unit<'m> {
    fn new(compiled: Compiled, modules: Vec<CoreModule<'m>>) -> Self {
        let text = compiled.text().as_ptr_range();
        let text = text.start.addr()..text.end.addr();
        let mut functions = compiled.functions();
        functions.sort_unstable();
        let modules = modules.into_iter().map(|CoreModule { module, offset, attribution }| UnitModule {
            inserted: Inserted::new(module),
            range: offset..offset + module.bytes().len(),
            attribution,
            hooks: HashMap::new(),
        });
        Unit { compiled, text, functions, modules: modules.collect() }
    }

    /// The place at an offset in the machine code.
    fn place(&mut self, at: usize) -> Place {
        let Some(function) = self.function(at) else { return Place::Engine };
        // Adapters between components are in no module of the file.
        let Some(module) = self.modules.get_mut(function.module as usize) else { return Place::Engine };
        let (offset, is_hook) = module.instruction(&self.compiled, function, at);
        match module.attribution {
            Attribution::Hooks => Place::HookModule,
            _ if is_hook => Place::Hook,
            Attribution::Probes(first) => Place::Function { id: ProbeId(first + function.index), offset },
            Attribution::Caller => Place::Engine,
        }
    }

    /// The id of a function, if its module has ids.
    fn probe(&self, function: CompiledFunction) -> Option<ProbeId> {
        match self.modules.get(function.module as usize)?.attribution {
            Attribution::Probes(first) => Some(ProbeId(first + function.index)),
            Attribution::Hooks | Attribution::Caller => None,
        }
    }

    fn function(&self, at: usize) -> Option<CompiledFunction> {
        let next = self.functions.partition_point(|function| function.start as usize <= at);
        let function = *self.functions[..next].last()?;
        (at < function.start as usize + function.length as usize).then_some(function)
    }
}

impl UnitModule<'_> {
    /// The instruction at an offset in the machine code of a function, as its offset in the module, and whether it is one
    /// of a hook.
    fn instruction(&mut self, compiled: &Compiled, function: CompiledFunction, at: usize) -> (Option<u32>, bool) {
        let map = address_map(compiled);
        let range = self.range.clone();
        let offset_at = |at: usize| {
            let in_file = wasmtime_environ::lookup_file_pos(map?, at)?.file_offset()? as usize;
            range.contains(&in_file).then(|| (in_file - range.start) as u32)
        };
        let Some(offset) = offset_at(at) else {
            // Code that moves values between registers and the stack belongs to no instruction. It counts for the
            // previous instruction, or for the next one before the first.
            let (start, end) = (function.start as usize, (function.start + function.length) as usize);
            let before = (at.saturating_sub(NEAR).max(start)..at).rev().find_map(offset_at);
            return (before.or_else(|| (at + 1..end.min(at + NEAR)).find_map(offset_at)), false);
        };
        let hooks = self.hooks.entry(function.index).or_insert_with(|| self.inserted.of(FuncIdx(function.index)));
        let next = hooks.partition_point(|hook| hook.start <= offset);
        (Some(offset), hooks[..next].last().is_some_and(|hook| offset < hook.end))
    }
}
