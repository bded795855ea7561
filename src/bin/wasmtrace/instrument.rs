//! `wasmtrace instrument`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
#[cfg(feature = "full")]
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use wasmtrace::Options;
use wasmtrace::component;
use wasmtrace::hook::{HookSet, Probe};
use wasmtrace::label::hex;
use wasmtrace::rewrite::{CloseOnExit, Rewritten, Unwritten};
use wasmtrace::select::Summary;

use crate::checked::Checked;
use crate::files;
use crate::select::SelectArgs;
use crate::sidecar::{Places, SidecarArgs};
use crate::terminal::Global;

/// Insert hooks into modules and components
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasmtrace instrument app.wasm -o app.hooked.wasm
  wasmtrace instrument --select '-@std' app.wasm -o app.hooked.wasm
  wasmtrace instrument --out-dir hooked *.wasm
  wasm-opt -O app.wasm -o - | wasmtrace instrument -o app.hooked.wasm")]
pub(crate) struct Args {
    /// Modules or components to instrument, binary or text [default: standard input]
    #[arg(value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write each module to this directory under its own file name
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    out_dir: Option<PathBuf>,
    /// Write the text format (WAT) instead of a binary
    #[arg(short = 't', long = "wat")]
    text: bool,
    /// Hook set to insert
    #[arg(long, value_name = "SET", default_value = "observe")]
    hooks: Hooks,
    /// Report the exit of all open calls before `proc_exit` and `unreachable`
    ///
    /// Without it, an Observe host loses the trace of a program that ends with an exit code or a panic. The same happens if a
    /// function returns while manual spans are still open. Adds a small cost to each call. `auto` enables it if the module imports
    /// `proc_exit` or opens spans itself. Only affects `--hooks observe`. `wasmtrace run` does not need it.
    #[arg(long, alias = "balance-exit", value_name = "WHEN", default_value = "auto", default_missing_value = "always", num_args = 0..=1, require_equals = true)]
    close_on_exit: When,
    /// Instrument a module that has hooks already; hooks of wasmtrace are removed first, others stay
    #[arg(long)]
    force: bool,
    /// Omit the data that `strip` needs to restore the original
    #[arg(long)]
    no_restore: bool,
    /// Do not validate function bodies
    ///
    /// Saves about a third of the time. Everything else is still validated, and code that cannot be decoded is still an error.
    /// Results for invalid bodies are unspecified, and `strip` might not restore them: validate the output if in doubt.
    #[arg(long, conflicts_with_all = ["verify", "force"])]
    no_validate: bool,
    /// Prove that each output is the input plus hooks before writing it
    #[arg(long)]
    verify: bool,
    /// Write demangled names into the `name` section of the output, for hosts that show names as they are
    #[arg(long)]
    demangle: bool,
    /// Write the hooked functions to FILE as JSON: the id that hooks report, name, file and line
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Fail if there is a warning, for example about a rule that matches no function
    #[arg(long)]
    strict: bool,
    /// Fail if an output is larger than its input by more than this share (`10%`)
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_growth: Option<f64>,
    /// Write a JSON report of what was done to FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    sidecar: SidecarArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hooks {
    /// Each event calls the host; works with every host of the Observe ABI
    Observe,
    /// The guest records events into its own memory; for `wasmtrace run` and `record`
    Buffer,
    /// Like `buffer`, with a timestamp for each event: the guest can drop short calls and only count them (--min-duration)
    Threshold,
    /// The component writes its own recording to standard error, as lines of text. For any host of WASI 0.2; afterwards,
    /// `wasmtrace extract` reads the log. Only for components
    Wasi,
    /// No hooks: the module stays unchanged
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

impl Hooks {
    /// Parses a hook set that wasmtrace itself can run.
    #[cfg(feature = "full")]
    pub(crate) fn of_runs() -> impl TypedValueParser<Value = Hooks> {
        let sets = Hooks::value_variants().iter().filter(|set| **set != Hooks::Wasi);
        let values = sets.filter_map(ValueEnum::to_possible_value).collect::<Vec<_>>();
        PossibleValuesParser::new(values).map(|name| Hooks::from_str(&name, false).expect("it is one of these"))
    }

