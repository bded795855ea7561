//! Theorem: what is as large as it can be, or claims to be, takes time and memory in proportion to the bytes that are read
//! and written; beyond what engines accept there is a clear message, and no output.
//!
//! The tests in the default run have a hundredth of the size. All of it, with the figures:
//! `cargo test --release --locked --test compiler limits:: -- --include-ignored --nocapture --test-threads 1`.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testing::process::taken;
use wasm_encoder::{
    CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    Module, NameMap, NameSection, TypeSection, ValType,
};
use wasmtrace::hook::{HookSet, Manifest, Probe, ProbeId};
use wasmtrace::label::{Label, Source};
use wasmtrace::trace::recording::{Footer, Header, Writer};
use wasmtrace::trace::{Event, EventKind, RunOutcome};

/// What a process may take beside what it reads and writes: in a debug build on a busy machine, for files of some MB.
const LONG: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 30 });

/// Memory by bytes read and written, and beside. (The most is that of `info` on a million functions without names: of each of them
/// the file has four bytes, and the labels and facts of it take 160.)
const MULTIPLE: u64 = 40;
const BESIDE: u64 = 64 << 20;

/// Modules and recordings in a folder of their own, and what is done with them.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn size(&self, name: &str) -> u64 {
        self.path(name).metadata().map_or(0, |data| data.len())
    }

    /// Runs a command that reads `input`, within bounds, and says what it took; gives the exit code and standard error.
    fn run(&self, input: &str, args: &[&str]) -> (i32, String) {
        let file = |name: &str| std::fs::File::create(self.path(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
        command.current_dir(self.folder.path()).args(args).stdin(Stdio::null());
        command.stdout(file("stdout")).stderr(file("stderr"));
        let taken = taken(&mut command);
        let written = ["stdout", "stderr", "out.wasm", "out.trace"].map(|name| self.size(name)).iter().sum::<u64>();
        let read = self.size(input);
        let times = (taken.most << 10) as f64 / (read + written) as f64;
        println!(
            "{args:?}: {:.1?}, {} KB read, {} KB written, {} MB at most, that is {times:.1} times",
            taken.time,
            read >> 10,
            written >> 10,
            taken.most >> 10,
        );
        assert!(taken.time < LONG, "{args:?} takes {:?}", taken.time);
        assert!(taken.most << 10 < BESIDE + MULTIPLE * (read + written), "{args:?} takes {} KiB", taken.most);
        let error = std::fs::read_to_string(self.path("stderr")).unwrap();
        assert!(!error.contains("panicked"), "{error}");
        (taken.status.code().expect("no signal ended it"), error)
    }

    /// Everything that the compiler's half does with a module.
    fn compile(&self, wasm: &[u8]) {
        std::fs::write(self.path("in.wasm"), wasm).unwrap();
        for set in ["observe", "buffer"] {
            let _ = std::fs::remove_file(self.path("out.wasm"));
            let made = self.run("in.wasm", &["instrument", "--hooks", set, "in.wasm", "-o", "out.wasm"]);
            assert_eq!(made.0, 0, "{}", made.1);
            assert_eq!(self.run("in.wasm", &["verify", "in.wasm", "out.wasm"]).0, 0);
            assert_eq!(self.run("out.wasm", &["strip", "out.wasm", "-o", "back.wasm"]).0, 0);
            assert!(std::fs::read(self.path("back.wasm")).unwrap() == wasm);
        }
        self.read("out.wasm");
        let _ = std::fs::remove_file(self.path("out.wasm"));
        self.read("in.wasm");
    }

    fn read(&self, name: &str) {
        for args in [&["ls", name][..], &["ls", "--json", name], &["info", name], &["info", "--json", name]] {
            assert_eq!(self.run(name, args).0, 0);
        }
    }

    /// Everything that is made of a recording.
    fn show(&self, recording: &[u8]) {
        std::fs::write(self.path("in.wtrace"), recording).unwrap();
        let convert = |format| ["convert", "in.wtrace", "-f", format, "-o", "out.trace"];
        for args in [
            &["report", "--min-share", "0", "in.wtrace"][..],
            &["report", "--flat", "--min-share", "0", "in.wtrace"],
            &["report", "--json", "in.wtrace"],
            &convert("chrome"),
            &convert("folded"),
            &convert("otlp-json"),
        ] {
            let _ = std::fs::remove_file(self.path("out.trace"));
            let shown = self.run("in.wtrace", args);
            assert_eq!(shown.0, 0, "{}", shown.1);
        }
    }

    /// The one line with which a module is refused.
    fn refused(&self, wasm: &[u8]) -> String {
        std::fs::write(self.path("in.wasm"), wasm).unwrap();
        let (code, error) = self.run("in.wasm", &["instrument", "in.wasm", "-o", "refused.wasm"]);
        assert_eq!((code, error.lines().count()), (1, 1), "{error}");
        assert!(!Path::new(&self.path("refused.wasm")).exists());
        error
    }
}

fn hundredth(whole: u32) -> u32 {
    whole / 100
}

/// Functions of one type and one body, and as many exports of the first.
fn module(functions: u32, body: &Function, exports: u32) -> Vec<u8> {
    let (mut types, mut funcs, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..functions {
        funcs.function(0);
        code.function(body);
    }
    let mut exported = ExportSection::new();
    for export in 0..exports {
        exported.export(&format!("{export:x}"), ExportKind::Func, 0);
    }
    let mut module = Module::new();
    module.section(&types).section(&funcs).section(&exported).section(&code);
    module.finish()
}

fn empty() -> Function {
    let mut body = Function::new([]);
    body.instructions().end();
    body
}

fn functions(count: u32) {
    Bench::new().compile(&module(count, &empty(), 0));
}

#[test]
fn ten_thousand_functions_are_hooked() {
    functions(hundredth(999_997));
}

#[test]
#[ignore = "a minute"]
fn as_many_functions_as_engines_accept_are_hooked() {
    functions(999_997);
    let error = Bench::new().refused(&module(999_998, &empty(), 0));
    assert!(error.contains("with the hooks' 3 it would exceed the engines' limit of 1000000"), "{error}");
    let error = Bench::new().refused(&module(1_000_001, &empty(), 0));
    assert!(error.contains("at offset 0x"), "{error}");
}

#[test]
fn ten_thousand_exports_are_carried() {
    Bench::new().compile(&module(1, &empty(), hundredth(1_000_000)));
}

#[test]
#[ignore = "a minute"]
fn as_many_exports_as_engines_accept_are_carried() {
    // Each counts as two, and all together with the imports as less than a million.
    Bench::new().compile(&module(1, &empty(), 499_900));
    let error = Bench::new().refused(&module(1, &empty(), 499_999));
    assert!(error.contains("with the hooks the module would be too large"), "{error}");
    for exports in [1_000_000, 1_000_001] {
        let error = Bench::new().refused(&module(1, &empty(), exports));
        assert!(error.contains("limit of 1000000") && error.contains("at offset 0x"), "{error}");
    }
}

fn locals(count: u32) -> Function {
    let mut body = Function::new([(count, ValType::I64)]);
    body.instructions().end();
    body
}

/// A body of seven bytes may declare 50,000 locals, and a module may have a million of them.
#[test]
fn locals_take_what_their_declarations_take() {
    Bench::new().compile(&module(5_000, &locals(49_999), 0));
    let error = Bench::new().refused(&module(1, &locals(50_001), 0));
    assert!(error.contains("at offset 0x"), "{error}");
}

#[test]
#[ignore = "a minute"]
fn a_million_functions_with_fifty_thousand_locals_each_are_hooked() {
    Bench::new().compile(&module(999_997, &locals(49_999), 0));
}

/// A function without room for the buffer's local stays without hooks, and a warning says so.
#[test]
fn a_function_of_fifty_thousand_locals_has_no_room_for_another() {
    let bench = Bench::new();
    std::fs::write(bench.path("in.wasm"), module(1, &locals(50_000), 0)).unwrap();
    let (code, error) = bench.run("in.wasm", &["instrument", "--hooks", "buffer", "in.wasm", "-o", "out.wasm"]);
    assert!(code == 0 && error.contains("it has no room for the local of its hooks"), "{error}");
}

#[test]
fn a_body_of_five_megabytes_is_hooked() {
    let mut body = Function::new([]);
    for _ in 0..(5 << 20) / 3 {
        body.instructions().i32_const(1).drop();
    }
    body.instructions().end();
    Bench::new().compile(&module(2, &body, 1));
}

fn imports(count: u32) {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    types.ty().function([], []);
    for import in 0..count {
        imports.import("m", &format!("{import:x}"), EntityType::Function(0));
    }
    let (mut funcs, mut code) = (FunctionSection::new(), CodeSection::new());
    for func in 0..count {
        funcs.function(0);
        let mut body = Function::new([]);
        body.instructions().call(func).end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&funcs).section(&code);
    let bench = Bench::new();
    std::fs::write(bench.path("in.wasm"), module.finish()).unwrap();
    let made = bench.run("in.wasm", &["instrument", "--imports", "in.wasm", "-o", "out.wasm"]);
    assert_eq!(made.0, 0, "{}", made.1);
    assert_eq!(bench.run("in.wasm", &["verify", "in.wasm", "out.wasm"]).0, 0);
    assert_eq!(bench.run("in.wasm", &["strip", "out.wasm", "-o", "back.wasm"]).0, 0);
}

#[test]
fn many_imports_have_shims() {
    imports(hundredth(99_997));
}

#[test]
#[ignore = "a minute"]
fn as_many_imports_as_engines_accept_have_shims() {
    imports(99_997);
}

/// Custom sections of three bytes, and `name` sections that all say something else.
fn sections(count: u32) {
    let mut wasm = module(3, &empty(), 1);
    for _ in 0..count {
        wasm.extend([0, 1, 0]);
    }
    Bench::new().compile(&wasm);
    let mut wasm = module(3, &empty(), 1);
    for _ in 0..count {
        wasm.extend(b"\0\x05\x04name\0\x0a\x09producers\0\x17\x16metadata.code.nonsense");
    }
    Bench::new().compile(&wasm);
}

#[test]
fn many_custom_sections_take_what_they_are() {
    sections(hundredth(200_000));
}

#[test]
#[ignore = "a minute"]
fn very_many_custom_sections_take_what_they_are() {
    sections(200_000);
}

#[test]
fn a_name_of_ten_megabytes_is_carried_and_shown_in_part() {
    let mut wasm = module(2, &empty(), 1);
    let (mut names, mut map) = (NameSection::new(), NameMap::new());
    map.append(0, &"n".repeat(10 << 20));
    map.append(1, &"\u{202e}".repeat(3 << 20));
    names.functions(&map);
    wasm.extend(CustomSection { name: "name".into(), data: data_of(&names).into() }.bytes());
    Bench::new().compile(&wasm);
}

trait Bytes {
    fn bytes(&self) -> Vec<u8>;
}

impl Bytes for CustomSection<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0];
        wasm_encoder::Encode::encode(self, &mut bytes);
        bytes
    }
}

