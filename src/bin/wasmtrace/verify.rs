//! `wasmtrace verify`

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::json;

use crate::checked::Checked;
use crate::files;
use crate::terminal::Global;

/// Prove that an instrumented module is the original plus hooks; with ARGS, also compare a run of both
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The proof compares both modules operator by operator. It runs nothing and does not trust the compiler.

Examples:
  wasmtrace verify app.wasm app.hooked.wasm
  wasmtrace verify app.wasm app.hooked.wasm -- --an-argument input    also run both, and compare")]
pub(crate) struct Args {
    /// Original module
    #[arg(value_name = "ORIG")]
    original: PathBuf,
    /// Instrumented module
    #[arg(value_name = "HOOKED")]
    hooked: PathBuf,
    #[cfg(feature = "full")]
    /// Also run both modules with these arguments and compare output and exit code; `--` alone runs them without arguments
    #[arg(value_name = "ARGS", last = true)]
    args: Option<Vec<String>>,
    #[cfg(feature = "full")]
    /// Grant the runs access to a host directory, optionally under another name
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    dirs: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, _: &Global) -> Result<u8> {
    let original = files::read(Some(&args.original))?;
    let hooked = files::read(Some(&args.hooked))?;
    let names = [&args.original, &args.hooked].map(|path| files::name(Some(path)));
    let checked = Checked::of(&original, &hooked, [&names[0], &names[1]])?;
    let run_too = same_run(args, &original, &hooked)?;
    if args.json {
        files::print_json(&json!({
            "schema": "wasmtrace.verify/1",
            "verified": true,
            "functions": checked.functions,
            "hooked": checked.hooked,
            "memory_grows": checked.memory_grows,
            "ran": run_too,
        }))?;
        return Ok(0);
    }
    let ran = if run_too { "; both run the same" } else { "" };
    writeln!(
        std::io::stdout(),
        "verified: the original plus hooks, {} of {} functions hooked{ran}",
        checked.hooked,
        checked.functions
    )?;
    Ok(0)
}

#[cfg(not(feature = "full"))]
fn same_run(_: &Args, _: &[u8], _: &[u8]) -> Result<bool> {
    match std::env::args_os().any(|a| a == "--") {
        true => bail!("this build of wasmtrace cannot run modules: install it with the feature `full`"),
        false => Ok(false),
    }
}

/// Runs both modules if `--` was given, and compares the runs. Returns whether they ran.
#[cfg(feature = "full")]
fn same_run(args: &Args, original: &[u8], hooked: &[u8]) -> Result<bool> {
    use std::io::{IsTerminal, Read};
    use std::path::Path;

    use anyhow::Context;
    use wasmtrace::runtime::{Config, RunResult, Stdio};

    // clap does not distinguish `--` without arguments from no `--`.
    if args.args.is_none() && !std::env::args_os().any(|a| a == "--") {
        return Ok(false);
    }
    let mut stdin = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_end(&mut stdin).context("standard input")?;
    }
    let mut config = Config {
        // Both runs get the same name, since a program may print it.
        program: args.original.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        args: args.args.clone().unwrap_or_default(),
        stdio: Stdio::Capture { stdin },
        ..Default::default()
    };
    for dir in &args.dirs {
        let (host, guest) = dir.split_once("::").unwrap_or((dir, dir));
        config.dirs.push((host.into(), guest.to_owned()));
    }
    let run = |path: &Path, wasm: &[u8]| -> Result<RunResult> {
        wasmtrace::runtime::run(wasm, &config, |_| ()).with_context(|| path.display().to_string())
    };
    let (a, b) = (run(&args.original, original)?, run(&args.hooked, hooked)?);
    if a.ending.describe() != b.ending.describe() {
        bail!("the original ended with {}, the instrumented module with {}", a.ending.describe(), b.ending.describe());
    }
    for (what, a, b) in [("output", &a.stdout, &b.stdout), ("error output", &a.stderr, &b.stderr)] {
        if a != b {
            let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            bail!(
                "the standard {what} differs from byte {at} on (original {} bytes, hooked {} bytes)",
                a.len(),
                b.len()
            );
        }
    }
    Ok(true)
}
