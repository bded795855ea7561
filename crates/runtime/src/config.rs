//! How a module is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use crate::cache::CodeCache;
use crate::clock::ClockMode;

/// How a module is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The guest's `argv[0]`.
    pub program: String,
    /// The arguments behind it.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Whether the guest sees our environment too, behind `env`.
    pub inherit_env: bool,
    /// Whether the guest may use the network, as far as preview 1 goes.
    pub inherit_network: bool,
    /// Directories: on the host, and what the guest calls them.
    pub dirs: Vec<(PathBuf, String)>,
    /// Standard input, output and error.
    pub stdio: Stdio,
    /// The exported function to call; a command's `_start` if there is none given.
    pub invoke: Option<Invoke>,
    /// Modules that are instantiated before, in order, for the guest to import from.
    pub preloads: Vec<Preload>,
    /// Bytes of stack that the guest may use *without hooks*. A hooked module gets [`HOOKED_STACK`] times as much, since
    /// a hooked frame is larger, so that it recurses as deep as it would unhooked.
    pub max_wasm_stack: usize,
    /// The clock of a module that records into a buffer.
    pub clock: ClockMode,
    /// In a module with the hook set `threshold`: calls shorter than this, that made no longer ones, are counted only.
    pub min_duration: Duration,
    /// Whether it is to be known of every event when it happened. If not, and the guest is sampled, that is known of the first
    /// of them only ([`wasmtrace_trace::calltree`]), and events cost less.
    pub times: bool,
    /// Whether the guest is interrupted from time to time to see where it is: on Linux on x86-64, in a module that records into a
    /// buffer and counts no short calls, or in one without hooks. For that the process's `SIGPROF` is used while it runs.
    pub sample: bool,
    /// Where machine code is kept between runs, if it is.
    pub cache: Option<CodeCache>,
    /// Set to a signal's number, it ends the guest at its next event, or leaves it behind after a second; set to the
    /// negative of one, it does not wait for that.
    pub interrupt: Arc<AtomicI32>,
}

/// How much more stack a hooked module gets. Around a hook's call everything that is live is spilled, so a frame grows with
/// the function's parameters: by two in most, by eleven to thirteen with eight vectors (measured). Too much is harmless: a hooked
/// program then recurses deeper than it would unhooked before it traps.
pub const HOOKED_STACK: usize = 16;

/// wasmtime's own default.
pub const DEFAULT_WASM_STACK: usize = 512 << 10;

/// A module that others can import from.
#[derive(Debug, Clone)]
pub struct Preload {
    /// The name that it is imported by.
    pub name: String,
    /// The module, hooked or not.
    pub wasm: Vec<u8>,
    /// Added to the ids of its probes in events, so that they are told from those of other modules.
    pub first_probe: u32,
}

/// An exported function and the arguments to call it with, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invoke {
    /// The function.
    pub function: String,
    /// One for each parameter: numbers of the parameter's type.
    pub args: Vec<String>,
}

/// Where the guest's standard input comes from and its output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdio {
    /// They are ours.
    Inherit,
    /// Output goes where ours does, or nowhere.
    Given {
        /// What the guest reads.
        stdin: Vec<u8>,
        /// Whether its output is thrown away.
        quiet: bool,
    },
    /// Output is kept and handed back in the [`RunResult`](crate::RunResult).
    Capture {
        /// What the guest reads.
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
        }
    }
}
