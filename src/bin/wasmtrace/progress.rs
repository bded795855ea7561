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

/// Shows a long operation and its seconds so far on standard error, until it is dropped or ended.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Option<Shown>>>);

/// The thread that shows it. It ends when the sender is dropped.
struct Shown {
    sender: Sender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Starts to show `what`, if standard error is a terminal.
    #[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use it"))]
    pub(crate) fn begin(what: &str, quiet: bool) -> Progress {
        Progress::of(what, quiet, String::new)
    }

    /// Starts to show `what` with what `detail` returns, if standard error is a terminal.
    pub(crate) fn of(what: &str, quiet: bool, detail: impl Fn() -> String + Send + 'static) -> Progress {
        let shows = !quiet && std::io::stderr().is_terminal();
        let what = printable(what).into_owned();
        let shown = shows.then(|| {
            let (sender, ended) = channel::<()>();
            let thread = std::thread::spawn(move || {
                let began = Instant::now();
                let mut wait = SILENT;
                let mut shown = false;
                while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    let (seconds, detail) = (began.elapsed().as_secs(), detail());
                    let separator = if detail.is_empty() { "" } else { ", " };
                    let _ = write!(std::io::stderr(), "\r\x1b[Kwasmtrace: {what} … {detail}{separator}{seconds} s");
                    (wait, shown) = (EACH, true);
                }
                if shown {
                    let _ = write!(std::io::stderr(), "\r\x1b[K");
                }
            });
            Shown { sender, thread }
        });
        Progress(Arc::new(Mutex::new(shown)))
    }

    /// Ends the progress and removes its line from the terminal.
    pub(crate) fn end(&self) {
        let shown = self.0.lock().ok().and_then(|mut shown| shown.take());
        if let Some(Shown { sender, thread }) = shown {
            drop(sender);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The clones share one line: ending one ends all. The run holds a clone until it is over.
        if Arc::strong_count(&self.0) == 1 {
            self.end();
        }
    }
}
