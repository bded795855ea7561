//! Theorem: what is written is what we meant. For each `corpus/shapes/*.wat` the output as text, with every function hooked,
//! is the one in `tests/snapshots/`, under the same name. A person has read them against the rules of the rewriting.
//!
//! `BLESS=1 cargo test --test compiler snapshots::` writes down what comes out now; read the difference before you keep it.
//!
//! In `tests/snapshots/buffer`, the operators that write one event are folded into one line, so that a person can read it.
//! A pattern is the operators joined by `|`. Its holes are taken from the lines themselves (which local, which memory, the
//! word that is stored); then the filled pattern is compared with the lines, operator for operator:
//!
//! ```text
//! i32.const 0 | i32.load MEMORY | local.tee LOCAL | … | i32.const WORD | i32.store MEMORY | …
//!                                                            │
//!          lowest two bits: 0 ENTER, 1 EXIT, 2 CAUGHT, 3 ENTER … CATCHING; the rest: the function
//!                                                            ▼
//! ;; ENTER 3 (local 2, memory 0)
//!
//! different by one operator, local or memory:  not folded, so the snapshot shows all of the lines
//! ```
//!
//! `tests/snapshots/events` has the same hooks in full.

use testing::golden::snapshots;
use wasmtrace::hook::HookSet;
use wasmtrace::{Options, instrument};

/// Longer outputs are repetition; the small shapes beside them show the same.
const LONGEST: usize = 40_000;

