//! Theorem: a run with machine code from the cache is the run without it, whatever stands in the cache's folder.

use std::path::{Path, PathBuf};

use testing::instrument;
use wasmtrace::runtime::{self, CodeCache, Config, Invoke, Stdio};
use wasmtrace::trace::Event;
use wasmtrace::{ErrorKind, Options, Result};

const MODULE: &str = r#"(module
    (func $double (param i32) (result i32) local.get 0 i32.const 2 i32.mul)
    (func (export "twice") (param i32) (result i32) local.get 0 call $double))"#;

/// What the guest returns, and how many events there are.
fn run(cache: Option<&Path>) -> Result<(Vec<String>, usize)> {
    let hooked = instrument(&wat::parse_str(MODULE).unwrap(), &Options::default())?;
    let config = Config {
        cache: cache.map(CodeCache::new),
        invoke: Some(Invoke { function: "twice".into(), args: vec!["21".into()] }),
        stdio: Stdio::Capture { stdin: Vec::new() },
        ..Config::default()
    };
    let mut seen = 0;
    let outcome = runtime::run(&hooked.wasm, &config, |events: &[Event]| seen += events.len())?;
    Ok((outcome.results, seen))
}

/// The entries in a cache's folder, with what is in them.
fn entries(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(entries(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    // Beside them stands how often they were used, and who cleans up.
    let is_entry = |path: &Path| path.parent().is_some_and(|folder| folder.to_string_lossy().contains("modules"));
    found.retain(|(path, _)| is_entry(path) && path.extension().is_none());
    found.sort();
    found
}

#[test]
fn the_second_run_takes_the_code_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("made").join("here");
    let without = run(None).unwrap();
    assert_eq!(without, (vec!["42".to_owned()], 4));
    assert_eq!(run(Some(&cache)).unwrap(), without);
    let first = entries(&cache);
    assert_eq!(first.len(), 1);
    assert_eq!(run(Some(&cache)).unwrap(), without);
    assert!(entries(&cache) == first, "it was compiled anew, or is another");
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(Some(folder.path())).unwrap();
    let (entry, code) = entries(folder.path()).remove(0);
    for damaged in [&b""[..], b"not code at all", &code[..code.len() / 2], &[&code[..], b"more"].concat()] {
        std::fs::write(&entry, damaged).unwrap();
        assert_eq!(run(Some(folder.path())).unwrap(), whole);
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let e = run(Some(file.path())).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Run);
    assert!(e.to_string().contains(&file.path().display().to_string()), "{e}");
}
