//! Theorem: the floors of `docs/architecture.md` hold. Which crate may depend on which is a matter of their Cargo.toml, so rustc
//! refuses a forbidden `use`; here stands what those files may say: only `runtime` depends on wasmtime, only `otlp` on the
//! network's crates, only the command line on clap and anyhow; a build without engine and network has neither; the whole tree
//! holds one wasmparser and one gimli; no two files of a crate import from each other, by whatever way round; no file has grown
//! beyond one idea.

use std::collections::{BTreeMap, BTreeSet};
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
        let pattern = Regex::new(&format!(r"(^|[^:\w])({names})::|\buse ({names})\b")).unwrap();
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

/// The imports between the files of one crate.
struct Imports {
    /// By module path, the module paths that it imports from.
    of: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// `root`: the file that is the crate, `lib.rs` or `main.rs`.
    fn read(src: &Path, root: &str) -> Self {
        let mut texts = BTreeMap::new();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let relative = path.strip_prefix(src).unwrap().to_str().unwrap();
                    // The command line has a folder in the facade's.
                    let module = if relative == root { "" } else { relative.strip_suffix(".rs").unwrap() };
                    if !module.starts_with("bin/") {
                        texts.insert(module.replace('/', "::"), code(&std::fs::read_to_string(&path).unwrap()));
                    }
                }
            }
        }
        let of = texts.iter().map(|(module, text)| {
            let mut found: BTreeSet<String> = paths(text, module, &texts).iter().map(|p| deepest(p, &texts)).collect();
            found.remove(module);
            (module.clone(), found)
        });
        Imports { of: of.collect() }
    }

    fn reachable<'i>(&'i self, from: &'i str) -> BTreeSet<&'i str> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            open.extend(self.of[module].iter().map(String::as_str).filter(|next| seen.insert(*next)));
        }
        seen
    }

    /// The modules that reach themselves.
    fn circles(&self) -> Vec<&str> {
        self.of.keys().map(String::as_str).filter(|module| self.reachable(module).contains(module)).collect()
    }
}

/// Without comments, strings and the tests at the end of a file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let comment = Regex::new("//[^\n]*").unwrap();
    let string = Regex::new(r#""(\\.|[^"\\])*""#).unwrap();
    string.replace_all(&comment.replace_all(text, ""), "\"\"").into_owned()
}

/// The paths that a file names, each from the root of its crate. A parent that only hands on what a child has does not import it.
fn paths(text: &str, module: &str, modules: &BTreeMap<String, String>) -> Vec<String> {
    let import = Regex::new(r"(pub(\([^)]*\))?\s+)?\buse\s+([^;]+);").unwrap();
    let inline = Regex::new(r"\b(crate|super|self)(::\w+)+").unwrap();
    let relative = Regex::new(r"(?:^|[^:\w])(\w+)::\w+").unwrap();
    let mut named = Vec::new();
    for use_ in import.captures_iter(text) {
        let hands_on = use_.get(1).is_some_and(|vis| !vis.as_str().starts_with("pub("));
        let paths = expand(&use_[3]);
        named.extend(paths.into_iter().filter(|p| !hands_on || p.starts_with("crate::") || p.starts_with("super::")));
    }
    let rest = import.replace_all(text, "");
    named.extend(inline.find_iter(&rest).map(|path| path.as_str().to_owned()));
    let keyword = |name: &str| matches!(name, "crate" | "super" | "self");
    named.extend(relative.captures_iter(&rest).map(|path| path[1].to_owned()).filter(|name| !keyword(name)));
    let child = |name: &str| if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
    let from_root = |path: String| {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
        match parts[0] {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                while parts.first() == Some(&"super") {
                    parts.remove(0);
                    base.pop();
                }
                parts.insert(0, "");
            }
            name if modules.contains_key(&child(name)) => parts.insert(0, ""),
            _ => return None,
        }
        base.extend(&parts[1..]);
        Some(base.join("::"))
    };
    named.into_iter().filter_map(from_root).collect()
}

/// The paths of a `use`, without braces.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.strip_suffix('}').and_then(|tree| tree.split_once('{')) else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim_end_matches("::self").to_owned()];
    };
    let (mut depth, mut from, mut paths) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                paths.extend(expand(&inner[from..at]).into_iter().filter(|p| !p.is_empty()));
                from = at + 1;
            }
            _ => {}
        }
    }
    paths.into_iter().map(|path| format!("{before}{path}")).collect()
}

/// The innermost file that a path leads to.
fn deepest(path: &str, modules: &BTreeMap<String, String>) -> String {
    let mut parts: Vec<&str> = path.split("::").collect();
    while !parts.is_empty() && !modules.contains_key(&parts.join("::")) {
        parts.pop();
    }
    parts.join("::")
}

#[test]
fn no_files_import_from_each_other() {
    let root = Path::new(ROOT);
    let crates = ["abi", "instrument", "trace", "runtime", "otlp"]
        .map(|name| (root.join("crates").join(name).join("src"), "lib.rs"));
    for (src, file) in crates.into_iter().chain([(root.join("src/bin/wasmtrace"), "main.rs")]) {
        let imports = Imports::read(&src, file);
        assert!(imports.of.values().map(BTreeSet::len).sum::<usize>() > 3, "no imports are found in {}", src.display());
        assert_eq!(imports.circles(), [""; 0], "{}", src.display());
    }
}

/// The reader of imports finds them, in each of their forms.
#[test]
fn circles_are_found() {
    let read = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let imports = Imports::read(folder.path(), "lib.rs");
        imports.circles().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let none = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "// use crate::a;\nstruct B;"),
    ];
    assert_eq!(read(&none), [""; 0]);
    let two = [("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::{self, B};"), ("b.rs", "fn f() { super::a::f() }")];
    assert_eq!(read(&two), ["a", "b"]);
    let parent = [("lib.rs", "mod a;"), ("a.rs", "mod c;\nfn f() { c::f() }"), ("a/c.rs", "use super::A;")];
    assert_eq!(read(&parent), ["a", "a::c"]);
    let nested = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::{b::{x::X, y}};"),
        ("b.rs", "use std::{fmt, io};\nuse crate::a;"),
    ];
    assert_eq!(read(&nested), ["a", "b"]);
}
