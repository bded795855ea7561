//! What an export is asked for.

use std::sync::mpsc;
use std::time::Instant;

use wasmtrace_trace::recording::Footer;

use crate::settings::Settings;

/// What is sent, and until when.
#[derive(Debug, Clone)]
pub struct ExportOptions<'o> {
    /// Where to, and how.
    pub settings: &'o Settings,
    /// At most so many spans beside the run's own; 0: all.
    pub max_spans: usize,
    /// When it has to be over.
    pub deadline: Option<Instant>,
    /// How the run ended, where the recording may not know: it was cut off by a full disk.
    pub end: Option<Footer>,
    /// Attributes of the resource that stand above those of the recording.
    pub resource: Vec<(String, String)>,
    /// Who is told, in a sentence, that a sink is waited for.
    pub waits: Option<mpsc::Sender<String>>,
}
