//! A Manifest of any bytes is refused, or is written back as the same.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::MANIFESTS;
use wasmtrace_fuzz::theorems::manifest::{
    a_damaged_manifest_is_refused_or_means_something, a_manifest_is_refused_or_means_something,
};

fuzz_target!(|data: &[u8]| {
    a_manifest_is_refused_or_means_something(data);
    let _ = a_damaged_manifest_is_refused_or_means_something(&mut Unstructured::new(data), &MANIFESTS);
});
