//! Encodes hooks as bytes: the operators that report "function `id` is entered" and "function `id` is left".

use wasm_encoder::{BlockType, InstructionSink};
use wasmtrace_abi::hook::HookSet;

mod buffer;
pub(crate) mod catch_sites;
pub(crate) mod exit_guard;
pub(crate) mod frame;
pub(crate) mod roles;
pub(crate) mod trampoline;
pub(crate) mod wrapper;

use buffer::Buffer;
use exit_guard::{CLOSING, ExitGuard, LEAVE, OPENING, SETTLE};
use frame::{Frame, HookPair};
use roles::Role;
use wasmtrace_abi::component::cause;

/// The hooks of one hook set in one module. All indices are known, so the bytes are fixed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookCode {
    write: Write,
    /// The import that is told of `memory.grow`, if the hook set has one.
    memory_grow: Option<u32>,
    /// The pairs of hooks that the hook set has.
    pairs: &'static [HookPair],
    /// What is called before the module is left for good.
    ending: Ending,
}

/// What is called before the module is left for good: by `unreachable`, or by an import that does not return.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Nothing,
    /// The function that exits all open calls, in a module with an exit guard.
    ExitAll(u32),
    /// The import `flush` of the set `component`.
    Flush(u32),
}

#[derive(Debug, Clone, Copy)]
enum Write {
    /// The hooks call these functions.
    Calls {
        enter: u32,
        exit: u32,
        /// Called before a tail call.
        leave: u32,
    },
    Buffer(Buffer),
}

impl HookCode {
    /// The hooks of `set`. Its imports start at function `first`; `memory` is the index of its buffer, if it has one.
    pub(crate) fn new(set: HookSet, first: u32, memory: u32) -> Self {
        let calls = Write::Calls { enter: first, exit: first + 1, leave: first + 1 };
        let buffer = |threshold| Write::Buffer(Buffer { memory, flush: first, threshold });
        let (write, memory_grow) = match set {
            HookSet::Buffer => (buffer(false), Some(first + 1)),
            HookSet::Threshold => (buffer(true), Some(first + 1)),
            HookSet::Component => (calls, None),
            _ => (calls, Some(first + 2)),
        };
        use HookPair::{Lifted, Plain, Quiet};
        let (pairs, ending): (&[HookPair], _) = match set {
            HookSet::Component => (&[Plain, Quiet, Lifted], Ending::Flush(first + set.imports().len() as u32 - 1)),
            _ => (&[Plain], Ending::Nothing),
        };
        HookCode { write, memory_grow, pairs, ending }
    }

    /// The hooks of a module with an exit guard (see [`crate::hooks::exit_guard`]). They call the guard's functions,
    /// which start at index `first`, instead of the imports. `spans` says whether the guard also keeps the module's
    /// own spans.
    pub(crate) fn guarded(self, first: u32, spans: bool) -> Self {
        let leave = if spans { LEAVE } else { 1 };
        let write = Write::Calls { enter: first, exit: first + 1, leave: first + leave };
        HookCode { write, ending: Ending::ExitAll(first + 2), ..self }
    }

    /// The hook before `unreachable`: the exit guard exits all open calls, or the hook module hands over its events.
    /// Empty if the hook set has none.
    pub(crate) fn unreachable(&self) -> Vec<u8> {
        let mut code = Vec::new();
        let mut sink = InstructionSink::new(&mut code);
        match self.ending {
            Ending::Nothing => {}
            Ending::ExitAll(exit_guard) => _ = sink.call(exit_guard),
            Ending::Flush(flush) => _ = sink.i32_const(cause::UNREACHABLE).call(flush),
        }
        code
    }

    /// Whether `unreachable` has a hook.
    pub(crate) fn has_unreachable(&self) -> bool {
        !matches!(self.ending, Ending::Nothing)
    }

    /// The operators before and after the call of an imported function with a role. If the import leaves the module,
    /// all open calls are exited before it. If the import opens a span, the guard records the span. If the import
    /// closes a span, it is only called if the host may learn of the exit now. In the set `component`, events are handed
    /// over.
    pub(crate) fn around(&self, role: Role) -> (Vec<u8>, Vec<u8>) {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        let (mut sink, mut sink_behind) = (InstructionSink::new(&mut before), InstructionSink::new(&mut behind));
        if let Ending::Flush(flush) = self.ending {
            match role {
                Role::Exits => {
                    let shifted = sink.local_get(0).i32_const(cause::CODE).i32_shl();
                    shifted.i32_const(cause::EXIT).i32_or().call(flush);
                }
                Role::Calls => {
                    sink.i32_const(cause::CALL).call(flush);
                    sink_behind.i32_const(cause::BACK).call(flush);
                }
                Role::Leaves | Role::Opens | Role::Closes => {}
            }
            return (before, behind);
        }
        let (Ending::ExitAll(exit_guard), Write::Calls { enter, .. }) = (self.ending, self.write) else {
            return Default::default();
        };
        match role {
            Role::Leaves => _ = sink.call(exit_guard),
            Role::Exits | Role::Calls => {}
            Role::Opens => _ = sink.call(enter + OPENING),
            // call $closing  if  …  call $settle  end
            Role::Closes => {
                sink.call(enter + CLOSING).if_(BlockType::Empty);
                sink_behind.call(enter + SETTLE).end();
            }
        }
        (before, behind)
    }

