//! The part that `run` and `record` share: prepare a module, instrument it, and run it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use anyhow::{Context, Result, bail};
use wasmtrace::component;
use wasmtrace::export::{Recording, RunInfo, SAMPLES};
use wasmtrace::hook::{HookSet, Manifest, ProbeId};
use wasmtrace::label;
use wasmtrace::label::Label;
use wasmtrace::label::lines::{Described, SourceLine, source_lines};
use wasmtrace::mapping::OffsetMap;
use wasmtrace::module::{Module, ParseOptions, parse, parse_with};
use wasmtrace::otlp::settings::Target;
use wasmtrace::runtime::{ClockMode, CodeCache, Config, OnCompiled, Preload, RunResult, Stdio};
use wasmtrace::sidecar::SidecarFiles;
use wasmtrace::trace::EventKind;
use wasmtrace::trace::batch::{Batch, MarkKind};
use wasmtrace::trace::filter::Filter;
use wasmtrace::trace::lines::{Lines, Sampled};
use wasmtrace::trace::time_model::{Step, TimeModel};

use crate::files;
use crate::guest_args::{GuestArgs, config};
use crate::hooked_modules::Hooked;
use crate::hooking::{Hooking, hooked, hooked_component, nanos};
use crate::instrument::Hooks;
use crate::progress::Progress;
use crate::sending::{self, Place, ResourceArgs};
use crate::sidecar::SidecarArgs;
use crate::terminal::Global;

/// A module that is ready to run, with its labels and the state of its run.
pub(crate) struct Guest {
    name: String,
    main: Vec<u8>,
    config: Config,
    pub(crate) run_info: RunInfo,
    /// Functions of the manual API that another compiler hooked. Their calls are not shown: a span, a tag or a log line
    /// belongs to the caller.
    silent: HashSet<ProbeId>,
    filter: Filter,
    time_model: TimeModel,
    input: Option<Input>,
    /// Whether progress is not shown.
    quiet: bool,
    /// Whether signals are handled. Clones share this, like the flag that a signal sets.
    listens: Arc<AtomicBool>,
}

/// The module before it was hooked: debug information describes this one.
#[derive(Clone)]
struct Input {
    wasm: Vec<u8>,
    sidecar: SidecarFiles,
    /// From its code offsets to those of the hooked module, if it was hooked here.
    offsets: Option<OffsetMap>,
}

/// Which times a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// The time of each event, for spans.
    OfEachEvent,
    /// The distribution of time over functions, for the call tree.
    OfSamples,
}