    pub(crate) fn set(self) -> Option<HookSet> {
        match self {
            Hooks::Observe => Some(HookSet::Observe),
            Hooks::Buffer => Some(HookSet::Buffer),
            Hooks::Threshold => Some(HookSet::Threshold),
            Hooks::Wasi => Some(HookSet::Wasi),
            Hooks::None => None,
        }
    }
}

/// Parses a share in percent, with or without the sign.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>();
    number
        .ok()
        .filter(|percent| *percent >= 0.0 && percent.is_finite())
        .ok_or_else(|| "expected a number like 10%".to_owned())
}

/// Refuses a report or a list of names that would replace another file of the command.
fn refuse_shared_files(args: &Args) -> Result<()> {
    let extra = [("--report", &args.report), ("--names", &args.names)];
    let extra = || extra.iter().filter_map(|(option, path)| Some((*option, path.as_deref()?)));
    let modules = args.inputs.iter().map(PathBuf::as_path).chain(args.output.as_deref());
    let mut taken: Vec<&Path> = modules.collect();
    for (option, path) in extra() {
        if taken.iter().any(|other| files::is_same(other, path)) {
            bail!("{option} {}: the command reads or writes this file already", path.display());
        }
        taken.push(path);
    }
    Ok(())
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    // clap parses a value after a space as an input.
    let is_when =
        |input: &&PathBuf| input.to_str().is_some_and(|name| <When as clap::ValueEnum>::from_str(name, false).is_ok());
    if let Some(when) = args.inputs.iter().find(|input| is_when(input) && !input.exists()) {
        let when = when.display();
        bail!("there is no file `{when}`: if it is the value of --close-on-exit, write --close-on-exit={when}");
    }
    if args.inputs.len() > 1 && args.out_dir.is_none() {
        bail!("several inputs need --out-dir DIR");
    }
    if args.inputs.len() > 1 && args.names.is_some() {
        bail!("--names applies to one module: instrument the inputs one by one");
    }
    refuse_shared_files(args)?;
    if args.inputs.len() > 1 && args.sidecar.is_given() {
        bail!("--source-map and --debug-file apply to one module: instrument the inputs one by one");
    }
    let mut options = Options { select: args.select.rules()?, force: args.force, ..Default::default() };
    options.no_validate = args.no_validate;
    options.rewrite.hooks = args.hooks.set().unwrap_or_default();
    options.rewrite.restore = !args.no_restore;
    options.rewrite.demangle = args.demangle;
    options.rewrite.close_on_exit = match args.close_on_exit {
        When::Auto => CloseOnExit::WhereItExits,
        When::Always => CloseOnExit::Always,
        When::Never => CloseOnExit::Never,
    };
    if args.close_on_exit == When::Always && args.hooks != Hooks::Observe {
        bail!(
            "--close-on-exit only affects --hooks observe: with the other hook sets wasmtrace itself closes open calls at the end"
        );
    }

    let had_folder = args.out_dir.as_deref().is_none_or(Path::exists);
    let done = each_input(args, &mut options, global);
    if let (Err(_), false, Some(folder)) = (&done, had_folder, &args.out_dir) {
        // Removes the directory only if it is empty: other files in it are not ours.
        let _ = std::fs::remove_dir(folder);
    }
    done
}

fn each_input(args: &Args, options: &mut Options, global: &Global) -> Result<u8> {
    let inputs: Vec<Option<&Path>> =
        if args.inputs.is_empty() { vec![None] } else { args.inputs.iter().map(|i| Some(i.as_path())).collect() };
    let mut outputs: Vec<(Option<PathBuf>, Content)> = Vec::new();
    let mut reports = Vec::new();
    let mut names = None;
    for input in inputs {
        let path = output_path(args, input)?;
        let wasm = files::read(input)?;
        let one = one(args, options, (input, path), &wasm, global)?;
        for output in one.outputs {
            if output.0.is_some() && outputs.iter().any(|(p, _)| *p == output.0) {
                bail!(
                    "{}: two inputs have this output file: rename one of them",
                    output.0.unwrap_or_default().display()
                );
            }
            outputs.push(output);
        }
        reports.extend(one.report);
        names = one.names;
    }
    if args.strict {
        global.refuse_warnings()?;
    }
    // No file is written before all inputs have succeeded and every output path is known to be usable.
    let place = |path: &Option<PathBuf>| path.as_deref().map(|path| files::Output::create(Some(path))).transpose();
    let (names_file, report_file) = (place(&args.names)?, place(&args.report)?);
    for (path, content) in outputs {
        match content {
            Content::Bytes(bytes) => {
                create_folder(args)?;
                files::write(path.as_deref(), &bytes)?;
            }
            Content::Written { output, .. } => output.keep()?,
        }
    }
    if let Some((file, names)) = names_file.zip(names) {
        file.write(false, |out| out.write_all(wasmtrace::export::json_text(&names).as_bytes()))?;
        file.keep()?;
    }
    if let Some(file) = report_file {
        let version = env!("CARGO_PKG_VERSION");
        let report = json!({ "schema": "wasmtrace.instrument/2", "version": version, "modules": reports });
        file.write(false, |out| out.write_all(wasmtrace::export::json_text(&report).as_bytes()))?;
        file.keep()?;
    }
    Ok(0)
}