/// The encoder writes a section with its size and name; the data alone.
fn data_of(names: &NameSection) -> Vec<u8> {
    let mut whole = Vec::new();
    wasm_encoder::Encode::encode(names, &mut whole);
    let at = whole.windows(4).position(|w| w == b"name").unwrap() + 4;
    whole.split_off(at)
}

/// A recording of functions that share one name and one file: strings are written once.
fn recording(functions: u32, name: &str, events: impl Iterator<Item = EventKind>) -> Vec<u8> {
    let label = Label {
        name: name.into(),
        file: Some(name.into()),
        line: Some(1),
        source: Source::NameSection,
        index: Some(7),
        language: None,
    };
    let probes = (0..functions).map(|id| Probe { id: ProbeId(id), label: label.clone() }).collect();
    let manifest = Manifest {
        hooks: HookSet::Observe,
        buffer: None,
        input_sha256: [1; 32],
        build_id: Vec::new(),
        probes,
        restore: None,
    };
    let header = Header {
        program: "app.wasm".to_owned(),
        began: 0,
        clock: "hook".to_owned(),
        resolution: 100,
        min_duration: 0,
        max_depth: None,
        manifest,
        context: None,
        resource: Vec::new(),
        stamped: false,
        not_sampled: None,
        resumption: None,
    };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for (at, kind) in events.enumerate() {
        writer.event(&Event { at: at as u64, kind }).unwrap();
    }
    writer.finish(&Footer { ending: RunOutcome::Returned, duration: 1 << 40 }).unwrap()
}

