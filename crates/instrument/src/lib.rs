//! The compiler of wasmtrace: hooks the entry and every way out of every function of any `.wasm`.
//!
//! ```text
//!  &[u8] ─parse→ Module ─label→ Labels ─select→ Plan ─rewrite→ Rewritten { wasm, offsets, manifest }
//! ```
//!
//! The stages are functions that borrow what the earlier ones returned: [`module::parse`], [`label::label`],
//! [`select::select`], [`rewrite::rewrite`]; [`instrument`] is all of them. [`verify::verify`] proves of an output that it
//! is its input plus hooks, and [`strip()`] gives the input back, byte for byte.
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
mod parallel;
mod relocate;
mod restore;
pub mod rewrite;
pub mod select;
pub mod sidecar;
pub mod strip;
pub mod verify;
mod warning;

use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::MANIFEST_SECTION;

pub use relocate::describes_original;
pub use strip::strip;
pub use warning::{Warning, WarningKind};

/// What [`instrument`] is to do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which functions are hooked; all that have a body, if there are no rules.
    pub select: select::Rules,
    /// What is written.
    pub rewrite: rewrite::Options,
    /// The files sidecars the module.
    pub sidecar: sidecar::SidecarFiles,
    /// Hook a module that relocates hooks already: ours are taken out first, anybody else's stay.
    pub force: bool,
    /// Leave the validation of bodies to others ([`module::ParseOptions::validate`]).
    pub no_validate: bool,
}

/// Hooks the functions of a module: the whole compiler.
///
/// # Errors
/// Those of [`module::parse`], [`sidecar::SidecarFiles::read`] and [`rewrite::rewrite`]; [`ErrorKind::AlreadyHooked`] unless `options.force`.
pub fn instrument(bytes: &[u8], options: &Options) -> Result<rewrite::Rewritten> {
    instrument_with(bytes, options, |module| Ok(module.to_vec()))
}

/// The same, written by `write` ([`rewrite::rewrite_with`]): a large output then takes no memory.
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
    let module =
        module::parse_with(bytes, &module::ParseOptions { validate: !options.no_validate, ..Default::default() })?;
    if injected::is_hooked(&module) {
        if !options.force {
            let message = "the module is hooked already: run it as it is, strip it, or force it to be hooked again";
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