impl Guest {
    /// Reads and hooks the module and its preloads. `keeps_input` keeps the original module, which [`Guest::lines`] needs.
    pub(crate) fn prepare(args: &GuestArgs, keeps_input: bool, global: &Global) -> Result<Guest> {
        let mut config = config(args)?;
        let wasm = files::read(Some(args.module()))?;
        let name = files::name(Some(args.module()));
        if component::is_component(&wasm) {
            return Guest::of_component(args, config, wasm, name, global);
        }
        let preloads = args.preloads.iter().map(|(_, path)| files::read(Some(path))).collect::<Result<Vec<_>>>()?;
        let mut hooks = Hooking::of(args)?;
        // An exception thrown by one module may unwind through another that does not use exceptions.
        let throws = |wasm: &Vec<u8>| parse(wasm).is_ok_and(|module| module.uses_exceptions());
        hooks.foreign_exceptions = !preloads.is_empty() && (throws(&wasm) || preloads.iter().any(throws));
        config.clock = hooks.clock;
        config.min_duration = args.min_duration.unwrap_or_default();
        config.sample = args.sample || !(args.no_sample || args.is_unhooked());
        let sidecar = args.sidecar.find_for_labels(Some(args.module()), &wasm, global)?;
        let input = keeps_input.then(|| (wasm.clone(), sidecar.clone()));
        let labels = match args.is_unhooked() && args.sample {
            true => Some(labels(&wasm, &sidecar, global).with_context(|| name.clone())?),
            false => None,
        };
        let Hooked { wasm: main, offsets } =
            hooked(args, wasm, sidecar, &hooks, config.cache.as_ref(), global).with_context(|| name.clone())?;
        let input = input.map(|(wasm, sidecar)| Input { wasm, sidecar, offsets });
        let module = parse_again(&main).with_context(|| name.clone())?;
        if args.invoke.is_none()
            && module.start().is_none()
            && !module.exports().iter().any(|(name, _)| *name == "_start")
        {
            let warning = "the module has no `_start`: use --invoke FUNCTION to call one of its exports";
            global.warn("", &[warning.to_owned()]);
        }
        let mut run_info = run_info(args, &module, module.manifest().and_then(Result::ok).as_ref(), &hooks);
        if let Some(labels) = labels {
            run_info.labels = labels;
            run_info.recording.clock = SAMPLES.to_owned();
        }
        let mut first_probe = module.func_count();
        for ((name, path), wasm) in args.preloads.iter().zip(preloads) {
            let context = || path.display().to_string();
            let sidecar = SidecarArgs::default().find_for_labels(Some(path), &wasm, global)?;
            let hooked = hooked(args, wasm, sidecar, &hooks, config.cache.as_ref(), global);
            let Hooked { wasm, .. } = hooked.with_context(context)?;
            let module = parse_again(&wasm).with_context(context)?;
            let labels = label::probes(&module).labels;
            run_info.labels.extend(labels.into_iter().map(|(id, label)| (ProbeId(first_probe + id.0), label)));
            let funcs = module.func_count();
            config.preloads.push(Preload { name: name.clone(), wasm, first_probe });
            first_probe += funcs;
        }
        let silent =
            run_info.labels.iter().filter(|(_, label)| label::is_manual_api(label)).map(|(id, _)| *id).collect();
        let silent: HashSet<ProbeId> = silent;
        run_info.recording.not_sampled = not_sampled(args);
        let filter = Filter::new(run_info.recording.min_duration, args.max_depth);
        let is_stamped =
            module.manifest().and_then(Result::ok).is_some_and(|manifest| manifest.hooks == HookSet::Buffer);
        run_info.recording.stamped = is_stamped && silent.is_empty() && filter.is_open();
        Ok(Guest {
            name,
            main,
            config,
            run_info,
            silent,
            filter,
            time_model: TimeModel::new(),
            input,
            quiet: global.quiet,
            listens: Arc::default(),
        })
    }

    /// Hooks a component.
    fn of_component(
        args: &GuestArgs,
        mut config: Config,
        wasm: Vec<u8>,
        name: String,
        global: &Global,
    ) -> Result<Guest> {
        if !args.preloads.is_empty() {
            bail!("--preload gives modules to a module: compose components instead");
        }
        if args.sidecar.is_given() {
            bail!("--source-map and --debug-file belong to a module: a component has several");
        }
        if args.is_unhooked() && args.sample {
            bail!("--hooks none --sample is not available for components");
        }
        if args.clock.is_some() || args.hooks == Some(Hooks::Threshold) {
            bail!("--clock and --hooks threshold are not available for components");
        }
        let hooks = Hooking { clock: ClockMode::Coarse, ..Hooking::of(args)? };
        config.min_duration = args.min_duration.unwrap_or_default();
        config.sample = args.sample || !(args.no_sample || args.is_unhooked());
        let hooked = hooked_component(args, wasm, &hooks, config.cache.as_ref(), global);
        let main = hooked.with_context(|| name.clone())?;
        let (manifest, probes) = component::probes(&main).with_context(|| name.clone())?.unzip();
        let has_buffer = manifest.is_some_and(|manifest| manifest.hooks == HookSet::Buffer);
        let mut recording = recording(args, has_buffer, &hooks);
        recording.not_sampled = not_sampled(args);
        let filter = Filter::new(recording.min_duration, args.max_depth);
        recording.stamped = has_buffer && filter.is_open();
        let run_info = RunInfo { recording, ..RunInfo::of(&program(args), probes.unwrap_or_default()) };
        Ok(Guest {
            name,
            main,
            config,
            run_info,
            silent: HashSet::new(),
            filter,
            time_model: TimeModel::new(),
            input: None,
            quiet: global.quiet,
            listens: Arc::default(),
        })
    }

