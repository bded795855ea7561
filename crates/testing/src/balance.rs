//! Oracle 6 of `docs/oracles.md`: enters and exits nest.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmparser::{Operator, Parser, Payload};
use wasmtrace::hook::{MANIFEST_SECTION, Manifest, OBSERVE, ProbeId, RECORDER};
use wasmtrace::module::{self, FuncIdx};
use wasmtrace::trace::span_builder::{Anomalies, Change, Span, SpanBuilder, SpanEnd, What};
use wasmtrace::trace::{Event, EventKind, RunOutcome};

use crate::host::{Call, Frame, World};

/// Theorem: entries and exits of one run nest. After a return every enter has its exit. After a trap or an exit the
/// open calls are the hooked frames of the backtrace, but for a frame whose own tail call trapped: that one is closed
/// already. A call that an exception unwinds is closed at that moment, or when the exception is caught. If nothing
/// catches it, the call stays open.
pub fn assert_balanced(hooked: &[u8], events: &[Event], call: &Call) {
    Known::of(hooked).assert_open(vec![assert_nested(hooked, events, &call.ending)], call, true, |_| true);
}

/// Theorem: entries and exits of one run nest. The backtrace is not compared. Returns the functions that were open at
/// the end, innermost first.
pub fn assert_nested(hooked: &[u8], events: &[Event], ending: &RunOutcome) -> Vec<u32> {
    let open = assert_nested_if(catches(hooked), false, events, ending);
    assert!(open.is_empty() || *ending != RunOutcome::Returned, "{open:?} are open after a return");
    open
}

/// `unseen`: exceptions of other modules may cross calls of this one, which catches none and does not see it.
fn assert_nested_if(catches: bool, unseen: bool, events: &[Event], ending: &RunOutcome) -> Vec<u32> {
    let mut open = Vec::new();
    let anomalies = fold_into(events, ending, |span| {
        if matches!(span.how, SpanEnd::Exited | SpanEnd::Trapped { .. }) {
            open.push(function(span.what));
        }
    });
    assert_eq!(anomalies.stray_exits, 0, "exits of functions that were not open");
    let crossed = events.iter().filter(|event| matches!(event.kind, EventKind::Unwound(_))).count() as u64;
    assert!(anomalies.unwound == crossed || unseen, "{} calls without an exit", anomalies.unwound - crossed);
    assert!(crossed == 0 || catches, "{crossed} calls are crossed by exceptions, in a module that knows none");
    open
}

/// Facts about an instrumented module that [`assert_balanced`] needs.
pub struct Known {
    wasm: Vec<u8>,
    probes: Vec<ProbeId>,
    catches: bool,
    /// Whether its functions tell when they have caught an exception, and not each that one crosses.
    reports_catches: bool,
    /// Whether it exits what is open before it leaves by itself.
    balanced: bool,
}

impl Known {
    pub fn of(hooked: &[u8]) -> Known {
        let reports_catches = module::parse(hooked).unwrap().imported_funcs().iter().any(|i| i.module == RECORDER);
        Known {
            wasm: hooked.to_vec(),
            probes: probes(hooked),
            catches: catches(hooked),
            reports_catches,
            balanced: is_balanced(hooked),
        }
    }

    /// What is open in the instances of this module is those frames of the backtrace that are `ours`. Which frame is of
    /// which instance the engine does not say, so that of several it is as many of each function. Unless all of them are
    /// `seen`, calls that an exception has crossed unseen may be open besides.
    fn assert_open(&self, instances: Vec<Vec<u32>>, call: &Call, seen: bool, ours: impl Fn(&Frame) -> bool) {
        let mut open = instances.concat();
        let hooked = |f: &&Frame| ours(f) && self.probes.binary_search(&ProbeId(f.func)).is_ok();
        let frames: Vec<&Frame> = call.frames.iter().filter(hooked).collect();
        let out_of_stack_here = call.out_of_stack() && call.frames.first().is_some_and(&ours);
        let closed_already = frames.first().is_some_and(|innermost| {
            // The stack may run out before a function's first operator, which is its ENTER.
            is_tail_call(&self.wasm, innermost) || out_of_stack_here && open.len() < frames.len()
        });
        let mut frames: Vec<u32> = frames[closed_already as usize..].iter().map(|f| f.func).collect();
        if instances.len() > 1 {
            open.sort_unstable();
            frames.sort_unstable();
        }
        let thrown = matches!(&call.ending, RunOutcome::Trapped(trap) if trap.code == "exception");
        let left = match &call.ending {
            RunOutcome::Exited(_) => true,
            RunOutcome::Trapped(trap) => trap.code.to_lowercase().starts_with("unreachable"),
            _ => false,
        };
        if self.balanced && left {
            assert_eq!(open, [0; 0], "what was open when it left is open");
        } else if thrown && self.catches && !self.reports_catches {
            assert_eq!(open, [0; 0], "what the exception crossed is open");
        } else if seen && (!thrown || !frames.is_empty()) {
            assert_eq!(open, frames, "the open calls are not the frames of the backtrace");
        } else {
            let mut rest = open.iter();
            assert!(frames.iter().all(|f| rest.any(|o| o == f)), "of the frames {frames:?} only {open:?} are open");
        }
    }
}

