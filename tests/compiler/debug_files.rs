//! Debug information in a file of its own stays true: oracle 9 of `docs/oracles.md` for what was taken out of a module.
//!
//! Theorem: a module whose names and debug information are in a file beside it is hooked and labelled as if they were in it;
//! what that file said of an instruction, the file that is written says of where the instruction is now; it belongs to the
//! output as it belonged to the input, by its code and by its `build_id`. A file of another build is refused.
//!
//! Control: with the file left alone, the same comparison fails.

use testing::readers;

use readers::{differences, every_way, with_bytes, with_dwarf};
use testing::Case;
use testing::instrument;
use wasm_encoder::Encode;
use wasmtrace::links::{BUILD_ID, DEBUG_FILE, build_id, named_by, named_in};
use wasmtrace::module::{Module, parse};
use wasmtrace::sidecar::{SidecarFile, SidecarFiles};
use wasmtrace::{ErrorKind, Options, WarningKind, label, strip, verify};

/// A module, and the file that its debug information is in.
struct Split {
    name: String,
    wasm: Vec<u8>,
    file: Vec<u8>,
}

/// As Emscripten takes it out: that file is a module with the same code.
fn by_emscripten() -> Split {
    split_of("emcc_dwarf")
}

/// As LLVM takes it out: that file has no code.
fn by_llvm() -> Split {
    split_of("lld_dwarf")
}

fn split_of(name: &str) -> Split {
    let read = |ending: &str| std::fs::read(testing::corpus().join("beside").join(format!("{name}{ending}"))).unwrap();
    Split { name: name.to_owned(), wasm: read(".wasm"), file: read(".debug.wasm") }
}

/// The module without the sections that `drop` says.
fn without(wasm: &[u8], drop: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut out = wasm[..8].to_vec();
    for section in parse(wasm).unwrap().sections().iter().filter(|s| !s.name.is_some_and(&drop)) {
        out.extend_from_slice(&wasm[section.whole.clone()]);
    }
    out
}

/// The custom sections alone.
fn customs(wasm: &[u8]) -> Vec<u8> {
    let mut out = wasm[..8].to_vec();
    for section in parse(wasm).unwrap().sections().iter().filter(|s| s.name.is_some()) {
        out.extend_from_slice(&wasm[section.whole.clone()]);
    }
    out
}

fn with_section(wasm: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    name.encode(&mut contents);
    contents.extend_from_slice(data);
    let mut out = wasm.to_vec();
    out.push(0);
    contents.encode(&mut out);
    out
}

fn is_for_debuggers(name: &str) -> bool {
    name == "name" || name.starts_with(".debug_")
}

/// Every module with DWARF, taken apart in both ways.
fn taken_apart() -> Vec<Split> {
    let mut splits = Vec::new();
    for Case { name, wasm, .. } in with_dwarf() {
        let wasm = with_section(&wasm, BUILD_ID, b"\x04\x01\x02\x03\x04");
        let stripped = without(&wasm, is_for_debuggers);
        splits.push(Split { name: format!("{name} (with code)"), wasm: stripped.clone(), file: wasm.clone() });
        splits.push(Split { name: format!("{name} (without)"), wasm: stripped, file: customs(&wasm) });
    }
    splits.extend([by_emscripten(), by_llvm()]);
    splits
}

fn with(options: &Options, file: &[u8]) -> Options {
    let debug_file =
        Some(SidecarFile { bytes: file.to_vec(), new_url: Some("new.wasm".to_owned()), ..Default::default() });
    Options { sidecar: SidecarFiles { debug_file, ..Default::default() }, ..options.clone() }
}

/// A module out of two: the code of one, what the other holds for debuggers.
fn joined(wasm: &[u8], file: &[u8]) -> Vec<u8> {
    let mut out = without(wasm, is_for_debuggers);
    let file = parse(file).unwrap();
    for section in file.sections().iter().filter(|s| s.name.is_some_and(is_for_debuggers)) {
        out.extend_from_slice(&file.bytes()[section.whole.clone()]);
    }
    out
}

fn code<'a>(module: &Module<'a>) -> &'a [u8] {
    let code = module.sections().iter().find(|s| s.id == 10).unwrap();
    &module.bytes()[code.contents.clone()]
}

