//! `wasmtrace run --twice`: measures times in a run without hooks and counts calls in a run with hooks.

use anyhow::{Result, bail};
use wasmtrace::export::{Destination, RunInfo};
use wasmtrace::hook::ProbeId;
use wasmtrace::runtime::RunResult;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::{Batch, Mark, MarkKind, Place, Sample};
use wasmtrace::trace::lines::Lines;

use crate::ending::{leave, show};
use crate::file_sinks::{self, FileSink};
use crate::guest::{Guest, Times};
use crate::guest_args::GuestArgs;
use crate::sending;
use crate::sinks::{Pipeline, Sinks};
use crate::stdin;
use crate::table_args::TableArgs;
use crate::terminal::Global;

pub(crate) fn run(
    args: &GuestArgs,
    sinks: &[Destination],
    table: &TableArgs,
    require_export: bool,
    global: &Global,
) -> Result<u8> {
    args.refuse_of_two()?;
    if wasmtrace::component::is_component(&crate::files::read(Some(args.module()))?) {
        bail!("--twice is not available for components");
    }
    let default = [Destination::Tree];
    let destinations = if sinks.is_empty() { &default[..] } else { sinks };
    if !sending::targets(destinations, global).is_empty() {
        bail!("--twice does not measure single calls, so it cannot send spans: use --sink tree or --sink folded:FILE");
    }
    // Checked before any file is created.
    let needs_spans =
        |destination: &Destination| matches!(destination, Destination::File(format, _) if format.has_spans);
    if destinations.iter().any(needs_spans) {
        bail!(
            "--twice measures how long functions take but not when they are called: use --sink tree, or one of the formats \
             pprof, callgrind, folded"
        );
    }
    let mut sinks = Sinks::open(destinations, table);
    let files = file_sinks::create(destinations, args.module())?;
    for file in &files {
        sinks.add(&file.name(), file.sink()?);
    }
    // Both runs read the same input.
    let input = stdin::read("--twice")?;

    let mut plain = Guest::prepare(&args.for_one_of_two(false), false, global)?;
    let mut hooked = Guest::prepare(&args.for_one_of_two(true), false, global)?;
    plain.give(input.clone(), false);
    hooked.give(input, true);
    let ids = Ids::of(&plain, &hooked)?;

    let mut pipeline = Pipeline::counting(sinks);
    let timed = plain
        .run(Times::OfSamples, |_, batch| pipeline.batch(&hooked.run_info, &ids.batch(batch, &hooked.run_info)))?;
    show(&timed, pipeline.sinks().shows_ending, global);
    if let Some(signal) = plain.interrupted() {
        global.warn("", &["interrupted: the second run is skipped, and there is no tree".to_owned()]);
        let ending = RunOutcome::Interrupted(signal);
        return Ok(leave(&RunResult { ending, ..timed }, false));
    }
    let mut words = Batch::default();
    let counted = hooked.run(Times::OfSamples, |run_info, batch| {
        words.clear();
        words.words.extend_from_slice(&batch.words);
        let is_event = |mark: &&Mark| matches!(mark.kind, MarkKind::Event(_));
        words.marks.extend(batch.marks.iter().filter(is_event).cloned());
        pipeline.batch(run_info, &words);
    })?;
    if counted.ending != timed.ending {
        let endings = [&timed.ending, &counted.ending].map(|ending| ending.describe());
        global.warn(
            "",
            &[format!("the two runs ended differently: {} without hooks, {} with hooks", endings[0], endings[1])],
        );
    }
    hooked.run_info.recording.not_sampled.clone_from(&timed.not_sampled);
    pipeline.lost(timed.samples_lost);
    pipeline.finish(&hooked.run_info, &timed.ending, timed.duration, &Lines::default());
    let failed = pipeline.sinks().report();
    if !failed {
        files.into_iter().try_for_each(FileSink::keep)?;
    }
    Ok(leave(&timed, failed && require_export))
}

/// Translates function indices of the module without hooks to those of the hooked module.
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

    /// The samples of a batch, with the functions of their call paths translated; functions that are not hooked are omitted.
    fn batch(&self, batch: &Batch, run_info: &RunInfo) -> Batch {
        let kind = |kind: &MarkKind| match kind {
            MarkKind::Sample(sample) => {
                let place = match sample.place {
                    Place::Function { id, offset } => Place::Function { id: self.id(id), offset },
                    place => place,
                };
                let path = sample.path.iter().flatten().map(|id| self.id(*id));
                let path = path.filter(|id| run_info.labels.contains_key(id)).collect();
                MarkKind::Sample(Sample { place, path: Some(path), ..*sample })
            }
            kind => kind.clone(),
        };
        let marks = batch.marks.iter().map(|mark| Mark { at: 0, kind: kind(&mark.kind) });
        Batch { words: Vec::new(), marks: marks.collect() }
    }
}
