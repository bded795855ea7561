//! How a command ends that ran a program.

use std::io::Write;

use wasmtrace::label;
use wasmtrace::runtime::RunResult;
use wasmtrace::trace::RunOutcome;

use crate::terminal::Global;

/// Says of a run what its trace does not.
pub(crate) fn show(outcome: &RunResult, shows_ending: bool, global: &Global) {
    for result in &outcome.results {
        // As wasmtime has it: the results of an invoked function are output.
        let _ = writeln!(std::io::stdout(), "{result}");
    }
    if outcome.abandoned {
        global.warn("", &["the guest did not stop within a second, and is not waited for".to_owned()]);
    }
    if let Some(cpu) = outcome.guest_cpu {
        let waited = std::time::Duration::from_nanos(outcome.waited);
        global.say(&format!("the guest used {cpu:.2?} of CPU time, and waited {waited:.2?} for its trace to be taken"));
    }
    if let RunOutcome::Trapped(trap) = &outcome.ending
        && !shows_ending
    {
        let _ = writeln!(anstream::stderr(), "wasmtrace: the guest trapped: {}", label::printable(&trap.message));
    }
}

/// The exit code.
pub(crate) fn leave(outcome: &RunResult, failed: bool) -> u8 {
    let code = if failed { 125 } else { outcome.ending.exit_code() };
    if outcome.abandoned {
        // The guest's thread still runs; ending the process ends it.
        std::process::exit(i32::from(code));
    }
    code
}
