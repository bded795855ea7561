//! `record --repeat N`: the same run several times, so that `diff` knows how much times vary.

use anyhow::{Context, Result};
use wasmtrace::runtime::{CodeCache, RunResult};

use crate::ending::leave;
use crate::guest::Guest;
use crate::stdin;
use crate::terminal::Global;

/// Runs `once` with a guest for each of `count` runs, and the number of the run from 1. It returns the result, and whether
/// the recording failed. Stops after a run that a signal ended. Returns the exit code of the last run that failed, or 0.
pub(crate) fn run(
    count: usize,
    mut guest: Guest,
    global: &Global,
    mut once: impl FnMut(&mut Guest, usize) -> Result<(RunResult, bool)>,
) -> Result<u8> {
    // A terminal is not read: what is typed into one run would be missing in the others.
    let input = stdin::read("--repeat")?.unwrap_or_default();
    // Without the user's cache, each run would compile the module again.
    let mut folder = None;
    if guest.is_without_cache() {
        let folder = folder.insert(tempfile::tempdir().context("cannot create a temporary directory")?);
        guest.keep_machine_code(CodeCache::new(folder.path()));
    }
    if count > 1 {
        global.note(&format!("{count} runs: the output of the first is shown, that of the others is discarded"));
    }
    let mut code = 0;
    for number in 1..=count {
        let mut guest = guest.again();
        guest.give(Some(input.clone()), number > 1);
        let (result, failed) = once(&mut guest, number)?;
        if result.abandoned {
            // The process ends here.
            drop(folder.take());
        }
        code = Some(leave(&result, failed)).filter(|code| *code != 0).unwrap_or(code);
        if guest.interrupted().is_some() {
            if number < count {
                global.warn("", &[format!("interrupted: {} of {count} runs were recorded", number)]);
            }
            break;
        }
    }
    Ok(code)
}
