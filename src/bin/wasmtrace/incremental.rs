//! The thread that sends closed spans while the guest runs.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use wasmtrace::otlp::settings::Settings;
use wasmtrace::otlp::{IncrementalExport, Progress, SentSpans};

/// Minimum time to wait for a request in flight at the end.
const LEAST: Duration = Duration::from_millis(50);

/// Time limit of one request. Spans of a request that fails are sent again at the end.
const LONGEST: Duration = Duration::from_secs(10);

/// How often and how much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Interval between two requests; zero sends nothing while the guest runs.
    pub(crate) every: Duration,
    /// Time limit for sending at the end, and for each request before that.
    pub(crate) within: Duration,
    pub(crate) max_spans: usize,
}

/// Handle of the sending thread of one sink.
pub(crate) struct Sending {
    progress: Progress,
    /// Dropping this end asks the thread to stop.
    stop: mpsc::Sender<()>,
    /// Disconnects when the thread has stopped.
    stopped: mpsc::Receiver<()>,
}

impl Sending {
    /// Starts the thread. `None` if `pace.every` is zero or the thread cannot be started: then all spans are sent at the end.
    pub(crate) fn begin(path: &Path, settings: Settings, pace: Pace) -> Option<Sending> {
        if pace.every.is_zero() {
            return None;
        }
        let (progress, path) = (Progress::default(), path.to_owned());
        let (stop, asked) = mpsc::channel();
        let (ended, stopped) = mpsc::channel::<()>();
        let of_thread = progress.clone();
        let thread = move || {
            let _ended = ended;
            windows(&path, &settings, pace, of_thread, &asked);
        };
        std::thread::Builder::new().name("incremental".into()).spawn(thread).ok()?;
        Some(Sending { progress, stop, stopped })
    }

    /// Stops the thread and returns the spans that were sent. Waits for a request in flight, at most until `until`.
    pub(crate) fn end(self, until: Option<Instant>) -> SentSpans {
        let Sending { progress, stop, stopped } = self;
        progress.end();
        drop(stop);
        let _ = match until {
            Some(until) => stopped.recv_timeout(until.saturating_duration_since(Instant::now()).max(LEAST)),
            None => stopped.recv().map_err(RecvTimeoutError::from),
        };
        progress.ended()
    }
}

fn windows(path: &Path, settings: &Settings, pace: Pace, progress: Progress, asked: &mpsc::Receiver<()>) {
    let mut incremental = None;
    while asked.recv_timeout(pace.every) == Err(RecvTimeoutError::Timeout) {
        // Opened after the first interval: short runs need no reader.
        if incremental.is_none() {
            incremental = IncrementalExport::new(path, settings, pace.max_spans, progress.clone()).ok();
        }
        let Some(incremental) = &mut incremental else { return };
        // Spans that the sink does not accept now are sent at the end.
        let _ = incremental.window(pace.within.min(LONGEST));
    }
}
