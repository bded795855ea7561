//! What hooks cost on a host of the Observe ABI: how much code they are, and how many events there are to pay for. Tables of
//! `docs/performance.md` and `docs/pipelines.md` are made here.

use testing::instrument;
use testing::programs;
use wasmtrace::hook::HookSet;
use wasmtrace::rewrite::{self, CloseOnExit};
use wasmtrace::runtime::{Config, Stdio};
use wasmtrace::select::{Preset, Rules, select};
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::span_builder::{SpanBuilder, What};
use wasmtrace::{Options, label, module};

/// Smaller programs are left out: a few bytes of them are many percent.
const LEAST: usize = 50_000;

fn hooked(wasm: &[u8], hooks: HookSet, close_on_exit: CloseOnExit) -> Vec<u8> {
    let rewrite = rewrite::Options { hooks, close_on_exit, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap().wasm
}

/// Bytes of the code section's contents.
fn code(wasm: &[u8]) -> usize {
    module::parse(wasm).unwrap().sections().iter().find(|section| section.id == 10).unwrap().contents.len()
}

fn sizes() -> String {
    let mut table = "| program | code | functions | observe | with `--close-on-exit` | buffer | threshold |\n|---|--:|--:|--:|--:|--:|--:|\n".to_owned();
    for case in testing::programs().into_iter().filter(|case| code(&case.wasm) >= LEAST) {
        let before = code(&case.wasm);
        let growth = |hooks, balance| {
            let after = code(&hooked(&case.wasm, hooks, balance));
            format!("+{:.1} %", (after - before) as f64 * 100.0 / before as f64)
        };
        table += &format!(
            "| {} | {} KB | {} | {} | {} | {} | {} |\n",
            case.name,
            before.div_ceil(1000),
            module::parse(&case.wasm).unwrap().defined_funcs().len(),
            growth(HookSet::Observe, CloseOnExit::Never),
            growth(HookSet::Observe, CloseOnExit::Always),
            growth(HookSet::Buffer, CloseOnExit::Never),
            growth(HookSet::Threshold, CloseOnExit::Never),
        );
    }
    table
}

/// Theorem: the table of sizes in `docs/performance.md` is what comes out; and the hooks of an Observe host are at most an eighth
/// of the code, in every program.
#[test]
fn code_grows_as_the_document_says() {
    let table = sizes();
    println!("{table}");
    testing::golden::assert_part("docs/performance.md", "<!-- sizes -->", "<!-- /sizes -->", &table);
}

/// What a preset leaves: on each program, functions and events with everything hooked and with the preset, and how much of the own
/// time of functions is that of functions it hooks.
#[test]
#[ignore = "its times are worth something in release builds only"]
fn what_the_preset_leaves() {
    println!("| program | functions | with the preset | events | with the preset | self time that stays visible |");
    println!("|---|--:|--:|--:|--:|--:|");
    for name in
        ["c_lua", "c_bzip2_dwarf5", "cpp_classes", "rust_serde", "rust_calls", "rust_lines", "zig_demo", "go_hello"]
    {
        let wasm = programs::program(name).wasm;
        let parsed = module::parse(&wasm).unwrap();
        let mut rules = Rules::default();
        rules.push_preset(Preset::Hosted);
        let plan = select(&parsed, &label::label(&parsed), &rules);
        let run = |rules: &Rules| {
            let rewrite = rewrite::Options { hooks: HookSet::Buffer, ..Default::default() };
            let out = instrument(&wasm, &Options { select: rules.clone(), rewrite, ..Default::default() }).unwrap();
            let config =
                Config { program: name.to_owned(), stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() };
            let (mut profile, mut fold) = (Profile::new(), SpanBuilder::new());
            let (outcome, events) = programs::run(&out.wasm, &config);
            events.iter().for_each(|event| fold.event(event, &mut |change| profile.change(change)));
            fold.finish(outcome.duration, &outcome.ending, &mut |change| profile.change(change));
            profile
        };
        let (all, some) = (run(&Rules::default()), run(&rules));
        let hooks = HookSet::Buffer.imports().len() as u32;
        let own = |visible: bool| -> u64 {
            let functions = all.by_function().into_iter().filter(|function| match function.what {
                What::Call(probe) => !visible || plan.contains(module::FuncIdx(probe.0 - hooks)),
                What::Manual(_) => false,
            });
            functions.map(|function| function.self_time).sum()
        };
        println!(
            "| {name} | {} | {} | {} | {} | {:.0} % |",
            parsed.defined_funcs().len(),
            plan.iter().count(),
            2 * all.calls(),
            2 * some.calls(),
            own(true) as f64 * 100.0 / own(false) as f64,
        );
    }
}
