//! The command line: one module for each subcommand, which turns arguments into calls of the library.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | the operation failed; no output file was written |
//! | 2 | the command line is invalid |
//! | `diff`: 0 | no expression of `--fail-on` was breached |
//! | `diff`: 1 | at least one was breached |
//! | `diff`: 2 | any error, so that a failed comparison is not taken for a breach |
//! | `run`, `record`: 0 to 255 | the exit code of the guest |
//! | `run`, `record`: 125 | wasmtrace failed, or its input is invalid |
//! | `run`, `record`: 134 | the guest trapped |
//! | `run`, `record`: 130, 143 | SIGINT, SIGTERM |

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod checked;
mod completions;
mod convert;
mod counted;
mod diff;
mod diff_json;
mod diff_table;
mod extract;
mod fail_on;
mod file_sinks;
mod files;
mod info;
mod instrument;
mod lines;
mod ls;
mod memory;
mod page;
mod progress;
#[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use the rest"))]
mod recorder;
mod recordings;
mod report;
mod select;
mod sidecar;
#[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use the rest"))]
mod sinks;
mod strip;
mod table_args;
#[cfg_attr(not(feature = "full"), allow(dead_code, reason = "only subcommands that run programs use the rest"))]
mod terminal;
mod verify;

// Modules that need the engine or the network.
#[cfg(feature = "full")]
mod brief;
#[cfg(feature = "full")]
mod ending;
#[cfg(feature = "full")]
mod env;
#[cfg(feature = "full")]
mod export_job;
#[cfg(feature = "full")]
mod guest;
#[cfg(feature = "full")]
mod guest_args;
#[cfg(feature = "full")]
mod hooked_modules;
#[cfg(feature = "full")]
mod hooking;
#[cfg(feature = "full")]
mod incremental;
#[cfg(feature = "full")]
mod push;
#[cfg(feature = "full")]
mod record;
#[cfg(feature = "full")]
mod repeat;
#[cfg(feature = "full")]
mod run;
#[cfg(feature = "full")]
mod sending;
#[cfg(feature = "full")]
mod stdin;
#[cfg(feature = "full")]
mod twice;
#[cfg(feature = "full")]
mod variables;

use terminal::{Color, Global, fail, is_broken_pipe, one_line};

/// Instruments every function of a WebAssembly module, runs it, and shows where the time went.
#[derive(Debug, Parser)]
#[command(name = "wasmtrace", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "full")]
    Run(run::Args),
    #[cfg(feature = "full")]
    Record(record::Args),
    Report(report::Args),
    Diff(diff::Args),
    Convert(convert::Args),
    Extract(extract::Args),
    #[cfg(feature = "full")]
    Push(push::Args),
    Instrument(instrument::Args),
    Ls(ls::Args),
    Info(info::Args),
    Verify(verify::Args),
    Strip(strip::Args),
    #[cfg(feature = "full")]
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
    #[cfg(feature = "full")]
    let runs_guests = matches!(cli.command, Command::Run(_) | Command::Record(_));
    #[cfg(not(feature = "full"))]
    let runs_guests = false;
    let failure = match cli.command {
        _ if runs_guests => 125,
        Command::Diff(_) => 2,
        _ => 1,
    };
    if !runs_guests {
        memory::give_back();
    }
    let done = match cli.command {
        #[cfg(feature = "full")]
        Command::Run(args) => run::run(args, &cli.global),
        #[cfg(feature = "full")]
        Command::Record(args) => record::run(args, &cli.global),
        Command::Report(args) => report::run(&args, &cli.global),
        Command::Diff(args) => diff::run(&args, &cli.global),
        Command::Convert(args) => convert::run(&args, &cli.global),
        Command::Extract(args) => extract::run(&args, &cli.global),
        #[cfg(feature = "full")]
        Command::Push(args) => push::run(&args, &cli.global),
        Command::Instrument(args) => instrument::run(&args, &cli.global),
        Command::Ls(args) => ls::run(&args, &cli.global),
        Command::Info(args) => info::run(&args, &cli.global),
        Command::Verify(args) => verify::run(&args, &cli.global),
        Command::Strip(args) => strip::run(&args, &cli.global),
        #[cfg(feature = "full")]
        Command::Env(args) => env::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man => man(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // The reader closed the pipe, as `head` does: not an error.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            fail(&one_line(&e));
            ExitCode::from(failure)
        }
    }
}

fn man() -> anyhow::Result<u8> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(0)
}
