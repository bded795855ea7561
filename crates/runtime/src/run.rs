//! Running a module to its end on a thread of its own.

use std::sync::Arc;

use wasmtime::{Linker, Module, Store};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_instrument::component::{Attribution, is_component};
use wasmtrace_instrument::injected::is_hooked;
use wasmtrace_instrument::module::{ParseOptions, parse_with};
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::Event;

use crate::call::{Unit, call};
use crate::channel::channel;
use crate::clock::Clock;
use crate::compiled::Compiled;
use crate::component::run_component;
use crate::config::{Config, HOOKED_STACK, OnCompiled};
use crate::consume::with_times;
use crate::guest::{GuestSamples, ReadyGuest, RunResult, consume_until_end, engine, guest_thread};
use crate::places::{CoreModule, Places};
use crate::producer::Settings;
use crate::sampler::Samples;
use crate::setup::{all_given, no_host_functions, setup};
use crate::store::{Host, TraceSlot};
use crate::{hooks, wasi};

/// Runs a module or a component to its end. `consume_some` gets the events in order, one block at a time, while the
/// guest runs. It is called at least four times a second, possibly without events. If it is slower than the guest, the
/// guest waits.
///
/// # Errors
/// [`ErrorKind::Run`] if the module cannot be set up: the engine rejects it, an import is not available, or the
/// function to call is missing. A guest that traps or exits is not an error but an
/// [`RunOutcome`](wasmtrace_trace::event::RunOutcome).
pub fn run(wasm: &[u8], config: &Config, consume_some: impl FnMut(&[Event])) -> Result<RunResult> {
    run_batches(wasm, config, with_times(consume_some))
}

/// Runs a module to its end like [`run`]. `consume_some` gets batches: with samples, and without a time for each event.
///
/// # Errors
/// Those of [`run`].
pub fn run_batches(wasm: &[u8], config: &Config, consume_some: impl FnMut(&Batch)) -> Result<RunResult> {
    if is_component(wasm) {
        return run_component(wasm, config, consume_some);
    }
    // The engine validates the module.
    let parse = |wasm| parse_with(wasm, &ParseOptions { validate: false, ..Default::default() });
    let main_wasm = parse(wasm)?;
    let preload_wasms = config.preloads.iter().map(|p| parse(&p.wasm)).collect::<Result<Vec<_>>>()?;
    let hooked = preload_wasms.iter().chain([&main_wasm]).any(is_hooked);
    let max_wasm_stack = config.max_wasm_stack.saturating_mul(if hooked { HOOKED_STACK } else { 1 });
    let engine = engine(max_wasm_stack, config.cache.as_ref())?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi).map_err(no_host_functions)?;
    // The run gets a context of its own, because the clock of a context begins with it.
    let (wasi, _) = wasi::context(config)?;
    let mut store = Store::new(&engine, Host { wasi, trace: TraceSlot::default() });
    let names = config.preloads.iter().map(|preload| preload.name.as_str());
    let given: Vec<_> = names.zip(&preload_wasms).collect();
    for (at, (_, preload)) in given.iter().enumerate() {
        all_given(&linker, &mut store, &given[..at], preload)?;
    }
    all_given(&linker, &mut store, &given, &main_wasm)?;
    drop(store);
    let compile = |parsed: &wasmtrace_instrument::module::Module<'_>, first_probe| -> Result<Unit> {
        let module =
            Module::from_binary(&engine, parsed.bytes()).map_err(|e| setup("the engine refuses the module", e))?;
        let needs = hooks::Needs { once: true, ..hooks::Needs::of(parsed, first_probe)? };
        Ok(Unit { hooked: is_hooked(parsed), needs, module })
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
    if let Some(OnCompiled(compiled)) = &config.on_compiled {
        compiled();
    }
    let clock = Arc::new(Clock::new());
    let min_duration = config.min_duration.as_nanos() as u64;
    let settings = Settings { mode: config.clock, min_duration, buffers: true, times: config.times };
    let (producer, mut consumer) = channel(clock.clone(), config.interrupt.clone(), settings);
    let mut not_sampled = None;
    if hooked && main.needs.buffer.is_none() {
        not_sampled = Some("each event of this module calls the host");
    } else if min_duration > 0 {
        not_sampled = Some("short calls are only counted");
    }
    let sampling = (config.sample && not_sampled.is_none()).then(|| {
        let probes = config.preloads.iter().map(|preload| preload.first_probe);
        let compiled = preloads.iter().map(|(_, unit)| &unit.module).zip(&preload_wasms).zip(probes);
        let compiled = compiled.map(|((module, wasm), first)| (module, wasm, first));
        let units = compiled.chain([(&main.module, &main_wasm, 0)]).map(|(compiled, module, first)| {
            let attribution = Attribution::Probes(first);
            (Compiled::Module(compiled.clone()), vec![CoreModule { module, offset: 0, attribution }])
        });
        let places = Places::new(units);
        let samples = Samples::new(producer.shared().clone(), places.texts(), !hooked);
        let firsts = places.firsts();
        consumer.sampled_by(samples.clone(), places, !hooked);
        GuestSamples { samples, firsts, hooked }
    });
    let invoke = config.invoke.clone();
    let guest_clock = clock.clone();
    let guest = guest_thread(max_wasm_stack, move || {
        let store = Store::new(&engine, Host { wasi, trace: TraceSlot::default() });
        let guest = ReadyGuest { store, trace: |host| &mut host.trace, producer, clock: guest_clock, sampling };
        guest.run(|store| call(store, linker, preloads, &main, invoke.as_ref()))
    })?;
    let result = consume_until_end(guest, consumer, config, &clock, consume_some)?;
    let reason = || Some(not_sampled.filter(|_| config.sample)?.to_owned());
    Ok(RunResult { not_sampled: result.not_sampled.or_else(reason), ..result }.with_captured(&captured))
}
