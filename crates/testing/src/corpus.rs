//! The modules of `corpus/`.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Read;
use std::path::{Path, PathBuf};

/// One module of the corpus.
pub struct Case {
    /// The file's name without its extension. For a shape, it summarizes the idea.
    pub name: String,
    pub wasm: Vec<u8>,
    /// The reason why a shape does not run, from its second line.
    pub not_run: Option<String>,
}

/// The path of the folder `corpus`, from any package of the workspace.
pub fn corpus() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    here.map(|folder| folder.join("corpus")).find(|c| c.join("shapes").is_dir()).expect("the corpus is there")
}

pub fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus().join(folder))
        .expect("the corpus is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| endings.iter().any(|e| path.to_str().unwrap().ends_with(e)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {endings:?} in corpus/{folder}");
    files
}

/// The shapes that the compiler accepts.
pub fn shapes() -> Vec<Case> {
    all_shapes().into_iter().filter_map(|(case, refused)| refused.is_none().then_some(case)).collect()
}

/// The shapes that the compiler must reject, with the reason from their second line.
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

/// One small program with DWARF of every version and kind.
pub fn dwarf_kinds() -> Vec<Case> {
    let case = |path: PathBuf| Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        wasm: std::fs::read(&path).unwrap(),
        not_run: None,
    };
    files("dwarf", &[".wasm"]).into_iter().map(case).collect()
}

/// Every module of the corpus that the compiler accepts.
pub fn modules() -> Vec<Case> {
    let mut cases = shapes();
    cases.extend(programs());
    cases.extend(dwarf_kinds());
    cases
}
