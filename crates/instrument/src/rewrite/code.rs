//! Measures the code section, then writes it.
//!
//! Size fields precede the content whose size they give. So the length of each body must be known before the first
//! byte of the output is written. After that, all cores write the bodies in batches, and each batch goes directly to
//! the output.
//!
//! Each body is spliced twice for this, which costs little compared with validation. Keeping the bodies between the
//! two passes would hold the code in memory once more.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;

use super::body::{self, BodyPlan, LeftOut, NewBody, Scratch, size_width_of};
use super::splice::{Widths, write_leb};
use crate::hooks::frame::HookPair;
use crate::mapping::{Insertion, OffsetMap, Place};
use crate::module::{FuncIdx, Module, id};
use crate::restore::BodyRestore;
use crate::rewrite::layout::Layout;
use crate::select::Plan;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::ProbeId;

/// The bodies of a module with their hooks.
#[derive(Debug)]
pub(super) struct Code<'c, 'a> {
    module: &'c Module<'a>,
    plan: &'c Plan,
    layout: &'c Layout,
    /// Ranges of body positions. One task writes one range.
    runs: Vec<Range<usize>>,
    /// For each body, its length in bytes and the width of its size field.
    sizes: Vec<(u32, u8)>,
    /// The bodies after those of the original's functions, each with its size field.
    pub(super) appended: Vec<Vec<u8>>,
    /// The mapping of code offsets.
    pub(super) offsets: OffsetMap,
    /// By position, the parts of bodies that cannot be computed back.
    pub(super) restore: Vec<(u32, BodyRestore)>,
    /// The labels that hooks open inside of bodies, by function. Each entry is the number of original labels that
    /// precede it.
    pub(super) labels: HashMap<u32, Vec<u32>>,
    /// The bodies that have fewer hooks than planned.
    pub(super) left_out: HashMap<FuncIdx, LeftOut>,
}

/// The measurements of one range of bodies.
#[derive(Debug, Default)]
struct Measured {
    /// For each body: its size, the width of its size field, the offset of its entry hook, and the number of its
    /// growths.
    bodies: Vec<(u32, u8, Option<u32>, u32)>,
    growths: Vec<Insertion>,
    restore: Vec<(u32, BodyRestore)>,
    labels: Vec<(u32, Vec<u32>)>,
    left_out: Vec<(FuncIdx, LeftOut)>,
}

impl<'c, 'a> Code<'c, 'a> {
    /// Measures all bodies. The `appended` bodies follow them in the output.
    pub(super) fn measure(
        module: &'c Module<'a>,
        plan: &'c Plan,
        layout: &'c Layout,
        appended: Vec<Vec<u8>>,
    ) -> Result<Self> {
        let runs = crate::parallel::runs(module.defined_funcs().map(|func| module.body(func).len()));
        let mut code = Code {
            module,
            plan,
            layout,
            sizes: Vec::with_capacity(module.defined_funcs().len()),
            runs,
            appended,
            offsets: OffsetMap::default(),
            restore: Vec::new(),
            labels: HashMap::new(),
            left_out: HashMap::new(),
        };
        let Some(section) = module.section(id::CODE).filter(|_| !code.runs.is_empty()) else { return Ok(code) };
        let measured = crate::parallel::map(code.runs.clone(), |run| code.measure_run(run));

        let base = section.contents.start;
        let count_width = module.body(code.func(0)).start - size_width_of(module, code.func(0)) as usize - base;
        let count = code_count(
            module.defined_funcs().len(),
            count_width as u8,
            code.appended.len(),
            &mut Widths::Note(Vec::new()),
        );
        let mut at = u32::from(count.1);
        let measured = measured.into_iter().collect::<Result<Vec<_>>>()?;
        let bodies = measured.iter().flat_map(|run| &run.bodies).map(|(size, width, ..)| with_field((*size, *width)));
        let length = at as usize + bodies.chain(code.appended.iter().map(Vec::len)).sum::<usize>();
        let mut offsets = OffsetMap::new((section.contents.len() as u32, length as u32));
        let mut funcs = module.defined_funcs();
        for run in measured {
            let mut growths = run.growths.as_slice();
            for (size, width, enter, own) in run.bodies {
                let old = module.body(funcs.next().expect("there are as many bodies as functions"));
                let old = (old.start - base) as u32..(old.end - base) as u32;
                let (own, others) = growths.split_at(own as usize);
                growths = others;
                offsets.push(Place { old, new_start: at + u32::from(width), enter }, own);
                at += u32::from(width) + size;
                code.sizes.push((size, width));
            }
            code.restore.extend(run.restore);
            code.labels.extend(run.labels);
            code.left_out.extend(run.left_out);
        }
        code.offsets = offsets;
        Ok(code)
    }

