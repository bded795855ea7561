//! Oracle 5 of `docs/oracles.md`: hooks do not change results.

use wasmtrace::hook::ProbeId;
use wasmtrace::module::{self, FuncIdx, Module};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::trace::{Event, EventKind, RunOutcome, Trap};

use crate::balance::probes;
use crate::host::{Call, Frame, Session};

/// Theorem: a call ends with hooks as it does without (returned values, kind of trap, exit code), at the same
/// instructions of the same functions, with the same globals, memories and tables.
pub fn assert_same_call(
    export: &str,
    original: &[u8],
    out: &Rewritten,
    (plain, before): (&mut Session, &Call),
    (hooked, after): (&mut Session, &Call),
) {
    assert_same_end(export, original, out, before, after);
    assert_eq!(hooked.state(), plain.state(), "`{export}` leaves something else behind");
}

/// Theorem: a call ends with hooks as it does without. Globals, memories and tables are not compared.
pub fn assert_same_end(export: &str, original: &[u8], out: &Rewritten, before: &Call, after: &Call) {
    // In the Observe set an exception that nobody catches is thrown on by every frame that it crosses: it ends in the outermost.
    let has_buffer = out.manifest.as_ref().is_some_and(|manifest| manifest.buffer.is_some());
    if has_buffer || !is_exception(&before.ending) {
        // Functions of the hooks' own stand behind the original's: those that leave for it.
        let functions = module::parse(original).unwrap().func_count() + hooks_imported(original, &out.wasm);
        let mut frames = after.frames.clone();
        frames.retain(|frame| frame.func < functions);
        let [expected, frames] = [(moved(original, out, &before.frames), before), (frames, after)].map(comparable);
        assert_eq!(frames, expected, "`{export}` ends elsewhere");
    }
    assert_eq!(without_frames(&after.ending), without_frames(&before.ending), "`{export}` ends otherwise");
    assert_eq!(after.returned, before.returned, "`{export}` returns something else");
}

/// Events in a form that is the same for all hook sets and engines. Times are omitted, and a function is given by its
/// position among the hooked functions. Not every hook set reports the end of a call that is open at the end of the
/// run, so exits are added for these calls.
pub fn by_rank(out: &Rewritten, events: &[Event]) -> Vec<String> {
    let probes = probes(&out.wasm);
    let rank = |id: &ProbeId| probes.binary_search(id).expect("only hooked functions are seen");
    let mut open = Vec::new();
    let mut one = |event: &Event| match &event.kind {
        EventKind::Enter(id) => {
            open.push(rank(id));
            format!("enter {}", rank(id))
        }
        EventKind::Exit(id) | EventKind::Unwound(id) => {
            assert_eq!(open.pop(), Some(rank(id)), "what ends is not what is innermost");
            format!("exit {}", rank(id))
        }
        other => format!("{other:?}"),
    };
    let mut seen: Vec<String> = events.iter().map(&mut one).collect();
    seen.extend(open.iter().rev().map(|rank| format!("exit {rank}")));
    seen
}

fn is_exception(ending: &RunOutcome) -> bool {
    matches!(ending, RunOutcome::Trapped(trap) if trap.code == "exception")
}

fn without_frames(ending: &RunOutcome) -> RunOutcome {
    match ending {
        RunOutcome::Trapped(trap) => RunOutcome::Trapped(Trap { frames: Vec::new(), ..trap.clone() }),
        other => other.clone(),
    }
}

/// The frames, without what wasmtime does not always know: where one load gives the address of the next it may compile both
/// into one, and then reports the second where the first is out of bounds.
fn comparable((mut frames, call): (Vec<Frame>, &Call)) -> Vec<Frame> {
    if matches!(&call.ending, RunOutcome::Trapped(trap) if trap.code == "MemoryOutOfBounds") {
        frames.iter_mut().take(1).for_each(|innermost| innermost.offset = None);
    }
    frames
}

/// Frames of the original as the hooked module must have them: the same instructions of the same functions.
fn moved(original: &[u8], out: &Rewritten, frames: &[Frame]) -> Vec<Frame> {
    let [before, after] = [original, &out.wasm].map(|wasm| module::parse(wasm).unwrap());
    let code = |module: &Module<'_>| {
        module.sections().iter().find(|s| s.id == 10).expect("there is a frame, so there is code").contents.start
    };
    let moved = |frame: &Frame| {
        let offset = frame.offset.map(|offset| {
            let old = (offset - code(&before)) as u32;
            out.offsets.instruction(old).expect("the instruction is somewhere") as usize + code(&after)
        });
        Frame { func: moved_function(&before, &after, frame.func), offset, ..*frame }
    };
    frames.iter().map(moved).collect()
}

fn hooks_imported(original: &[u8], hooked: &[u8]) -> u32 {
    let [original, hooked] = [original, hooked].map(|wasm| module::parse(wasm).unwrap().imported_funcs().len() as u32);
    hooked - original
}

/// The index of a function in the instrumented module, where the hooks' imports follow the original's.
pub fn moved_function(original: &Module<'_>, hooked: &Module<'_>, func: u32) -> u32 {
    let hooks = hooked.imported_funcs().len() - original.imported_funcs().len();
    if original.is_defined(FuncIdx(func)) { func + hooks as u32 } else { func }
}
