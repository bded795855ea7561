//! The modules of the testsuite with every function hooked, in every hook set.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use wasmparser::WasmFeatures;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::{ErrorKind, Options, instrument, module, rewrite, strip, verify};

use testing::balance::Known;
use testing::host::{Compiled, Host};

/// How the modules of a script are run: as they are, or with the hooks of one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Plain,
    Hooked(HookSet),
}

static PLAIN: LazyLock<Host> = LazyLock::new(|| Host::plain().without_limit());
static HOOKED: LazyLock<Host> = LazyLock::new(|| Host::hooked().without_limit());
/// What is short is counted only, so that what takes events back is run too.
static COUNTING: LazyLock<Host> = LazyLock::new(|| Host::counting().without_limit());

impl Flavour {
    pub fn host(self) -> &'static Host {
        match self {
            Flavour::Plain => &PLAIN,
            Flavour::Hooked(HookSet::Threshold) => &COUNTING,
            Flavour::Hooked(_) => &HOOKED,
        }
    }

    pub fn has_hooks(self) -> bool {
        self != Flavour::Plain
    }
}

/// A valid module, and what became of it in each hook set; `None` where the module is not for it.
pub struct Prepared {
    pub wasm: Vec<u8>,
    pub hooked: [Option<Vec<u8>>; HOOK_SETS.len()],
}

/// A module that can be instantiated.
pub struct Ready {
    pub compiled: Compiled,
    pub known: Arc<Known>,
}

/// Theorem: a valid module comes out of every hook set valid, as itself with hooks and nothing else, and gives its input back,
/// byte for byte. The error says what is not so.
pub fn prepared(wasm: Vec<u8>) -> Result<Prepared, String> {
    let mut hooked = [const { None }; HOOK_SETS.len()];
    for (set, out) in HOOK_SETS.into_iter().zip(&mut hooked) {
        let made = or_panic(|| hook(&wasm, set));
        *out = made.map_err(|why| format!("{}: {why}", set.name()))?;
    }
    Ok(Prepared { wasm, hooked })
}

/// What `test` says, or that it panicked.
pub fn or_panic<T>(test: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or_default()))
    })
}

fn hook(wasm: &[u8], hooks: HookSet) -> Result<Option<Vec<u8>>, String> {
    let mut options = Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() };
    // Imported functions too in one of them: all that crosses from one module to another then goes through a trampoline.
    options.select.imports = hooks == HookSet::Threshold;
    let out = match instrument(wasm, &options) {
        Ok(out) => out.wasm,
        Err(e) if e.kind() == ErrorKind::Unsupported && e.to_string().contains("shared memory") => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    // The check reads both modules, and so validates them.
    verify::verify(wasm, &out).map_err(|e| format!("the output is not the input with hooks: {e}"))?;
    if out != wasm && strip(&out).map_err(|e| format!("strip: {e}"))? != wasm {
        return Err("strip gives something else".to_owned());
    }
    Ok(Some(out))
}

impl Prepared {
    /// Where an output needs a feature that its suite does not have: a buffer is one memory more than there was.
    pub fn needs_more_than(&self, suite: WasmFeatures) -> Option<String> {
        HOOK_SETS.into_iter().zip(&self.hooked).find_map(|(set, wasm)| {
            let declared = if set.has_buffer() { WasmFeatures::MULTI_MEMORY } else { WasmFeatures::empty() };
            let refused = module::parse_under(wasm.as_ref()?, suite | declared).err()?;
            Some(format!("{}: {refused}", set.name()))
        })
    }

    /// The module in this flavour, ready to run. Where a module is not for the hook set it stays as it is.
    pub fn ready(&self, flavour: Flavour) -> Result<Ready, String> {
        let hooked = HOOK_SETS.into_iter().zip(&self.hooked).find(|(set, _)| flavour == Flavour::Hooked(*set));
        let wasm = hooked.and_then(|(_, wasm)| wasm.as_ref()).unwrap_or(&self.wasm);
        let compiled = flavour.host().compile(wasm).map_err(|e| format!("the engine refuses it: {e:#}"))?;
        Ok(Ready { compiled, known: Arc::new(Known::of(wasm)) })
    }
}
