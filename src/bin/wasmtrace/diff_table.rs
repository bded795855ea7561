//! The tables of `diff`: one row for each function, or for each call path.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use wasmtrace::export::{Look, columns, cut_name, duration};
use wasmtrace::label::demangle::without_arguments;
use wasmtrace::label::printable;
use wasmtrace::trace::diff::{Change, Diff, Function, Presence, Row, Run, Spread, Values};

use crate::fail_on::percent;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sort {
    /// Time without callees
    #[value(name = "self")]
    Own,
    /// Time from entry to exit, callees included
    Total,
    /// Number of calls
    Calls,
}

/// Which rows there are, and in which order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) is_tree: bool,
    pub(crate) sort: Option<Sort>,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const MORE: Style = AnsiColor::Red.on_default();
const LESS: Style = AnsiColor::Green.on_default();

/// Maximum depth of indentation.
const DEEPEST_INDENT: usize = 40;

/// Columns before the name: without and with the numbers of calls.
const BEFORE_NAME: [usize; 2] = [44, 66];

/// Lines of the window for the heading, the footnotes and the prompt; rows that are shown in any window.
const AROUND_ROWS: usize = 14;
const LEAST_ROWS: usize = 5;

/// Numbers of calls are shown if this many columns are left for names.
const LEAST_NAME: usize = 20;

/// Writes the comparison to standard output.
pub(crate) fn write(diff: &Diff, before: &[Run], after: &[Run], order: Order, look: Look) -> std::io::Result<()> {
    let Order { is_tree, sort } = order;
    let sort = sort.unwrap_or(if is_tree { Sort::Total } else { Sort::Own });
    let has_calls = diff.has_calls && look.width.is_none_or(|width| width >= BEFORE_NAME[1] + LEAST_NAME);
    let (text, names) = (String::new(), HashMap::new());
    let mut table = Table { diff, look, is_tree, sort, has_calls, text, names, is_estimated: false };
    table.heading(before, after);
    table.short_names();
    match is_tree {
        true => table.tree(),
        false => table.flat(),
    }
    table.footnotes();
    let mut out = anstream::stdout().lock();
    out.write_all(table.text.as_bytes())?;
    out.flush()
}

struct Table<'d> {
    diff: &'d Diff,
    look: Look,
    is_tree: bool,
    sort: Sort,
    /// Whether rows have the numbers of calls.
    has_calls: bool,
    text: String,
    /// How many names are the same without their arguments.
    names: HashMap<&'d str, u32>,
    /// Whether a row that was written is an estimate.
    is_estimated: bool,
}

/// What is not shown.
#[derive(Default)]
struct Hidden {
    rows: u64,
    new: u64,
    gone: u64,
    other_calls: u64,
}

impl Hidden {
    fn add(&mut self, values: &Values) {
        self.rows += 1;
        match values.presence {
            Presence::New => self.new += 1,
            Presence::Gone => self.gone += 1,
            Presence::Both => self.other_calls += u64::from(values.calls.is_significant),
        }
    }
}