#[test]
fn every_instruction_has_the_lines_and_the_frames_that_it_had() {
    testing::for_each_named(
        &taken_apart(),
        |split| (&split.name, &split.wasm),
        |split| {
            let whole = joined(&split.wasm, &split.file);
            let original = parse(&whole).unwrap();
            let all = every_way();
            // The hooks differ little, and are compared in `tests/compiler/debug.rs`; that with trampolines changes the most.
            for options in [&all[0], &all[all.len() - 1]] {
                let out = instrument(&split.wasm, &with(options, &split.file)).unwrap();
                let file = out.debug_file.as_ref().expect("there is a file");
                let new = joined(&out.wasm, file);
                let hooked = parse(&new).unwrap();
                let (known, different, first) = differences(&original, &hooked, &out.offsets);
                assert!(known > 100, "{known}");
                assert_eq!(different, 0, "{first}");
                assert_eq!(named_in(&out.wasm, DEBUG_FILE), Some("new.wasm"));
                assert!(strip(&out.wasm).unwrap() == split.wasm);
                verify::verify(&split.wasm, &out.wasm).unwrap();
                // The control.
                let stale = joined(&out.wasm, &split.file);
                let (_, different, _) = differences(&original, &parse(&stale).unwrap(), &out.offsets);
                assert!(different > known / 2, "{different} of {known}");
            }
        },
    );
}

/// The file belongs to the output: it has its code if it had the input's, is hooked as that is, and can be proved to be.
#[test]
fn the_file_that_is_written_belongs_to_the_output() {
    testing::for_each_named(
        &taken_apart(),
        |split| (&split.name, &split.wasm),
        |split| {
            let out = instrument(&split.wasm, &with(&Options::default(), &split.file)).unwrap();
            let file = out.debug_file.unwrap();
            let (module, debug) = (parse(&out.wasm).unwrap(), parse(&file).unwrap());
            let had_code = parse(&split.file).unwrap().defined_funcs().len() > 0;
            assert_eq!(debug.defined_funcs().len() > 0, had_code);
            if had_code {
                assert!(code(&module) == code(&debug));
                verify::verify(&split.file, &file).unwrap();
                assert!(strip(&file).unwrap() == split.file);
            }
            // What was written is taken for the output's, as what was read was for the input's.
            let options = with(&Options::default(), &file);
            assert!(options.sidecar.read(&module).unwrap().warnings.is_empty());
        },
    );
}

/// Labels and what they are used for are those of the module that it was.
#[test]
fn labels_are_those_of_the_module_as_it_was() {
    testing::for_each_named(
        &taken_apart(),
        |split| (&split.name, &split.wasm),
        |split| {
            let whole = joined(&split.wasm, &split.file);
            let wanted = label::label(&parse(&whole).unwrap());
            let module = parse(&split.wasm).unwrap();
            let options = with(&Options::default(), &split.file);
            let beside = options.sidecar.read(&module).unwrap();
            let labels = label::label_with(&module, &beside);
            let differ = |(a, b): &(_, _)| a != b;
            let different = wanted.iter().zip(labels.iter()).find(differ);
            assert!(different.is_none(), "{different:?}");
            let mut out = instrument(&split.wasm, &options).unwrap();
            let probes = out.manifest.take().unwrap().probes;
            // What is split once more is in no file that is here, but its line table is.
            assert!(probes.iter().any(|probe| probe.label.line.is_some()));
            // By default, and by a rule about files.
            let mut by_file = options.clone();
            by_file.select.push("+file:**/*.c").unwrap();
            let some = instrument(&split.wasm, &by_file).unwrap();
            let in_whole = Options { select: by_file.select.clone(), ..Default::default() };
            let wanted = instrument(&whole, &in_whole).unwrap();
            assert_eq!(some.manifest.map(|m| m.probes), wanted.manifest.map(|m| m.probes));
        },
    );
}

