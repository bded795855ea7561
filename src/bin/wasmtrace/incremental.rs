//! The thread that sends what has closed while the guest runs.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use wasmtrace::otlp::settings::Settings;
use wasmtrace::otlp::{IncrementalExport, Progress, SentSpans};

/// So long a request that is on its way is waited for in any case.
const LEAST: Duration = Duration::from_millis(50);

/// How long a request may take: a window that fails is no loss.
const LONGEST: Duration = Duration::from_secs(10);

/// When, and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long a window is; none: nothing is sent while the guest runs.
    pub(crate) every: Duration,
    /// How long sending may take at the end, and each request on the way.
    pub(crate) within: Duration,
    pub(crate) max_spans: usize,
}

/// One sink's.
pub(crate) struct Sending {
    progress: Progress,
    /// Dropped, it ends the thread.
    stop: mpsc::Sender<()>,
    /// Ends with the thread.
    stopped: mpsc::Receiver<()>,
}

impl Sending {
    /// Nothing, if there is to be none. Whatever fails here is left to the end, which will say so.
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
        std::thread::Builder::new().name("underway".into()).spawn(thread).ok()?;
        Some(Sending { progress, stop, stopped })
    }

    /// Ends it, and says what was sent. A request that is on its way is waited for until then.
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
    let mut underway = None;
    while asked.recv_timeout(pace.every) == Err(RecvTimeoutError::Timeout) {
        // The first reading is of a run that has lived so long.
        if underway.is_none() {
            underway = IncrementalExport::new(path, settings, pace.max_spans, progress.clone()).ok();
        }
        let Some(underway) = &mut underway else { return };
        // What is not taken is sent at the end.
        let _ = underway.window(pace.within.min(LONGEST));
    }
}
