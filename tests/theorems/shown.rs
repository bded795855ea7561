//! Theorem: whatever a recording says, in whatever order, it is folded into spans that add up, and every format shows them
//! as what they are: nothing that a guest has named becomes a control character, a line, a frame or a piece of JSON.

use std::collections::{BTreeMap, BTreeSet};

use arbtest::arbitrary::{self, Unstructured};
use serde_json::Value;
use wasmtrace::export::{Chrome, Flat, Folded, Look, OtlpJson, RunInfo, Sink, Sort, Summary, Tree};
use wasmtrace::hook::ProbeId;
use wasmtrace::label::{Label, Source, printable};
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::span_builder::{Change, SpanBuilder, What};
use wasmtrace::trace::{Event, EventKind, Manual, RunOutcome, Trap};

/// What terminals obey, what turns text around, what ends a line or a frame, and what looks like JSON or a tag.
pub const HOSTILE: [&str; 13] = [
    "\x1b]0;title\x07",
    "\u{202e}reversed\u{2066}",
    "line\u{2028}paragraph\u{2029}",
    "\u{9b}2J\u{85}",
    "two\r\nlines 5\n",
    "a;b c 17",
    "\"},{\"ph\":\"B\",\"",
    "</script><script>alert(1)</script>",
    "\\ud800\\",
    "nul\0\u{7f}\u{feff}\u{200b}",
    "\u{e0041}tag\u{fff9}\u{2060}",
    "soft\u{ad}\u{61c}\u{180e}marks\u{200e}",
    "",
];

/// A text that holds something hostile.
pub fn text(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    let middle = *u.choose(&HOSTILE)?;
    Ok(format!("{}{middle}{}", u.arbitrary::<&str>()?, u.arbitrary::<char>()?))
}

/// A run of nobody's making: events of every kind, and names of the worst.
pub fn anything_is_shown_as_what_it_is(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut labels = BTreeMap::new();
    for id in 0..=4 {
        let name: String = text(u)?;
        let file = if u.arbitrary()? { Some(text(u)?.into()) } else { None };
        let line = file.is_some().then_some(7);
        let label = Label { name: name.into(), file, line, source: Source::NameSection, index: None, language: None };
        labels.insert(ProbeId(id), label);
    }
    let run_info = RunInfo { program: text(u)?, labels, ..Default::default() };
    let ending = match u.int_in_range(0..=4)? {
        0 => RunOutcome::Returned,
        1 => RunOutcome::Exited(u.arbitrary()?),
        2 => RunOutcome::Trapped(Trap { code: text(u)?, message: text(u)?, frames: vec![u.int_in_range(0..=5)?, 0] }),
        3 => RunOutcome::Interrupted(u.arbitrary()?),
        _ => RunOutcome::Unknown,
    };
    let mut events = super::recording::anything(u)?;
    for event in &mut events {
        if let EventKind::Manual(manual) = &mut event.kind
            && let Manual::SpanEnter(said) | Manual::Tags(said) | Manual::Metric(said) | Manual::Log(_, said) =
                &mut **manual
        {
            *said += HOSTILE[said.len() % HOSTILE.len()];
        }
    }
    assert_shown(&run_info, &events, &ending);
    Ok(())
}

