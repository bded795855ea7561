//! Theorem: a rule hooks the functions that its sentence in `crates/instrument/src/select.rs` names, and no others; the last
//! rule that matches decides, and the plan says which it was. Tables, since groups and languages are conventions: each row is a name as a
//! toolchain writes it, and what a person says of it.

use testing::instrument;
use wasm_encoder::Encode;
use wasmtrace::hook::{MANIFEST_SECTION, Manifest};
use wasmtrace::label::{self, Label, Source};
use wasmtrace::module::{self, FuncIdx};
use wasmtrace::select::{self, Plan, Reason, Rules, Size};
use wasmtrace::{ErrorKind, Options};

fn plan_of(wasm: &[u8], rules: &Rules) -> Plan {
    let module = module::parse(wasm).unwrap();
    select::select(&module, &label::label(&module), rules)
}

fn rules(texts: &[&str]) -> Rules {
    let mut rules = Rules::default();
    texts.iter().for_each(|text| rules.push(text).unwrap());
    rules
}

/// The same, with a minimum.
fn of_at_least(operators: u32, texts: &[&str]) -> Rules {
    let mut rules = rules(texts);
    rules.min_size = Some(operators);
    rules
}

/// The same, for imported functions too.
fn with_imports(texts: &[&str]) -> Rules {
    let mut rules = rules(texts);
    rules.imports = true;
    rules
}

/// The functions that are hooked, by index, imported ones too.
fn chosen(wasm: &[u8], texts: &[&str]) -> Vec<u32> {
    let plan = plan_of(wasm, &rules(texts));
    (0..module::parse(wasm).unwrap().func_count()).filter(|i| plan.contains(FuncIdx(*i))).collect()
}

/// A module with a function of each name; none for an empty one.
fn named(names: &[&str]) -> Vec<u8> {
    let id = |name: &str| if name.is_empty() { String::new() } else { format!("$\"{name}\"") };
    let functions: String = names.iter().map(|name| format!("(func {})", id(name))).collect();
    wat::parse_str(format!("(module {functions})")).unwrap()
}

