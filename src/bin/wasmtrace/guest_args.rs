//! Command-line arguments for the program to run and its environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use wasmtrace::runtime::{CodeCache, Config, Invoke, RunResult};

use crate::instrument::Hooks;
use crate::select::SelectArgs;
use crate::sidecar::SidecarArgs;
use crate::terminal::Global;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GuestArgs {
    /// Module to run: binary or text, instrumented or not (`-` is standard input). The remaining arguments are passed
    /// to the program, or to the function given by --invoke
    // One list: with two, clap would parse an option before the program's first argument as one of wasmtrace.
    #[arg(value_name = "WASM", required = true, trailing_var_arg = true)]
    module_and_args: Vec<OsString>,
    /// Grant the guest access to a host directory, optionally under another name
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    dirs: Vec<String>,
    /// Set an environment variable of the guest; without a value, pass on the variable of wasmtrace's environment
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Call this exported function with ARGS as its arguments. In a component: a call like `f(1, "text")`
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) invoke: Option<String>,
    /// Instantiate another module first, which the program can import from under NAME; instrumented like the program
    #[arg(long = "preload", value_name = "NAME=FILE", value_parser = preload)]
    pub(crate) preloads: Vec<(String, PathBuf)>,
    /// Set the program name that the guest sees as argument 0 [default: the file name of the module]
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// WASI options: inherit-env, inherit-network
    #[arg(short = 'S', long = "wasi", value_name = "OPT[=y|n]", value_delimiter = ',')]
    wasi: Vec<String>,
    /// WebAssembly options: max-wasm-stack=BYTES (stack size for the module without hooks)
    #[arg(short = 'W', long = "wasm", value_name = "OPT=VALUE", value_delimiter = ',')]
    wasm: Vec<String>,
    /// Directory that caches compiled machine code between runs [env: WASMTRACE_CACHE] [default: `wasmtrace` in the
    /// user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Do not use the cache: compile the module and store nothing. Overrides --cache
    #[arg(long)]
    no_cache: bool,
    /// Hook set to insert if the module has no hooks yet [default: buffer; observe with --preload]
    #[arg(long, value_name = "SET", value_parser = Hooks::of_runs())]
    pub(crate) hooks: Option<Hooks>,
    /// Sample the program counter; on by default for instrumented programs. With `--hooks none`, acts as a sampling
    /// profiler: calls are not counted, and the overhead is about 20 ms, or about 5 % for longer runs
    #[arg(long, conflicts_with = "no_sample")]
    pub(crate) sample: bool,
    /// Do not sample; estimate times from the timestamps of events
    #[arg(long)]
    pub(crate) no_sample: bool,
    /// Clock used to timestamp buffered events [default: coarse; spin if --min-duration needs a finer resolution]
    #[arg(long, value_name = "CLOCK", value_enum)]
    pub(crate) clock: Option<ClockArg>,
    /// Drop calls shorter than this (`10us`, `1ms`) unless they contain a longer call; totals still include them
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) min_duration: Option<Duration>,
    /// Drop calls nested in N or more other calls; totals still include them
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) sidecar: SidecarArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClockArg {
    /// Read about every 5 to 20 µs in call-heavy code, otherwise every 200 µs; little overhead
    Coarse,
    /// Resolution of 1 µs; a thread updates the clock in a busy loop and needs its own CPU core
    Spin,
}

impl GuestArgs {
    pub(crate) fn is_unhooked(&self) -> bool {
        self.hooks == Some(Hooks::None)
    }

    /// Whether the run records calls, and not only samples.
    pub(crate) fn has_calls(&self) -> bool {
        !self.is_unhooked()
    }

    /// Warns if `--sample` was given and the run was not sampled.
    pub(crate) fn warn_of(&self, outcome: &RunResult, global: &Global) {
        if let Some(why) = outcome.not_sampled.as_ref().filter(|_| self.sample) {
            global.warn("", &[format!("--sample has no effect: {why}")]);
        }
    }

    /// Whether the run records anything: calls or samples.
    pub(crate) fn is_watched(&self) -> bool {
        !self.is_unhooked() || self.sample
    }

    pub(crate) fn module(&self) -> &Path {
        Path::new(&self.module_and_args[0])
    }

    fn args(&self) -> Result<Vec<String>> {
        let text = |arg: &OsString| {
            arg.clone()
                .into_string()
                .map_err(|arg| anyhow!("the argument `{}` is not valid UTF-8", arg.to_string_lossy()))
        };
        self.module_and_args[1..].iter().map(text).collect()
    }
}

