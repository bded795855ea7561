//! Messages on standard error.

use std::cell::Cell;
use std::fmt::Display;
use std::io::Write;

use anyhow::{Result, bail};

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Print more details to standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Do not print warnings and notes
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours; `auto` respects NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Number of warnings so far, printed or not.
    #[arg(skip)]
    warned: Cell<usize>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
const YELLOW: anstyle::Style = anstyle::AnsiColor::Yellow.on_default().bold();

impl Global {
    /// Prints warnings, one per line. Without `--verbose` only the first 20 are shown: a malicious module can cause any number.
    pub(crate) fn warn<W: Display>(&self, context: &str, warnings: &[W]) {
        const FIRST: usize = 20;
        self.warned.set(self.warned.get() + warnings.len());
        if self.quiet {
            return;
        }
        let shown = if self.verbose { warnings.len() } else { warnings.len().min(FIRST) };
        let more = match warnings.len() - shown {
            0 => None,
            more => Some(format!("{more} more warnings; --verbose shows them")),
        };
        let texts = warnings[..shown].iter().map(ToString::to_string).chain(more);
        for warning in texts {
            let warning = format!("{context}{warning}");
            let warning = wasmtrace::label::printable(&warning);
            let _ = writeln!(anstream::stderr(), "wasmtrace: {YELLOW}warning{YELLOW:#}: {warning}");
        }
    }

    /// Fails if there was a warning. The warnings were printed before.
    pub(crate) fn refuse_warnings(&self) -> Result<()> {
        match self.warned.get() {
            0 => Ok(()),
            1 => bail!("there was a warning, and --strict makes it an error"),
            many => bail!("there were {many} warnings, and --strict makes them errors"),
        }
    }

    /// Prints, on one line and even with `--quiet`, a failure that does not fail the command.
    pub(crate) fn complain(&self, text: &str) {
        let text = text.replace('\n', " ");
        let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(&text));
    }

    /// Whether to print neither warnings nor notes.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a note if `--verbose` was given.
    pub(crate) fn say(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Prints a note unless `--quiet` was given.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(text));
        }
    }
}

/// Prints an error on one line.
pub(crate) fn fail(text: &str) {
    let _ = writeln!(anstream::stderr(), "wasmtrace: {RED}error{RED:#}: {text}");
}

/// An error with its causes on one line, made safe for a terminal: messages may quote names from a module.
pub(crate) fn one_line(e: &anyhow::Error) -> String {
    let causes: Vec<String> = e.chain().map(ToString::to_string).collect();
    wasmtrace::label::printable(&causes.join(": ").replace('\n', " ")).into_owned()
}

pub(crate) fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().filter_map(|c| c.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