/// Name; its language and its package, where the name tells; whether it is in `@std` and in `@alloc`.
type Row = (&'static str, Option<&'static str>, Option<&'static str>, bool, bool);

const NAMES: [Row; 58] = [
    ("_ZN3app3run17h0123456789abcdefE", Some("rust"), Some("app"), false, false),
    ("_ZN4core3fmt5write17h0123456789abcdefE", Some("rust"), Some("core"), true, false),
    ("_RNvCs1234_7mycrate3foo", Some("rust"), Some("mycrate"), false, false),
    ("<app::T as core::fmt::Debug>::fmt", None, Some("app"), false, false),
    ("<core::fmt::Arguments as app::Show>::show", None, Some("app"), false, false),
    ("<&mut dyn std::io::Write as app::Sink>::put", None, Some("app"), false, false),
    ("stdx::f", None, Some("stdx"), false, false),
    ("dlmalloc::Dlmalloc::malloc", None, Some("dlmalloc"), true, true),
    ("alloc::raw_vec::finish_grow", None, Some("alloc"), true, true),
    ("alloc::vec::push", None, Some("alloc"), true, false),
    ("_ZNSt6vectorIiE9push_backEOi", Some("c++"), Some("std"), true, false),
    ("_ZN5shape4areaEv", Some("c++"), Some("shape"), false, false),
    ("shape::area()", Some("c++"), Some("shape"), false, false),
    ("shape::area", None, Some("shape"), false, false),
    ("area()", None, None, false, false),
    ("_Znwm", Some("c++"), None, true, true),
    ("main.main", Some("go"), Some("main"), false, false),
    ("main.(*T).M", Some("go"), Some("main"), false, false),
    ("fmt.Println", None, Some("fmt"), true, false),
    ("fmt.(*pp).printArg", Some("go"), Some("fmt"), true, false),
    ("encoding/json.(*Decoder).Decode", Some("go"), Some("encoding/json"), true, false),
    ("github.com/fmt/x.F", None, Some("github.com/fmt/x"), false, false),
    ("fmt.org/x.F", None, Some("fmt.org/x"), false, false),
    ("mine/fmt.F", None, Some("mine/fmt"), false, false),
    ("mainframe/fmt.F", None, Some("mainframe/fmt"), false, false),
    ("runtime.gc", Some("go"), Some("runtime"), true, false),
    ("runtime.mallocgc", Some("go"), Some("runtime"), true, true),
    ("runtime.(*mheap).alloc", Some("go"), Some("runtime"), true, true),
    (".dot", None, None, false, false),
    ("/x.F", None, Some("/x"), false, false),
    ("fmt::x", None, Some("fmt"), false, false),
    ("~lib/array/Array#push", Some("assemblyscript"), None, true, false),
    ("~lib/rt/itcms/__new", Some("assemblyscript"), None, true, true),
    ("assembly/index/run", Some("assemblyscript"), None, false, false),
    ("start:assembly/index", Some("assemblyscript"), None, false, false),
    ("compiler_rt.memset", None, Some("compiler_rt"), true, false),
    ("printf", None, None, true, false),
    ("printfx", None, None, false, false),
    ("malloc", None, None, true, true),
    ("free", None, None, true, true),
    ("__wasm_call_ctors", None, None, true, false),
    ("__rust_alloc", None, None, true, true),
    ("_start", None, None, true, false),
    ("run", None, None, false, false),
    ("void app::Op::apply<int>(int)", Some("c++"), Some("app"), false, false),
    ("std::__2::basic_ostream<char>& std::__2::operator<<<char>(int, char)", Some("c++"), Some("std"), true, false),
    ("non-virtual thunk to app::A::g()", Some("c++"), Some("app"), false, false),
    ("operator new(unsigned long)", None, None, true, true),
    ("core::mine(int)", Some("c++"), Some("core"), false, false),
    ("<u64 as core::fmt::Display>::fmt", None, Some("core"), true, false),
    ("<u64 as app::Show>::show", None, Some("app"), false, false),
    ("app::run::h0123456789abcdef", Some("rust"), Some("app"), false, false),
    (
        "_$LT$alloc..string..String$u20$as$u20$core..fmt..Write$GT$::f::h0123456789abcdef",
        Some("rust"),
        Some("alloc"),
        true,
        false,
    ),
    ("core[46817f741e54dfda]::fmt::write", Some("rust"), Some("core"), true, false),
    ("(*sync.Mutex).Lock", None, Some("sync"), true, false),
    ("(*main.T).M", None, Some("main"), false, false),
    ("__main_argc_argv", None, None, false, false),
    ("java.lang.String.length", None, Some("java"), true, false),
];

/// Theorem: of each name every rule says what its row says, and of a function without a name nothing is said.
#[test]
fn names_tell_languages_packages_and_groups() {
    let mut names: Vec<&str> = NAMES.iter().map(|row| row.0).collect();
    names.push("");
    let wasm = named(&names);
    let all = |is: &dyn Fn(&Row) -> bool| -> Vec<&str> { NAMES.iter().filter(|r| is(r)).map(|row| row.0).collect() };
    let says = |rule: &str| -> Vec<&str> { chosen(&wasm, &[rule]).into_iter().map(|i| names[i as usize]).collect() };
    assert_eq!(says("@std"), all(&|row| row.3));
    assert_eq!(says("@alloc"), all(&|row| row.4));
    let mut mine = all(&|row| !row.3 && !row.4);
    mine.push("");
    assert_eq!(says("@user"), mine);
    // No module says of a package that it is one of somebody else.
    assert_eq!(says("@app"), mine);
    for language in ["rust", "c++", "go", "assemblyscript", "zig"] {
        assert_eq!(says(&format!("lang:{language}")), all(&|row| row.1 == Some(language)), "{language}");
    }
    assert_eq!(says("lang:Go"), says("lang:go"));
    assert_eq!(says("lang:**"), all(&|row| row.1.is_some()));
    for row in NAMES.iter().filter(|row| row.2.is_some()) {
        let package = row.2.unwrap();
        assert_eq!(says(&format!("crate:={package}")), all(&|row| row.2 == Some(package)), "{package}");
    }
    assert_eq!(says("crate:**"), all(&|row| row.2.is_some()));
}

const APP: &str = r#"(module
    (import "env" "tick" (func $tick))
    (import "env" "tock" (func $tock (param i32)))
    (table 1 funcref)
    (type $nothing (func))
    (func $"app::run(int)" (export "run") (export "again") call $tick)
    (func $"app::db::open" loop end)
    (func $"_ZN3app4quit17h0123456789abcdefE" (export "quit") nop nop nop nop nop nop nop nop nop nop nop)
    (func $large nop nop nop nop nop nop nop nop nop nop nop nop)
    (func $looping nop nop nop nop nop nop nop nop nop nop nop loop end)
    (func $wasmtrace_span_enter))"#;

