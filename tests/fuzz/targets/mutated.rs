//! What wasm-mutate has made of a module is hooked like the module.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::SMALL;
use wasmtrace_fuzz::theorems::mutated::{Mutations, a_mutated_module_is_hooked};

fuzz_target!(|data: &[u8]| {
    let _ = a_mutated_module_is_hooked(&mut Unstructured::new(data), &SMALL, &Mutations::default());
});
