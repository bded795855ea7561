//! Theorem: what is written is what we meant. For each `corpus/shapes/*.wat` the output as text, with every function hooked,
//! is the one in `tests/snapshots/`, under the same name. A person has read them against the rules of the rewriting.
//!
//! `INSTA_UPDATE=always cargo test --test snapshots` writes down what comes out now; read the difference before you keep it.

mod common;

use wasmtrace::hook::HookSet;
use wasmtrace::{Options, instrument, rewrite};

/// Longer outputs are repetition; the small shapes beside them show the same.
const LONGEST: usize = 40_000;

/// The text of the output. Our own custom sections go: the Manifest and `producers` hold hashes and versions.
fn text(wasm: &[u8]) -> String {
    let text = wasmprinter::print_bytes(wasm).unwrap();
    let mut kept = String::new();
    let mut in_producers = false;
    for line in text.lines() {
        in_producers |= line == "  (@producers";
        if in_producers {
            in_producers = line != "  )";
        } else if !line.starts_with("  (@custom \"wasmtrace.manifest\"") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn every_shape_becomes_what_was_written_down() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        let long = std::sync::Mutex::new(Vec::new());
        common::for_each(common::shapes(), |case| {
            let out = instrument(&case.wasm, &Options::default()).unwrap();
            let text = text(&out.wasm);
            if text.len() > LONGEST {
                long.lock().unwrap().push(case.name.clone());
                return;
            }
            let warnings: String = out.warnings.iter().map(|w| format!(";; warning: {w}\n")).collect();
            insta::assert_snapshot!(case.name.as_str(), warnings + &text);
        });
        // Named here, so that a shape cannot grow out of the test unseen.
        assert_eq!(long.into_inner().unwrap(), [""; 0]);
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    let shapes: Vec<String> = common::shapes().into_iter().map(|case| case.name).collect();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        // Those of other tests begin with the test's name and `__`.
        let ours = !file.is_dir() && !name.contains("__");
        assert!(!ours || shapes.contains(&name), "{} belongs to no shape", file.display());
    }
}

/// The other hook sets differ in what stands for a hook, so a few shapes show all there is.
#[test]
fn hooks_that_write_into_a_buffer_are_what_was_written_down() {
    let shapes = common::shapes();
    for (name, hooks) in [
        ("body_falls_through", HookSet::Buffer),
        ("throw_crosses_a_frame", HookSet::Buffer),
        ("several_memories", HookSet::Buffer),
        ("return_call_leaves_before_the_call", HookSet::Buffer),
        ("memory_grow_on_memory_zero", HookSet::Buffer),
        ("body_falls_through", HookSet::Threshold),
    ] {
        let case = shapes.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no {name}"));
        let rewrite = rewrite::Options { hooks, ..Default::default() };
        let out = instrument(&case.wasm, &Options { rewrite, ..Default::default() }).unwrap();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(format!("snapshots/{}", hooks.name()));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text(&out.wasm)));
    }
}

/// A shape that is to be refused says why in its second line, and the error says that too.
#[test]
fn shapes_that_are_refused_are_refused_for_the_reason_given() {
    for (case, reason) in common::refused_shapes() {
        let error = instrument(&case.wasm, &Options::default()).unwrap_err();
        let said = format!(";; {reason}\n{:?}: {error}\n", error.kind());
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots/refused");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(case.name.as_str(), said));
    }
}
