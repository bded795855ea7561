//! The corpus, as tests see it.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Read;
use std::path::{Path, PathBuf};

use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::{ErrorKind, Options, instrument, module, rewrite};

pub mod balance;
pub mod host;
pub mod node;
pub mod programs;
pub mod same;

/// One module of the corpus.
pub struct Case {
    /// The file's name without its ending: for a shape, the sentence that it stands for.
    pub name: String,
    pub wasm: Vec<u8>,
    /// What the second line of a shape says, if anything: why it does not run.
    pub not_run: Option<String>,
}

pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus().join(folder))
        .expect("the corpus is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| endings.iter().any(|e| path.to_str().unwrap().ends_with(e)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {endings:?} in corpus/{folder}");
    files
}

/// The shapes that are to be hooked.
pub fn shapes() -> Vec<Case> {
    all_shapes().into_iter().filter_map(|(case, refused)| refused.is_none().then_some(case)).collect()
}

/// The shapes that are to be refused, with the reason that their second line gives.
pub fn refused_shapes() -> Vec<(Case, String)> {
    all_shapes().into_iter().filter_map(|(case, refused)| Some((case, refused?))).collect()
}

fn all_shapes() -> Vec<(Case, Option<String>)> {
    files("shapes", &[".wat"])
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let second = text.lines().nth(1).unwrap_or_default();
            let says =
                |what: &str| second.strip_prefix(";; ").and_then(|l| l.strip_prefix(what)).map(|l| l.trim().to_owned());
            let case = Case {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                wasm: wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
                not_run: says("not-run:"),
            };
            (case, says("refused:"))
        })
        .collect()
}

/// The real programs.
pub fn programs() -> Vec<Case> {
    files("real", &[".wasm", ".wasm.gz"])
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            let wasm = match path.extension().unwrap().to_str() {
                Some("gz") => {
                    let mut wasm = Vec::new();
                    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut wasm).unwrap();
                    wasm
                }
                _ => bytes,
            };
            Case { name, wasm, not_run: None }
        })
        .collect()
}

/// Every module that is to be hooked.
pub fn modules() -> Vec<Case> {
    let mut cases = shapes();
    cases.extend(programs());
    cases
}

/// The module with every function hooked.
pub fn hooked_with(wasm: &[u8], hooks: HookSet) -> wasmtrace::error::Result<Rewritten> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() })
}

/// With the Observe set first, and with each other that fits the module.
pub fn hooked_with_each(wasm: &[u8]) -> Vec<Rewritten> {
    let mut outs = vec![hooked_with(wasm, HookSet::Observe).unwrap()];
    for set in HOOK_SETS.into_iter().filter(|set| set.has_buffer()) {
        match hooked_with(wasm, set) {
            Ok(out) => outs.push(out),
            Err(e) => assert!(matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit), "{e}"),
        }
    }
    outs
}

/// The exports of a shape that are to be called.
pub fn functions_to_run(wasm: &[u8]) -> Vec<String> {
    let module = module::parse(wasm).unwrap();
    module.exports().iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("run")).collect()
}

/// Runs a test for each case, and fails with the names of all that failed.
pub fn for_each(cases: Vec<Case>, test: impl Fn(&Case)) {
    for_each_named(&cases, |case| &case.name, test);
}

/// The same for anything that has a name.
pub fn for_each_named<C>(cases: &[C], name: impl Fn(&C) -> &str, test: impl Fn(&C)) {
    let failed: Vec<&str> = cases
        .iter()
        .filter(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(case))).is_err())
        .map(name)
        .collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}
