//! What a hooked module does when it runs, and what is recorded, exported and shown of it.

mod bindings;
mod code_cache;
mod components;
mod embedding;
mod exports;
mod recording;
mod recording_bytes;
mod recording_format;
mod running;
mod self_recording;
mod spans;
#[path = "../theorems/mod.rs"]
mod theorems;
mod trees;