/// A tree of this depth: each function calls the next, and on the way back each calls all that come behind it.
fn calls(depth: u32) -> impl Iterator<Item = EventKind> {
    let down = (0..depth).map(|id| EventKind::Enter(ProbeId(id)));
    let up = (0..depth).rev().flat_map(move |id| {
        let others = (id + 1..depth).flat_map(|other| {
            let other = ProbeId(other);
            [EventKind::Enter(other), EventKind::Exit(other)]
        });
        others.chain([EventKind::Exit(ProbeId(id))])
    });
    down.chain(up)
}

/// Theorem: thousands of functions may have one name of megabytes, which is written once; it is not held once for each,
/// nor written once for each call.
#[test]
fn a_long_name_that_is_shared_is_not_multiplied() {
    Bench::new().show(&recording(60, &"long::".repeat(1 << 20), calls(60)));
}

#[test]
#[ignore = "a minute"]
fn a_deep_tree_of_functions_with_one_long_name_is_shown() {
    Bench::new().show(&recording(500, &"long::".repeat(1 << 20), calls(500)));
}

/// A unit of DWARF 4 with these entries, whose abbreviations begin at that offset.
fn unit(abbreviations: u32, entries: &[u8]) -> Vec<u8> {
    let mut unit = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    unit.extend(4u16.to_le_bytes());
    unit.extend(abbreviations.to_le_bytes());
    unit.push(4); // bytes of an address
    unit.extend(entries);
    unit
}

