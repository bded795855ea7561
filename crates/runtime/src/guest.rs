//! The guest's thread, its engine, and the result of a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{AsContextMut, Engine, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::RunOutcome;

use crate::cache::CodeCache;
use crate::clock::Clock;
use crate::config::Config;
use crate::consume::{Consumed, consume};
use crate::consumer::Consumer;
use crate::host_calls;
use crate::producer::Producer;
use crate::sampler::{Samples, signal};
use crate::setup::setup;
use crate::store::{self, TraceSlot};
use crate::wasi::Captured;

/// Stack size in bytes for wasmtime and WASI on the guest's thread, in addition to the guest's own stack.
const HOST_STACK: usize = 4 << 20;

/// The result of a run.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// The outcome of the run.
    pub ending: RunOutcome,
    /// Duration in nanoseconds from before instantiation to the end, without the time for which the guest waited for
    /// the consumer.
    pub duration: u64,
    /// Nanoseconds for which the guest waited for the consumer. No event's time contains them.
    pub waited: u64,
    /// CPU time of the guest's thread without compilation, if the system reports it (Linux).
    pub guest_cpu: Option<Duration>,
    /// The reason why the guest was not sampled although it should be.
    pub not_sampled: Option<String>,
    /// Number of samples dropped because their ring was full.
    pub samples_lost: u64,
    /// The results of the invoked function, as text.
    pub results: Vec<String>,
    /// Whether the guest did not stop within 1 s and was abandoned. Its events until then were consumed.
    pub abandoned: bool,
    /// Captured standard output.
    pub stdout: Vec<u8>,
    /// Captured standard error.
    pub stderr: Vec<u8>,
}

/// What the guest's thread returns.
pub(crate) struct GuestEnd {
    /// The outcome and the results of the call.
    pub(crate) called: Result<(RunOutcome, Vec<String>)>,
    /// The time of the end in nanoseconds.
    pub(crate) end: u64,
    pub(crate) cpu: Option<Duration>,
    /// Why the guest was not sampled although it should be.
    pub(crate) not_sampled: Option<String>,
}

/// A guest that is ready to run on its thread.
pub(crate) struct ReadyGuest<T: 'static> {
    pub(crate) store: Store<T>,
    /// Returns the slot for the recording in the data of the store.
    pub(crate) trace: fn(&mut T) -> &mut TraceSlot,
    pub(crate) producer: Producer,
    pub(crate) clock: Arc<Clock>,
    /// How the guest is sampled, if it is.
    pub(crate) sampling: Option<GuestSamples>,
}

/// How a guest is sampled.
pub(crate) struct GuestSamples {
    pub(crate) samples: Arc<Samples>,
    /// The start of each module's machine code, and the offset of its function indices.
    pub(crate) firsts: Vec<(usize, u32)>,
    pub(crate) hooked: bool,
}

impl<T> ReadyGuest<T> {
    /// Calls the guest, samples it meanwhile, and records its events. To be called on the guest's thread.
    pub(crate) fn run(self, call: impl FnOnce(&mut Store<T>) -> Result<(RunOutcome, Vec<String>)>) -> GuestEnd {
        let ReadyGuest { mut store, trace, mut producer, clock, sampling } = self;
        let timer = sampling.as_ref().map(|sampling| signal::start(&sampling.samples)).transpose();
        if let (Some(GuestSamples { samples, firsts, hooked }), Ok(Some(_))) = (sampling, &timer) {
            producer.sampled_by(samples);
            host_calls::measure(&mut store, trace, firsts, hooked);
        }
        let until_read =
            store::begin(&mut store.as_context_mut(), trace, producer).expect("nothing is recorded in a new store");
        let cpu = thread_cpu();
        let called = call(&mut store);
        let cpu = thread_cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
        store::end(&mut store.as_context_mut(), trace);
        let end = clock.now();
        let not_sampled = timer.map(drop).err();
        drop(until_read);
        GuestEnd { called, end, cpu, not_sampled }
    }
}

/// Starts the guest's thread. It is not a scoped thread: a guest that does not stop must be abandoned.
pub(crate) fn guest_thread(
    max_wasm_stack: usize,
    guest: impl FnOnce() -> GuestEnd + Send + 'static,
) -> Result<JoinHandle<GuestEnd>> {
    let thread = std::thread::Builder::new().name("guest".into()).stack_size(max_wasm_stack.saturating_add(HOST_STACK));
    thread.spawn(guest).map_err(|e| Error::new(ErrorKind::Run, "cannot start a thread for the guest").caused_by(e))
}

/// Consumes events until the guest has ended. The result has no captured output.
pub(crate) fn consume_until_end(
    guest: JoinHandle<GuestEnd>,
    consumer: Consumer<'_>,
    config: &Config,
    clock: &Clock,
    consume_some: impl FnMut(&Batch),
) -> Result<RunResult> {
    let Consumed { abandoned, last, samples_lost } = consume(consumer, &config.interrupt, consume_some);
    let GuestEnd { called, end, cpu, not_sampled } = if abandoned {
        let signal = config.interrupt.load(Ordering::Relaxed).abs();
        let called = Ok((RunOutcome::Interrupted(signal), Vec::new()));
        GuestEnd { called, end: clock.now(), cpu: None, not_sampled: None }
    } else {
        guest.join().map_err(|_| Error::new(ErrorKind::Run, "the guest's thread panicked in the engine"))?
    };
    let (ending, results) = called?;
    Ok(RunResult {
        ending,
        duration: end.max(last),
        waited: clock.waited(),
        guest_cpu: cpu,
        not_sampled,
        samples_lost,
        results,
        abandoned,
        stdout: Vec::new(),
        stderr: Vec::new(),
    })
}

impl RunResult {
    /// The result with the output that was captured.
    pub(crate) fn with_captured(self, captured: &Captured) -> RunResult {
        let contents =
            |pipe: &Option<MemoryOutputPipe>| pipe.as_ref().map(|p| p.contents().to_vec()).unwrap_or_default();
        RunResult { stdout: contents(&captured.stdout), stderr: contents(&captured.stderr), ..self }
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Option<Duration> {
    // The first number is nanoseconds on a CPU (proc(5)).
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Creates an engine with all supported proposals enabled.
pub(crate) fn engine(max_wasm_stack: usize, cache: Option<&CodeCache>) -> Result<Engine> {
    let mut config = wasmtime::Config::new();
    config
        .max_wasm_stack(max_wasm_stack)
        // Not used here, but the engine checks it against the stack size.
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
