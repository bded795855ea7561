//! What `run` and `record` have in common: which module is run, how, and with which hooks.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use wasmtrace::companions::{Companions, LINK_LEFT_OUT};
use wasmtrace::deliver::settings::Target;
use wasmtrace::export::{Recording, Subject};
use wasmtrace::hook::{HookSet, MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::module::{Module, ParseOptions, parse, parse_with};
use wasmtrace::runtime::{ClockMode, CodeCache, Config, Invoke, Outcome, Preload};
use wasmtrace::trace::sieve::Sieve;
use wasmtrace::trace::{Event, EventKind};
use wasmtrace::{ErrorKind, Options, label, rewrite};

use crate::companions::CompanionArgs;
use crate::instrument::Hooks;
use crate::select::SelectArgs;
use crate::sending::{self, Place, ResourceArgs};
use crate::{Global, files};

#[derive(Debug, clap::Args)]
pub(crate) struct GuestArgs {
    /// The module, binary or text, hooked or not (`-` is standard input); what follows is the program's, or the
    /// arguments of the function given by --invoke
    // One list: with two, clap would take an option in front of the program's first argument for ours.
    #[arg(value_name = "WASM", required = true, trailing_var_arg = true)]
    module_and_args: Vec<OsString>,
    /// Give the guest a directory, under its own name or another
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    dirs: Vec<String>,
    /// Set an environment variable of the guest, or pass ours on
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Call this exported function, with ARGS as its arguments
    #[arg(long, value_name = "FUNCTION")]
    invoke: Option<String>,
    /// Instantiate another module first, for the program to import from by this name; hooked like the program
    #[arg(long = "preload", value_name = "NAME=FILE", value_parser = preload)]
    preloads: Vec<(String, PathBuf)>,
    /// What the program is called in its own argument list [default: the file's name]
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// WASI options: inherit-env, inherit-network
    #[arg(short = 'S', long = "wasi", value_name = "OPT[=y|n]", value_delimiter = ',')]
    wasi: Vec<String>,
    /// WebAssembly options: max-wasm-stack=BYTES (of the unhooked module)
    #[arg(short = 'W', long = "wasm", value_name = "OPT=VALUE", value_delimiter = ',')]
    wasm: Vec<String>,
    /// Keep machine code in this folder between runs [default: `wasmtrace` in the user's folder for caches]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Compile the module anew, and keep nothing, whatever `--cache` says
    #[arg(long)]
    no_cache: bool,
    /// The hook set that an unhooked module is given [default: buffer; observe where several modules are hooked]
    #[arg(long, value_name = "SET")]
    hooks: Option<Hooks>,
    /// Where a buffer's events have their times from [default: coarse, or spin where --min-duration wants it]
    #[arg(long, value_name = "CLOCK", value_enum)]
    clock: Option<ClockArg>,
    /// Count calls shorter than this (`10us`, `1ms`) that made no longer ones, and leave them out
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    min_duration: Option<Duration>,
    /// Count calls that are in N others or more, and leave them out
    #[arg(long, value_name = "N")]
    max_depth: Option<u32>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    companions: CompanionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ClockArg {
    /// Read each 5 µs where calls are dense, else at 200 µs: costs next to nothing
    Coarse,
    /// 1 µs: a thread that spins, and wants a core of its own
    Spin,
}

/// A module that is ready to run, and what is known of it.
pub(crate) struct Guest {
    name: String,
    main: Vec<u8>,
    config: Config,
    pub(crate) subject: Subject,
    /// Functions of the manual API that another compiler hooked: a span, a tag or a log line belongs to what called them.
    silent: HashSet<ProbeId>,
    sieve: Sieve,
}

impl GuestArgs {
    pub(crate) fn is_unhooked(&self) -> bool {
        self.hooks == Some(Hooks::None)
    }

    pub(crate) fn module(&self) -> &Path {
        Path::new(&self.module_and_args[0])
    }

    fn args(&self) -> Result<Vec<String>> {
        let text = |arg: &OsString| {
            arg.clone().into_string().map_err(|arg| anyhow!("the argument {} is not UTF-8", arg.to_string_lossy()))
        };
        self.module_and_args[1..].iter().map(text).collect()
    }
}

fn preload(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("NAME=FILE is wanted".to_owned()),
    }
}

impl Guest {
    /// Reads and hooks what is to be run.
    pub(crate) fn prepare(args: &GuestArgs, global: &Global) -> Result<Guest> {
        let mut config = config(args)?;
        let wasm = files::read(Some(args.module()))?;
        let name = files::name(Some(args.module()));
        let preloads = args.preloads.iter().map(|(_, path)| files::read(Some(path))).collect::<Result<Vec<_>>>()?;
        let mut hooks = Hooking::of(args)?;
        // What one of several throws may cross another that knows no exceptions.
        let throws = |wasm: &Vec<u8>| parse(wasm).is_ok_and(|module| module.uses_exceptions());
        hooks.crossed = !preloads.is_empty() && (throws(&wasm) || preloads.iter().any(throws));
        config.clock = hooks.clock;
        config.min_duration = args.min_duration.unwrap_or_default();
        let companions = args.companions.find(Some(args.module()), &wasm, global)?.companions;
        let main = hooked(args, wasm, companions, &hooks, global).with_context(|| name.clone())?;
        let module = parse_again(&main).with_context(|| name.clone())?;
        if args.invoke.is_none()
            && module.start().is_none()
            && !module.exports().iter().any(|(name, _)| *name == "_start")
        {
            let warning = "the module has no `_start`: give --invoke FUNCTION to call an export of it";
            global.warn("", &[warning.to_owned()]);
        }
        let mut subject = subject(args, &module, manifest(&module).as_ref(), &hooks);
        let mut first_probe = module.func_count();
        for ((name, path), wasm) in args.preloads.iter().zip(preloads) {
            let context = || path.display().to_string();
            let companions = CompanionArgs::default().find(Some(path), &wasm, global)?.companions;
            let wasm = hooked(args, wasm, companions, &hooks, global).with_context(context)?;
            let module = parse_again(&wasm).with_context(context)?;
            let labels = label::probe_labels(&module, &label::label(&module));
            subject.labels.extend(labels.into_iter().map(|(id, label)| (ProbeId(first_probe + id.0), label)));
            let funcs = module.func_count();
            config.preloads.push(Preload { name: name.clone(), wasm, first_probe });
            first_probe += funcs;
        }
        let silent =
            subject.labels.iter().filter(|(_, label)| label::is_manual_api(label)).map(|(id, _)| *id).collect();
        let sieve = Sieve::new(subject.recording.min_duration, args.max_depth);
        Ok(Guest { name, main, config, subject, silent, sieve })
    }

    /// Puts the run into its trace, and tells the guest of it. What was asked for by `--env` stands above that.
    pub(crate) fn belongs_to(&mut self, place: Place, resource: &ResourceArgs) {
        let env = &mut self.config.env;
        let variables = place.variables.into_iter().filter(|(name, _)| env.iter().all(|(given, _)| given != name));
        let variables: Vec<_> = variables.collect();
        env.extend(variables);
        let mut attributes = sending::settings(&Target::Environment).resource.value;
        for (key, value) in resource.attributes() {
            attributes.retain(|(known, _)| *known != key);
            attributes.push((key, value));
        }
        self.subject.context = Some(place.context);
        self.subject.resource = attributes;
    }

    /// What ends the guest, with the number of a signal.
    pub(crate) fn interrupt(&self) -> Arc<AtomicI32> {
        self.config.interrupt.clone()
    }

    /// Runs it. `consume` gets what is kept of the events, and is called with none from time to time.
    pub(crate) fn run(&mut self, mut consume: impl FnMut(&Subject, &[Event])) -> Result<Outcome> {
        on_signals(self.config.interrupt.clone())?;
        let Guest { silent, sieve, subject, .. } = self;
        let mut kept = Vec::new();
        let outcome = wasmtrace::runtime::run(&self.main, &self.config, |events| {
            if silent.is_empty() && sieve.is_open() {
                return consume(subject, events);
            }
            kept.clear();
            for event in events {
                if let EventKind::Enter(probe) | EventKind::Exit(probe) | EventKind::Unwound(probe) = &event.kind
                    && silent.contains(probe)
                {
                    continue;
                }
                sieve.event(event, &mut |event| kept.push(event.clone()));
            }
            consume(subject, &kept);
        })
        .with_context(|| self.name.clone())?;
        kept.clear();
        sieve.finish(&mut |event| kept.push(event.clone()));
        consume(subject, &kept);
        Ok(outcome)
    }
}

/// Which hooks are written, and with which clock they are run.
struct Hooking {
    /// `None`: the module is run as it is.
    set: Option<HookSet>,
    /// Nobody asked for this set: another one will do where it does not fit.
    by_default: bool,
    clock: ClockMode,
    /// Whether exceptions may cross a module that another one catches.
    crossed: bool,
}

impl Hooking {
    fn of(args: &GuestArgs) -> Result<Self> {
        if args.is_unhooked() {
            let depth = args.max_depth.is_some();
            let given = [(args.min_duration.is_some(), "--min-duration"), (depth, "--max-depth")];
            let given =
                given.into_iter().chain([(args.clock.is_some(), "--clock"), (args.select.is_given(), "a selection")]);
            if let Some((_, option)) = given.into_iter().find(|(given, _)| *given) {
                bail!("--hooks none runs the module as it is: {option} has no effect");
            }
        }
        let several = !args.preloads.is_empty();
        let by_default = args.hooks.is_none();
        let asked = match args.clock {
            Some(ClockArg::Coarse) => Some(ClockMode::Coarse),
            Some(ClockArg::Spin) => Some(ClockMode::Spin),
            None => None,
        };
        let set = match args.hooks {
            Some(hooks) => hooks.set(),
            None if several => Some(HookSet::Observe),
            None => Some(HookSet::Buffer),
        };
        if several && set.is_some_and(HookSet::has_buffer) {
            bail!(
                "--preload needs --hooks observe: of two modules that record by themselves nobody can tell in what order they called each other"
            );
        }
        if asked.is_some() && set.is_some_and(|set| !set.has_buffer()) {
            bail!("--clock is for modules that record into a buffer; with --hooks observe each event reads the time");
        }
        // Calls below the threshold are left out where they are made if there is a clock that is fine enough for that.
        // Else all are recorded, and the short ones are left out here.
        let clock = asked.unwrap_or(match args.min_duration {
            Some(least) if !least.is_zero() && nanos(least) < ClockMode::Coarse.resolution() && has_two_cores() => {
                ClockMode::Spin
            }
            _ => ClockMode::Coarse,
        });
        let fine_enough = args.min_duration.is_some_and(|least| nanos(least) >= clock.resolution());
        let set = match set {
            Some(HookSet::Buffer) if fine_enough => Some(HookSet::Threshold),
            set => set,
        };
        Ok(Hooking { set, by_default, clock, crossed: false })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn has_two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// The module with hooks, if it is to have any.
fn hooked(
    args: &GuestArgs,
    wasm: Vec<u8>,
    companions: Companions,
    hooks: &Hooking,
    global: &Global,
) -> Result<Vec<u8>> {
    let hooked_already = |wasm| args.select.refuse_of_hooked().map(|()| wasm);
    let Some(set) = hooks.set else {
        let is_hooked = rewrite::is_hooked(&parse(&wasm)?);
        return if is_hooked { hooked_already(wasm) } else { Ok(wasm) };
    };
    let mut options = Options { select: args.select.rules()?, companions, ..Default::default() };
    let mut with = |set| {
        options.rewrite = rewrite::Options { hooks: set, restore: false, crossed: hooks.crossed, ..Default::default() };
        wasmtrace::instrument(&wasm, &options)
    };
    let rewritten = match with(set) {
        Err(e) if e.kind() == ErrorKind::AlreadyHooked => return hooked_already(wasm),
        Err(e) if hooks.by_default && matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit) => {
            let rewritten = with(HookSet::Observe)?;
            global.warn("", &[format!("each event calls the host, which is slow: {e}")]);
            rewritten
        }
        rewritten => rewritten?,
    };
    // A module that is run here and thrown away needs no warning of what debug information would say of it.
    let matters = |w: &String| !w.starts_with("debug information (") && !w.ends_with(LINK_LEFT_OUT);
    let warnings: Vec<String> = rewritten.warnings.into_iter().filter(matters).collect();
    global.warn("", &warnings);
    Ok(rewritten.wasm)
}

/// What has been validated, or made of what was.
fn parse_again(wasm: &[u8]) -> wasmtrace::Result<Module<'_>> {
    parse_with(wasm, &ParseOptions { validate: false, ..Default::default() })
}

fn manifest(module: &Module<'_>) -> Option<Manifest> {
    let section = module.custom(MANIFEST_SECTION)?;
    Manifest::decode(&module.bytes()[section.data.clone()], section.data.start).ok()
}

fn subject(args: &GuestArgs, module: &Module<'_>, manifest: Option<&Manifest>, hooks: &Hooking) -> Subject {
    let program = args.module().file_name().map_or_else(|| "-".into(), |n| n.to_string_lossy());
    let buffer = manifest.is_some_and(|m| m.hooks.has_buffer());
    let mut recording =
        Recording { min_duration: args.min_duration.map_or(0, nanos), max_depth: args.max_depth, ..Default::default() };
    if buffer {
        recording.clock = hooks.clock.name().to_owned();
        recording.resolution = hooks.clock.resolution();
    }
    Subject { recording, ..Subject::of(&program, module) }
}

fn config(args: &GuestArgs) -> Result<Config> {
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
                let value = std::env::var(variable).with_context(|| format!("the environment variable {variable}"))?;
                config.env.push((variable.clone(), value));
            }
        }
    }
    for option in &args.wasi {
        let (name, value) = option.split_once('=').unwrap_or((option, "y"));
        let on = match value {
            "y" | "yes" | "true" => true,
            "n" | "no" | "false" => false,
            _ => bail!("-S {name}: y or n is wanted, not `{value}`"),
        };
        match name {
            "inherit-env" => config.inherit_env = on,
            "inherit-network" => config.inherit_network = on,
            _ => bail!("there is no option -S {name}; there are inherit-env and inherit-network"),
        }
    }
    for option in &args.wasm {
        match option.split_once('=') {
            Some(("max-wasm-stack", bytes)) => {
                config.max_wasm_stack = bytes.parse().with_context(|| format!("-W max-wasm-stack={bytes}"))?;
                if !(4096..=1 << 30).contains(&config.max_wasm_stack) {
                    bail!("-W max-wasm-stack: from 4096 to {} bytes", 1 << 30);
                }
            }
            _ => bail!("there is no option -W {option}; there is max-wasm-stack=BYTES"),
        }
    }
    Ok(config)
}

/// The user's own folder for caches, unless another is given: where there is none, or it cannot be written, none is used.
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

/// By the XDG base directory specification, or where the system has it.
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

/// SIGINT and SIGTERM end the guest; what was recorded is still shown.
fn on_signals(interrupt: Arc<AtomicI32>) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("signals cannot be handled")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // Asked twice, the guest is not waited for; asked again, nor is what was recorded.
            match interrupt.load(Ordering::Relaxed) {
                0 => interrupt.store(signal, Ordering::Relaxed),
                before if before > 0 => interrupt.store(-signal, Ordering::Relaxed),
                _ => std::process::exit(128 + signal),
            }
        }
    });
    Ok(())
}
