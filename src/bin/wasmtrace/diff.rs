//! `wasmtrace diff`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use wasmtrace::export::{self, RunInfo, SAMPLES, duration};
use wasmtrace::hook::ProbeId;
use wasmtrace::select::select_recorded;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::diff::{Change, Diff, Run, compare, write_diff_page};

use crate::diff_json::{self, Source};
use crate::diff_table::{self, Order, Sort};
use crate::fail_on::{Condition, Metric, Outcome};
use crate::files::Output;
use crate::recordings::{self, Recording, repetition};
use crate::sinks::{Pipeline, Sinks};
use crate::table_args::TableArgs;
use crate::terminal::{Global, one_line};

/// Compare recordings of a program before and after a change
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmtrace diff [OPTIONS] <BEFORE> <AFTER>
       wasmtrace diff [OPTIONS] <BEFORE>... --to <AFTER>...")]
#[command(after_help = "\
Functions are matched by name. If BEFORE or AFTER does not exist, its repetitions are read, as `record --repeat` writes \
them: app.1.wtrace, app.2.wtrace and so on. Times are medians over the recordings of a side; `~` marks differences that \
noise explains.

Exit codes: 0, 1 if an expression of --fail-on was breached, 2 for any error.

Examples:
  wasmtrace diff before.wtrace after.wtrace
  wasmtrace diff --tree --sort calls before.wtrace after.wtrace
  wasmtrace diff --html diff.html before.wtrace after.wtrace
  wasmtrace diff a.wtrace b.wtrace --to c.wtrace d.wtrace
  wasmtrace diff --fail-on 'calls>+5%' --fail-on 'self:crate:app>+20%' before.wtrace after.wtrace")]
pub(crate) struct Args {
    /// Recordings to compare: one before and one after the change, or with --to any number before it
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// The recordings after the change
    #[arg(long, value_name = "AFTER", num_args = 1..)]
    to: Vec<PathBuf>,
    /// Compare call paths instead of functions
    #[arg(long)]
    tree: bool,
    /// Sort by the difference of this column, significant differences first [default: self; total with --tree]
    #[arg(long, value_name = "BY", value_enum)]
    sort: Option<Sort>,
    #[command(flatten)]
    table: TableArgs,
    /// Print the whole comparison as JSON
    #[arg(long, conflicts_with_all = ["tree", "sort", "min_share", "width", "full_names"])]
    json: bool,
    /// Write an HTML page instead: a differential flame graph, the call tree and the functions in one file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tree", "sort", "min_share", "width", "full_names", "json"])]
    html: Option<PathBuf>,
    /// Exit with 1 if METRIC[:RULE](>|<)AMOUNT holds; repeatable
    #[arg(long, value_name = "EXPR", value_parser = Condition::parse)]
    #[arg(long_help = "\
Exit with 1 if METRIC[:RULE](>|<)AMOUNT holds; repeatable.

METRIC is calls, self, total or duration. RULE is a selection rule without a sign, as in --select of `record`: `crate:app`, \
`main.handle`, `@std`, `file:src/x.rs`. The metric is then the sum over the functions that match; without RULE it is that of \
the whole program. AMOUNT is a value after the change (`1000`, `5ms`), a difference (`+1000`, `-5ms`) or a relative \
difference (`+5%`). A difference of times counts only if noise does not explain it.")]
    fail_on: Vec<Condition>,
}

