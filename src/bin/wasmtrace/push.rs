//! `wasmtrace push`

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use wasmtrace::export::Destination;
use wasmtrace::otlp::settings::Target;

use crate::export_job::{Endpoint, ExportJob, say};
use crate::recordings;
use crate::sending::{self, ResourceArgs, SendArgs};
use crate::terminal::{Global, fail, one_line};

/// Send a recording to a collector
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The spans keep the trace id and the parent span of the run. Pushing a recording again sends the same span ids. If the \
recording is damaged or truncated, the intact part is sent. If a sink fails or rejects spans, the exit code is 1.

Examples:
  wasmtrace push app.wtrace
  wasmtrace push app.wtrace --sink otlp:http://localhost:4318
  wasmtrace push app.wtrace --sink zipkin --max-spans 0")]
pub(crate) struct Args {
    /// Recording to send, `-` for standard input [default: the newest *.wtrace file in the current directory]
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// Sink to send to, repeatable: otlp[:URL] or zipkin[:URL] [default: otlp at OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long = "sink", value_name = "SINK")]
    sinks: Vec<Destination>,
    #[command(flatten)]
    send: SendArgs,
    #[command(flatten)]
    resource: ResourceArgs,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    if args.sinks.iter().any(|sink| !matches!(sink, Destination::Otlp(_) | Destination::Zipkin(_))) {
        bail!("--sink must be `otlp` or `zipkin` here; use `wasmtrace convert` to write files");
    }
    if sending::settings(&Target::Environment).disabled.value {
        bail!("nothing is sent: OTEL_SDK_DISABLED is set");
    }
    let targets = sending::targets(&args.sinks, global);
    if targets.is_empty() {
        bail!("no sink: give --sink otlp[:URL] or set OTEL_EXPORTER_OTLP_ENDPOINT");
    }
    let path = recordings::find(args.trace.as_deref(), global)?;
    // The exporter may read the recording twice.
    let copy;
    let path = if path == Path::new("-") {
        copy = recordings::copied(&path)?;
        copy.path()
    } else if path.metadata().is_ok_and(|data| !data.is_file()) {
        bail!("{} is not a regular file and cannot be read twice: pipe it to `wasmtrace push -`", path.display());
    } else {
        &path
    };
    let endpoint = |target| Endpoint { settings: sending::settings(&target), target, incremental: None };
    let endpoints: Vec<Endpoint> = targets.into_iter().map(endpoint).collect();
    sending::warn_of(&endpoints, global);
    let mut warnings = Vec::new();
    let max_spans = args.send.max_spans(&mut warnings).value;
    let timeout = args.send.flush_timeout(&mut warnings).map(|set| set.value);
    global.warn("", &warnings);
    let export_job =
        ExportJob { path, max_spans, end: None, resource: args.resource.attributes(), timeout, waits: Some(global) };
    let mut code = 0;
    let mut failed = |why: String| {
        code = 1;
        fail(&one_line(&anyhow!(why).context(path.display().to_string())));
    };
    export_job.send(
        endpoints,
        || false,
        |endpoint, sent| match sent {
            Ok(delivered) => {
                say(&delivered, &endpoint.settings, global);
                match delivered.rejected {
                    0 => global.warn("", &delivered.said),
                    _ => failed(delivered.said.join("; ")),
                }
            }
            Err(why) => failed(why),
        },
    );
    Ok(code)
}
