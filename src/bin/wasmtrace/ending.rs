//! The end of a command that ran a program: results, notes about the run, and the exit code.

use std::io::Write;

use wasmtrace::label;
use wasmtrace::runtime::RunResult;
use wasmtrace::trace::RunOutcome;

use crate::terminal::Global;

/// Prints what the trace of a run does not contain: results of an invoked function, CPU time, and a trap if
/// no sink shows it (`shows_ending` is false).
pub(crate) fn show(outcome: &RunResult, shows_ending: bool, global: &Global) {
    for result in &outcome.results {
        // Like the `wasmtime` command, print the results of an invoked function to standard output.
        let _ = writeln!(std::io::stdout(), "{result}");
    }
    if outcome.abandoned {
        global.warn("", &["the guest did not stop within 1 s; it is abandoned".to_owned()]);
    }
    if let Some(cpu) = outcome.guest_cpu {
        let waited = std::time::Duration::from_nanos(outcome.waited);
        global
            .say(&format!("the guest used {cpu:.2?} of CPU time and waited {waited:.2?} for its trace to be consumed"));
    }
    if let RunOutcome::Trapped(trap) = &outcome.ending
        && !shows_ending
    {
        let _ = writeln!(anstream::stderr(), "wasmtrace: the guest trapped: {}", label::printable(&trap.message));
    }
}

/// The exit code of the command: 125 if it `failed`, otherwise that of the guest. Ends the process if the guest was abandoned.
pub(crate) fn leave(outcome: &RunResult, failed: bool) -> u8 {
    let code = if failed { 125 } else { outcome.ending.exit_code() };
    if outcome.abandoned {
        // The guest's thread still runs; ending the process ends it.
        std::process::exit(i32::from(code));
    }
    code
}
