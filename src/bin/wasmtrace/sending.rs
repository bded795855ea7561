//! What is sent over the network: the options for it, the place in a trace, the spool, and what is said of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;
use wasmtrace::deliver::settings::{Settings, Target, without_secrets};
use wasmtrace::deliver::{Already, Delivered, Order, deliver_rest};
use wasmtrace::export::{Destination, Subject, new_context};
use wasmtrace::trace::context::{self, Context, Parent};
use wasmtrace::trace::recording::End;

use crate::Global;
use crate::record::Recorder;
use crate::recordings::EXTENSION;
use crate::underway::{Pace, Sending};

/// What the options are under in the help.
pub(crate) const HEADING: &str = "What is sent over the network";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SendArgs {
    /// Send at most so many spans: the longest, and the others summed up; 0 sends all
    #[arg(help_heading = HEADING, long, value_name = "N", default_value = "10000", env = "WASMTRACE_MAX_SPANS", hide_env_values = true)]
    max_spans: usize,
    /// How long sending may take in all [default: 10s for a run, no end for `push`]
    #[arg(help_heading = HEADING, long, value_name = "DURATION", value_parser = humantime::parse_duration, env = "WASMTRACE_FLUSH_TIMEOUT", hide_env_values = true)]
    flush_timeout: Option<Duration>,
}

/// What is kept of a run until it is sent, and when that is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SpoolArgs {
    /// Where the trace is kept until it is sent, and after if it cannot be [default: the system's folder for such files]
    #[arg(long, value_name = "DIR", env = "WASMTRACE_SPOOL_DIR", hide_env_values = true)]
    #[arg(help_heading = HEADING)]
    spool_dir: Option<PathBuf>,
    /// How often what has closed is sent while the guest runs; 0s: when it has ended
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    #[arg(help_heading = HEADING, env = "WASMTRACE_SEND_EVERY", hide_env_values = true)]
    send_every: Duration,
    #[command(flatten)]
    send: SendArgs,
}

/// Who the spans are said to be from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ResourceArgs {
    /// The name of the service, instead of OTEL_SERVICE_NAME's or the program's
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    service_name: Option<String>,
    /// An attribute of the resource, beside those in OTEL_RESOURCE_ATTRIBUTES, repeatable
    #[arg(help_heading = HEADING, long = "resource", value_name = "KEY=VALUE", value_parser = pair)]
    resource: Vec<(String, String)>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ContextArgs {
    /// The span that the run is in (W3C Trace Context), instead of the variable TRACEPARENT's
    #[arg(help_heading = HEADING, long, value_name = "TRACEPARENT")]
    traceparent: Option<String>,
}

const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is wanted".to_owned()),
    }
}

impl ResourceArgs {
    /// What was typed, as attributes.
    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        let name = self.service_name.iter().map(|name| ("service.name".to_owned(), name.clone()));
        self.resource.iter().cloned().chain(name).collect()
    }
}

/// The network sinks among the destinations; what the environment asks for, if nothing was typed.
pub(crate) fn targets(destinations: &[Destination], global: &Global) -> Vec<Target> {
    let settings = settings(&Target::Environment);
    let mut targets: Vec<Target> = destinations
        .iter()
        .filter_map(|destination| match destination {
            Destination::Otlp(url) => Some(Target::Otlp(url.clone())),
            Destination::Zipkin(url) => Some(Target::Zipkin(url.clone())),
            Destination::Tree | Destination::None | Destination::File(..) => None,
        })
        .collect();
    if destinations.is_empty() && settings.asked.value {
        targets.push(Target::Environment);
    }
    if !targets.is_empty() && settings.disabled.value {
        global.note(&format!("nothing is sent: {}", settings.disabled.from));
        targets.clear();
    }
    targets
}

pub(crate) fn settings(target: &Target) -> Settings {
    Settings::read(target, &|name| std::env::var(name).ok())
}

/// Who is told of the run's own span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nobody,
    /// It is in a file, and may be sent from there.
    File,
    /// It is sent.
    Sink,
}

/// The place of a run in a trace, and what the guest is told of it.
pub(crate) struct Place {
    pub(crate) context: Context,
    /// Variables for the guest.
    pub(crate) variables: Vec<(String, String)>,
    /// Whether the run is to be sent.
    pub(crate) sampled: bool,
}