fn preload(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("expected NAME=FILE".to_owned()),
    }
}

impl GuestArgs {
    /// The arguments for one run of `--twice`: with hooks and without sampling, or without hooks and with sampling.
    pub(crate) fn for_one_of_two(&self, hooked: bool) -> GuestArgs {
        match hooked {
            true => GuestArgs { no_sample: true, ..self.clone() },
            false => {
                let (select, hooks) = (SelectArgs::default(), Some(Hooks::None));
                GuestArgs { select, hooks, sample: true, max_depth: None, ..self.clone() }
            }
        }
    }

    /// Refuses options that cannot be combined with `--twice`.
    pub(crate) fn refuse_of_two(&self) -> Result<()> {
        let given = [
            (self.sample, "--sample"),
            (self.no_sample, "--no-sample"),
            (self.hooks == Some(Hooks::None), "--hooks none"),
            (self.clock.is_some(), "--clock"),
            (self.min_duration.is_some(), "--min-duration"),
            (!self.preloads.is_empty(), "--preload"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => {
                bail!("--twice cannot be combined with {option}: it takes times from a run without hooks")
            }
            None => Ok(()),
        }
    }
}

pub(crate) fn config(args: &GuestArgs) -> Result<Config> {
    let mut config = Config { program: program_name(args), ..Default::default() };
    match &args.invoke {
        Some(function) => config.invoke = Some(Invoke { function: function.clone(), args: args.args()? }),
        None => config.args = args.args()?,
    }
    config.cache = cache(args);
    for dir in &args.dirs {
        let (host, guest) = dir.split_once("::").unwrap_or((dir, dir));
        config.dirs.push((host.into(), guest.to_owned()));
    }
    for variable in &args.env {
        match variable.split_once('=') {
            Some((name, value)) => config.env.push((name.to_owned(), value.to_owned())),
            None => {
                let value = std::env::var(variable).with_context(|| format!("environment variable {variable}"))?;
                config.env.push((variable.clone(), value));
            }
        }
    }
    for option in &args.wasi {
        let (name, value) = option.split_once('=').unwrap_or((option, "y"));
        let on = match value {
            "y" | "yes" | "true" => true,
            "n" | "no" | "false" => false,
            _ => bail!("-S {name}: expected y or n, not `{value}`"),
        };
        match name {
            "inherit-env" => config.inherit_env = on,
            "inherit-network" => config.inherit_network = on,
            _ => bail!("unknown option -S {name}: expected inherit-env or inherit-network"),
        }
    }
    for option in &args.wasm {
        match option.split_once('=') {
            Some(("max-wasm-stack", bytes)) => {
                config.max_wasm_stack = bytes.parse().with_context(|| format!("-W max-wasm-stack={bytes}"))?;
                if !(4096..=1 << 30).contains(&config.max_wasm_stack) {
                    bail!("-W max-wasm-stack: expected 4096 to {} bytes", 1 << 30);
                }
            }
            _ => bail!("unknown option -W {option}: expected max-wasm-stack=BYTES"),
        }
    }
    Ok(config)
}

/// The cache for machine code: `--cache`, else `WASMTRACE_CACHE`, else `wasmtrace` in the user's cache directory. `None` with
/// `--no-cache`, and if the default directory cannot be created.
fn cache(args: &GuestArgs) -> Option<CodeCache> {
    if args.no_cache {
        return None;
    }
    let given = std::env::var_os("WASMTRACE_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if let Some(folder) = args.cache.clone().or(given) {
        return Some(CodeCache::new(&folder));
    }
    let folder = cache_folder()?.join("wasmtrace");
    std::fs::create_dir_all(&folder).ok()?;
    Some(CodeCache::new(folder))
}

/// The user's cache directory, by the XDG base directory specification or the convention of the system.
fn cache_folder() -> Option<PathBuf> {
    let of = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    if cfg!(windows) {
        return of("LOCALAPPDATA");
    }
    let usual = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    of("XDG_CACHE_HOME").or_else(|| Some(home()?.join(usual)))
}

fn program_name(args: &GuestArgs) -> String {
    args.argv0.clone().unwrap_or_else(|| {
        args.module().file_name().map_or_else(|| "-".to_owned(), |n| n.to_string_lossy().into_owned())
    })
}
