//! What hooks cost: CPU time of the guest's thread with hooks, against the same without; size; compilation.
//!
//! ```sh
//! benches/programs.sh && cargo bench -p benches --bench overhead
//! cargo bench -p benches --bench overhead -- --rounds 11 lua sqlite
//! ```
//!
//! In each round every program is run once in each way, one way after the other, so that a machine that gets slower does so
//! for all of them; ratios are those within a round. Times are the kernel's of the guest's thread alone: neither
//! compilation nor the reader of the events is in them, nor what else runs on the machine, but for the caches. The control
//! is the program without hooks once more: how far it is from 1 is what the other numbers are worth.

#[allow(dead_code, reason = "each bench needs a part of it")]
use std::time::{Duration, Instant};

use benches::{Args, Program, engine_config, machine, spread, thread_cpu, with_stack};
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtrace::hook::{HOOK_SETS, HookSet, OBSERVE};
use wasmtrace::runtime::{self, ClockMode};
use wasmtrace::trace::{EventKind, RunOutcome};

const MIN_DURATION: Duration = Duration::from_micros(10);

/// A way to run a program.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Without hooks, or with these, as the library runs it.
    Library(Option<HookSet>),
    /// With hooks that call functions of the host that do nothing: what the calls alone cost.
    Empty,
    /// The same by way of functions that keep the calls that are open (`--close-on-exit`).
    Balanced,
}

/// The first is what the others are compared with, the second the control.
const WAYS: [(&str, Way); 7] = [
    ("no hooks", Way::Library(None)),
    ("control", Way::Library(None)),
    ("host call, empty", Way::Empty),
    ("balanced", Way::Balanced),
    ("host call + clock", Way::Library(Some(HookSet::Observe))),
    ("buffer", Way::Library(Some(HookSet::Buffer))),
    ("threshold 10 µs", Way::Library(Some(HookSet::Threshold))),
];

/// One run.
struct Run {
    cpu: Duration,
    /// The part of the run's time for which the guest waited for the reader of its events.
    waited: f64,
    calls: u64,
    /// What the program printed or returned, the same in every run.
    said: String,
}