impl Place {
    /// From the command line and the environment.
    pub(crate) fn find(args: &ContextArgs, told: Told, global: &Global) -> Result<Place> {
        let settings = settings(&Target::Environment);
        let [context, baggage] = settings.propagate.value;
        let variable = |name: &str, wanted: bool| {
            let value = std::env::var(name).ok().filter(|value| wanted && !value.trim().is_empty());
            value.map(|value| (name.to_owned(), value))
        };
        let typed = args.traceparent.clone().map(|value| ("--traceparent".to_owned(), value));
        let given = typed.or_else(|| variable("TRACEPARENT", context));
        let parent = given.and_then(|(name, value)| match Parent::parse(&value) {
            Ok(parent) => Some(parent),
            Err(e) => {
                global.warn("", &[format!("{name} is ignored, and a trace begun: {e}")]);
                None
            }
        });
        let state =
            variable("TRACESTATE", context && parent.is_some()).map_or(Ok(String::new()), |(_, s)| context::state(&s));
        let state = state.unwrap_or_else(|e| {
            global.warn("", &[format!("TRACESTATE is ignored: {e}")]);
            String::new()
        });
        let mut context = new_context(parent.as_ref(), state).context("no random numbers")?;
        let sampled = settings.sampler.value.wants(&context);
        if told == Told::Sink {
            let others = context.flags & !context::SAMPLED;
            context.flags = if sampled { others | context::SAMPLED } else { others };
        }
        let mut variables = Vec::new();
        if told == Told::Sink || parent.is_some() {
            // A span that nobody hears of is no parent.
            let run = context.parent.filter(|_| told == Told::Nobody).unwrap_or(context.run);
            variables.push(("TRACEPARENT".to_owned(), Context { run, ..context.clone() }.traceparent()));
            // Empty where there is none: what stands in our own environment is not about this span.
            variables.push(("TRACESTATE".to_owned(), context.state.clone()));
            variables.extend(variable("BAGGAGE", baggage));
            variables.retain(|(_, value)| !value.is_empty());
        }
        Ok(Place { context, variables, sampled })
    }
}

/// What a run leaves for its network sinks.
pub(crate) struct Spool {
    file: NamedTempFile,
    recorder: Recorder,
    /// Each with what sends to it while the guest runs.
    targets: Vec<(Target, Option<Sending>)>,
}

