//! A host with its own engine, store, linker, WASI and functions: what happens in the module that it runs stands under its own
//! span, in the same trace, wherever the host's other spans go.
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run --example embed -- corpus/real/zig_demo.wasm
//! ```

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtrace::export::{Recording, RunInfo, new_context};
use wasmtrace::hook::HookSet;
use wasmtrace::otlp::settings::{Settings, Target};
use wasmtrace::otlp::{ExportOptions, Exported, export};
use wasmtrace::runtime::{TraceSlot, TracedModule};
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::context::Parent;
use wasmtrace::trace::recording::Writer;
use wasmtrace::{Options, label, module, rewrite};

type Error = Box<dyn std::error::Error>;

/// What the host keeps for each run.
struct State {
    wasi: WasiP1Ctx,
    /// What the module has asked the host.
    asked: Vec<i32>,
    trace: TraceSlot,
}

/// A module that is ready to be run, many times.
pub(crate) struct Job {
    engine: Engine,
    module: Module,
    linker: Linker<State>,
    tracing: TracedModule,
    /// As every run begins.
    subject: RunInfo,
}

/// What came of a run.
pub(crate) struct Done {
    pub(crate) ending: RunOutcome,
    pub(crate) asked: Vec<i32>,
    pub(crate) delivered: Exported,
}

impl Job {
    pub(crate) fn new(name: &str, wasm: &[u8]) -> Result<Job, Error> {
        // Hook it: the functions record by themselves. (A module that is hooked already is taken as it is.)
        let hooks = rewrite::Options { hooks: HookSet::Buffer, ..Default::default() };
        let tracing = TracedModule::new(wasm, &Options { rewrite: hooks, ..Default::default() })?;
        let mut subject = RunInfo::of(name, label::probes(&module::parse(tracing.wasm())?));
        if tracing.has_buffer() {
            let clock = tracing.clock;
            subject.recording =
                Recording { clock: clock.name().to_owned(), resolution: clock.resolution(), ..Default::default() };
        }

        // The rest is what any host does, but for one line.
        let engine = Engine::default();
        let module = Module::new(&engine, tracing.wasm())?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
        linker.func_wrap("host", "ask", |mut caller: wasmtime::Caller<'_, State>, what: i32| {
            caller.data_mut().asked.push(what);
            what * 2
        })?;
        tracing.add_to_linker(&mut linker, &module, |state: &mut State| &mut state.trace)?;
        Ok(Job { engine, module, linker, tracing, subject })
    }

    /// Runs it, and sends what it did, as children of the current span of the host.
    pub(crate) fn run_in_span(&self, settings: &Settings) -> Result<Done, Error> {
        // Where the run stands in the trace: below the host's span. An SDK in the guest nests below the run.
        let host = Context::current().span().span_context().clone();
        let parent = host.is_valid().then(|| Parent {
            trace: u128::from_be_bytes(host.trace_id().to_bytes()),
            span: u64::from_be_bytes(host.span_id().to_bytes()),
            flags: host.trace_flags().to_u8(),
        });
        let context = new_context(parent.as_ref(), host.trace_state().header())?;
        let wasi = WasiCtxBuilder::new().inherit_stdio().env("TRACEPARENT", context.traceparent()).build_p1();
        let mut store = Store::new(&self.engine, State { wasi, asked: Vec::new(), trace: TraceSlot::default() });

        // What happens is recorded: here in memory; a file serves as well, and is what `wasmtrace push` sends.
        let subject = RunInfo { context: Some(context), ..self.subject.clone() }.beginning_now();
        let mut recording = Writer::new(Vec::new(), &subject.header())?;
        let mut written = Ok(());
        let recorded = self.tracing.record(
            &mut store,
            |state| &mut state.trace,
            |events| {
                if written.is_ok() {
                    written = events.iter().try_for_each(|event| recording.event(event));
                }
            },
            |mut store| {
                let instance = self.linker.instantiate(&mut store, &self.module)?;
                instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())
            },
        )?;
        written?;
        let recording = recording.finish(&recorded.end())?;

        // Send it, within ten seconds.
        let deadline = Some(Instant::now() + Duration::from_secs(10));
        let order =
            ExportOptions { settings, max_spans: 10_000, deadline, end: None, resource: Vec::new(), waits: None };
        let delivered = export(|| Ok(&recording[..]), &order)?;
        Ok(Done { ending: recorded.ending, asked: store.into_data().asked, delivered })
    }
}

fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1).ok_or("which module?")?;
    let job = Job::new(&file, &std::fs::read(&file)?)?;

    let settings = Settings::read(&Target::Otlp(None), &|name| std::env::var(name).ok());
    // The host's own tracing; its exporter is left out here.
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer("embed");
    let done = tracer.in_span("job", |span| {
        println!("the host's span: {}", span.span().span_context().span_id());
        job.run_in_span(&settings)
    })?;
    let Done { ending, asked, delivered } = done;
    println!("{}, having asked {} times", ending.describe(), asked.len());
    println!("sent: {} spans of trace {}", delivered.spans, delivered.trace);
    Ok(())
}
