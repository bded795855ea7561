//! `wasmtrace run`

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use wasmtrace::export::{Chrome, Destination, FORMATS, Folded, Format, OtlpJson, Sink, Subject, Summary, Tree};
use wasmtrace::hook::{MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::module::{Module, parse};
use wasmtrace::runtime::{Config, Invoke, Outcome, Preload};
use wasmtrace::trace::EventKind;
use wasmtrace::trace::fold::Fold;
use wasmtrace::trace::profile::Profile;
use wasmtrace::{Options, label, rewrite};

use crate::instrument::Hooks;
use crate::select::SelectArgs;
use crate::{Global, files};

/// Hook a module in memory, run it, and show where its time went
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmtrace run [OPTIONS] <WASM> [ARGS]...")]
#[command(after_help = "\
The guest's exit code is ours: 0 to 255. A trap gives 134, a failure of ours 125, SIGINT 130, SIGTERM 143.

Examples:
  wasmtrace run app.wasm --flag of-the-app
  wasmtrace run --dir . --env HOME app.wasm input.txt
  wasmtrace run --select '-@std' --sink chrome:trace.json app.wasm
  wasmtrace run --invoke fib lib.wasm 30
  CARGO_TARGET_WASM32_WASIP1_RUNNER='wasmtrace run' cargo test --target wasm32-wasip1")]
pub(crate) struct Args {
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
    /// The hook set that an unhooked module is given
    #[arg(long, value_name = "SET", default_value = "observe")]
    hooks: Hooks,
    /// Where the trace goes, repeatable: NAME[:FILE]
    #[arg(long = "sink", value_name = "SINK", long_help = sinks_help())]
    sinks: Vec<Destination>,
    /// In the tree, sum up calls below this share of the time, in percent; 0 shows all
    #[arg(long, value_name = "PERCENT", default_value = "0.5", value_parser = percent)]
    min_share: f64,
    /// Fail (125) if a sink fails, whatever the guest's exit code
    #[arg(long)]
    require_export: bool,
    #[command(flatten)]
    select: SelectArgs,
}

impl Args {
    fn module(&self) -> &Path {
        Path::new(&self.module_and_args[0])
    }

    fn args(&self) -> Result<Vec<String>> {
        let text = |arg: &OsString| {
            arg.clone().into_string().map_err(|arg| anyhow!("the argument {} is not UTF-8", arg.to_string_lossy()))
        };
        self.module_and_args[1..].iter().map(text).collect()
    }
}

fn sinks_help() -> String {
    let lines: Vec<String> = FORMATS.iter().map(|(name, about)| format!("  {name:<10} {about}")).collect();
    format!("Where the trace goes, repeatable: NAME, or NAME:FILE for a file.\n\n{}", lines.join("\n"))
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(p) if (0.0..=100.0).contains(&p) => Ok(p),
        _ => Err("a number from 0 to 100 is wanted".to_owned()),
    }
}

