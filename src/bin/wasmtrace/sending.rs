//! Sending a trace over the network: options, the parent span, the spool file, and messages.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env::VarError;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;
use wasmtrace::export::{Destination, RunInfo, new_context};
use wasmtrace::otlp::settings::{Setting, SettingWarning, Settings, Target, without_secrets};
use wasmtrace::trace::budget::Budget;
use wasmtrace::trace::context::{self, Context, Parent};
use wasmtrace::trace::recording::Footer;

use crate::export_job::{Endpoint, ExportJob, say};
use crate::file_sinks::{self, FileSink};
use crate::incremental::{Pace, Sending};
use crate::recorder::Recorder;
use crate::recordings::EXTENSION;
use crate::terminal::{Global, one_line};
use crate::variables::{duration, number, typed_or};

/// Heading of these options in the help.
pub(crate) const HEADING: &str = "Sending over the network";

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SendArgs {
    /// Send or write at most N spans: the longest ones, with the others merged; 0 is no limit [env: WASMTRACE_MAX_SPANS]
    /// [default: 10000 to a server, 250000 to a file]
    #[arg(help_heading = HEADING, long, value_name = "N")]
    max_spans: Option<usize>,
    /// Time limit for sending to all sinks [env: WASMTRACE_FLUSH_TIMEOUT] [default: 10s for `run`, no limit for `push`]
    #[arg(help_heading = HEADING, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    flush_timeout: Option<Duration>,
}

/// Options for the spool file of a run and for sending during the run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SpoolArgs {
    /// Directory for the trace until it is sent; the trace stays there if it cannot be sent [env: WASMTRACE_SPOOL_DIR]
    /// [default: the system's directory for temporary files]
    #[arg(help_heading = HEADING, long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Interval at which closed spans are sent while the guest runs; 0s sends everything at the end [env:
    /// WASMTRACE_SEND_EVERY] [default: 5m]
    #[arg(help_heading = HEADING, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    send_every: Option<Duration>,
    #[command(flatten)]
    pub(crate) send: SendArgs,
}

/// Options for the OpenTelemetry resource that the spans belong to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ResourceArgs {
    /// Set the service name [default: OTEL_SERVICE_NAME, or the program's name]
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    service_name: Option<String>,
    /// Add a resource attribute to those of OTEL_RESOURCE_ATTRIBUTES, repeatable
    #[arg(help_heading = HEADING, long = "resource", value_name = "KEY=VALUE", value_parser = pair)]
    resource: Vec<(String, String)>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ContextArgs {
    /// Set the parent span of the run (W3C Trace Context) [default: the variable TRACEPARENT]
    #[arg(help_heading = HEADING, long, value_name = "TRACEPARENT")]
    traceparent: Option<String>,
}

const MAX_SPANS: usize = 10_000;
/// Default of `--flush-timeout` for `run`.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_EVERY: Duration = Duration::from_mins(5);

const A_DURATION: &str = "a duration (10s, 5m)";

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

// These methods add a warning to `warnings` for each variable that cannot be parsed.

impl SendArgs {
    pub(crate) fn max_spans(&self, warnings: &mut Vec<SettingWarning>) -> Setting<usize> {
        let set = typed_or(self.max_spans, "WASMTRACE_MAX_SPANS", ("a number", number), warnings);
        set.unwrap_or(Setting::default(MAX_SPANS))
    }

    /// The given number of spans of a file, or `None` for no limit.
    pub(crate) fn max_spans_of_file(&self, warnings: &mut Vec<SettingWarning>) -> Option<u64> {
        let set = typed_or(self.max_spans, "WASMTRACE_MAX_SPANS", ("a number", number), warnings);
        Some(set.map_or(file_sinks::MAX_SPANS, |set| set.value as u64)).filter(|most| *most > 0)
    }

    /// The given time limit, or `None` if neither the option nor the variable is set.
    pub(crate) fn flush_timeout(&self, warnings: &mut Vec<SettingWarning>) -> Option<Setting<Duration>> {
        typed_or(self.flush_timeout, "WASMTRACE_FLUSH_TIMEOUT", (A_DURATION, duration), warnings)
    }

    pub(crate) fn flush_timeout_of_run(&self, warnings: &mut Vec<SettingWarning>) -> Setting<Duration> {
        self.flush_timeout(warnings).unwrap_or(Setting::default(FLUSH_TIMEOUT))
    }
}

impl SpoolArgs {
    pub(crate) fn send_every(&self, warnings: &mut Vec<SettingWarning>) -> Setting<Duration> {
        let set = typed_or(self.send_every, "WASMTRACE_SEND_EVERY", (A_DURATION, duration), warnings);
        set.unwrap_or(Setting::default(SEND_EVERY))
    }