/// Theorem: each kind of rule is held against what the table in `crates/instrument/src/select.rs` says.
#[test]
fn every_kind_of_rule_is_held_against_its_own() {
    let wasm = wat::parse_str(APP).unwrap();
    for (rule, functions) in [
        ("app::**", &[2, 3, 4][..]),
        ("app::run", &[2]),
        ("app::run(int)", &[2]),
        ("app::*", &[2, 4]),
        ("fn:app::quit", &[4]),
        ("=app::db::open", &[3]),
        ("=app::db", &[]),
        ("/r(un|ge)/", &[2, 5]),
        ("//", &[]),
        ("raw:_ZN*", &[4]),
        ("raw:app::quit", &[]),
        ("raw:app::run", &[]),
        ("crate:app", &[2, 3, 4]),
        ("export:again", &[2]),
        ("export:*u*", &[2, 4]),
        ("@exports", &[2, 4]),
        ("group:exports", &[2, 4]),
        ("group:@exports", &[2, 4]),
        ("idx:3", &[3]),
        ("idx:3..5", &[3, 4]),
        ("idx:3..=5", &[3, 4, 5]),
        ("idx: 3 ..= 3 ", &[3]),
        ("idx:0", &[]),
        ("@leaf", &[3, 4, 5, 6, 7]),
        ("@tiny", &[2, 4, 7]),
        ("lang:rust", &[4]),
        ("+large", &[5]),
        ("file:**", &[]),
        ("import:**", &[]),
        ("@imports", &[]),
        ("**", &[2, 3, 4, 5, 6, 7]),
        ("-large", &[2, 3, 4, 6]),
        ("-@tiny", &[3, 5, 6]),
    ] {
        assert_eq!(chosen(&wasm, &[rule]), functions, "{rule}");
    }
    for bad in ["", "+", "-", "nokind:x", "@nogroup", "group:x", "idx:", "idx:3..", "idx:=3", "idx:4294967295", "/(/"] {
        let e = Rules::default().push(bad).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Rule, "{bad}");
        assert!(e.to_string().contains(&format!("`{bad}`")), "{e}");
    }
    // Neither is a kind: the first is a namespace, the second has a capital.
    assert!(rules(&["app::x", "C:x"]).text(1) == Some("C:x"));
}

/// Theorem: imported functions are hooked where that is wanted and a rule says so, but never hooks and the manual API.
#[test]
fn imported_functions_are_chosen_by_their_names() {
    let wasm = wat::parse_str(
        r#"(module
            (import "env" "tick" (func)) (import "env" "tock" (func)) (import "other" "tick" (func))
            (import "dylibso:observe/api" "span-exit" (func)) (import "dylibso:observe/instrument" "enter" (func (param i32)))
            (func))"#,
    )
    .unwrap();
    for (rule, functions) in [
        ("import:tick", &[0, 2][..]),
        ("import:env.*", &[0, 1]),
        ("import:=other.tick", &[2]),
        ("@imports", &[0, 1, 2]),
        ("env.tick", &[0]),
        ("**", &[0, 1, 2, 5]),
        ("-import:tock", &[0, 2, 5]),
    ] {
        assert!(plan_of(&wasm, &rules(&[rule])).imports().next().is_none(), "{rule}");
        let plan = plan_of(&wasm, &with_imports(&[rule]));
        let all: Vec<u32> = plan.imports().chain(plan.iter()).map(|func| func.0).collect();
        assert_eq!(all, functions, "{rule}");
        assert_eq!(plan.len(), functions.len());
        assert!((0..6).all(|i| plan.contains(FuncIdx(i)) == functions.contains(&i)));
    }
    let plan = plan_of(&wasm, &rules(&["import:tick"]));
    assert_eq!([0, 5].map(|i| plan.reason(FuncIdx(i))), [Reason::Imported, Reason::Default]);
    // Without a function of its own a module has no place for trampolines.
    let hollow = wat::parse_str("(module (import \"env\" \"tick\" (func)))").unwrap();
    assert!(plan_of(&hollow, &with_imports(&[])).is_empty());
}

