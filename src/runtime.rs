//! Runs a module under wasmtime and records what its hooks see. The one place that names wasmtime.
//!
//! The guest runs on a thread of its own, with a stack sized for it; the thread that calls [`run`] consumes the events
//! as they come, in blocks. A module without hooks runs just the same, and records nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use wasmtime::{AsContextMut, Engine, ExternType, Instance, Linker, Module, Store, Val, ValType};
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::error::{Error, ErrorKind, Result};
use crate::module::{ParseOptions, parse_with};
use crate::trace::batch::{Batch, MarkKind};
use crate::trace::timeline::Timeline;
use crate::trace::{Ending, Event};

mod activations;
mod buffer;
mod cache;
mod clock;
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
pub use clock::ClockMode;
use clock::{Clock, HANDOVER};
use places::Places;
use recorder::Settings;
use sampler::Samples;
use taker::Taker;
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
    /// of them only ([`crate::trace::calltree`]), and events cost less.
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

/// Events that are consumed at a time, or a block more.
const BATCH: usize = 16_384;

/// How often the ring is looked into when it was empty; it takes a guest longer to fill it.
const IDLE: Duration = Duration::from_micros(100);

/// How long a guest that was asked to end may go on.
const GRACE: Duration = Duration::from_secs(1);

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
    let hooked = preload_wasms.iter().chain([&main_wasm]).any(crate::rewrite::is_hooked);
    let max_wasm_stack = config.max_wasm_stack.saturating_mul(if hooked { HOOKED_STACK } else { 1 });
    let engine = engine(max_wasm_stack, config.cache.as_ref())?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi).map_err(no_host_functions)?;
    let compile = |parsed: &crate::module::Module<'_>, first_probe| -> Result<Unit> {
        let module =
            Module::from_binary(&engine, parsed.bytes()).map_err(|e| setup("the engine refuses the module", e))?;
        let needs = hooks::Needs { once: true, ..hooks::Needs::of(parsed, first_probe)? };
        Ok(Unit { hooked: crate::rewrite::is_hooked(parsed), needs, module })
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
            "a module that records into a buffer cannot run together with other hooked modules: nobody could tell in what \
             order they called each other; hook all of them with the hook set observe",
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

/// Gives each event of batches its time, and hands on events.
fn with_times(mut consume_some: impl FnMut(&[Event])) -> impl FnMut(&Batch) {
    let (mut timeline, mut events) = (Timeline::new(), Vec::new());
    move |batch| {
        events.clear();
        timeline.events(batch, &mut events);
        consume_some(&events);
    }
}

/// Consumes what is recorded until the guest is done: when the last event was, in nanoseconds.
fn consume_all(taker: Taker<'_>, consume_some: impl FnMut(&Batch)) -> u64 {
    consume(taker, &AtomicI32::new(0), consume_some).last
}

/// What came of consuming.
struct Consumed {
    /// The guest has not ended in time though it was asked to.
    abandoned: bool,
    /// When the last event was.
    last: u64,
    samples_lost: u64,
}

/// Consumes events until the guest is done, or has not ended in time though it was asked to.
fn consume(mut taker: Taker<'_>, interrupt: &AtomicI32, mut consume: impl FnMut(&Batch)) -> Consumed {
    let mut batch = Batch::default();
    let mut asked_to_end: Option<Instant> = None;
    let mut consumed = Instant::now();
    let end = |taker: &Taker<'_>, abandoned| Consumed { abandoned, last: taker.last(), samples_lost: taker.lost() };
    loop {
        batch.clear();
        taker.look();
        taker.take(&mut batch, BATCH);
        // A guest that goes on without a word is idle, however often it is interrupted.
        let idle = batch.words.is_empty() && batch.marks.iter().all(|mark| matches!(mark.kind, MarkKind::Sample(_)));
        if idle {
            taker.peek(&mut batch, false);
        }
        if !batch.is_empty() || consumed.elapsed().as_nanos() as u64 > HANDOVER {
            consume(&batch);
            consumed = Instant::now();
        }
        if idle {
            if taker.is_over() {
                return end(&taker, false);
            }
            std::thread::sleep(IDLE);
        }
        let signal = interrupt.load(Ordering::Relaxed);
        let grace = if signal < 0 { Duration::ZERO } else { GRACE };
        let since = asked_to_end.filter(|_| signal != 0);
        if signal != 0 && (since.is_none() || !idle) {
            // While there is something to take, it may be us that the guest waits for.
            asked_to_end = Some(Instant::now());
        } else if since.is_some_and(|since| since.elapsed() > grace) {
            batch.clear();
            taker.peek(&mut batch, true);
            taker.stop(&mut batch);
            consume(&batch);
            return end(&taker, true);
        }
    }
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
    let (name, from) = (crate::label::printable(missing.name()), crate::label::printable(missing.module()));
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
    Error::new(ErrorKind::Run, format!("{what}: {}", crate::label::printable(&causes.join(": "))))
}

/// A compiled module, and what its hooks need.
struct Unit {
    module: Module,
    hooked: bool,
    needs: hooks::Needs,
}