/// One clear error for a file of another build: of more or fewer functions, of others, with another id, or of which nothing
/// is known.
#[test]
fn a_file_of_another_build_is_refused() {
    let (code, no_code) = (by_emscripten(), by_llvm());
    let other = testing::programs().into_iter().find(|case| case.name == "c_files").unwrap().wasm;
    let mut longer = parse(&code.file).unwrap().custom(".debug_info").map(|_| code.file.clone()).unwrap();
    // Another function of the same number: a `nop` for the body's last operator but one would be of the same size, so the
    // whole of the first body is made one byte shorter and the second one longer, by their sizes alone.
    longer = with_other_sizes(&longer);
    let id = build_id(&parse(&no_code.file).unwrap()).unwrap().to_vec();
    let other_id = with_bytes(&no_code.file, BUILD_ID, 1, &[!id[0]]);
    let no_id = without(&no_code.file, |name| name == BUILD_ID);
    for (wasm, file, says) in [
        (&code.wasm, &other, "functions, not 58"),
        (&code.wasm, &longer, "differs in offset or size"),
        (&code.wasm, &with_another_sum(&code.file), "has other instructions"),
        (&code.wasm, &no_code.file, "do not share a build_id"),
        (&no_code.wasm, &other_id, "its build_id is"),
        (&no_code.wasm, &no_id, "do not share a build_id"),
        (&code.wasm, &b"\0asm".to_vec(), "unexpected end"),
        (&code.wasm, &b"no module".to_vec(), "not a WebAssembly binary"),
    ] {
        let e = instrument(wasm, &with(&Options::default(), file)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Sidecar);
        assert!(e.to_string().contains("does not belong to the module") && e.to_string().contains(says), "{e}");
        // What was only found, and not asked for, costs a warning.
        let mut found = with(&Options::default(), file);
        found.sidecar.debug_file.as_mut().unwrap().if_it_fits = true;
        let out = instrument(wasm, &found).unwrap();
        assert!(
            out.warnings.iter().any(|w| w.message.contains(says) && w.kind == WarningKind::Sidecar),
            "{:?}",
            out.warnings
        );
        assert!(out.debug_file.is_none() && named_in(&out.wasm, DEBUG_FILE).is_none());
        assert!(strip(&out.wasm).unwrap() == *wasm);
    }
}

/// The module with a difference where a body had a sum.
fn with_another_sum(wasm: &[u8]) -> Vec<u8> {
    let module = parse(wasm).unwrap();
    let mut out = wasm.to_vec();
    for func in module.defined_funcs() {
        let range = module.body(func);
        let reader = wasmparser::BinaryReader::new(&wasm[range.clone()], range.start);
        let mut operators = wasmparser::FunctionBody::new(reader).get_operators_reader().unwrap();
        while !operators.eof() {
            if let (wasmparser::Operator::I32Add, at) = operators.read_with_offset().unwrap() {
                out[at] = 0x6b; // i32.sub
                return out;
            }
        }
    }
    panic!("no function has a sum");
}

/// The module with one `nop` more in its first body, and one instruction of one byte less in no other: valid, and different.
fn with_other_sizes(wasm: &[u8]) -> Vec<u8> {
    let module = parse(wasm).unwrap();
    let section = module.sections().iter().find(|s| s.id == 10).unwrap();
    let first = module.body(module.defined_funcs().next().unwrap());
    let (head, rest) = (&wasm[section.contents.start..first.end - 1], &wasm[first.end - 1..section.contents.end]);
    let mut contents = [head, &[0x01], rest].concat();
    // Its size field is one byte wide.
    contents[first.start - 1 - section.contents.start] += 1;
    let mut out = wasm[..section.whole.start].to_vec();
    out.push(10);
    contents.encode(&mut out);
    out.extend_from_slice(&wasm[section.whole.end..]);
    parse(&out).unwrap();
    out
}

