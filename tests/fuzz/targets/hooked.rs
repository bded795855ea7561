//! A module of any make comes out plus hooks.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::theorems::hooked::a_random_module_is_hooked;

fuzz_target!(|data: &[u8]| {
    let _ = a_random_module_is_hooked(&mut Unstructured::new(data));
});