fn create_folder(args: &Args) -> Result<()> {
    let Some(folder) = &args.out_dir else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

fn output_path(args: &Args, input: Option<&Path>) -> Result<Option<PathBuf>> {
    let Some(folder) = &args.out_dir else { return Ok(args.output.clone()) };
    let input = input.filter(|p| *p != Path::new("-")).context("--out-dir needs input files, not standard input")?;
    let name = input.file_name().with_context(|| format!("{} is not a file", input.display()))?;
    Ok(Some(folder.join(name).with_extension(if args.text { "wat" } else { "wasm" })))
}

/// The outputs for one input.
struct One {
    /// The module comes last: it contains links to the others.
    outputs: Vec<(Option<PathBuf>, Content)>,
    /// For `--report`.
    report: Option<serde_json::Value>,
    /// For `--names`.
    names: Option<serde_json::Value>,
}

/// The contents of an output.
enum Content {
    Bytes(Vec<u8>),
    /// Written to a temporary file already: a module that needs no further processing is never held in memory.
    Written {
        output: files::Output,
        length: usize,
    },
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::Written { length, .. } => *length,
        }
    }
}

fn one(
    args: &Args,
    options: &mut Options,
    (input, output): (Option<&Path>, Option<PathBuf>),
    wasm: &[u8],
    global: &Global,
) -> Result<One> {
    let began = Instant::now();
    let name = || files::name(input);
    let mut places = Places::default();
    let mut outputs = Vec::new();
    let mut probes = Vec::new();
    let (hooked, warnings, selection) = match args.hooks.set() {
        None => {
            match component::is_component(wasm) {
                true => drop(component::read(wasm, &Options::default()).with_context(name)?),
                false => drop(wasmtrace::module::parse(wasm).with_context(name)?),
            }
            (Content::Bytes(wasm.to_vec()), Vec::new(), None)
        }
        Some(_) if component::is_component(wasm) => {
            if args.sidecar.is_given() {
                bail!("{}: --source-map and --debug-file belong to a module: a component has several", name());
            }
            let hooked = component::instrument(wasm, options).with_context(name)?;
            let selection = Summary::of_all(hooked.modules.iter().map(|module| &module.selection));
            if args.names.is_some()
                && let Some((_, of_component)) = component::probes(&hooked.wasm)?
            {
                probes = of_component.labels.into_iter().map(|(id, label)| Probe { id, label }).collect();
            }
            (Content::Bytes(hooked.wasm), hooked.warnings, Some(selection))
        }
        Some(_) => {
            // The links of a hooked module are to the hooked files.
            let stripped = if args.force { wasmtrace::strip(wasm).ok() } else { None };
            let module = stripped.as_deref().unwrap_or(wasm);
            let mut found = args.sidecar.find(input, module, global).with_context(name)?;
            // WAT has no byte offsets, so no sidecar files are written for it.
            places = found.name_after(output.as_deref().filter(|_| !args.text));
            options.sidecar = found.sidecar;
            let is_read_again = args.text || args.verify || args.report.is_some();
            let write = |module: &Unwritten<'_>| -> Result<Content> {
                if is_read_again {
                    return Ok(Content::Bytes(module.to_vec()));
                }
                create_folder(args)?;
                let file = files::Output::create(output.as_deref())?;
                file.write(true, |out| module.write_to(out))?;
                Ok(Content::Written { output: file, length: module.len() })
            };
            let Rewritten { wasm: hooked, warnings, source_map, debug_file, selection, manifest, .. } =
                wasmtrace::instrument_with(wasm, options, |module| Ok::<_, wasmtrace::Error>(write(module)))
                    .with_context(name)?;
            // A write error must not get the input's name as context.
            let hooked = hooked?;
            let mut add = |place: &mut Option<PathBuf>, bytes: Option<Vec<u8>>| match bytes {
                Some(bytes) => outputs.push((place.clone(), Content::Bytes(bytes))),
                None => *place = None,
            };
            add(&mut places.source_map, source_map);
            add(&mut places.debug_file, debug_file);
            probes = manifest.map_or_else(Vec::new, |manifest| manifest.probes);
            (hooked, warnings, Some(selection))
        }
    };
    let context = if args.inputs.len() > 1 { format!("{}: ", name()) } else { String::new() };
    global.warn(&context, &warnings);
    if let Some(selected) = selection.as_ref().and_then(|selection| args.select.told(&options.select, selection)) {
        global.note(&format!("{context}{selected}"));
    }
    let checked = match &hooked {
        Content::Bytes(hooked) if args.verify || args.report.is_some() => {
            // With `--force` the input may have had hooks of its own: compare with what was hooked.
            let stripped = if args.force { wasmtrace::strip(hooked).ok() } else { None };
            Some(Checked::of(stripped.as_deref().unwrap_or(wasm), hooked, [&name(); 2])?)
        }
        _ => None,
    };
    global.say(&format!(
        "{}: {} → {} bytes{}",
        name(),
        wasm.len(),
        hooked.len(),
        checked.as_ref().map(|c| format!(", {} of {} functions hooked", c.hooked, c.functions)).unwrap_or_default(),
    ));
    let growth = (hooked.len() as f64 / wasm.len() as f64 - 1.0) * 100.0;
    if let Some(most) = args.max_growth.filter(|most| growth > *most) {
        bail!("{}: the output is {growth:.1} % larger than the input, more than the {most} % of --max-growth", name());
    }
    let content = match hooked {
        Content::Bytes(hooked) if args.text => {
            let text = wasmprinter::print_bytes(&hooked)
                .map_err(|e| anyhow::anyhow!("{}: cannot print the output as text: {e}", name()))?;
            Content::Bytes(text.into_bytes())
        }
        content => content,
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let report = args.report.is_some().then(|| {
        let output_sha256 = match &content {
            Content::Bytes(bytes) => Some(hex(&wasmtrace::sha256(bytes))),
            Content::Written { .. } => None,
        };
        json!({
            "input": name(),
            "input_bytes": wasm.len(),
            "input_sha256": hex(&wasmtrace::sha256(wasm)),
            "output": path(&output),
            "output_bytes": content.len(),
            "output_sha256": output_sha256,
            "growth_percent": (growth * 10.0).round() / 10.0,
            "hooks": args.hooks.set().map(HookSet::name),
            "rules": selection.as_ref().map(|selection| args.select.report(&options.select, selection)),
            "functions": checked.as_ref().map(|c| c.functions),
            "hooked": checked.as_ref().map(|c| c.hooked),
            "memory_grows": checked.as_ref().map(|c| c.memory_grows),
            "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "source_map": path(&places.source_map),
            "debug_file": path(&places.debug_file),
            "seconds": began.elapsed().as_secs_f64(),
        })
    });
    let names = args.names.is_some().then(|| names_of(&name(), &probes));
    outputs.push((output, content));
    Ok(One { outputs, report, names })
}

/// The hooked functions, as `--names` writes them.
fn names_of(module: &str, probes: &[Probe]) -> serde_json::Value {
    let function = |probe: &Probe| {
        json!({
            "id": probe.id.0,
            "index": probe.label.index,
            "name": probe.label.demangled(),
            "raw_name": &*probe.label.name,
            "file": probe.label.file.as_deref(),
            "line": probe.label.line,
        })
    };
    let functions: Vec<_> = probes.iter().map(function).collect();
    json!({ "schema": "wasmtrace.names/1", "module": module, "functions": functions })
}
