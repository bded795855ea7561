//! What the check says of bodies: a hook is where it belongs, once, and nowhere else.
//!
//! ```text
//! body   enter │ local.get │ enter'│ call $f │ exit │ end       a hook more, of this body or of another one
//! body   enter │ local.get │       │ call $f │      │ end       operators less
//! ```
//!
//! Each output is changed at every boundary of operators. It must then be refused, since it is not the original plus hooks
//! any more; what is refused because it is no module at all does not count.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use testing::Case;
use wasm_encoder::Encode;
use wasmparser::{Operator, Parser, Payload};
use wasmtrace::hook::{HookSet, Manifest};
use wasmtrace::inserted::Inserted;
use wasmtrace::{ErrorKind, module, verify};

/// Longer outputs are repetition.
const LONGEST: usize = 900;

/// A program that leaves with calls open, and calls that change what is open.
const LEAVES: &str = r#"(module
    (import "dylibso:observe/api" "span-enter" (func $open (param i32 i32)))
    (import "dylibso:observe/api" "span-exit" (func $close))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (memory 1)
    (func (export "_start") (call $open (i32.const 7) (i32.const 6)) (call $f) (call $close) unreachable)
    (func $f (call $g))
    (func $g (call $exit (i32.const 3))))"#;

/// Two memories, of which only one's growth is reported.
const GROWS: &str = "(module (memory 1) (memory 1)
    (func (drop (memory.grow 0 (i32.const 1))) (drop (memory.grow 1 (i32.const 1)))))";

/// The bodies of a module, each with the offsets at which its operators begin, and its end.
struct Bodies<'w> {
    wasm: &'w [u8],
    /// The code section with its id and size.
    section: Range<usize>,
    bodies: Vec<(Range<usize>, Vec<usize>)>,
}

impl<'w> Bodies<'w> {
    fn of(wasm: &'w [u8]) -> Self {
        let mut found = Bodies { wasm, section: 0..0, bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                let operators = body.get_operators_reader().unwrap();
                let begins = operators.into_iter_with_offsets().map(|read| read.unwrap().1);
                let begins = begins.chain([body.range().end]).collect();
                found.bodies.push((body.range(), begins));
            }
        }
        let module = module::parse(wasm).unwrap();
        found.section = module.sections().iter().find(|s| s.id == 10).map_or(0..0, |s| s.whole.clone());
        found
    }

    /// The module with other bytes in one place of one body.
    fn with(&self, position: usize, place: Range<usize>, bytes: &[u8]) -> Vec<u8> {
        let mut section = Vec::new();
        (self.bodies.len() as u32).encode(&mut section);
        for (i, (body, _)) in self.bodies.iter().enumerate() {
            match i == position {
                true => {
                    let (before, behind) = (&self.wasm[body.start..place.start], &self.wasm[place.end..body.end]);
                    [before, bytes, behind].concat().as_slice().encode(&mut section);
                }
                false => self.wasm[body.clone()].encode(&mut section),
            }
        }
        let mut wasm = self.wasm[..self.section.start].to_vec();
        wasm.push(10);
        section.as_slice().encode(&mut wasm);
        wasm.extend_from_slice(&self.wasm[self.section.end..]);
        wasm
    }

    /// The operator that begins at an offset.
    fn operator(&self, at: usize) -> Option<Operator<'w>> {
        let mut reader = wasmparser::OperatorsReader::new(wasmparser::BinaryReader::new(self.wasm.get(at..)?, at));
        reader.read().ok()
    }
}

