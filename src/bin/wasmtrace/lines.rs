//! Hot source lines: the output of `report --lines`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use wasmtrace::export::{Look, RunInfo, columns, cut_name, cut_path, table_name, table_place};
use wasmtrace::hook::ProbeId;
use wasmtrace::label::printable;
use wasmtrace::trace::calltree::Accuracy;
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

    /// Writes the lines of each function, then those of the whole program, and the number of samples.
    pub(crate) fn write(&self, out: &mut impl Write, run_info: &RunInfo, look: &Look) -> io::Result<()> {
        if self.all == 0 {
            let why = run_info.recording.not_sampled.as_deref().unwrap_or("no samples were taken");
            let text = format!("no source lines: the run was not sampled ({})", printable(why));
            writeln!(out)?;
            return look.write_text(out, "", &text);
        }
        let table = Table { look, run_info, all: self.all };
        self.write_functions(out, &table)?;
        self.write_program(out, &table)?;
        let error = Accuracy { samples: self.all, ..Accuracy::default() }.error(0.1) * 100.0;
        let program = printable(&run_info.program);
        look.write_text(out, "", &format!("\n{program}: {} samples; a share of 10 % is ±{error:.1} points", self.all))?;
        if self.unknown > 0 {
            let share = table.percent(self.unknown);
            look.write_text(out, "", &format!("{} samples ({share}) have no known line", self.unknown))?;
        }
        Ok(())
    }

    fn write_functions(&self, out: &mut impl Write, table: &Table<'_>) -> io::Result<()> {
        let mut functions: BTreeMap<ProbeId, (u64, Vec<&Row>)> = BTreeMap::new();
        for row in &self.rows {
            let (samples, rows) = functions.entry(row.function).or_default();
            *samples += row.samples;
            rows.push(row);
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(_, (samples, _))| Reverse(*samples));
        functions.retain(|(_, (samples, _))| table.shows(*samples));
        for (function, (samples, rows)) in functions {
            writeln!(out)?;
            table.write_row(out, samples, &table.function(function))?;
            for row in rows.iter().filter(|row| table.shows(row.samples)) {
                table.write_row(out, row.samples, &table.line(row))?;
            }
        }
        Ok(())
    }

    fn write_program(&self, out: &mut impl Write, table: &Table<'_>) -> io::Result<()> {
        // An inlined line occurs in several functions.
        let mut lines: BTreeMap<(&str, u32), (u64, ProbeId)> = BTreeMap::new();
        for row in &self.rows {
            lines.entry((&row.file, row.line)).or_insert((0, row.function)).0 += row.samples;
        }
        let mut lines: Vec<_> = lines.into_iter().filter(|(_, (samples, _))| table.shows(*samples)).collect();
        lines.sort_by_key(|(_, (samples, _))| Reverse(*samples));
        if let Some(height) = table.look.height {
            lines.truncate(height.saturating_sub(OTHER_LINES).max(LEAST_ROWS));
        }
        writeln!(out, "\n{:>8} {:>9}  line, function", "samples", "samples %")?;
        for (place, (samples, function)) in lines {
            table.write_row(out, samples, &table.line_in_function(place, function))?;
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

/// Minimum number of lines of the whole program, in windows of any height.
const LEAST_ROWS: usize = 10;

/// Lines of the window around them: empty lines, the head, the number of samples, and the prompt.
const OTHER_LINES: usize = 7;

/// Columns of a row before its place or name: two numbers and spaces.
const NUMBERS: usize = 8 + 1 + 9 + 2;

/// Width of a name that stays if the row is too wide.
const NAME: usize = 24;

/// A table of lines: how it looks, and the number of samples that shares are of.
struct Table<'t> {
    look: &'t Look,
    run_info: &'t RunInfo,
    all: u64,
}

impl Table<'_> {
    fn shows(&self, samples: u64) -> bool {
        samples >= self.look.least(self.all)
    }

    fn percent(&self, samples: u64) -> String {
        format!("{:.1}%", samples as f64 * 100.0 / self.all as f64)
    }

    fn name(&self, function: ProbeId) -> String {
        table_name(self.look, self.run_info, &What::Call(function))
    }

    fn write_row(&self, out: &mut impl Write, samples: u64, text: &str) -> io::Result<()> {
        writeln!(out, "{samples:>8} {:>9}  {text}", self.percent(samples))
    }

    /// The columns that a row leaves for its text.
    fn room(&self) -> usize {
        self.look.widest().map_or(usize::MAX, |width| width - NUMBERS)
    }

    /// A function.
    fn function(&self, function: ProbeId) -> String {
        cut_name(&self.name(function), self.room()).into_owned()
    }

    /// A line within the rows of its function.
    fn line(&self, row: &Row) -> String {
        const INDENT: &str = "  ";
        let place = table_place(self.look, &row.file, Some(row.line));
        format!("{INDENT}{}", cut_line(&place, self.room() - INDENT.len()))
    }

    /// A line, and a function that it is in. If both are too wide, the path is cut first, then the name.
    fn line_in_function(&self, (file, line): (&str, u32), function: ProbeId) -> String {
        const SPACE: &str = "  ";
        let (place, name) = (table_place(self.look, file, Some(line)), self.name(function));
        let place = cut_line(&place, self.room() - SPACE.len() - columns(&name).min(NAME));
        let name = cut_name(&name, self.room() - SPACE.len() - columns(&place));
        format!("{place}{SPACE}{name}")
    }
}

/// A place that is cut to a width, even if the name of its file is longer.
fn cut_line(place: &str, most: usize) -> Cow<'_, str> {
    cut_path(place, most).unwrap_or_else(|| cut_name(place, most))
}
