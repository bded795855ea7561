//! Sending one recording to all network sinks, in parallel and within a time limit.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use wasmtrace::otlp::settings::{Settings, Target, without_secrets};
use wasmtrace::otlp::{ExportOptions, Exported, export_rest};
use wasmtrace::trace::recording::Footer;

use crate::incremental::Sending;
use crate::terminal::Global;

/// A recording to be sent, and the limits for sending it.
pub(crate) struct ExportJob<'s> {
    pub(crate) path: &'s Path,
    pub(crate) max_spans: usize,
    pub(crate) end: Option<Footer>,
    pub(crate) resource: Vec<(String, String)>,
    /// Time limit for all sinks together; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    /// Where to print a note when a sink has to be waited for; `None` prints nothing.
    pub(crate) waits: Option<&'s Global>,
}

/// A network sink with its settings.
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    pub(crate) settings: Settings,
    /// The thread that sends spans to it while the guest runs.
    pub(crate) incremental: Option<Sending>,
}

/// How long past its deadline a sender is waited for. Name resolution cannot be interrupted and may take longer.
const GRACE: Duration = Duration::from_millis(500);

/// How often to check for an interrupt.
const LOOK: Duration = Duration::from_millis(50);

impl ExportJob<'_> {
    /// Sends the recording to all `endpoints` in parallel, each on its own thread, so that a slow sink does not use up the
    /// time of the others. A thread that misses the deadline is abandoned. `over` is called once for each endpoint.
    pub(crate) fn send(
        &self,
        mut endpoints: Vec<Endpoint>,
        given_up: impl Fn() -> bool,
        mut over: impl FnMut(&Endpoint, Result<Exported, String>),
    ) {
        let began = Instant::now();
        let after = |time: Option<Duration>| time.and_then(|time| began.checked_add(time));
        let deadline = after(self.timeout);
        // Half of the time is for requests in flight, half for the remaining spans.
        let half = after(self.timeout.map(|timeout| timeout / 2));
        let (done, waiting) = mpsc::channel();
        let (waits, notes) = mpsc::channel();
        let mut sending: BTreeSet<usize> = (0..endpoints.len()).collect();
        for (number, endpoint) in endpoints.iter_mut().enumerate() {
            let (settings, incremental) = (endpoint.settings.clone(), endpoint.incremental.take());
            let (path, resource, done) = (self.path.to_owned(), self.resource.clone(), done.clone());
            let (max_spans, end) = (self.max_spans, self.end.clone());
            let waits = self.waits.map(|_| waits.clone());
            let thread = move || {
                let already = incremental.map(|incremental| incremental.end(half)).unwrap_or_default();
                let order = ExportOptions { settings: &settings, max_spans, deadline, end, resource, waits };
                // The receiver is gone if the deadline has passed.
                let _ = done.send((number, export_rest(|| File::open(&path), &order, &already)));
            };
            if let Err(e) = std::thread::Builder::new().name("delivery".into()).spawn(thread) {
                sending.remove(&number);
                over(endpoint, Err(format!("cannot start a thread for sending: {e}")));
            }
        }
        drop(done);
        while !sending.is_empty() {
            let result = waiting.recv_timeout(LOOK);
            if let Some(global) = self.waits {
                let more = if deadline.is_none() { " (--flush-timeout limits the wait)" } else { "" };
                notes.try_iter().for_each(|note: String| global.note(&format!("{note}{more}")));
            }
            let why = match result {
                Ok((number, result)) => {
                    sending.remove(&number);
                    over(&endpoints[number], result.map_err(|e| e.to_string()));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => "sending failed".to_owned(),
                Err(RecvTimeoutError::Timeout) if given_up() => "interrupted".to_owned(),
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|d| Instant::now() > d + GRACE) => {
                    format!("not finished within {:?}", self.timeout.unwrap_or_default())
                }
                Err(RecvTimeoutError::Timeout) => continue,
            };
            std::mem::take(&mut sending).into_iter().for_each(|number| over(&endpoints[number], Err(why.clone())));
        }
    }
}

/// Prints what was sent. The sink's own messages are in [`Exported::said`].
pub(crate) fn say(delivered: &Exported, settings: &Settings, global: &Global) {
    let Exported { trace, spans, sent_during_run, logs, metrics, merged, left_out, .. } = delivered;
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    global.note(&format!(
        "sent to {}: trace {trace}, {spans} spans{}{}{}{}{}",
        without_secrets(&settings.traces.endpoint.value),
        some(*sent_during_run, "of them during the run"),
        some(*merged, "spans merged"),
        some(*left_out, "dropped"),
        some(*logs, "logs"),
        some(*metrics, "metrics"),
    ));
}
