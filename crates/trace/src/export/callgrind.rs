//! The profile format of callgrind (Valgrind's manual, "Callgrind Format Specification"), read by `callgrind_annotate` and
//! KCachegrind. The cost of a line is the nanoseconds in the function itself that samples found there; time without a
//! sampled line is at the line of the declaration. Calls have their number and the nanoseconds in them. The places of calls
//! are not recorded, so they are at the line of the caller's declaration.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::Arc;

use super::left_out::sentences;
use super::pprof::parts;
use super::{LONGEST_NAME, RunInfo, Sink, Summary, json};
use crate::span_builder::{Change, What};
use wasmtrace_abi::text::printable;

/// Writes callgrind profiles.
pub struct Callgrind<W: Write> {
    out: W,
}

impl<W: Write> std::fmt::Debug for Callgrind<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callgrind").finish_non_exhaustive()
    }
}

impl<W: Write> Callgrind<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Callgrind { out }
    }
}

/// A file and a line in it; 0 if it is not known.
type Place = (Option<Arc<str>>, u32);

/// The costs of a function over all paths.
#[derive(Default)]
struct Costs {
    /// Nanoseconds in the function itself, by line.
    own: BTreeMap<Place, u64>,
    /// Number of calls of each callee, and nanoseconds in them.
    callees: BTreeMap<usize, (u64, u64)>,
}

/// The functions of a run, in the order of their first calls.
#[derive(Default)]
struct Functions {
    numbers: HashMap<What, usize>,
    all: Vec<(What, Costs)>,
}

impl Functions {
    fn number(&mut self, what: &What) -> usize {
        let Functions { numbers, all } = self;
        if let Some(number) = numbers.get(what) {
            return *number;
        }
        numbers.insert(what.clone(), all.len());
        all.push((what.clone(), Costs::default()));
        all.len() - 1
    }
}

/// Names that were written already are referred to by number.
#[derive(Default)]
struct Names {
    known: HashMap<String, usize>,
}

impl Names {
    /// The name as the format has it: `(1) name` at first, then `(1)`. Line breaks and control characters are escaped.
    fn of(&mut self, name: &str) -> String {
        let name = printable(name).into_owned();
        let next = self.known.len() + 1;
        match self.known.get(&name) {
            Some(number) => format!("({number})"),
            None => {
                let text = format!("({next}) {name}");
                self.known.insert(name, next);
                text
            }
        }
    }

    fn of_file(&mut self, file: Option<&str>) -> String {
        // What callgrind itself writes for a file that is not known.
        self.of(&file.map_or("???".to_owned(), |file| json::cut(file.into(), LONGEST_NAME)))
    }
}

/// The name of a function in the format.
fn name(run_info: &RunInfo, what: &What) -> String {
    match what {
        What::Call(_) => run_info.name(what),
        What::Manual(_) => format!("«{}»", run_info.name(what)),
    }
}

fn functions(run_info: &RunInfo, summary: &Summary<'_>) -> Functions {
    let profile = summary.profile;
    let lines = profile.lines(summary.lines);
    let mut functions = Functions::default();
    for (id, node) in profile.nodes_with_ids().filter(|(_, node)| !node.is_empty()) {
        let what = node.what.as_ref().expect("only the root is nothing");
        let number = functions.number(what);
        if let Some(caller) = node.parent.and_then(|parent| profile[parent].what.as_ref()) {
            let caller = functions.number(caller);
            let (calls, nanos) = functions.all[caller].1.callees.entry(number).or_default();
            *calls += node.calls;
            *nanos += node.total;
        }
        let own = &mut functions.all[number].1.own;
        match lines.get(&id) {
            Some(lines) => {
                for (line, nanos) in parts(node.self_time, lines) {
                    *own.entry((Some(line.file.clone()), line.line)).or_default() += nanos;
                }
            }
            None => {
                let file = run_info.label(what).and_then(|label| label.file.clone());
                *own.entry((file, run_info.line(what).unwrap_or(0))).or_default() += node.self_time;
            }
        }
    }
    functions
}

impl<W: Write> Sink for Callgrind<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let functions = functions(run_info, summary);
        let out = &mut self.out;
        writeln!(out, "# callgrind format\nversion: 1\ncreator: wasmtrace {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "cmd: {}", printable(&run_info.program))?;
        for sentence in sentences(run_info, summary) {
            writeln!(out, "desc: {}", printable(&sentence))?;
        }
        let total: u64 = functions.all.iter().flat_map(|(_, costs)| costs.own.values()).sum();
        writeln!(out, "positions: line\nevents: Nanoseconds\nsummary: {total}")?;
        let (mut files, mut names) = (Names::default(), Names::default());
        for (what, Costs { own, callees }) in &functions.all {
            let file = run_info.label(what).and_then(|label| label.file.as_deref());
            let declared = run_info.line(what).unwrap_or(0);
            writeln!(out, "\nfl={}\nfn={}", files.of_file(file), names.of(&name(run_info, what)))?;
            let mut here = file;
            for ((place, line), nanos) in own {
                if place.as_deref() != here {
                    // Code that is inlined from another file.
                    here = place.as_deref();
                    writeln!(out, "fi={}", files.of_file(here))?;
                }
                writeln!(out, "{line} {nanos}")?;
            }
            if here != file {
                writeln!(out, "fe={}", files.of_file(file))?;
            }
            for (callee, (calls, nanos)) in callees {
                let (what, _) = &functions.all[*callee];
                let file = run_info.label(what).and_then(|label| label.file.as_deref());
                writeln!(out, "cfi={}\ncfn={}", files.of_file(file), names.of(&name(run_info, what)))?;
                // Readers take the cost of no call for a cost of the caller. A run that was only sampled counts no calls.
                let calls = (*calls).max(1);
                writeln!(out, "calls={calls} {}\n{declared} {nanos}", run_info.line(what).unwrap_or(0))?;
            }
        }
        writeln!(out, "\ntotals: {total}")?;
        out.flush()
    }
}