    pub(crate) fn spool_dir(&self, warnings: &mut Vec<SettingWarning>) -> Setting<PathBuf> {
        let folder = |text: &OsStr| Some(PathBuf::from(text));
        let set = typed_or(self.spool_dir.clone(), "WASMTRACE_SPOOL_DIR", ("a folder", folder), warnings);
        set.unwrap_or_else(|| Setting::default(std::env::temp_dir()))
    }
}

impl ResourceArgs {
    /// The given options as resource attributes.
    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        let name = self.service_name.iter().map(|name| ("service.name".to_owned(), name.clone()));
        self.resource.iter().cloned().chain(name).collect()
    }
}

/// The network sinks among the destinations. Without any destination, the sink that the environment configures.
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
        global.note(&format!("nothing is sent: {} is set", settings.disabled.from));
        targets.clear();
    }
    targets
}

pub(crate) fn settings(target: &Target) -> Settings {
    let unread = RefCell::new(BTreeSet::new());
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        // An invalid endpoint must not fall back to the default one: it is kept, and refused later as not a URL.
        Err(VarError::NotUnicode(value)) if name.ends_with("_ENDPOINT") => Some(value.to_string_lossy().into_owned()),
        Err(VarError::NotUnicode(_)) => {
            unread.borrow_mut().insert(name.to_owned());
            None
        }
    };
    let mut settings = Settings::read(target, &variable);
    settings.warnings.extend(
        unread
            .take()
            .iter()
            .map(|name| SettingWarning::Invalid { variable: name.clone(), expected: "valid UTF-8".to_owned() }),
    );
    settings
}

/// Where the run's own span goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nobody,
    /// Into a file, from which it may be sent later.
    File,
    /// To a network sink.
    Sink,
}

/// The place of a run in a trace, and the variables that pass it to the guest.
pub(crate) struct Place {
    pub(crate) context: Context,
    /// Environment variables for the guest.
    pub(crate) variables: Vec<(String, String)>,
    /// Whether the sampler selected this trace.
    pub(crate) sampled: bool,
}

impl Place {
    /// Reads the parent span from the command line and the environment.
    pub(crate) fn find(args: &ContextArgs, told: Told, global: &Global) -> Result<Place> {
        let settings = settings(&Target::Environment);
        let [propagates, baggage] = settings.propagate.value;
        let variable = |name: &str, wanted: bool| {
            let value = std::env::var(name).ok().filter(|value| wanted && !value.trim().is_empty());
            value.map(|value| (name.to_owned(), value))
        };
        let typed = args.traceparent.clone().map(|value| ("--traceparent".to_owned(), value));
        let given = typed.or_else(|| variable("TRACEPARENT", propagates));
        let parent = given.and_then(|(name, value)| match Parent::parse(&value) {
            Ok(parent) => Some(parent),
            Err(e) => {
                global.warn("", &[format!("{name} is ignored, and a new trace is started: {e}")]);
                None
            }
        });
        let state = variable("TRACESTATE", propagates && parent.is_some())
            .map_or(Ok(String::new()), |(_, s)| context::state(&s));
        let state = state.unwrap_or_else(|e| {
            global.warn("", &[format!("TRACESTATE is ignored: {e}")]);
            String::new()
        });
        let mut context = new_context(parent.as_ref(), state).context("cannot generate random trace ids")?;
        let sampled = settings.sampler.value.wants(&context);
        if told == Told::Sink {
            let others = context.flags & !context::SAMPLED;
            context.flags = if sampled { others | context::SAMPLED } else { others };
        }
        let mut variables = Vec::new();
        if propagates && (told == Told::Sink || parent.is_some()) {
            // If the run's span is not exported, the guest's parent is the span that the run is in.
            let run = context.parent.filter(|_| told == Told::Nobody).unwrap_or(context.run);
            variables.push(("TRACEPARENT".to_owned(), Context { run, ..context.clone() }.traceparent()));
            // Set even if empty: a guest may inherit our variable, which does not belong to this span.
            if !context.state.is_empty() || std::env::var_os("TRACESTATE").is_some() {
                variables.push(("TRACESTATE".to_owned(), context.state.clone()));
            }
        }
        variables.extend(variable("BAGGAGE", baggage));
        Ok(Place { context, variables, sampled })
    }
}

/// The spool file of a run, from which its files and its network sinks are served.
pub(crate) struct Spool {
    file: NamedTempFile,
    recorder: Recorder,
    files: Vec<FileSink>,
    /// Maximum number of spans in a file.
    max_spans: Option<u64>,
    endpoints: Vec<Endpoint>,
    pace: Pace,
}

