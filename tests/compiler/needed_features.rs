//! Theorem: a module is valid under the features that it needs, and under no fewer. wasmparser validates the whole module under
//! each set; `features::needed` validates only the bodies that decide.

use wasmparser::{Validator, WasmFeatures};
use wasmtrace::{features, module, rewrite};

/// Switches of the validator, which are no proposals.
const SWITCHES: WasmFeatures = WasmFeatures::FLOATS.union(WasmFeatures::GC_TYPES);

fn is_valid(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features | SWITCHES).validate_all(wasm).is_ok()
}

pub(crate) fn assert_least(wasm: &[u8]) {
    let names = features::needed(&module::parse(wasm).unwrap());
    let needed: Vec<WasmFeatures> = names.iter().map(|name| WasmFeatures::from_name(name).unwrap()).collect();
    let all = needed.iter().fold(WasmFeatures::empty(), |all, feature| all | *feature);
    assert!(is_valid(wasm, all), "{names:?} are not enough");
    for (name, feature) in names.iter().zip(&needed) {
        // A feature may be part of another one, which stays.
        let without =
            needed.iter().filter(|other| !other.contains(*feature)).fold(WasmFeatures::empty(), |all, f| all | *f);
        assert!(!is_valid(wasm, without), "{name} of {names:?} is not needed");
    }
}

#[test]
fn every_module_of_the_corpus_needs_what_is_said_and_no_more() {
    testing::for_each(testing::modules(), |case| {
        assert_least(&case.wasm);
        let options = wasmtrace::Options {
            rewrite: rewrite::Options { hooks: wasmtrace::hook::HookSet::Threshold, ..Default::default() },
            ..Default::default()
        };
        if let Ok(hooked) = wasmtrace::instrument(&case.wasm, &options) {
            assert_least(&hooked.wasm);
        }
    });
}

/// What one proposal more than the operator's decides: operands, their encoding, types of locals and of blocks.
#[test]
fn operands_need_features_too() {
    for (text, expected) in [
        ("(func (param i32) (result i32) local.get 0)", &[][..]),
        ("(func (local v128))", &["SIMD"]),
        ("(func (local externref))", &["REFERENCE_TYPES"]),
        ("(func block (result i32 i32) i32.const 1 i32.const 2 end drop drop)", &["MULTI_VALUE"]),
        ("(func i32.const 1 loop (param i32) drop end)", &["MULTI_VALUE"]),
        ("(memory 1) (memory 1) (func i32.const 0 i32.load 1 drop)", &["MULTI_MEMORY"]),
        ("(memory 1) (memory 1) (func memory.size 1 drop)", &["MULTI_MEMORY"]),
        ("(memory 1) (func i32.const 0 i32.const 0 i32.const 0 memory.copy)", &["BULK_MEMORY"]),
        ("(memory 1) (func i32.const 0 v128.load drop)", &["SIMD"]),
        (
            "(func (result v128) (f32x4.relaxed_min (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
            &["SIMD", "RELAXED_SIMD"],
        ),
        ("(func ref.null func drop)", &["REFERENCE_TYPES"]),
        ("(func f32.const 1 i32.trunc_sat_f32_s drop)", &["SATURATING_FLOAT_TO_INT"]),
        ("(global (mut i32) (i32.const 1)) (func i32.const 1 i32.extend8_s drop)", &["SIGN_EXTENSION"]),
        ("(import \"\" \"\" (global (mut i32)))", &["MUTABLE_GLOBAL"]),
        ("(tag) (func throw 0)", &["EXCEPTIONS"]),
        ("(func return_call 0)", &["TAIL_CALL"]),
    ] {
        let wasm = wat::parse_str(format!("(module {text})")).unwrap();
        let found = features::needed(&module::parse(&wasm).unwrap());
        assert_eq!(found, expected, "{text}");
        assert_least(&wasm);
    }
    // A function that only an export declares.
    let exported = wat::parse_str("(module (func $f (export \"f\")) (func ref.func $f drop))").unwrap();
    assert_eq!(features::needed(&module::parse(&exported).unwrap()), ["REFERENCE_TYPES"]);
    // The index of the table takes two bytes.
    let plain = wat::parse_str("(module (table 1 funcref) (func i32.const 0 call_indirect))").unwrap();
    let at = plain.windows(3).position(|bytes| bytes == [0x11, 0, 0]).unwrap();
    let mut padded = plain.clone();
    padded.splice(at + 2..at + 3, [0x80, 0]);
    let body = plain.windows(2).position(|bytes| bytes == [0x41, 0]).unwrap() - 2;
    padded[body] += 1;
    padded[body - 2] += 1;
    assert_eq!(features::needed(&module::parse(&plain).unwrap()), [""; 0]);
    assert_eq!(features::needed(&module::parse(&padded).unwrap()), ["REFERENCE_TYPES"]);
    assert_least(&padded);

    // One body needs the one feature, another body the other: both have a padded index.
    let bodies: [&[u8]; 2] = [&[0, 0x41, 0, 0x11, 0, 0x80, 0, 0x0b], &[0, 0x3f, 0x80, 0, 0x1a, 0x0b]];
    let code = [&[2][..], &[8], bodies[0], &[6], bodies[1]].concat();
    let head = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x04\x04\x01\x70\0\x01\x05\x03\x01\0\x01\x0a";
    let both = [&head[..], &[code.len() as u8], &code].concat();
    assert_eq!(features::needed(&module::parse(&both).unwrap()), ["REFERENCE_TYPES", "MULTI_MEMORY"]);
    assert_least(&both);
    // A load with the index of the first memory, and one with an offset in six bytes.
    for (operands, feature) in
        [(&[0x42, 0, 0][..], "MULTI_MEMORY"), (&[2, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "MEMORY64")]
    {
        let body = [&[0, 0x41, 0, 0x28], operands, &[0x1a, 0x0b]].concat();
        let code = [&[1, body.len() as u8][..], &body].concat();
        let module = [
            &b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\x0a"[..],
            &[code.len() as u8],
            &code,
        ]
        .concat();
        assert_eq!(features::needed(&module::parse(&module).unwrap()), [feature]);
        assert_least(&module);
    }
}
