//! Hook sets: the functions that an instrumented module imports, and the ids that hooks report.

/// The id that hooks report for a function. In the Observe ABI it is the function's index in the instrumented module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// The set of hooks to insert into a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HookSet {
    /// Each event calls the host. Works with every host of the Observe ABI. Imports `enter`, `exit` and `memory-grow`,
    /// each `(i32) -> ()`, from `dylibso:observe/instrument`.
    #[default]
    Observe,
    /// The guest writes events into its own memory (see [`buffer`](crate::buffer)) and calls the host when that is
    /// full. Imports `flush-words: () -> ()` and `memory-grow: (i32) -> ()` from `wasmtrace:recorder`.
    Buffer,
    /// Like [`HookSet::Buffer`], with a timestamp for each event. Calls shorter than a threshold that contain no longer
    /// call are only counted. Imports `flush-counted` instead of `flush-words`, so that a host without support for
    /// counters rejects the module.
    Threshold,
    /// For the core modules of a component. The hooks call functions of a *hook module*, which the compiler adds to the
    /// component and which reports to the host. Imports `enter`, `exit`, `quiet-enter`, `quiet-exit`, `lifted-enter`,
    /// `lifted-exit` and `flush`, each `(i32) -> ()`, from `wasmtrace:hooks`.
    ///
    /// A function that the component model calls while the instance must not be left (`realloc`, `post-return`) calls the
    /// `quiet` pair: until its exit, the hook module does not call the host. A function by which others call the instance
    /// (the target of a `canon lift`, a destructor) calls the `lifted` pair: at its exit, the hook module hands over its
    /// events. `flush` hands them over before and after a call that leaves the instance, and before `unreachable`; its
    /// argument is a [`cause`](crate::component::cause).
    Component,
    /// For components: the component contains its recorder, which writes the events through interfaces of WASI. So it
    /// needs no host that knows of hooks. The core modules have the set [`HookSet::Component`].
    Wasi,
}

/// A function that a hook set imports. Its type is `() -> ()` or `(i32) -> ()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookImport {
    /// The module name of the import.
    pub module: &'static str,
    /// The field name of the import.
    pub name: &'static str,
    /// Whether the function takes an `i32`.
    pub takes_i32: bool,
}

/// Import module of the hooks of the Observe ABI.
pub const OBSERVE: &str = "dylibso:observe/instrument";
/// Import module of the manual API of the Observe ABI.
pub const OBSERVE_API: &str = "dylibso:observe/api";
/// Import module of both hooks and manual API in older versions of the Observe ABI. The hooks are called
/// `instrument_…` there.
pub const OBSERVE_OLD: &str = "dylibso_observe";
/// Import module of the functions that the hook sets with a buffer import.
pub const RECORDER: &str = "wasmtrace:recorder";
/// Import module of the functions that the core modules of a component import from their hook module.
pub const HOOKS: &str = "wasmtrace:hooks";
/// Former name of `flush-words`, from the time when each event had a second word for its time. Such modules must be
/// instrumented again.
pub const FLUSH_OF_OLD: &str = "flush";

/// The hook sets for modules. [`HookSet::Component`] is only for modules within a component.
pub const HOOK_SETS: [HookSet; 3] = [HookSet::Observe, HookSet::Buffer, HookSet::Threshold];
/// The hook sets for components.
pub const COMPONENT_HOOK_SETS: [HookSet; 3] = [HookSet::Observe, HookSet::Buffer, HookSet::Wasi];

impl HookSet {
    /// The name of the hook set on the command line and in the Manifest.
    pub fn name(self) -> &'static str {
        match self {
            HookSet::Observe => "observe",
            HookSet::Buffer => "buffer",
            HookSet::Threshold => "threshold",
            HookSet::Component => "component",
            HookSet::Wasi => "wasi",
        }
    }

    /// The hook set with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        HookSet::of_modules().chain([HookSet::Wasi]).find(|set| set.name() == name)
    }

    /// All hook sets that core modules have: those for modules, and [`HookSet::Component`].
    pub fn of_modules() -> impl Iterator<Item = HookSet> {
        HOOK_SETS.into_iter().chain([HookSet::Component])
    }

    /// The imports of the hook set, in the order in which they are appended to the module's imports. [`HookSet::Wasi`] is
    /// not a set of modules.
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
            HookSet::Component => &[
                HookImport { module: HOOKS, name: "enter", takes_i32: true },
                HookImport { module: HOOKS, name: "exit", takes_i32: true },
                HookImport { module: HOOKS, name: "quiet-enter", takes_i32: true },
                HookImport { module: HOOKS, name: "quiet-exit", takes_i32: true },
                HookImport { module: HOOKS, name: "lifted-enter", takes_i32: true },
                HookImport { module: HOOKS, name: "lifted-exit", takes_i32: true },
                HookImport { module: HOOKS, name: "flush", takes_i32: true },
            ],
            HookSet::Wasi => &[],
        }
    }

    /// Whether the guest records events into a [buffer](crate::buffer) instead of calling the host.
    pub fn has_buffer(self) -> bool {
        matches!(self, HookSet::Buffer | HookSet::Threshold)
    }
}

/// Whether an imported function is a hook, in any version of the ABI.
pub fn is_hook_import(module: &str, name: &str) -> bool {
    match module {
        OBSERVE => matches!(name, "enter" | "exit" | "memory-grow"),
        OBSERVE_OLD => matches!(name, "instrument_enter" | "instrument_exit" | "instrument_memory_grow"),
        HOOKS => HookSet::Component.imports().iter().any(|import| import.name == name),
        RECORDER => matches!(name, "flush-words" | "flush-counted" | "flush" | "memory-grow"),
        _ => false,
    }
}
