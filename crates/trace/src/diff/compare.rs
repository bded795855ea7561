//! Matches two sides and compares what matches.

use std::collections::HashMap;

use super::noise::{Noise, Readings, Sampling, count};
use super::run::{Amounts, Run, Time};
use super::values::{Change, Presence, Spread, Values};
use crate::span_builder::What;
use wasmtrace_abi::hook::ProbeId;

/// What two sides have in common and where they differ.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// Number of recordings before and after.
    pub recordings: [usize; 2],
    /// The names of functions and manual spans that occur anywhere.
    pub functions: Vec<Function>,
    /// One row for each of [`Diff::functions`], in the same order.
    pub rows: Vec<Row>,
    /// The call trees of all recordings, matched by the names on each path. Parents before children.
    pub nodes: Vec<Node>,
    /// Duration of the run in nanoseconds.
    pub duration: Change,
    /// The whole program: self time and total are the time in hooked functions.
    pub all: Values,
    /// The sums of [`Run::add_sum`].
    pub sums: Vec<Values>,
    /// Whether both sides counted calls. If not, only times are compared.
    pub has_calls: bool,
    /// Whether there are enough recordings to tell how much the machine varies. If not, a time must differ by a good deal
    /// to count.
    pub is_settled: bool,
    /// The share of the larger time that a difference must exceed to count.
    pub floor_of_row: f64,
    /// The share of the time of the whole run that a difference must exceed to count.
    pub floor_of_run: f64,
}

/// Functions of one name, or manual spans of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name for display: demangled, with arguments, without hash.
    pub name: String,
    /// Whether it is a manual span.
    pub is_manual: bool,
    /// The path of the source file: after, otherwise before.
    pub file: Option<String>,
    /// The line of the declaration: after, otherwise before.
    pub line: Option<u32>,
    /// The index of the first function of the name: after, otherwise before.
    pub index: Option<u32>,
    /// The id of the first function of the name, before and after: in the first recording that has the name.
    pub probes: [Option<ProbeId>; 2],
    /// How many functions of a program have the name, before and after. 0 for manual spans.
    pub functions: [u32; 2],
}

/// A row of the flat table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index in [`Diff::functions`].
    pub function: u32,
    /// What is compared. The total of several functions is the time in which at least one of them is open.
    pub values: Values,
}

/// A node of the matched tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Index in [`Diff::nodes`]. `None` for functions that the host called.
    pub parent: Option<u32>,
    /// Index in [`Diff::functions`].
    pub function: u32,
    /// What is compared.
    pub values: Values,
}

/// Compares two sides of at least one recording each.
pub fn compare(before: &[Run], after: &[Run]) -> Diff {
    let recordings = [before.len(), after.len()];
    let runs: Vec<&Run> = before.iter().chain(after).collect();
    let has_calls = runs.iter().all(|run| run.has_calls());
    let longest = runs.iter().map(|run| run.all.total.nanos.max(run.duration)).collect::<Vec<_>>();
    let of_run = |runs: &[u64]| Spread::of(runs.iter().copied()).median;
    let (of_before, of_after) = longest.split_at(before.len());
    let judge = Judge {
        noise: Noise::of(recordings, of_run(of_before).max(of_run(of_after))),
        samplings: runs.iter().map(|run| Sampling::of(run)).collect(),
        before: before.len(),
        has_calls,
    };

    let mut merged = Merged::default();
    runs.iter().enumerate().for_each(|(at, run)| merged.add(run, at, usize::from(at >= before.len())));
    let Merged { functions, rows, nodes, .. } = merged;
    let rows = (0..).zip(&rows).map(|(function, amounts)| Row { function, values: judge.values(amounts) });
    let nodes = nodes.iter().map(|Merging { parent, function, amounts }| Node {
        parent: *parent,
        function: *function,
        values: judge.values(amounts),
    });
    let whole = |of: &dyn Fn(&Run) -> Amounts| judge.values(&runs.iter().map(|run| of(run)).collect::<Vec<_>>());
    let sums = runs.iter().map(|run| run.sums.len()).min().unwrap_or(0);
    Diff {
        recordings,
        rows: rows.collect(),
        nodes: nodes.collect(),
        functions,
        duration: judge.duration(&runs),
        all: whole(&|run| run.all),
        sums: (0..sums).map(|at| whole(&|run| run.sums[at])).collect(),
        has_calls,
        is_settled: judge.noise.is_settled,
        floor_of_row: judge.noise.of_row,
        floor_of_run: judge.noise.of_run,
    }
}

