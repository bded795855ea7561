//! `wasmtrace strip`

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::files;
use crate::terminal::Global;

/// Remove wasmtrace's hooks from a module: restores the original, byte for byte. A module without hooks stays unchanged
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Instrumented module [default: standard input]
    #[arg(value_name = "IN")]
    input: Option<PathBuf>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let hooked = files::read(args.input.as_deref())?;
    let original = wasmtrace::strip(&hooked).with_context(|| files::name(args.input.as_deref()))?;
    if hooked == original {
        let what = if wasmtrace::component::is_component(&hooked) { "component" } else { "module" };
        let name = files::name(args.input.as_deref());
        global.note(&format!("{name}: the {what} has no hooks; it is written unchanged"));
    }
    global.say(&format!("{} → {} bytes", hooked.len(), original.len()));
    files::write(args.output.as_deref(), &original)?;
    Ok(0)
}
