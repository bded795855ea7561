//! `wasmtrace completions`

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to generate completions for
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<u8> {
    // Generated into memory first: the generator panics when a write fails, for example into a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "wasmtrace", &mut script);
    crate::files::write(None, &script)?;
    Ok(0)
}