fn main() {
    let Args { number: rounds, programs } = Args::read("--rounds", 7);
    println!("{}; {rounds} rounds: median (least to greatest).\n", machine());
    println!("| program | calls | {} |", WAYS.map(|(name, _)| name).join(" | "));
    println!("|---|--:|{}", "--:|".repeat(WAYS.len()));
    let mut waited = Vec::new();
    for program in &programs {
        let hooked = HOOK_SETS.map(|hooks| program.hooked(hooks));
        let balanced = program.balanced();
        let rounds: Vec<Vec<Run>> = (0..rounds)
            .map(|round| {
                // Another way is the first in each round.
                let mut runs: Vec<(usize, Run)> = (0..WAYS.len())
                    .map(|i| (i + round) % WAYS.len())
                    .map(|i| (i, run(program, &hooked, &balanced, WAYS[i].1)))
                    .collect();
                runs.sort_by_key(|(i, _)| *i);
                runs.into_iter().map(|(_, run)| run).collect()
            })
            .collect();
        let first = &rounds[0][0].said;
        assert!(rounds.iter().flatten().all(|run| run.said == *first), "{}: hooks change the result", program.name);
        let calls = rounds[0].iter().map(|run| run.calls).max().unwrap_or(0);
        let of = |way: usize, value: &dyn Fn(&Run, &Run) -> f64| spread(rounds.iter().map(|r| value(&r[way], &r[0])));
        let mut cells = vec![program.name.to_owned(), format!("{:.1} M", calls as f64 / 1e6)];
        for (way, (name, how)) in WAYS.iter().enumerate() {
            let ratio = of(way, &|run, none| run.cpu.as_secs_f64() / none.cpu.as_secs_f64());
            let nanos = of(way, &|run, none| (run.cpu.as_secs_f64() - none.cpu.as_secs_f64()) * 1e9 / calls as f64);
            let times = format!("×{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most);
            cells.push(match way {
                0 => format!("{:.2} s", of(way, &|run, _| run.cpu.as_secs_f64()).median),
                _ if *how == WAYS[0].1 => times,
                _ => format!("{times}, {:.1} ns a call", nanos.median),
            });
            let part = of(way, &|run, _| run.waited).median;
            if part > 0.01 {
                waited.push(format!("{}, {name}: {:.0} %", program.name, part * 100.0));
            }
        }
        println!("| {} |", cells.join(" | "));
    }
    if !waited.is_empty() {
        println!("\nNot in these times: the guest waited for the reader of its events ({}).", waited.join("; "));
    }

    println!(
        "\nSize and time of compilation, as they are and with hooks: {}.\n",
        HOOK_SETS.map(HookSet::name).join(" / ")
    );
    println!(
        "| program | module | hooked | machine code | hooked | compilation | hooked |\n|---|--:|--:|--:|--:|--:|--:|"
    );
    for program in &programs {
        println!("| {} |", compiled(program, rounds.min(5)).join(" | "));
    }
}

fn run(program: &Program, hooked: &[Vec<u8>; 3], balanced: &[u8], way: Way) -> Run {
    let of_set = |set: HookSet| hooked[HOOK_SETS.iter().position(|s| *s == set).expect("there is no other")].as_slice();
    let hooks = match way {
        Way::Empty => return run_empty(program, of_set(HookSet::Observe)),
        Way::Balanced => return run_empty(program, balanced),
        Way::Library(hooks) => hooks,
    };
    let mut config = program.config();
    if hooks == Some(HookSet::Threshold) {
        // As the command line does it: for so short a time the coarse clock is none.
        config.clock = ClockMode::Spin;
        config.min_duration = MIN_DURATION;
    }
    let mut calls = 0;
    let outcome = runtime::run(hooks.map_or(&program.wasm, of_set), &config, |events| {
        for event in events {
            calls += match event.kind {
                EventKind::Enter(_) => 1,
                EventKind::Elided(_, calls) => u64::from(calls),
                _ => 0,
            };
        }
    })
    .expect("it runs");
    assert_eq!(outcome.ending, RunOutcome::Returned);
    Run {
        cpu: outcome.guest_cpu.expect("the system tells the CPU time of a thread"),
        waited: outcome.waited as f64 / (outcome.duration + outcome.waited) as f64,
        calls,
        said: String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.results.join(" "),
    }
}

/// The same on a host of the bench's own, whose hooks are empty.
fn run_empty(program: &Program, hooked: &[u8]) -> Run {
    let engine = engine(true);
    let module = Module::from_binary(&engine, hooked).expect("it compiles");
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |wasi| wasi).expect("there is nothing yet");
    for hook in ["enter", "exit", "memory-grow"] {
        linker.func_wrap(OBSERVE, hook, |_: u32| {}).expect("WASI has no hooks");
    }
    let invoke = program.invoke;
    with_stack(move || {
        let stdout = MemoryOutputPipe::new(1 << 20);
        let mut store = Store::new(&engine, WasiCtxBuilder::new().stdout(stdout.clone()).build_p1());
        let before = thread_cpu();
        let instance = linker.instantiate(&mut store, &module).expect("it can be instantiated");
        let result = match invoke {
            Some((function, arg)) => {
                // A reactor.
                let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize").expect("it has that");
                initialize.call(&mut store, ()).expect("it starts");
                let function = instance.get_typed_func::<i32, i32>(&mut store, function).expect("it is exported");
                let arg = arg.parse().expect("the argument is a number");
                function.call(&mut store, arg).expect("it returns").to_string()
            }
            None => {
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("it is a command");
                start.call(&mut store, ()).expect("it returns");
                String::new()
            }
        };
        let cpu = thread_cpu() - before;
        Run { cpu, waited: 0.0, calls: 0, said: String::from_utf8_lossy(&stdout.contents()).into_owned() + &result }
    })
}

fn engine(parallel: bool) -> Engine {
    Engine::new(&engine_config(parallel)).expect("the configuration is sound")
}

/// The second table's row. Compiled on one core: on several, what else they do would be in the times.
fn compiled(program: &Program, rounds: usize) -> Vec<String> {
    let engine = engine(false);
    let modules: Vec<Vec<u8>> =
        [program.wasm.clone()].into_iter().chain(HOOK_SETS.map(|hooks| program.hooked(hooks))).collect();
    let compile = |wasm: &Vec<u8>| {
        let begun = Instant::now();
        let module = Module::from_binary(&engine, wasm).expect("it compiles");
        (begun.elapsed().as_secs_f64(), module.text().len() as f64)
    };
    let rounds: Vec<Vec<(f64, f64)>> = (0..rounds).map(|_| modules.iter().map(compile).collect()).collect();
    let times = |of: &dyn Fn(usize) -> f64| {
        (1..modules.len()).map(|i| format!("×{:.2}", of(i))).collect::<Vec<_>>().join(" / ")
    };
    let size = |bytes: f64| format!("{:.0} kB", bytes / 1e3);
    vec![
        program.name.to_owned(),
        size(modules[0].len() as f64),
        times(&|i| modules[i].len() as f64 / modules[0].len() as f64),
        size(rounds[0][0].1),
        times(&|i| rounds[0][i].1 / rounds[0][0].1),
        format!("{:.0} ms", spread(rounds.iter().map(|r| r[0].0)).median * 1e3),
        times(&|i| spread(rounds.iter().map(|r| r[i].0 / r[0].0)).median),
    ]
}