/// Theorem: the last rule that matches wins, and is the reason; if the first one leaves out, all are hooked to begin with, but
/// bindings to the manual API; a rule that matches nothing is warned of.
#[test]
fn the_last_rule_that_matches_decides_and_is_the_reason() {
    let wasm = wat::parse_str(APP).unwrap();
    let plan = plan_of(&wasm, &rules(&["-app::**", "app::db::*", "idx:7", "nobody"]));
    let reasons: Vec<Reason> = (0..8).map(|i| plan.reason(FuncIdx(i))).collect();
    use Reason::{Default as Start, Helper, Imported, Rule};
    assert_eq!(reasons, [Imported, Imported, Rule(0), Rule(1), Rule(0), Start, Start, Rule(2)]);
    assert_eq!(plan.iter().map(|func| func.0).collect::<Vec<_>>(), [3, 5, 6, 7]);
    assert_eq!(plan.warnings[0].message, "the selection rule `nobody` matches no function");
    assert_eq!(plan.warnings.len(), 1);

    let plan = plan_of(&wasm, &Rules::default());
    assert_eq!(plan.iter().map(|func| func.0).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(plan.reason(FuncIdx(7)), Helper);
    let all = Plan::all(&module::parse(&wasm).unwrap());
    assert_eq!(all.iter().map(|func| func.0).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert_eq!([1, 2, 7].map(|i| all.reason(FuncIdx(i))), [Imported, Start, Start]);
}

/// Theorem: what is smaller than the minimum is left out, whatever rule chose it, unless it holds a loop.
#[test]
fn small_functions_are_left_out_unless_they_loop() {
    let wasm = wat::parse_str(APP).unwrap();
    let plan = plan_of(&wasm, &of_at_least(13, &["**"]));
    assert_eq!(plan.iter().map(|func| func.0).collect::<Vec<_>>(), [3, 5, 6]);
    assert_eq!([2, 3, 5].map(|i| plan.reason(FuncIdx(i))), [Reason::TooSmall, Reason::Rule(0), Reason::Rule(0)]);
    assert_eq!(plan_of(&wasm, &of_at_least(12, &["**"])).len(), 4);
    assert_eq!(plan_of(&wasm, &of_at_least(14, &["**"])).len(), 2);
    // One that a rule left out is not called too small.
    let plan = plan_of(&wasm, &of_at_least(13, &["-@tiny"]));
    assert_eq!(plan.reason(FuncIdx(2)), Reason::Rule(0));
}

/// Theorem: operators are counted with the last `end`, and every kind of call is one.
#[test]
fn sizes_count_operators_and_know_calls_and_loops() {
    let wasm = wat::parse_str(
        "(module (type $t (func)) (table 1 funcref) (elem declare func $f)
            (func $f) (func call $f) (func return_call $f) (func i32.const 0 call_indirect (type $t))
            (func i32.const 0 return_call_indirect (type $t)) (func ref.func $f call_ref $t)
            (func ref.func $f return_call_ref $t) (func loop nop end))",
    )
    .unwrap();
    let size = |operators, has_loop, has_call| Size { operators, has_loop, has_call };
    let sizes = select::sizes(&module::parse(&wasm).unwrap());
    let calls = [2, 2, 3, 3, 3, 3].map(|operators| size(operators, false, true));
    assert_eq!(sizes[0], size(1, false, false));
    assert_eq!(sizes[1..7], calls);
    assert_eq!(sizes[7], size(4, true, false));
}

/// Theorem: rules in a file are those that are given one by one; what is wrong is said with its line.
#[test]
fn rules_are_read_by_the_line() {
    let mut read = Rules::default();
    assert!(read.is_empty());
    read.push_lines("# a comment\n\n  -app::**  \n\t@exports\n").unwrap();
    assert_eq!([0, 1, 2].map(|place| read.text(place)), [Some("-app::**"), Some("@exports"), None]);
    let e = read.push_lines("**\n\n@nogroup\n").unwrap_err();
    assert!(e.kind() == ErrorKind::Rule && e.to_string().contains("line 3: "), "{e}");
    assert!(!read.is_empty());
    assert!(!with_imports(&[]).is_empty());
    assert!(!of_at_least(1, &[]).is_empty());
}

/// Theorem: a file is matched by its ends, and a function whose file is a library's is the library's, whatever its name.
#[test]
fn files_tell_what_is_of_a_library() {
    // Labels with files are what the Manifest of a hooked module says.
    let files =
        ["./src/main.rs", "/rustc/0123/library/core/src/fmt/mod.rs", "musl/x.c", "/x/musl/x.c", "/zig/lib/std/io.zig"];
    let hooked = instrument(&named(&["a", "b", "c", "d", "e"]), &Options::default()).unwrap();
    let mut manifest: Manifest = hooked.manifest.unwrap();
    for (probe, file) in manifest.probes.iter_mut().zip(files) {
        probe.label = Label { file: Some(file.into()), line: Some(1), source: Source::Dwarf, ..probe.label.clone() };
    }
    let place = module::parse(&hooked.wasm).unwrap().custom(MANIFEST_SECTION).unwrap().whole.clone();
    let mut wasm = hooked.wasm[..place.start].to_vec();
    wasm.push(0);
    [&[MANIFEST_SECTION.len() as u8], MANIFEST_SECTION.as_bytes(), &manifest.encode()].concat().encode(&mut wasm);
    let first = manifest.probes[0].id.0;
    for (rule, functions) in [
        ("file:src/*.rs", &[0][..]),
        ("file:main.rs", &[0]),
        ("file:rc/main.rs", &[]),
        ("file:musl/*", &[]),
        ("file:musl/*.c", &[2, 3]),
        ("file:**.c", &[2, 3]),
        ("@std", &[1, 2, 3, 4]),
        ("@user", &[0]),
        ("@app", &[0]),
    ] {
        let plan = plan_of(&wasm, &rules(&[rule]));
        assert_eq!(plan.iter().map(|func| func.0 - first).collect::<Vec<_>>(), functions, "{rule}");
    }
}
