//! One recording, reduced to what a comparison needs: names instead of ids.

use std::collections::HashMap;
use std::iter::Sum;
use std::ops::AddAssign;

use crate::calltree::Accuracy;
use crate::export::{Recording, RunInfo};
use crate::profile::{NodeId, Profile};
use crate::span_builder::What;
use wasmtrace_abi::hook::ProbeId;

/// A time, and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// The time in nanoseconds.
    pub nanos: u64,
    /// Number of samples in it.
    pub samples: u64,
    /// The part in nanoseconds that is an estimate from the times of events.
    pub estimated: u64,
}

/// The amounts of a function, a node or a whole program in one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Number of calls or openings, including calls that were only counted.
    pub calls: u64,
    /// Time without callees.
    pub self_time: Time,
    /// Time from entry to exit.
    pub total: Time,
}

impl AddAssign for Time {
    fn add_assign(&mut self, other: Time) {
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.samples += other.samples;
        self.estimated = self.estimated.saturating_add(other.estimated);
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.calls = self.calls.saturating_add(other.calls);
        self.self_time += other.self_time;
        self.total += other.total;
    }
}

impl Sum for Amounts {
    fn sum<I: Iterator<Item = Amounts>>(amounts: I) -> Amounts {
        amounts.fold(Amounts::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl Amounts {
    /// Whether nothing was called or measured.
    pub fn is_nothing(&self) -> bool {
        self.calls == 0 && self.total.nanos == 0 && self.self_time.nanos == 0
    }
}

/// A name by which functions or manual spans are matched.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) is_manual: bool,
    /// The first function of the name, and how many functions share it.
    pub(super) probe: Option<ProbeId>,
    pub(super) functions: u32,
    pub(super) amounts: Amounts,
}

/// A node of the call tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) parent: Option<u32>,
    pub(super) name: u32,
    pub(super) amounts: Amounts,
}

/// A recording, reduced to what a comparison needs.
#[derive(Debug, Clone)]
pub struct Run {
    /// Properties of the run.
    pub run_info: RunInfo,
    /// Duration in nanoseconds.
    pub duration: u64,
    /// The whole program. Self time and total are both the time in hooked functions.
    pub all: Amounts,
    /// The accuracy of the times.
    pub accuracy: Accuracy,
    /// Sums over selected functions, in the order of [`Run::add_sum`].
    pub sums: Vec<Amounts>,
    pub(super) names: Vec<Name>,
    /// Parents before children.
    pub(super) places: Vec<Place>,
}

impl Run {
    /// Reduces a call tree.
    pub fn of(run_info: &RunInfo, profile: &Profile, accuracy: Accuracy, duration: u64) -> Run {
        let (mut names, mut places) = (Names::default(), Vec::new());
        let mut open: Vec<u32> = Vec::new();
        walk(profile, |step| match step {
            Step::Enter { id, parent } => {
                let node = &profile[id];
                let what = node.what.as_ref().expect("only the root is nothing");
                let name = names.of(run_info, what);
                open.resize(names.all.len(), 0);
                open[name as usize] += 1;
                let amounts = amounts(profile, id);
                let is_outermost = open[name as usize] == 1;
                names.all[name as usize].amounts += if is_outermost { amounts } else { without_total(amounts) };
                places.push(Place { parent, name, amounts });
                places.len() as u32 - 1
            }
            Step::Leave { place } => {
                open[places[place as usize].name as usize] -= 1;
                place
            }
        });
        let mut elided: Vec<(ProbeId, u64)> = profile.elided().iter().map(|(id, calls)| (*id, *calls)).collect();
        elided.sort_unstable();
        for (probe, calls) in elided {
            let name = names.of(run_info, &What::Call(probe));
            names.all[name as usize].amounts.calls += calls;
        }
        let all = Time { nanos: profile.total(), samples: accuracy.samples, estimated: 0 };
        let all = Amounts { calls: profile.calls(), self_time: all, total: all };
        let run_info = run_info.clone();
        Run { run_info, duration, all, accuracy, sums: Vec::new(), names: names.all, places }
    }