    fn measure_run(&self, run: Range<usize>) -> Result<Measured> {
        let mut measured = Measured {
            bodies: Vec::with_capacity(run.len()),
            growths: Vec::with_capacity(4 * run.len()),
            ..Default::default()
        };
        let mut scratch = Scratch { measures: true, ..Default::default() };
        for position in run {
            let body = self.body(position, &mut scratch)?;
            let size = scratch.size as u32;
            measured.bodies.push((size, body.size_width, body.enter, scratch.growths.len() as u32));
            measured.growths.extend_from_slice(&scratch.growths);
            if !body.restore.is_empty() {
                measured.restore.push((position as u32, body.restore));
            }
            if !body.labels.is_empty() {
                measured.labels.push((self.func(position).0, body.labels));
            }
            measured.left_out.extend(body.left_out.map(|why| (self.func(position), why)));
        }
        Ok(measured)
    }

    fn func(&self, position: usize) -> FuncIdx {
        FuncIdx((self.module.imported_funcs().len() + position) as u32)
    }

    fn body(&self, position: usize, scratch: &mut Scratch) -> Result<NewBody> {
        let (module, layout, func) = (self.module, self.layout, self.func(position));
        let catch_sites = layout.catch_sites.get(&func);
        let id = self.plan.contains(func).then(|| ProbeId(layout.func_map.place(func.0)));
        let pair = layout.pairs.get(&func).copied().unwrap_or_default();
        let has_hooks = id.is_some() || catch_sites.is_some() || pair != HookPair::Plain;
        let hooked = has_hooks.then(|| (id, layout.block_types[&module.type_index(func)]));
        let is_shared = module.is_shared(func);
        let plan = BodyPlan {
            hooked,
            catch_sites,
            pair,
            wrapper: layout.wrapper,
            memory_grow: layout.memory_grow && !is_shared,
            unreachable: !is_shared,
        };
        body::rewrite(module, func, &plan, &layout.code, &layout.func_map, scratch)
    }

    /// The total length of all bodies in bytes, size fields included.
    pub(super) fn len(&self) -> usize {
        self.sizes.iter().map(|size| with_field(*size)).chain(self.appended.iter().map(Vec::len)).sum()
    }

    /// Writes all bodies, with their size fields, and passes them to `see`, in order and in batches.
    pub(super) fn each<E>(&self, mut see: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        crate::parallel::fill(&self.runs, |run, bodies| self.write_run(run.clone(), bodies), &mut see)?;
        self.appended.iter().try_for_each(|body| see(body))
    }

    /// Passes all bodies to `see`, like [`Code::each`], if `see` cannot fail.
    pub(super) fn show(&self, see: &mut dyn FnMut(&[u8])) {
        let Ok(()) = self.each(|bodies| -> Result<(), Infallible> {
            see(bodies);
            Ok(())
        });
    }

    fn write_run(&self, run: Range<usize>, out: &mut Vec<u8>) {
        let mut scratch = Scratch::default();
        for position in run {
            self.body(position, &mut scratch).expect("the body was measured without an error");
            let (size, width) = self.sizes[position];
            write_leb(out, size, width);
            out.extend_from_slice(&scratch.bytes);
        }
    }
}

fn with_field((size, width): (u32, u8)) -> usize {
    size as usize + width as usize
}

/// The new count of the code section, and its width. If bodies are appended, the count has ordinal 1.
pub(super) fn code_count(count: usize, width: u8, trampolines: usize, widths: &mut Widths<'_>) -> (u32, u8) {
    let new = (count + trampolines) as u32;
    (new, if trampolines == 0 { width } else { widths.of(1, count as u32, width, new) })
}