/// The recordings of both sides.
#[derive(Default)]
struct Loaded {
    runs: Vec<Run>,
    sources: Vec<Source>,
    endings: Vec<RunOutcome>,
    /// For each condition, whether its rule matches a function in any recording.
    matched: Vec<bool>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let (before, after) = match (&*args.recordings, &*args.to) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        ([_], []) => bail!("only one recording was given: expected BEFORE and AFTER"),
        (_, []) => bail!("more than two recordings were given: put --to before those after the change"),
        (before, after) => (before, after),
    };
    let conditions = &args.fail_on;
    for recording in before.iter().chain(after) {
        let repetitions = (1..).map(|number| repetition(recording, number)).take_while(|path| path.exists());
        for path in repetitions.chain([recording.clone()]) {
            recordings::refuse_output(&path, args.html.as_deref())?;
        }
    }
    let mut loaded = Loaded { matched: vec![false; conditions.len()], ..Loaded::default() };
    loaded.side(before, conditions, global)?;
    let first_after = loaded.runs.len();
    loaded.side(after, conditions, global)?;
    let unmatched =
        conditions.iter().zip(&loaded.matched).find(|(condition, matched)| condition.rule.is_some() && !**matched);
    if let Some((condition, _)) = unmatched {
        bail!("--fail-on {}: the rule matches no function of any recording", condition.text);
    }
    loaded.warn(first_after, global);

    let (before, after) = loaded.runs.split_at(first_after);
    let diff = compare(before, after);
    let changes = changes(conditions, &diff)?;
    let judged: Vec<(&Condition, &Change, Outcome)> = conditions
        .iter()
        .zip(&changes)
        .map(|(condition, change)| (condition, change, condition.judge(change)))
        .collect();
    if args.json {
        let fail_on: Vec<Value> =
            judged.iter().map(|(condition, change, outcome)| condition.json(change, *outcome)).collect();
        diff_json::write(&diff, &loaded.runs, &loaded.sources, fail_on).context("standard output")?;
    } else if let Some(page) = &args.html {
        let output = Output::create(Some(page))?;
        output.write(false, |mut out| write_diff_page(&mut out, &diff, before, after))?;
        output.keep()?;
    } else {
        let look = args.table.look(&std::io::stdout(), export::Sort::default());
        diff_table::write(&diff, before, after, Order { is_tree: args.tree, sort: args.sort }, look)
            .context("standard output")?;
    }
    let mut is_breached = false;
    for (condition, change, outcome) in judged {
        let (text, what) = (&condition.text, condition.describe(change));
        match outcome {
            Outcome::Holds => {}
            Outcome::WithinTheSpread => {
                global.note(&format!("--fail-on {text}: not breached, because noise explains the difference: {what}"));
            }
            Outcome::Breached => {
                is_breached = true;
                global.complain(&format!("--fail-on {text}: {what}"));
                if condition.metric != Metric::Calls && !diff.is_settled {
                    global.note("this is judged from few recordings: `record --repeat 5` judges times better");
                }
            }
        }
    }
    if is_breached {
        return Ok(1);
    }
    match loaded.sources.iter().find(|source| !source.is_complete) {
        Some(source) if !conditions.is_empty() => {
            Err(anyhow!("{}: the recording is not complete, so --fail-on cannot be decided", source.file))
        }
        _ => Ok(0),
    }
}