/// The theorem, of these events.
pub fn assert_shown(run_info: &RunInfo, events: &[Event], ending: &RunOutcome) {
    let mut written = [const { Vec::new() }; 5];
    let [chrome, folded, otlp, tree, flat] = &mut written;
    let look = Look { min_share: 0.0, sort: Sort::Total, width: Some(60), ..Default::default() };
    let mut sinks: [Box<dyn Sink + '_>; 5] = [
        Box::new(Chrome::new(chrome)),
        Box::new(Folded::new(folded)),
        Box::new(OtlpJson::new(otlp).unwrap()),
        Box::new(Tree::new(tree, look)),
        Box::new(Flat::new(flat, look)),
    ];
    let (mut fold, mut profile, mut spans) = (SpanBuilder::new(), Profile::new(), Spans::default());
    {
        let mut tell = |change: &Change<'_>| {
            spans.change(change);
            profile.change(change);
            sinks.iter_mut().for_each(|sink| sink.change(run_info, change).unwrap());
        };
        events.iter().for_each(|event| fold.event(event, &mut tell));
        fold.finish(fold.last(), ending, &mut tell);
    }
    let summary = Summary {
        ending,
        duration: fold.last(),
        profile: &profile,
        anomalies: fold.anomalies(),
        accuracy: Default::default(),
        lines: &Default::default(),
        left_out: Default::default(),
    };
    sinks.iter_mut().for_each(|sink| sink.finish(run_info, &summary).unwrap());
    drop(sinks);

    assert!(spans.open.is_empty(), "{:?} are open after the end", spans.open);
    assert_eq!(spans.self_time, spans.covered, "own times do not add up to the time that spans were open");
    assert_eq!(
        profile.nodes().map(|node| node.self_time).sum::<u64>(),
        spans.self_time,
        "the call tree has other times"
    );

    let written = written.map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    for text in &written {
        if let Some(c) = text.chars().find(|c| *c != '\n' && is_hostile(*c)) {
            panic!("{c:?} comes through: {text:?}");
        }
    }
    let [chrome, folded, otlp, _, _] = &written;
    assert_chrome(chrome, run_info, &spans);
    let frame = |what: &What| printable(&run_info.name(what)).replace(';', ":");
    let frames: BTreeSet<String> = spans.names.iter().map(frame).collect();
    let sum = folded.lines().map(|line| {
        let (path, nanos) = line.rsplit_once(' ').expect("a path and a number");
        assert!(path.split(';').all(|frame| frames.contains(frame)), "a name became several frames: {line:?}");
        nanos.parse::<u64>().expect("a number")
    });
    assert_eq!(sum.sum::<u64>(), spans.self_time, "folded stacks have other times");
    let in_otlp: usize = otlp
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len()
        })
        .sum();
    assert_eq!(in_otlp, spans.names.len() + 1, "OTLP has other spans, beside the run's");
}

/// Characters that must not be shown as they are: controls, separators of lines and paragraphs, and those of Unicode's
/// category Cf that hide text or turn it around (UnicodeData.txt; TR 36, "Bidirectional Text Spoofing").
pub fn is_hostile(c: char) -> bool {
    const RANGES: [(u32, u32); 12] = [
        (0x00, 0x1f),
        (0x7f, 0x9f),
        (0xad, 0xad),
        (0x61c, 0x61c),
        (0x180e, 0x180e),
        (0x200b, 0x200f),
        (0x2028, 0x202e),
        (0x2060, 0x2064),
        (0x2066, 0x206f),
        (0xfeff, 0xfeff),
        (0xfff9, 0xfffb),
        (0xe0001, 0xe007f),
    ];
    RANGES.iter().any(|(from, to)| (*from..=*to).contains(&(c as u32)))
}

/// One JSON array in which the spans begin and end, by names that are the guest's.
fn assert_chrome(text: &str, run_info: &RunInfo, spans: &Spans) {
    let events: Vec<Value> = serde_json::from_str(text).expect("one JSON array");
    let of = |kinds: [&'static str; 2]| -> Vec<&Value> {
        events.iter().filter(|event| kinds.iter().any(|kind| event["ph"] == *kind)).collect()
    };
    assert_eq!(of(["B", "b"]).len(), spans.names.len());
    assert_eq!(of(["E", "e"]).len(), spans.names.len());
    for (event, what) in of(["B", "b"]).into_iter().zip(&spans.names) {
        assert_eq!(event["name"].as_str().unwrap(), run_info.name(what), "a name is lost on the way");
    }
}

/// What the fold says, kept in the simplest way: which spans are open, and for how long any is.
#[derive(Default)]
struct Spans {
    open: Vec<u64>,
    names: Vec<What>,
    self_time: u64,
    covered: u64,
    now: u64,
}

impl Spans {
    fn change(&mut self, change: &Change<'_>) {
        match change {
            Change::Opened { number, what, at } => {
                self.pass(*at);
                self.open.push(*number);
                self.names.push((*what).clone());
                assert_eq!(*number, self.names.len() as u64, "spans are counted as they are opened");
            }
            Change::Closed { span, depth } => {
                self.pass(span.end);
                assert!(span.start <= span.end && span.self_time <= span.end - span.start, "{span:?}");
                assert_eq!(self.open.remove(*depth), span.number, "another span stands at that depth");
                assert_eq!(&self.names[span.number as usize - 1], span.what);
                let parent = depth.checked_sub(1).map(|at| self.open[at]);
                assert_eq!(span.parent, parent, "{span:?}");
                self.self_time += span.self_time;
            }
            Change::Noted { at, span, .. } => {
                self.pass(*at);
                assert_eq!(*span, self.open.last().copied());
            }
        }
    }

    fn pass(&mut self, at: u64) {
        assert!(at >= self.now, "times go back");
        if !self.open.is_empty() {
            self.covered += at - self.now;
        }
        self.now = at;
    }
}
