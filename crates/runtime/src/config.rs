//! Configuration of a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use crate::cache::CodeCache;
use crate::clock::ClockMode;

/// Configuration of a run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The guest's `argv[0]`.
    pub program: String,
    /// The arguments after `argv[0]`.
    pub args: Vec<String>,
    /// Environment variables of the guest.
    pub env: Vec<(String, String)>,
    /// Whether the guest inherits the environment of this process. Variables in `env` take precedence.
    pub inherit_env: bool,
    /// Whether the guest may use the network, as far as its version of WASI supports it.
    pub inherit_network: bool,
    /// Directories that the guest can access: the host path and the name for the guest.
    pub dirs: Vec<(PathBuf, String)>,
    /// Standard input, output and error of the guest.
    pub stdio: Stdio,
    /// The exported function to call. `None` calls `_start`.
    pub invoke: Option<Invoke>,
    /// Modules that are instantiated first, in order. The guest can import from them.
    pub preloads: Vec<Preload>,
    /// Stack size in bytes for the guest *without hooks*. With hooks it gets [`HOOKED_STACK`] times as much: hooked
    /// frames are larger, and the guest should recurse as deep as without hooks.
    pub max_wasm_stack: usize,
    /// The clock that timestamps events of a module that records into a buffer.
    pub clock: ClockMode,
    /// In a module with the hook set `threshold`: calls shorter than this are only counted, unless they contain a
    /// longer call.
    pub min_duration: Duration,
    /// Whether each event needs a time. If not, and the guest is sampled, only the first events get times
    /// ([`wasmtrace_trace::calltree`]), and events cost less.
    pub times: bool,
    /// Whether to sample the guest by interrupts. This needs Linux on x86-64, and a module without hooks, or a module or
    /// component with a buffer that does not drop short calls. The process's `SIGPROF` is in use during the run.
    pub sample: bool,
    /// The cache for machine code; `None` compiles the module at each run.
    pub cache: Option<CodeCache>,
    /// Ends the guest. If set to a signal number, the guest ends at its next event, or is abandoned after 1 s. If set
    /// to the negative of a signal number, it is abandoned at once.
    pub interrupt: Arc<AtomicI32>,
    /// Called when all modules are compiled, before the guest starts.
    pub on_compiled: Option<OnCompiled>,
}

/// A function that a run calls when compilation is over.
#[derive(Clone)]
pub struct OnCompiled(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for OnCompiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnCompiled").finish_non_exhaustive()
    }
}

/// Factor by which the stack is larger if a module has hooks. Hook calls spill all live values, so a frame grows with
/// the function's parameters: by a factor of two in most functions, by eleven to thirteen with eight vectors
/// (measured). A larger stack is harmless: a hooked program then recurses deeper before it traps.
pub const HOOKED_STACK: usize = 16;

/// Default stack size of wasmtime in bytes.
pub const DEFAULT_WASM_STACK: usize = 512 << 10;

/// A module that is instantiated before the main module, which can import from it.
#[derive(Debug, Clone)]
pub struct Preload {
    /// The module name for imports.
    pub name: String,
    /// The binary module, with or without hooks.
    pub wasm: Vec<u8>,
    /// Offset that is added to its probe ids, so that ids of different modules differ.
    pub first_probe: u32,
}

/// A call of an exported function, with its arguments as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invoke {
    /// The name of the exported function.
    pub function: String,
    /// One argument for each parameter: a number of the parameter's type.
    pub args: Vec<String>,
}

/// Standard input, output and error of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdio {
    /// The guest uses the streams of this process.
    Inherit,
    /// The guest reads given input. Output goes to the streams of this process or is discarded.
    Given {
        /// The standard input.
        stdin: Vec<u8>,
        /// Whether output is discarded.
        quiet: bool,
    },
    /// Output is captured and returned in the [`RunResult`](crate::RunResult).
    Capture {
        /// The standard input.
        stdin: Vec<u8>,
    },
}

impl Default for Config {
    fn default() -> Self {
        Config {
            program: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            inherit_env: false,
            inherit_network: false,
            dirs: Vec::new(),
            stdio: Stdio::Inherit,
            invoke: None,
            preloads: Vec::new(),
            max_wasm_stack: DEFAULT_WASM_STACK,
            clock: ClockMode::Coarse,
            min_duration: Duration::ZERO,
            times: true,
            sample: false,
            cache: None,
            interrupt: Arc::default(),
            on_compiled: None,
        }
    }
}
