//! Choosing the hook set and the clock for a run, and instrumenting the module.

use std::time::Duration;

use anyhow::{Result, bail};
use wasmtrace::hook::HookSet;
use wasmtrace::mapping::OffsetMap;
use wasmtrace::module::parse;
use wasmtrace::runtime::{ClockMode, CodeCache};
use wasmtrace::sidecar::SidecarFiles;
use wasmtrace::{ErrorKind, Options, Warning, WarningKind, component, injected, rewrite};

use crate::guest_args::{ClockArg, GuestArgs};
use crate::hooked_modules::{Entry, Hooked};
use crate::terminal::Global;

/// The hook set to write, and the clock to run it with.
pub(crate) struct Hooking {
    /// `None` runs the module unchanged.
    pub(crate) set: Option<HookSet>,
    /// Whether the set was chosen by default, so that `observe` may replace it where it does not fit.
    pub(crate) by_default: bool,
    pub(crate) clock: ClockMode,
    /// Whether an exception may unwind through one module and be caught in another.
    pub(crate) foreign_exceptions: bool,
}

impl Hooking {
    pub(crate) fn of(args: &GuestArgs) -> Result<Self> {
        if args.is_unhooked() {
            let depth = args.max_depth.is_some();
            let given = [(args.min_duration.is_some(), "--min-duration"), (depth, "--max-depth")];
            let given =
                given.into_iter().chain([(args.clock.is_some(), "--clock"), (args.select.is_given(), "a selection")]);
            if let Some((_, option)) = given.into_iter().find(|(given, _)| *given) {
                bail!("--hooks none runs the module without hooks: {option} has no effect");
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
            bail!("--preload needs --hooks observe: the other hook sets lose the order of calls between modules");
        }
        if asked.is_some() && set.is_some_and(|set| !set.has_buffer()) {
            bail!(
                "--clock only affects hook sets with a buffer: with --hooks observe the host reads the time at each event"
            );
        }
        // If the clock is fine enough, the guest itself drops calls below the threshold. Otherwise all calls are recorded,
        // and the short ones are dropped here.
        let clock = asked.unwrap_or(match args.min_duration {
            Some(least) if !least.is_zero() && nanos(least) < ClockMode::Coarse.resolution() && has_two_cores() => {
                ClockMode::Spin
            }
            _ => ClockMode::Coarse,
        });
        let fine_enough = args.min_duration.is_some_and(|least| nanos(least) >= clock.resolution());
        let set = match set {
            // Only the set `threshold` stores a timestamp with each event.
            Some(HookSet::Buffer) if fine_enough || clock == ClockMode::Spin => Some(HookSet::Threshold),
            set => set,
        };
        Ok(Hooking { set, by_default, clock, foreign_exceptions: false })
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Shows the warnings that matter for a run, and returns whether there were none. What is hooked exists in memory only, so
/// warnings about its debug information do not matter.
fn tell(mut warnings: Vec<Warning>, global: &Global) -> bool {
    warnings.retain(|warning| !matches!(warning.kind, WarningKind::StaleDebugInfo | WarningKind::Link));
    global.warn("", &warnings);
    warnings.is_empty()
}

/// Inserts hooks into a component, unless it has hooks already or is to run without any.
pub(crate) fn hooked_component(
    args: &GuestArgs,
    wasm: Vec<u8>,
    hooks: &Hooking,
    cache: Option<&CodeCache>,
    global: &Global,
) -> Result<Vec<u8>> {
    let Some(set) = hooks.set else { return Ok(wasm) };
    // Calls below a threshold are recorded and then dropped: a component has no set `threshold`.
    let set = if set == HookSet::Observe { set } else { HookSet::Buffer };
    let rewrite = rewrite::Options { hooks: set, restore: false, debug_info: false, ..Default::default() };
    let options = Options { select: args.select.rules()?, rewrite, ..Default::default() };
    let kept = cache.and_then(|cache| Entry::of(&cache.folder, &wasm, &options));
    if let Some(hooked) = kept.as_ref().and_then(Entry::load) {
        return Ok(hooked.wasm);
    }
    let hooked = match component::instrument(&wasm, &options) {
        Err(e) if e.kind() == ErrorKind::AlreadyHooked => return args.select.refuse_of_hooked().map(|()| wasm),
        hooked => hooked?,
    };
    let was_silent = tell(hooked.warnings, global);
    if let Some(entry) = kept.filter(|_| was_silent) {
        let hooked = Hooked { wasm: hooked.wasm, offsets: Some(OffsetMap::default()) };
        entry.store(&hooked);
        return Ok(hooked.wasm);
    }
    Ok(hooked.wasm)
}

fn has_two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// Inserts hooks into the module, unless it has hooks already or is to run without any. A module that was hooked before is
/// taken from the cache.
pub(crate) fn hooked(
    args: &GuestArgs,
    wasm: Vec<u8>,
    sidecar: SidecarFiles,
    hooks: &Hooking,
    cache: Option<&CodeCache>,
    global: &Global,
) -> Result<Hooked> {
    let hooked_already = |wasm: Vec<u8>| args.select.refuse_of_hooked().map(|()| wasm.into());
    let Some(set) = hooks.set else {
        let is_hooked = injected::is_hooked(&parse(&wasm)?);
        return if is_hooked { hooked_already(wasm) } else { Ok(wasm.into()) };
    };
    let mut options = Options { select: args.select.rules()?, sidecar, ..Default::default() };
    // Nothing strips this module or reads its debug information.
    options.rewrite = rewrite::Options {
        hooks: set,
        restore: false,
        debug_info: false,
        foreign_exceptions: hooks.foreign_exceptions,
        ..Default::default()
    };
    let kept = cache.and_then(|cache| Entry::of(&cache.folder, &wasm, &options));
    if let Some(hooked) = kept.as_ref().and_then(Entry::load) {
        return Ok(hooked);
    }
    let mut fell_back = false;
    let mut with = |set| {
        options.rewrite.hooks = set;
        wasmtrace::instrument(&wasm, &options)
    };
    let rewritten = match with(set) {
        Err(e) if e.kind() == ErrorKind::AlreadyHooked => return hooked_already(wasm),
        Err(e) if hooks.by_default && matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit) => {
            let rewritten = with(HookSet::Observe)?;
            fell_back = true;
            global.warn(
                "",
                &[format!("falling back to --hooks observe, which calls the host at each event and is slow: {e}")],
            );
            rewritten
        }
        rewritten => rewritten?,
    };
    let was_silent = tell(rewritten.warnings, global);
    let hooked = Hooked { wasm: rewritten.wasm, offsets: Some(rewritten.offsets) };
    if let Some(entry) = kept.filter(|_| was_silent && !fell_back) {
        entry.store(&hooked);
    }
    Ok(hooked)
}
