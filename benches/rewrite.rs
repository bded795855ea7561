//! What hooking costs: CPU time and memory, with the module's debug information and without.
//!
//! ```sh
//! benches/dwarf.sh && cargo bench --bench rewrite
//! cargo bench --bench rewrite -- FILE...
//! ```
//!
//! Times are of one thread that does all the work. Memory is the peak of a process that does it once, its input included.

#[allow(dead_code, reason = "each bench needs a part of it")]
mod common;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use common::{machine, spread};
use wasmtrace::{Options, check, instrument, module, strip};

const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [once, file] = args.as_slice()
        && once == "--once"
    {
        let wasm = std::fs::read(file).expect("it has just been written");
        black_box(instrument(&wasm, &Options::default()).expect("it can be hooked"));
        println!("{}", peak());
        return;
    }
    let mut files: Vec<PathBuf> = args.into_iter().map(PathBuf::from).collect();
    if files.is_empty() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        files = ["real/rust_serde.wasm", "real/c_lua.wasm", "big/dwarf.wasm"].map(|name| corpus.join(name)).into();
        files.retain(|file| {
            file.exists() || {
                eprintln!("{} is left out: benches/dwarf.sh builds it", file.display());
                false
            }
        });
    }
    println!("{}, one of them used; medians of {ROUNDS} rounds.\n", machine());
    println!(
        "| module | MB | of it DWARF | parse | hook, without DWARF | hook, with | check | strip | output | peak, without | peak, with |"
    );
    println!("|---|{}", "--:|".repeat(10));
    for file in files {
        let wasm = std::fs::read(&file).expect("the module can be read");
        let bare = without_debug(&wasm);
        let hooked = instrument(&wasm, &Options::default()).expect("it can be hooked").wasm;
        let one = |work: &(dyn Fn() + Sync)| seconds(work);
        let parse = one(&|| _ = black_box(module::parse(&wasm)));
        let without = one(&|| _ = black_box(instrument(&bare, &Options::default())));
        let with = one(&|| _ = black_box(instrument(&wasm, &Options::default())));
        let checked = one(&|| _ = black_box(check::check(&wasm, &hooked).expect("it is the input plus hooks")));
        let stripped = one(&|| _ = black_box(strip(&hooked).expect("it can be stripped")));
        let mb = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
        println!(
            "| {} | {} | {} | {parse:.2} s | {without:.2} s | {with:.2} s | {checked:.2} s | {stripped:.2} s | {} | {} MB | {} MB |",
            file.file_stem().unwrap_or_default().display(),
            mb(wasm.len()),
            mb(wasm.len() - bare.len()),
            mb(hooked.len()),
            mb(peak_of(&bare)),
            mb(peak_of(&wasm)),
        );
    }
}

/// CPU seconds of one thread that does all the work, the median.
fn seconds(work: &(dyn Fn() + Sync)) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    let round = || {
        pool.install(|| {
            let before = cpu_nanos();
            work();
            (cpu_nanos() - before) as f64 / 1e9
        })
    };
    spread((0..ROUNDS).map(|_| round())).median
}

fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the system tells it");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number comes first")
}

/// The module without its debug sections.
fn without_debug(wasm: &[u8]) -> Vec<u8> {
    let module = module::parse(wasm).expect("a module");
    let mut out = wasm[..8].to_vec();
    let kept = module.sections().iter().filter(|s| !s.name.is_some_and(|name| name.starts_with(".debug_")));
    kept.for_each(|section| out.extend_from_slice(&wasm[section.whole.clone()]));
    out
}

/// Peak memory, in bytes, of a process that hooks the module.
fn peak_of(wasm: &[u8]) -> usize {
    let file = tempfile::NamedTempFile::new().expect("a file can be written");
    std::fs::write(file.path(), wasm).expect("a file can be written");
    let this = std::env::current_exe().expect("it runs");
    let out = std::process::Command::new(this).arg("--once").arg(file.path()).output().expect("it runs again");
    String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number comes out")
}

/// Peak memory of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") * 1024
}