    /// Sets the trace that the run belongs to, and passes it to the guest in environment variables. Variables given by
    /// `--env` take precedence.
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
        self.run_info.context = Some(place.context);
        self.run_info.resource = attributes;
    }

    /// The source lines of the sampled instructions.
    pub(crate) fn lines(&self, sampled: &Sampled) -> Result<Lines> {
        let mut lines = Lines::default();
        let Some(Input { wasm, sidecar, offsets }) = &self.input else { return Ok(lines) };
        let module = parse_again(wasm)?;
        let beside = sidecar.read(&module)?;
        let hooked = parse_again(&self.main)?;
        let moved = offsets.as_ref().zip(hooked.code_start());
        let described = Described { module: &module, sidecars: &beside, moved };
        // Functions of preloaded modules have larger ids.
        let own = hooked.func_count();
        let wanted = sampled.iter().map(|(at, _)| at).filter(|(id, _)| id.0 < own);
        for SourceLine { id, offset, file, line } in source_lines(&described, wanted) {
            lines.insert(id, offset, &file, line);
        }
        Ok(lines)
    }

    /// Sets the guest's standard input. `quiet` discards its output.
    pub(crate) fn give(&mut self, stdin: Option<Vec<u8>>, quiet: bool) {
        if stdin.is_some() || quiet {
            self.config.stdio = Stdio::Given { stdin: stdin.unwrap_or_default(), quiet };
        }
    }

    /// Another run of the same module, which begins now. A signal ends both.
    pub(crate) fn again(&self) -> Guest {
        let run_info = self.run_info.clone().beginning_now();
        Guest {
            name: self.name.clone(),
            main: self.main.clone(),
            config: self.config.clone(),
            silent: self.silent.clone(),
            filter: Filter::new(run_info.recording.min_duration, run_info.recording.max_depth),
            run_info,
            time_model: TimeModel::new(),
            input: self.input.clone(),
            quiet: self.quiet,
            listens: self.listens.clone(),
        }
    }

    /// Whether machine code is not kept between runs.
    pub(crate) fn is_without_cache(&self) -> bool {
        self.config.cache.is_none()
    }

    /// Keeps machine code between runs in that cache.
    pub(crate) fn keep_machine_code(&mut self, cache: CodeCache) {
        self.config.cache = Some(cache);
    }

    /// The number of imported functions of the main module, and of all of its functions.
    pub(crate) fn functions(&self) -> Result<(u32, u32)> {
        let module = parse_again(&self.main)?;
        Ok((module.imported_funcs().len() as u32, module.func_count()))
    }

    /// The number of the signal that asked the guest to end, if there was one.
    pub(crate) fn interrupted(&self) -> Option<i32> {
        Some(self.config.interrupt.load(Ordering::Relaxed).abs()).filter(|signal| *signal != 0)
    }

    /// The flag that ends the guest: storing a signal number in it interrupts the run.
    pub(crate) fn interrupt(&self) -> Arc<AtomicI32> {
        self.config.interrupt.clone()
    }

    /// Runs the module. `consume` gets the recorded events that pass the filter; it is also called with empty batches from time
    /// to time.
    pub(crate) fn run(&mut self, times: Times, mut consume: impl FnMut(&RunInfo, &Batch)) -> Result<RunResult> {
        if !self.listens.swap(true, Ordering::Relaxed) {
            on_signals(self.config.interrupt.clone())?;
        }
        let Guest { silent, filter, run_info, time_model, .. } = self;
        let passes = silent.is_empty() && filter.is_open();
        self.config.times = times == Times::OfEachEvent || !passes;
        let mut kept = Batch::default();
        let size = format!("{:.1} MB", self.main.len() as f64 / 1e6);
        let progress = Progress::begin(&format!("compiling {} ({size})", self.name), self.quiet);
        let compiled = progress.clone();
        self.config.on_compiled = Some(OnCompiled(Arc::new(move || compiled.end())));
        let outcome = wasmtrace::runtime::run_batches(&self.main, &self.config, |batch| {
            if passes {
                return consume(run_info, batch);
            }
            kept.clear();
            time_model.batch(batch, |step| match step {
                Step::Event(event) => {
                    if let EventKind::Enter(probe) | EventKind::Exit(probe) | EventKind::Unwound(probe) = &event.kind
                        && silent.contains(probe)
                    {
                        return;
                    }
                    filter.event(event, &mut |event| kept.event(event.clone()));
                }
                Step::Sample(sample) => kept.mark(MarkKind::Sample(sample.clone())),
                Step::Stamp(stamp) => kept.mark(MarkKind::Stamp(*stamp)),
            });
            consume(run_info, &kept);
        })
        .with_context(|| self.name.clone());
        progress.end();
        let outcome = outcome?;
        kept.clear();
        filter.finish(&mut |event| kept.event(event.clone()));
        consume(run_info, &kept);
        Ok(outcome)
    }
}

