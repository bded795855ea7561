//! A recording gives back what was written, or a beginning of it and an error.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wasmtrace_fuzz::theorems::recording::{a_recording_is_read_as_it_was_written, forged_contents_do_not_panic, read};

fuzz_target!(|data: &[u8]| {
    let _ = read(data);
    let _ = a_recording_is_read_as_it_was_written(&mut Unstructured::new(data));
    let _ = forged_contents_do_not_panic(&mut Unstructured::new(data));
});
