//! Finds the bytes of hooks in an instrumented body, so that a profiler can separate them from the code of the
//! program.

use std::ops::Range;

use wasmparser::OperatorsReader;

use crate::hooks::HookCode;
use crate::hooks::catch_sites::CatchSites;
use crate::hooks::frame::Frame;
use crate::module::{FuncIdx, Module};
use wasmtrace_abi::hook::{HookSet, ProbeId};

/// Finds hooks in the bodies of a module that was instrumented by this version of the compiler.
#[derive(Debug)]
pub struct Inserted<'m> {
    module: &'m Module<'m>,
    /// `None` if the module has no hooks.
    code: Option<HookCode>,
}

impl<'m> Inserted<'m> {
    /// Prepares the search in `module`. If the module is not instrumented, the search finds nothing.
    pub fn new(module: &'m Module<'m>) -> Self {
        let imports = module.imported_funcs();
        let code = HookSet::of_modules().find_map(|set| {
            let first = imports.len().checked_sub(set.imports().len())?;
            let same =
                imports[first..].iter().zip(set.imports()).all(|(i, h)| (i.module, i.name) == (h.module, h.name));
            let memory = (module.memories().len() as u32).saturating_sub(u32::from(set.has_buffer()));
            same.then(|| HookCode::new(set, first as u32, memory))
        });
        Inserted { module, code }
    }

    /// The byte ranges of hooks in the body of `func`, as file offsets, ascending.
    pub fn of(&self, func: FuncIdx) -> Vec<Range<u32>> {
        self.find(func).unwrap_or_default()
    }

    fn find(&self, func: FuncIdx) -> Option<Vec<Range<u32>>> {
        let code = self.code.as_ref()?;
        if !self.module.is_defined(func) {
            return None;
        }
        let file = self.module.bytes();
        let mut locals_reader = self.module.body_reader(func).get_locals_reader().ok()?;
        let (mut locals, mut last) = (self.module.func_type(func).params().len() as u32, 0);
        for _ in 0..locals_reader.get_count() {
            last = locals_reader.read().ok()?.0;
            locals = locals.saturating_add(last);
        }
        let start = locals_reader.original_position();
        let catches = code.reports_catches() && CatchSites::of(self.module, func).is_some();
        // The locals of the hooks are in the last group. That group can include their scratch local.
        let local = locals.saturating_sub(if code.reports_catches() { last } else { 0 });
        let frame = |(id, pair)| Frame { id, local, catches, is_leaf: false, pair };
        let ids = [Some(ProbeId(func.0)), None];
        let mut frames = code.pairs().iter().flat_map(|pair| ids.map(|id| frame((id, *pair))));
        let frame = frames.find(|frame| {
            let enter = code.enter(*frame);
            !enter.is_empty() && file[start..].starts_with(&enter)
        })?;
        let of_leaf = code.exit(Frame { is_leaf: true, ..frame });
        let (unreachable, caught) = (code.unreachable(), code.caught(frame));
        let hooks = [code.enter(frame), code.exit(frame), of_leaf, code.leave(frame), caught, unreachable];
        let mut operators = OperatorsReader::new(locals_reader.get_binary_reader());
        let (mut found, mut behind) = (Vec::new(), start);
        while !operators.eof() {
            let at = operators.original_position();
            if at >= behind
                && let Some(hook) = hooks.iter().find(|hook| !hook.is_empty() && file[at..].starts_with(hook))
            {
                behind = at + hook.len();
                found.push(at as u32..behind as u32);
            }
            operators.read().ok()?;
        }
        Some(found)
    }
}
