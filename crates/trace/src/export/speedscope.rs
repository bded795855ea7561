//! speedscope's file format (`https://www.speedscope.app/file-format-schema.json`): the calls of a run as an evented
//! profile, its manual spans as another one. A run that was only sampled is a sampled profile. Times are nanoseconds.
//!
//! Events stream as they happen; the table of frames comes last. Beginnings and ends have to nest, so manual spans, which
//! need not nest with calls, have a profile of their own.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::json;

use super::json::{json_line, string};
use super::manual::ManualSpans;
use super::{RunInfo, SAMPLES, Sink, Summary};
use crate::span_builder::{Change, What};

/// Writes speedscope JSON.
pub struct Speedscope<W: Write> {
    out: W,
    frames: Frames,
    manual: ManualSpans,
    now: u64,
    events: u64,
}

impl<W: Write> std::fmt::Debug for Speedscope<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speedscope").finish_non_exhaustive()
    }
}

/// The frames of a file: functions and manual spans.
#[derive(Debug, Default)]
struct Frames {
    numbers: HashMap<What, usize>,
    all: Vec<What>,
}

impl Frames {
    fn number(&mut self, what: &What) -> usize {
        if let Some(number) = self.numbers.get(what) {
            return *number;
        }
        self.all.push(what.clone());
        self.numbers.insert(what.clone(), self.all.len() - 1);
        self.all.len() - 1
    }
}

impl<W: Write> Speedscope<W> {
    /// Creates a sink that writes to `out` in small pieces: wrap a file in a `BufWriter`.
    pub fn new(out: W) -> Self {
        Speedscope { out, frames: Frames::default(), manual: ManualSpans::default(), now: 0, events: 0 }
    }

    /// Writes what comes before the first event.
    fn begin(&mut self, run_info: &RunInfo) -> io::Result<()> {
        writeln!(
            self.out,
            "{{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"wasmtrace {}\",\
             \"name\":{},\"activeProfileIndex\":0,\"profiles\":[",
            env!("CARGO_PKG_VERSION"),
            string(&run_info.program)
        )
    }

    fn begin_events(&mut self, name: &str) -> io::Result<()> {
        let name = string(name);
        write!(
            self.out,
            "{{\"type\":\"evented\",\"name\":{name},\"unit\":\"nanoseconds\",\"startValue\":0,\"events\":["
        )
    }

    fn event(&mut self, first: bool, kind: char, frame: usize, at: u64) -> io::Result<()> {
        let separator = if first { "\n" } else { ",\n" };
        write!(self.out, "{separator}{{\"type\":\"{kind}\",\"frame\":{frame},\"at\":{at}}}")
    }

    fn call(&mut self, run_info: &RunInfo, kind: char, what: &What, at: u64) -> io::Result<()> {
        if self.events == 0 {
            self.begin(run_info)?;
            self.begin_events(&run_info.program)?;
        }
        self.now = self.now.max(at);
        let frame = self.frames.number(what);
        self.event(self.events == 0, kind, frame, self.now)?;
        self.events += 1;
        Ok(())
    }

    /// Writes the manual spans as a profile of their own.
    fn manual_spans(&mut self, duration: u64) -> io::Result<()> {
        let manual = std::mem::take(&mut self.manual);
        self.out.write_all(b",\n")?;
        self.begin_events("manual spans")?;
        // Ends before beginnings, inner ends first: spans nest, and the list is in the order of the beginnings.
        let (mut open, mut now): (Vec<(usize, u64)>, u64) = (Vec::new(), 0);
        let mut first = true;
        for span in manual.all() {
            while open.len() > span.depth as usize {
                let (frame, end) = open.pop().expect("it is longer than the depth");
                now = now.max(end);
                self.event(false, 'C', frame, now)?;
            }
            let frame = self.frames.number(&What::Manual(span.name.clone()));
            now = now.max(span.start);
            self.event(std::mem::take(&mut first), 'O', frame, now)?;
            open.push((frame, span.end));
        }
        while let Some((frame, end)) = open.pop() {
            now = now.max(end);
            self.event(false, 'C', frame, now)?;
        }
        write!(self.out, "\n],\"endValue\":{}}}", now.max(duration))
    }

    /// Writes the call tree of a sampled run.
    fn samples(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let profile = summary.profile;
        let name = string(&run_info.program);
        let sampled: Vec<usize> =
            profile.nodes().enumerate().filter(|(_, n)| n.self_time > 0).map(|(i, _)| i).collect();
        let nodes: Vec<_> = profile.nodes().collect();
        let all: u64 = sampled.iter().map(|at| nodes[*at].self_time).sum();
        write!(
            self.out,
            "{{\"type\":\"sampled\",\"name\":{name},\"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":{all},\"samples\":["
        )?;
        for (i, at) in sampled.iter().enumerate() {
            let path: Vec<String> =
                profile.path_to(nodes[*at]).into_iter().map(|what| self.frames.number(what).to_string()).collect();
            write!(self.out, "{}\n[{}]", if i == 0 { "" } else { "," }, path.join(","))?;
        }
        write!(self.out, "\n],\"weights\":[")?;
        for (i, at) in sampled.iter().enumerate() {
            write!(self.out, "{}{}", if i == 0 { "" } else { "," }, nodes[*at].self_time)?;
        }
        self.out.write_all(b"]}")
    }
}

impl<W: Write> Sink for Speedscope<W> {
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        if self.manual.change(change) {
            return Ok(());
        }
        match change {
            Change::Opened { what, at, .. } => self.call(run_info, 'O', what, *at),
            Change::Closed { span, .. } => self.call(run_info, 'C', span.what, span.end),
            Change::Noted { .. } => Ok(()),
        }
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        if run_info.recording.clock == SAMPLES {
            self.begin(run_info)?;
            self.samples(run_info, summary)?;
        } else {
            if self.events == 0 {
                self.begin(run_info)?;
                self.begin_events(&run_info.program)?;
            }
            write!(self.out, "\n],\"endValue\":{}}}", self.now.max(summary.duration))?;
        }
        if !self.manual.all().is_empty() {
            self.manual_spans(summary.duration)?;
        }
        self.out.write_all(b"\n],\"shared\":{\"frames\":[")?;
        for (i, what) in self.frames.all.iter().enumerate() {
            let mut frame = json!({ "name": run_info.name(what) });
            if let Some(file) = run_info.file(what) {
                frame["file"] = file.into();
            }
            if let Some(line) = run_info.line(what) {
                frame["line"] = line.into();
            }
            write!(self.out, "{}\n{}", if i == 0 { "" } else { "," }, json_line(&frame))?;
        }
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()
    }
}
