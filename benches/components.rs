//! What hooks cost in components, beside the same programs as core modules: CPU time of the guest's thread with hooks, against
//! the same without; sizes; compilation.
//!
//! ```sh
//! benches/programs.sh tree-sitter && cargo bench -p benches --bench components
//! cargo bench -p benches --bench components -- --rounds 11 fib
//! ```
//!
//! Components are made from the core modules, with wasmtime's adapter for WASI preview 1. A host of the bench's own runs both,
//! with `TracedModule` and `TracedComponent`, and its consumer only counts the events. All engines are the same, but for the
//! inlining of functions across modules. Rounds and times are those of `overhead.rs`. The control is the module without
//! hooks once more.
//!
//! Other programs of `programs.sh` export no `cabi_realloc` for the adapter, and their libc may need that.
//!
//! What hooking a large component costs is measured by `verbs.py`.

use std::time::{Duration, Instant};

use benches::{Args, Program, engine_config, machine, spread, thread_cpu, with_stack};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmtime::component::{self, Component};
use wasmtime::{AsContextMut, Engine, Inlining, Linker, Module, Store, StoreContextMut};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2;
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtrace::hook::HookSet;
use wasmtrace::runtime::{RecordedCalls, TraceSlot, TracedComponent, TracedModule};
use wasmtrace::trace::batch::Batch;
use wasmtrace::{Options, rewrite};
use wit_component::ComponentEncoder;

/// The programs that are run, unless others are named.
const USUAL: [&str; 2] = ["fib", "tree-sitter"];

/// A command that does nothing but call. The `fib` of other benches is a reactor.
const FIB: &str = r#"(module $fib
    (memory (export "memory") 1)
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func $_start (export "_start")
        (if (i32.ne (call $fib (i32.const 35)) (i32.const 9227465)) (then unreachable))))"#;

/// A way to run a program.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    is_component: bool,
    inlining: Inlining,
    hooks: Option<HookSet>,
    /// The way that it is compared with.
    beside: usize,
}

const fn way(name: &'static str, is_component: bool, hooks: Option<HookSet>, beside: usize) -> Way {
    Way { name, is_component, inlining: Inlining::No, hooks, beside }
}

const MODULE: usize = 0;
const COMPONENT: usize = 2;
const INLINED: usize = 3;
const WAYS: [Way; 9] = [
    way("module", false, None, MODULE),
    way("control", false, None, MODULE),
    way("component", true, None, MODULE),
    Way { inlining: Inlining::InterModule, ..way("component, inlined", true, None, MODULE) },
    way("module, buffer", false, Some(HookSet::Buffer), MODULE),
    way("component, buffer", true, Some(HookSet::Buffer), COMPONENT),
    Way { inlining: Inlining::InterModule, ..way("component, buffer, inlined", true, Some(HookSet::Buffer), INLINED) },
    way("module, observe", false, Some(HookSet::Observe), MODULE),
    way("component, observe", true, Some(HookSet::Observe), COMPONENT),
];

/// The same program in both forms.
struct Both {
    module: Vec<u8>,
    component: Vec<u8>,
}

impl Both {
    fn of(program: &Program) -> Both {
        let module = match program.name {
            "fib" => wat::parse_str(FIB).expect("it is valid"),
            _ => program.wasm.clone(),
        };
        let encoder = ComponentEncoder::default().module(&module).expect("it is a command of WASI preview 1");
        let component = encoder
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
            .and_then(|mut encoder| encoder.encode());
        Both { module, component: component.expect("the adapter fits") }
    }
}

/// A program, compiled in one way, with what records its events.
enum Guest {
    Module(Module, Option<TracedModule>),
    Component(Component, Option<TracedComponent>),
}

impl Guest {
    fn of(both: &Both, way: &Way) -> Guest {
        let engine = engine(way.inlining, true);
        if way.is_component {
            let traced = way.hooks.map(|hooks| TracedComponent::new(&both.component, &options(hooks)).expect("valid"));
            let wasm = traced.as_ref().map_or(both.component.as_slice(), TracedComponent::wasm);
            Guest::Component(Component::from_binary(&engine, wasm).expect("it compiles"), traced)
        } else {
            let traced = way.hooks.map(|hooks| TracedModule::new(&both.module, &options(hooks)).expect("valid"));
            let wasm = traced.as_ref().map_or(both.module.as_slice(), TracedModule::wasm);
            Guest::Module(Module::from_binary(&engine, wasm).expect("it compiles"), traced)
        }
    }
}

