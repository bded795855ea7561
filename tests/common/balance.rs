//! Oracle 6 of `docs/oracles.md`: enters and exits nest.

use wasmparser::{Operator, Parser, Payload};
use wasmtrace::hook::{MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::module;
use wasmtrace::trace::fold::{Change, End, Fold, Irregular, What};
use wasmtrace::trace::{Ending, Event, EventKind};

use super::host::{Call, Frame};

/// Theorem: what the hooks of one run see nests. After a return every enter has its exit. After a trap or an exit the
/// open calls are the hooked frames of the backtrace, but for a frame whose own tail call trapped: that one is closed
/// already. What an exception crosses is closed at that moment, but in a module that catches none.
pub fn assert_balanced(hooked: &[u8], events: &[Event], call: &Call) {
    let open = assert_nested(hooked, events, &call.ending);
    let probes = probes(hooked);
    let frames: Vec<&Frame> = call.frames.iter().filter(|f| probes.contains(&ProbeId(f.func))).collect();
    let closed_already = frames.first().is_some_and(|innermost| {
        // The stack may run out before a function's first operator, which is its ENTER.
        is_tail_call(hooked, innermost) || call.out_of_stack() && open.len() < frames.len()
    });
    let frames: Vec<u32> = frames[closed_already as usize..].iter().map(|f| f.func).collect();
    let thrown = matches!(&call.ending, Ending::Trapped(trap) if trap.code == "exception");
    if thrown && catches(hooked) {
        assert_eq!(open, [0; 0], "what the exception crossed is open");
    } else if !thrown || !frames.is_empty() {
        assert_eq!(open, frames, "the open calls are not the frames of the backtrace");
    }
}

/// The same without a look at the backtrace. Returns the functions that were open at the end, innermost first.
pub fn assert_nested(hooked: &[u8], events: &[Event], ending: &Ending) -> Vec<u32> {
    let (spans, irregular) = fold(events, ending);
    assert_eq!(irregular.stray_exits, 0, "exits of functions that were not open");
    let crossed = events.iter().filter(|event| matches!(event.kind, EventKind::Unwound(_))).count() as u64;
    assert_eq!(irregular.unwound - crossed, 0, "calls without an exit");
    assert!(crossed == 0 || catches(hooked), "{crossed} calls are crossed by exceptions, in a module that knows none");
    let cut_off = |s: &&Closed| matches!(s.how, End::Exited | End::Trapped { .. });
    let open: Vec<u32> = spans.iter().filter(cut_off).map(function).collect();
    assert!(open.is_empty() || *ending != Ending::Returned, "{open:?} are open after a return");
    open
}

/// What is kept of a span.
pub struct Closed {
    pub what: What,
    pub how: End,
}

/// The spans of a run in the order in which they were closed, the one that encloses all last.
pub fn fold(events: &[Event], ending: &Ending) -> (Vec<Closed>, Irregular) {
    let mut fold = Fold::new();
    let mut spans = Vec::new();
    let mut tell = |change: &Change<'_>| {
        if let Change::Closed { span, .. } = change {
            spans.push(Closed { what: span.what.clone(), how: span.how });
        }
    };
    for event in events {
        fold.event(event, &mut tell);
    }
    fold.finish(fold.last(), ending, &mut tell);
    let irregular = fold.irregular().clone();
    (spans, irregular)
}

fn function(span: &Closed) -> u32 {
    match &span.what {
        What::Call(probe) => probe.0,
        What::Manual(name) => panic!("nobody opened a span `{name}`"),
    }
}

/// The functions that a hooked module says are hooked.
pub fn probes(hooked: &[u8]) -> Vec<ProbeId> {
    let module = module::parse(hooked).unwrap();
    let Some(section) = module.custom(MANIFEST_SECTION) else { return Vec::new() };
    let manifest = Manifest::decode(&hooked[section.data.clone()], section.data.start).unwrap();
    manifest.probes.into_iter().map(|p| p.id).collect()
}

/// Whether the module catches exceptions: its own, or what an import throws.
fn catches(wasm: &[u8]) -> bool {
    Parser::new(0).parse_all(wasm).any(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => body
            .get_operators_reader()
            .unwrap()
            .into_iter()
            .any(|operator| matches!(operator.unwrap(), Operator::TryTable { .. } | Operator::Try { .. })),
        _ => false,
    })
}

/// Whether the instruction that a frame is at leaves the frame by a call: `return_call`, `return_call_indirect` or
/// `return_call_ref`.
fn is_tail_call(wasm: &[u8], frame: &Frame) -> bool {
    frame.offset.is_some_and(|at| matches!(wasm[at], 0x12 | 0x13 | 0x15))
}
