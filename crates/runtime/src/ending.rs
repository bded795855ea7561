//! The outcome of a guest, derived from the engine's error.

use wasmtime_wasi::I32Exit;

use super::producer::Interrupted;
use super::wasi::ProcExit;
use wasmtrace_trace::event::{RunOutcome, Trap};

/// The outcome of a guest that ended with this error. `None` if the error is not the guest's.
pub(super) fn of_error(e: &wasmtime::Error) -> Option<RunOutcome> {
    // The exits of this crate and of wasmtime-wasi.
    if let Some(code) = e.downcast_ref().map(|ProcExit(code)| code).or(e.downcast_ref().map(|I32Exit(code)| code)) {
        return Some(RunOutcome::Exited(*code));
    }
    if let Some(Interrupted(signal)) = e.downcast_ref() {
        return Some(RunOutcome::Interrupted(*signal));
    }
    let backtrace = e.downcast_ref::<wasmtime::WasmBacktrace>();
    let frames = backtrace.map_or_else(Vec::new, |b| b.frames().iter().map(|f| f.func_index()).collect());
    let (code, message) = if let Some(trap) = e.downcast_ref::<wasmtime::Trap>() {
        let message = trap.to_string();
        (snake_case(&format!("{trap:?}")), message.strip_prefix("wasm trap: ").unwrap_or(&message).to_owned())
    } else if e.is::<wasmtime::ThrownException>() {
        ("uncaught_exception".to_owned(), "an exception was thrown and not caught".to_owned())
    } else if backtrace.is_some() {
        return Some(of_host(e, frames));
    } else {
        return None;
    };
    Some(RunOutcome::Trapped(Trap { code, message, frames }))
}

/// The outcome for an error of the host itself, with the guest's stack frames.
pub(super) fn of_host(e: &wasmtime::Error, frames: Vec<u32>) -> RunOutcome {
    let message = wasmtrace_abi::text::printable(&e.root_cause().to_string()).into_owned();
    RunOutcome::Trapped(Trap { code: "host_error".to_owned(), message, frames })
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