fn options(hooks: HookSet) -> Options {
    Options { rewrite: rewrite::Options { hooks, restore: false, ..Default::default() }, ..Options::default() }
}

fn engine(inlining: Inlining, parallel: bool) -> Engine {
    Engine::new(engine_config(parallel).compiler_inlining(inlining)).expect("the configuration is sound")
}

/// The data of a store.
struct Host {
    wasi: WasiP1Ctx,
    trace: TraceSlot,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

fn trace(host: &mut Host) -> &mut TraceSlot {
    &mut host.trace
}

/// One run.
struct Run {
    cpu: Duration,
    /// The part of the run's time for which the guest waited for the reader of its events.
    waited: f64,
    events: u64,
    /// What the program printed, the same in every run.
    said: Vec<u8>,
}

fn main() {
    let Args { number: rounds, programs } =
        Args::of(std::env::args().skip(1), "--rounds", 7, |name| USUAL.contains(&name));
    println!("{}; {rounds} rounds: median (least to greatest), and nanoseconds an event.\n", machine());
    println!("| program | events | {} |", WAYS.map(|way| way.name).join(" | "));
    println!("|---|--:|{}", "--:|".repeat(WAYS.len()));
    let mut waited = Vec::new();
    let programs: Vec<(&str, Both)> = programs.iter().map(|program| (program.name, Both::of(program))).collect();
    for (name, both) in &programs {
        println!("| {} |", with_stack(|| costs(name, both, rounds, &mut waited)).join(" | "));
    }
    if !waited.is_empty() {
        println!("\nNot in these times: the guest waited for the reader of its events ({}).", waited.join("; "));
    }

    println!(
        "\nSizes, and times of compilation on one core. Hooked: with the buffer, and relative to the same without hooks.\n"
    );
    println!(
        "| program | module | hooked | component | hooked | compilation of the module | hooked | of the component | hooked | of the component, inlined | hooked |"
    );
    println!("|---|{}", "--:|".repeat(10));
    for (name, both) in &programs {
        println!("| {name} | {} |", compiled(both, rounds.min(5)).join(" | "));
    }
}

/// A row of the first table. Each way is compared with another one in the same round.
fn costs(name: &str, both: &Both, rounds: usize, waited: &mut Vec<String>) -> Vec<String> {
    let guests = WAYS.map(|way| Guest::of(both, &way));
    let rounds: Vec<Vec<Run>> = (0..rounds)
        .map(|round| {
            // Another way is the first in each round.
            let mut runs: Vec<(usize, Run)> =
                (0..WAYS.len()).map(|i| (i + round) % WAYS.len()).map(|i| (i, run(&guests[i]))).collect();
            runs.sort_by_key(|(i, _)| *i);
            runs.into_iter().map(|(_, run)| run).collect()
        })
        .collect();
    let first = &rounds[0][0].said;
    assert!(rounds.iter().flatten().all(|run| run.said == *first), "{name}: hooks change the result");
    let events = rounds[0].iter().map(|run| run.events).max().unwrap_or(0);
    let mut cells = vec![name.to_owned(), format!("{:.1} M", events as f64 / 1e6)];
    for (i, way) in WAYS.iter().enumerate() {
        let of = |value: &dyn Fn(&Run, &Run) -> f64| spread(rounds.iter().map(|r| value(&r[i], &r[way.beside])));
        let ratio = of(&|run, none| run.cpu.as_secs_f64() / none.cpu.as_secs_f64());
        let nanos =
            of(&|run, none| (run.cpu.as_secs_f64() - none.cpu.as_secs_f64()) * 1e9 / run.events.max(1) as f64).median;
        let times = format!("×{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most);
        cells.push(match way.hooks {
            _ if i == MODULE => format!("{:.2} s", of(&|run, _| run.cpu.as_secs_f64()).median),
            None => times,
            Some(_) => format!("{times}, {nanos:.1} ns"),
        });
        let part = of(&|run, _| run.waited).median;
        if part > 0.01 {
            waited.push(format!("{name}, {}: {:.0} %", way.name, part * 100.0));
        }
    }
    cells
}

fn run(guest: &Guest) -> Run {
    let stdout = MemoryOutputPipe::new(1 << 20);
    let host = Host { wasi: WasiCtxBuilder::new().stdout(stdout.clone()).build_p1(), trace: TraceSlot::default() };
    let mut events = 0;
    let (cpu, waited) = match guest {
        Guest::Module(module, traced) => {
            let mut store = Store::new(module.engine(), host);
            let mut linker: Linker<Host> = Linker::new(module.engine());
            p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi).expect("there is nothing yet");
            let start = |linker: &Linker<Host>, mut store: StoreContextMut<'_, Host>| {
                let before = thread_cpu();
                let instance = linker.instantiate(&mut store, module)?;
                instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
                Ok(thread_cpu() - before)
            };
            match traced {
                None => (start(&linker, store.as_context_mut()).expect("it returns"), 0.0),
                Some(traced) => {
                    traced.add_to_linker(&mut linker, module, trace).expect("WASI has no hooks");
                    let count = |batch: &Batch| events += batch.events();
                    costs_of(traced.record_batches(&mut store, trace, count, |store| start(&linker, store)))
                }
            }
        }
        Guest::Component(component, traced) => {
            let mut store = Store::new(component.engine(), host);
            let mut linker: component::Linker<Host> = component::Linker::new(component.engine());
            p2::add_to_linker_sync(&mut linker).expect("there is nothing yet");
            let start = |linker: &component::Linker<Host>, mut store: StoreContextMut<'_, Host>| {
                let before = thread_cpu();
                let command = Command::instantiate(&mut store, component, linker)?;
                command.wasi_cli_run().call_run(&mut store)?.expect("it succeeds");
                Ok(thread_cpu() - before)
            };
            match traced {
                None => (start(&linker, store.as_context_mut()).expect("it returns"), 0.0),
                Some(traced) => {
                    traced.add_to_linker(&mut linker, trace).expect("WASI has no hooks");
                    let count = |batch: &Batch| events += batch.events();
                    costs_of(traced.record_batches(&mut store, trace, count, |store| start(&linker, store)))
                }
            }
        }
    };
    Run { cpu, waited, events, said: stdout.contents().to_vec() }
}

