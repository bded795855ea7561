//! `diff --json`: everything that is compared.

use std::io::{BufWriter, Write};

use serde_json::{Map, Value, json};
use wasmtrace::export::hex;
use wasmtrace::trace::diff::{Change, Diff, Function, Presence, Run, Spread, Values};

/// A recording and where it was read from.
pub(crate) struct Source {
    pub(crate) file: String,
    /// Whether it was read to the end of the run.
    pub(crate) is_complete: bool,
}

/// Writes the comparison as one JSON object with one row a line. `fail_on`: the outcome of each condition.
pub(crate) fn write(diff: &Diff, runs: &[Run], sources: &[Source], fail_on: Vec<Value>) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let recordings: Vec<Value> = runs.iter().zip(sources).map(|(run, source)| recording(run, source)).collect();
    let (before, after) = recordings.split_at(diff.recordings[0]);
    let head = json!({
        "schema": "wasmtrace.diff/1",
        "before": before,
        "after": after,
        "settled": diff.is_settled,
        "floor_of_row": diff.floor_of_row,
        "floor_of_run": diff.floor_of_run,
        "counts_calls": diff.has_calls,
        "duration_nanos": change(&diff.duration),
        "calls": change(&diff.all.calls),
        "self_nanos": change(&diff.all.self_time),
        "fail_on": fail_on,
    });
    let head = wasmtrace::export::json_text(&head);
    write!(out, "{},\n  \"functions\": [", head.trim_end().trim_end_matches('}').trim_end())?;
    write_rows(&mut out, diff.rows.iter().map(|row| function(&diff.functions[row.function as usize], &row.values)))?;
    write!(out, "],\n  \"tree\": [")?;
    let node = |node: &wasmtrace::trace::diff::Node| {
        let mut row = Map::new();
        row.insert("function".to_owned(), node.function.into());
        row.insert("parent".to_owned(), json!(node.parent));
        row.extend(values(&node.values));
        Value::Object(row)
    };
    write_rows(&mut out, diff.nodes.iter().map(node))?;
    writeln!(out, "]\n}}")?;
    out.flush()
}

fn write_rows(out: &mut impl Write, rows: impl Iterator<Item = Value>) -> std::io::Result<()> {
    for (i, row) in rows.enumerate() {
        write!(out, "{}\n    {}", if i == 0 { "" } else { "," }, wasmtrace::export::json_line(&row))?;
    }
    write!(out, "\n  ")
}

fn recording(run: &Run, source: &Source) -> Value {
    json!({
        "file": source.file,
        "complete": source.is_complete,
        "program": run.run_info.program,
        "module_sha256": run.run_info.hash.map(|hash| hex(&hash)),
        "began_unix_nanos": run.run_info.began,
        "duration_nanos": run.duration,
        "calls": run.all.calls,
        "samples": run.accuracy.samples,
    })
}

fn function(function: &Function, of: &Values) -> Value {
    let Function { name, is_manual, file, line, functions: [before, after], .. } = function;
    let mut row = Map::new();
    row.insert("name".to_owned(), name.clone().into());
    row.insert("manual".to_owned(), (*is_manual).into());
    row.insert("file".to_owned(), json!(file));
    row.insert("line".to_owned(), json!(line));
    row.insert("functions".to_owned(), json!({ "before": before, "after": after }));
    row.extend(values(of));
    Value::Object(row)
}

fn values(values: &Values) -> Map<String, Value> {
    let Values { calls, self_time, total, presence, is_estimated } = values;
    let presence = match presence {
        Presence::Both => "both",
        Presence::New => "new",
        Presence::Gone => "gone",
    };
    [
        ("presence".to_owned(), presence.into()),
        ("estimated".to_owned(), (*is_estimated).into()),
        ("calls".to_owned(), change(calls)),
        ("self_nanos".to_owned(), change(self_time)),
        ("total_nanos".to_owned(), change(total)),
    ]
    .into_iter()
    .collect()
}

/// A value before and after.
pub(crate) fn change(change: &Change) -> Value {
    let spread = |Spread { min, median, max }: &Spread| json!({ "min": min, "median": median, "max": max });
    json!({
        "before": spread(&change.before),
        "after": spread(&change.after),
        "difference": change.difference(),
        "relative": change.relative(),
        "significant": change.is_significant,
    })
}
