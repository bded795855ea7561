//! A host that runs a module inside of a span of its own: what happens in the module stands under that span, in the same
//! trace, wherever the host's other spans go.
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run --example embed -- corpus/real/zig_demo.wasm
//! ```

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use wasmtrace::deliver::settings::{Settings, Target};
use wasmtrace::deliver::{Delivered, Order, deliver};
use wasmtrace::export::{Recording, Subject, new_context};
use wasmtrace::hook::HookSet;
use wasmtrace::runtime::{self, ClockMode, Config};
use wasmtrace::trace::context::Parent;
use wasmtrace::trace::recording::{End, Writer};
use wasmtrace::{Options, label, module, rewrite};

type Error = Box<dyn std::error::Error>;

/// Runs a module and sends what it did, as children of the current span of the host.
pub(crate) fn run_in_span(name: &str, wasm: &[u8], settings: &Settings) -> Result<Delivered, Error> {
    // Hook it: the functions record by themselves. (A module that is hooked already is run as it is.)
    let parsed = module::parse(wasm)?;
    let hooks = rewrite::Options { hooks: HookSet::Buffer, ..Default::default() };
    let hooked = match rewrite::is_hooked(&parsed) {
        true => wasm.to_vec(),
        false => wasmtrace::instrument(wasm, &Options { rewrite: hooks, ..Default::default() })?.wasm,
    };

    // Where the run stands in the trace: below the host's span.
    let host = Context::current().span().span_context().clone();
    let parent = host.is_valid().then(|| Parent {
        trace: u128::from_be_bytes(host.trace_id().to_bytes()),
        span: u64::from_be_bytes(host.span_id().to_bytes()),
        flags: host.trace_flags().to_u8(),
    });
    let context = new_context(parent.as_ref(), host.trace_state().header())?;
    // An SDK in the guest nests below the run.
    let env = vec![("TRACEPARENT".to_owned(), context.traceparent())];

    // Run it. What happens is recorded: here in memory; a file serves as well, and is what `wasmtrace push` sends.
    let (clock, hooked_module) = (ClockMode::Coarse, module::parse(&hooked)?);
    let subject = Subject {
        program: name.to_owned(),
        began: SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
        labels: label::probe_labels(&hooked_module, &label::label(&hooked_module)),
        recording: Recording { clock: clock.name().to_owned(), resolution: clock.resolution(), ..Default::default() },
        context: Some(context),
        ..Default::default()
    };
    let mut recording = Writer::new(Vec::new(), &subject.header())?;
    let mut written = Ok(());
    let config = Config { program: name.to_owned(), env, clock, ..Default::default() };
    let outcome = runtime::run(&hooked, &config, |events| {
        if written.is_ok() {
            written = events.iter().try_for_each(|event| recording.event(event));
        }
    })?;
    written?;
    let recording = recording.finish(&End { ending: outcome.ending, duration: outcome.duration })?;

    // Send it, within ten seconds.
    let deadline = Some(Instant::now() + std::time::Duration::from_secs(10));
    let order = Order { settings, max_spans: 10_000, deadline, end: None, resource: Vec::new() };
    Ok(deliver(|| Ok(&recording[..]), &order)?)
}

fn main() -> Result<(), Error> {
    let file = std::env::args().nth(1).ok_or("which module?")?;
    let wasm = std::fs::read(&file)?;

    let settings = Settings::read(&Target::Otlp(None), &|name| std::env::var(name).ok());
    // The host's own tracing; its exporter is left out here.
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer("embed");
    let delivered = tracer.in_span("job", |span| {
        println!("the host's span: {}", span.span().span_context().span_id());
        run_in_span(&file, &wasm, &settings)
    })?;
    println!("sent: {} spans of trace {}", delivered.spans, delivered.trace);
    Ok(())
}
