//! Progress of work that takes long, on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtrace::label::printable;

/// Work shorter than this shows nothing.
const SILENT: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_secs(1);

/// Shows on standard error what takes long, with the seconds so far, until it is dropped or ended.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Option<(Sender<()>, JoinHandle<()>)>>>);

impl Progress {
    /// Starts to show `what`, if standard error is a terminal.
    pub(crate) fn begin(what: &str, quiet: bool) -> Progress {
        let shows = !quiet && std::io::stderr().is_terminal();
        let what = printable(what).into_owned();
        let thread = shows.then(|| {
            let (end, ended) = channel::<()>();
            let thread = std::thread::spawn(move || {
                let began = Instant::now();
                let mut wait = SILENT;
                let mut shown = false;
                while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    let _ = write!(std::io::stderr(), "\r\x1b[Kwasmtrace: {what} … {} s", began.elapsed().as_secs());
                    (wait, shown) = (EACH, true);
                }
                if shown {
                    let _ = write!(std::io::stderr(), "\r\x1b[K");
                }
            });
            (end, thread)
        });
        Progress(Arc::new(Mutex::new(thread)))
    }

    /// Ends it, and removes its line from the terminal.
    pub(crate) fn end(&self) {
        let thread = self.0.lock().ok().and_then(|mut thread| thread.take());
        if let Some((end, thread)) = thread {
            drop(end);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Clones end it together: the run holds one until it is over.
        if Arc::strong_count(&self.0) == 1 {
            self.end();
        }
    }
}
