//! Rows of the text tables: columns of numbers, then the function with its place in the source and remarks, on one line.
//!
//! ```text
//!    total     self total %  calls   function (→ hot path)
//!   464 µs  65.2 µs  100.0%      1 → start.startWasi  std/start.zig:123
//! ```
//!
//! If a row is too wide, its path is cut first, then its name.

use std::borrow::Cow;
use std::io::{self, Write};

use super::RunInfo;
use super::fit::{columns, cut_end, cut_name, cut_path, file_name};
use super::source_path::source_path;
use super::text::{Look, Style, duration};
use crate::span_builder::What;
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::text::printable;

/// Number of columns of numbers.
pub(super) const NUMBERS: usize = 4;

/// Minimum width of a column with this name, so that most tables have the same columns.
fn least_width(head: &str) -> usize {
    match head {
        "calls" => 6,
        _ if head.ends_with('%') => 7,
        _ => "≈12.3 µs".chars().count(),
    }
}

/// Width of a name that stays if the row is too wide, before the path is left out.
const NAME: usize = 24;

/// Width of a name that stays if the row has an important remark.
const SHORT_NAME: usize = 8;

/// Spaces before a path or a remark.
const SPACE: usize = 2;

/// Maximum width of a name where the width of rows is not limited, and of a tag's key or value.
const LONGEST_NAME: usize = 100;
const LONGEST_TAG: usize = 40;

/// Maximum indentation where the width is not limited.
const DEEPEST_INDENT: usize = 80;

/// A table under construction: its columns are as wide as the measured rows need.
pub(super) struct Table<'l> {
    look: &'l Look,
    style: Style,
    heads: [&'static str; NUMBERS],
    widths: [usize; NUMBERS],
    /// Depth of the deepest row.
    pub(super) deepest: usize,
}

/// What follows the numbers of a row.
#[derive(Default)]
pub(super) struct Subject {
    pub(super) name: String,
    /// The place in the source, in full.
    place: Option<String>,
    pub(super) remarks: Vec<Remark>,
    /// Depth in the call tree.
    pub(super) depth: usize,
    /// Whether the row is on the hot path.
    pub(super) hot: bool,
}

/// A remark at the end of a row.
pub(super) struct Remark {
    pub(super) text: String,
    /// Whether the remark is always shown. Others are left out if the row is too wide.
    pub(super) important: bool,
}

/// The text of a duration in a table.
pub(super) fn time(nanos: u64, is_estimate: bool) -> String {
    format!("{}{}", if is_estimate { "≈" } else { "" }, duration(nanos))
}

/// The text of a share (0 to 1).
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// The text of a number of calls. Without hooks, calls are not counted.
pub(super) fn count(calls: u64) -> String {
    if calls == 0 { "-".to_owned() } else { calls.to_string() }
}

/// The text of a tag.
pub(super) fn tag(key: &str, value: &str) -> String {
    let [key, value] = [key, value].map(printable);
    format!("{}={}", cut_end(&key, LONGEST_TAG), cut_end(&value, LONGEST_TAG))
}

/// The name of a function or a manual span in a table, before it is cut to a width.
#[doc(hidden)]
pub fn table_name(look: &Look, run_info: &RunInfo, what: &What) -> String {
    let name = run_info.name(what);
    match what {
        What::Call(_) if look.full_names => printable(&name).into_owned(),
        What::Call(_) => printable(without_arguments(&name)).into_owned(),
        What::Manual(_) => format!("«{}»", printable(&name)),
    }
}

/// A place in the source in a table, before it is cut to a width.
#[doc(hidden)]
pub fn table_place(look: &Look, file: &str, line: Option<u32>) -> String {
    let file = if look.full_names { Cow::Borrowed(file) } else { source_path(file) };
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}", printable(&file))
}

impl Subject {
    pub(super) fn of(look: &Look, run_info: &RunInfo, what: &What) -> Subject {
        let place = run_info.label(what).zip(run_info.file(what));
        let place = place.map(|(label, file)| table_place(look, &file, label.line));
        Subject { name: table_name(look, run_info, what), place, ..Subject::default() }
    }
}

