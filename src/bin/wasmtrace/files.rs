//! Reading and writing modules: `-` and standard input, `.wat`, outputs that appear complete or not at all.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::NamedTempFile;
use wasmtrace::export::json_text;

/// Reads a module from a file, or from standard input if the path is `-` or missing. Text (`.wat`) is encoded to binary.
///
/// # Errors
/// If the file cannot be read or the text is not a module; the path is the context.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<u8>> {
    let path = path.filter(|p| *p != Path::new("-"));
    let bytes = match path {
        Some(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
        None => {
            if std::io::stdin().is_terminal() {
                bail!("no input: give a file, or pipe a module to standard input");
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
    // The parser's message shows the source over several lines; errors here are one line with the position.
    wat::parse_str(text).map_err(|e| {
        let e = e.to_string();
        let mut lines = e.lines();
        let message = lines.next().unwrap_or_default();
        let place = lines.find_map(|l| l.trim().strip_prefix("--> ")).unwrap_or_default();
        let place = place.trim_start_matches("<anon>:");
        anyhow::anyhow!("{}:{place}: {message}", name(path))
    })
}

/// Whether `bytes` look like a module in text form: after white space, text begins with `(` or with a `;;` comment.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.iter().find(|b| !b.is_ascii_whitespace());
    matches!(start, Some(b'(' | b';'))
}

/// The name of an input in messages.
pub(crate) fn name(path: Option<&Path>) -> String {
    match path.filter(|p| *p != Path::new("-")) {
        Some(path) => path.display().to_string(),
        None => "standard input".to_owned(),
    }
}

/// Writes bytes to a file, or to standard output if the path is `-` or missing. A file appears complete or not at all.
///
/// # Errors
/// If standard output is a terminal and the bytes are binary, or if writing fails.
pub(crate) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    let output = Output::create(path)?;
    output.write(bytes.starts_with(b"\0asm"), |out| out.write_all(bytes))?;
    output.keep()
}

/// An output: a file that appears when it is complete, a device, a pipe, or standard output.
pub(crate) struct Output {
    path: PathBuf,
    place: Place,
}

enum Place {
    Stdout,
    /// A device or a pipe, which is written to and not replaced.
    Device(File),
    /// A temporary file in the same directory, and the path it is renamed to.
    File(NamedTempFile, PathBuf),
}

impl Output {
    /// Opens an output. The path `-` and `None` are standard output.
    pub(crate) fn create(path: Option<&Path>) -> Result<Output> {
        let Some(path) = path.filter(|p| *p != Path::new("-")) else {
            return Ok(Output { path: PathBuf::new(), place: Place::Stdout });
        };
        let place = place(path).with_context(|| path.display().to_string())?;
        Ok(Output { path: path.to_owned(), place })
    }

    /// The name of the output in messages.
    pub(crate) fn name(&self) -> String {
        match self.place {
            Place::Stdout => "standard output".to_owned(),
            _ => self.path.display().to_string(),
        }
    }

    /// Whether this is standard output and a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.place, Place::Stdout) && std::io::stdout().is_terminal()
    }

    /// Calls `write` with a writer to this output.
    ///
    /// # Errors
    /// If the output is a terminal and the contents are binary, or if writing fails.
    pub(crate) fn write(
        &self,
        is_binary: bool,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        if self.is_terminal() && is_binary {
            bail!("refusing to write binary data to a terminal: give -o FILE, or -t for text");
        }
        let mut out = self.writer()?;
        write(&mut out).and_then(|()| out.flush()).with_context(|| self.name())
    }

    pub(crate) fn writer(&self) -> Result<Box<dyn Write>> {
        let file = match &self.place {
            Place::Stdout => return Ok(Box::new(std::io::stdout())),
            Place::Device(file) => file,
            Place::File(file, _) => file.as_file(),
        };
        Ok(Box::new(file.try_clone().with_context(|| self.name())?))
    }

    /// Completes the output: a file appears under its path.
    pub(crate) fn keep(self) -> Result<()> {
        let name = self.name();
        if let Place::File(file, path) = self.place {
            file.persist(path).map_err(|e| e.error).context(name)?;
        }
        Ok(())
    }
}

fn place(path: &Path) -> std::io::Result<Place> {
    // `/dev/stdout` is treated as a device even if it is redirected to a file.
    if is_device(path) {
        // As a shell's `>` does.
        return Ok(Place::Device(File::create(path)?));
    }
    // The target of a symbolic link is replaced, not the link.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wasmtrace");
    #[cfg(unix)]
    {
        // The mode of the existing file, or that of an ordinary new file (the umask applies).
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().map_or(0o666, |m| m.permissions().mode() & 0o777);
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    Ok(Place::File(builder.tempfile_in(folder).map_err(without_path)?, place))
}

/// Whether the path is a device or a pipe, or is in `/dev` or `/proc`.
pub(crate) fn is_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| !m.is_file()) || path.starts_with("/dev") || path.starts_with("/proc")
}

/// Whether two paths lead to one file, or to standard output.
pub(crate) fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        // One does not exist yet.
        _ => std::path::absolute(a).ok() == std::path::absolute(b).ok(),
    }
}

/// Removes the temporary file's path from an error: the user did not choose it.
fn without_path(e: std::io::Error) -> std::io::Error {
    let message = e.to_string();
    std::io::Error::new(e.kind(), message.split(" at path ").next().unwrap_or_default())
}

/// Prints a JSON value to standard output.
pub(crate) fn print_json(value: &Value) -> Result<()> {
    write(None, json_text(value).as_bytes())
}

/// Prints a JSON object to standard output and streams the rows of one long `list` in it. As values in memory, the rows of
/// a million functions take 1 GB.
pub(crate) fn print_json_rows(mut object: Value, list: &str, rows: impl Iterator<Item = Value>) -> Result<()> {
    object[list] = Value::Array(Vec::new());
    let text = json_text(&object);
    // This text is unique: quotes within a JSON string are escaped.
    let place = format!("\"{list}\": [");
    let (before, after) = text.split_once(&format!("{place}]")).expect("it was just put there");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let print = || -> std::io::Result<()> {
        write!(out, "{before}{place}")?;
        let mut some = false;
        for row in rows {
            let row = json_text(&row).trim_end().replace('\n', "\n    ");
            write!(out, "{}\n    {row}", if some { "," } else { "" })?;
            some = true;
        }
        write!(out, "{}]{after}", if some { "\n  " } else { "" })?;
        out.flush()
    };
    print().context("standard output")
}
