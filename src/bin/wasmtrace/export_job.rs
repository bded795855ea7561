//! A recording that is sent to sinks, and what is said of it.

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

/// What is sent, and until when.
pub(crate) struct ExportJob<'s> {
    pub(crate) path: &'s Path,
    pub(crate) max_spans: usize,
    pub(crate) end: Option<Footer>,
    pub(crate) resource: Vec<(String, String)>,
    /// How long it may take in all.
    pub(crate) timeout: Option<Duration>,
    /// Says that one of the sinks is waited for.
    pub(crate) waits: Option<&'s Global>,
}

/// Where to.
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    pub(crate) settings: Settings,
    /// What sends to it while the guest runs.
    pub(crate) underway: Option<Sending>,
}

/// How much longer than it may take we wait for a sender to say so: a name may take long to be resolved.
const GRACE: Duration = Duration::from_millis(500);

/// How often we look whether we are asked to stop.
const LOOK: Duration = Duration::from_millis(50);

impl ExportJob<'_> {
    /// Sends it to all of them side by side, so that the time that one takes is not another's: each on a thread of its own,
    /// which is left behind if it does not end in time. `over` is told of each what came of it.
    pub(crate) fn send(
        &self,
        mut endpoints: Vec<Endpoint>,
        given_up: impl Fn() -> bool,
        mut over: impl FnMut(&Endpoint, Result<Exported, String>),
    ) {
        let began = Instant::now();
        let after = |time: Option<Duration>| time.and_then(|time| began.checked_add(time));
        let deadline = after(self.timeout);
        // What is on its way is waited for; the other half is for what is left.
        let half = after(self.timeout.map(|timeout| timeout / 2));
        let (done, waiting) = mpsc::channel();
        let (waits, notes) = mpsc::channel();
        let mut sending: BTreeSet<usize> = (0..endpoints.len()).collect();
        for (number, endpoint) in endpoints.iter_mut().enumerate() {
            let (settings, underway) = (endpoint.settings.clone(), endpoint.underway.take());
            let (path, resource, done) = (self.path.to_owned(), self.resource.clone(), done.clone());
            let (max_spans, end) = (self.max_spans, self.end.clone());
            let waits = self.waits.map(|_| waits.clone());
            let thread = move || {
                let already = underway.map(|underway| underway.end(half)).unwrap_or_default();
                let order = ExportOptions { settings: &settings, max_spans, deadline, end, resource, waits };
                // Nobody may be waiting any more.
                let _ = done.send((number, export_rest(|| File::open(&path), &order, &already)));
            };
            if let Err(e) = std::thread::Builder::new().name("delivery".into()).spawn(thread) {
                sending.remove(&number);
                over(endpoint, Err(format!("no thread to send it: {e}")));
            }
        }
        drop(done);
        while !sending.is_empty() {
            let result = waiting.recv_timeout(LOOK);
            if let Some(global) = self.waits {
                let more = if deadline.is_none() { ": --flush-timeout limits that" } else { "" };
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
                    format!("it took longer than {:?}", self.timeout.unwrap_or_default())
                }
                Err(RecvTimeoutError::Timeout) => continue,
            };
            std::mem::take(&mut sending).into_iter().for_each(|number| over(&endpoints[number], Err(why.clone())));
        }
    }
}

/// Says what was sent; what the sink said of it is in [`Exported::said`].
pub(crate) fn say(delivered: &Exported, settings: &Settings, global: &Global) {
    let Exported { trace, spans, underway, logs, metrics, merged, left_out, .. } = delivered;
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    global.note(&format!(
        "sent to {}: trace {trace}, {spans} spans{}{}{}{}{}",
        without_secrets(&settings.traces.endpoint.value),
        some(*underway, "of them while it ran"),
        some(*merged, "calls merged"),
        some(*left_out, "left out"),
        some(*logs, "logs"),
        some(*metrics, "metrics"),
    ));
}
