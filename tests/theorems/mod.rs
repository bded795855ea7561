//! Theorems as functions of random bytes, each stated in one place. `tests/compiler/random.rs` and
//! `tests/running/recording_format.rs` try them for seconds, and by name for as long as one likes; in `tests/fuzz`,
//! libFuzzer looks for bytes that break them.
//!
//! They know neither the corpus nor an engine: modules are given to them, and `testing::behaviour` runs what they return.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod custom_sections;
pub mod damaged;
pub mod hooked;
pub mod manifest;
pub mod mutated;
pub mod recording;
pub mod shown;
