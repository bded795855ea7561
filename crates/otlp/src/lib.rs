//! Sends recordings to tracing backends: OTLP over HTTP and gRPC, and Zipkin.
//!
//! Network sinks never get live events. Spans are read from a recording, after the run or while it is written. The
//! guest therefore only waits for the disk, and a failing sink loses nothing. Sending a recording again sends the same
//! spans, since their ids are derived from the recording.
//!
//! ```text
//! recording ─Reader→ Events ─SpanBuilder→ Changes ─(budget)→ Spans ─encode→ requests ─Sender→ sink
//! ```
//!
//! With a limit on the number of spans, the recording is read twice, both times in bounded memory.

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
