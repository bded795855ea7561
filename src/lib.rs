//! Automatic instrumentation for WebAssembly. (docs below)
#![warn(missing_docs, missing_debug_implementations)]
mod debug;
pub mod error;
pub mod hook;
pub mod label;
pub mod module;
mod parallel;
pub mod rewrite;
pub mod select;
pub use error::{Error, ErrorKind, Result};
pub use rewrite::check;
pub use rewrite::strip::strip;

/// What [`instrument`] is to do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which functions are hooked; all that have a body, if there are no rules.
    pub select: select::Rules,
    /// What is written.
    pub rewrite: rewrite::Options,
    /// Hook a module that carries hooks already: ours are taken out first, anybody else's stay.
    pub force: bool,
}

/// Hooks the functions of a module: the whole compiler.
///
/// # Errors
/// Those of [`module::parse`] and [`rewrite::rewrite`]; [`ErrorKind::AlreadyHooked`] unless `options.force`.
pub fn instrument(bytes: &[u8], options: &Options) -> Result<rewrite::Rewritten> {
    let module = module::parse(bytes)?;
    if rewrite::is_hooked(&module) {
        if !options.force {
            return Err(Error::new(
                ErrorKind::AlreadyHooked,
                "the module is hooked already: run it as it is, `strip` it, or give --force",
            ));
        }
        if module.custom(hook::MANIFEST_SECTION).is_some() {
            return instrument(&strip(bytes)?, options);
        }
    }
    let labels = label::label(&module);
    let plan = select::select(&module, &labels, &options.select);
    let mut rewritten = rewrite::rewrite(&module, &labels, &plan, &options.rewrite)?;
    rewritten.warnings.splice(0..0, labels.warnings.into_iter().chain(plan.warnings));
    Ok(rewritten)
}