impl Spool {
    /// Creates the spool file and starts sending. `None` if there are neither files nor targets. A trace that is not sampled
    /// is written to files only.
    pub(crate) fn begin(
        mut targets: Vec<Target>,
        files: Vec<FileSink>,
        sampled: bool,
        args: &SpoolArgs,
        run_info: &RunInfo,
        global: &Global,
    ) -> Result<Option<Spool>> {
        if !sampled && !targets.is_empty() {
            global.say("nothing is sent: the sampler did not select this trace");
            targets.clear();
        }
        if targets.is_empty() && files.is_empty() {
            return Ok(None);
        }
        let mut warnings = Vec::new();
        let folder = args.spool_dir(&mut warnings).value;
        let within = args.send.flush_timeout_of_run(&mut warnings).value;
        let (every, max_spans) = (args.send_every(&mut warnings).value, args.send.max_spans(&mut warnings).value);
        let pace = Pace { every, within, max_spans };
        let max_spans = args.send.max_spans_of_file(&mut Vec::new());
        global.warn("", &warnings);
        let mut builder = tempfile::Builder::new();
        let suffix = format!(".{EXTENSION}");
        let file = builder.prefix("wasmtrace-").suffix(&suffix).tempfile_in(&folder);
        let file = file.with_context(|| folder.display().to_string())?;
        let begin = || Recorder::new(file.as_file().try_clone()?, run_info);
        let recorder = begin().with_context(|| file.path().display().to_string())?;
        let begin = |target| {
            let settings = settings(&target);
            let incremental = Sending::begin(file.path(), settings.clone(), pace);
            Endpoint { target, settings, incremental }
        };
        let endpoints = targets.into_iter().map(begin).collect();
        Ok(Some(Spool { file, recorder, files, max_spans, endpoints, pace }))
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Whether one of the files shows source lines.
    pub(crate) fn has_lines(&self) -> bool {
        self.files.iter().any(|file| file.format().has_lines)
    }

    /// Writes the recorded trace to all files and sends it to all network sinks. Returns whether all of it arrived. If it
    /// could not be sent, the spool file is kept.
    pub(crate) fn send(self, end: Footer, interrupt: &AtomicI32, global: &Global) -> bool {
        let Spool { file, recorder, files, max_spans, endpoints, pace } = self;
        let mut whole = true;
        if let Err(e) = recorder.finish(end.clone()) {
            whole = false;
            global.complain(&format!("the trace is incomplete: {}: {e}", file.path().display()));
        }
        let budget = Budget { max_spans, ..Budget::default() };
        for sink in files {
            if let Err(e) = sink.write(file.path(), &budget, global) {
                whole = false;
                global.complain(&format!("the trace is incomplete: {}", one_line(&e)));
            }
        }
        if endpoints.is_empty() {
            return whole;
        }
        warn_of(&endpoints, global);
        // Only a new signal stops the sending, not the one that ended the guest.
        let before = interrupt.load(Ordering::Relaxed);
        let given_up = || interrupt.load(Ordering::Relaxed) != before;
        let export_job = ExportJob {
            path: file.path(),
            max_spans: pace.max_spans,
            end: Some(end),
            resource: Vec::new(),
            timeout: Some(pace.within),
            waits: None,
        };
        let (mut sinks, mut hidden, mut reasons) = (String::new(), false, Vec::new());
        export_job.send(endpoints, given_up, |endpoint, sent| match sent {
            Ok(delivered) => {
                say(&delivered, &endpoint.settings, global);
                global.warn("", &delivered.said);
                whole &= delivered.said.is_empty();
            }
            Err(why) => {
                let (sink, hides) = typed(&endpoint.target);
                sinks += &sink;
                hidden |= hides;
                reasons.extend(Some(why).filter(|why| !reasons.contains(why)));
            }
        });
        if reasons.is_empty() {
            return whole;
        }
        let why = format!("the trace was not sent: {}", reasons.join("; "));
        match file.keep() {
            Ok((_, path)) => {
                let path = quoted(&path.display().to_string());
                let how = if hidden { "to send it (replace ***)" } else { "to send it" };
                global.complain(&format!("{why}; {how}: wasmtrace push {path}{sinks}"));
            }
            Err(e) => global.complain(&format!("{why}; the trace could not be kept: {e}")),
        }
        false
    }
}

/// Prints the warnings about environment variables, each once for all endpoints.
pub(crate) fn warn_of(endpoints: &[Endpoint], global: &Global) {
    let mut warnings: Vec<SettingWarning> = Vec::new();
    for warning in endpoints.iter().flat_map(|endpoint| &endpoint.settings.warnings) {
        warnings.extend(Some(warning.clone()).filter(|warning| !warnings.contains(warning)));
    }
    global.warn("", &warnings);
}

/// The option that names the target, and whether secrets were removed from it.
fn typed(target: &Target) -> (String, bool) {
    let sink = |name: &str, url: &Option<String>| match url {
        Some(url) => {
            let shown = without_secrets(url);
            (format!(" --sink {}", quoted(&format!("{name}:{shown}"))), shown != *url)
        }
        None => (format!(" --sink {name}"), false),
    };
    match target {
        Target::Environment => (String::new(), false),
        Target::Otlp(url) => sink("otlp", url),
        Target::Zipkin(url) => sink("zipkin", url),
    }
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,[]".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
