//! The command line: what was typed → what the library does.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | it worked |
//! | 1 | the operation failed; there is no output file |
//! | 2 | the command line cannot be read |
//! | `run`, `record`: 0 to 255 | the guest's own |
//! | `run`, `record`: 125 | a failure of ours, bad input included |
//! | `run`, `record`: 134 | the guest trapped |
//! | `run`, `record`: 130, 143 | SIGINT, SIGTERM |

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod companions;
mod completions;
mod convert;
mod env;
mod files;
mod guest;
mod hooking;
mod info;
mod instrument;
mod lines;
mod ls;
mod memory;
mod push;
mod record;
mod recordings;
mod report;
mod run;
mod select;
mod sending;
mod shipment;
mod sinks;
mod strip;
mod twice;
mod underway;
mod variables;
mod verify;

/// Hooks every function of any .wasm, runs it, and shows where the work went.
#[derive(Debug, Parser)]
#[command(name = "wasmtrace", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Say more on standard error
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Leave warnings out
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to use colours (NO_COLOR is respected)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Record(record::Args),
    Report(report::Args),
    Convert(convert::Args),
    Push(push::Args),
    Instrument(instrument::Args),
    Ls(ls::Args),
    Info(info::Args),
    Verify(verify::Args),
    Strip(strip::Args),
    Env(env::Args),
    Completions(completions::Args),
    /// Print the manual page
    Man,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.global.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    let runs_guests = matches!(cli.command, Command::Run(_) | Command::Record(_));
    let failure = if runs_guests { 125 } else { 1 };
    if !runs_guests {
        memory::give_back();
    }
    let done = match cli.command {
        Command::Run(args) => run::run(args, &cli.global),
        Command::Record(args) => record::run(args, &cli.global),
        Command::Report(args) => report::run(&args, &cli.global),
        Command::Convert(args) => convert::run(&args, &cli.global),
        Command::Push(args) => push::run(&args, &cli.global),
        Command::Instrument(args) => instrument::run(&args, &cli.global),
        Command::Ls(args) => ls::run(&args, &cli.global),
        Command::Info(args) => info::run(&args, &cli.global),
        Command::Verify(args) => verify::run(&args, &cli.global),
        Command::Strip(args) => strip::run(&args, &cli.global),
        Command::Env(args) => env::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man => man(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            fail(&one_line(&e));
            ExitCode::from(failure)
        }
    }
}

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
const YELLOW: anstyle::Style = anstyle::AnsiColor::Yellow.on_default().bold();

impl Global {
    /// Prints warnings, one a line: a module that means harm can bring about any number of them, so without `--verbose` the first
    /// are shown, and how many there are more.
    fn warn(&self, context: &str, warnings: &[String]) {
        const FIRST: usize = 20;
        if self.quiet {
            return;
        }
        let shown = if self.verbose { warnings.len() } else { warnings.len().min(FIRST) };
        let more = match warnings.len() - shown {
            0 => None,
            more => Some(format!("{more} more warnings: --verbose shows them")),
        };
        for warning in warnings[..shown].iter().chain(&more) {
            let warning = format!("{context}{warning}");
            let warning = wasmtrace::label::printable(&warning);
            let _ = writeln!(anstream::stderr(), "wasmtrace: {YELLOW}warning{YELLOW:#}: {warning}");
        }
    }

    /// Prints what did not work and is no error of the command: on one line, whatever was asked for.
    fn complain(&self, text: &str) {
        let text = text.replace('\n', " ");
        let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(&text));
    }

    /// Prints what was asked for by `--verbose`.
    fn say(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Prints what is good to know.
    fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "wasmtrace: {}", wasmtrace::label::printable(text));
        }
    }
}

/// Prints an error, which is one line.
fn fail(text: &str) {
    let _ = writeln!(anstream::stderr(), "wasmtrace: {RED}error{RED:#}: {text}");
}

/// An error with its causes, made safe for a terminal: messages may quote names from a module.
fn one_line(e: &anyhow::Error) -> String {
    let causes: Vec<String> = e.chain().map(ToString::to_string).collect();
    wasmtrace::label::printable(&causes.join(": ").replace('\n', " ")).into_owned()
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().filter_map(|c| c.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn man() -> anyhow::Result<u8> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(0)
}