    /// Adds a sum over the functions that are selected. Its total is the time in which at least one of them is open.
    pub fn add_sum(&mut self, profile: &Profile, selects: impl Fn(ProbeId) -> bool) {
        let is_selected = |what: &Option<What>| matches!(what, Some(What::Call(probe)) if selects(*probe));
        let (mut sum, mut open) = (Amounts::default(), 0_u32);
        let mut selected = Vec::new();
        walk(profile, |step| match step {
            Step::Enter { id, .. } => {
                let is_selected = is_selected(&profile[id].what);
                selected.push(is_selected);
                if is_selected {
                    open += 1;
                    let amounts = amounts(profile, id);
                    sum += if open == 1 { amounts } else { without_total(amounts) };
                }
                selected.len() as u32 - 1
            }
            Step::Leave { place } => {
                open -= u32::from(selected[place as usize]);
                place
            }
        });
        sum.calls += profile.elided().iter().filter(|(id, _)| selects(**id)).map(|(_, calls)| calls).sum::<u64>();
        self.sums.push(sum);
    }

    /// How the run was recorded.
    pub fn recording(&self) -> &Recording {
        &self.run_info.recording
    }

    /// Whether calls were counted, and not only sampled.
    pub fn has_calls(&self) -> bool {
        self.recording().clock != crate::export::SAMPLES
    }
}

/// Names, each once.
#[derive(Default)]
struct Names {
    all: Vec<Name>,
    by_what: HashMap<What, u32>,
    by_text: HashMap<(bool, String), u32>,
}

impl Names {
    fn of(&mut self, run_info: &RunInfo, what: &What) -> u32 {
        if let Some(known) = self.by_what.get(what) {
            return *known;
        }
        let (is_manual, probe) = match what {
            What::Call(probe) => (false, Some(*probe)),
            What::Manual(_) => (true, None),
        };
        let text = run_info.name(what);
        let next = self.all.len() as u32;
        let name = *self.by_text.entry((is_manual, text.clone())).or_insert(next);
        if name == next {
            self.all.push(Name { text, is_manual, probe, functions: 0, amounts: Amounts::default() });
        }
        self.all[name as usize].functions += u32::from(!is_manual);
        self.by_what.insert(what.clone(), name);
        name
    }
}

/// A step of a walk over a call tree. The closure numbers nodes when it enters them.
enum Step {
    Enter { id: NodeId, parent: Option<u32> },
    Leave { place: u32 },
}

/// Walks over all nodes depth first, without recursion: a path may be as long as the program has functions. Nodes whose calls
/// were moved elsewhere are passed over.
fn walk(profile: &Profile, mut step: impl FnMut(Step) -> u32) {
    let enter = |id: &NodeId, parent| Step::Enter { id: *id, parent };
    let mut todo: Vec<Step> = profile.root().children.iter().rev().map(|id| enter(id, None)).collect();
    while let Some(next) = todo.pop() {
        match next {
            Step::Enter { id, parent } => {
                let node = &profile[id];
                let place = match node.is_empty() {
                    true => parent,
                    false => {
                        let place = step(next);
                        todo.push(Step::Leave { place });
                        Some(place)
                    }
                };
                todo.extend(node.children.iter().rev().map(|child| enter(child, place)));
            }
            Step::Leave { .. } => drop(step(next)),
        }
    }
}

fn amounts(profile: &Profile, id: NodeId) -> Amounts {
    let node = &profile[id];
    let time = |nanos: u64, samples: u64| {
        let estimated = if node.estimated { nanos } else { 0 };
        Time { nanos, samples, estimated }
    };
    Amounts {
        calls: node.calls,
        self_time: time(node.self_time, node.samples.0),
        total: time(node.total, node.samples.1),
    }
}

fn without_total(amounts: Amounts) -> Amounts {
    Amounts { total: Time::default(), ..amounts }
}
