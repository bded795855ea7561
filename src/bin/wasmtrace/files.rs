//! Reading modules and writing them: `-` and standard input, `.wat`, whole files or none.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Reads a module from a file, or from standard input for `-` and for no path. Text (`.wat`) is encoded.
///
/// # Errors
/// With the path as context, if it cannot be read or the text is not a module.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<u8>> {
    let path = path.filter(|p| *p != Path::new("-"));
    let bytes = match path {
        Some(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
        None => {
            if std::io::stdin().is_terminal() {
                bail!("no input: give a file, or pipe a module into standard input");
            }
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
            bytes
        }
    };
    let is_text = path.is_some_and(|p| p.extension().is_some_and(|e| e == "wat" || e == "wast"))
        || (path.is_none() && looks_like_text(&bytes));
    if !is_text || bytes.starts_with(b"\0asm") {
        return Ok(bytes);
    }
    let text = std::str::from_utf8(&bytes).with_context(|| name(path))?;
    // The parser's message is a picture of several lines; one line with the place is what is wanted here.
    wat::parse_str(text).map_err(|e| {
        let e = e.to_string();
        let mut lines = e.lines();
        let message = lines.next().unwrap_or_default();
        let place = lines.find_map(|l| l.trim().strip_prefix("--> ")).unwrap_or_default();
        let place = place.trim_start_matches("<anon>:");
        anyhow::anyhow!("{}:{place}: {message}", name(path))
    })
}

/// A module in text form begins with a parenthesis, behind white space and comments.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.iter().find(|b| !b.is_ascii_whitespace());
    matches!(start, Some(b'(' | b';'))
}

/// What an input is called in messages.
pub(crate) fn name(path: Option<&Path>) -> String {
    match path.filter(|p| *p != Path::new("-")) {
        Some(path) => path.display().to_string(),
        None => "standard input".to_owned(),
    }
}

/// Writes bytes to a file, or to standard output for `-` and for no path. A file appears whole or not at all.
///
/// # Errors
/// If standard output is a terminal and the bytes are no text; if writing fails.
pub(crate) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    let Some(path) = path.filter(|p| *p != Path::new("-")) else {
        let mut out = std::io::stdout();
        if out.is_terminal() && bytes.starts_with(b"\0asm") {
            bail!("refusing to write a binary to the terminal: give -o FILE, or -t for text");
        }
        out.write_all(bytes)?;
        return Ok(out.flush()?);
    };
    // A device or a pipe is written to, not replaced.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).with_context(|| path.display().to_string());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".wasmtrace").tempfile_in(folder)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        {
            // What an ordinary new file would get, or what the old one had.
            use std::os::unix::fs::PermissionsExt;
            let mode = path.metadata().map_or(0o644, |m| m.permissions().mode() & 0o777);
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}

/// Prints a JSON value to standard output, with a line end.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}