/// The CPU time of recorded calls, and the part of their time for which they waited.
fn costs_of(recorded: wasmtrace::Result<RecordedCalls<Duration>>) -> (Duration, f64) {
    let RecordedCalls { result, waited, duration, .. } = recorded.expect("it can be recorded");
    (result.expect("it returns"), waited as f64 / (duration + waited) as f64)
}

/// A row of the second table. Compiled on one core: on several, what else they do would be in the times.
fn compiled(both: &Both, rounds: usize) -> Vec<String> {
    let buffer = options(HookSet::Buffer);
    let module = wasmtrace::instrument(&both.module, &buffer).expect("it can be hooked").wasm;
    let component = TracedComponent::new(&both.component, &buffer).expect("it can be hooked");
    let component = component.wasm();
    let (engine, inlining) = (engine(Inlining::No, false), engine(Inlining::InterModule, false));
    let time = |compile: &dyn Fn()| {
        let begun = Instant::now();
        compile();
        begun.elapsed().as_secs_f64()
    };
    let of_module = |wasm: &[u8]| time(&|| drop(Module::from_binary(&engine, wasm).expect("it compiles")));
    let of_component =
        |engine: &Engine, wasm: &[u8]| time(&|| drop(Component::from_binary(engine, wasm).expect("it compiles")));
    let rounds: Vec<[f64; 6]> = (0..rounds)
        .map(|_| {
            [
                of_module(&both.module),
                of_module(&module),
                of_component(&engine, &both.component),
                of_component(&engine, component),
                of_component(&inlining, &both.component),
                of_component(&inlining, component),
            ]
        })
        .collect();
    let sizes = [(&both.module[..], &module[..]), (&both.component[..], component)];
    let sizes =
        sizes.into_iter().flat_map(|(plain, hooked)| [plain.len() as f64, hooked.len() as f64 / plain.len() as f64]);
    let sizes =
        sizes.enumerate().map(|(i, n)| if i % 2 == 0 { format!("{:.1} kB", n / 1e3) } else { format!("×{n:.2}") });
    let times = (0..6).map(|i| match i % 2 {
        0 => format!("{:.0} ms", spread(rounds.iter().map(|r| r[i])).median * 1e3),
        _ => format!("×{:.2}", spread(rounds.iter().map(|r| r[i] / r[i - 1])).median),
    });
    sizes.chain(times).collect()
}
