//! The proof that an output is its input plus hooks, for modules and components.

use anyhow::{Context, Result, bail};
use wasmtrace::module::parse;
use wasmtrace::{component, features, verify};

/// The result of the proof.
pub(crate) struct Checked {
    pub(crate) functions: usize,
    pub(crate) hooked: usize,
    pub(crate) memory_grows: usize,
}

impl Checked {
    /// Proves that `hooked` is `original` plus hooks. `names` are the names of both files in messages.
    pub(crate) fn of(original: &[u8], hooked: &[u8], names: [&str; 2]) -> Result<Checked> {
        let [of_original, of_hooked] = names.map(str::to_owned);
        if component::is_component(original) {
            let component::VerifiedComponent { functions, hooked, .. } =
                component::verify(original, hooked).context(of_hooked)?;
            return Ok(Checked { functions, hooked, memory_grows: 0 });
        }
        let old = parse(original).context(of_original)?;
        let new = parse(hooked).with_context(|| of_hooked.clone())?;
        let verify::Verified { functions, hooked, memory_grows, .. } =
            verify::verify_modules(&old, &new).context(of_hooked)?;
        // No hook set may require features that the original does not need.
        match features::added(&old, &new).first() {
            Some(new) => bail!("the instrumented module needs the feature {new}, which the original does not"),
            None => Ok(Checked { functions, hooked, memory_grows }),
        }
    }
}