impl<'l> Table<'l> {
    pub(super) fn new(look: &'l Look, heads: [&'static str; NUMBERS]) -> Self {
        let mut table = Table { look, style: look.style(), heads, widths: heads.map(least_width), deepest: 0 };
        table.measure(&heads.map(str::to_owned));
        table
    }

    /// Makes the columns wide enough for these numbers.
    pub(super) fn measure(&mut self, numbers: &[String; NUMBERS]) {
        for (width, number) in self.widths.iter_mut().zip(numbers) {
            *width = columns(number).max(*width);
        }
    }

    /// The columns before the function: the numbers with spaces between them, and the mark of the hot path.
    fn before(&self) -> usize {
        self.widths.iter().sum::<usize>() + NUMBERS - 1 + 3
    }

    fn write_numbers(&self, out: &mut impl Write, numbers: &[impl AsRef<str>; NUMBERS]) -> io::Result<()> {
        for (at, (width, number)) in self.widths.iter().zip(numbers).enumerate() {
            let number = number.as_ref();
            let space = width.saturating_sub(columns(number)) + usize::from(at > 0);
            write!(out, "{:space$}{number}", "")?;
        }
        Ok(())
    }

    /// Writes the names of the columns.
    pub(super) fn write_head(&self, out: &mut impl Write, subject: &str) -> io::Result<()> {
        let Style { dim, reset, .. } = self.style;
        write!(out, "{dim}")?;
        self.write_numbers(out, &self.heads)?;
        let room = self.look.widest().map_or(usize::MAX, |width| width.saturating_sub(self.before()));
        writeln!(out, "   {}{reset}", cut_end(subject, room))
    }

    /// Writes a row. Returns whether it is deeper than rows are indented.
    pub(super) fn write_row(
        &self,
        out: &mut impl Write,
        numbers: &[String; NUMBERS],
        subject: &Subject,
    ) -> io::Result<bool> {
        let Style { dim, red, hot, reset, .. } = self.style;
        let room = self.look.widest().map(|width| width.saturating_sub(self.before()));
        let (indent, deeper) = self.indent(subject, room);
        let fitted = fit(subject, room.map(|room| room - indent - columns(&deeper)), self.look.full_names);
        self.write_numbers(out, numbers)?;
        match subject.hot {
            true => write!(out, " {hot}→ {:indent$}{deeper}{}{reset}", "", fitted.name)?,
            false => write!(out, "   {:indent$}{deeper}{}", "", fitted.name)?,
        }
        if let Some(place) = fitted.place {
            write!(out, "  {dim}{place}{reset}")?;
        }
        for remark in fitted.remarks {
            write!(out, "  {}{}{reset}", if remark.important { red } else { dim }, remark.text)?;
        }
        writeln!(out)?;
        Ok(!deeper.is_empty())
    }

    /// The indentation of a row. Levels that it has no room for are shown as a number.
    fn indent(&self, subject: &Subject, room: Option<usize>) -> (usize, String) {
        let depth = subject.depth;
        // A level takes two columns, or one in a deep tree.
        let most = room.map_or(DEEPEST_INDENT, |room| room * 2 / 5);
        let step = if self.deepest * 2 > most { 1 } else { 2 };
        // An important remark and some of the name have room.
        let important = subject.remarks.iter().find(|remark| remark.important);
        let needs = important.map_or(0, |remark| SPACE + columns(&remark.text) + SHORT_NAME + "+1000 ".len());
        let most = room.map_or(most, |room| most.min(room.saturating_sub(needs)));
        let levels = most / step;
        match depth > levels {
            true => (levels * step, format!("+{} ", depth - levels)),
            false => (depth * step, String::new()),
        }
    }
}

/// What is shown of a subject.
struct Fitted<'s> {
    name: Cow<'s, str>,
    place: Option<Cow<'s, str>>,
    remarks: Vec<&'s Remark>,
}

