//! The contract between what the compiler writes and what a host reads.
//!
//! A *hook set* says which functions a hooked module imports and which operators stand for "function `id` is entered"
//! and "function `id` is left"; nothing else differs between hook sets. The [`Manifest`], a custom section, makes a
//! hooked module self-describing: which probe id means which function, where its source stands, what the input was,
//! and what has to be known to take the hooks out again.

use wasm_encoder::Encode;

use crate::rewrite::balance::{Role, spans};

pub mod buffer;
mod manifest;

use buffer::Buffer;
pub(crate) use manifest::{BodyRestore, Fate};
pub use manifest::{BufferPlace, MANIFEST_SECTION, Manifest, Probe, Restore};

/// What a hook says about which function: in the Observe ABI the function's index in the rewritten module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// Which hooks are written into a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HookSet {
    /// Calls of the host, as every host of the Observe ABI speaks them: `enter`, `exit` and `memory-grow`, each
    /// `(i32) -> ()`, imported from `dylibso:observe/instrument`.
    #[default]
    Observe,
    /// Events are written into a memory of their own (see [`buffer`]), and the host is called when that is full. Imports
    /// `flush-words: () -> ()` and `memory-grow: (i32) -> ()` from `wasmtrace:recorder`.
    Buffer,
    /// The same, but calls below a duration that made no longer ones are counted only. Its `flush` is called
    /// `flush-counted`: a host that does not know counters does not run such a module.
    Threshold,
}

/// A function that a hook set imports: `() -> ()` or `(i32) -> ()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookImport {
    /// Where it is imported from.
    pub module: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Whether it takes an `i32`.
    pub takes_i32: bool,
}

/// Module of the hooks of the Observe ABI.
pub const OBSERVE: &str = "dylibso:observe/instrument";
/// Module of the manual API of the Observe ABI.
pub const OBSERVE_API: &str = "dylibso:observe/api";
/// Module of both in older generations of the ABI, where hooks are called `instrument_…`.
pub const OBSERVE_OLD: &str = "dylibso_observe";
/// Module of the functions that the buffer's hook sets import.
pub const RECORDER: &str = "wasmtrace:recorder";
/// What `flush-words` was called while each event had a second word for its time: such modules have to be hooked anew.
pub const FLUSH_OF_OLD: &str = "flush";

/// Every hook set.
pub const HOOK_SETS: [HookSet; 3] = [HookSet::Observe, HookSet::Buffer, HookSet::Threshold];

impl HookSet {
    /// The name on the command line and in the Manifest.
    pub fn name(self) -> &'static str {
        match self {
            HookSet::Observe => "observe",
            HookSet::Buffer => "buffer",
            HookSet::Threshold => "threshold",
        }
    }

    /// The hook set of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        HOOK_SETS.into_iter().find(|set| set.name() == name)
    }

    /// What is imported, in the order in which it is appended to the module's own imports.
    pub fn imports(self) -> &'static [HookImport] {
        match self {
            HookSet::Observe => &[
                HookImport { module: OBSERVE, name: "enter", takes_i32: true },
                HookImport { module: OBSERVE, name: "exit", takes_i32: true },
                HookImport { module: OBSERVE, name: "memory-grow", takes_i32: true },
            ],
            HookSet::Buffer => &[
                HookImport { module: RECORDER, name: "flush-words", takes_i32: false },
                HookImport { module: RECORDER, name: "memory-grow", takes_i32: true },
            ],
            HookSet::Threshold => &[
                HookImport { module: RECORDER, name: "flush-counted", takes_i32: false },
                HookImport { module: RECORDER, name: "memory-grow", takes_i32: true },
            ],
        }
    }

    /// Whether the guest records into a memory of its own.
    pub fn has_buffer(self) -> bool {
        self != HookSet::Observe
    }
}

/// Whether an imported function is a hook, in any generation of the ABI.
pub fn is_hook_import(module: &str, name: &str) -> bool {
    match module {
        OBSERVE => matches!(name, "enter" | "exit" | "memory-grow"),
        OBSERVE_OLD => matches!(name, "instrument_enter" | "instrument_exit" | "instrument_memory_grow"),
        RECORDER => matches!(name, "flush-words" | "flush-counted" | "flush" | "memory-grow"),
        _ => false,
    }
}

