//! Files and lines that labels have from source maps.

use testing::instrument;
use wasmtrace::module::{FuncIdx, parse};
use wasmtrace::{Options, label};

use super::sourcemaps::{every_map, mappings, with};

/// Labels have the line of a function's first segment, where DWARF says nothing.
#[test]
fn labels_have_files_and_lines_of_the_map() {
    for mapped in every_map() {
        let options = with(&Options::default(), &mapped.map);
        let module = parse(&mapped.wasm).unwrap();
        let beside = options.sidecar.read(&module).unwrap();
        let labels = label::label_with(&module, &beside);
        let of = |name: &str| {
            let label = labels.iter().find(|(_, label)| *label.name == *name).unwrap().1;
            (label.file.as_deref().unwrap_or_default().to_owned(), label.line.unwrap_or_default())
        };
        if mapped.name.starts_with("as_sieve") {
            assert_eq!(of("sieve/Tree#depth"), ("as_sieve_map/sieve.ts".to_owned(), 31));
        } else {
            // The line that it opens with.
            assert_eq!(of("fib"), ("program.c".to_owned(), 5));
        }
        let probes = instrument(&mapped.wasm, &options).unwrap().manifest.unwrap().probes;
        let with_line = probes.iter().filter(|probe| probe.label.file.is_some() && probe.label.line.is_some()).count();
        assert!(with_line > probes.len() / 2, "{with_line} of {}", probes.len());
    }
}

/// ECMA-426: sources in the `ignoreList` give no places. (The second name of the member is the older one.)
#[test]
fn segments_in_ignored_sources_give_no_label() {
    let wasm = wat::parse_str("(module (func (export \"f\") i32.const 1 drop i32.const 1 drop))").unwrap();
    let body = parse(&wasm).unwrap().body(FuncIdx(0)).start;
    // The first operator is in the first source, the next one in line 7 of the second.
    let at = body as i64 + 1;
    let mappings = mappings(&[vec![at, 0, 0, 0], vec![at + 3, 1, 6, 0]]);
    for (member, place) in [
        (r#""ignoreList":[0]"#, Some(("app.ts", 7))),
        (r#""x_google_ignoreList":[0]"#, Some(("app.ts", 7))),
        (r#""ignoreList":[0,1]"#, None),
        (r#""ignoreList":[1]"#, Some(("__ignore__", 1))),
        (r#""ignoreList":"nonsense""#, Some(("__ignore__", 1))),
    ] {
        let map = format!(r#"{{"version":3,"sources":["__ignore__","app.ts"],"mappings":"{mappings}",{member}}}"#);
        let parsed = parse(&wasm).unwrap();
        let options = with(&Options::default(), map.as_bytes());
        let sidecars = options.sidecar.read(&parsed).unwrap();
        let labels = label::label_with(&parsed, &sidecars);
        let label = &labels[FuncIdx(0)];
        assert_eq!(label.file.as_deref().zip(label.line), place, "{member}");
    }
}
