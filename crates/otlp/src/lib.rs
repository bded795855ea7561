//! Sends a recording to where the host's traces go: OTLP by HTTP and gRPC, Zipkin.
//!
//! There is one path. A network sink never sees live events: what is sent is read from a recording, when the run is over or
//! at any time after. So the guest waits for the disk only, a sink that fails loses nothing, and what is sent later is the
//! same spans (their ids follow from the recording).
//!
//! ```text
//! recording ─Reader→ Events ─SpanBuilder→ Changes ─(budget)→ Spans ─encode→ requests ─Sender→ sink
//! ```
//!
//! The budget looks at the recording first, and so it is read twice where there is one; both times in bounded memory.

mod budget;
mod error;
mod exporter;
mod grpc;
mod http;
mod incremental;
mod options;
mod request;
mod response;
mod sender;
mod sent_spans;
pub mod settings;
mod tls;

pub use error::ExportError;
pub use exporter::{Exported, export, export_rest};
pub use incremental::{IncrementalExport, Progress};
pub use options::ExportOptions;
pub use sent_spans::SentSpans;
