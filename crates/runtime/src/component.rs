//! Running a component to its end.

use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::wasm_wave::wasm::{DisplayFuncResults, WasmFunc};
use wasmtime::component::{Component, ComponentExportIndex, Linker, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::channel::channel;
use super::clock::Clock;
use super::compiled::Compiled;
use super::config::{Config, HOOKED_STACK, Invoke, OnCompiled};
use super::guest::{GuestSamples, ReadyGuest, RunResult, consume_until_end, engine, guest_thread};
use super::places::{CoreModule, Places};
use super::producer::Settings;
use super::sampler::Samples;
use super::setup::{no_host_functions, setup};
use super::store::TraceSlot;
use super::{ending, recorder, wasi};
use wasmtrace_abi::component::ComponentManifest;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::text::printable;
use wasmtrace_instrument::component::{AttributedModule, attribute, check_hooks, probes};
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::{RunOutcome, Trap};

/// The data of the store of a component.
struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
    trace: TraceSlot,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Runs a component to its end: the export of `config.invoke`, or `run` of `wasi:cli/run`.
///
/// # Errors
/// [`ErrorKind::Run`] if the component cannot be set up. [`ErrorKind::Restore`] or [`ErrorKind::Malformed`] if its hooks
/// are not those of this version.
pub(super) fn run_component(wasm: &[u8], config: &Config, consume_some: impl FnMut(&Batch)) -> Result<RunResult> {
    if !config.preloads.is_empty() {
        return Err(Error::new(ErrorKind::Run, "a component cannot import from preloaded modules: compose components"));
    }
    let manifest = check_hooks(wasm)?;
    let max_wasm_stack = config.max_wasm_stack.saturating_mul(if manifest.is_some() { HOOKED_STACK } else { 1 });
    let engine = engine(max_wasm_stack, config.cache.as_ref())?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(no_host_functions)?;
    if let Some(manifest) = &manifest {
        recorder::add_to_linker(&mut linker, manifest.hooks, |host: &mut Host| &mut host.trace)
            .map_err(no_host_functions)?;
    }
    let component = Component::from_binary(&engine, wasm).map_err(|e| setup("the engine refuses the component", e))?;
    let (mut wasi, captured) = wasi::builder(config)?;
    let wasi = wasi.build();
    if let Some(OnCompiled(compiled)) = &config.on_compiled {
        compiled();
    }
    let clock = Arc::new(Clock::new());
    let min_duration = config.min_duration.as_nanos() as u64;
    let settings = Settings { mode: config.clock, min_duration, buffers: true, times: config.times };
    let not_sampled = match &manifest {
        None => Some("a component without hooks is not sampled"),
        Some(manifest) if manifest.hooks != HookSet::Buffer => Some("each event of this component calls the host"),
        Some(_) => (min_duration > 0).then_some("short calls are only counted"),
    };
    let is_sampled = config.sample && not_sampled.is_none();
    let attributed = if is_sampled { attribute(wasm)? } else { Vec::new() };
    let (producer, mut consumer) = channel(clock.clone(), config.interrupt.clone(), settings);
    let sampling = is_sampled.then(|| {
        let modules = attributed.iter().map(|attributed| {
            let AttributedModule { offset, ref module, attribution } = *attributed;
            CoreModule { module, offset, attribution }
        });
        let places = Places::new([(Compiled::Component(component.clone()), modules.collect())].into_iter());
        let samples = Samples::new(producer.shared().clone(), places.texts(), false);
        consumer.sampled_by(samples.clone(), places, false);
        GuestSamples { samples, firsts: Vec::new(), hooked: true }
    });
    let invoke = config.invoke.clone();
    let guest_clock = clock.clone();
    let guest = guest_thread(max_wasm_stack, move || {
        let store = Store::new(&engine, Host { wasi, table: ResourceTable::new(), trace: TraceSlot::default() });
        let guest = ReadyGuest { store, trace: |host| &mut host.trace, producer, clock: guest_clock, sampling };
        guest.run(|store| call(store, &linker, &component, invoke.as_ref(), manifest.as_ref()))
    })?;
    let mut result = consume_until_end(guest, consumer, config, &clock, consume_some)?;
    if let RunOutcome::Trapped(trap) = &mut result.ending
        && let Some((_, probes)) = probes(wasm)?
    {
        trap.frames.retain(|id| probes.labels.contains_key(&ProbeId(*id)));
    }
    let reason = || Some(not_sampled.filter(|_| config.sample)?.to_owned());
    Ok(RunResult { not_sampled: result.not_sampled.or_else(reason), ..result }.with_captured(&captured))
}

/// Instantiates the component and calls the export. The outer error is a failure of the host, the outcome is the guest's.
fn call(
    store: &mut Store<Host>,
    linker: &Linker<Host>,
    component: &Component,
    invoke: Option<&Invoke>,
    manifest: Option<&ComponentManifest>,
) -> Result<(RunOutcome, Vec<String>)> {
    let ends = |e: wasmtime::Error| -> Result<(RunOutcome, Vec<String>)> {
        // All imports are there, so what fails now is the guest: for example, it returns text that is not UTF-8.
        Ok((outcome(&e, manifest).unwrap_or_else(|| ending::of_host(&e, Vec::new())), Vec::new()))
    };
    let ready = linker.instantiate_pre(component).map_err(|e| setup("an import is not available", e))?;
    let engine = store.engine().clone();
    let Some(invoke) = invoke else {
        if !is_command(&engine, component) {
            let exports = exports(&engine, component).join(", ");
            let message = format!(
                "the component is not a command: it does not export `wasi:cli/run`. Call an export with --invoke; there are: {exports}"
            );
            return Err(Error::new(ErrorKind::Run, message));
        }
        let command = match Command::instantiate(&mut *store, component, linker) {
            Ok(command) => command,
            Err(e) => return ends(e),
        };
        return match command.wasi_cli_run().call_run(store) {
            Ok(Ok(())) => Ok((RunOutcome::Returned, Vec::new())),
            // `run` returned an error; a process would exit with this code.
            Ok(Err(())) => Ok((RunOutcome::Exited(1), Vec::new())),
            Err(e) => ends(e),
        };
    };
    let Call { export, text } = Call::of(invoke, &engine, component)?;
    let parsed = UntypedFuncCall::parse(&text).map_err(|e| refused(&text, &e.to_string()))?;
    let instance = match ready.instantiate(&mut *store) {
        Ok(instance) => instance,
        Err(e) => return ends(e),
    };
    let Some(function) = instance.get_func(&mut *store, export) else {
        let message = "there is no exported function of that name, only a type";
        return Err(Error::new(ErrorKind::Run, message));
    };
    let ty: ComponentFunc = function.ty(&*store);
    let types: Vec<_> = WasmFunc::params(&ty).collect();
    let params: Vec<Val> = parsed.to_wasm_params(&types).map_err(|e| refused(&text, &e.to_string()))?;
    let mut results = vec![Val::Bool(false); ty.results().len()];
    match function.call(&mut *store, &params, &mut results) {
        Ok(()) if results.is_empty() => Ok((RunOutcome::Returned, Vec::new())),
        Ok(()) => Ok((RunOutcome::Returned, vec![DisplayFuncResults(&results).to_string()])),
        Err(e) => ends(e),
    }
}

fn refused(text: &str, why: &str) -> Error {
    Error::new(ErrorKind::Run, format!("`{}` is not a valid call: {}", printable(text), printable(why)))
}

/// Whether the component exports `wasi:cli/run` of any 0.2 version.
fn is_command(engine: &Engine, component: &Component) -> bool {
    component.component_type().exports(engine).any(|(name, _)| name.starts_with("wasi:cli/run@0.2."))
}

/// A call of an export.
struct Call {
    export: ComponentExportIndex,
    /// The name of the function without its interface, and the arguments in WAVE syntax.
    text: String,
}

impl Call {
    /// Finds the exported function. The name is `function`, or `interface#function`; the arguments are in the same text, in
    /// WAVE syntax, or separate.
    fn of(invoke: &Invoke, engine: &Engine, component: &Component) -> Result<Call> {
        let (name, args) = match invoke.function.split_once('(') {
            Some(_) if !invoke.args.is_empty() => {
                let message = "give the arguments in the call of --invoke, or behind the file, but not both";
                return Err(Error::new(ErrorKind::Run, message));
            }
            Some((name, args)) => (name, format!("({args}")),
            _ => (invoke.function.as_str(), format!("({})", invoke.args.join(", "))),
        };
        let (interface, function) = match name.rsplit_once('#') {
            Some((interface, function)) => (Some(interface), function),
            None => (None, name),
        };
        let is_function = |item: ComponentItem| matches!(item, ComponentItem::ComponentFunc(_));
        let ty = component.component_type();
        let mut found = Vec::new();
        for (name, item) in ty.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) if interface.is_none() && name == function => {
                    found.extend(component.get_export_index(None, name));
                }
                ComponentItem::ComponentInstance(instance)
                    if interface.is_none_or(|interface| interface == name)
                        && instance.get_export(engine, function).is_some_and(|item| is_function(item.ty)) =>
                {
                    let outer = component.get_export_index(None, name);
                    found.extend(outer.and_then(|outer| component.get_export_index(Some(&outer), function)));
                }
                _ => {}
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(export), true) => Ok(Call { export, text: format!("{function}{args}") }),
            (Some(_), false) => {
                let message = format!("several interfaces export `{}`: give INTERFACE#FUNCTION", printable(function));
                Err(Error::new(ErrorKind::Run, message))
            }
            (None, _) => {
                let all = exports(engine, component).join(", ");
                let message = format!("there is no exported function `{}`; there are: {all}", printable(name));
                Err(Error::new(ErrorKind::Run, message))
            }
        }
    }
}