/// The labels of all functions of a module that runs without hooks.
fn labels(wasm: &[u8], sidecar: &SidecarFiles, global: &Global) -> Result<BTreeMap<ProbeId, Label>> {
    let module = parse(wasm)?;
    let beside = sidecar.read(&module)?;
    let labels = label::label_with(&module, &beside);
    global.warn("", &beside.warnings);
    global.warn("", &labels.warnings);
    Ok(labels.iter().map(|(func, label)| (ProbeId(func.0), label.clone())).collect())
}

/// Parses a module without validating it: it was validated before, or produced from a valid module.
fn parse_again(wasm: &[u8]) -> wasmtrace::Result<Module<'_>> {
    parse_with(wasm, &ParseOptions { validate: false, ..Default::default() })
}

fn run_info(args: &GuestArgs, module: &Module<'_>, manifest: Option<&Manifest>, hooks: &Hooking) -> RunInfo {
    let mut recording = recording(args, manifest.is_some_and(|m| m.hooks.has_buffer()), hooks);
    recording.resumption = wasmtrace::resumption(module);
    RunInfo { recording, ..RunInfo::of(&program(args), label::probes(module)) }
}

/// Why the options of a run exclude samples, if they do.
fn not_sampled(args: &GuestArgs) -> Option<String> {
    match args.min_duration {
        _ if args.no_sample => Some("--no-sample".to_owned()),
        Some(least) if !least.is_zero() => Some("--min-duration only counts short calls".to_owned()),
        _ => None,
    }
}

/// The name of the program in traces.
fn program(args: &GuestArgs) -> String {
    args.module().file_name().map_or_else(|| "-".into(), |n| n.to_string_lossy()).into_owned()
}

/// How the run is recorded.
fn recording(args: &GuestArgs, has_buffer: bool, hooks: &Hooking) -> Recording {
    let mut recording =
        Recording { min_duration: args.min_duration.map_or(0, nanos), max_depth: args.max_depth, ..Default::default() };
    if has_buffer {
        recording.clock = hooks.clock.name().to_owned();
        recording.resolution = hooks.clock.resolution();
    }
    recording
}

/// SIGINT and SIGTERM end the guest; what was recorded is still shown.
fn on_signals(interrupt: Arc<AtomicI32>) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("cannot install signal handlers")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // The first signal ends the guest, the second abandons it, the third ends the process at once.
            match interrupt.load(Ordering::Relaxed) {
                0 => interrupt.store(signal, Ordering::Relaxed),
                before if before > 0 => interrupt.store(-signal, Ordering::Relaxed),
                _ => std::process::exit(128 + signal),
            }
        }
    });
    Ok(())
}
