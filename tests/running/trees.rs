//! Theorem: the call tree of a run is what a person would write down who reads the program. Every event is taken to be one
//! microsecond after the one before, so times are counts of events and the text is the same in every run: who called
//! whom, how often, in which order by weight, how the run ended and where.

use std::path::Path;

use testing::instrument;
use wasmtrace::export::{Look, RunInfo, Sink, Summary, Tree};
use wasmtrace::runtime::{Config, Invoke, Stdio};
use wasmtrace::trace::Event;
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::span_builder::SpanBuilder;
use wasmtrace::{Options, label, module};

const TICK: u64 = 1_000;

/// The tree of a run, as `wasmtrace run` shows it.
fn tree(program: &str, config: Config, min_share: f64) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/real").join(program);
    let original = std::fs::read(path).unwrap();
    let hooked = instrument(&original, &Options::default()).unwrap().wasm;
    let module = module::parse(&hooked).unwrap();
    let labels = label::probes(&module).labels;
    let run_info = RunInfo { program: program.to_owned(), labels, ..Default::default() };

    let (mut fold, mut profile, mut now) = (SpanBuilder::new(), Profile::new(), 0);
    let outcome = wasmtrace::runtime::run(&hooked, &config, |events| {
        for event in events {
            now += TICK;
            fold.event(&Event { at: now, kind: event.kind.clone() }, &mut |change| profile.change(change));
        }
    })
    .unwrap();
    now += TICK;
    fold.finish(now, &outcome.ending, &mut |change| profile.change(change));
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total(), "self times add up to the total");

    let mut text = Vec::new();
    let summary = Summary {
        ending: &outcome.ending,
        duration: now,
        profile: &profile,
        anomalies: fold.anomalies(),
        accuracy: Default::default(),
        lines: &Default::default(),
        left_out: Default::default(),
    };
    Tree::new(&mut text, Look { min_share, ..Default::default() }).finish(&run_info, &summary).unwrap();
    String::from_utf8(text).unwrap()
}

fn config(program: &str, args: &[&str]) -> Config {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    Config { program: program.to_owned(), args, stdio: Stdio::Capture { stdin: Vec::new() }, ..Default::default() }
}

/// Compares with the snapshot of that name, after asking that a second run says the same.
fn assert_tree(name: &str, tree: impl Fn() -> String) {
    let text = tree();
    assert_eq!(text, tree(), "{name}: two runs differ");
    testing::golden::snapshots("trees").bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn a_c_program_ends_in_every_way() {
    for args in [
        &[][..],
        &["exit", "7"],
        &["exit", "0"],
        &["main", "3"],
        &["trap"],
        &["abort"],
        &["oob"],
        &["div0"],
        &["recurse", "500"],
        &["what"],
    ] {
        let name = ["c_exit"].iter().chain(args).copied().collect::<Vec<_>>().join("_");
        assert_tree(&name, || tree("c_exit.wasm", config("c_exit.wasm", args), 0.0));
    }
}

#[test]
fn the_exports_of_a_reactor_are_called_one_by_one() {
    for (function, args) in [("is_ready", &[][..]), ("add", &["2", "3"]), ("fib", &["15"]), ("greet", &[])] {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let invoke = Some(Invoke { function: function.to_owned(), args });
        assert_tree(&format!("c_reactor_{function}"), || {
            tree("c_reactor.wasm", Config { invoke: invoke.clone(), ..config("c_reactor.wasm", &[]) }, 0.0)
        });
    }
}

#[test]
fn programs_of_every_language_are_shown_by_their_own_names() {
    // What weighs less than this share is summed up, as on the command line.
    for program in ["zig_demo", "as_sieve", "cpp_classes", "rust_calls"] {
        let file = format!("{program}.wasm");
        assert_tree(program, || tree(&file, config(&file, &[]), 0.005));
    }
}

#[test]
fn panics_and_exceptions_leave_calls_that_did_not_return() {
    for (name, file, args) in [
        ("rust_panic_panic", "rust_panic.wasm", &["panic"][..]),
        ("rust_panic_exit", "rust_panic.wasm", &["exit", "7"]),
        ("cpp_eh_exnref", "cpp_eh_exnref.wasm", &[]),
    ] {
        assert_tree(name, || tree(file, config(file, args), 0.01));
    }
}

/// The program of the smallest tree is written down beside it, so that one tree at least can be checked by reading.
#[test]
fn a_tree_is_what_its_program_says() {
    let wasm = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/modules/app.wat")).unwrap();
    let hooked = instrument(&wasm, &Options::default()).unwrap().wasm;
    let mut entered = Vec::new();
    let labels = {
        let module = module::parse(&hooked).unwrap();
        label::probes(&module).labels
    };
    wasmtrace::runtime::run(&hooked, &config("app", &[]), |events| {
        entered.extend(events.iter().map(|e| match &e.kind {
            wasmtrace::trace::EventKind::Enter(id) => format!("+{}", labels[id].demangled()),
            wasmtrace::trace::EventKind::Exit(id) => format!("-{}", labels[id].demangled()),
            other => format!("{other:?}"),
        }));
    })
    .unwrap();
    // main opens the database, which asks for two numbers.
    assert_eq!(
        entered,
        [
            "+app::main",
            "+app::db::open",
            "+core::id",
            "-core::id",
            "+core::id",
            "-core::id",
            "-app::db::open",
            "-app::main"
        ]
    );
}
