//! Links to source maps: maps inside of the module, and links whose map is missing or damaged.

use testing::instrument;
use testing::readers::every_way;
use wasmtrace::links::{SOURCE_MAP, named_by};
use wasmtrace::module::parse;
use wasmtrace::sidecar::{SidecarFile, SidecarFiles};
use wasmtrace::{ErrorKind, Options, WarningKind, strip, verify};

use super::sourcemaps::{differences, from_compilers, with};

/// The module with the URL of its source map replaced, or added.
fn with_url(wasm: &[u8], url: &str) -> Vec<u8> {
    let module = parse(wasm).unwrap();
    let mut out = wasm[..8].to_vec();
    for section in module.sections().iter().filter(|section| section.name != Some(SOURCE_MAP)) {
        out.extend_from_slice(&wasm[section.whole.clone()]);
    }
    let mut contents = Vec::new();
    wasm_encoder::Encode::encode(SOURCE_MAP, &mut contents);
    wasm_encoder::Encode::encode(url, &mut contents);
    out.push(0);
    wasm_encoder::Encode::encode(&contents[..], &mut out);
    out
}

fn data_url(map: &[u8]) -> String {
    let percent: String = map.iter().map(|byte| format!("%{byte:02x}")).collect();
    format!("data:application/json;charset=utf-8,{percent}")
}

fn of_data_url(url: &str) -> Vec<u8> {
    let (_, data) = url.split_once(',').unwrap();
    let mut bytes = data.bytes();
    let mut found = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || (bytes.next().unwrap() as char).to_digit(16).unwrap() as u8;
        found.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    found
}

/// A module that contains its source map needs no sidecar file, and the check knows that map.
#[test]
fn a_map_in_the_module_is_carried_in_the_module() {
    for mapped in from_compilers() {
        let wasm = with_url(&mapped.wasm, &data_url(&mapped.map));
        let original = parse(&wasm).unwrap();
        for options in every_way() {
            let out = instrument(&wasm, &options).unwrap();
            assert_eq!(out.warnings, []);
            assert!(out.source_map.is_none());
            let hooked = parse(&out.wasm).unwrap();
            let url = named_by(&hooked, SOURCE_MAP).unwrap();
            let (known, different) = differences(&original, &hooked, &out, &mapped.map, &of_data_url(url));
            assert!(known > 500 && different == 0, "{different} of {known}");
            assert!(strip(&out.wasm).unwrap() == wasm);
            verify::verify(&wasm, &out.wasm).unwrap();
            let stale = with_url(&out.wasm, &data_url(&mapped.map));
            let e = verify::verify(&wasm, &stale).unwrap_err();
            assert!(e.kind() == ErrorKind::Verify && e.to_string().contains("does not follow the code"), "{e}");
        }
    }
}

/// A link to a map that was not given, or that is no map, is left out rather than left to lie; the warning names it.
#[test]
fn a_link_without_its_map_is_left_out() {
    let mapped = &from_compilers()[0];
    let corrupt = Options {
        sidecar: SidecarFiles {
            source_map: Some(SidecarFile {
                bytes: b"{}".to_vec(),
                new_url: Some("x".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut nowhere = with(&Options::default(), &mapped.map);
    nowhere.sidecar.source_map.as_mut().unwrap().new_url = None;
    let longer = String::from_utf8(mapped.map.clone()).unwrap().replace("\"mappings\":\"", "\"mappings\":\"ggggC,");
    for (url, options, says) in [
        ("https://example.org/a.map", Options::default(), "is not available"),
        ("a.map\u{1b}[31m", Options::default(), "a.map\\u{1b}[31m is not available"),
        ("a.map", corrupt, "its version is not 3"),
        ("a.map", with(&Options::default(), longer.as_bytes()), "it refers to offsets outside of the module"),
        ("a.map", nowhere, "is not written to a file"),
        ("data:application/json;base64,e30=", Options::default(), "its version is not 3"),
        ("data:application/json;base64,e", Options::default(), "its data is damaged"),
    ] {
        let wasm = with_url(&mapped.wasm, url);
        let out = instrument(&wasm, &options).unwrap();
        assert!(parse(&out.wasm).unwrap().custom(SOURCE_MAP).is_none(), "{url}");
        let [warning] = &out.warnings[..] else { panic!("{:?}", out.warnings) };
        assert!(
            warning.message.contains(says) && matches!(warning.kind, WarningKind::Link | WarningKind::Sidecar),
            "{warning}"
        );
        assert!(warning.message.contains(&url[..5]) && !warning.message.contains('\u{1b}'), "{warning}");
        assert!(out.source_map.is_none() && strip(&out.wasm).unwrap() == wasm);
    }
    // How long the URL becomes would depend on where the code stands, and that on the URL.
    let url = data_url(&mapped.map);
    let (section, rest) = (with_url(&mapped.wasm, &url), &mapped.wasm[8..]);
    let section = &section[parse(&section).unwrap().custom(SOURCE_MAP).unwrap().whole.clone()];
    let in_front = [&mapped.wasm[..8], section, rest].concat();
    let out = instrument(&in_front, &Options::default()).unwrap();
    assert!(out.warnings[0].kind == WarningKind::Link && strip(&out.wasm).unwrap() == in_front, "{:?}", out.warnings);
}