/// The text of the output. Our own custom sections go: the Manifest and `producers` hold hashes and versions.
fn text(wasm: &[u8]) -> String {
    let text = wasmprinter::print_bytes(wasm).unwrap();
    let mut kept = String::new();
    let mut in_producers = false;
    for line in text.lines() {
        in_producers |= line == "  (@producers";
        if in_producers {
            in_producers = line != "  )";
        } else if !line.starts_with("  (@custom \"wasmtrace.manifest\"") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The operators that write one event into a buffer (`crates/instrument/src/hooks/buffer.rs`) as one line; anything that is
/// not just those, in that order, with one local and one memory, stays as it is.
fn folded(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = String::new();
    let mut at = 0;
    while at < lines.len() {
        match event(&lines[at..]).or_else(|| leaf_exit(&lines[at..])) {
            Some((event, length)) => {
                let indent = lines[at].len() - lines[at].trim_start().len();
                kept += &format!("{:indent$};; {event}\n", "");
                at += length;
            }
            None => {
                kept += &format!("{}\n", lines[at]);
                at += 1;
            }
        }
    }
    kept
}

/// What the lines write at their beginning, if that is an event, and how many they are.
fn event(lines: &[&str]) -> Option<(String, usize)> {
    let operand = |at: usize, operator: &str| lines.get(at)?.trim_start().strip_prefix(operator);
    let memory = operand(1, "i32.load")?; // with a space before it, or none for memory 0
    let local = operand(2, "local.tee ")?;
    let label = operand(6, "if ;; label = ")?;
    let flush = operand(7, "call ")?;
    let (said, number) = match operand(13, "i32.const ") {
        Some(word) => (word.parse::<u32>().ok()?, None),
        None => (2, Some(operand(13, "local.get ")?)),
    };
    let word = match number {
        Some(number) => format!("local.get {number}|i32.const 3|i32.shl|i32.const 1|i32.shr_u|i32.const 2|i32.or"),
        None => format!("i32.const {}", said as i32),
    };
    let mut written = format!(
        "i32.const 0|i32.load{memory}|local.tee {local}|i32.const 0|i32.load{memory} offset=4|i32.ge_u|if ;; label = {label}\
         |call {flush}|i32.const 0|i32.load{memory}|local.set {local}|end|local.get {local}|{word}|i32.store{memory}\
         |i32.const 0|local.get {local}|i32.const 4|i32.add|i32.store{memory}"
    );
    let into = if memory.is_empty() { " 0" } else { memory };
    let event = match said & 3 {
        0 => format!("ENTER {} (local {local}, memory{into})", said >> 2),
        1 => format!("EXIT {} (local {local}, memory{into})", said >> 2),
        2 => format!("CAUGHT {} (local {local}, memory{into})", number?),
        _ => {
            let number = operand(25, "local.tee ")?;
            written += &format!(
                "|i32.const 0|i32.const 0|i32.load{memory} offset=8|i32.const 1|i32.add|local.tee {number}\
                 |i32.store{memory} offset=8"
            );
            format!("ENTER {} CATCHING {number} (local {local}, memory{into})", said >> 2)
        }
    };
    are(lines, &written, flush).then_some((event, written.split('|').count()))
}

/// Whether the lines begin with those operators, which call that function.
fn are(lines: &[&str], written: &str, flush: &str) -> bool {
    let operators: Vec<&str> = written.split('|').collect();
    let same = lines.len() >= operators.len() && lines.iter().zip(&operators).all(|(line, op)| line.trim() == *op);
    same && flush.ends_with("flush-words")
}

/// The same for the exit of a function that calls nothing.
fn leaf_exit(lines: &[&str]) -> Option<(String, usize)> {
    let operand = |at: usize, operator: &str| lines.get(at)?.trim_start().strip_prefix(operator);
    let local = operand(0, "local.get ")?;
    let memory = operand(4, "i32.load")?.strip_suffix(" offset=4")?;
    let label = operand(6, "if ;; label = ")?;
    let flush = operand(7, "call ")?;
    let word = |at: usize| Some(operand(at, "i32.const ")?.parse::<i32>().ok()? as u32);
    let (exit, leaf) = (word(11)?, word(20)?);
    let written = format!(
        "local.get {local}|i32.const 2|i32.add|i32.const 0|i32.load{memory} offset=4|i32.ge_u|if ;; label = {label}\
         |call {flush}|i32.const 0|i32.load{memory}|local.tee {local}|i32.const {}|i32.store{memory}\
         |i32.const 0|local.get {local}|i32.const 4|i32.add|i32.store{memory}\
         |else|local.get {local}|i32.const {}|i32.store{memory}|end",
        exit as i32, leaf as i32
    );
    let same = exit & 3 == 1 && leaf == 1 << 31 | exit & !3 | 2;
    let into = if memory.is_empty() { " 0" } else { memory };
    let event = format!("EXIT {} OF A LEAF (local {local}, memory{into})", exit >> 2);
    (same && are(lines, &written, flush)).then_some((event, written.split('|').count()))
}

/// Holds the output of every shape against its snapshot, and the snapshots against the shapes.
fn assert_written_down(folder: &str, hooks: HookSet, shown: impl Fn(&str) -> String) {
    snapshots(folder).bind(|| {
        let long = std::sync::Mutex::new(Vec::new());
        testing::for_each(testing::shapes(), |case| {
            let text = match testing::hooked_with(&case.wasm, hooks) {
                Ok(out) => {
                    let warnings: String = out.warnings.iter().map(|w| format!(";; warning: {w}\n")).collect();
                    warnings + &shown(&text(&out.wasm))
                }
                Err(e) => format!(";; {:?}: {e}\n", e.kind()),
            };
            if text.len() > LONGEST {
                long.lock().unwrap().push(case.name.clone());
                return;
            }
            insta::assert_snapshot!(case.name.as_str(), text);
        });
        // Named here, so that a shape cannot grow out of the test unseen.
        assert_eq!(long.into_inner().unwrap(), [""; 0]);
    });
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(folder);
    let shapes: Vec<String> = testing::shapes().into_iter().map(|case| case.name).collect();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(file.is_dir() || shapes.contains(&name), "{} belongs to no shape", file.display());
    }
}

#[test]
fn every_shape_becomes_what_was_written_down() {
    assert_written_down("", HookSet::Observe, str::to_owned);
}

/// The hooks of a buffer differ in what stands for an event, and in what has to be there for it: a memory, a local, two imports.
#[test]
fn every_shape_with_a_buffer_becomes_what_was_written_down() {
    assert_written_down("buffer", HookSet::Buffer, folded);
}

/// What is folded above, in full; `threshold` differs in its exit alone.
#[test]
fn hooks_that_write_into_a_buffer_are_what_was_written_down() {
    let case = testing::shapes().into_iter().find(|case| case.name == "body_falls_through").unwrap();
    for hooks in [HookSet::Buffer, HookSet::Threshold] {
        let out = testing::hooked_with(&case.wasm, hooks).unwrap();
        snapshots("events").bind(|| insta::assert_snapshot!(hooks.name(), text(&out.wasm)));
    }
}

/// A shape that is to be refused says why in its second line, and the error says that too.
#[test]
fn shapes_that_are_refused_are_refused_for_the_reason_given() {
    for (case, reason) in testing::refused_shapes() {
        let error = instrument(&case.wasm, &Options::default()).unwrap_err();
        let said = format!(";; {reason}\n{:?}: {error}\n", error.kind());
        snapshots("refused").bind(|| insta::assert_snapshot!(case.name.as_str(), said));
    }
}
