//! Spans, tags, metrics and logs from inside a WebAssembly module, over the
//! Observe API (`dylibso:observe/api`).
//!
//! ```
//! use wasmtrace_guest::{count, error, span};
//!
//! #[span] // one span for each call, named like the function
//! fn load(path: &str) -> Result<usize, String> {
//!     if path.is_empty() {
//!         error("no path");
//!         return Err("no path".into()); // closes the span, as `?` does
//!     }
//!     let parsing = span("parse").tag("path", path).tag("bytes", path.len()); // until the end of the scope
//!     count("files.loaded", 1);
//!     drop(parsing); // or until here
//!     Ok(path.len())
//! }
//! # load("a").unwrap();
//! # load("").unwrap_err();
//! ```
//!
//! Anywhere but on wasm, and with the feature `off`, everything is a no-op. A
//! module imports only the functions it uses, and then its host must have
//! them. The crate is `no_std`, and allocates nothing: tags and metrics are
//! written into a buffer of [`MAX_LINE`] bytes on the stack, and what does not
//! fit is cut off, at a whole character.
#![no_std]
#![warn(missing_docs)]

use core::fmt::{self, Display, Write};
use core::marker::PhantomData;

/// A span for each call of a function, from its first statement to its return:
/// by its end, `return`, `?`, or a panic that unwinds. With `panic = "abort"`
/// the host closes what is open.
///
/// `#[span]` takes the function's name; `#[span("name")]` or
/// `#[span(name = "name")]` gives another. It works on functions and methods
/// with a body, generic or not, and needs this crate under its own name.
///
/// ```
/// use wasmtrace_guest::span;
///
/// struct Shop(Vec<u32>);
///
/// impl Shop {
///     #[span(name = "Shop::total")]
///     fn total<T: From<u32> + std::iter::Sum>(&self) -> T {
///         self.0.iter().map(|&price| T::from(price)).sum()
///     }
/// }
///
/// assert_eq!(Shop(vec![1, 2]).total::<u64>(), 3);
/// ```
///
/// Async functions are refused: at an `.await` the spans of other tasks open
/// and close, and the API only closes the innermost.
///
/// ```compile_fail
/// #[wasmtrace_guest::span]
/// async fn load() {}
/// ```
///
/// So are const functions, functions without a body, and everything else.
///
/// ```compile_fail
/// #[wasmtrace_guest::span]
/// const fn zero() -> u32 { 0 }
/// ```
/// ```compile_fail
/// trait Load {
///     #[wasmtrace_guest::span]
///     fn load(&self);
/// }
/// ```
/// ```compile_fail
/// #[wasmtrace_guest::span]
/// struct Load;
/// ```
/// ```compile_fail
/// #[wasmtrace_guest::span(3)]
/// fn load() {}
/// ```
/// ```compile_fail
/// #[wasmtrace_guest::span(name = )]
/// fn load() {}
/// ```
pub use wasmtrace_guest_macros::span;

/// Opens a span until the returned guard is dropped.
///
/// ```
/// use wasmtrace_guest::span;
/// let _span = span("download").tag("try", 2); // not `let _`, which drops at once
/// ```
#[inline(always)]
pub fn span(name: &str) -> Span {
    enter(name);
    Span(PhantomData)
}

/// An open span; dropping it closes it.
///
/// The API closes the innermost span: drop the guards in the reverse order of
/// their opening, as local variables are. A function may return its guard.
// Neither Send nor Sync: every thread has its own spans. Its methods are always
// inlined, like all that opens or closes a span: automatic instrumentation would
// make a function of its own a span too. (Without optimisation the compiler's
// `drop_in_place::<Span>` remains one.)
#[must_use = "the span closes when this guard is dropped"]
pub struct Span(PhantomData<*const ()>);

impl Span {
    /// Tags the innermost open span: this one, as long as none is open inside it.
    #[inline(always)]
    pub fn tag(self, key: &str, value: impl Display) -> Self {
        tag(key, value);
        self
    }
}

impl Drop for Span {
    #[inline(always)]
    fn drop(&mut self) {
        exit();
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Span")
    }
}

/// Opens a span without a guard, for one that a different function closes.
#[inline(always)]
pub fn enter(name: &str) {
    api::span_enter(name);
}

/// Closes the innermost open span; for those of [`enter`].
#[inline(always)]
pub fn exit() {
    api::span_exit();
}

/// One tag of the innermost open span. A `,` ends a tag, and the first `:` its
/// key: so every `,`, and a `:` in the key, becomes `_`. A `:` in the value
/// stays (the Datadog adapter of the Go Observe SDK leaves such a tag out).
pub fn tag(key: &str, value: impl Display) {
    if ON {
        let mut line = Line::new();
        line.add(MAX_LINE / 2, &[',', ':'], key);
        line.add(MAX_LINE, &[], ":");
        line.add(MAX_LINE, &[','], value);
        tags(line.text());
    }
}

/// Several tags of the innermost open span, ready to send: `key:value,key:value`.
pub fn tags(text: &str) {
    api::span_tags(text);
}