impl Spool {
    /// Nothing, if nothing is to be sent.
    pub(crate) fn begin(
        targets: Vec<Target>,
        sampled: bool,
        args: &SpoolArgs,
        subject: &Subject,
        global: &Global,
    ) -> Result<Option<Spool>> {
        if targets.is_empty() {
            return Ok(None);
        }
        if !sampled {
            global.say("nothing is sent: this trace is not sampled");
            return Ok(None);
        }
        let folder = args.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        let mut builder = tempfile::Builder::new();
        let suffix = format!(".{EXTENSION}");
        let file = builder.prefix("wasmtrace-").suffix(&suffix).tempfile_in(&folder);
        let file = file.with_context(|| folder.display().to_string())?;
        let begin = || Recorder::new(file.as_file().try_clone()?, subject);
        let recorder = begin().with_context(|| file.path().display().to_string())?;
        let within = args.send.flush_timeout.unwrap_or(FLUSH_TIMEOUT);
        let pace = Pace { every: args.send_every, within, max_spans: args.send.max_spans };
        let begin = |target| {
            let sending = Sending::begin(file.path(), settings(&target), pace);
            (target, sending)
        };
        let targets = targets.into_iter().map(begin).collect();
        Ok(Some(Spool { file, recorder, targets }))
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Sends what was recorded to all sinks; whether all of it arrived. What did not is kept.
    pub(crate) fn send(self, args: &SpoolArgs, end: End, interrupt: &AtomicI32, global: &Global) -> bool {
        let args = &args.send;
        let Spool { file, recorder, targets } = self;
        let mut whole = true;
        if let Err(e) = recorder.finish(end.clone()) {
            whole = false;
            global.complain(&format!("the trace is incomplete: {}: {e}", file.path().display()));
        }
        let mut failed = Vec::new();
        for (target, sending) in targets {
            let timeout = args.flush_timeout.unwrap_or(FLUSH_TIMEOUT);
            let began = Instant::now();
            let before = interrupt.load(Ordering::Relaxed);
            let given_up = || interrupt.load(Ordering::Relaxed) != before;
            // The other half is for what is left.
            let already = sending.map(|sending| sending.end(began.checked_add(timeout / 2), given_up));
            let timeout = timeout.saturating_sub(began.elapsed());
            let shipment = Shipment {
                settings: settings(&target),
                max_spans: args.max_spans,
                end: Some(end.clone()),
                resource: Vec::new(),
                already: already.unwrap_or_default(),
            };
            if given_up() {
                failed.push((target, "interrupted".to_owned()));
                continue;
            }
            match shipment.send(file.path(), Some(timeout), Some(interrupt), global) {
                Ok(delivered) => {
                    say(&delivered, &shipment.settings, global);
                    global.warn("", &delivered.said);
                    whole &= delivered.said.is_empty();
                }
                Err(e) => failed.push((target, e)),
            }
        }
        let Some((_, first)) = failed.first() else { return whole };
        let why = format!("the trace was not sent: {first}");
        match file.keep() {
            Ok((_, path)) => {
                let sinks: String = failed.iter().map(|(target, _)| typed(target)).collect();
                let path = quoted(&path.display().to_string());
                global.complain(&format!("{why}; to send it: wasmtrace push {path}{sinks}"));
            }
            Err(e) => global.complain(&format!("{why}; and it could not be kept: {e}")),
        }
        false
    }
}

/// The option that names the target.
fn typed(target: &Target) -> String {
    let sink = |name: &str, url: &Option<String>| match url {
        Some(url) => format!(" --sink {}", quoted(&format!("{name}:{url}"))),
        None => format!(" --sink {name}"),
    };
    match target {
        Target::Environment => String::new(),
        Target::Otlp(url) => sink("otlp", url),
        Target::Zipkin(url) => sink("zipkin", url),
    }
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,[]".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A recording that is sent to one sink.
pub(crate) struct Shipment {
    pub(crate) settings: Settings,
    pub(crate) max_spans: usize,
    pub(crate) end: Option<End>,
    pub(crate) resource: Vec<(String, String)>,
    /// What was sent of it before.
    pub(crate) already: Already,
}

/// How much longer than it may take we wait for the sender to say so: a name may take long to be resolved.
const GRACE: Duration = Duration::from_millis(500);

/// How often we look whether we are asked to stop.
const LOOK: Duration = Duration::from_millis(50);

impl Shipment {
    /// Sends it on a thread of its own, which is left behind if it does not end in time.
    pub(crate) fn send(
        &self,
        path: &Path,
        timeout: Option<Duration>,
        interrupt: Option<&AtomicI32>,
        global: &Global,
    ) -> Result<Delivered, String> {
        global.warn("", &self.settings.warnings);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (settings, path, resource) = (self.settings.clone(), path.to_owned(), self.resource.clone());
        let (max_spans, end, already) = (self.max_spans, self.end.clone(), self.already.clone());
        let (done, waiting) = mpsc::channel();
        let thread = move || {
            let order = Order { settings: &settings, max_spans, deadline, end, resource };
            // Nobody may be waiting any more.
            let _ = done.send(deliver_rest(|| File::open(&path), &order, &already));
        };
        let started = std::thread::Builder::new().name("delivery".into()).spawn(thread);
        started.map_err(|e| format!("no thread to send it: {e}"))?;
        // The signal that ended the guest is not one that ends this.
        let signal = || interrupt.map_or(0, |interrupt| interrupt.load(Ordering::Relaxed));
        let before = signal();
        loop {
            match waiting.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err("sending failed".to_owned()),
                Err(RecvTimeoutError::Timeout) if signal() != before => return Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|d| Instant::now() > d + GRACE) => {
                    return Err(format!("it took longer than {:?}", timeout.unwrap_or_default()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Says what was sent; what the sink said of it is in [`Delivered::said`].
pub(crate) fn say(delivered: &Delivered, settings: &Settings, global: &Global) {
    let Delivered { trace, spans, underway, logs, metrics, merged, left_out, .. } = delivered;
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    global.note(&format!(
        "sent to {}: trace {trace}, {spans} spans{}{}{}{}{}",
        without_secrets(&settings.traces.endpoint.value),
        some(*underway, "of them while it ran"),
        some(*merged, "calls merged"),
        some(*left_out, "left out"),
        some(*logs, "logs"),
        some(*metrics, "metrics"),
    ));
}

impl SendArgs {
    pub(crate) fn max_spans(&self) -> usize {
        self.max_spans
    }

    pub(crate) fn flush_timeout(&self) -> Option<Duration> {
        self.flush_timeout
    }
}
