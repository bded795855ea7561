//! Runs a module under wasmtime and records what its hooks see. The one place that names wasmtime.
//!
//! The guest runs on a thread of its own, with a stack sized for it; the thread that calls [`run`] consumes the events
//! as they come, in blocks. A module without hooks runs just the same, and records nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use wasmtime::{AsContextMut, Engine, Linker, Module, Store};
use wasmtime_wasi::p1::WasiP1Ctx;

use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_instrument::module::{ParseOptions, parse_with};
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::{Ending, Event};

mod activations;
mod buffer;
mod cache;
mod call;
mod clock;
mod consume;
mod ending;
mod hooks;
mod host_calls;
mod manual;
mod places;
mod random;
mod recorder;
mod sampler;
mod taker;
pub mod tracing;
mod wasi;

pub use cache::CodeCache;
use call::{Unit, call};
use clock::Clock;
pub use clock::ClockMode;
use consume::{Consumed, consume, consume_all, with_times};
use places::Places;
use recorder::Settings;
use sampler::Samples;
pub use tracing::{Recorded, Trace, Tracing};

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

/// Stack of the guest's thread beside what the guest uses itself: wasmtime and WASI run on it.
const HOST_STACK: usize = 4 << 20;

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
    /// Output is kept and handed back in the [`Outcome`].
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

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Nanoseconds from before instantiation to the end, without those for which the guest waited for `consume`.
    pub duration: u64,
    /// Nanoseconds for which it waited: they are in no event's time.
    pub waited: u64,
    /// CPU time of the guest's thread, compilation not counted, where the system tells it (Linux).
    pub guest_cpu: Option<Duration>,
    /// Why the guest was not sampled, if it was to be and was not.
    pub not_sampled: Option<String>,
    /// Number of samples dropped because their ring was full.
    pub samples_lost: u64,
    /// What the invoked function returned, as text.
    pub results: Vec<String>,
    /// The guest had not stopped a second after it was asked to, and was left running. What it did until then was seen.
    pub abandoned: bool,
    /// What the guest wrote, if that was captured.
    pub stdout: Vec<u8>,
    /// What the guest wrote to its standard error, if that was captured.
    pub stderr: Vec<u8>,
}

struct Host {
    wasi: WasiP1Ctx,
    trace: Trace,
}

/// Runs a module to its end. `consume_some` gets the events, in order, a block at a time, while the guest runs; at least four
/// times a second it is called, with no events if there are none. If it is slower than the guest, the guest waits.
///
/// # Errors
/// [`ErrorKind::Run`] if the module cannot be set up: the engine refuses it, it imports what there is not, the function
/// to call is missing. A guest that traps or exits is no error but an [`Ending`].
pub fn run(wasm: &[u8], config: &Config, consume_some: impl FnMut(&[Event])) -> Result<Outcome> {
    run_batches(wasm, config, with_times(consume_some))
}

