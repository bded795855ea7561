//! Hot source lines: the output of `report --lines`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use wasmtrace::export::RunInfo;
use wasmtrace::hook::ProbeId;
use wasmtrace::label::printable;
use wasmtrace::trace::span_builder::What;

use crate::recordings::Replayed;

/// The number of samples of each source line.
pub(crate) struct HotLines {
    /// One row for each pair of line and function, by descending number of samples.
    rows: Vec<Row>,
    /// Number of all samples in the guest's code, and of those whose line is unknown.
    all: u64,
    unknown: u64,
}

struct Row {
    file: Arc<str>,
    line: u32,
    function: ProbeId,
    samples: u64,
}

impl HotLines {
    pub(crate) fn of(replayed: &Replayed) -> Self {
        let mut by_line: BTreeMap<(Arc<str>, u32, ProbeId), u64> = BTreeMap::new();
        let (mut all, mut unknown) = (replayed.sampled.elsewhere(), replayed.sampled.elsewhere());
        for ((id, offset), samples) in replayed.sampled.iter() {
            all += samples;
            match replayed.lines.get(id, offset) {
                Some((file, line)) => *by_line.entry((file.clone(), line, id)).or_default() += samples,
                None => unknown += samples,
            }
        }
        let rows = by_line.into_iter().map(|((file, line, function), samples)| Row { file, line, function, samples });
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(|row| Reverse(row.samples));
        HotLines { rows, all, unknown }
    }

    /// Writes the lines of the whole program, then those of each function. Omits lines below `min_share` of the samples (0 to 1).
    pub(crate) fn write(&self, out: &mut impl Write, run_info: &RunInfo, min_share: f64) -> io::Result<()> {
        if self.all == 0 {
            let why = run_info.recording.not_sampled.as_deref().unwrap_or("no samples were taken");
            return writeln!(out, "\nno source lines: the run was not sampled ({})", printable(why));
        }
        let share = |samples: u64| samples as f64 / self.all as f64;
        writeln!(out, "\n{}: {} samples\n", printable(&run_info.program), self.all)?;
        writeln!(out, "{:>8} {:>6}  line", "samples", "share")?;
        let name = |id: ProbeId| printable(&run_info.name(&What::Call(id))).into_owned();
        // An inlined line occurs in several functions.
        let mut over_all: BTreeMap<(&str, u32), (u64, ProbeId)> = BTreeMap::new();
        for row in &self.rows {
            over_all.entry((&row.file, row.line)).or_insert((0, row.function)).0 += row.samples;
        }
        let mut over_all: Vec<_> = over_all.into_iter().collect();
        over_all.sort_by_key(|(_, (samples, _))| Reverse(*samples));
        for ((file, line), (samples, function)) in over_all {
            if share(samples) >= min_share {
                let (percent, file) = (share(samples) * 100.0, printable(file));
                writeln!(out, "{samples:>8} {percent:>5.1}%  {file}:{line}  {}", name(function))?;
            }
        }
        let mut functions: BTreeMap<ProbeId, (u64, Vec<&Row>)> = BTreeMap::new();
        for row in &self.rows {
            let (samples, rows) = functions.entry(row.function).or_default();
            *samples += row.samples;
            rows.push(row);
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(_, (samples, _))| Reverse(*samples));
        for (function, (samples, rows)) in functions {
            if share(samples) < min_share {
                continue;
            }
            writeln!(out, "\n{samples:>8} {:>5.1}%  {}", share(samples) * 100.0, name(function))?;
            for row in rows.iter().filter(|row| share(row.samples) >= min_share) {
                let percent = share(row.samples) * 100.0;
                writeln!(out, "{:>8} {percent:>5.1}%    {}:{}", row.samples, printable(&row.file), row.line)?;
            }
        }
        if self.unknown > 0 {
            let percent = share(self.unknown) * 100.0;
            writeln!(out, "\n{} samples ({percent:.1} %) have no known line", self.unknown)?;
        }
        Ok(())
    }

    /// One JSON object for each line of each function.
    pub(crate) fn json(&self, run_info: &RunInfo) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            json!({
                "file": &*row.file,
                "line": row.line,
                "function": run_info.index(row.function),
                "name": run_info.name(&What::Call(row.function)),
                "samples": row.samples,
            })
        })
    }
}
