//! Theorems of instrumented components, and changes of their outer structure that the check must refuse.

use std::ops::Range;

use sha2::Digest;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmtrace_abi::component::{ComponentManifest, MANIFEST_SECTION};
use wasmtrace_abi::error::ErrorKind;
use wasmtrace_abi::hook::HookSet;
use wasmtrace_instrument::{Options, component, rewrite, select, strip};

#[path = "components/samples.rs"]
mod samples;

use samples::{COMPONENTS, NAMES, OUTER, RESOURCE, START, STRINGS, TWICE};

const HOOKS: [HookSet; 3] = [HookSet::Buffer, HookSet::Observe, HookSet::Wasi];

fn parse(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}"))
}

fn instrument(wasm: &[u8], hooks: HookSet, rules: &[&str]) -> component::InstrumentedComponent {
    let mut select = select::Rules::default();
    rules.iter().for_each(|rule| select.push(rule).unwrap());
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    component::instrument(wasm, &Options { rewrite, select, ..Default::default() }).unwrap_or_else(|e| panic!("{e}"))
}

/// Theorem: an instrumented component is valid, passes the check, and is stripped to the bytes of the original. If
/// nothing is selected, it is the original.
#[test]
fn instrumented_components_are_the_original_plus_hooks() {
    for (name, wat) in COMPONENTS {
        let wasm = parse(wat);
        for hooks in HOOKS {
            // Its functions use a resource that is exported beside them, which WIT has no words for.
            if hooks == HookSet::Wasi && name == "resource" {
                continue;
            }
            let all = instrument(&wasm, hooks, &[]);
            let one = instrument(&wasm, hooks, &["+go"]);
            assert_eq!(instrument(&wasm, hooks, &["-**"]).wasm, wasm, "{name}");
            let mut counts = Vec::new();
            for output in [&all, &one] {
                Validator::new_with_features(WasmFeatures::all()).validate_all(&output.wasm).unwrap();
                let verified = component::verify(&wasm, &output.wasm).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(verified.modules, output.modules.len(), "{name}");
                let functions = output.modules.iter().map(|module| module.selection.functions).sum::<usize>();
                assert!(verified.functions <= functions, "{name}");
                assert_eq!(strip(&output.wasm).unwrap(), wasm, "{name}");
                counts.push(verified.hooked);
            }
            assert!(
                counts[0] > counts[1] || name == "twice" || name == "outer" || name == "exported",
                "{name}: {counts:?}"
            );
            assert!(counts[1] > 0, "{name}");
        }
    }
}

/// Theorem: an equal component passes, with no hooks.
#[test]
fn equal_components_have_no_hooks() {
    let wasm = parse(STRINGS);
    let expected = component::VerifiedComponent { modules: 1, functions: 5, hooked: 0 };
    assert_eq!(component::verify(&wasm, &wasm).unwrap(), expected);
    let hooked = instrument(&wasm, HookSet::Buffer, &[]).wasm;
    assert_eq!(component::verify(&hooked, &hooked).unwrap().hooked, 0);
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// The instrumented form of another component, which claims to be that of the original.
fn forged(original: &[u8], other: &[u8]) -> Vec<u8> {
    let hooked = instrument(other, HookSet::Buffer, &[]).wasm;
    with_manifest(&hooked, |manifest| {
        assert_eq!(manifest.input_sha256, sha256(other));
        manifest.input_sha256 = sha256(original);
    })
}

/// The sections of the root component: their ids, whole and contents.
fn sections(wasm: &[u8]) -> Vec<(u8, Range<usize>, Range<usize>)> {
    let (mut depth, mut start, mut sections) = (0, 8, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.unwrap();
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
        if let Some((id, contents)) = payload.as_section().filter(|_| depth == 1) {
            let whole = start..contents.end;
            start = whole.end;
            sections.push((id, whole, contents));
        }
    }
    sections
}

/// A section with other contents, or a new one.
fn encode(id: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![id];
    wasm_encoder::Encode::encode(contents, &mut out);
    out
}

fn replaced(wasm: &[u8], range: Range<usize>, with: &[u8]) -> Vec<u8> {
    [&wasm[..range.start], with, &wasm[range.end..]].concat()
}

/// The component with one more section before the Manifest.
fn inserted(hooked: &[u8], id: u8, contents: &[u8]) -> Vec<u8> {
    let at = sections(hooked).last().unwrap().1.start;
    replaced(hooked, at..at, &encode(id, contents))
}

fn with_manifest(hooked: &[u8], change: impl FnOnce(&mut ComponentManifest)) -> Vec<u8> {
    let (_, whole, contents) = sections(hooked).pop().unwrap();
    let start = contents.start + 1 + MANIFEST_SECTION.len();
    let mut manifest = ComponentManifest::decode(&hooked[start..contents.end], start).unwrap();
    change(&mut manifest);
    let mut contents = Vec::new();
    wasm_encoder::Encode::encode(MANIFEST_SECTION, &mut contents);
    contents.extend(manifest.encode());
    replaced(hooked, whole, &encode(0, &contents))
}

fn refuse(original: &[u8], hooked: &[u8], what: &str) -> String {
    match component::verify(original, hooked) {
        Ok(verified) => panic!("{what}: accepted, {verified:?}"),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Verify, "{what}: {e}");
            e.to_string()
        }
    }
}

