//! What hooking costs: CPU time beside that of validation and of other engines, memory, how it grows.
//!
//! ```sh
//! benches/modules.sh && benches/dwarf.sh && cargo bench -p benches --bench rewrite
//! cargo bench -p benches --bench rewrite -- [--rounds N] [--no-peers] [FILE...]
//! cargo bench -p benches --bench rewrite -- --counts [FILE...]      instructions, by valgrind, in place of times
//! cargo bench -p benches --bench rewrite -- --growth                how cost grows with size and with the number of functions
//! ```
//!
//! In each round everything is done once, one after the other, on a pool of one thread, and its CPU time divided by that of
//! validation in the same round; what is shown is the median of those ratios. Validation is wasmparser's own, of the same bytes,
//! with every feature, its bodies on the same pool. What is hooked is written as the command line tool writes it, some bodies at a
//! time, but to nowhere; the other engines make theirs in memory. Memory is the peak of a process that hooks the module once, input
//! included.

#[allow(dead_code, reason = "each bench needs a part of it")]
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use benches::{machine, peers, spread};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use wasmtrace::hook::HookSet;
use wasmtrace::{Options, instrument, instrument_with, module, rewrite};

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "--once") {
        return once(&args[1], Path::new(&args[2]));
    }
    let mut flag = |name: &str| match args.iter().position(|arg| arg == name) {
        Some(at) => !args.remove(at).is_empty(),
        None => false,
    };
    let (counts, growth, no_peers) = (flag("--counts"), flag("--growth"), flag("--no-peers"));
    let mut rounds = 5;
    if let Some(at) = args.iter().position(|arg| arg == "--rounds") {
        rounds = args[at + 1].parse().expect("--rounds has a number");
        args.drain(at..at + 2);
    }
    let files = match args.is_empty() {
        true => modules(),
        false => args.into_iter().map(PathBuf::from).collect(),
    };
    match (counts, growth) {
        (true, _) => count(&files),
        (_, true) => grow(rounds),
        _ => compare(&files, rounds, !no_peers),
    }
}

/// Those of the corpus, and of `benches/modules.sh` and `benches/dwarf.sh` where they are there, by size.
fn modules() -> Vec<PathBuf> {
    let corpus = benches::root().join("corpus");
    let mut files: Vec<PathBuf> = vec![corpus.join("real/rust_serde.wasm"), corpus.join("big/dwarf.wasm")];
    files.extend(std::fs::read_dir(corpus.join("big/modules")).into_iter().flatten().flatten().map(|file| file.path()));
    files.retain(|file| {
        file.exists() || {
            eprintln!("{} is left out: it is not built", file.display());
            false
        }
    });
    if files.len() < 3 {
        eprintln!("only small modules: benches/modules.sh fetches large ones");
    }
    files.sort_by_key(|file| file.metadata().map_or(0, |m| m.len()));
    files
}

fn compare(files: &[PathBuf], rounds: usize, peers: bool) {
    let (one, all) = (pool(1), pool(0));
    println!("{}; medians of {rounds} rounds, in units of validation's CPU time.\n", machine());
    println!(
        "| module | MB | functions | validated | hooked | `--no-validate` | re-encoded | walrus, nothing done | wirm, nothing done | wasm-opt, nothing done | on all cores | peak MB, more than in and out |"
    );
    println!("|---|{}", "--:|".repeat(11));
    for file in files {
        let wasm = std::fs::read(file).expect("the module can be read");
        let name = file.file_stem().unwrap_or_default().display().to_string();
        row(&name, &wasm, rounds, peers, &one, &all);
        let bare = without_debug(&wasm);
        if bare.len() < wasm.len() / 2 {
            row(&format!("{name}, without its debug information"), &bare, rounds, peers, &one, &all);
        }
    }
    println!("\n| module | code, MB | observe | buffer | threshold |");
    println!("|---|{}", "--:|".repeat(4));
    for file in files {
        let wasm = std::fs::read(file).expect("the module can be read");
        let before = code(&wasm);
        let growth = |hooks| 100.0 * (code(&hooked(&wasm, hooks)) as f64 / before as f64 - 1.0);
        println!(
            "| {} | {:.1} | +{:.1} % | +{:.1} % | +{:.1} % |",
            file.file_stem().unwrap_or_default().display(),
            before as f64 / 1e6,
            growth(HookSet::Observe),
            growth(HookSet::Buffer),
            growth(HookSet::Threshold),
        );
    }
}

