//! What goes to standard error, and how it looks.

use std::fmt::Display;
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Leave warnings out
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours (NO_COLOR is respected)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
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
    /// Prints warnings, one a line: a module that means harm can bring about any number of them, so without `--verbose` the first
    /// are shown, and how many there are more.
    pub(crate) fn warn<W: Display>(&self, context: &str, warnings: &[W]) {
        const FIRST: usize = 20;
        if self.quiet {
            return;
        }
        let shown = if self.verbose { warnings.len() } else { warnings.len().min(FIRST) };
        let more = match warnings.len() - shown {
            0 => None,
            more => Some(format!("{more} more warnings: --verbose shows them")),
        };
        let texts = warnings[..shown].iter().map(ToString::to_string).chain(more);
        for warning in texts {
            let warning = format!("{context}{warning}");
            let warning = wasmtrace::label::printable(&warning);
            let _ = writeln!(anstream::stderr(), "wasmtrace: {YELLOW}warning{YELLOW:#}: {warning}");
        }
    }

    /// Prints what did not work and is no error of the command: on one line, whatever was asked for.
    pub(crate) fn complain(&self, text: &str) {
        let text = text.replace('\n', " ");
        let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(&text));
    }

    /// Prints what was asked for by `--verbose`.
    pub(crate) fn say(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Prints what is good to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(text));
        }
    }
}

/// Prints an error, which is one line.
pub(crate) fn fail(text: &str) {
    let _ = writeln!(anstream::stderr(), "wasmtrace: {RED}error{RED:#}: {text}");
}

/// An error with its causes, made safe for a terminal: messages may quote names from a module.
pub(crate) fn one_line(e: &anyhow::Error) -> String {
    let causes: Vec<String> = e.chain().map(ToString::to_string).collect();
    wasmtrace::label::printable(&causes.join(": ").replace('\n', " ")).into_owned()
}

pub(crate) fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().filter_map(|c| c.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