    /// The pairs of hooks that the hook set has, the plain one first.
    pub(crate) fn pairs(&self) -> &'static [HookPair] {
        self.pairs
    }

    /// Whether a function that catches exceptions reports its catches ([`HookCode::caught`]). Otherwise, each function
    /// that an exception crosses must report its own exit.
    pub(crate) fn reports_catches(&self) -> bool {
        matches!(self.write, Write::Buffer(_))
    }

    /// The number of `i32` locals that a hooked body needs for its hooks.
    pub(crate) fn locals(&self, catches: bool) -> u32 {
        match self.write {
            Write::Calls { .. } => 0,
            Write::Buffer(_) => 1 + catches as u32,
        }
    }

    /// The numbers of labels that ENTER and EXIT open and close. CAUGHT has as many labels as ENTER.
    pub(crate) fn labels(&self) -> (u32, u32) {
        match self.write {
            Write::Calls { .. } => (0, 0),
            Write::Buffer(buffer) => (1, 1 + buffer.threshold as u32),
        }
    }

    /// The entry hook. In the Observe set: `i32.const id; call $enter`.
    pub(crate) fn enter(&self, frame: Frame) -> Vec<u8> {
        let mut code = Vec::new();
        self.enter_to(frame, &mut code);
        code
    }

    /// Appends the entry hook to `out`.
    pub(crate) fn enter_to(&self, frame: Frame, out: &mut Vec<u8>) {
        match &self.write {
            Write::Calls { enter, .. } => frame.call(*enter, out),
            Write::Buffer(buffer) => out.extend(buffer.enter(frame)),
        }
    }

    /// The exit hook: `i32.const id; call $exit`. Like all hooks, it leaves the operand stack unchanged.
    pub(crate) fn exit(&self, frame: Frame) -> Vec<u8> {
        let mut code = Vec::new();
        self.exit_to(frame, &mut code);
        code
    }

    /// Appends the exit hook to `out`.
    pub(crate) fn exit_to(&self, frame: Frame, out: &mut Vec<u8>) {
        match &self.write {
            Write::Calls { exit, .. } => frame.call(*exit, out),
            Write::Buffer(buffer) => out.extend(buffer.exit(frame)),
        }
    }

    /// The exit hook before a tail call, which continues in another function.
    pub(crate) fn leave(&self, frame: Frame) -> Vec<u8> {
        match &self.write {
            Write::Calls { leave, .. } => {
                let mut code = Vec::new();
                // A lifted function has not returned yet: its callee has.
                let pair = if frame.pair == HookPair::Lifted { HookPair::Plain } else { frame.pair };
                Frame { pair, ..frame }.call(*leave, &mut code);
                code
            }
            Write::Buffer(_) => self.exit(frame),
        }
    }

    /// The report that a function may have caught an exception. Empty if the hook set does not report catches.
    pub(crate) fn caught(&self, frame: Frame) -> Vec<u8> {
        match &self.write {
            Write::Calls { .. } => Vec::new(),
            Write::Buffer(buffer) => buffer.caught(frame),
        }
    }

    /// The hook before `memory.grow`: `local.tee scratch; call $memory-grow; local.get scratch`. Reports the requested
    /// number of pages and leaves it on the operand stack. Empty if the hook set does not report growth.
    pub(crate) fn memory_grow(&self, scratch: u32) -> Vec<u8> {
        let mut code = Vec::new();
        if let Some(memory_grow) = self.memory_grow {
            InstructionSink::new(&mut code).local_tee(scratch).call(memory_grow).local_get(scratch);
        }
        code
    }

    /// Whether the hook set reports `memory.grow`.
    pub(crate) fn reports_growth(&self) -> bool {
        self.memory_grow.is_some()
    }
}

/// The names of the hook imports and of the exit guard's functions, by index. Trampolines and thunks are not included.
pub(crate) fn hook_names(hooks: HookSet, imported: u32, exit_guard: Option<&ExitGuard>) -> Vec<(u32, String)> {
    let imports = hooks.imports().iter().map(|i| format!("{}.{}", i.module, i.name));
    let own = exit_guard.into_iter().flat_map(ExitGuard::names);
    (imported..).zip(imports).chain(own).collect()
}
