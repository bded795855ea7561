//! The operators of hooks, as bytes: what stands for "function `id` is entered" and "function `id` is left".

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
use frame::Frame;
use roles::Role;

/// The operators of one hook set in one module: indices are known, so the bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookCode {
    write: Write,
    memory_grow: u32,
    /// The function that exits all calls that are open, where there is one.
    exit_guard: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Write {
    /// Calls of these imports.
    Calls {
        enter: u32,
        exit: u32,
        /// Before a tail call.
        leave: u32,
    },
    Buffer(Buffer),
}

impl HookCode {
    /// The hooks of a set whose imports begin at function `first`, and whose buffer, if it has one, is that memory.
    pub(crate) fn new(set: HookSet, first: u32, memory: u32) -> Self {
        if set.has_buffer() {
            let threshold = set == HookSet::Threshold;
            let write = Write::Buffer(Buffer { memory, flush: first, threshold });
            HookCode { write, memory_grow: first + 1, exit_guard: None }
        } else {
            let write = Write::Calls { enter: first, exit: first + 1, leave: first + 1 };
            HookCode { write, memory_grow: first + 2, exit_guard: None }
        }
    }

    /// The same by way of functions that keep the calls that are open (see [`wasmtrace_instrument::rewrite::exit_guard`]), from index `first` on, and
    /// the module's spans if it opens any.
    pub(crate) fn guarded(self, first: u32, spans: bool) -> Self {
        let leave = if spans { LEAVE } else { 1 };
        let write = Write::Calls { enter: first, exit: first + 1, leave: first + leave };
        HookCode { write, exit_guard: Some(first + 2), ..self }
    }

    /// What stands before the module is left for good, if that is told: every call that is open is exited.
    pub(crate) fn exit_guard(&self) -> Vec<u8> {
        let mut code = Vec::new();
        if let Some(exit_guard) = self.exit_guard {
            InstructionSink::new(&mut code).call(exit_guard);
        }
        code
    }

    /// The function that exits all calls that are open, where there is one.
    pub(crate) fn exits_all(&self) -> Option<u32> {
        self.exit_guard
    }

    /// What stands around the call of an imported function that has a role: what is open is exited before one that leaves, a span
    /// that was opened is kept, and one is closed only if the host may hear of it.
    pub(crate) fn around(&self, role: Role) -> (Vec<u8>, Vec<u8>) {
        let (Some(_), Write::Calls { enter, .. }) = (self.exit_guard, self.write) else { return Default::default() };
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        match role {
            Role::Leaves => before = self.exit_guard(),
            Role::Opens => _ = InstructionSink::new(&mut before).call(enter + OPENING),
            // call $closing  if  …  call $settle  end
            Role::Closes => {
                InstructionSink::new(&mut before).call(enter + CLOSING).if_(BlockType::Empty);
                InstructionSink::new(&mut behind).call(enter + SETTLE).end();
            }
        }
        (before, behind)
    }

    /// Whether a function that catches says so where it does ([`HookCode::caught`]). Where it cannot, each function that an
    /// exception crosses has to tell.
    pub(crate) fn reports_catches(&self) -> bool {
        matches!(self.write, Write::Buffer(_))
    }

    /// How many locals of type `i32` a hooked body needs.
    pub(crate) fn locals(&self, catches: bool) -> u32 {
        match self.write {
            Write::Calls { .. } => 0,
            Write::Buffer(_) => 1 + catches as u32,
        }
    }

    /// How many labels ENTER and EXIT open and close inside of themselves. Of CAUGHT it is as many as of ENTER.
    pub(crate) fn labels(&self) -> (u32, u32) {
        match self.write {
            Write::Calls { .. } => (0, 0),
            Write::Buffer(buffer) => (1, 1 + buffer.threshold as u32),
        }
    }

    /// The function is entered: `i32.const id; call $enter` in the Observe set.
    pub(crate) fn enter(&self, frame: Frame) -> Vec<u8> {
        let mut code = Vec::new();
        self.enter_to(frame, &mut code);
        code
    }

    /// Appends that.
    pub(crate) fn enter_to(&self, frame: Frame, out: &mut Vec<u8>) {
        match &self.write {
            Write::Calls { enter, .. } => frame.call(*enter, out),
            Write::Buffer(buffer) => out.extend(buffer.enter(frame)),
        }
    }

    /// It is left: `i32.const id; call $exit`. Leaves everything on the operand stack where it is, as all of these do.
    pub(crate) fn exit(&self, frame: Frame) -> Vec<u8> {
        let mut code = Vec::new();
        self.exit_to(frame, &mut code);
        code
    }

    /// Appends that.
    pub(crate) fn exit_to(&self, frame: Frame, out: &mut Vec<u8>) {
        match &self.write {
            Write::Calls { exit, .. } => frame.call(*exit, out),
            Write::Buffer(buffer) => out.extend(buffer.exit(frame)),
        }
    }

    /// It is left by a tail call: what it does goes on in another.
    pub(crate) fn leave(&self, frame: Frame) -> Vec<u8> {
        match &self.write {
            Write::Calls { leave, .. } => {
                let mut code = Vec::new();
                frame.call(*leave, &mut code);
                code
            }
            Write::Buffer(_) => self.exit(frame),
        }
    }

    /// It may have caught an exception. Nothing where functions tell for themselves that they are crossed.
    pub(crate) fn caught(&self, frame: Frame) -> Vec<u8> {
        match &self.write {
            Write::Calls { .. } => Vec::new(),
            Write::Buffer(buffer) => buffer.caught(frame),
        }
    }

    /// `local.tee scratch; call $memory-grow; local.get scratch`: the requested pages are reported, and stay.
    pub(crate) fn memory_grow(&self, scratch: u32) -> Vec<u8> {
        let mut code = Vec::new();
        InstructionSink::new(&mut code).local_tee(scratch).call(self.memory_grow).local_get(scratch);
        code
    }
}

/// What the functions are called that are there for the hooks. (Not those that are many.)
pub(crate) fn hook_names(hooks: HookSet, imported: u32, exit_guard: Option<&ExitGuard>) -> Vec<(u32, String)> {
    let imports = hooks.imports().iter().map(|i| format!("{}.{}", i.module, i.name));
    let own = exit_guard.into_iter().flat_map(ExitGuard::names);
    (imported..).zip(imports).chain(own).collect()
}