impl Loaded {
    /// Reads the recordings of a side.
    fn side(&mut self, paths: &[PathBuf], conditions: &[Condition], global: &Global) -> Result<()> {
        for path in paths {
            let first = repetition(path, 1);
            if path.exists() || path == Path::new("-") || !first.exists() {
                let recording = Recording::open(Some(path), global)?;
                let began = recording.run_info.began;
                if Recording::open(Some(&first), global).is_ok_and(|first| first.run_info.began > began) {
                    let (path, first) = (path.display(), first.display());
                    global.warn("", &[format!("{path} is read, and not {first} and others, which are newer")]);
                }
                self.one(recording, path, conditions, global)?;
                continue;
            }
            let mut began = 0;
            for path in (1..).map(|number| repetition(path, number)).take_while(|path| path.exists()) {
                let recording = Recording::open(Some(&path), global)?;
                if recording.run_info.began < began {
                    let warning =
                        "it is older than the recording before it, and so left by an earlier `record --repeat`";
                    global.warn("", &[format!("{} is not read: {warning}", path.display())]);
                    break;
                }
                began = recording.run_info.began;
                self.one(recording, &path, conditions, global)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, recording: Recording, path: &Path, conditions: &[Condition], global: &Global) -> Result<()> {
        let run_info = recording.run_info.clone();
        let mut pipeline = Pipeline::new(Sinks::none());
        let replayed = recording.replay(&mut pipeline, global);
        let is_complete = replayed.damage.is_none() && replayed.end.ending != RunOutcome::Unknown;
        if let Some(damage) = &replayed.damage {
            global.warn("", &[format!("{}; only what is before is compared", one_line(damage))]);
        }
        let tree = pipeline.tree();
        let duration = pipeline.last().max(replayed.end.duration);
        let mut run = Run::of(&run_info, tree.profile(), tree.accuracy(), duration);
        for (condition, matched) in conditions.iter().zip(&mut self.matched) {
            if let Some(rules) = &condition.rule {
                let (selected, _) = select_recorded(&run_info.labels, rules)?;
                *matched |= !selected.is_empty();
                run.add_sum(tree.profile(), |probe| selected.contains(&probe));
            }
        }
        self.runs.push(run);
        self.sources.push(Source { file: path.display().to_string(), is_complete });
        self.endings.push(replayed.end.ending);
        Ok(())
    }

    /// Warns if the recordings were made in different ways, so that their numbers mean different things.
    fn warn(&self, first_after: usize, global: &Global) {
        let mut warned = BTreeSet::new();
        for (at, (run, source)) in self.runs.iter().zip(&self.sources).enumerate() {
            let (first, from) = (&self.runs[0], &self.sources[0]);
            let mut differ = options_that_differ(&first.run_info, &run.run_info);
            let own_side = if at < first_after { 0 } else { first_after };
            if self.runs[own_side].run_info.hash != run.run_info.hash {
                let first = &self.sources[own_side].file;
                global.warn("", &[format!("{first} and {} are on one side, but of different modules", source.file)]);
            }
            let [one, other] = [&self.endings[0], &self.endings[at]].map(RunOutcome::describe);
            if one != other && ![&self.endings[0], &self.endings[at]].contains(&&RunOutcome::Unknown) {
                differ.push(format!("ending: {one} and {other}"));
            }
            // Each difference once: a side has many recordings.
            differ.retain(|one| warned.insert(one.clone()));
            if !differ.is_empty() {
                let what = differ.join("; ");
                global.warn("", &[format!("{} and {} are hard to compare: {what}", from.file, source.file)]);
            }
        }
    }
}

/// In what the recordings of two runs differ.
fn options_that_differ(one: &RunInfo, other: &RunInfo) -> Vec<String> {
    let (a, b) = (&one.recording, &other.recording);
    let clock = |clock: &str| if clock == SAMPLES { "samples only".to_owned() } else { clock.to_owned() };
    let least = |nanos: u64| if nanos == 0 { "none".to_owned() } else { duration(nanos) };
    let depth = |depth: Option<u32>| depth.map_or("none".to_owned(), |depth| depth.to_string());
    let sampled = |why: &Option<String>| why.clone().map_or("yes".to_owned(), |why| format!("no ({why})"));
    let mut differ = Vec::new();
    let mut both = |what: &str, one: String, other: String| {
        if one != other {
            differ.push(format!("{what}: {one} and {other}"));
        }
    };
    both("clock", clock(&a.clock), clock(&b.clock));
    both("minimum duration", least(a.min_duration), least(b.min_duration));
    both("maximum depth", depth(a.max_depth), depth(b.max_depth));
    both("sampled", sampled(&a.not_sampled), sampled(&b.not_sampled));
    let functions = |run_info: &RunInfo| run_info.labels.keys().copied().collect::<Vec<ProbeId>>();
    if one.hash.is_some() && one.hash == other.hash && a.clock == b.clock {
        let [one, other] = [functions(one), functions(other)];
        if one != other {
            differ.push(format!("selection of the same module: {} and {} functions", one.len(), other.len()));
        }
    }
    differ
}

/// What each condition is about.
fn changes(conditions: &[Condition], diff: &Diff) -> Result<Vec<Change>> {
    let mut sums = diff.sums.iter();
    let change = |condition: &Condition| {
        if condition.metric == Metric::Calls && !diff.has_calls {
            bail!("--fail-on {}: a recording without hooks has no calls", condition.text);
        }
        let values = match condition.rule {
            Some(_) => sums.next().expect("each rule has a sum"),
            None => &diff.all,
        };
        Ok(match condition.metric {
            Metric::Calls => values.calls,
            Metric::Own => values.self_time,
            Metric::Total => values.total,
            Metric::Duration => diff.duration,
        })
    };
    conditions.iter().map(change).collect()
}