/// One line of statsd as it is, for all that the functions beside it cannot
/// say: `hits:1|c|@0.1|#page:home`.
pub fn metric(line: &str) {
    api::metric(line);
}

/// Adds to a counter.
pub fn count(name: &str, by: impl Display) {
    statsd(name, by, "|c");
}

/// Sets a gauge; statsd reads a negative value as a change of it.
pub fn gauge(name: &str, value: impl Display) {
    statsd(name, value, "|g");
}

/// Adds a value to a distribution.
pub fn histogram(name: &str, value: impl Display) {
    statsd(name, value, "|h");
}

/// Adds a duration in milliseconds to a distribution.
pub fn timing(name: &str, milliseconds: impl Display) {
    statsd(name, milliseconds, "|ms");
}

/// The line `name:value|type`. In the name, `:`, `|` and a line end become `_`.
fn statsd(name: &str, value: impl Display, kind: &str) {
    if ON {
        let mut line = Line::new();
        line.add(MAX_LINE / 2, &[':', '|', '\n'], name);
        line.add(MAX_LINE, &[], ":");
        line.add(MAX_LINE - kind.len(), &['|', '\n'], value);
        line.add(MAX_LINE, &[], kind);
        metric(line.text());
    }
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    /// The hosts of the Observe SDK do not know it; the Rust one traps.
    Trace = 5,
}

/// Sends a message to the host's log, as a part of the innermost open span.
pub fn log(level: Level, message: &str) {
    api::log(level as u32, message);
}

/// [`log`]s an error.
pub fn error(message: &str) {
    log(Level::Error, message);
}

/// [`log`]s a warning.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// [`log`]s a message.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// [`log`]s a message for debugging.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// [`log`]s a message of the finest level, [`Level::Trace`].
pub fn trace(message: &str) {
    log(Level::Trace, message);
}

/// Bytes of one line of tags or of statsd.
pub const MAX_LINE: usize = 512;

/// Where a line is put together.
struct Line {
    len: usize,
    buffer: [u8; MAX_LINE],
}

impl Line {
    fn new() -> Self {
        Line { len: 0, buffer: [0; MAX_LINE] }
    }

    fn text(&self) -> &str {
        // Only whole characters get in.
        core::str::from_utf8(&self.buffer[..self.len]).unwrap_or_default()
    }

    /// Appends a value, up to the length `end` of the whole line; the
    /// characters of `not_in_it` become '_'.
    fn add(&mut self, end: usize, not_in_it: &[char], value: impl Display) {
        // The error says that there was no more room.
        let _ = write!(Part { line: self, end, not_in_it }, "{value}");
    }
}

struct Part<'a> {
    line: &'a mut Line,
    end: usize,
    not_in_it: &'a [char],
}

impl Write for Part<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let c = if self.not_in_it.contains(&c) { '_' } else { c };
            let room = &mut self.line.buffer[self.line.len..self.end];
            if c.len_utf8() > room.len() {
                return Err(fmt::Error);
            }
            self.line.len += c.encode_utf8(room).len();
        }
        Ok(())
    }
}

/// Whether the calls reach a host (in a test: the recorder).
const ON: bool = cfg!(any(all(target_family = "wasm", not(feature = "off")), test));

#[cfg(all(target_family = "wasm", not(feature = "off"), not(test)))]
mod api {
    mod import {
        #[link(wasm_import_module = "dylibso:observe/api")]
        extern "C" {
            #[link_name = "span-enter"]
            pub fn span_enter(name: *const u8, len: u32);
            #[link_name = "span-exit"]
            pub fn span_exit();
            #[link_name = "span-tags"]
            pub fn span_tags(tags: *const u8, len: u32);
            pub fn metric(format: u32, line: *const u8, len: u32);
            pub fn log(level: u32, message: *const u8, len: u32);
        }
    }

    // SAFETY, for all: the host reads `len` bytes at the pointer, during the call.
    #[inline(always)]
    pub fn span_enter(name: &str) {
        unsafe { import::span_enter(name.as_ptr(), name.len() as u32) }
    }
    #[inline(always)]
    pub fn span_exit() {
        unsafe { import::span_exit() }
    }
    #[inline(always)]
    pub fn span_tags(tags: &str) {
        unsafe { import::span_tags(tags.as_ptr(), tags.len() as u32) }
    }
    #[inline(always)]
    pub fn metric(line: &str) {
        unsafe { import::metric(1, line.as_ptr(), line.len() as u32) }
    }
    #[inline(always)]
    pub fn log(level: u32, message: &str) {
        unsafe { import::log(level, message.as_ptr(), message.len() as u32) }
    }
}

#[cfg(all(not(all(target_family = "wasm", not(feature = "off"))), not(test)))]
mod api {
    #[inline(always)]
    pub fn span_enter(_name: &str) {}
    #[inline(always)]
    pub fn span_exit() {}
    #[inline(always)]
    pub fn span_tags(_tags: &str) {}
    #[inline(always)]
    pub fn metric(_line: &str) {}
    #[inline(always)]
    pub fn log(_level: u32, _message: &str) {}
}

#[cfg(test)]
extern crate self as wasmtrace_guest;
#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
#[cfg(test)]
use tests::recorder as api;