/// Control: a component that claims to be the instrumented form of its own original passes.
#[test]
fn forging_alone_is_not_refused() {
    for (name, wat) in COMPONENTS {
        let wasm = parse(wat);
        component::verify(&wasm, &forged(&wasm, &wasm)).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// A component that differs from one of [`COMPONENTS`] in one place, and the item that the check must find.
struct Other {
    original: &'static str,
    from: &'static str,
    to: &'static str,
    found: &'static str,
}

const fn other(original: &'static str, from: &'static str, to: &'static str, found: &'static str) -> Other {
    Other { original, from, to, found }
}

const OTHERS: &[Other] = &[
    // Canonical functions.
    other(STRINGS, "string-encoding=utf16", "string-encoding=latin1+utf16", "canonical function"),
    other(STRINGS, "string-encoding=utf16", "", "canonical function"),
    other(STRINGS, "(core memory $i \"memory\")", "(core memory $i \"other\")", "alias"),
    other(STRINGS, " (post-return (core func $i \"post\"))", "", "is not quiet: 2"),
    other(STRINGS, "(realloc (core func $i \"alloc\"))", "(realloc (core func $i \"alloc2\"))", "function 1 is quiet"),
    other(RESOURCE, "(dtor (core func $d \"dtor\"))", "", "another kind of section"),
    other(RESOURCE, "(canon resource.rep $r)", "(canon resource.new $r)", "canonical function"),
    other(NAMES, "(func $plain) (memory $memory)", "(func $plain)", "canonical function"),
    other(NAMES, "(func $plain) (memory $memory)", "(func $make) (memory $memory)", "canonical function"),
    other(NAMES, "(canon lift (core func $use))", "(canon lift (core func $drop))", "canonical function"),
    other(OUTER, "(type $early) (canon", "(type $late) (canon", "canonical function"),
    // Types.
    other(STRINGS, "\"back\") (param \"s\" string)", "\"back\") (param \"t\" string)", "type"),
    other(OUTER, "2 $record (type $r)) (export", "2 $late (type $r)) (export", "type"),
    other(OUTER, "3 $record (type $r)) (import", "1 $r2 (type $r)) (import", "type"),
    other(OUTER, "(export \"go\" (func (type $s)))", "(export \"ga\" (func (type $s)))", "core type"),
    other(OUTER, "$signature (func (param i32)", "$signature (func (param i64)", "core type"),
    other(NAMES, "(case \"some\" $record)", "(case \"some\")", "type"),
    other(NAMES, "(tuple $record $variant)", "(tuple $variant $record)", "type"),
    other(NAMES, "(flags \"a\" \"b\")", "(flags \"a\" \"c\")", "type"),
    other(NAMES, "(result $list' (error $enum))", "(result $enum (error $list'))", "type"),
    other(NAMES, "(type $borrow (borrow $thing))", "(type $borrow (own $thing))", "type"),
    other(NAMES, "(param \"a\" $option)", "(param \"a\" $tuple)", "type"),
    other(NAMES, "\"x\" (func (param \"a\" u32))", "\"x\" (func (param \"a\" s32))", "type"),
    other(NAMES, "(export \"o\" (func))", "(export \"p\" (func))", "type"),
    // Imports, exports, aliases and instances.
    other(NAMES, "(import \"plain\"", "(import \"simple\"", "import"),
    other(NAMES, "(export \"again\" (func $go'))", "(export \"again\" (func $lifted))", "export"),
    other(NAMES, "(func $lifted) (func (type $pass))", "(func $lifted)", "export"),
    other(NAMES, "\"bag\" (instance $bag))", "\"bag\" (instance $bag)) (export \"h\" (func $go'))", "number of items"),
    other(NAMES, "(with \"f\" (func $lifted))", "(with \"f\" (func $plain))", "instance"),
    other(NAMES, "(export \"r\" (type $record))", "(export \"r\" (type $flags))", "instance"),
    other(NAMES, "$list (export \"go\" (func $go))", "$list (export \"go\" (func $use))", "core instance"),
    other(STRINGS, "(core func $i \"back\")", "(core func $i \"go\")", "alias"),
    other(OUTER, "(alias outer 1 $own (type $u))", "(alias outer 2 $late (type $u))", "alias"),
    other(OUTER, "(alias outer 1 $own (type $u))", "(alias outer 2 $early (type $u))", "alias"),
    other(OUTER, "(alias outer 1 $own (type $u))", "(alias outer 1 $t (type $u))", "alias"),
    other(TWICE, "(core func $x \"go\")", "(core func $y \"go\")", "alias"),
    other(TWICE, "(func $q \"y\")", "(func $q \"x\")", "alias"),
    other(TWICE, "(func $q \"y\")", "(func $p \"y\")", "alias"),
    other(
        TWICE,
        "\"qy\" (func $q \"y\"))",
        "\"qy\" (func $q \"y\")) (export \"more\" (func $q \"y\"))",
        "another kind of section",
    ),
    other(TWICE, "(export \"qy\" (func $q \"y\"))", "", "another kind of section"),
    other(
        TWICE,
        "(core instance $y (",
        "(core instance (instantiate $m)) (core instance $y (",
        "not those of the hooks",
    ),
    // Modules and components.
    other(OUTER, "$second (instantiate $later)", "$second (instantiate $shared)", "other instances"),
    other(OUTER, "$j (instantiate $later)", "$j (instantiate $shared)", "other instances"),
    other(OUTER, "i32.const 3", "i32.const 4", "became"),
    other(OUTER, "(alias outer 1 $N (component $n)) (export", "(component $n) (export", "another kind of section"),
    // Custom sections.
    other(NAMES, "\"mine\" \"bytes\"", "\"mine\" \"bites\"", "custom section"),
    other(NAMES, "\"mine\" \"bytes\"", "\"thine\" \"bytes\"", "custom section"),
    other(NAMES, "(@custom \"mine\" \"bytes\")", "", "another kind of section"),
    other(NAMES, "(component $all", "(component $none", "custom section"),
    other(NAMES, "$lowered", "$sunken", "custom section"),
];

/// Theorem: the instrumented form of a component that differs in one place is refused, and because of that place.
#[test]
fn instrumented_forms_of_other_components_are_refused() {
    for Other { original: wat, from, to, found } in OTHERS {
        assert!(wat.contains(from), "{from}");
        let (original, other) = (parse(wat), parse(&wat.replacen(from, to, 1)));
        let message = refuse(&original, &forged(&original, &other), from);
        assert!(message.contains(found), "{from} -> {to}: {message}");
    }
}

/// Theorem: a Manifest that describes another component or other instances is refused.
#[test]
fn other_manifests_are_refused() {
    let wasm = parse(TWICE);
    let hooked = instrument(&wasm, HookSet::Buffer, &[]).wasm;
    type Change = fn(&mut ComponentManifest);
    let changes: &[(&str, Change)] = &[
        ("different input", |manifest| manifest.input_sha256[0] ^= 1),
        ("neither those of the original nor hooks", |manifest| manifest.hooks = HookSet::Observe),
        ("lists other instances", |manifest| manifest.instances[1].module += 1),
        ("lists other instances", |manifest| manifest.instances.truncate(1)),
        ("does not exist", |manifest| manifest.instances.extend_from_within(1..)),
        ("overlap", |manifest| manifest.instances[1].first_probe -= 1),
        ("not those of the hooks", |manifest| manifest.instances[1].first_probe += 1),
        ("too large", |manifest| manifest.instances[1].first_probe = (1 << 29) - 1),
        ("too large", |manifest| manifest.instances[1].first_probe = u32::MAX),
    ];
    for (found, change) in changes {
        let message = refuse(&wasm, &with_manifest(&hooked, change), found);
        assert!(message.contains(found), "{found}: {message}");
    }
    // Neither the names of instances nor the restoring data are part of the claim.
    let named = with_manifest(&hooked, |manifest| {
        manifest.instances[0].name = "another".to_owned();
        manifest.restore = None;
    });
    component::verify(&wasm, &named).unwrap();
}

/// Theorem: a component with more or fewer sections is refused, wherever they are.
#[test]
fn other_sections_are_refused() {
    let wasm = parse(TWICE);
    let hooked = instrument(&wasm, HookSet::Buffer, &[]).wasm;
    let custom = encode(0, b"\x01x");
    for (_, whole, _) in sections(&hooked) {
        for at in [whole.start, whole.end] {
            refuse(&wasm, &replaced(&hooked, at..at, &custom), "one more custom section");
        }
        let shorter = replaced(&hooked, whole.clone(), &[]);
        assert!(component::verify(&wasm, &shorter).is_err(), "one section less at {whole:?}");
    }
    // An import of a resource type, an export of a component, and a type.
    for (id, contents) in [(10, &b"\x01\0\x01x\x03\x01"[..]), (11, b"\x01\0\x01z\x04\0\0"), (7, b"\x01\x7f")] {
        refuse(&wasm, &inserted(&hooked, id, contents), "one more definition");
    }
}

/// Theorem: an instance gets the hooks that were made for it, not those of another instance.
#[test]
fn exchanged_hooks_are_refused() {
    let wasm = parse(START);
    let hooked = instrument(&wasm, HookSet::Buffer, &[]).wasm;
    let argument = b"\x0fwasmtrace:hooks\x12";
    let places: Vec<usize> =
        hooked.windows(17).enumerate().filter(|(_, w)| w == argument).map(|(at, _)| at + 17).collect();
    let [first, second] = places[..] else { panic!("{places:?}") };
    let mut exchanged = hooked.clone();
    exchanged.swap(first, second);
    assert!(refuse(&wasm, &exchanged, "exchanged").contains("core instance"));
    let mut same = hooked.clone();
    same[first] = hooked[second];
    assert!(refuse(&wasm, &same, "the same hooks twice").contains("core instance"));
}

/// Theorem: a module that the host can see has no hooks. Nothing in the file has to fit the type of an export.
#[test]
fn an_exported_module_has_no_hooks() {
    let wat = "(component (core module $m (func (export \"go\"))) (core instance (instantiate $m)))";
    let without = parse(wat);
    // `(export "m" (core module 0))`, in the original and in the instrumented component.
    let contents = b"\x01\0\x01m\0\x11\0\0";
    let with = [without.clone(), encode(11, contents)].concat();
    let hooked = with_manifest(&inserted(&instrument(&without, HookSet::Buffer, &[]).wasm, 11, contents), |manifest| {
        manifest.input_sha256 = sha256(&with);
    });
    assert!(refuse(&with, &hooked, "exported").contains("exported or passed on, and has hooks"));
}

/// Theorem: no byte of the outer structure can have another value, except for the first byte of a name of an import
/// or export: older encoders wrote 1 for the name of an interface, and readers accept both values.
#[test]
fn no_byte_outside_of_modules_is_free() {
    for (name, wat) in [("names", NAMES), ("twice", TWICE), ("resource", RESOURCE)] {
        let wasm = parse(wat);
        let hooked = instrument(&wasm, HookSet::Buffer, &[]).wasm;
        let mut is_outer = vec![true; hooked.len()];
        for payload in Parser::new(0).parse_all(&hooked) {
            match payload.unwrap() {
                Payload::ModuleSection { unchecked_range, .. } => is_outer[unchecked_range].fill(false),
                Payload::CustomSection(custom) if custom.name() == MANIFEST_SECTION => {
                    is_outer[custom.range()].fill(false)
                }
                _ => {}
            }
        }
        let (mut tried, mut accepted) = (0, Vec::new());
        for at in (0..hooked.len()).filter(|at| is_outer[*at]) {
            for value in [hooked[at] ^ 1, hooked[at].wrapping_add(1), hooked[at] ^ 0x80, 0] {
                let mut changed = hooked.clone();
                changed[at] = value;
                if changed != hooked {
                    tried += 1;
                    if component::verify(&wasm, &changed).is_ok() {
                        accepted.push((at, hooked[at], value));
                    }
                }
            }
        }
        assert!(tried > 500, "{name}: {tried}");
        let is_name = |at: usize| {
            let length = usize::from(hooked[at + 1]);
            length > 0 && hooked[at + 2..][..length].iter().all(|byte| matches!(byte, b'a'..=b'z' | b':' | b'/'))
        };
        accepted.retain(|(at, old, new)| (*old, *new) != (0, 1) || !is_name(*at));
        assert_eq!(accepted, [], "{name}");
    }
}

/// Theorem: each byte of the component around a component that records itself counts: of its recorder, its imports, its
/// exports and its mark.
#[test]
fn each_byte_of_a_recorder_counts() {
    let wasm = parse(STRINGS);
    let hooked = instrument(&wasm, HookSet::Wasi, &[]).wasm;
    assert_eq!(component::verify(&wasm, &hooked).unwrap().modules, 1);
    // The instrumented component within has checks of its own.
    let mut inner = 0..0;
    for payload in wasmparser::Parser::new(0).parse_all(&hooked) {
        if let wasmparser::Payload::ComponentSection { unchecked_range, .. } = payload.unwrap() {
            let is_outer = unchecked_range.end > inner.end;
            inner = if is_outer { unchecked_range } else { inner };
        }
    }
    assert!(inner.len() > 1000);
    assert!(component::verify(&wasm, &hooked[inner.clone()]).is_err(), "there is no recorder");
    // A component for another host, with the same modules and imports, in the same wrapper.
    let other = instrument(&wasm, HookSet::Buffer, &[]).wasm;
    let section = |contents: &[u8]| {
        let mut section = vec![4];
        wasm_encoder::Encode::encode(contents, &mut section);
        section
    };
    let header = section(&hooked[inner.clone()]).len() - inner.len();
    let wrapped = [&hooked[..inner.start - header], &section(&other), &hooked[inner.end..]].concat();
    Validator::new_with_features(WasmFeatures::all()).validate_all(&wrapped).unwrap();
    assert!(component::verify(&wasm, &wrapped).is_err(), "its hooks are for another host");
    let outside = (0..inner.start).chain(inner.end..hooked.len());
    for at in outside {
        let mut changed = hooked.clone();
        changed[at] ^= if at.is_multiple_of(2) { 1 } else { 0x80 };
        assert!(component::verify(&wasm, &changed).is_err(), "byte {at}");
        assert!(strip(&changed).map_or(true, |stripped| stripped != wasm), "byte {at}");
    }
}

/// A component that imports something behind an instance cannot record itself, and neither can one that records already.
#[test]
fn what_cannot_record_itself_is_refused() {
    let wasm = parse(
        r#"(component
            (core module $m (func (export "go")))
            (core instance $i (instantiate $m))
            (func (export "go") (canon lift (core func $i "go")))
            (import "late" (func)))"#,
    );
    let options = |force| {
        let rewrite = rewrite::Options { hooks: HookSet::Wasi, ..Default::default() };
        Options { rewrite, force, ..Default::default() }
    };
    let error = component::instrument(&wasm, &options(false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("imports something behind an instance"), "{error}");
    let hooked = instrument(&parse(STRINGS), HookSet::Wasi, &[]).wasm;
    assert_eq!(component::instrument(&hooked, &options(false)).unwrap_err().kind(), ErrorKind::AlreadyHooked);
    assert_eq!(component::instrument(&hooked, &options(true)).unwrap().wasm, hooked);
    assert_eq!(component::check_hooks(&hooked).unwrap_err().kind(), ErrorKind::AlreadyHooked);
}

/// A function that is exported for an interface has the name that others call it by.
#[test]
fn exports_of_interfaces_name_functions() {
    let wasm = parse(
        r#"(component
            (core module $m (func $_start (export "wasi:cli/run@0.2.0#run") (result i32) call $inner) (func $inner (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "go") (result u32) (canon lift (core func $i "wasi:cli/run@0.2.0#run"))))"#,
    );
    for hooks in HOOKS {
        let hooked = instrument(&wasm, hooks, &[]).wasm;
        component::verify(&wasm, &hooked).unwrap();
        let probes = component::probes(&hooked).unwrap().unwrap().1;
        let names: Vec<String> = probes.labels.values().map(|label| label.name.to_string()).collect();
        assert_eq!(names, ["wasi:cli/run@0.2.0#run", "inner"]);
    }
}
