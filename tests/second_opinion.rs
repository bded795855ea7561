//! Another compiler, asked for the same hooks, sees the same calls: oracle 7 of `docs/oracles.md`.
//!
//! Theorem: when walrus writes `i32.const index; call enter` at the beginning of every body, with the function's index in
//! the original, the sequence of entered functions is the one that our hooks see. walrus decodes a module into a graph
//! and encodes it anew, so it shares neither code nor method with the splice.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::Case;
use common::host::Host;
use common::programs::{self, Program};
use walrus::ir::{Call, Const, Value};
use walrus::{FunctionId, ModuleConfig, ValType};
use wasmtrace::hook::OBSERVE;
use wasmtrace::trace::{Event, EventKind};
use wasmtrace::{Options, instrument, module};

/// What walrus 0.28 does not take, or does not give back in one piece: nothing is compared for these.
const SKIPPED: &[(&str, &str)] = &[
    ("custom_page_sizes", "does not read it: this proposal cannot be turned on"),
    (
        "import_type_only_in_a_rec_group",
        "gives the hook a type in a recursion group, which no function of the host has",
    ),
];

#[test]
fn walrus_sees_the_same_calls_in_every_shape() {
    let host = Host::hooked();
    let compared = |case: &Case| case.not_run.is_none() && !is_skipped(&case.name);
    let shapes: Vec<Case> = common::shapes().into_iter().filter(compared).collect();
    common::for_each(shapes, |case| {
        let theirs = host.compile(&hooked_by_walrus(&case.wasm).unwrap()).unwrap();
        let ours = host.compile(&instrument(&case.wasm, &everything()).unwrap().wasm).unwrap();
        let parsed = module::parse(&case.wasm).unwrap();
        for (export, _) in parsed.exports().iter().filter(|(name, _)| name.starts_with("run")) {
            let [theirs, ours] = [&theirs, &ours].map(|module| {
                let mut session = host.open(module).unwrap();
                session.call(export);
                entered(session.events())
            });
            assert_eq!(without_shift(&case.wasm, &ours), theirs, "the calls of `{export}`");
        }
    });
}

/// Without a rule, bindings to the manual API would be left out.
fn everything() -> Options {
    let mut options = Options::default();
    options.select.push("+**").unwrap();
    options
}

#[test]
fn walrus_sees_the_same_calls_in_every_program() {
    let compared = |p: &Program| p.runs.iter().any(|run| run.deterministic) && !is_skipped(&p.case.name);
    let programs: Vec<Program> = programs::runnable().into_iter().filter(compared).collect();
    common::for_each_named(
        &programs,
        |program| &program.case.name,
        |program| {
            let original = &program.case.wasm;
            let theirs = hooked_by_walrus(original).unwrap();
            let ours = instrument(original, &everything()).unwrap().wasm;
            for run in program.runs.iter().filter(|run| run.deterministic) {
                let [theirs, ours] = [&theirs, &ours].map(|wasm| entered(&run.of(wasm).1));
                assert!(!theirs.is_empty());
                assert!(without_shift(original, &ours) == theirs, "the calls of {:?}", run.args);
            }
        },
    );
}

/// The list of what is skipped is true in both directions.
#[test]
fn walrus_takes_all_but_what_is_listed() {
    let host = Host::hooked();
    let shapes = common::shapes().into_iter().filter(|case| case.not_run.is_none()).map(|case| {
        let opened = hooked_by_walrus(&case.wasm).and_then(|wasm| {
            let session = host.compile(&wasm).and_then(|module| host.open(&module));
            session.map(drop).map_err(|e| format!("writes what cannot be run: {e:?}"))
        });
        (case.name, opened.err())
    });
    let programs = programs::runnable().into_iter().map(|Program { case, .. }| {
        let parsed = hooked_by_walrus(&case.wasm)
            .and_then(|wasm| module::parse(&wasm).map(drop).map_err(|e| format!("writes what is not valid: {e}")));
        (case.name, parsed.err())
    });
    let refused: Vec<(String, String)> = shapes.chain(programs).filter_map(|(name, why)| Some((name, why?))).collect();
    let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    let listed: Vec<&str> = SKIPPED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed, "{refused:#?}");
}

fn is_skipped(name: &str) -> bool {
    SKIPPED.iter().any(|(skipped, _)| *skipped == name)
}

/// The functions that were entered, by the ids of the hooks.
fn entered(events: &[Event]) -> Vec<u32> {
    let id = |event: &Event| match event.kind {
        EventKind::Enter(probe) => Some(probe.0),
        _ => None,
    };
    events.iter().filter_map(id).collect()
}

/// Our ids are indices in the hooked module: behind the three hooks.
fn without_shift(original: &[u8], ids: &[u32]) -> Vec<u32> {
    let imported = module::parse(original).unwrap().imported_funcs().len() as u32;
    ids.iter().map(|id| if *id < imported { *id } else { id - 3 }).collect()
}

/// The module with a hook at the entry of each function, or why walrus cannot make it.
fn hooked_by_walrus(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let write = || {
        let mut config = ModuleConfig::new();
        config.only_stable_features(false).generate_dwarf(false);
        let mut module = config.parse(wasm).map_err(|e| format!("does not read it: {e:?}"))?;
        let hook_type = module.types.add(&[ValType::I32], &[]);
        let (enter, _) = module.add_import_func(OBSERVE, "enter", hook_type);
        // Ids count functions as they come: those of the original have their indices for ids.
        let locals: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
        for id in locals {
            let body = module.funcs.get_mut(id).kind.unwrap_local_mut().builder_mut();
            let mut body = body.func_body();
            body.instr_at(0, Const { value: Value::I32(id.index() as i32) });
            body.instr_at(1, Call { func: enter });
        }
        Ok(module.emit_wasm())
    };
    catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| Err("panics".to_owned()))
}
