//! Chrome Trace Event Format, JSON array form ("Trace Event Format", Google, 2016): read by chrome://tracing, Perfetto's
//! UI and others.
//!
//! Begin and end events stream as they happen; times are microseconds with three decimals, so nanoseconds.

use std::collections::HashMap;
use std::io::{self, Write};

use super::{Sink, Subject, Summary};
use crate::hook::ProbeId;
use crate::trace::fold::{Change, End};

/// Writes Chrome Trace Event JSON.
pub struct Chrome<W: Write> {
    out: W,
    begun: bool,
    now: u64,
    /// `"name":…,"args":{…}` of each function, encoded once.
    encoded: HashMap<ProbeId, String>,
}

impl<W: Write> std::fmt::Debug for Chrome<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chrome").finish_non_exhaustive()
    }
}

impl<W: Write> Chrome<W> {
    /// Writes to `out`, in small pieces: wrap a file in a `BufWriter`.
    pub fn new(out: W) -> Self {
        Chrome { out, begun: false, now: 0, encoded: HashMap::new() }
    }

    fn separator(&mut self) -> io::Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        self.out.write_all(if first { b"[\n" } else { b",\n" })
    }

    fn name(&mut self, subject: &Subject, probe: ProbeId) -> &str {
        self.encoded.entry(probe).or_insert_with(|| {
            let label = subject.labels.get(&probe);
            let args = serde_json::json!({
                "index": probe.0,
                "file": label.and_then(|l| l.file.as_deref()),
                "line": label.and_then(|l| l.line),
            });
            format!("\"name\":{},\"args\":{args}", serde_json::Value::from(subject.name(probe)))
        })
    }
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl<W: Write> Sink for Chrome<W> {
    fn change(&mut self, subject: &Subject, change: &Change) -> io::Result<()> {
        match change {
            Change::Opened { probe, at } => {
                self.now = *at;
                self.separator()?;
                self.name(subject, *probe);
                let name = &self.encoded[probe];
                write!(self.out, "{{\"ph\":\"B\",\"pid\":1,\"tid\":1,\"ts\":{},{name}}}", Micros(*at))
            }
            Change::Closed(span) => {
                self.now = span.end;
                self.separator()?;
                write!(self.out, "{{\"ph\":\"E\",\"pid\":1,\"tid\":1,\"ts\":{}", Micros(span.end))?;
                match span.how {
                    End::Returned => {}
                    End::Unwound => write!(self.out, ",\"args\":{{\"ended\":\"unwound\"}}")?,
                    End::Exited => write!(self.out, ",\"args\":{{\"ended\":\"exit\"}}")?,
                    End::Trapped { .. } => write!(self.out, ",\"args\":{{\"ended\":\"trap\"}}")?,
                    End::Interrupted => write!(self.out, ",\"args\":{{\"ended\":\"interrupted\"}}")?,
                }
                self.out.write_all(b"}")
            }
            Change::MemoryGrow { at, pages, .. } => {
                self.separator()?;
                write!(
                    self.out,
                    "{{\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":1,\"ts\":{},\"name\":\"memory.grow\",\"args\":{{\"pages\":{pages}}}}}",
                    Micros(*at)
                )
            }
        }
    }

    fn finish(&mut self, subject: &Subject, summary: &Summary<'_>) -> io::Result<()> {
        self.separator()?;
        let process = serde_json::json!({
            "ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": { "name": subject.program },
        });
        let ending = serde_json::json!({
            "ph": "i", "s": "p", "pid": 1, "tid": 1, "ts": summary.duration.max(self.now) as f64 / 1000.0,
            "name": summary.ending.describe(), "args": { "exit_code": summary.ending.exit_code() },
        });
        write!(self.out, "{process},\n{ending}\n]\n")?;
        self.out.flush()
    }
}