fn row(name: &str, wasm: &[u8], rounds: usize, peers: bool, one: &ThreadPool, all: &ThreadPool) {
    let module = module::parse(wasm).expect("a module");
    let functions = module.defined_funcs().len();
    let trusting = Options { no_validate: true, ..Default::default() };
    let mut work: Vec<Box<dyn Fn() + Sync + '_>> = vec![
        Box::new(|| validate(wasm)),
        Box::new(|| _ = black_box(hook(wasm, &Options::default()))),
        Box::new(|| _ = black_box(hook(wasm, &trusting))),
    ];
    if peers {
        work.push(Box::new(|| _ = black_box(peers::reencoded(&module))));
        work.push(Box::new(|| _ = black_box(peers::walrus(wasm))));
        work.push(Box::new(|| _ = black_box(peers::wirm(wasm))));
    }
    let mut times = vec![Vec::new(); work.len()];
    // Some cannot read some modules; what they say is theirs.
    let mut able = vec![true; work.len()];
    for _ in 0..rounds {
        for ((work, times), able) in work.iter().zip(&mut times).zip(&mut able) {
            if *able {
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one.install(|| cpu(work)))) {
                    Ok(time) => times.push(time),
                    Err(_) => *able = false,
                }
            }
        }
    }
    let wasm_opt = match peers {
        true => spread_of((0..rounds).filter_map(|round| Some(wasm_opt(wasm)? / times[0][round]))),
        false => None,
    };
    let wall = |pool: &ThreadPool| {
        let begin = Instant::now();
        pool.install(&work[1]);
        begin.elapsed().as_secs_f64()
    };
    let cores = spread((0..rounds).map(|_| wall(one) / wall(all)));
    let ratio = |of: usize| match able.get(of) {
        Some(true) => format!("×{:.2}", spread(times[of].iter().zip(&times[0]).map(|(a, b)| a / b)).median),
        Some(false) => "refused".to_owned(),
        None => String::new(),
    };
    let output = hook(wasm, &Options::default());
    let peak = peak_of(wasm);
    println!(
        "| {name} | {:.1} | {functions} | {:.3} s | {} | {} | {} | {} | {} | {} | ×{:.2} | {:.0}, {:+.0} |",
        wasm.len() as f64 / 1e6,
        spread(times[0].iter().copied()).median,
        ratio(1),
        ratio(2),
        ratio(3),
        ratio(4),
        ratio(5),
        wasm_opt.map_or("".to_owned(), |ratio| format!("×{ratio:.1}")),
        cores.median,
        peak / 1e6,
        (peak - (wasm.len() + output) as f64) / 1e6,
    );
}

/// The median, if there is anything.
fn spread_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| spread(values).median)
}

/// CPU seconds that binaryen's wasm-opt takes, on one core, to read a module and write it, where it is installed and can.
fn wasm_opt(wasm: &[u8]) -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0; // Linux, proc(5): what times of processes are told in
    let file = tempfile::NamedTempFile::new().expect("a file can be written");
    std::fs::write(file.path(), wasm).expect("a file can be written");
    let of_children = || -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("the system tells it");
        // Behind the name, which is in parentheses, cutime and cstime are the 14th and 15th.
        let fields = stat.rsplit(')').next().expect("there is a last").split_ascii_whitespace().skip(13).take(2);
        fields.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS_PER_SECOND
    };
    let before = of_children();
    let mut command = Command::new("wasm-opt");
    command.args(["--all-features", "-o", "/dev/null"]).arg(file.path()).env("BINARYEN_CORES", "1");
    let out = command.output().ok()?;
    out.status.success().then(|| of_children() - before)
}

/// What wasmparser's own validation does.
fn validate(wasm: &[u8]) {
    let features = wasmparser::WasmFeatures::all();
    let mut validator = wasmparser::Validator::new_with_features(features);
    let mut parser = wasmparser::Parser::new(0);
    parser.set_features(features);
    let mut funcs = Vec::new();
    for payload in parser.parse_all(wasm) {
        if let wasmparser::ValidPayload::Func(func, body) =
            validator.payload(&payload.expect("a valid module")).expect("a valid module")
        {
            funcs.push((func, body));
        }
    }
    funcs.into_par_iter().for_each_init(
        || Some(wasmparser::FuncValidatorAllocations::default()),
        |allocations, (func, body)| {
            let mut validator = func.into_validator(allocations.take().expect("put back"));
            validator.validate(&body).expect("a valid module");
            *allocations = Some(validator.into_allocations());
        },
    );
}

fn hooked(wasm: &[u8], hooks: HookSet) -> Vec<u8> {
    let rewrite = rewrite::Options { hooks, restore: false, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() }).expect("it can be hooked").wasm
}

/// How long the hooked module is, when it has been written.
fn hook(wasm: &[u8], options: &Options) -> usize {
    let write = |module: &rewrite::Unwritten<'_>| -> wasmtrace::Result<usize> {
        module.write_to(&mut std::io::sink()).expect("all is taken");
        Ok(module.len())
    };
    instrument_with(wasm, options, write).expect("it can be hooked").wasm
}

/// How long the code section is.
fn code(wasm: &[u8]) -> usize {
    let module = module::parse(wasm).expect("a module");
    module.sections().iter().find(|section| section.id == 10).map_or(1, |section| section.contents.len())
}

/// One of `threads` threads; as many as there are cores for 0.
fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started")
}