fn preload(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("NAME=FILE is wanted".to_owned()),
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<u8> {
    let mut config = config(&args)?;
    let wasm = files::read(Some(args.module()))?;
    let name = files::name(Some(args.module()));
    let main = hooked(&args, wasm, global).with_context(|| name.clone())?;
    let module = parse(&main).with_context(|| name.clone())?;
    let mut subject = subject(&args, &module);
    if args.invoke.is_none() && module.start().is_none() && !module.exports().iter().any(|(name, _)| *name == "_start")
    {
        global.warn("", &["the module has no `_start`: give --invoke FUNCTION to call an export of it".to_owned()]);
    }
    let mut first_probe = module.func_count();
    for (name, path) in &args.preloads {
        let wasm = hooked(&args, files::read(Some(path))?, global).with_context(|| path.display().to_string())?;
        let module = parse(&wasm).with_context(|| path.display().to_string())?;
        let labels = label::probe_labels(&module, &label::label(&module));
        subject.labels.extend(labels.into_iter().map(|(id, label)| (ProbeId(first_probe + id.0), label)));
        let funcs = module.func_count();
        config.preloads.push(Preload { name: name.clone(), wasm, first_probe });
        first_probe += funcs;
    }

    // Files are opened before the guest runs: a path that cannot be written is found out in time.
    let mut sinks = Sinks::open(&args)?;
    on_signals(config.interrupt.clone())?;
    let mut fold = Fold::new();
    let mut profile = Profile::new();
    let silent = silent(&subject);
    let outcome = wasmtrace::runtime::run(&main, &config, |events| {
        for event in events {
            if let EventKind::Enter(probe) | EventKind::Exit(probe) = &event.kind
                && silent.contains(probe)
            {
                continue;
            }
            fold.event(event, &mut |change| {
                profile.change(change);
                sinks.each(|sink| sink.change(&subject, change));
            });
        }
    })
    .with_context(|| name.clone())?;
    let Outcome { ending, duration, results, abandoned, .. } = outcome;
    fold.finish(duration, &ending, &mut |change| {
        profile.change(change);
        sinks.each(|sink| sink.change(&subject, change));
    });
    for result in &results {
        // As wasmtime has it: the results of an invoked function are output.
        let _ = writeln!(std::io::stdout(), "{result}");
    }
    if abandoned {
        global.warn("", &["the guest did not stop when it was asked to: its last events are missing".to_owned()]);
    }
    let summary = Summary { ending: &ending, duration, profile: &profile, irregular: fold.irregular() };
    sinks.each(|sink| sink.finish(&subject, &summary));
    if let wasmtrace::trace::Ending::Trapped(trap) = &ending
        && !sinks.shows_ending
    {
        let _ = writeln!(anstream::stderr(), "wasmtrace: the guest trapped: {}", label::printable(&trap.message));
    }
    let failed = sinks.report();
    let code = if failed && args.require_export { 125 } else { ending.exit_code() };
    if abandoned {
        // The guest's thread still runs; ending the process ends it.
        std::process::exit(i32::from(code));
    }
    Ok(code)
}

/// Functions of the manual API that another compiler hooked: a span, a tag or a log line belongs to what called them.
fn silent(subject: &Subject) -> HashSet<ProbeId> {
    let manual = subject.labels.iter().filter(|(_, label)| label::is_manual_api(label));
    manual.map(|(probe, _)| *probe).collect()
}

/// The module with hooks, if it is to have any.
fn hooked(args: &Args, wasm: Vec<u8>, global: &Global) -> Result<Vec<u8>> {
    let module = parse(&wasm)?;
    if rewrite::is_hooked(&module) {
        if args.select.is_given() {
            bail!("the module is hooked already: a selection has no effect (strip it first)");
        }
        return Ok(wasm);
    }
    if args.hooks == Hooks::None {
        return Ok(wasm);
    }
    let options = Options {
        select: args.select.rules()?,
        rewrite: rewrite::Options { restore: false, ..Default::default() },
        ..Default::default()
    };
    let rewritten = wasmtrace::instrument(&wasm, &options)?;
    // A module that is run here and thrown away needs no warning of what a debugger would see in it.
    let warnings: Vec<String> =
        rewritten.warnings.into_iter().filter(|w| !w.starts_with("debug information (")).collect();
    global.warn("", &warnings);
    Ok(rewritten.wasm)
}

fn subject(args: &Args, module: &Module<'_>) -> Subject {
    let manifest = module
        .custom(MANIFEST_SECTION)
        .and_then(|s| Manifest::decode(&module.bytes()[s.data.clone()], s.data.start).ok());
    let hash = manifest.map(|m| m.input_sha256.iter().map(|b| format!("{b:02x}")).collect());
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let program = args.module().file_name().map_or_else(|| "-".into(), |n| n.to_string_lossy()).into_owned();
    let labels = label::probe_labels(module, &label::label(module));
    Subject { program, hash: hash.unwrap_or_default(), began, labels }
}

fn config(args: &Args) -> Result<Config> {
    let mut config = Config { program: program_name(args), ..Default::default() };
    match &args.invoke {
        Some(function) => config.invoke = Some(Invoke { function: function.clone(), args: args.args()? }),
        None => config.args = args.args()?,
    }
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

fn program_name(args: &Args) -> String {
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
            if interrupt.swap(signal, Ordering::Relaxed) != 0 {
                // Asked twice: at once.
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// Every sink with where it goes; a sink that fails is not called again.
struct Sinks {
    open: Vec<(String, Box<dyn Sink>)>,
    failed: Vec<(String, std::io::Error)>,
    shows_ending: bool,
}

impl Sinks {
    fn open(args: &Args) -> Result<Self> {
        let mut sinks = Sinks { open: Vec::new(), failed: Vec::new(), shows_ending: false };
        // `--hooks none` is the control for measurements: there is no tree to show.
        let default = [if args.hooks == Hooks::None { Destination::None } else { Destination::Tree }];
        let given = if args.sinks.is_empty() { &default[..] } else { &args.sinks };
        for destination in given {
            match destination {
                Destination::None => {}
                Destination::Tree => {
                    sinks.shows_ending = true;
                    let colored = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
                        && (std::io::stderr().is_terminal()
                            || anstream::ColorChoice::global() == anstream::ColorChoice::Always);
                    let tree = Tree::new(BufWriter::new(std::io::stderr()), args.min_share / 100.0, colored);
                    sinks.open.push(("the tree".into(), Box::new(tree)));
                }
                Destination::File(format, path) => {
                    sinks.open.push((path.display().to_string(), file_sink(*format, path)?))
                }
            }
        }
        Ok(sinks)
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Sink) -> std::io::Result<()>) {
        let mut at = 0;
        while let Some((_, sink)) = self.open.get_mut(at) {
            match call(sink.as_mut()) {
                Ok(()) => at += 1,
                Err(e) => {
                    let (name, _) = self.open.remove(at);
                    self.failed.push((name, e));
                }
            }
        }
    }

    /// Says what failed; whether anything did.
    fn report(&self) -> bool {
        for (name, e) in &self.failed {
            let _ = writeln!(anstream::stderr(), "wasmtrace: the trace is incomplete: {}: {e}", label::printable(name));
        }
        !self.failed.is_empty()
    }
}

fn file_sink(format: Format, path: &Path) -> Result<Box<dyn Sink>> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let out = BufWriter::with_capacity(1 << 16, file);
    Ok(match format {
        Format::Chrome => Box::new(Chrome::new(out)),
        Format::Folded => Box::new(Folded::new(out)),
        Format::OtlpJson => Box::new(OtlpJson::new(out)?),
    })
}
