//! Theorem: the WebAssembly specification's testsuite keeps every verdict with every function of every module hooked, in each
//! hook set: values returned, kinds of traps, exhaustion, exceptions, what links and what does not, through any number of
//! modules that import from each other. What hooks see of each call is balanced, and as much in each set.
//!
//! Theorem: every valid module of the suites, whether the engine runs it or not, comes out of each hook set valid, as itself
//! with hooks and nothing else, needs no feature that its suite does not have, and gives its input back, byte for byte. What
//! a suite calls invalid or malformed the parser refuses under that suite's features; what it does not refuse with every
//! feature on comes out in the same way.
//!
//! A file is a test: `cargo test --test spec -- v3/call` runs some of them. A complete run prints the table that
//! `docs/oracles.md` has to show. What does not hold without hooks either is listed in `spec/suites.rs`; a list that says too
//! much fails.

/// The parts of this test, in `tests/spec/`.
mod spec {
    #![allow(unreachable_pub, reason = "modules of a test binary")]

    pub mod hooked;
    pub mod script;
    pub mod spectest;
    pub mod suites;
    pub mod table;
    pub mod values;
}

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use spec::hooked::{Flavour, Prepared, prepared};
use spec::script::{self, Step, What};
use spec::suites::{Skipped, Suite, suites};
use spec::table::{self, Tally};
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::module;
use wast::parser::{self, ParseBuffer};

fn main() -> ExitCode {
    let suites: &'static [Suite] = suites().leak();
    let tallies: Arc<Mutex<BTreeMap<String, Tally>>> = Arc::default();
    let mut trials = Vec::new();
    for suite in suites {
        for file in &suite.files {
            let (path, tallies) = (suite.path(file), tallies.clone());
            trials.push(Trial::test(path.clone(), move || {
                let tally = keeps_its_verdicts(suite, &path, file.raw())?;
                tallies.lock().unwrap().insert(path, tally);
                Ok(())
            }));
        }
    }
    let files = trials.len();
    trials.push(Trial::test("finds_what_is_not_so", || Ok(finds_what_is_not_so()?)));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let tallies = tallies.lock().unwrap();
    if tallies.len() < files {
        return conclusion.exit_code();
    }
    let table = table::table(suites, &tallies);
    println!("{table}");
    testing::golden::assert_part("docs/oracles.md", "<!-- spec -->", "<!-- /spec -->", &table);
    conclusion.exit_code()
}

/// What a file comes to in every suite that it is part of.
struct Script {
    /// The modules that are valid and those that are to be refused, each with its line.
    valid: Vec<(usize, Arc<Prepared>)>,
    refused: Vec<(usize, Vec<u8>)>,
    /// What is not as the file says, without hooks; and what is otherwise with hooks.
    without_hooks: Vec<(usize, String)>,
    with_hooks: Vec<String>,
    /// The lines of assertions that something comes to us of.
    assertions: Vec<usize>,
    tally: Tally,
}

/// A third of the files are in several suites, word for word: these are played once.
static PLAYED: LazyLock<Mutex<HashMap<&'static str, Once>>> = LazyLock::new(Mutex::default);

type Once = Arc<OnceLock<Result<Script, String>>>;

fn keeps_its_verdicts(suite: &Suite, path: &str, text: &'static str) -> Result<Tally, Failed> {
    let once = PLAYED.lock().unwrap().entry(text).or_default().clone();
    let script = once.get_or_init(|| play(text)).as_ref()?;
    let mut wrong = script.with_hooks.clone();
    for (line, module) in &script.valid {
        if let Err(e) = module::parse_under(&module.wasm, suite.features) {
            wrong.push(format!("line {line}: refused: {e}"));
        } else if let Some(why) = module.needs_more_than(suite.features) {
            wrong.push(format!("line {line}: with hooks it is not valid in this suite any more: {why}"));
        }
    }
    let mut without_hooks = script.without_hooks.clone();
    for (line, wasm) in &script.refused {
        if module::parse_under(wasm, suite.features).is_ok() {
            without_hooks.push((*line, "not refused".to_owned()));
        }
    }
    let skipped = Skipped::of(path);
    let (covered, others): (Vec<_>, Vec<_>) =
        without_hooks.iter().partition(|(line, why)| skipped.is_some_and(|skipped| skipped.covers(*line, why)));
    wrong.extend(others.iter().map(|(line, why)| format!("line {line}: without hooks: {why}")));
    if skipped.is_some_and(|skipped| covered.len() < skipped.least()) {
        wrong.push(format!("of what is skipped only this is otherwise than the file says: {covered:?}"));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    let is_skipped = |line: &&usize| covered.iter().any(|(skipped, _)| skipped == *line);
    let skipped = script.assertions.iter().filter(is_skipped).count();
    Ok(Tally { files: 1, assertions: script.assertions.len() - skipped, skipped, ..script.tally })
}

fn play(text: &str) -> Result<Script, String> {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|e| e.to_string())?;
    let wast: wast::Wast<'_> = parser::parse(&buffer).map_err(|e| e.to_string())?;
    let steps = script::steps(text, wast.directives)?;

    let mut script = Script {
        valid: Vec::new(),
        refused: Vec::new(),
        without_hooks: Vec::new(),
        with_hooks: Vec::new(),
        assertions: steps.iter().filter(|step| step.is_assertion()).map(|step| step.line).collect(),
        tally: Tally::default(),
    };
    for step in &steps {
        if let Some(module) = step.valid_module() {
            script.tally.modules += usize::from(module.hooked[0].as_ref() != Some(&module.wasm));
            script.tally.shared += usize::from(module.hooked.contains(&None));
            script.valid.push((step.line, module.clone()));
        }
        match &step.what {
            What::Refused(None) => script.tally.text += 1,
            What::Refused(Some(wasm)) => {
                script.refused.push((step.line, wasm.clone()));
                if module::parse(wasm).is_ok()
                    && let Err(why) = prepared(wasm.clone())
                {
                    script.with_hooks.push(format!("line {}: {why}", step.line));
                }
            }
            _ => {}
        }
    }
    compare(&steps, &mut script);
    Ok(script)
}