/// Theorem: if several instances call each other, entries and exits of each nest, and all open calls together are the
/// backtrace, module by module. `known` has an item for each instance.
pub fn assert_all_balanced(known: &[Arc<Known>], world: &World, call: &Call) {
    let throws = known.iter().any(|known| uses_exceptions(&known.wasm));
    let mut open: BTreeMap<usize, Vec<Vec<u32>>> = BTreeMap::new();
    for (at, known) in known.iter().enumerate() {
        let events = world.events(at);
        if events.is_empty() {
            open.entry(world.first_of_its_module(at)).or_default().push(Vec::new());
            continue;
        }
        // What is caught in another instance crosses calls here unseen, unless they tell; they are closed when their caller is.
        let unseen = throws && (!known.catches || known.reports_catches);
        let of_one = assert_nested_if(known.catches, unseen, events, &call.ending);
        assert!(
            of_one.is_empty() || unseen || call.ending != RunOutcome::Returned,
            "{of_one:?} are open after a return"
        );
        open.entry(world.first_of_its_module(at)).or_default().push(of_one);
    }
    if call.ending != RunOutcome::Returned {
        for (first, open) in open {
            known[first].assert_open(open, call, !throws, |frame| frame.instance == first);
        }
    }
}

/// A closed span: its subject, and how it ended.
pub struct Closed {
    pub what: What,
    pub how: SpanEnd,
}

/// The spans of a run in the order in which they were closed, the one that encloses all last.
pub fn fold(events: &[Event], ending: &RunOutcome) -> (Vec<Closed>, Anomalies) {
    let mut spans = Vec::new();
    let anomalies = fold_into(events, ending, |span| spans.push(Closed { what: span.what.clone(), how: span.how }));
    (spans, anomalies)
}

fn fold_into(events: &[Event], ending: &RunOutcome, mut closed: impl FnMut(&Span<'_>)) -> Anomalies {
    let mut fold = SpanBuilder::new();
    let mut tell = |change: &Change<'_>| {
        if let Change::Closed { span, .. } = change {
            closed(span);
        }
    };
    for event in events {
        fold.event(event, &mut tell);
    }
    fold.finish(fold.last(), ending, &mut tell);
    fold.anomalies().clone()
}

fn function(what: &What) -> u32 {
    match what {
        What::Call(probe) => probe.0,
        What::Manual(name) => panic!("nobody opened a span `{name}`"),
    }
}

/// The hooked functions of an instrumented module, from its Manifest.
pub fn probes(hooked: &[u8]) -> Vec<ProbeId> {
    let module = module::parse(hooked).unwrap();
    let Some(section) = module.custom(MANIFEST_SECTION) else { return Vec::new() };
    let manifest = Manifest::decode(&hooked[section.data.clone()], section.data.start).unwrap();
    manifest.probes.into_iter().map(|p| p.id).collect()
}

/// Whether hooks call functions of an exit guard instead of the host's.
pub fn is_balanced(hooked: &[u8]) -> bool {
    let module = module::parse(hooked).unwrap();
    let imported = module.imported_funcs().len() as u32;
    if module.imported_funcs().iter().all(|i| i.module != OBSERVE) {
        return false;
    }
    let body = probes(hooked).first().map(|probe| module.body(FuncIdx(probe.0)));
    body.is_some_and(|range| {
        let body = wasmparser::FunctionBody::new(wasmparser::BinaryReader::new(&hooked[range], 0));
        let second = body.get_operators_reader().unwrap().into_iter().nth(1);
        matches!(second, Some(Ok(Operator::Call { function_index })) if function_index >= imported)
    })
}

/// Whether the module catches exceptions: its own, or what an import throws.
fn catches(wasm: &[u8]) -> bool {
    any_operator(wasm, |operator| matches!(operator, Operator::TryTable { .. } | Operator::Try { .. }))
}

/// Whether it throws or catches any.
fn uses_exceptions(wasm: &[u8]) -> bool {
    any_operator(wasm, |operator| matches!(operator, Operator::Throw { .. } | Operator::ThrowRef)) || catches(wasm)
}

fn any_operator(wasm: &[u8], is: impl Fn(&Operator<'_>) -> bool) -> bool {
    Parser::new(0).parse_all(wasm).any(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => {
            body.get_operators_reader().unwrap().into_iter().any(|operator| is(&operator.unwrap()))
        }
        _ => false,
    })
}

/// Whether the instruction that a frame is at leaves the frame by a call: `return_call`, `return_call_indirect` or
/// `return_call_ref`.
fn is_tail_call(wasm: &[u8], frame: &Frame) -> bool {
    frame.offset.is_some_and(|at| matches!(wasm[at], 0x12 | 0x13 | 0x15))
}