/// The hooks of a module in bytes, what stands before each `memory.grow`, and for the Observe set each hook with each id.
fn hooks(bodies: &Bodies<'_>, set: HookSet, manifest: &Manifest, first: u32) -> BTreeSet<Vec<u8>> {
    let wasm = bodies.wasm;
    let module = module::parse(wasm).unwrap();
    let inserted = Inserted::new(&module);
    let ranges = module.defined_funcs().flat_map(|func| inserted.of(func));
    let mut hooks: BTreeSet<Vec<u8>> =
        ranges.map(|range| wasm[range.start as usize..range.end as usize].to_vec()).collect();
    for (_, begins) in &bodies.bodies {
        for before in begins.windows(5).filter(|w| matches!(bodies.operator(w[4]), Some(Operator::MemoryGrow { .. }))) {
            hooks.extend(before[..4].iter().map(|from| wasm[*from..before[4]].to_vec()));
        }
    }
    if set == HookSet::Observe {
        for (hook, probe) in (0..2).flat_map(|hook| manifest.probes.iter().map(move |probe| (hook, probe))) {
            let mut call = vec![0x41];
            (probe.id.0 as i32).encode(&mut call);
            call.push(0x10);
            (first + hook).encode(&mut call);
            hooks.insert(call);
        }
    }
    hooks
}

/// Calls `check` with each output: its name, the original, the output, its hook set and Manifest, and its first hook.
fn for_each_output(check: impl Fn(&str, &[u8], &[u8], HookSet, &Manifest, u32) + Sync) {
    let own = [("leaves", LEAVES), ("grows", GROWS)];
    let case =
        |(name, text): (&str, &str)| Case { name: name.into(), wasm: wat::parse_str(text).unwrap(), not_run: None };
    let cases = testing::shapes().into_iter().chain(own.map(case)).collect();
    testing::for_each(cases, |case| {
        let imported = module::parse(&case.wasm).unwrap().imported_funcs().len() as u32;
        for out in testing::hooked_with_each(&case.wasm) {
            let Some(manifest) = &out.manifest else { continue };
            if out.wasm.len() <= LONGEST || own.iter().any(|(name, _)| *name == case.name) {
                check(&case.name, &case.wasm, &out.wasm, manifest.hooks, manifest, imported);
            }
        }
    });
}

/// Theorem: a hook where none belongs is found, whichever it is and wherever it is, also twice in its own place.
#[test]
fn no_hook_stands_where_none_belongs() {
    let refused = AtomicUsize::new(0);
    for_each_output(|name, original, wasm, set, manifest, first| {
        let bodies = Bodies::of(wasm);
        let hooks = hooks(&bodies, set, manifest, first);
        for (position, (_, begins)) in bodies.bodies.iter().enumerate() {
            for (at, hook) in begins.iter().flat_map(|at| hooks.iter().map(move |hook| (*at, hook))) {
                let found = verify::verify(original, &bodies.with(position, at..at, hook));
                let refusal = found.expect_err(&format!("{name}, {set:?}: {hook:x?} at {at:#x} of body {position}"));
                refused.fetch_add((refusal.kind() == ErrorKind::Verify) as usize, Ordering::Relaxed);
            }
        }
    });
    assert!(refused.into_inner() > 10_000);
}

/// Up to so many operators are left out.
const MOST: usize = 8;

/// Theorem: operators of an output that are missing are missed.
#[test]
fn no_operators_are_missing_unnoticed() {
    let refused = AtomicUsize::new(0);
    for_each_output(|name, original, wasm, set, _, _| {
        let bodies = Bodies::of(wasm);
        for (position, (_, begins)) in bodies.bodies.iter().enumerate() {
            for (i, length) in (0..begins.len()).flat_map(|i| (1..=MOST).map(move |length| (i, length))) {
                let (Some(from), Some(to)) = (begins.get(i), begins.get(i + length)) else { continue };
                // That `memory.grow` reports, and that a trap exits what is open, is not asked for.
                if matches!(bodies.operator(*to), Some(Operator::MemoryGrow { mem: 0 } | Operator::Unreachable)) {
                    continue;
                }
                let found = verify::verify(original, &bodies.with(position, *from..*to, &[]));
                let refusal = found.expect_err(&format!("{name}, {set:?}: {from:#x} to {to:#x} of body {position}"));
                refused.fetch_add((refusal.kind() == ErrorKind::Verify) as usize, Ordering::Relaxed);
            }
        }
    });
    assert!(refused.into_inner() > 1_000);
}