impl<'d> Table<'d> {
    /// Writes a text, in as many lines as the width needs.
    fn line(&mut self, style: Style, text: &str) {
        let width = self.look.width.unwrap_or(usize::MAX);
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.trim().is_empty() && columns(&line) + 1 + columns(word) > width {
                let _ = writeln!(self.text, "{style}{line}{style:#}");
                line = "  ".to_owned();
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(self.text, "{style}{line}{style:#}");
    }

    fn heading(&mut self, before: &[Run], after: &[Run]) {
        self.text.push('\n');
        let Diff { duration: length, all, has_calls, .. } = self.diff;
        for (side, runs, length, calls) in
            [("before:", before, &length.before, &all.calls.before), ("after:", after, &length.after, &all.calls.after)]
        {
            let program = printable(&runs[0].run_info.program).into_owned();
            let recordings = if runs.len() == 1 { String::new() } else { format!("{} recordings, ", runs.len()) };
            let calls = match has_calls {
                true => format!(", {} calls", spread(calls, |calls| calls.to_string())),
                false => String::new(),
            };
            let time = spread(length, duration);
            self.line(Style::new(), &format!("{side:<8} {program}: {recordings}{time}{calls}"));
        }
        let in_words = |change: &Change, show: fn(u64) -> String| match change.difference() {
            0 => "the same".to_owned(),
            _ => {
                let mark = if change.is_significant { "" } else { " ~" };
                format!("{} ({}){mark}", signed(change, show), percent(change))
            }
        };
        let (length, own) = (in_words(length, duration), in_words(&all.self_time, duration));
        let calls = match has_calls {
            true => format!(", calls {}", in_words(&all.calls, |calls| calls.to_string())),
            false => String::new(),
        };
        self.line(BOLD, &format!("change:  duration {length}, time in functions {own}{calls}"));
    }

    fn short_names(&mut self) {
        for function in self.diff.functions.iter().filter(|function| !function.is_manual) {
            *self.names.entry(without_arguments(&function.name)).or_default() += 1;
        }
    }

    fn key<'v>(&self, values: &'v Values) -> &'v Change {
        match self.sort {
            Sort::Own => &values.self_time,
            Sort::Total => &values.total,
            Sort::Calls => &values.calls,
        }
    }

    /// Rows of significant differences come first, then those whose calls differ.
    fn order(&self, values: &Values) -> (bool, bool, Reverse<u64>) {
        let key = self.key(values);
        (!key.is_significant, !values.calls.is_significant, Reverse(key.difference().unsigned_abs()))
    }

    /// Whether a difference is large enough for a row.
    fn is_shown(&self, values: &Values) -> bool {
        let least = |whole: &Change| self.look.min_share * whole.before.median.max(whole.after.median) as f64;
        let exceeds =
            |change: &Change, whole: &Change| change.difference().unsigned_abs() as f64 >= least(whole).max(1.0);
        let all = &self.diff.all;
        self.look.min_share == 0.0
            || exceeds(&values.self_time, &all.self_time)
            || (self.is_tree || self.sort == Sort::Total) && exceeds(&values.total, &all.total)
            || values.calls.is_significant && exceeds(&values.calls, &all.calls)
    }

    fn columns(&mut self) {
        let time = if self.is_tree || self.sort == Sort::Total { "total" } else { "self" };
        let head = format!("{time:>9} {:>9} {:>9} {:>8}", "after", "change", "");
        let calls = if self.has_calls { format!(" {:>10} {:>10}", "calls", "after") } else { String::new() };
        self.text.push('\n');
        let _ = writeln!(self.text, "{DIM}{head}{calls}      function{DIM:#}");
    }

    fn flat(&mut self) {
        let mut rows: Vec<&Row> = self.diff.rows.iter().collect();
        rows.sort_by_key(|row| self.order(&row.values));
        let (mut shown, mut left_out): (Vec<&Row>, Vec<&Row>) =
            rows.into_iter().partition(|row| self.is_shown(&row.values));
        let is_cut = shown.len() > self.most_rows();
        left_out.extend(shown.drain(self.most_rows().min(shown.len())..));
        if !shown.is_empty() {
            self.columns();
        }
        for row in shown {
            self.row(&self.diff.functions[row.function as usize], &row.values, 0);
        }
        let mut hidden = Hidden::default();
        left_out.iter().for_each(|row| hidden.add(&row.values));
        self.not_shown(&hidden, "functions", is_cut);
    }

    fn tree(&mut self) {
        let nodes = &self.diff.nodes;
        let mut large: Vec<usize> = (0..nodes.len()).filter(|at| self.is_shown(&nodes[*at].values)).collect();
        large.sort_by_key(|at| self.order(&nodes[*at].values));
        // Each with its callers, as long as there is room.
        let (mut shown, mut count, mut is_cut) = (vec![false; nodes.len()], 0, false);
        for at in large {
            let callers = std::iter::successors(Some(at), |at| nodes[*at].parent.map(|parent| parent as usize));
            let path: Vec<usize> = callers.take_while(|at| !shown[*at]).collect();
            is_cut = count + path.len() > self.most_rows();
            if is_cut {
                break;
            }
            count += path.len();
            path.into_iter().for_each(|at| shown[at] = true);
        }
        let mut children: HashMap<Option<u32>, Vec<u32>> = HashMap::new();
        let mut hidden = Hidden::default();
        for (at, node) in (0..).zip(nodes) {
            match shown[at as usize] {
                true => children.entry(node.parent).or_default().push(at),
                false => hidden.add(&node.values),
            }
        }
        for siblings in children.values_mut() {
            siblings.sort_by_key(|at| self.order(&nodes[*at as usize].values));
        }
        let roots = children.remove(&None).unwrap_or_default();
        if !roots.is_empty() {
            self.columns();
        }
        let mut todo: Vec<(u32, usize)> = roots.into_iter().rev().map(|at| (at, 0)).collect();
        while let Some((at, depth)) = todo.pop() {
            let node = &nodes[at as usize];
            self.row(&self.diff.functions[node.function as usize], &node.values, depth);
            let below = children.remove(&Some(at)).unwrap_or_default();
            todo.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
        }
        self.not_shown(&hidden, "call paths", is_cut);
    }

    fn row(&mut self, function: &Function, values: &Values, depth: usize) {
        let time = if self.is_tree || self.sort == Sort::Total { &values.total } else { &values.self_time };
        let about = if values.is_estimated { "≈" } else { "" };
        self.is_estimated |= values.is_estimated;
        let (was, is) = (values.presence != Presence::New, values.presence != Presence::Gone);
        let shown = |exists: bool, value: String| if exists { value } else { "-".to_owned() };
        let nanos = |exists, nanos| shown(exists, format!("{about}{}", duration(nanos)));
        let (difference, relative) = match time.difference() {
            0 => (String::new(), String::new()),
            _ if was && is => (signed(time, duration), percent(time)),
            _ => (signed(time, duration), String::new()),
        };
        let style = match (time.is_significant, time.difference()) {
            (false, _) => DIM,
            (true, 1..) => MORE,
            (true, _) => LESS,
        };
        let (before, after) = (nanos(was, time.before.median), nanos(is, time.after.median));
        let _ = write!(self.text, "{before:>9} {after:>9} {style}{difference:>9} {relative:>8}{style:#}");
        if self.has_calls {
            let calls = &values.calls;
            let style = match (calls.is_significant, calls.difference()) {
                (false, _) => Style::new(),
                (true, 1..) => MORE,
                (true, _) => LESS,
            };
            let (before, after) =
                (shown(was, calls.before.median.to_string()), shown(is, calls.after.median.to_string()));
            let _ = write!(self.text, " {before:>10} {style}{after:>10}{style:#}");
        }
        let mark = match values.presence {
            Presence::New => "new",
            Presence::Gone => "gone",
            Presence::Both if time.is_within_the_spread() => "~",
            Presence::Both => "",
        };
        let room = self.look.width.map_or(usize::MAX, |width| width - BEFORE_NAME[usize::from(self.has_calls)]);
        let indent = "  ".repeat(depth.min(DEEPEST_INDENT).min(room / 4));
        let name = self.name(function, room - indent.len());
        let _ = writeln!(self.text, " {mark:<4} {indent}{name}");
    }

    /// The name in at most `room` columns.
    fn name(&self, function: &Function, room: usize) -> String {
        if function.is_manual {
            return cut_name(&format!("«{}»", printable(&function.name)), room).into_owned();
        }
        let short = without_arguments(&function.name);
        // Overloaded functions differ in their arguments.
        let is_whole = self.look.full_names || self.names.get(short).is_some_and(|names| *names > 1);
        let name = printable(if is_whole { &function.name } else { short });
        let remark = match function.functions {
            [0 | 1, 0 | 1] => String::new(),
            [before, after] if before == after || before == 0 => format!("  ({after} functions)"),
            [before, 0] => format!("  ({before} functions)"),
            [before, after] => format!("  ({before} functions before, {after} after)"),
        };
        match columns(&name) + columns(&remark) <= room {
            true => format!("{name}{DIM}{remark}{DIM:#}"),
            false => cut_name(&name, room).into_owned(),
        }
    }

    /// As many rows as fit the window with the heading and the footnotes.
    fn most_rows(&self) -> usize {
        self.look.height.map_or(usize::MAX, |height| height.saturating_sub(AROUND_ROWS).max(LEAST_ROWS))
    }

    /// `is_cut`: there was no room for more rows.
    fn not_shown(&mut self, hidden: &Hidden, what: &str, is_cut: bool) {
        let Hidden { rows, new, gone, other_calls } = hidden;
        if *rows == 0 {
            return;
        }
        let parts = [(new, "new"), (gone, "gone"), (other_calls, "with another number of calls")];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) };
        let difference = match is_cut {
            true => "with smaller differences".to_owned(),
            false => format!("that differ by less than {} % of the run each", self.look.min_share * 100.0),
        };
        let text = format!("not shown: {rows} {what} {difference}{parts} (--min-share 0 shows them)");
        self.line(DIM, &text);
    }

    fn footnotes(&mut self) {
        let Diff { is_settled, floor_of_row, floor_of_run, .. } = self.diff;
        let (row, run) = (floor_of_row * 100.0, floor_of_run * 100.0);
        self.line(
            DIM,
            &format!(
                "~: within the spread, or below {row} % of the row or {run} % of the run, or within the error of sampling"
            ),
        );
        if !is_settled {
            self.line(
                DIM,
                "few recordings do not show how much the machine varies: `record --repeat 5` judges times better",
            );
        }
        if self.is_estimated {
            self.line(DIM, "≈: mostly an estimate, where there are few samples");
        }
        if self.diff.has_calls && !self.has_calls {
            let width = BEFORE_NAME[1] + LEAST_NAME;
            self.line(DIM, &format!("calls of functions are shown in {width} columns and more (--width {width})"));
        }
        if !self.diff.has_calls {
            self.line(DIM, "calls are not compared: a recording has samples only");
        }
        let unnamed = |function: &&Function| !function.is_manual && function.name.starts_with("func[");
        let unnamed = self.diff.functions.iter().filter(unnamed).count();
        if unnamed > 0 {
            let text =
                format!("{unnamed} functions without a name are matched by their index, which another build changes");
            self.line(DIM, &text);
        }
    }
}

/// A median with its range, if there is one: `12.3 ms (12.1 ms to 12.9 ms)`.
fn spread(spread: &Spread, show: fn(u64) -> String) -> String {
    let Spread { min, median, max } = *spread;
    match min == max {
        true => show(median),
        false => format!("{} ({} to {})", show(median), show(min), show(max)),
    }
}

/// The difference with its sign.
fn signed(change: &Change, show: fn(u64) -> String) -> String {
    let difference = change.difference();
    let sign = if difference < 0 { "-" } else { "+" };
    format!("{sign}{}", show(difference.unsigned_abs()))
}
