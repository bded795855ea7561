//! Another compiler, asked for the same hooks, sees the same calls: oracle 7 of `docs/oracles.md`.
//!
//! Theorem: when walrus writes `i32.const index; call enter` at the beginning of every body, with the function's index in
//! the original, the sequence of entered functions is the one that our hooks see. walrus decodes a module into a graph
//! and encodes it anew, so it shares neither code nor method with the splice.

use testing::Case;
use testing::host::Host;
use testing::instrument;
use testing::opinion::{entered, hooked_by_walrus, without_shift};
use testing::programs::{self, Program};
use wasmtrace::{Options, module};

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
    let shapes: Vec<Case> = testing::shapes().into_iter().filter(compared).collect();
    testing::for_each(shapes, |case| {
        let theirs = host.compile(&hooked_by_walrus(&case.wasm).unwrap()).unwrap();
        let hooked = instrument(&case.wasm, &everything()).unwrap().wasm;
        let ours = host.compile(&hooked).unwrap();
        let parsed = module::parse(&case.wasm).unwrap();
        for (export, _) in parsed.exports().iter().filter(|(name, _)| name.starts_with("run")) {
            let [theirs, ours] = [&theirs, &ours].map(|module| {
                let mut session = host.open(module).unwrap();
                session.call(export);
                entered(session.events())
            });
            assert_eq!(without_shift(&case.wasm, &hooked, &ours), theirs, "the calls of `{export}`");
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
    testing::for_each_named(
        &programs,
        |program| (&program.case.name, &program.case.wasm),
        |program| {
            let original = &program.case.wasm;
            let theirs = hooked_by_walrus(original).unwrap();
            let hooked = instrument(original, &everything()).unwrap().wasm;
            for run in program.runs.iter().filter(|run| run.deterministic) {
                let [theirs, ours] = [&theirs, &hooked].map(|wasm| entered(&run.of(wasm).1));
                assert!(!theirs.is_empty());
                assert!(without_shift(original, &hooked, &ours) == theirs, "the calls of {:?}", run.args);
            }
        },
    );
}

/// The list of what is skipped is true in both directions.
#[test]
fn walrus_takes_all_but_what_is_listed() {
    let host = Host::hooked();
    let shapes = testing::shapes().into_iter().filter(|case| case.not_run.is_none()).map(|case| {
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
