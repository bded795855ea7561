//! The host functions of the manual API: spans, tags, metrics and logs reported by the guest's own code.
//!
//! The API has three generations (see `docs/abi.md`). `dylibso:observe/api` uses names like `span-enter`.
//! `dylibso_observe` uses names like `span_enter`, with `i64` pointers in one generation and `i32` pointers in the one
//! before. The import's type distinguishes them, so each import gets a function of its own type.
//!
//! Invalid arguments do not disturb the guest. Text that is out of bounds, not UTF-8 or too long is recorded as misuse,
//! and its usable part is kept.

use std::collections::HashSet;

use wasmtime::{Caller, ExternType, Linker, Module, Val, ValType};

use super::store::{TraceSlot, producer};
use wasmtrace_abi::hook::{OBSERVE_API, OBSERVE_OLD};
use wasmtrace_trace::event::{EventKind, Level, Manual, Misuse};

/// Maximum length of names and tags in bytes; longer ones are truncated. They are kept as long as their span is open or
/// is in the call tree.
const LONGEST_NAME: usize = 1 << 10;

/// Maximum length of metrics and log lines in bytes; longer ones are truncated.
const LONGEST_LINE: usize = 16 << 10;

/// The number of the statsd format, the only metric format of the API.
const STATSD: u64 = 1;

#[derive(Debug, Clone, Copy)]
enum Api {
    SpanEnter,
    SpanExit,
    SpanTags,
    Metric,
    /// The oldest form of `metric`: without a format, always statsd.
    Statsd,
    Log,
}

impl Api {
    fn of(module: &str, name: &str) -> Option<Api> {
        let name = match module {
            OBSERVE_API => name.to_owned(),
            OBSERVE_OLD => name.replace('_', "-"),
            _ => return None,
        };
        Some(match name.as_str() {
            "span-enter" => Api::SpanEnter,
            "span-exit" => Api::SpanExit,
            "span-tags" => Api::SpanTags,
            "metric" => Api::Metric,
            "statsd" => Api::Statsd,
            "log" => Api::Log,
            _ => return None,
        })
    }

    /// Number of integer parameters.
    fn arity(self) -> usize {
        match self {
            Api::SpanExit => 0,
            Api::SpanEnter | Api::SpanTags | Api::Statsd => 2,
            Api::Metric | Api::Log => 3,
        }
    }
}

/// Defines the module's imports of the manual API in the linker.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut defined = HashSet::new();
    for import in module.imports() {
        let (Some(api), ExternType::Func(ty)) = (Api::of(import.module(), import.name()), import.ty()) else {
            continue;
        };
        let integers = ty.params().all(|p| matches!(p, ValType::I32 | ValType::I64));
        if ty.params().len() != api.arity() || !integers || ty.results().len() != 0 {
            continue; // not the API's: the linker will say that there is no such import
        }
        // A module may import the same function twice.
        if !defined.insert((import.module(), import.name())) {
            continue;
        }
        // `func_new` is slower than `func_wrap` but accepts any type. These calls copy text and are rare.
        linker.func_new(import.module(), import.name(), ty, move |mut caller, params, _| {
            for said in said(api, &mut caller, params).into_iter().flatten() {
                let event = EventKind::Manual(Box::new(said));
                let bytes = event.text_len();
                if let Some(producer) = producer(&mut caller, trace)? {
                    producer.push_after_buffer(event, bytes)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The events of a call: the misuse, if any, and the reported event.
fn said<T>(api: Api, caller: &mut Caller<'_, T>, params: &[Val]) -> [Option<Manual>; 2] {
    let integer = |at: usize| match params[at] {
        Val::I32(n) => u64::from(n as u32),
        Val::I64(n) => n as u64,
        _ => unreachable!("the type was checked"),
    };
    // The last two parameters point to the text.
    let longest = if matches!(api, Api::SpanEnter | Api::SpanTags) { LONGEST_NAME } else { LONGEST_LINE };
    let text = |caller: &mut Caller<'_, T>| text(caller, integer(params.len() - 2), integer(params.len() - 1), longest);
    let with_text = |make: fn(String) -> Manual, (text, misuse): (Option<String>, Option<Misuse>)| {
        [misuse.map(Manual::Misuse), text.map(make)]
    };
    match api {
        Api::SpanExit => [Some(Manual::SpanExit), None],
        Api::SpanEnter => {
            let (name, misuse) = text(caller);
            // The span is opened in any case, since its exit will follow.
            [misuse.map(Manual::Misuse), Some(Manual::SpanEnter(name.unwrap_or_else(|| "(no name)".to_owned())))]
        }
        Api::SpanTags => with_text(Manual::Tags, text(caller)),
        Api::Statsd => with_text(Manual::Metric, text(caller)),
        Api::Metric if integer(0) != STATSD => [Some(Manual::Misuse(Misuse::UnknownFormat)), None],
        Api::Metric => with_text(Manual::Metric, text(caller)),
        Api::Log => {
            let (message, misuse) = text(caller);
            let level = i32::try_from(integer(0)).ok().and_then(Level::from_number);
            let misuse = misuse.or(level.is_none().then_some(Misuse::UnknownLevel));
            [misuse.map(Manual::Misuse), message.map(|m| Manual::Log(level.unwrap_or(Level::Info), m))]
        }
    }
}

/// Reads text from the guest's memory, with the misuse found in it.
fn text<T>(caller: &mut Caller<'_, T>, ptr: u64, len: u64, longest: usize) -> (Option<String>, Option<Misuse>) {
    let memory = caller.get_export("memory");
    let data: &[u8] = match &memory {
        Some(wasmtime::Extern::Memory(memory)) => memory.data(&*caller),
        // Reading memory that other threads may write to would need unsafe code.
        Some(wasmtime::Extern::SharedMemory(_)) => return (None, Some(Misuse::SharedMemory)),
        _ => return (None, Some(Misuse::NoMemory)),
    };
    let wanted = usize::try_from(ptr).ok().and_then(|p| data.get(p..p.checked_add(usize::try_from(len).ok()?)?));
    match wanted {
        Some(bytes) => decode(bytes, longest),
        None => (None, Some(Misuse::OutOfBounds)),
    }
}

fn decode(bytes: &[u8], longest: usize) -> (Option<String>, Option<Misuse>) {
    let cut = &bytes[..bytes.len().min(longest)];
    let too_long = (cut.len() < bytes.len()).then_some(Misuse::TooLong);
    match std::str::from_utf8(cut) {
        Ok(text) => (Some(text.to_owned()), too_long),
        // Truncation may have split the last character.
        Err(e) if too_long.is_some() && e.error_len().is_none() => {
            (Some(String::from_utf8_lossy(&cut[..e.valid_up_to()]).into_owned()), too_long)
        }
        Err(_) => (Some(String::from_utf8_lossy(cut).into_owned()), Some(Misuse::NotUtf8)),
    }
}
