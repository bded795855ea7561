//! What the benches have in common: the programs, the arguments, the machine's name, medians.

pub mod peers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtrace::hook::HookSet;
use wasmtrace::runtime::{Config, DEFAULT_WASM_STACK, HOOKED_STACK, Invoke, Stdio};
use wasmtrace::{Options, rewrite};

/// Those of `benches/programs.sh`, with many small calls first; and the one program that does nothing but call.
const PROGRAMS: [(&str, &str, Call); 8] = [
    ("lua", "corpus/big/lua.wasm", None),
    ("sqlite", "corpus/big/sqlite.wasm", None),
    ("virtual", "corpus/big/virtual.wasm", None),
    ("parse", "corpus/big/parse.wasm", None),
    ("tree-sitter", "corpus/big/tree-sitter.wasm", None),
    ("bzip2", "corpus/big/bzip2.wasm", None),
    ("zstd", "corpus/big/zstd.wasm", None),
    ("fib", "corpus/real/c_reactor.wasm", Some(("fib", "38"))),
];

/// An exported function with its argument, where it is not `_start`.
type Call = Option<(&'static str, &'static str)>;

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

pub struct Program {
    pub name: &'static str,
    pub path: PathBuf,
    pub wasm: Vec<u8>,
    pub invoke: Call,
}

impl Program {
    pub fn config(&self) -> Config {
        let invoke = self.invoke.map(|(function, arg)| Invoke { function: function.into(), args: vec![arg.into()] });
        Config { program: self.name.into(), invoke, stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() }
    }

    pub fn hooked(&self, hooks: HookSet) -> Vec<u8> {
        self.hooked_as(rewrite::Options { hooks, restore: false, ..Default::default() })
    }

    /// With the Observe set, exiting what is open before it leaves.
    pub fn balanced(&self) -> Vec<u8> {
        let close_on_exit = rewrite::CloseOnExit::Always;
        self.hooked_as(rewrite::Options { restore: false, close_on_exit, ..Default::default() })
    }

    fn hooked_as(&self, rewrite: rewrite::Options) -> Vec<u8> {
        wasmtrace::instrument(&self.wasm, &Options { rewrite, ..Options::default() }).expect("it can be hooked").wasm
    }
}

/// The arguments: `--NAME N`, here with its default, and names of programs.
pub struct Args {
    pub number: usize,
    pub programs: Vec<Program>,
}

impl Args {
    /// Those of this process.
    pub fn read(option: &str, default: usize) -> Args {
        Args::of(std::env::args().skip(1), option, default, |_| true)
    }

    /// If the arguments name no program, the `usual` ones are taken. Says which programs are left out because they were not
    /// built.
    pub fn of(
        args: impl IntoIterator<Item = String>,
        option: &str,
        default: usize,
        usual: impl Fn(&str) -> bool,
    ) -> Args {
        let (mut number, mut names) = (default, Vec::new());
        let mut args = args.into_iter().filter(|arg| arg != "--bench"); // that one is cargo's
        while let Some(arg) = args.next() {
            if arg == option {
                number = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect("the option has a number");
            } else {
                assert!(
                    PROGRAMS.iter().any(|(name, ..)| *name == arg),
                    "there is no program {arg}, and no such option"
                );
                names.push(arg);
            }
        }
        let wanted = PROGRAMS.into_iter().filter(|(name, ..)| match names.as_slice() {
            [] => usual(name),
            names => names.iter().any(|n| n == name),
        });
        let programs = wanted.filter_map(|(name, path, invoke)| {
            let path = root().join(path);
            match std::fs::read(&path) {
                Ok(wasm) => Some(Program { name, path, wasm, invoke }),
                Err(e) => {
                    eprintln!("{name} is left out: {}: {e} (benches/programs.sh builds it)", path.display());
                    None
                }
            }
        });
        Args { number, programs: programs.collect() }
    }
}

/// The stack of guests, in bytes: as much as the library gives them.
pub const STACK: usize = DEFAULT_WASM_STACK * HOOKED_STACK;

/// On a thread on which a guest has its stack.
pub fn with_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK + (4 << 20)).spawn_scoped(scope, run);
        thread.expect("there are threads").join().expect("it does not panic")
    })
}

/// Like the library's, as far as these programs go.
pub fn engine_config(parallel: bool) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.max_wasm_stack(STACK).async_stack_size(STACK + (4 << 20)).parallel_compilation(parallel);
    config
}

/// CPU time of the calling thread, taken where the library takes it.
pub fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the system tells it");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("proc(5) says so"))
}

/// What the numbers were measured on.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    format!("{}, {cores} cores", model.unwrap_or("an unknown processor"))
}

/// Median, least and greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

pub fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    Spread { median, least: values[0], most: values[values.len() - 1] }
}
