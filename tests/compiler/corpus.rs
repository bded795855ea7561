//! The corpus is what its tables say: every module has its source, recipe, licence and expected output, and its debug
//! information is alive.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

/// The entries of `corpus/real/*.json`.
fn entries() -> Vec<Value> {
    let mut entries = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(testing::corpus().join("real")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
        let list: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        entries.extend(list);
    }
    entries
}

fn text<'v>(entry: &'v Value, key: &str) -> &'v str {
    entry[key].as_str().unwrap_or_else(|| panic!("{entry:#} has no {key}"))
}

#[test]
fn every_program_is_described_and_everything_described_is_there() {
    let described: BTreeSet<String> =
        entries().iter().map(|e| text(e, "file").split('.').next().unwrap().to_owned()).collect();
    let there: BTreeSet<String> = testing::programs().into_iter().map(|c| c.name).collect();
    assert_eq!(described, there);
    for entry in entries() {
        let file = text(&entry, "file");
        let name = file.split('.').next().unwrap();
        assert!(testing::corpus().join(text(&entry, "recipe")).is_file(), "{file}: no recipe");
        let stdout = testing::corpus().join("real").join(format!("{name}.stdout"));
        assert!(stdout.is_file(), "{file}: no expected output");
        for key in ["language", "toolchain", "source", "licence", "about"] {
            assert!(!text(&entry, key).is_empty(), "{file}: no {key}");
        }
    }
}

/// A linker or an optimiser that zeroes addresses makes every test of labels pass for nothing.
#[test]
fn debug_information_in_the_corpus_is_alive() {
    let mut alive = 0;
    for case in testing::programs() {
        let entry = entries().into_iter().find(|e| text(e, "file").split('.').next() == Some(&case.name)).unwrap();
        let module = wasmtrace::module::parse(&case.wasm).unwrap();
        let versions = wasmtrace::label::dwarf_versions(&module);
        assert_eq!(serde_json::json!(versions), entry["dwarf"], "{}", case.name);
        // Line tables alone hold no declarations.
        if !versions.is_empty() && entry["debuginfo"] != "line-tables-only" {
            let labels = wasmtrace::label::label(&module);
            let with_file = labels.iter().filter(|(_, l)| l.file.is_some() && l.line.is_some()).count();
            assert!(with_file > 0, "{}: no function has a file and a line", case.name);
            alive += 1;
        }
    }
    assert!(alive >= 5, "{alive}");
}

#[test]
fn no_module_names_a_path_of_the_machine_that_built_it() {
    for case in testing::programs() {
        for path in ["/home/", "/root/", "/tmp/", "/work/"] {
            let found = case.wasm.windows(path.len()).position(|w| w == path.as_bytes());
            // Programs may use such a path themselves (`/tmp/` in libc); debug information must not.
            let module = wasmtrace::module::parse(&case.wasm).unwrap();
            let in_debug = found.is_some_and(|at| {
                module
                    .sections()
                    .iter()
                    .any(|s| s.name.is_some_and(|n| n.starts_with(".debug")) && s.whole.contains(&at))
            });
            assert!(!in_debug, "{}: {path}", case.name);
        }
    }
}

/// The table in `corpus/README.md` is made from the descriptions.
#[test]
fn the_readme_of_the_corpus_is_true() {
    let mut table = String::from(
        "| program | language | toolchain | DWARF | names | licence | about |\n|---|---|---|---|---|---|---|\n",
    );
    for e in entries() {
        let dwarf: Vec<String> = e["dwarf"].as_array().unwrap().iter().map(ToString::to_string).collect();
        let names = if e["names"] == true { "yes" } else { "no" };
        let about = text(&e, "about").replace('|', "\\|");
        writeln!(
            table,
            "| {} | {} | {} | {} | {names} | {} | {about} |",
            text(&e, "file"),
            text(&e, "language"),
            text(&e, "toolchain"),
            if dwarf.is_empty() { "-".to_owned() } else { dwarf.join(", ") },
            text(&e, "licence"),
        )
        .unwrap();
    }
    let begin = "<!-- table: BLESS=1 cargo test --test compiler corpus:: -->";
    testing::golden::assert_part("corpus/README.md", begin, "<!-- end -->", &table);
}
