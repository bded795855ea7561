//! The tables of a thread: stacks, frames, functions, strings. Stacks and frames are numbered as they are needed.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::export::json::{cut, string};
use crate::export::{LONGEST_NAME, RunInfo};
use crate::span_builder::What;

/// The stack of a sample outside of all calls.
pub(super) const NO_STACK: u32 = u32::MAX;

/// A function, or a source line in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub(super) what: What,
    /// The file and the line of an instruction, if they are known.
    pub(super) place: Option<(Arc<str>, u32)>,
}

#[derive(Default)]
pub(super) struct Tables {
    /// Each stack: the one around it, and its frame.
    stacks: Vec<(u32, u32)>,
    stack_numbers: HashMap<(u32, u32), u32, FxBuildHasher>,
    frames: Vec<Frame>,
    frame_numbers: HashMap<Frame, u32, FxBuildHasher>,
    strings: Vec<String>,
    string_numbers: HashMap<String, u32>,
}

impl Tables {
    /// The stack with this frame in the stack `prefix`, which may be [`NO_STACK`].
    pub(super) fn stack(&mut self, prefix: u32, frame: Frame) -> u32 {
        let frame = match self.frame_numbers.get(&frame) {
            Some(number) => *number,
            None => {
                let number = self.frames.len() as u32;
                self.frames.push(frame.clone());
                self.frame_numbers.insert(frame, number);
                number
            }
        };
        let next = self.stacks.len() as u32;
        let stack = *self.stack_numbers.entry((prefix, frame)).or_insert(next);
        if stack == next {
            self.stacks.push((prefix, frame));
        }
        stack
    }

    /// The stack around the innermost call of a stack, and the function of that call.
    pub(super) fn innermost(&self, stack: u32) -> (u32, What) {
        let (prefix, frame) = self.stacks[stack as usize];
        (prefix, self.frames[frame as usize].what.clone())
    }

    /// The number of a text.
    pub(super) fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.string_numbers.get(text) {
            return *number;
        }
        let number = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.string_numbers.insert(text.to_owned(), number);
        number
    }

    /// Writes all tables as members of a thread.
    pub(super) fn write(&mut self, out: &mut impl Write, run_info: &RunInfo) -> io::Result<()> {
        let mut stacks = Columns::new(&["prefix", "frame"]);
        for (prefix, frame) in &self.stacks {
            let prefix = if *prefix == NO_STACK { "null".to_owned() } else { prefix.to_string() };
            stacks.push(&[prefix, frame.to_string()]);
        }
        let (frames, functions) = self.frames(run_info);
        for (name, table) in [("stackTable", &stacks), ("frameTable", &frames), ("funcTable", &functions)] {
            write!(out, "\n\"{name}\":{{")?;
            table.write(out)?;
            out.write_all(b"},")?;
        }
        let empty = [
            ("resourceTable", &["lib", "name", "host", "type"]),
            ("nativeSymbols", &["address", "functionSize", "libIndex", "name"]),
        ];
        for (name, columns) in empty {
            write!(out, "\n\"{name}\":{{")?;
            Columns::new(columns).write(out)?;
            out.write_all(b"},")?;
        }
        out.write_all(b"\n\"stringArray\":[")?;
        for (i, text) in self.strings.iter().enumerate() {
            write!(out, "{}{}", if i == 0 { "" } else { "," }, string(text))?;
        }
        out.write_all(b"]")
    }

    fn frames(&mut self, run_info: &RunInfo) -> (Columns, Columns) {
        let mut frames = Columns::new(&[
            "address",
            "inlineDepth",
            "category",
            "subcategory",
            "func",
            "nativeSymbol",
            "innerWindowID",
            "line",
            "column",
        ]);
        let mut functions =
            Columns::new(&["name", "isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"]);
        let null = || "null".to_owned();
        // Inlined code may be from another file than its function, and only functions have files.
        let mut known: HashMap<(What, Option<Arc<str>>), usize> = HashMap::new();
        for frame in std::mem::take(&mut self.frames) {
            let Frame { what, place } = frame;
            let declared = run_info.label(&what).and_then(|label| label.file.clone());
            let (file, line) = match place {
                Some((file, line)) => (Some(file), Some(line)),
                None => (declared.clone(), None),
            };
            let is_own = file == declared;
            let next = known.len();
            let function = *known.entry((what.clone(), file.clone())).or_insert(next);
            if function == next {
                let name = self.string(&run_info.name(&what)).to_string();
                let file = file.map_or_else(null, |file| self.string(&cut((&*file).into(), LONGEST_NAME)).to_string());
                let line = run_info.line(&what).filter(|_| is_own).map_or_else(null, |line| line.to_string());
                functions.push(&[name, "false".into(), "false".into(), "-1".into(), file, line, null()]);
            }
            let line = line.map_or_else(null, |line| line.to_string());
            let category = category(run_info, &what).to_string();
            let [address, depth, sub, window] = ["-1", "0", "0", "0"].map(str::to_owned);
            frames.push(&[address, depth, category, sub, function.to_string(), null(), window, line, null()]);
        }
        (frames, functions)
    }
}

/// Categories of the profile: the first one is for what has none.
fn category(run_info: &RunInfo, what: &What) -> usize {
    run_info.category(what).map_or(0, |category| category as usize + 1)
}

/// A table of JSON values, written column by column.
pub(super) struct Columns {
    names: Vec<&'static str>,
    /// The values of each column, joined by commas.
    columns: Vec<String>,
    length: usize,
}

impl Columns {
    pub(super) fn new(names: &[&'static str]) -> Self {
        Columns { names: names.to_vec(), columns: vec![String::new(); names.len()], length: 0 }
    }

    /// Adds a row of JSON values.
    pub(super) fn push(&mut self, row: &[String]) {
        for (column, value) in self.columns.iter_mut().zip(row) {
            if self.length > 0 {
                column.push(',');
            }
            column.push_str(value);
        }
        self.length += 1;
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "\"length\":{}", self.length)?;
        for (name, column) in self.names.iter().zip(&self.columns) {
            write!(out, ",\n\"{name}\":[{column}]")?;
        }
        Ok(())
    }
}