/// Instantiates the modules and calls what is to be called. The outer error is ours, the ending is the guest's.
fn call(
    store: &mut Store<Host>,
    mut linker: Linker<Host>,
    preloads: Vec<(String, Unit)>,
    main: &Unit,
    invoke: Option<&Invoke>,
) -> Result<(Ending, Vec<String>)> {
    for (name, unit) in &preloads {
        let instance = match instantiate(store, &mut linker, unit)? {
            Ok(instance) => instance,
            Err(ending) => return Ok((ending, Vec::new())),
        };
        let buffer = unit.needs.buffer.as_ref().map(|(place, _)| place.export.as_str());
        let exports: Vec<_> = instance.exports(&mut *store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        // A module's buffer is no other module's business.
        for (export, item) in exports.into_iter().filter(|(export, _)| Some(export.as_str()) != buffer) {
            linker.define(&mut *store, name, &export, item).map_err(no_host_functions)?;
        }
    }
    let instance = match instantiate(store, &mut linker, main)? {
        Ok(instance) => instance,
        Err(ending) => return Ok((ending, Vec::new())),
    };
    let Some(invoke) = invoke else {
        return match instance.get_typed_func::<(), ()>(&mut *store, "_start") {
            Ok(start) => Ok((start.call(&mut *store, ()).map_or_else(ending, |()| Ok(Ending::Returned))?, Vec::new())),
            // A module with a start function has run by now.
            Err(_) if instance.get_func(&mut *store, "_start").is_none() => Ok((Ending::Returned, Vec::new())),
            Err(e) => Err(setup("`_start` is no entry function", e)),
        };
    };
    call_export(store, &instance, &main.module, invoke)
}

/// Makes an instance, with hooks and manual API of its own: the types of these differ from module to module, and so do
/// the functions that their ids mean. The inner error is the ending of a guest that did not survive its start.
fn instantiate(store: &mut Store<Host>, linker: &mut Linker<Host>, unit: &Unit) -> Result<Result<Instance, Ending>> {
    // In place of those of the module before.
    linker.allow_shadowing(true);
    hooks::add_to_linker(linker, &unit.module, &unit.needs, |host: &mut Host| &mut host.trace)
        .and_then(|()| manual::add_to_linker(linker, &unit.module, |host: &mut Host| &mut host.trace))
        .map_err(no_host_functions)?;
    linker.allow_shadowing(false);
    let instance = match linker.instantiate(&mut *store, &unit.module) {
        Ok(instance) => instance,
        Err(e) if e.is::<wasmtime::UnknownImportError>() => return Err(not_linked(e)),
        Err(e) => return Ok(Err(ending(e)?)),
    };
    // A reactor is initialised before anything of it is called (WASI "application ABI").
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize")
        && let Err(e) = initialize.call(&mut *store, ())
    {
        return Ok(Err(ending(e)?));
    }
    Ok(Ok(instance))
}

fn call_export(
    store: &mut Store<Host>,
    instance: &Instance,
    module: &Module,
    invoke: &Invoke,
) -> Result<(Ending, Vec<String>)> {
    let name = crate::label::printable(&invoke.function).into_owned();
    let Some(function) = instance.get_func(&mut *store, &invoke.function) else {
        let functions: Vec<_> = module
            .exports()
            .filter(|e| matches!(e.ty(), ExternType::Func(_)))
            .map(|e| crate::label::printable(e.name()).into_owned())
            .collect();
        return Err(Error::new(
            ErrorKind::Run,
            format!("there is no exported function `{name}`; there are: {}", functions.join(", ")),
        ));
    };
    let ty = function.ty(&*store);
    if ty.params().len() != invoke.args.len() {
        return Err(Error::new(
            ErrorKind::Run,
            format!("`{name}` takes {} argument(s), {} given", ty.params().len(), invoke.args.len()),
        ));
    }
    let args = ty.params().zip(&invoke.args).map(|(ty, text)| argument(&ty, text)).collect::<Result<Vec<Val>>>()?;
    let mut results: Vec<Val> = ty.results().map(|ty| Val::default_for_ty(&ty).unwrap_or(Val::I32(0))).collect();
    match function.call(&mut *store, &args, &mut results) {
        Ok(()) => Ok((Ending::Returned, results.iter().map(show).collect())),
        Err(e) => Ok((ending(e)?, Vec::new())),
    }
}

fn argument(ty: &ValType, text: &str) -> Result<Val> {
    let bad = || Error::new(ErrorKind::Run, format!("`{text}` is no {ty}"));
    Ok(match ty {
        // Both readings of the bits are taken: -1 and 4294967295 are the same i32.
        ValType::I32 => {
            Val::I32(text.parse::<i32>().or_else(|_| text.parse::<u32>().map(|n| n as i32)).map_err(|_| bad())?)
        }
        ValType::I64 => {
            Val::I64(text.parse::<i64>().or_else(|_| text.parse::<u64>().map(|n| n as i64)).map_err(|_| bad())?)
        }
        ValType::F32 => Val::F32(text.parse::<f32>().map_err(|_| bad())?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().map_err(|_| bad())?.to_bits()),
        _ => {
            return Err(Error::new(
                ErrorKind::Run,
                format!("a parameter of type {ty} cannot be given on the command line"),
            ));
        }
    })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(n) => n.to_string(),
        Val::I64(n) => n.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(bits) => format!("{:#034x}", bits.as_u128()),
        other => {
            let null = other.ref_().is_some_and(|r| r.is_null());
            if null { "null".to_owned() } else { "a reference".to_owned() }
        }
    }
}

/// How the guest ended; an error that is none of the guest's comes back as ours.
fn ending(e: wasmtime::Error) -> Result<Ending> {
    ending::of_error(&e).ok_or_else(|| setup("the module cannot be instantiated", e))
}
