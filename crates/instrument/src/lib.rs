//! The compiler of wasmtrace: inserts hooks at the entry and at every exit of the functions of a WebAssembly module.
//!
//! ```text
//!  &[u8] ─parse→ Module ─label→ Labels ─select→ Plan ─rewrite→ Rewritten { wasm, offsets, manifest }
//! ```
//!
//! [`instrument`] runs four stages, each a function that borrows the results of the earlier ones:
//!
//! 1. [`module::parse`] parses and validates the module.
//! 2. [`label::label`] finds the name and the source location of each function.
//! 3. [`select::select`] applies the selection rules.
//! 4. [`rewrite::rewrite`] inserts the hooks and relocates everything that refers to the code.
//!
//! [`verify::verify`] proves that an output is its input plus hooks. [`strip()`] restores the input, byte for byte.
//! [`component`] does the same for components.
//!
//! ```
//! use wasmtrace_instrument::{Options, instrument, strip, verify};
//!
//! let wasm = wat::parse_str(r#"(module (func (export "one") (result i32) i32.const 1))"#)?;
//! let hooked = instrument(&wasm, &Options::default())?;
//! assert_eq!(verify::verify(&wasm, &hooked.wasm)?.hooked, 1);
//! assert_eq!(strip(&hooked.wasm)?, wasm);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod component;
mod erase;
pub mod features;
mod hash;
mod hooks;
pub mod injected;
pub mod inserted;
pub mod label;
mod leb;
mod limits;
pub mod links;
pub mod mapping;
pub mod module;
mod options;
mod parallel;
mod relocate;
mod restore;
mod resumption;
pub mod rewrite;
pub mod select;
pub mod sidecar;
pub mod strip;
pub mod verify;
mod warning;

use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HOOK_SETS;
use wasmtrace_abi::manifest::MANIFEST_SECTION;

pub use hash::sha256;
pub use options::Options;
pub use relocate::describes_original;
pub use resumption::resumption;
pub use warning::{Warning, WarningKind};

/// Returns the original module or component, byte for byte. One without hooks is returned as it is: it is the output for
/// a selection without functions.
///
/// # Errors
/// Those of [`strip::strip`] and [`component::strip`].
pub fn strip(hooked: &[u8]) -> Result<Vec<u8>> {
    match component::is_component(hooked) {
        true => component::strip(hooked),
        false => strip::strip(hooked),
    }
}

/// Instruments a module: runs all stages of the compiler.
///
/// # Errors
/// Those of [`module::parse`], [`sidecar::SidecarFiles::read`] and [`rewrite::rewrite`]; [`ErrorKind::AlreadyHooked`]
/// if the module has hooks and `options.force` is not set.
pub fn instrument(bytes: &[u8], options: &Options) -> Result<rewrite::Rewritten> {
    instrument_with(bytes, options, |module| Ok(module.to_vec()))
}

/// Instruments a module like [`instrument`], and passes the output to `write` ([`rewrite::rewrite_with`]). A large output
/// is then never held in memory.
///
/// ```
/// # let (wasm, options) = (b"\0asm\x01\0\0\0", wasmtrace_instrument::Options::default());
/// let length = wasmtrace_instrument::instrument_with(wasm, &options, |module| -> Result<usize, Box<dyn std::error::Error>> {
///     module.write_to(&mut std::io::sink())?;
///     Ok(module.len())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`instrument`], and those of `write`.
pub fn instrument_with<W, E: From<Error>>(
    bytes: &[u8],
    options: &Options,
    write: impl FnOnce(&rewrite::Unwritten<'_>) -> Result<W, E>,
) -> Result<rewrite::Rewritten<W>, E> {
    if !HOOK_SETS.contains(&options.rewrite.hooks) {
        let message = format!("the hook set {} is only for components", options.rewrite.hooks.name());
        return Err(Error::new(ErrorKind::Unsupported, message).into());
    }
    let module =
        module::parse_with(bytes, &module::ParseOptions { validate: !options.no_validate, ..Default::default() })?;
    if injected::is_hooked(&module) {
        if !options.force {
            let message =
                "the module is hooked already: run it unchanged, strip it, or instrument it again with --force";
            return Err(Error::new(ErrorKind::AlreadyHooked, message).into());
        }
        if module.custom(MANIFEST_SECTION).is_some() {
            return instrument_with(&strip(bytes)?, options, write);
        }
    }
    let sidecars = options.sidecar.read(&module)?;
    let labels = label::label_with(&module, &sidecars);
    let plan = select::select(&module, &labels, &options.select);
    let mut rewritten = rewrite::rewrite_with(&module, &sidecars, &labels, &plan, &options.rewrite, write)?;
    let before = sidecars.warnings.into_iter().chain(labels.warnings).chain(plan.warnings);
    rewritten.warnings.splice(0..0, before);
    Ok(rewritten)
}
