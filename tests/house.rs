//! Theorem: the rules of the house (`docs/architecture.md`) hold. The compiler knows nothing of running, recording and
//! exporting; only `runtime` names wasmtime, only `deliver` the network's crates, and only the binary clap and anyhow; what is
//! written to files knows nothing of the network; the compiler alone depends on nothing heavy, and the whole tree holds one wasmparser and one gimli; no file has grown beyond one idea.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex_lite::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Stages and values of the compiler: a file of that name, and what is in the folder of that name.
const COMPILER: [&str; 6] = ["module", "label", "select", "hook", "rewrite", "debug"];

/// Every source file, as its path below `src`, with its text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(ROOT).join("src");
    let mut folders = vec![src.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "{} files", files.len());
    files
}

/// The code of a file on one line: comments may name what they like.
fn code(text: &str) -> String {
    let comment = Regex::new(r"(^|\s)//.*").unwrap();
    text.lines().map(|line| comment.replace(line, "").into_owned() + " ").collect()
}

/// Which of `files` name what `pattern` finds.
fn that_name(files: &[(String, String)], pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let found = files.iter().filter_map(|(file, text)| Some((file, pattern.find(&code(text))?.as_str().to_owned())));
    found.map(|(file, named)| format!("src/{file}: {named}")).collect()
}

/// The files of which `keep` says so.
fn files(keep: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    sources().into_iter().filter(|(file, _)| keep(file)).collect()
}

fn belongs_to(file: &str, part: &str) -> bool {
    file == format!("{part}.rs") || file.starts_with(&format!("{part}/"))
}

#[test]
fn the_compiler_knows_nothing_of_the_other_half() {
    let compiler = files(|file| COMPILER.iter().any(|part| belongs_to(file, part)));
    assert!(COMPILER.iter().all(|part| compiler.iter().any(|(file, _)| belongs_to(file, part))), "a part is gone");
    // As a path, or in the braces of a `use`.
    let half = "(trace|runtime|export|deliver)";
    let path = format!(r"\b(crate|super)::{half}\b");
    let group = format!(r"use (crate|super)(::super)*::\{{([^;]*[\s,{{])?{half}\b");
    assert_eq!(that_name(&compiler, &path), [""; 0]);
    assert_eq!(that_name(&compiler, &group), [""; 0]);
}

#[test]
fn only_the_runtime_names_wasmtime() {
    let others = files(|file| !belongs_to(file, "runtime"));
    assert_eq!(that_name(&others, r"\bwasmtime(_\w+)?::|\b(use|extern crate) wasmtime(_\w+)?\b"), [""; 0]);
    // The rule would hold of nothing if the pattern did not find what it is for.
    assert!(!that_name(&files(|file| belongs_to(file, "runtime")), r"\bwasmtime(_\w+)?::").is_empty());
}

/// Each in one file, so that another takes its place there.
#[test]
fn only_deliver_names_the_crates_of_the_network() {
    const NETWORK: &str = r"\b(ureq|h2|http|tokio|rustls|tokio_rustls|rustls_native_certs)::";
    assert_eq!(that_name(&files(|file| !belongs_to(file, "deliver")), &format!("{NETWORK}[a-z]")), [""; 0]);
    for (one, names) in [("http", "ureq"), ("grpc", "h2|tokio")] {
        let others = files(|file| belongs_to(file, "deliver") && !file.ends_with(&format!("/{one}.rs")));
        let others: Vec<_> = others.into_iter().filter(|(file, _)| !file.ends_with("/tls.rs")).collect();
        assert_eq!(that_name(&others, &format!(r"(^|[^:\w])({names})::")), [""; 0]);
    }
    assert!(!that_name(&files(|file| belongs_to(file, "deliver")), NETWORK).is_empty());
}

#[test]
fn what_is_written_to_files_knows_nothing_of_the_network() {
    let others = files(|file| ["trace", "export", "runtime"].iter().any(|part| belongs_to(file, part)));
    assert_eq!(that_name(&others, r"\b(crate|super)::deliver\b"), [""; 0]);
}

#[test]
fn only_the_binary_names_clap_and_anyhow() {
    let library = files(|file| !file.starts_with("bin/"));
    assert_eq!(that_name(&library, r"\b(clap(_\w+)?|anyhow)::"), [""; 0]);
    assert!(!that_name(&sources(), r"\b(clap|anyhow)::").is_empty());
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > 600)
        .map(|(file, text)| format!("src/{file}: {} lines", text.lines().count()))
        .collect();
    assert_eq!(long, [""; 0]);
}

/// The packages, each as `name version`, that a build with these features needs.
fn dependencies(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .current_dir(ROOT)
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

fn of_name<'d>(dependencies: &'d BTreeSet<String>, name: &str) -> Vec<&'d str> {
    dependencies.iter().map(String::as_str).filter(|d| d.split(' ').next() == Some(name)).collect()
}

#[test]
fn the_compiler_alone_is_light() {
    let light = dependencies(&["--no-default-features"]);
    for heavy in [
        "wasmtime",
        "wasmtime-wasi",
        "clap",
        "anyhow",
        "gimli",
        "rayon",
        "serde",
        "tempfile",
        "ureq",
        "h2",
        "tokio",
        "rustls",
    ] {
        assert_eq!(of_name(&light, heavy), [""; 0]);
    }
    assert_eq!(of_name(&light, "wasmparser").len(), 1);
    assert!(light.len() < 25, "{light:#?}");
}

#[test]
fn there_is_one_wasmparser_and_one_gimli() {
    let all = dependencies(&[]);
    for name in ["wasmparser", "wasm-encoder", "gimli", "wasmtime"] {
        assert_eq!(of_name(&all, name).len(), 1, "{name}: {:?}", of_name(&all, name));
    }
}

/// ring is enough for TLS; what wants cmake to be built, or a library of the system, is not.
#[test]
fn nothing_of_the_network_wants_more_than_a_rust_toolchain_and_a_c_compiler() {
    let all = dependencies(&[]);
    for name in ["aws-lc-sys", "openssl-sys", "native-tls", "libz-sys"] {
        assert_eq!(of_name(&all, name), [""; 0]);
    }
    assert_eq!(of_name(&all, "rustls").len(), 1);
}
