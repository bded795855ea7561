//! WASI for the guest: preview 1 and the version before it (`wasi_unstable`), by wasmtime's implementation, except for
//! `proc_exit`.

use wasmtime::Linker;
use wasmtime_wasi::p0;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe, SinkOutputStream};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::config::{Config, Stdio};
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// The error that unwinds the guest after `proc_exit`.
#[derive(Debug)]
pub(super) struct ProcExit(pub(super) i32);

impl std::fmt::Display for ProcExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit with code {}", self.0)
    }
}

impl std::error::Error for ProcExit {}

/// Captured output of the guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Captured {
    pub(super) stdout: Option<MemoryOutputPipe>,
    pub(super) stderr: Option<MemoryOutputPipe>,
}

/// Maximum size of captured output in bytes. Further writes of the guest fail.
const MAX_CAPTURED: usize = 256 << 20;

/// The context of preview 1.
pub(super) fn context(config: &Config) -> Result<(WasiP1Ctx, Captured)> {
    builder(config).map(|(mut builder, captured)| (builder.build_p1(), captured))
}

/// A builder for a context of any version.
pub(super) fn builder(config: &Config) -> Result<(WasiCtxBuilder, Captured)> {
    let mut builder = WasiCtxBuilder::new();
    // Blocking calls run on the guest's thread, without a thread pool.
    builder.allow_blocking_current_thread(true);
    builder.arg(&config.program).args(&config.args);
    if config.inherit_env {
        // Variables that are not UTF-8 cannot be passed to a guest; the others are.
        for (name, value) in std::env::vars_os() {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
                // If a name occurs twice, a guest would see the first.
                && config.env.iter().all(|(given, _)| given != name)
            {
                builder.env(name, value);
            }
        }
    }
    builder.envs(&config.env);
    if config.inherit_network {
        builder.inherit_network().allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
    }
    for (host, guest) in &config.dirs {
        builder.preopened_dir(host, guest, FsPerms::ReadWrite).map_err(|e| {
            Error::new(ErrorKind::Run, format!("the directory {} cannot be opened: {e}", host.display()))
        })?;
    }
    let mut captured = Captured::default();
    match &config.stdio {
        Stdio::Inherit => {
            builder.inherit_stdio();
        }
        Stdio::Given { stdin, quiet } => {
            builder.stdin(MemoryInputPipe::new(stdin.clone()));
            match quiet {
                true => builder.stdout(SinkOutputStream).stderr(SinkOutputStream),
                false => builder.inherit_stdout().inherit_stderr(),
            };
        }
        Stdio::Capture { stdin } => {
            let (stdout, stderr) = (MemoryOutputPipe::new(MAX_CAPTURED), MemoryOutputPipe::new(MAX_CAPTURED));
            builder.stdin(MemoryInputPipe::new(stdin.clone())).stdout(stdout.clone()).stderr(stderr.clone());
            captured = Captured { stdout: Some(stdout), stderr: Some(stderr) };
        }
    }
    Ok((builder, captured))
}

/// Defines WASI in the linker. `proc_exit` is implemented here: wasmtime-wasi rejects exit codes from 126 on, which
/// shells and native programs allow.
pub(super) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    context: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    p1::add_to_linker_sync(linker, context)?;
    // The version before preview 1. Some of its structures have another layout.
    p0::add_to_linker_sync(linker, context)?;
    linker.allow_shadowing(true);
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        linker.func_wrap(module, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(ProcExit(code)))
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
