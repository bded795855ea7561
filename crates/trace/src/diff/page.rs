//! The HTML page of a comparison: a differential flame graph, the matched call tree and the functions, before and after.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::compare::Diff;
use super::run::Run;
use super::values::{Change, Presence, Values};
use crate::export::html::{Columns, write_page};
use crate::export::{duration, hex};
use crate::span_builder::What;
use wasmtrace_abi::label::Category;

/// Writes a page that compares the recordings `before` and `after`.
///
/// # Errors
/// Those of writing.
pub fn write_diff_page(out: &mut impl Write, diff: &Diff, before: &[Run], after: &[Run]) -> io::Result<()> {
    let mut columns = Columns::default();
    columns.u32("tree.parent", &diff.nodes.iter().map(|node| node.parent.unwrap_or(u32::MAX)).collect::<Vec<_>>());
    columns.u32("tree.function", &diff.nodes.iter().map(|node| node.function).collect::<Vec<_>>());
    values(&mut columns, "tree", diff.nodes.iter().map(|node| &node.values));
    columns.u32("flat.function", &diff.rows.iter().map(|row| row.function).collect::<Vec<_>>());
    values(&mut columns, "flat", diff.rows.iter().map(|row| &row.values));
    let functions = diff.functions.iter().map(|function| {
        let of_side = |side: usize, runs: &[Run]| {
            let probe = function.probes[side]?;
            runs.first()?.run_info.category(&What::Call(probe)).map(Category::as_str)
        };
        let kind = match function.is_manual {
            true => "manual",
            false => of_side(1, after).or_else(|| of_side(0, before)).unwrap_or(Category::default().as_str()),
        };
        json!({
            "name": function.name, "file": function.file, "line": function.line, "index": function.index,
            "kind": kind, "lines": [],
        })
    });
    let functions: Vec<Value> = functions.collect();
    let samples = before.iter().chain(after).map(|run| run.accuracy.samples).min().unwrap_or(0);
    let header = json!({
        "schema": "wasmtrace.page/1",
        "kind": "diff",
        "program": program(before, after),
        "facts": facts(diff, before, after),
        "notes": notes(diff),
        "duration": diff.duration.after.median,
        "functions": functions,
        "samples": samples,
        "marks": [],
        "texts": [],
    });
    write_page(out, header, &columns)
}

fn values<'v>(columns: &mut Columns, table: &str, all: impl Iterator<Item = &'v Values> + Clone) {
    let flags = |values: &Values| {
        let presence = match values.presence {
            Presence::Both => 0,
            Presence::New => 32,
            Presence::Gone => 64,
        };
        u8::from(values.is_estimated) | u8::from(!values.is_significant()) << 4 | presence
    };
    columns.u8(&format!("{table}.flags"), &all.clone().map(flags).collect::<Vec<_>>());
    let mut change = |name: &str, part: fn(&Values) -> &Change| {
        let before: Vec<f64> = all.clone().map(|values| part(values).before.median as f64).collect();
        let after: Vec<f64> = all.clone().map(|values| part(values).after.median as f64).collect();
        columns.f64(&format!("{table}.{name}0"), &before);
        columns.f64(&format!("{table}.{name}1"), &after);
    };
    change("calls", |values| &values.calls);
    change("total", |values| &values.total);
    change("self", |values| &values.self_time);
}

fn program(before: &[Run], after: &[Run]) -> String {
    let name = |runs: &[Run]| runs.first().map_or_else(String::new, |run| run.run_info.program.clone());
    let (before, after) = (name(before), name(after));
    if before == after { before } else { format!("{before} → {after}") }
}

fn facts(diff: &Diff, before: &[Run], after: &[Run]) -> Vec<[String; 2]> {
    let mut facts = Vec::new();
    let Diff { duration: lasted, all, .. } = diff;
    for (label, runs, time, calls) in
        [("Before", before, lasted.before, all.calls.before), ("After", after, lasted.after, all.calls.after)]
    {
        let Some(first) = runs.first() else { continue };
        let recordings = if runs.len() == 1 { "1 recording".to_owned() } else { format!("{} recordings", runs.len()) };
        let range = match runs.len() {
            1 => String::new(),
            _ => format!(" ({} to {})", duration(time.min), duration(time.max)),
        };
        let calls = if diff.has_calls { format!(", {} calls", calls.median) } else { String::new() };
        let text = format!("{}: {recordings}, {}{range}{calls}", first.run_info.program, duration(time.median));
        facts.push([label.to_owned(), text]);
        if let Some(hash) = first.run_info.hash {
            facts.push([format!("{label}, module (SHA-256)"), hex(&hash)]);
        }
    }
    facts.push(["Written by".to_owned(), format!("wasmtrace {}", env!("CARGO_PKG_VERSION"))]);
    facts
}

fn notes(diff: &Diff) -> Vec<String> {
    let mut notes = vec!["Functions are matched by name. Times are medians over the recordings of a side.".to_owned()];
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    notes.push(format!(
        "Grey: the difference is within the spread, or below {} of the time of the row or {} of the run.",
        percent(diff.floor_of_row),
        percent(diff.floor_of_run),
    ));
    if !diff.is_settled {
        notes.push("There are few recordings; `wasmtrace record --repeat 5` judges times better.".to_owned());
    }
    notes
}