/// Like [`run`], but `consume_some` gets what was recorded as it is: with samples, and without a time for each event.
///
/// # Errors
/// Those of [`run`].
pub fn run_batches(wasm: &[u8], config: &Config, consume_some: impl FnMut(&Batch)) -> Result<Outcome> {
    // The engine validates what it compiles.
    let parse = |wasm| parse_with(wasm, &ParseOptions { validate: false, ..Default::default() });
    let main_wasm = parse(wasm)?;
    let preload_wasms = config.preloads.iter().map(|p| parse(&p.wasm)).collect::<Result<Vec<_>>>()?;
    let hooked = preload_wasms.iter().chain([&main_wasm]).any(wasmtrace_instrument::rewrite::is_hooked);
    let max_wasm_stack = config.max_wasm_stack.saturating_mul(if hooked { HOOKED_STACK } else { 1 });
    let engine = engine(max_wasm_stack, config.cache.as_ref())?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi).map_err(no_host_functions)?;
    let compile = |parsed: &wasmtrace_instrument::module::Module<'_>, first_probe| -> Result<Unit> {
        let module =
            Module::from_binary(&engine, parsed.bytes()).map_err(|e| setup("the engine refuses the module", e))?;
        let needs = hooks::Needs { once: true, ..hooks::Needs::of(parsed, first_probe)? };
        Ok(Unit { hooked: wasmtrace_instrument::rewrite::is_hooked(parsed), needs, module })
    };
    let preloads = config
        .preloads
        .iter()
        .zip(&preload_wasms)
        .map(|(preload, parsed)| Ok((preload.name.clone(), compile(parsed, preload.first_probe)?)))
        .collect::<Result<Vec<_>>>()?;
    let main = compile(&main_wasm, 0)?;
    let units: Vec<&Unit> = preloads.iter().map(|(_, unit)| unit).chain([&main]).filter(|unit| unit.hooked).collect();
    if units.len() > 1 && units.iter().any(|unit| unit.needs.buffer.is_some()) {
        return Err(Error::new(
            ErrorKind::Run,
            "a module that records into a buffer cannot run together with other hooked modules, because the order of calls \
             between modules would be lost; hook all of them with the hook set observe",
        ));
    }

    let (wasi, captured) = wasi::context(config)?;
    let clock = Arc::new(Clock::new());
    let min_duration = config.min_duration.as_nanos() as u64;
    let settings = Settings { mode: config.clock, min_duration, buffers: true, times: config.times };
    let (mut recorder, mut taker) = recorder::recorder(clock.clone(), config.interrupt.clone(), settings);
    let mut not_sampled = None;
    if hooked && main.needs.buffer.is_none() {
        not_sampled = Some("each event of this module calls the host");
    } else if min_duration > 0 {
        not_sampled = Some("calls that are short are only counted");
    }
    let samples = (config.sample && not_sampled.is_none()).then(|| {
        let probes = config.preloads.iter().map(|preload| preload.first_probe);
        let modules = preloads.iter().map(|(_, unit)| unit.module.clone()).zip(&preload_wasms).zip(probes);
        let modules = modules.map(|((module, wasm), first)| (module, wasm, first));
        let places = Places::new(modules.chain([(main.module.clone(), &main_wasm, 0)]));
        let samples = Samples::new(recorder.shared().clone(), places.texts(), !hooked);
        let firsts = places.firsts();
        taker.sampled_by(samples.clone(), places, !hooked);
        (samples, firsts)
    });
    let invoke = config.invoke.clone();
    let guest_clock = clock.clone();
    // Not a scoped thread: a guest that does not stop when it is asked to is left behind.
    let guest = std::thread::Builder::new()
        .name("guest".into())
        .stack_size(max_wasm_stack.saturating_add(HOST_STACK))
        .spawn(move || {
            let mut store = Store::new(&engine, Host { wasi, trace: Trace::default() });
            let sampling = samples.as_ref().map(|(samples, _)| samples.start()).transpose();
            if let (Some((samples, firsts)), Ok(Some(_))) = (samples, &sampling) {
                recorder.sampled_by(samples);
                host_calls::measure(&mut store, firsts, hooked);
            }
            let until_read = tracing::begin(&mut store.as_context_mut(), |host| &mut host.trace, recorder)
                .expect("nothing is recorded in a new store");
            let cpu = thread_cpu();
            let called = call(&mut store, linker, preloads, &main, invoke.as_ref());
            let cpu = thread_cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
            tracing::end(&mut store.as_context_mut(), |host| &mut host.trace);
            let end = guest_clock.now();
            let not_sampled = sampling.map(drop).err();
            drop(until_read);
            (called, end, cpu, not_sampled)
        })
        .map_err(|e| Error::new(ErrorKind::Run, "no thread for the guest").caused_by(e))?;

    let Consumed { abandoned, last, samples_lost } = consume(taker, &config.interrupt, consume_some);
    let (called, end, guest_cpu, failed) = if abandoned {
        let signal = config.interrupt.load(Ordering::Relaxed).abs();
        (Ok((Ending::Interrupted(signal), Vec::new())), clock.now(), None, None)
    } else {
        guest.join().map_err(|_| Error::new(ErrorKind::Run, "the engine failed on the guest's thread"))?
    };
    let (ending, results) = called?;
    Ok(Outcome {
        ending,
        duration: end.max(last),
        waited: clock.waited(),
        guest_cpu,
        not_sampled: failed.or_else(|| Some(not_sampled.filter(|_| config.sample)?.to_owned())),
        samples_lost,
        results,
        abandoned,
        stdout: captured.stdout.map(|p| p.contents().to_vec()).unwrap_or_default(),
        stderr: captured.stderr.map(|p| p.contents().to_vec()).unwrap_or_default(),
    })
}

/// CPU time of the calling thread.
fn thread_cpu() -> Option<Duration> {
    // The first number is nanoseconds on a CPU (proc(5)).
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// An import that cannot be satisfied.
fn not_linked(e: wasmtime::Error) -> Error {
    let Some(missing) = e.downcast_ref::<wasmtime::UnknownImportError>() else {
        return setup("an import does not fit", e);
    };
    let (name, from) =
        (wasmtrace_abi::text::printable(missing.name()), wasmtrace_abi::text::printable(missing.module()));
    Error::new(ErrorKind::Run, format!("the module imports `{name}` from `{from}`, which this host does not have"))
}

fn no_host_functions(e: wasmtime::Error) -> Error {
    setup("the host functions cannot be defined", e)
}

/// An engine with every proposal on that it has.
fn engine(max_wasm_stack: usize, cache: Option<&CodeCache>) -> Result<Engine> {
    let mut config = wasmtime::Config::new();
    config
        .max_wasm_stack(max_wasm_stack)
        // Not used here, but checked against the other.
        .async_stack_size(max_wasm_stack.saturating_add(HOST_STACK))
        .wasm_tail_call(true)
        .wasm_custom_page_sizes(true)
        .wasm_threads(true)
        .shared_memory(true)
        .wasm_function_references(true)
        .wasm_wide_arithmetic(true)
        .wasm_gc(true)
        .wasm_relaxed_simd(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_extended_const(true)
        .wasm_exceptions(true)
        .wasm_branch_hinting(true);
    if let Some(cache) = cache {
        config.cache(Some(cache.open()?));
    }
    Engine::new(&config).map_err(|e| setup("the engine cannot be configured", e))
}

fn setup(what: &str, e: wasmtime::Error) -> Error {
    // The causes say more than the outermost sentence: one line of all of them.
    let causes: Vec<String> = e.chain().map(|c| c.to_string()).collect();
    Error::new(ErrorKind::Run, format!("{what}: {}", wasmtrace_abi::text::printable(&causes.join(": "))))
}