/// CPU seconds of this thread, which does all the work. What is short is repeated: the system counts in steps of some milliseconds.
fn cpu(work: impl Fn()) -> f64 {
    let nanos = || -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the system tells it");
        text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number comes first")
    };
    let (begin, before) = (Instant::now(), nanos());
    let mut times = 0u32;
    while times == 0 || begin.elapsed().as_millis() < 150 {
        work();
        times += 1;
    }
    (nanos() - before) as f64 / 1e9 / f64::from(times)
}

/// The module without its debug sections.
fn without_debug(wasm: &[u8]) -> Vec<u8> {
    let module = module::parse(wasm).expect("a module");
    let mut out = wasm[..8].to_vec();
    let kept = module.sections().iter().filter(|s| !s.name.is_some_and(|name| name.starts_with(".debug_")));
    kept.for_each(|section| out.extend_from_slice(&wasm[section.whole.clone()]));
    out
}

/// Does one thing with a module, for who looks at this process, and prints the peak of its memory.
fn once(what: &str, file: &Path) {
    let wasm = std::fs::read(file).expect("it has just been written");
    let no_validate = what == "decoded";
    match what {
        "read" => _ = black_box(wasm),
        "validated" => validate(&wasm),
        _ => _ = black_box(hook(&wasm, &Options { no_validate, ..Default::default() })),
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
    println!("{}", line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") * 1024.0);
}

/// This program, to do one thing. The allocator is set as the command line tool sets it.
fn child(what: &str, file: &Path) -> Vec<std::ffi::OsString> {
    let this = std::env::current_exe().expect("it runs");
    vec![this.into(), "--once".into(), what.into(), file.into()]
}

/// Peak memory, in bytes, of a process that hooks the module.
fn peak_of(wasm: &[u8]) -> f64 {
    let file = tempfile::NamedTempFile::new().expect("a file can be written");
    std::fs::write(file.path(), wasm).expect("a file can be written");
    let child = child("hooked", file.path());
    let mut command = Command::new(&child[0]);
    command.args(&child[1..]).env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072");
    let out = command.output().expect("it runs again");
    String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number comes out")
}

/// Instructions, which no other process on the machine has a part in.
fn count(files: &[PathBuf]) {
    let instructions = |what: &str, file: &Path| -> Option<f64> {
        let out = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(child(what, file))
            .env("RAYON_NUM_THREADS", "1")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
    };
    println!("Instructions, counted by valgrind's callgrind, in units of validation's.\n");
    println!("| module | validated, millions | hooked | `--no-validate` |\n|---|--:|--:|--:|");
    for file in files {
        // What it takes to start, and to read the file.
        let Some(start) = instructions("read", file) else {
            eprintln!("valgrind is not installed, or cannot run this");
            return;
        };
        let [validated, hooked, decoded] =
            ["validated", "hooked", "decoded"].map(|what| instructions(what, file).expect("it has run before") - start);
        println!(
            "| {} | {:.0} | ×{:.2} | ×{:.2} |",
            file.file_stem().unwrap_or_default().display(),
            validated / 1e6,
            hooked / validated,
            decoded / validated,
        );
    }
}

/// Made modules of more and more code, and of more and more functions; and the exponent of what they cost.
fn grow(rounds: usize) {
    println!("{}; CPU seconds, medians of {rounds} rounds.\n", machine());
    let one = pool(1);
    let time = |wasm: &[u8]| {
        let work = || _ = black_box(hook(wasm, &Options::default()));
        spread((0..rounds).map(|_| one.install(|| cpu(work)))).median
    };
    let print = |what: &str, rows: Vec<(String, f64, f64)>| {
        println!("| {what} | hooked |\n|---|--:|");
        rows.iter().for_each(|(label, _, time)| println!("| {label} | {time:.3} s |"));
        println!("\nexponent: {:.2}\n", exponent(rows.iter().map(|(_, x, y)| (*x, *y))));
    };
    let by_size = [1usize, 4, 16, 64].map(|mb| {
        let wasm = made(mb * 2000, 60);
        (format!("{:.1} MB", wasm.len() as f64 / 1e6), wasm.len() as f64, time(&wasm))
    });
    print("code", by_size.into());
    let by_count = [1000usize, 10_000, 100_000, 900_000].map(|count| {
        let wasm = made(count, 2);
        (format!("{count} functions"), count as f64, time(&wasm))
    });
    print("functions of a few bytes", by_count.into());
}

/// So many functions, each of so many steps of eight bytes or so.
fn made(functions: usize, steps: usize) -> Vec<u8> {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection, ValType};
    let (mut types, mut funcs, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([ValType::I32], [ValType::I32]);
    for func in 0..functions as u32 {
        funcs.function(0);
        let mut body = Function::new([]);
        let mut sink = body.instructions();
        sink.local_get(0);
        for step in 0..steps {
            sink.i32_const(step as i32 * 77).i32_add();
            if step % 16 == 7 {
                sink.call(func / 2);
            }
        }
        sink.end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&funcs).section(&code);
    module.finish()
}

/// The slope of the straight line through the logarithms.
fn exponent(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
    mean(&|p| (p.0 - x) * (p.1 - y)) / mean(&|p| (p.0 - x).powi(2))
}
