//! `wasmtrace run --twice`: times from a run without hooks, counts from one with hooks.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail};
use wasmtrace::export::{Destination, RunInfo};
use wasmtrace::hook::ProbeId;
use wasmtrace::runtime::RunResult;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::{Batch, Mark, MarkKind, Place, Sample};

use crate::ending::{leave, show};
use crate::guest::{Guest, Times};
use crate::guest_args::GuestArgs;
use crate::sending;
use crate::sinks::{Pipeline, Sinks};
use crate::terminal::Global;

/// More than this of standard input is not kept for the second run.
const MOST_INPUT: u64 = 256 << 20;

pub(crate) fn run(
    args: &GuestArgs,
    sinks: &[Destination],
    min_share: f64,
    require_export: bool,
    global: &Global,
) -> Result<u8> {
    args.refuse_of_two()?;
    let default = [Destination::Tree];
    let destinations = if sinks.is_empty() { &default[..] } else { sinks };
    if !sending::targets(destinations, global).is_empty() {
        bail!("--twice has no times of single calls, so no spans can be sent");
    }
    // Before a file is made.
    let needs_spans =
        |destination: &Destination| matches!(destination, Destination::File(format, _) if format.needs_spans);
    if destinations.iter().any(needs_spans) {
        bail!(
            "--twice knows how long functions take, and not when they were called: only tree and folded can show that"
        );
    }
    let sinks = Sinks::open(destinations, min_share)?;
    // Both runs are to read the same.
    let stdin = std::io::stdin();
    let mut input = None;
    if !stdin.is_terminal() {
        let mut bounded = stdin.lock().take(MOST_INPUT + 1);
        let read = bounded.read_to_end(input.insert(Vec::new())).context("standard input")?;
        if read as u64 > MOST_INPUT {
            bail!("--twice reads standard input to its end first, and it is longer than {} MB", MOST_INPUT >> 20);
        }
    }

    let mut plain = Guest::prepare(&args.for_one_of_two(false), false, global)?;
    let mut hooked = Guest::prepare(&args.for_one_of_two(true), false, global)?;
    plain.give(input.clone(), false);
    hooked.give(input, true);
    let ids = Ids::of(&plain, &hooked)?;

    let mut pipeline = Pipeline::counting(sinks);
    let timed =
        plain.run(Times::OfSamples, |_, batch| pipeline.batch(&hooked.subject, &ids.batch(batch, &hooked.subject)))?;
    show(&timed, pipeline.sinks().shows_ending, global);
    if let Some(signal) = plain.interrupted() {
        global.warn("", &["interrupted: there is no second run, and no tree".to_owned()]);
        let ending = RunOutcome::Interrupted(signal);
        return Ok(leave(&RunResult { ending, ..timed }, false));
    }
    let mut words = Batch::default();
    let counted = hooked.run(Times::OfSamples, |subject, batch| {
        words.clear();
        words.words.extend_from_slice(&batch.words);
        let is_event = |mark: &&Mark| matches!(mark.kind, MarkKind::Event(_));
        words.marks.extend(batch.marks.iter().filter(is_event).cloned());
        pipeline.batch(subject, &words);
    })?;
    if counted.ending != timed.ending {
        let endings = [&timed.ending, &counted.ending].map(|ending| ending.describe());
        global.warn(
            "",
            &[format!("the two runs ended differently, without hooks and with: {}; {}", endings[0], endings[1])],
        );
    }
    hooked.subject.recording.not_sampled.clone_from(&timed.not_sampled);
    pipeline.lost(timed.samples_lost);
    pipeline.finish(&hooked.subject, &timed.ending, timed.duration);
    let failed = pipeline.sinks().report();
    Ok(leave(&timed, failed && require_export))
}

/// What functions of a module are called in that module with hooks.
struct Ids {
    imported: u32,
    added: u32,
}

impl Ids {
    fn of(plain: &Guest, hooked: &Guest) -> Result<Ids> {
        let (imported, _) = plain.functions()?;
        let (with_hooks, _) = hooked.functions()?;
        Ok(Ids { imported, added: with_hooks.saturating_sub(imported) })
    }

    fn id(&self, id: ProbeId) -> ProbeId {
        if id.0 < self.imported { id } else { ProbeId(id.0 + self.added) }
    }

    /// The samples of a batch, on paths of hooked functions.
    fn batch(&self, batch: &Batch, subject: &RunInfo) -> Batch {
        let kind = |kind: &MarkKind| match kind {
            MarkKind::Sample(sample) => {
                let place = match sample.place {
                    Place::Function { id, offset } => Place::Function { id: self.id(id), offset },
                    place => place,
                };
                let path = sample.path.iter().flatten().map(|id| self.id(*id));
                let path = path.filter(|id| subject.labels.contains_key(id)).collect();
                MarkKind::Sample(Sample { place, path: Some(path), ..*sample })
            }
            kind => kind.clone(),
        };
        let marks = batch.marks.iter().map(|mark| Mark { at: 0, kind: kind(&mark.kind) });
        Batch { words: Vec::new(), marks: marks.collect() }
    }
}