/// A node of the merged tree, with its amounts in each recording. Missing ones at the end are nothing.
struct Merging {
    parent: Option<u32>,
    function: u32,
    amounts: Vec<Amounts>,
}

#[derive(Default)]
struct Merged {
    functions: Vec<Function>,
    rows: Vec<Vec<Amounts>>,
    nodes: Vec<Merging>,
    by_name: HashMap<(bool, String), u32>,
    by_path: HashMap<(Option<u32>, u32), u32>,
}

impl Merged {
    /// Adds recording number `at`, which belongs to side 0 (before) or 1 (after).
    fn add(&mut self, run: &Run, at: usize, side: usize) {
        let mut names = Vec::with_capacity(run.names.len());
        for name in &run.names {
            let next = self.functions.len() as u32;
            let function = *self.by_name.entry((name.is_manual, name.text.clone())).or_insert(next);
            if function == next {
                self.functions.push(Function {
                    name: name.text.clone(),
                    is_manual: name.is_manual,
                    file: None,
                    line: None,
                    index: None,
                    probes: [None; 2],
                    functions: [0; 2],
                });
                self.rows.push(Vec::new());
            }
            let known = &mut self.functions[function as usize];
            known.functions[side] = known.functions[side].max(name.functions);
            if let Some(probe) = name.probe.filter(|_| known.probes[side].is_none()) {
                known.probes[side] = Some(probe);
                // The first recording of a side; that of the side after replaces that of the side before.
                let label = run.run_info.labels.get(&probe);
                let what = What::Call(probe);
                known.file = run.run_info.file(&what).or(known.file.take());
                known.line = label.and_then(|label| label.line).or(known.line);
                known.index = Some(run.run_info.index(probe));
            }
            put(&mut self.rows[function as usize], at, name.amounts);
            names.push(function);
        }
        let mut places: Vec<u32> = Vec::with_capacity(run.places.len());
        for place in &run.places {
            let parent = place.parent.map(|parent| places[parent as usize]);
            let function = names[place.name as usize];
            let next = self.nodes.len() as u32;
            let node = *self.by_path.entry((parent, function)).or_insert(next);
            if node == next {
                self.nodes.push(Merging { parent, function, amounts: Vec::new() });
            }
            put(&mut self.nodes[node as usize].amounts, at, place.amounts);
            places.push(node);
        }
    }
}

/// Adds amounts of recording number `at`.
fn put(amounts: &mut Vec<Amounts>, at: usize, more: Amounts) {
    if amounts.len() <= at {
        amounts.resize(at + 1, Amounts::default());
    }
    amounts[at] += more;
}

struct Judge {
    noise: Noise,
    /// One for each recording.
    samplings: Vec<Sampling>,
    /// Number of recordings before.
    before: usize,
    has_calls: bool,
}

impl Judge {
    fn values(&self, amounts: &[Amounts]) -> Values {
        let nothing = Amounts::default();
        let of = |at: usize| amounts.get(at).unwrap_or(&nothing);
        let all = 0..self.samplings.len();
        let (before, after) = (all.start..self.before, self.before..all.end);
        let calls = match self.has_calls {
            true => count(before.clone().map(|at| of(at).calls), after.clone().map(|at| of(at).calls)),
            false => Change::default(),
        };
        let time = |part: fn(&Amounts) -> &Time| {
            let readings =
                |side: std::ops::Range<usize>| Readings::of(side.map(|at| (part(of(at)), &self.samplings[at])));
            self.noise.time(&readings(before.clone()), &readings(after.clone()))
        };
        let (self_time, total) = (time(|amounts| &amounts.self_time), time(|amounts| &amounts.total));
        let is_nothing = |mut side: std::ops::Range<usize>| side.all(|at| of(at).is_nothing());
        // Whether a function is among the samples is chance.
        let counts = self.has_calls || self_time.is_significant || total.is_significant;
        let presence = match (is_nothing(before), is_nothing(after)) {
            (true, false) if counts => Presence::New,
            (false, true) if counts => Presence::Gone,
            _ => Presence::Both,
        };
        let is_estimated = amounts.iter().any(|amounts| amounts.self_time.estimated * 2 > amounts.self_time.nanos);
        Values { calls, self_time, total, presence, is_estimated }
    }

    fn duration(&self, runs: &[&Run]) -> Change {
        let (before, after) = runs.split_at(self.before);
        let readings = |side: &[&Run]| Readings::exact(side.iter().map(|run| run.duration));
        self.noise.time(&readings(before), &readings(after))
    }
}
