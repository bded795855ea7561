//! Writing a trace in formats of other tools: the trait [`Sink`] and the table of formats.

use std::borrow::Cow;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::budget::LeftOut;
use crate::calltree::Accuracy;
use crate::context::{Context, Parent};
use crate::event::RunOutcome;
use crate::lines::Lines;
use crate::profile::Profile;
use crate::recording::Header;
use crate::span_builder::{Anomalies, Change, What};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::label::{Category, Label};
use wasmtrace_abi::manifest::{Manifest, Probe, Probes};
use wasmtrace_abi::resumption::Resumption;

// Used by the crate `wasmtrace-otlp`: files contain spans only; logs, metrics and protobuf are for the network.
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod otlp;
#[doc(hidden)]
pub mod spans;
#[doc(hidden)]
pub mod url;
#[doc(hidden)]
pub mod zipkin;

mod callgrind;
mod chrome;
mod firefox;
mod fit;
mod flat;
mod folded;
mod footnotes;
mod formats;
mod functions;
pub(crate) mod html;
mod json;
mod left_out;
mod manual;
mod otlp_json;
mod perfetto;
mod pprof;
mod source_path;
mod speedscope;
mod table;
mod text;
mod tree;
mod visible;

pub use callgrind::Callgrind;
pub use chrome::Chrome;
pub use firefox::Firefox;
#[doc(hidden)]
pub use fit::{columns, cut_name, cut_path};
pub use flat::Flat;
pub use folded::Folded;
pub use formats::{Destination, FORMATS, FileEncoding, Format, Open, SINKS, UnknownSink};
pub use html::Html;
pub use json::{json_line, json_text};
pub use left_out::left_out_text;
pub use otlp::{Encoding, Signal};
pub use otlp_json::OtlpJson;
pub use perfetto::Perfetto;
pub use pprof::Pprof;
pub use spans::Limits;
pub use speedscope::Speedscope;
#[doc(hidden)]
pub use table::{table_name, table_place};
pub use text::{Look, Sort, duration};
pub use tree::Tree;
pub use wasmtrace_abi::text::hex;

/// Properties of a run that do not change while it is recorded.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    /// The program's name for display.
    pub program: String,
    /// SHA-256 of the module before instrumentation, if known.
    pub hash: Option<[u8; 32]>,
    /// When the run began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// The label of each probe.
    pub labels: std::collections::BTreeMap<ProbeId, Label>,
    /// The category of each function. A function without one is the program's own.
    pub categories: std::collections::BTreeMap<ProbeId, Category>,
    /// How the run is recorded.
    pub recording: Recording,
    /// The place of the run in a distributed trace.
    pub context: Option<Context>,
    /// Resource attributes, as defined by OpenTelemetry.
    pub resource: Vec<(String, String)>,
}

/// How a run is recorded: the precision of its times, and which calls are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The clock. `hook`: each event reads the time; `coarse`, `spin`: see `runtime::ClockMode`; [`SAMPLES`]: there are
    /// no events.
    pub clock: String,
    /// Nanoseconds by which an event's time may lag.
    pub resolution: u64,
    /// Calls shorter than so many nanoseconds are only counted, unless they contain a longer call.
    pub min_duration: u64,
    /// Calls nested in at least so many others are only counted.
    pub max_depth: Option<u32>,
    /// Whether function entries and exits have no times of their own, but stamps between them.
    pub stamped: bool,
    /// The reason why the guest was not sampled, if it was not.
    pub not_sampled: Option<String>,
    /// Whether a call in the source may be several calls here.
    pub resumption: Option<Resumption>,
}

impl Default for Recording {
    fn default() -> Self {
        Recording {
            clock: "hook".to_owned(),
            resolution: HOOK_RESOLUTION,
            min_duration: 0,
            max_depth: None,
            stamped: false,
            not_sampled: None,
            resumption: None,
        }
    }
}

/// The clock name of a run without hooks, which has samples but no events.
pub const SAMPLES: &str = "samples";

/// Nanoseconds between an event and its time if the hook itself reads the clock.
const HOOK_RESOLUTION: u64 = 100;

/// Maximum number of bytes of a name to print.
pub const LONGEST_NAME: usize = 1_000;

/// Creates the trace context of a new run: within `parent`, or with a trace of its own.
///
/// # Errors
/// If the system cannot generate random numbers.
pub fn new_context(parent: Option<&Parent>, state: String) -> io::Result<Context> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Context::begin(parent, state, random))
}

impl RunInfo {
    /// Creates the properties of a run that begins now. For a module that records into a buffer, set the clock
    /// too ([`Recording`]).
    pub fn of(program: &str, probes: Probes) -> RunInfo {
        let Probes { input_sha256, labels } = probes;
        RunInfo { program: program.to_owned(), hash: input_sha256, labels, ..RunInfo::default() }.beginning_now()
    }

