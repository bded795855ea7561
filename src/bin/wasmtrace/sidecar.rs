//! Sidecar files of a module: which ones are read, and the names of those written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasmtrace::links::{DEBUG_FILE, SOURCE_MAP, is_hooked_by_us, named_in};
use wasmtrace::sidecar::{SidecarFile, SidecarFiles, file_of_url, is_data, url_of_file};

use crate::files;
use crate::terminal::Global;

/// `--source-map` and `--debug-file`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SidecarArgs {
    /// Source map of the module [default: the local file that its `sourceMappingURL` section names]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    source_map: Option<PathBuf>,
    /// Module with the separated debug information and names [default: the local file that its `external_debug_info`
    /// section names]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    debug_file: Option<PathBuf>,
}

const HEADING: &str = "Sidecar files";

/// The sidecar files of an input.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) sidecar: SidecarFiles,
    source_map: Option<PathBuf>,
    debug_file: Option<PathBuf>,
    /// Warnings about links to files that were not found.
    missing: Vec<String>,
}

impl SidecarArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.source_map.is_some() || self.debug_file.is_some()
    }

    /// Reads the given files, otherwise those that the module names. For a hooked module, only given files are read: its
    /// Manifest contains its labels.
    ///
    /// # Errors
    /// If a given file cannot be read.
    pub(crate) fn find(&self, input: Option<&Path>, wasm: &[u8], global: &Global) -> Result<Found> {
        let mut found = Found::default();
        let mut missing = Vec::new();
        let mut named = |section, what: &str, option: &str| {
            let url = named_in(wasm, section).filter(|url| !is_hooked_by_us(wasm) && !is_data(url))?;
            let path = beside(input, url);
            if path.is_none() {
                let url = short(url);
                missing.push(format!(
                    "the {what} {url} is not available: labels lack what it says; give it with {option}"
                ));
            }
            path
        };
        if let Some(path) = &self.source_map {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            found.sidecar.source_map = Some(SidecarFile { bytes, ..Default::default() });
            found.source_map = Some(path.clone());
        } else if let Some(path) = named(SOURCE_MAP, "source map", "--source-map") {
            match std::fs::read(&path) {
                Ok(bytes) => {
                    global.say(&format!("reading the source map {}, which the module names", path.display()));
                    found.sidecar.source_map = Some(SidecarFile { bytes, ..Default::default() });
                    found.source_map = Some(path);
                }
                Err(e) => global.warn("", &[format!("{}: {e}", path.display())]),
            }
        }
        if let Some(path) = &self.debug_file {
            let bytes = files::read(Some(path))?;
            found.sidecar.debug_file = Some(SidecarFile { bytes, ..Default::default() });
            found.debug_file = Some(path.clone());
        } else if let Some(path) = named(DEBUG_FILE, "debug file", "--debug-file") {
            match std::fs::read(&path) {
                Ok(bytes) => {
                    global.note(&format!("reading debug information from {}, which the module names", path.display()));
                    found.sidecar.debug_file = Some(SidecarFile { bytes, if_it_fits: true, ..Default::default() });
                    found.debug_file = Some(path);
                }
                Err(e) => global.warn("", &[format!("{}: {e}", path.display())]),
            }
        }
        found.missing = missing;
        Ok(found)
    }

    /// Like [`SidecarArgs::find`], and warns about files that a module links to and that are not there. `instrument` has
    /// warnings of its own for these.
    pub(crate) fn find_for_labels(&self, input: Option<&Path>, wasm: &[u8], global: &Global) -> Result<SidecarFiles> {
        let found = self.find(input, wasm, global)?;
        global.warn("", &found.missing);
        Ok(found.sidecar)
    }
}

/// The regular file that a URL names relative to the input, otherwise the file next to the input with the last name in the
/// URL: links often lead to where the module was built. `None` for anything else: reading a pipe might never end.
fn beside(input: Option<&Path>, url: &str) -> Option<PathBuf> {
    let folder = input.filter(|input| *input != Path::new("-"))?.parent()?;
    let named = file_of_url(url).map(|file| folder.join(file)).filter(|path| path.is_file());
    let last = || {
        let path = url.split(['?', '#']).next()?;
        let name = file_of_url(path.rsplit(['/', '\\']).next()?)?;
        Some(folder.join(name)).filter(|path| path.is_file())
    };
    named.or_else(last)
}

/// The first 80 characters of a URL: a `data:` URL may hold a whole file.
pub(crate) fn short(url: &str) -> String {
    let short: String = url.chars().take(80).collect();
    if short.len() < url.len() { short + "…" } else { short }
}

/// Paths of the sidecar files of an output.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) source_map: Option<PathBuf>,
    pub(crate) debug_file: Option<PathBuf>,
}

impl Found {
    /// Names the sidecar files after the output, with another extension. None are written if the output is not a file.
    pub(crate) fn name_after(&mut self, output: Option<&Path>) -> Places {
        let mut places = Places::default();
        let output = output.filter(|path| *path != Path::new("-") && !files::is_device(path));
        let Some(output) = output else { return places };
        let place = |companion: &mut Option<SidecarFile>, read: &Option<PathBuf>, ending: &str| {
            let path = new_path(output, ending, read.as_deref());
            companion.as_mut()?.new_url = Some(url_of_file(path.file_name()?.to_str()?));
            Some(path)
        };
        places.source_map = place(&mut self.sidecar.source_map, &self.source_map, "map");
        places.debug_file = place(&mut self.sidecar.debug_file, &self.debug_file, "debug.wasm");
        places
    }
}

/// A path next to the output that differs from the file that was read. The input file is never overwritten: `strip` restores
/// the module but not its sidecar files.
fn new_path(output: &Path, ending: &str, read: Option<&Path>) -> PathBuf {
    let path = output.with_added_extension(ending);
    let same = read.is_some_and(|read| match (path.canonicalize(), read.canonicalize()) {
        (Ok(path), Ok(read)) => path == read,
        _ => false,
    });
    if same { output.with_added_extension("hooked").with_added_extension(ending) } else { path }
}
