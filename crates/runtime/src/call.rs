//! Instantiates the guest's modules and calls an export. Arguments and results are text.

use wasmtime::{ExternType, Instance, Linker, Module, Store, Val, ValType};

use super::config::Invoke;
use super::setup::{no_host_functions, not_linked, setup};
use super::store::Host;
use super::{ending, hooks, manual};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_trace::event::RunOutcome;

/// A compiled module, with the information that its hooks need.
pub(super) struct Unit {
    pub(super) module: Module,
    pub(super) hooked: bool,
    pub(super) needs: hooks::Needs,
}

/// Instantiates the modules and calls the export. The outer error is a failure of the host, the outcome is the guest's.
pub(super) fn call(
    store: &mut Store<Host>,
    mut linker: Linker<Host>,
    preloads: Vec<(String, Unit)>,
    main: &Unit,
    invoke: Option<&Invoke>,
) -> Result<(RunOutcome, Vec<String>)> {
    for (name, unit) in &preloads {
        let instance = match instantiate(store, &mut linker, unit)? {
            Ok(instance) => instance,
            Err(ending) => return Ok((ending, Vec::new())),
        };
        let buffer = unit.needs.buffer.as_ref().map(|(place, _)| place.export.as_str());
        let exports: Vec<_> = instance.exports(&mut *store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        // The buffer of a module is not exported to others.
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
            Ok(start) => {
                Ok((start.call(&mut *store, ()).map_or_else(ending, |()| Ok(RunOutcome::Returned))?, Vec::new()))
            }
            // A module whose start function has run already needs no `_start`.
            Err(_) if instance.get_func(&mut *store, "_start").is_none() => Ok((RunOutcome::Returned, Vec::new())),
            Err(e) => Err(setup("`_start` does not have the type of an entry function", e)),
        };
    };
    call_export(store, &instance, &main.module, invoke)
}

/// Instantiates a module with its own hooks and manual API: their types and the functions that ids stand for differ
/// between modules. The inner error is the outcome of a guest that ends during instantiation.
fn instantiate(
    store: &mut Store<Host>,
    linker: &mut Linker<Host>,
    unit: &Unit,
) -> Result<Result<Instance, RunOutcome>> {
    // Replaces the definitions for the previous module.
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
    // A reactor is initialized before any other export is called (WASI "application ABI").
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
) -> Result<(RunOutcome, Vec<String>)> {
    let name = wasmtrace_abi::text::printable(&invoke.function).into_owned();
    let Some(function) = instance.get_func(&mut *store, &invoke.function) else {
        let functions: Vec<_> = module
            .exports()
            .filter(|e| matches!(e.ty(), ExternType::Func(_)))
            .map(|e| wasmtrace_abi::text::printable(e.name()).into_owned())
            .collect();
        return Err(Error::new(
            ErrorKind::Run,
            format!("there is no exported function `{name}`; the module exports: {}", functions.join(", ")),
        ));
    };
    let ty = function.ty(&*store);
    if ty.params().len() != invoke.args.len() {
        return Err(Error::new(
            ErrorKind::Run,
            format!("`{name}` takes {} argument(s), but {} were given", ty.params().len(), invoke.args.len()),
        ));
    }
    let args = ty.params().zip(&invoke.args).map(|(ty, text)| argument(&ty, text)).collect::<Result<Vec<Val>>>()?;
    let mut results: Vec<Val> = ty.results().map(|ty| Val::default_for_ty(&ty).unwrap_or(Val::I32(0))).collect();
    match function.call(&mut *store, &args, &mut results) {
        Ok(()) => Ok((RunOutcome::Returned, results.iter().map(show).collect())),
        Err(e) => Ok((ending(e)?, Vec::new())),
    }
}

fn argument(ty: &ValType, text: &str) -> Result<Val> {
    let bad = || Error::new(ErrorKind::Run, format!("`{text}` is not a valid {ty}"));
    Ok(match ty {
        // Both signed and unsigned text is accepted: -1 and 4294967295 are the same i32.
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
                format!("a parameter of type {ty} is not supported on the command line"),
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

/// The outcome of a guest that ended with an error. An error of the host is returned as such.
fn ending(e: wasmtime::Error) -> Result<RunOutcome> {
    ending::of_error(&e).ok_or_else(|| setup("the module cannot be instantiated", e))
}
