//! What is made of events: spans, a call tree, a recording, and the formats of other tools.
//!
//! ```text
//!  Batches ─calltree→ Spans, Profile ─export→ io::Write
//!     └──recording→ a file
//! ```
//!
//! Nothing here knows how events came about or where they go.

pub mod batch;
pub mod calltree;
pub mod context;
pub mod event;
pub mod export;
pub mod filter;
pub mod lines;
pub mod profile;
pub mod recording;
pub mod span_builder;
pub mod time_model;