/// The operators of one hook set in one module: indices are known, so the bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookCode {
    write: Write,
    memory_grow: u32,
    /// The function that exits all calls that are open, where there is one.
    balance: Option<u32>,
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
        match set {
            HookSet::Observe => {
                let write = Write::Calls { enter: first, exit: first + 1, leave: first + 1 };
                HookCode { write, memory_grow: first + 2, balance: None }
            }
            HookSet::Buffer | HookSet::Threshold => {
                let threshold = set == HookSet::Threshold;
                let write = Write::Buffer(Buffer { memory, flush: first, threshold });
                HookCode { write, memory_grow: first + 1, balance: None }
            }
        }
    }

    /// The same by way of functions that keep the calls that are open (see [`crate::rewrite::balance`]), from index `first` on, and
    /// the module's spans if it opens any.
    pub(crate) fn balanced(self, first: u32, spans: bool) -> Self {
        let leave = if spans { spans::LEAVE } else { 1 };
        let write = Write::Calls { enter: first, exit: first + 1, leave: first + leave };
        HookCode { write, balance: Some(first + 2), ..self }
    }

    /// What stands before the module is left for good, if that is told: every call that is open is exited.
    pub(crate) fn balance(&self) -> Vec<u8> {
        let mut code = Vec::new();
        if let Some(balance) = self.balance {
            code.push(0x10);
            balance.encode(&mut code);
        }
        code
    }

    /// The function that exits all calls that are open, where there is one.
    pub(crate) fn exits_all(&self) -> Option<u32> {
        self.balance
    }

    /// The function that is told of `memory.grow`.
    pub(crate) fn grows(&self) -> u32 {
        self.memory_grow
    }

    /// What stands around the call of an imported function that has a role: what is open is exited before one that leaves, a span
    /// that was opened is kept, and one is closed only if the host may hear of it.
    pub(crate) fn around(&self, role: Role) -> (Vec<u8>, Vec<u8>) {
        let (Some(_), Write::Calls { enter, .. }) = (self.balance, self.write) else { return Default::default() };
        let call = |behind: u32| {
            let mut code = vec![0x10];
            (enter + behind).encode(&mut code);
            code
        };
        match role {
            Role::Leaves => (self.balance(), Vec::new()),
            Role::Opens => (call(spans::OPENING), Vec::new()),
            // call $closing  if  …  call $settle  end
            Role::Closes => {
                ([&call(spans::CLOSING)[..], &[0x04, 0x40]].concat(), [&call(spans::SETTLE)[..], &[0x0b]].concat())
            }
        }
    }

    /// Whether a function that catches says so where it does ([`HookCode::landed`]). Where it cannot, each function that an
    /// exception crosses has to tell.
    pub(crate) fn tells_landings(&self) -> bool {
        matches!(self.write, Write::Buffer(_))
    }

    /// How many locals of type `i32` a hooked body needs.
    pub(crate) fn locals(&self, catches: bool) -> u32 {
        match self.write {
            Write::Calls { .. } => 0,
            Write::Buffer(_) => 1 + catches as u32,
        }
    }

    /// How many labels ENTER and EXIT open and close inside of themselves. Of LANDED it is as many as of ENTER.
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
    pub(crate) fn landed(&self, frame: Frame) -> Vec<u8> {
        match &self.write {
            Write::Calls { .. } => Vec::new(),
            Write::Buffer(buffer) => buffer.landed(frame),
        }
    }

    /// `local.tee scratch; call $memory-grow; local.get scratch`: the requested pages are reported, and stay.
    pub(crate) fn memory_grow(&self, scratch: u32) -> Vec<u8> {
        let mut code = vec![0x22];
        scratch.encode(&mut code);
        code.push(0x10);
        self.memory_grow.encode(&mut code);
        code.push(0x20);
        scratch.encode(&mut code);
        code
    }
}

/// One body that has hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// What its hooks say of it. `None`: it is not hooked, but catches, and others that are have to know.
    pub(crate) id: Option<ProbeId>,
    /// The first of the locals that [`HookCode::locals`] asks for.
    pub(crate) local: u32,
    /// Whether it catches exceptions, and says so.
    pub(crate) catches: bool,
    /// Whether it is a leaf function, as [`buffer`] defines it.
    pub(crate) is_leaf: bool,
}

impl Frame {
    /// `i32.const id; call func`
    fn call(&self, func: u32, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            out.push(0x41);
            (id.0 as i32).encode(out);
            out.push(0x10);
            func.encode(out);
        }
    }
}
