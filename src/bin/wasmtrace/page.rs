//! HTML pages: where they are written, and how they are opened.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasmtrace::export::{FORMATS, Format};

use crate::terminal::Global;

/// The format of pages.
pub(crate) fn format() -> Format {
    FORMATS.into_iter().find(|format| format.name == "html").expect("it is in the table")
}

/// A new file for a page of this program, in the folder for temporary files. It stays there, since a browser reads it.
pub(crate) fn temporary(program: &str) -> Result<PathBuf> {
    let stem: String = program.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(40).collect();
    let prefix = format!("wasmtrace-{stem}-");
    let folder = std::env::temp_dir();
    let file = tempfile::Builder::new().prefix(&prefix).suffix(".html").tempfile_in(&folder);
    let (_, path) =
        file.and_then(|file| file.keep().map_err(|e| e.error)).with_context(|| folder.display().to_string())?;
    Ok(path)
}

/// Asks the system to open a page in the browser, and says where the page is. The system does not say if it did.
pub(crate) fn open(path: &Path, global: &Global) {
    match opener::open(path) {
        Ok(()) => global.note(&format!("opening {} in the browser", path.display())),
        Err(e) => global.warn("", &[format!("no browser could be opened ({e}); the page is {}", path.display())]),
    }
}
