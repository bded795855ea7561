//! Rows of functions over all of their callers: the flat profile, and the short list below the call tree.

use std::cmp::Reverse;
use std::io::{self, Write};

use super::table::{NUMBERS, Subject, Table, count, percent, time};
use super::text::{Look, Sort, TimeSource};
use super::{RunInfo, Summary};
use crate::profile::Totals;

/// Number of functions in the list below the call tree.
const TOP: usize = 10;

/// The totals of each function in the order of the rows.
pub(super) fn sorted(summary: &Summary<'_>, sort: Sort) -> Vec<Totals> {
    let mut functions = summary.profile.by_function();
    functions.sort_by_key(|f| Reverse(sort.key(f.total, f.self_time, f.calls)));
    functions
}

/// Writes a table of functions. The share is that of the column that is sorted by; of the self time if that is the calls.
pub(super) fn write_functions(
    out: &mut impl Write,
    look: &Look,
    run_info: &RunInfo,
    summary: &Summary<'_>,
    functions: &[Totals],
    head: &str,
) -> io::Result<()> {
    let whole = summary.profile.total().max(1) as f64;
    let source = TimeSource::of(run_info, summary);
    let numbers = |f: &Totals| -> [String; NUMBERS] {
        let [own, total] = [(f.self_time, f.host.0), (f.total, f.host.1)]
            .map(|(nanos, host)| time(nanos, source.is_estimate(f.estimated, nanos, host)));
        match look.sort {
            Sort::Total => [total, percent(f.total as f64 / whole), own, count(f.calls)],
            Sort::Own | Sort::Calls => [own, percent(f.self_time as f64 / whole), total, count(f.calls)],
        }
    };
    let heads = match look.sort {
        Sort::Total => ["total", "total %", "self", "calls"],
        Sort::Own | Sort::Calls => ["self", "self %", "total", "calls"],
    };
    let mut table = Table::new(look, heads);
    functions.iter().for_each(|f| table.measure(&numbers(f)));
    table.write_head(out, head)?;
    for f in functions {
        table.write_row(out, &numbers(f), &Subject::of(look, run_info, &f.what))?;
    }
    Ok(())
}

/// Writes the functions with the most self time. Functions without any are left out.
pub(super) fn write_top(
    out: &mut impl Write,
    look: &Look,
    run_info: &RunInfo,
    summary: &Summary<'_>,
) -> io::Result<()> {
    let look = Look { sort: Sort::Own, ..*look };
    let mut functions = sorted(summary, look.sort);
    let least = look.least(summary.profile.total()).max(1);
    functions.retain(|f| f.self_time >= least);
    functions.truncate(TOP);
    if functions.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_functions(out, &look, run_info, summary, &functions, "top by self time")
}
