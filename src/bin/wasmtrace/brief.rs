//! Output of `run` as the runner of `cargo test`: one line and a recording. A tree would bury the output of the tests.

use std::io::Write;
use std::path::{Path, PathBuf};

use wasmtrace::export::{RunInfo, Sink, Summary};
use wasmtrace::label::printable;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::recording::Footer;
use wasmtrace::trace::span_builder::Change;

use crate::recorder::{Recorder, create};
use crate::recordings::EXTENSION;
use crate::terminal::{Global, one_line};

/// Whether `cargo test` runs this module: it sets variables for the tests of a package, whose files are in `deps`.
pub(crate) fn is_cargo_test(module: &Path) -> bool {
    let module = module.canonicalize().unwrap_or_else(|_| module.to_owned());
    let folder = module.parent().and_then(Path::file_name);
    std::env::var_os("CARGO_MANIFEST_DIR").is_some() && folder.is_some_and(|folder| folder == "deps")
}

/// A recording next to the module.
pub(crate) struct Recording {
    path: PathBuf,
    recorder: Option<Recorder>,
}

impl Recording {
    /// Begins the recording. If that fails, prints a warning and records nothing.
    pub(crate) fn begin(module: &Path, run_info: &RunInfo, global: &Global) -> Recording {
        let path = module.with_extension(EXTENSION);
        let begun = create(&path).and_then(|file| Ok(Recorder::new(file, run_info)?));
        if let Err(e) = &begun {
            global.warn("", &[format!("there is no recording: {}: {}", path.display(), one_line(e))]);
        }
        Recording { path, recorder: begun.ok() }
    }

    pub(crate) fn batch(&mut self, batch: &Batch) {
        if let Some(recorder) = &mut self.recorder {
            recorder.batch(batch);
        }
    }

    /// Ends the recording. Returns whether it is incomplete.
    pub(crate) fn finish(self, end: Footer, global: &Global) -> bool {
        let Some(recorder) = self.recorder else { return true };
        match recorder.finish(end) {
            Ok(_) => {
                global.note(&format!("  wasmtrace report {}", self.path.display()));
                false
            }
            Err(e) => {
                global.complain(&format!("the recording is incomplete: {}: {e}", self.path.display()));
                true
            }
        }
    }
}

/// Prints one line about a run.
pub(crate) struct Line;

impl Sink for Line {
    fn wants_changes(&self) -> bool {
        false
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> std::io::Result<()> {
        let (calls, functions) = (summary.profile.calls(), summary.profile.functions());
        let duration = wasmtrace::export::duration(summary.duration);
        let (program, ending) = (printable(&run_info.program), summary.ending.describe());
        let line = format!("{program}: {calls} calls of {functions} functions in {duration}, {}", printable(&ending));
        writeln!(anstream::stderr(), "wasmtrace: {line}")
    }
}