/// Fits a subject into `room` columns: cuts the path first, then leaves out remarks, then cuts the name.
fn fit(subject: &Subject, room: Option<usize>, full_names: bool) -> Fitted<'_> {
    let Subject { name, place, remarks, .. } = subject;
    let Some(room) = room else {
        let name = if full_names { Cow::Borrowed(&**name) } else { cut_name(name, LONGEST_NAME) };
        return Fitted { name, place: place.as_deref().map(Cow::Borrowed), remarks: remarks.iter().collect() };
    };
    // Important remarks have their room first, even if little is left of the name.
    let mut shown = vec![false; remarks.len()];
    let mut used = 0;
    for (important, least_name) in [(true, 1), (false, NAME)] {
        let most = room.saturating_sub(columns(name).min(least_name));
        for (remark, shown) in remarks.iter().zip(&mut shown).filter(|(remark, _)| remark.important == important) {
            let needs = SPACE + columns(&remark.text);
            *shown = used + needs <= most;
            used += if *shown { needs } else { 0 };
        }
    }
    let left = room.saturating_sub(columns(name).min(NAME) + used);
    let remarks: Vec<&Remark> =
        remarks.iter().zip(shown).filter(|(_, shown)| *shown).map(|(remark, _)| remark).collect();
    let room = room.saturating_sub(used);
    // The path has what the whole name leaves, and at least the name of its file if the name can be cut for it.
    let place = place.as_deref().and_then(|place| {
        let least_place = columns(file_name(place)) + SPACE;
        let most = room.saturating_sub(columns(name)).max(if least_place <= left { least_place } else { 0 });
        cut_path(place, most.checked_sub(SPACE)?)
    });
    let place_width = place.as_ref().map_or(0, |place| SPACE + columns(place));
    Fitted { name: cut_name(name, room.saturating_sub(place_width)), place, remarks }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(subject: &Subject, room: usize) -> String {
        let Fitted { name, place, remarks } = fit(subject, Some(room), false);
        let place = place.map(|place| format!("  {place}")).unwrap_or_default();
        let remarks: String = remarks.iter().map(|remark| format!("  {}", remark.text)).collect();
        format!("{name}{place}{remarks}")
    }

    fn subject(remarks: &[(&str, bool)]) -> Subject {
        let remarks =
            remarks.iter().map(|(text, important)| Remark { text: (*text).to_owned(), important: *important });
        Subject {
            name: "serde_json::de::Deserializer<R>::parse_value".to_owned(),
            place: Some("serde_json-1.0.1/src/de.rs:314".to_owned()),
            remarks: remarks.collect(),
            ..Subject::default()
        }
    }

    #[test]
    fn the_path_is_cut_first_and_then_the_name() {
        let subject = subject(&[]);
        for (room, text) in [
            (76, "serde_json::de::Deserializer<R>::parse_value  serde_json-1.0.1/src/de.rs:314"),
            (75, "serde_json::de::Deserializer<R>::parse_value  …/src/de.rs:314"),
            (57, "serde_json::de::Deserializer<R>::parse_value  …/de.rs:314"),
            (55, "serde_json::de::Deserializer<R>::parse_value  de.rs:314"),
            (54, "serde_json::de::…serializer<R>::parse_value  de.rs:314"),
            (35, "serde_jso…>::parse_value  de.rs:314"),
            (34, "serde_json::d…izer<R>::parse_value"),
        ] {
            let shown = shown(&subject, room);
            assert!(columns(&shown) <= room, "{shown}");
            assert_eq!(shown, text, "{room}");
        }
    }

    #[test]
    fn important_remarks_stay() {
        let subject = subject(&[("(recursive)", false), ("(trapped here)", true)]);
        assert_eq!(shown(&subject, 60), "serde_json::…er<R>::parse_value  (recursive)  (trapped here)");
        assert_eq!(shown(&subject, 40), "serde_jso…>::parse_value  (trapped here)");
        assert_eq!(shown(&subject, 17), "…  (trapped here)");
        assert_eq!(shown(&subject, 16), "serde_…rse_value");
        assert_eq!(shown(&subject, 26), "ser…_value  (trapped here)");
    }
}
