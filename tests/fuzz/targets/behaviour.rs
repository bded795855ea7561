//! A module of any make does with hooks what it did without.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use testing::behaviour::{Runs, assert_same_behaviour};
use wasmtrace_fuzz::theorems::hooked::a_random_module_is_hooked;

fuzz_target!(|data: &[u8]| {
    // walrus panics on what it does not take, and a panic is a finding here.
    if let Ok((module, hooked)) = a_random_module_is_hooked(&mut Unstructured::new(data))
        && module.ends
    {
        assert_same_behaviour(&module.wasm, &hooked.out, false, &Runs::default());
    }
});