/// The exported functions, as they can be called.
fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    let mut all = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => all.push(printable(name).into_owned()),
            ComponentItem::ComponentInstance(instance) => {
                let functions = instance.exports(engine);
                let functions = functions.filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
                all.extend(functions.map(|(function, _)| format!("{}#{}", printable(name), printable(function))));
            }
            _ => {}
        }
    }
    all
}

/// The outcome of a guest that ended with this error. The frames of a trap are ids of hooked functions.
fn outcome(e: &wasmtime::Error, manifest: Option<&ComponentManifest>) -> Option<RunOutcome> {
    let outcome = ending::of_error(e)?;
    let RunOutcome::Trapped(trap) = outcome else { return Some(outcome) };
    let instances = manifest.map_or(&[][..], |manifest| &manifest.instances);
    let frames = e.downcast_ref::<wasmtime::WasmBacktrace>().map_or(&[][..], |backtrace| backtrace.frames());
    // An engine tells modules apart by their names only. Functions of modules with the same name are left out.
    let id = |frame: &wasmtime::FrameInfo| {
        let name = frame.module().name()?;
        let name = name.strip_suffix(".wasm").unwrap_or(name);
        let mut named = instances.iter().filter(|instance| instance.name == name);
        let only = named.next().filter(|_| named.next().is_none())?;
        only.first_probe.checked_add(frame.func_index())
    };
    Some(RunOutcome::Trapped(Trap { frames: frames.iter().filter_map(id).collect(), ..trap }))
}
