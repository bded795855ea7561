//! Whatever becomes of the bytes of a module, nothing that reads it panics or takes long.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::VICTIMS;
use wasmtrace_fuzz::theorems::damaged::{nothing_panics_on, nothing_panics_on_a_damaged_module};

fuzz_target!(|data: &[u8]| {
    // Bytes that libFuzzer has grown into a module, or bytes that say what is done to one.
    if data.starts_with(b"\0asm") {
        nothing_panics_on(data, data);
    } else {
        let _ = nothing_panics_on_a_damaged_module(&mut Unstructured::new(data), &VICTIMS);
    }
});
