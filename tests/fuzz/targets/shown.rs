//! Whatever a recording says is folded into spans that add up, and shown as what it is.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::theorems::shown::anything_is_shown_as_what_it_is;

fuzz_target!(|data: &[u8]| {
    let _ = anything_is_shown_as_what_it_is(&mut Unstructured::new(data));
});
