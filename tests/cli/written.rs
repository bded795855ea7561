//! Recordings that tests write, with times that they choose.

use std::fs::File;
use std::path::Path;

use wasmtrace::export::{Recording, RunInfo};
use wasmtrace::hook::ProbeId;
use wasmtrace::label::{Label, Source};
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::recording::{Footer, Writer};
use wasmtrace::trace::{Event, EventKind, Manual, RunOutcome};

/// A recording. Each call is a path `outer/inner` with its own time in nanoseconds; `«load»` is a manual span, `!f` a second
/// function `f`. Functions of `app` have a source file.
pub(crate) struct Written<'w> {
    pub(crate) recording: Recording,
    pub(crate) hash: Option<[u8; 32]>,
    pub(crate) began: u64,
    pub(crate) calls: &'w [(&'w str, u64)],
}

impl<'w> Written<'w> {
    pub(crate) fn of(calls: &'w [(&'w str, u64)]) -> Self {
        Written { recording: Recording::default(), hash: Some([7; 32]), began: 0, calls }
    }

    pub(crate) fn write(&self, path: &Path) {
        let Written { recording, hash, began, calls } = self;
        let mut names: Vec<&str> = calls.iter().flat_map(|(path, _)| path.split('/')).collect();
        names.sort_unstable();
        names.dedup();
        let id = |name: &str| ProbeId(names.iter().position(|known| *known == name).unwrap() as u32);
        let label = |name: &str| Label {
            name: name.trim_start_matches('!').to_owned().into(),
            file: name.starts_with("app").then(|| "src/app.rs".into()),
            line: name.starts_with("app").then_some(7),
            source: Source::NameSection,
            index: None,
            language: None,
        };
        let labels = names.iter().filter(|name| !name.starts_with('«')).map(|name| (id(name), label(name))).collect();
        let (recording, hash, began) = (recording.clone(), *hash, *began);
        let run_info = RunInfo { program: "app.wasm".to_owned(), hash, began, labels, recording, ..RunInfo::default() };
        let (mut batch, mut at) = (Batch::default(), 0);
        for (path, nanos) in *calls {
            let enter = |name: &str| match name.strip_prefix('«') {
                Some(name) => EventKind::Manual(Box::new(Manual::SpanEnter(name.trim_end_matches('»').to_owned()))),
                None => EventKind::Enter(id(name)),
            };
            let exit = |name: &str| match name.starts_with('«') {
                true => EventKind::Manual(Box::new(Manual::SpanExit)),
                false => EventKind::Exit(id(name)),
            };
            path.split('/').for_each(|name| batch.event(Event { at, kind: enter(name) }));
            at += nanos;
            path.rsplit('/').for_each(|name| batch.event(Event { at, kind: exit(name) }));
        }
        let mut writer = Writer::new(File::create(path).unwrap(), &run_info.header()).unwrap();
        writer.batch(&batch).unwrap();
        writer.finish(&Footer { ending: RunOutcome::Returned, duration: at }).unwrap();
    }
}
