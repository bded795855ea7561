//! Processing of recorded events: spans, call trees, recordings, and the formats of other tools.
//!
//! ```text
//!  Batches ─calltree→ Spans, Profile ─export→ io::Write
//!     └──recording→ a file
//! ```
//!
//! This crate depends neither on the runtime that records events nor on the network.

pub mod batch;
pub mod budget;
pub mod calltree;
pub mod context;
pub mod diff;
pub mod event;
pub mod export;
pub mod filter;
pub mod lines;
pub mod log;
pub mod merger;
pub mod profile;
pub mod recording;
pub mod span_builder;
pub mod thresholds;
pub mod time_model;