/// Plays the steps in every flavour.
fn compare(steps: &[Step<'_>], script: &mut Script) {
    let plain = script::play(steps, Flavour::Plain);
    let wrong = plain.iter().filter_map(|step| Some((step.line, step.verdict.clone().err()?)));
    script.without_hooks.extend(wrong);
    let mut observed = Vec::new();
    for set in HOOK_SETS {
        let hooked = script::play(steps, Flavour::Hooked(set));
        for (at, (plain, hooked)) in plain.iter().zip(&hooked).enumerate() {
            let otherwise = match (&plain.verdict, &hooked.verdict) {
                (Ok(()), Err(why)) => why.clone(),
                (Err(why), Ok(())) => format!("not so with hooks: {why}"),
                _ if set == HookSet::Buffer
                    && script.tally.shared == 0
                    && !hooked.exhausted
                    && hooked.calls != observed[at] =>
                {
                    format!("{} calls, where the set observe has {}", hooked.calls, observed[at])
                }
                _ => continue,
            };
            script.with_hooks.push(format!("line {}: {}: {otherwise}", hooked.line, set.name()));
        }
        if set == HookSet::Observe {
            observed = hooked.iter().map(|step| step.calls).collect();
        }
    }
}

/// Every directive behind the first claims what is not so.
const WRONG: &str = r#"(module
  (func (export "one") (result i32) i32.const 1)
  (func (export "nan") (result f32) f32.const nan:0x200000)
  (func (export "vector") (result v128) v128.const i32x4 1 2 3 4)
  (func (export "null") (result funcref) ref.null func)
  (func (export "same") (param externref) (result externref) local.get 0)
  (func (export "trap") unreachable)
  (global (export "global") i32 i32.const 1))
(assert_return (invoke "one") (i32.const 2))
(assert_return (invoke "one"))
(assert_return (invoke "one") (f32.const 1))
(assert_return (invoke "one") (either (i32.const 2) (i32.const 3)))
(assert_return (invoke "nan") (f32.const nan:canonical))
(assert_return (invoke "nan") (f32.const nan:arithmetic))
(assert_return (invoke "vector") (v128.const i32x4 1 2 3 5))
(assert_return (invoke "null") (ref.func))
(assert_return (invoke "null") (ref.null extern))
(assert_return (invoke "same" (ref.extern 1)) (ref.extern 2))
(assert_return (invoke "same" (ref.extern 1)) (ref.null))
(assert_return (invoke "trap"))
(assert_return (invoke "nothing"))
(assert_return (get "global") (i32.const 2))
(assert_trap (invoke "one") "unreachable")
(assert_trap (invoke "trap") "integer overflow")
(assert_trap (module) "unreachable")
(assert_exhaustion (invoke "trap") "call stack exhausted")
(assert_exception (invoke "trap"))
(assert_unlinkable (module) "unknown import")
(invoke "trap")
(register "nobody" $nobody)
(module (import "nobody" "f" (func)))
(invoke "one")
"#;

/// Theorem: what is not so is found, in every flavour. (Without this the test would prove nothing where it compares nothing.)
fn finds_what_is_not_so() -> Result<(), String> {
    let lines: Vec<usize> = (9..=WRONG.lines().count()).collect();
    let buffer = ParseBuffer::new(WRONG).map_err(|e| e.to_string())?;
    let wast: wast::Wast<'_> = parser::parse(&buffer).map_err(|e| e.to_string())?;
    let steps = script::steps(WRONG, wast.directives)?;
    for flavour in [Flavour::Plain].into_iter().chain(HOOK_SETS.map(Flavour::Hooked)) {
        let played = script::play(&steps, flavour);
        let found: Vec<usize> = played.iter().filter(|step| step.verdict.is_err()).map(|step| step.line).collect();
        if found != lines {
            return Err(format!("{flavour:?}: wrong are the lines {lines:?}, found were {found:?}"));
        }
    }
    Ok(())
}
