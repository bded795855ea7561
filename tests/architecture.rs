//! Theorem: the floors of `docs/architecture.md` hold. Which crate may depend on which is a matter of their Cargo.toml, so rustc
//! refuses a forbidden `use`; here stands what those files may say: only `runtime` depends on wasmtime, only `otlp` on the
//! network's crates, only the command line on clap and anyhow; a build without engine and network has neither; the whole tree
//! holds one wasmparser and one gimli; no file has grown beyond one idea.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex_lite::Regex;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The crates from the lowest floor up, with those of ours that each may depend on.
const FLOORS: [(&str, &[&str]); 6] = [
    ("wasmtrace-abi", &[]),
    ("wasmtrace-instrument", &["wasmtrace-abi"]),
    ("wasmtrace-trace", &["wasmtrace-abi"]),
    ("wasmtrace-runtime", &["wasmtrace-abi", "wasmtrace-instrument", "wasmtrace-trace"]),
    ("wasmtrace-otlp", &["wasmtrace-abi", "wasmtrace-trace"]),
    ("wasmtrace", &["wasmtrace-abi", "wasmtrace-instrument", "wasmtrace-trace", "wasmtrace-runtime", "wasmtrace-otlp"]),
];

/// Crates of others that one of ours alone may depend on.
const OWNED: [(&str, &[&str]); 3] = [
    ("wasmtrace-runtime", &["wasmtime", "wasmtime-wasi", "wasmtime-environ"]),
    ("wasmtrace-otlp", &["ureq", "h2", "http", "tokio", "tokio-rustls", "rustls", "rustls-native-certs"]),
    ("wasmtrace", &["clap", "clap_complete", "clap_mangen", "anyhow", "anstream"]),
];

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).current_dir(ROOT).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Each package of the workspace that is published, with what it depends on outside of its tests.
fn packages() -> Vec<(String, Vec<String>)> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let published = metadata["packages"].as_array().unwrap().iter().filter(|package| package["publish"].is_null());
    published
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn a_crate_depends_on_lower_floors_alone() {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, FLOORS.iter().map(|(name, _)| *name).collect());
    for (name, below) in FLOORS {
        let (_, dependencies) = packages.iter().find(|(package, _)| package == name).unwrap();
        let ours = dependencies.iter().filter(|dependency| names.contains(dependency.as_str()));
        let forbidden: Vec<_> = ours.filter(|dependency| !below.contains(&dependency.as_str())).collect();
        assert_eq!(forbidden, [""; 0], "{name}");
    }
}

#[test]
fn what_is_heavy_has_one_owner() {
    let packages = packages();
    for (owner, theirs) in OWNED {
        for (name, dependencies) in &packages {
            let has = |crate_: &&&str| dependencies.iter().any(|dependency| dependency == **crate_);
            let named: Vec<_> = theirs.iter().filter(has).collect();
            // A rule about nothing would always hold.
            assert_eq!(named.len(), if name == owner { theirs.len() } else { 0 }, "{name} depends on {named:?}");
        }
    }
}

/// Every source file, as its path below the root, with its text.
fn sources() -> Vec<(String, String)> {
    let crates = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let crates = crates.filter(|package| !package.ends_with("testing"));
    let mut folders: Vec<PathBuf> = crates.chain([ROOT.into()]).map(|package| package.join("src")).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "{} files", files.len());
    files
}

/// Each transport's crate in one file, so that another takes its place there.
#[test]
fn each_transport_is_one_file() {
    let comment = Regex::new(r"(^|\s)//.*").unwrap();
    for (one, names) in [("http", "ureq"), ("grpc", "h2|tokio")] {
        let pattern = Regex::new(&format!(r"(^|[^:\w])({names})::")).unwrap();
        let has = |text: &str| text.lines().any(|line| pattern.is_match(&comment.replace(line, "")));
        let found: Vec<String> = sources().into_iter().filter(|(_, text)| has(text)).map(|(file, _)| file).collect();
        let others: Vec<_> = found.iter().filter(|file| !file.ends_with("/tls.rs")).collect();
        assert_eq!(others, [&format!("crates/otlp/src/{one}.rs")]);
    }
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > 600)
        .map(|(file, text)| format!("{file}: {} lines", text.lines().count()))
        .collect();
    assert_eq!(long, [""; 0]);
}

/// The packages, each as `name version`, that a build of the root package with these features needs.
fn dependencies(features: &[&str]) -> BTreeSet<String> {
    let args = ["tree", "-p", "wasmtrace", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let text = cargo(&[&args, features].concat());
    text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

fn of_name<'d>(dependencies: &'d BTreeSet<String>, name: &str) -> Vec<&'d str> {
    dependencies.iter().map(String::as_str).filter(|d| d.split(' ').next() == Some(name)).collect()
}

fn lacks(dependencies: &BTreeSet<String>, names: &[&str]) {
    for name in names {
        assert_eq!(of_name(dependencies, name), [""; 0]);
    }
}

const ENGINE_AND_NETWORK: [&str; 7] =
    ["wasmtime", "wasmtime-wasi", "cranelift-codegen", "ureq", "h2", "tokio", "rustls"];

#[test]
fn the_compiler_alone_is_light() {
    let light = dependencies(&["--no-default-features"]);
    lacks(&light, &ENGINE_AND_NETWORK);
    lacks(&light, &["clap", "anyhow", "gimli", "rayon", "serde", "tempfile"]);
    assert_eq!(of_name(&light, "wasmparser").len(), 1);
    assert!(light.len() < 27, "{light:#?}");
}

#[test]
fn the_command_line_for_pipelines_has_no_engine_and_no_network() {
    let light = dependencies(&["--no-default-features", "--features", "cli"]);
    lacks(&light, &ENGINE_AND_NETWORK);
    assert_eq!(of_name(&light, "clap").len(), 1);
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
    lacks(&all, &["aws-lc-sys", "openssl-sys", "native-tls", "libz-sys"]);
    assert_eq!(of_name(&all, "rustls").len(), 1);
}
