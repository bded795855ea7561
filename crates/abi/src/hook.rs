//! Hook sets: which functions a hooked module imports, and what a hook is about.

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
    /// Events are written into a memory of their own (see [`buffer`](crate::buffer)), and the host is called when that is full. Imports
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