/// Abbreviation 1 is a unit's entry with a line table; 2 a function with a name, a file and an address; 3 a namespace that
/// says nothing; 4 a function with dead ranges.
const ABBREVIATIONS: &[u8] =
    b"\x01\x11\x01\x10\x17\0\0\x02\x2e\0\x03\x0e\x3a\x0b\x11\x01\0\0\x03\x39\0\0\0\x04\x2e\0\x55\x17\0\0\0";

fn with_debug_information(wasm: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let customs = sections.iter().map(|(name, data)| CustomSection { name: (*name).into(), data: (*data).into() });
    [wasm.to_vec(), customs.flat_map(|custom| custom.bytes()).collect()].concat()
}

/// A line table of version 4 without rows, of so many files.
fn line_table(files: usize) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 1, 0]; // of instructions; no opcode has a length, and there is no folder
    header.extend(b"f\0\0\0\0".repeat(files));
    header.push(0);
    let mut table = (header.len() as u32 + 6).to_le_bytes().to_vec();
    table.extend(4u16.to_le_bytes());
    table.extend((header.len() as u32).to_le_bytes());
    table.extend(header);
    table
}

/// Debug information is compressed by reference, so that a little of it may stand for a lot.
fn debug_information(count: usize) {
    let wasm = module(count as u32, &empty(), 0);
    let bench = Bench::new();
    let hooked = |what: &str, sections: &[(&str, &[u8])]| {
        println!("{what}:");
        std::fs::write(bench.path("in.wasm"), with_debug_information(&wasm, sections)).unwrap();
        let _ = std::fs::remove_file(bench.path("out.wasm"));
        let (code, error) = bench.run("in.wasm", &["instrument", "in.wasm", "-o", "out.wasm"]);
        assert_eq!(code, 0, "{error}");
        let _ = std::fs::remove_file(bench.path("out.wasm"));
        bench.read("in.wasm");
        error
    };
    let function = |at: usize| {
        // Behind the count of three bytes at most, bodies of three bytes each.
        let mut entry = vec![2, 0, 0, 0, 0, 1];
        entry.extend((3 + 3 * at as u32).to_le_bytes());
        entry
    };
    let functions: Vec<u8> = (0..count).flat_map(function).collect();
    let name = [&b"n".repeat(16_000)[..], &[0]].concat();
    let info = unit(0, &[&[1, 0, 0, 0, 0][..], &functions].concat());
    let lines = line_table(1);
    let error = hooked(
        "functions with one long name",
        &[(".debug_abbrev", ABBREVIATIONS), (".debug_info", &info), (".debug_str", &name), (".debug_line", &lines)],
    );
    assert!(error.contains("functions have no name"), "{error}");

    let info = unit(0, &[&[1, 0, 0, 0, 0][..], &b"\x03".repeat(count * 100)].concat());
    hooked("entries that say nothing", &[(".debug_abbrev", ABBREVIATIONS), (".debug_info", &info)]);

    let info: Vec<u8> = (0..count).flat_map(|_| unit(0, &[1, 0, 0, 0, 0, 0])).collect();
    let lines = line_table(count);
    hooked(
        "units with one line table",
        &[(".debug_abbrev", ABBREVIATIONS), (".debug_info", &info), (".debug_line", &lines)],
    );

    // One by one the tables begin an abbreviation of five bytes later, and each goes on to the end.
    let table: Vec<u8> = (0..count).flat_map(|i| [(i % 127) as u8 + 1, 0x39, 0, 0, 0]).chain([0]).collect();
    for step in [0, 5] {
        let info: Vec<u8> = (0..count).flat_map(|i| unit((i * step) as u32, &[1, 0])).collect();
        hooked("units with long abbreviations", &[(".debug_abbrev", &table), (".debug_info", &info)]);
    }

    let flags = b"\x3f\x19".repeat(count);
    let table = [&b"\x01\x11\x01\0\0\x02\x2e\0"[..], &flags, &[0, 0, 0]].concat();
    let info = unit(0, &[&[1][..], &[2].repeat(count * 10)].concat());
    hooked("entries with very many attributes", &[(".debug_abbrev", &table), (".debug_info", &info)]);

    let dead = [&b"\0\0\0\0\x01\0\0\0".repeat(count)[..], &[0; 8]].concat();
    let info = unit(0, &[&[1, 0, 0, 0, 0][..], &b"\x04\0\0\0\0".repeat(count)].concat());
    hooked(
        "functions with the same dead ranges",
        &[(".debug_abbrev", ABBREVIATIONS), (".debug_info", &info), (".debug_ranges", &dead)],
    );
}

#[test]
fn debug_information_that_stands_for_more_is_read_in_part() {
    debug_information(4_000);
}

#[test]
#[ignore = "a minute"]
fn much_debug_information_that_stands_for_more_is_read_in_part() {
    debug_information(100_000);
}