/// A link whose file was not given, or will not be written, is left out; the warning names it.
#[test]
fn a_link_without_its_file_is_left_out() {
    for split in [by_emscripten(), by_llvm()] {
        let url = named_by(&parse(&split.wasm).unwrap(), DEBUG_FILE).unwrap().to_owned();
        let mut nowhere = with(&Options::default(), &split.file);
        nowhere.sidecar.debug_file.as_mut().unwrap().new_url = None;
        for (options, says) in [(Options::default(), "is not available"), (nowhere, "is not written to a file")] {
            let out = instrument(&split.wasm, &options).unwrap();
            assert!(named_in(&out.wasm, DEBUG_FILE).is_none() && out.debug_file.is_none());
            let [warning] = &out.warnings[..] else { panic!("{:?}", out.warnings) };
            assert!(
                warning.message.contains(says) && warning.message.contains(&url) && warning.kind == WarningKind::Link,
                "{warning}"
            );
            assert!(strip(&out.wasm).unwrap() == split.wasm);
        }
    }
}

/// An output is another build: it has an id of its own, which follows from that of the input and from the code. The Manifest
/// has the input's, with or without what `strip` needs.
#[test]
fn an_output_has_an_id_of_its_own() {
    let split = by_llvm();
    let module = parse(&split.wasm).unwrap();
    let old = build_id(&module).unwrap();
    let mut seen = vec![old.to_vec()];
    // There is no import to be hooked: the last way is the first.
    let ways = every_way();
    for mut options in ways[..ways.len() - 1].iter().cloned() {
        options.rewrite.restore = false;
        let out = instrument(&split.wasm, &with(&options, &split.file)).unwrap();
        let id = build_id(&parse(&out.wasm).unwrap()).unwrap().to_vec();
        assert_eq!(id.len(), old.len());
        assert_eq!(build_id(&parse(out.debug_file.as_ref().unwrap()).unwrap()), Some(&id[..]));
        assert_eq!(out.manifest.unwrap().build_id, old);
        assert!(instrument(&split.wasm, &with(&options, &split.file)).unwrap().wasm == out.wasm);
        let at = 3;
        let e = verify::verify(&split.wasm, &with_bytes(&out.wasm, BUILD_ID, at, &[!id[at - 1]])).unwrap_err();
        assert!(e.kind() == ErrorKind::Verify && e.to_string().contains("build_id"), "{e}");
        seen.push(id);
    }
    // As a selection is another output.
    let mut some = Options::default();
    some.select.push("-=recursive").unwrap();
    some.select.push("-idx:1").unwrap();
    seen.push(build_id(&parse(&instrument(&split.wasm, &some).unwrap().wasm).unwrap()).unwrap().to_vec());
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all);
    // What is no id is nobody's, and stays.
    let odd = without(&split.wasm, |name| name == BUILD_ID);
    let odd = with_section(&odd, BUILD_ID, b"\x09\x01");
    let out = instrument(&odd, &Options::default()).unwrap();
    assert!(out.manifest.unwrap().build_id.is_empty() && strip(&out.wasm).unwrap() == odd);
}

/// The tool finds the file that the module names, says so, and writes that of the output beside it; who reads the two together
/// sees a trap as it was in the original.
#[test]
fn the_tool_writes_a_file_that_a_debugger_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let split = by_llvm();
    std::fs::write(folder.path().join("lld_dwarf.wasm"), &split.wasm).unwrap();
    std::fs::write(folder.path().join("lld_dwarf.debug.wasm"), &split.file).unwrap();
    let tool = std::process::Command::new(env!("CARGO_BIN_EXE_wasmtrace"))
        .args(["instrument", "lld_dwarf.wasm", "-o", "out.wasm"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(tool.status.success());
    assert!(
        String::from_utf8_lossy(&tool.stderr).contains("reading debug information from lld_dwarf.debug.wasm"),
        "{tool:?}"
    );
    let wasm = std::fs::read(folder.path().join("out.wasm")).unwrap();
    let url = named_in(&wasm, DEBUG_FILE).unwrap();
    let file = std::fs::read(folder.path().join(url)).unwrap();

    let host = testing::host::Host::with_sources();
    let backtrace = |wasm: &[u8]| host.backtrace(wasm, "trap");
    let of_original = backtrace(&joined(&split.wasm, &split.file));
    assert!(of_original.iter().any(|frame| frame.contains("shapes.cpp")), "{of_original:?}");
    assert_eq!(backtrace(&joined(&wasm, &file)), of_original);
    assert_ne!(backtrace(&joined(&wasm, &split.file)), of_original);
}
