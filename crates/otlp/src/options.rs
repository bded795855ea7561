//! Options of an export.

use std::sync::mpsc;
use std::time::Instant;

use wasmtrace_trace::recording::Footer;

use crate::settings::Settings;

/// Options of an export.
#[derive(Debug, Clone)]
pub struct ExportOptions<'o> {
    /// The sink and its settings.
    pub settings: &'o Settings,
    /// Maximum number of spans besides the run's own; 0 sends all.
    pub max_spans: usize,
    /// The time at which the export must be over.
    pub deadline: Option<Instant>,
    /// The end of the run, in case the recording lacks it because the disk was full.
    pub end: Option<Footer>,
    /// Resource attributes that take precedence over those of the recording.
    pub resource: Vec<(String, String)>,
    /// Receives a message when the export has to wait for a sink.
    pub waits: Option<mpsc::Sender<String>>,
}
