//! Reading modules and writing them: `-` and standard input, `.wat`, whole files or none.

use std::borrow::Cow;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmtrace::label::printable;

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
        return out.write_all(bytes).and_then(|()| out.flush()).context("standard output");
    };
    // A device or a pipe is written to, not replaced; `/dev/stdout` is one even where it leads to a file.
    if path.metadata().is_ok_and(|m| !m.is_file()) || path.starts_with("/dev") || path.starts_with("/proc") {
        return std::fs::write(path, bytes).with_context(|| path.display().to_string());
    }
    // What a link leads to is replaced, not the link.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wasmtrace");
    #[cfg(unix)]
    {
        // What an ordinary new file would get (the umask applies), or what the old one has.
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().map_or(0o666, |m| m.permissions().mode() & 0o777);
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    let write = || -> std::io::Result<()> {
        let mut file = builder.tempfile_in(folder).map_err(without_path)?;
        file.write_all(bytes)?;
        file.persist(&place).map_err(|e| e.error)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}

/// The cause alone: the path of a temporary file says nothing to anybody.
fn without_path(e: std::io::Error) -> std::io::Error {
    let message = e.to_string();
    std::io::Error::new(e.kind(), message.split(" at path ").next().unwrap_or_default())
}

/// A JSON value as text, with a line end. JSON lets characters stand that a terminal obeys (U+009B, marks that reorder
/// text); they are written as escapes, which mean the same.
pub(crate) fn json_text(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for c in format!("{value:#}\n").chars() {
        // A line end is the layout's: in a string it is an escape already.
        if c == '\n' || matches!(printable(c.encode_utf8(&mut [0; 4])), Cow::Borrowed(_)) {
            text.push(c);
        } else {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Prints a JSON value to standard output.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    write(None, json_text(value).as_bytes())
}
