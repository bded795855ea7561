//! What names, debug information, producers and notes say can do no harm.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::WITH_CUSTOM_SECTIONS;
use wasmtrace_fuzz::theorems::custom_sections::damaged_custom_sections_do_no_harm;

fuzz_target!(|data: &[u8]| {
    let _ = damaged_custom_sections_do_no_harm(&mut Unstructured::new(data), &WITH_CUSTOM_SECTIONS);
});
