//! What becomes of events, and what that costs: nanoseconds an event, and bytes.
//!
//! ```sh
//! benches/programs.sh && cargo bench -p benches --bench consume
//! cargo bench -p benches --bench consume -- --millions 8 lua
//! ```
//!
//! The first millions of a program's events are kept, and go through each step once a round.

#[allow(dead_code, reason = "each bench needs a part of it")]
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::Instant;

use benches::{Args, Program, machine, spread};
use wasmtrace::export::{Chrome, Folded, OtlpJson, RunInfo, Sink, Summary};
use wasmtrace::hook::{HookSet, MANIFEST_SECTION, Manifest};
use wasmtrace::module;
use wasmtrace::runtime;
use wasmtrace::trace::Event;
use wasmtrace::trace::RunOutcome;
use wasmtrace::trace::batch::Batch;
use wasmtrace::trace::calltree::CallTree;
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::recording::{Block, Footer, Reader, Writer};
use wasmtrace::trace::span_builder::SpanBuilder;

const ROUNDS: usize = 7;

fn main() {
    let Args { number: millions, programs } = Args::read("--millions", 8);
    println!("{}; {ROUNDS} rounds: median, nanoseconds an event.\n", machine());
    println!(
        "| program | events | words to call tree | words to a recording | to spans | to call tree | folded | chrome | otlp-json | to a recording | bytes | from a recording | and to call tree |"
    );
    println!("|---|{}", "--:|".repeat(12));
    for program in &programs {
        let (subject, events) = events(program, millions * 1_000_000);
        let recording = write(&subject, &events);
        let batches = batches(program, millions * 1_000_000);
        let words = batches.iter().map(Batch::events).sum::<u64>() as f64;
        let of_words: Vec<[f64; 2]> = (0..ROUNDS).map(|_| round_of_words(&subject, &batches)).collect();
        let word = |i: usize| format!("{:.1}", spread(of_words.iter().map(|r| r[i] / words)).median);
        let rounds: Vec<[f64; 8]> = (0..ROUNDS).map(|_| round(&subject, &events, &recording)).collect();
        let step = |i: usize| format!("{:.1}", spread(rounds.iter().map(|r| r[i] / events.len() as f64)).median);
        println!(
            "| {} | {:.1} M | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {} | {} |",
            program.name,
            events.len() as f64 / 1e6,
            word(0),
            word(1),
            step(0),
            step(1),
            step(2),
            step(3),
            step(4),
            step(5),
            recording.len() as f64 / events.len() as f64,
            step(6),
            step(7),
        );
    }
}

/// The first `most` events of a program that records into a buffer.
fn events(program: &Program, most: usize) -> (RunInfo, Vec<Event>) {
    let wasm = program.hooked(HookSet::Buffer);
    let module = module::parse(&wasm).expect("valid");
    let section = module.custom(MANIFEST_SECTION).expect("it is hooked");
    let manifest = Manifest::decode(&wasm[section.data.clone()], 0).expect("ours");
    let labels = manifest.probes.into_iter().map(|probe| (probe.id, probe.label)).collect();
    let mut subject = RunInfo { program: program.name.to_owned(), labels, ..Default::default() };
    subject.recording.clock = "coarse".to_owned();
    let config = program.config();
    let mut events: Vec<Event> = Vec::with_capacity(most);
    runtime::run(&wasm, &config, |block| {
        let room = most - events.len();
        events.extend_from_slice(&block[..block.len().min(room)]);
        if events.len() == most {
            config.interrupt.store(2, Ordering::Relaxed);
        }
    })
    .expect("it runs");
    (subject, events)
}

/// The same as it is recorded: words, and stamps among them.
fn batches(program: &Program, most: usize) -> Vec<Batch> {
    let (wasm, config) = (program.hooked(HookSet::Buffer), program.config());
    let (mut batches, mut words): (Vec<Batch>, usize) = (Vec::new(), 0);
    runtime::run_batches(&wasm, &config, |batch| {
        if words < most {
            words += batch.words.len();
            batches.push(batch.clone());
        } else {
            config.interrupt.store(2, Ordering::Relaxed);
        }
    })
    .expect("it runs");
    batches
}

/// Nanoseconds to turn words without times into a call tree, and into a recording.
fn round_of_words(subject: &RunInfo, batches: &[Batch]) -> [f64; 2] {
    [
        time(|| {
            let mut tree = CallTree::counting();
            batches.iter().for_each(|batch| tree.batch(batch));
            tree
        }),
        time(|| {
            let mut header = subject.header();
            header.stamped = true;
            let mut writer = Writer::new(std::io::sink(), &header).expect("nothing is written");
            batches.iter().for_each(|batch| writer.batch(batch).expect("nothing is written"));
        }),
    ]
}

/// Nanoseconds that a step takes.
fn time<T>(step: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(step());
    begun.elapsed().as_nanos() as f64
}

fn round(subject: &RunInfo, events: &[Event], recording: &[u8]) -> [f64; 8] {
    let out = std::io::sink;
    [
        time(|| {
            let mut spans = 0u64;
            let mut fold = SpanBuilder::new();
            events.iter().for_each(|event| fold.event(event, &mut |_| spans += 1));
            spans
        }),
        time(|| call_tree(events)),
        time(|| sink(subject, events, Folded::new(out()))),
        time(|| sink(subject, events, Chrome::new(out()))),
        time(|| sink(subject, events, OtlpJson::new(out()).expect("there is randomness"))),
        time(|| write(subject, events)),
        time(|| read(recording, |_| {})),
        time(|| {
            let (mut fold, mut profile) = (SpanBuilder::new(), Profile::new());
            read(recording, |events| {
                events.iter().for_each(|event| fold.event(event, &mut |change| profile.change(change)));
            });
            profile
        }),
    ]
}

fn call_tree(events: &[Event]) -> Profile {
    let (mut fold, mut profile) = (SpanBuilder::new(), Profile::new());
    events.iter().for_each(|event| fold.event(event, &mut |change| profile.change(change)));
    fold.finish(fold.last(), &RunOutcome::Unknown, &mut |change| profile.change(change));
    profile
}

/// As the command line does it: every sink has the call tree beside it.
fn sink(subject: &RunInfo, events: &[Event], mut sink: impl Sink) {
    let (mut fold, mut profile) = (SpanBuilder::new(), Profile::new());
    for event in events {
        fold.event(event, &mut |change| {
            profile.change(change);
            sink.change(subject, change).expect("nothing is written");
        });
    }
    let duration = fold.last();
    fold.finish(duration, &RunOutcome::Unknown, &mut |change| {
        profile.change(change);
        sink.change(subject, change).expect("nothing is written");
    });
    let summary = Summary {
        ending: &RunOutcome::Unknown,
        duration,
        profile: &profile,
        anomalies: fold.anomalies(),
        accuracy: Default::default(),
        lines: &Default::default(),
        left_out: Default::default(),
    };
    sink.finish(subject, &summary).expect("nothing is written");
}

fn write(subject: &RunInfo, events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &subject.header()).expect("memory");
    events.iter().for_each(|event| writer.event(event).expect("memory"));
    writer.finish(&Footer { ending: RunOutcome::Unknown, duration: 0 }).expect("memory")
}

fn read(recording: &[u8], mut take: impl FnMut(&[Event])) {
    let mut reader = Reader::open(recording).expect("it was just written");
    let mut events = Vec::new();
    while reader.block(&mut events).expect("sound") == Block::Events {
        take(&events);
    }
}