    /// The properties of another run of the same module, which begins now.
    #[must_use]
    pub fn beginning_now(self) -> RunInfo {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        RunInfo { began, ..self }
    }

    /// The name for display: a demangled function name, `func[N]` if the function has no label, or the name of a manual
    /// span. Truncated to [`LONGEST_NAME`] bytes: thousands of functions may share one name of megabytes.
    pub fn name(&self, what: &What) -> String {
        match what {
            What::Call(probe) => self
                .labels
                .get(probe)
                .map_or_else(|| format!("func[{}]", probe.0), |label| json::cut(label.demangled(), LONGEST_NAME)),
            What::Manual(name) => json::cut(Cow::Borrowed(name), LONGEST_NAME),
        }
    }

    /// The index of a function in the module before instrumentation. If that is not known: its index in the module that
    /// ran.
    pub fn index(&self, probe: ProbeId) -> u32 {
        self.labels.get(&probe).and_then(|label| label.index).unwrap_or(probe.0)
    }

    /// The path of the source file, truncated to [`LONGEST_NAME`] bytes.
    pub fn file(&self, what: &What) -> Option<String> {
        let file = self.label(what)?.file.as_deref()?;
        Some(json::cut(Cow::Borrowed(file), LONGEST_NAME))
    }

    /// The category of a function; `None` for a manual span.
    pub fn category(&self, what: &What) -> Option<Category> {
        match what {
            What::Call(probe) => Some(self.categories.get(probe).copied().unwrap_or_default()),
            What::Manual(_) => None,
        }
    }

    /// The line of a function's declaration.
    pub fn line(&self, what: &What) -> Option<u32> {
        self.label(what)?.line
    }

    /// The header of a recording of this run.
    pub fn header(&self) -> Header {
        let probes = self.labels.iter().map(|(id, label)| Probe { id: *id, label: label.clone() }).collect();
        let input_sha256 = self.hash.unwrap_or_default();
        let Recording { clock, resolution, min_duration, max_depth, stamped, not_sampled, resumption } =
            self.recording.clone();
        Header {
            program: self.program.clone(),
            began: self.began,
            clock,
            resolution,
            min_duration,
            max_depth,
            manifest: Manifest {
                hooks: HookSet::Observe,
                buffer: None,
                input_sha256,
                build_id: Vec::new(),
                probes,
                restore: None,
            },
            context: self.context.clone(),
            resource: self.resource.clone(),
            stamped,
            not_sampled,
            resumption,
        }
    }

    /// The label of a function. Manual spans have none.
    pub fn label(&self, what: &What) -> Option<&Label> {
        match what {
            What::Call(probe) => self.labels.get(probe),
            What::Manual(_) => None,
        }
    }
}

impl From<&Header> for RunInfo {
    fn from(header: &Header) -> Self {
        let Header {
            program,
            began,
            clock,
            resolution,
            min_duration,
            max_depth,
            manifest,
            context,
            resource,
            stamped,
            not_sampled,
            resumption,
        } = header;
        RunInfo {
            program: program.clone(),
            hash: Some(manifest.input_sha256).filter(|hash| *hash != [0; 32]),
            began: *began,
            labels: manifest.probes.iter().map(|probe| (probe.id, probe.label.clone())).collect(),
            categories: std::collections::BTreeMap::new(),
            recording: Recording {
                clock: clock.clone(),
                resolution: *resolution,
                min_duration: *min_duration,
                max_depth: *max_depth,
                stamped: *stamped,
                not_sampled: not_sampled.clone(),
                resumption: *resumption,
            },
            context: context.clone(),
            resource: resource.clone(),
        }
    }
}

/// The results of a run, as a sink gets them when the run ends.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'s> {
    /// The outcome of the run.
    pub ending: &'s RunOutcome,
    /// Duration of the run in nanoseconds.
    pub duration: u64,
    /// The call tree.
    pub profile: &'s Profile,
    /// Anomalies of the event stream.
    pub anomalies: &'s Anomalies,
    /// The accuracy of the times in the call tree.
    pub accuracy: Accuracy,
    /// The source lines of sampled instructions; empty if they are not known.
    pub lines: &'s Lines,
    /// Which calls the sink did not get as changes.
    pub left_out: LeftOut,
}

/// A writer of traces in one format.
///
/// A sink gets every change in order, and finally the end of the run. It writes as it goes if its format allows, so
/// that its memory does not grow with the run. It may fail at any call and is not called again after that. It must not
/// keep spans until the end to sort them: a run may have billions.
pub trait Sink {
    /// Whether the sink needs every change, or only the end of the run.
    fn wants_changes(&self) -> bool {
        true
    }

    /// Handles one change.
    ///
    /// # Errors
    /// Those of writing.
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> io::Result<()>;

    /// Handles the end of the run and writes buffered output.
    ///
    /// # Errors
    /// Those of writing.
    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()>;
}
