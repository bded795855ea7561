//! Debug information stays true: oracle 9 of `docs/oracles.md`.
//!
//! Theorem: what DWARF said of an instruction of the original, it says of that instruction in the hooked module: file, line,
//! column, function and inlined frames, for every instruction. Hooks belong to the line that they stand at: the function's
//! opening line, its closing line, or that of the instruction they are for. What of it stands in which entry is
//! `tests/compiler/debug_entries.rs`.
//!
//! The readers are gimli and addr2line, which the carrying does not use; the places of instructions are checked by
//! `tests/compiler/rewriting.rs`. Control: with the debug sections left alone, the same comparison fails.

use testing::readers;

use readers::{
    Reader, Slice, assert_same_operator, differences, dwarf, every_way, for_each_output, operators, with_bytes,
    with_dwarf, with_sections_of,
};
use testing::instrument;
use testing::once::verified;
use wasmtrace::hook::HOOK_SETS;
use wasmtrace::mapping::OffsetMap;
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::{ErrorKind, Options, strip, verify};

#[test]
fn every_instruction_has_the_lines_and_the_frames_that_it_had() {
    for_each_output(|original, hooked, out| {
        let (known, different, first) = differences(original, hooked, &out.offsets);
        assert!(known > 100, "{known} instructions are known");
        assert_eq!(different, 0, "{first}");
        assert!(
            out.warnings.iter().all(|w| !w.message.contains("debug") || w.message.contains("links to it are cut")),
            "{:?}",
            out.warnings
        );
    });
}

/// The control: the comparison tells stale debug information from true.
#[test]
fn left_alone_it_would_be_wrong() {
    testing::for_each(with_dwarf(), |case| {
        let original = parse(&case.wasm).unwrap();
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let stale = with_sections_of(&original, &parse(&out.wasm).unwrap());
        let (known, different, _) = differences(&original, &parse(&stale).unwrap(), &out.offsets);
        assert!(different > known / 2, "{different} of {known}");
    });
}

/// Code that was inserted before an instruction is of that instruction's line and frames; what a function is entered by is of
/// the line that it opens with.
#[test]
fn hooks_belong_to_the_line_that_they_stand_at() {
    for_each_output(|original, hooked, out| {
        let (before, after) = (Reader::new(original), Reader::new(hooked));
        let moved = hooked.imported_funcs().len() as u32 - original.imported_funcs().len() as u32;
        let mut entries = 0;
        for func in original.defined_funcs() {
            let old = operators(original, func);
            let map = |old: u64| u64::from(out.offsets.instruction(old as u32).unwrap());
            let mut originals = old.iter().map(|old| (*old, map(*old))).peekable();
            let new = operators(hooked, FuncIdx(func.0 + moved));
            let opens = before.line(old[0] - 1).or_else(|| before.line(old[0]));
            for address in new {
                while originals.next_if(|(_, new)| *new < address).is_some() {}
                let (next, at) = *originals.peek().expect("the last operator is the original's");
                if at == address {
                    continue;
                }
                let line = after.line(address);
                if next == old[0] && (old.len() > 1 || line != before.line(next)) {
                    entries += 1;
                    assert_eq!(line, opens, "the entry of function {} at {address:#x}", func.0);
                } else {
                    assert_eq!(line, before.line(next), "a hook at {address:#x}, before {next:#x}");
                    assert_eq!(after.frames(address), before.frames(next), "at {address:#x}, before {next:#x}");
                }
            }
        }
        assert!(entries > 20, "{entries} operators that functions are entered by");
    });
}

/// A unit that cannot be carried is left out, by name; the others are as they were, and so is what `strip` gives back.
#[test]
fn a_unit_that_cannot_be_carried_is_left_out_alone() {
    for name in ["v2_O0", "v3_O1", "v4_O1", "v5_O1", "v4_types"] {
        let case = testing::dwarf_kinds().into_iter().find(|case| case.name == name).unwrap();
        let original = parse(&case.wasm).unwrap();
        // The second unit's line table is nowhere.
        let bytes = &case.wasm[original.custom(".debug_line").unwrap().data.clone()];
        let second = 4 + u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let info = original.custom(".debug_info").unwrap().data.clone();
        let field = second.to_le_bytes();
        let at = case.wasm[info].windows(4).rposition(|w| w == field).unwrap();
        let broken = with_bytes(&case.wasm, ".debug_info", at, &(second + 1).to_le_bytes());

        let out = instrument(&broken, &Options::default()).unwrap();
        let said: Vec<&wasmtrace::Warning> =
            out.warnings.iter().filter(|w| w.message.contains("debug information that")).collect();
        assert_eq!(said.len(), 1, "{:?}", out.warnings);
        assert!(
            said[0].message.contains("the unit other.c (at 0x") && !said[0].message.contains("shapes.cpp"),
            "{said:?}"
        );
        assert!(strip(&out.wasm).unwrap() == broken);

        let hooked = parse(&out.wasm).unwrap();
        let (before, after) = (Reader::new(&original), Reader::new(&hooked));
        let (mut kept, mut lost) = (0, 0);
        for func in original.defined_funcs() {
            for old in operators(&original, func) {
                let was = before.frames(old);
                let is = after.frames(u64::from(out.offsets.instruction(old as u32).unwrap()));
                match is.is_empty() {
                    true => lost += was.iter().any(|frame| frame.contains("other.c")) as usize,
                    false => kept += 1,
                }
                assert!(
                    is == was || is.is_empty() && was.iter().all(|frame| frame.contains("other.c")),
                    "{was:?} {is:?}"
                );
            }
        }
        assert!(kept > 100 && lost > 10, "{name}: {kept} kept, {lost} lost");
    }
}

/// Damage is not made worse: whatever stands in the debug sections, a reader says of an instruction of the output what it
/// said of it in the original, or less. (Where what it could not read is left out, it may read the rest: that is true.)
#[test]
fn damaged_debug_information_never_says_something_new() {
    let mut tried = (0, 0);
    for name in ["v2_O1", "v4_O1", "v4_types", "v5_O1", "v5_aranges"] {
        let case = testing::dwarf_kinds().into_iter().find(|case| case.name == name).unwrap();
        let module = parse(&case.wasm).unwrap();
        for section in module.sections() {
            let Some(name) = section.name.filter(|name| name.starts_with(".debug_")) else { continue };
            let data = &case.wasm[section.data.clone()];
            for at in (0..data.len()).step_by(data.len().div_ceil(29)) {
                for value in [data[at] ^ 1, 0xff, data[at].wrapping_add(0x40)] {
                    let damaged = with_bytes(&case.wasm, name, at, &[value]);
                    let out = verified(&damaged, &Options::default()).expect("what is damaged is optional");
                    assert!(strip(&out.wasm).unwrap() == damaged);
                    let what = format!("{value:#x} at {at:#x} of {name} of {}: {:?}", case.name, out.warnings);
                    let (original, hooked) = (parse(&damaged).unwrap(), parse(&out.wasm).unwrap());
                    tried.0 += 1;
                    tried.1 += says_nothing_new([&module, &original, &hooked], &out.offsets, &what) as usize;
                }
            }
        }
    }
    assert!(tried.0 > 2000 && tried.1 > tried.0 / 2, "{tried:?}");
}

/// A function, and a place in a file, where they are known.
type Frame = (Option<String>, Option<String>);

/// Of a module before it was damaged, after, and hooked; whether anything is said of it at all.
fn says_nothing_new([sound, original, hooked]: [&Module<'_>; 3], offsets: &OffsetMap, what: &str) -> bool {
    let truth = addr2line::Context::from_dwarf(dwarf(sound)).unwrap();
    let Ok(before) = addr2line::Context::from_dwarf(dwarf(original)) else { return false };
    let after = addr2line::Context::from_dwarf(dwarf(hooked)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let frames = |context: &addr2line::Context<Slice<'_>>, address| -> Result<Vec<Frame>, gimli::Error> {
        let mut frames = context.find_frames(address).skip_all_loads()?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next()? {
            let function = frame.function.map(|f| f.raw_name().map(|name| name.into_owned())).transpose()?;
            let at = frame.location.map(|l| format!("{:?}", (l.file, l.line, l.column)));
            found.push((function, at));
        }
        Ok(found)
    };
    let mut known = false;
    for func in original.defined_funcs() {
        for old in operators(original, func) {
            let Ok(was) = frames(&before, old) else { continue };
            known |= !was.is_empty();
            let new = u64::from(offsets.instruction(old as u32).unwrap());
            let is = frames(&after, new).unwrap_or_else(|e| panic!("{what}: {e} at {new:#x}"));
            let said = |frame: &Frame| {
                was.iter().chain(&frames(&truth, old).unwrap()).any(|(function, at)| {
                    (frame.0.is_none() || frame.0 == *function) && (frame.1.is_none() || frame.1 == *at)
                })
            };
            assert!(is.iter().all(said), "{what}: {old:#x} was {was:#?}, {new:#x} is {is:#?}");
        }
    }
    known
}

/// A trampoline may be the function whose count needs another byte, in front of all code.
#[test]
fn the_map_is_right_where_the_count_of_bodies_becomes_longer() {
    let functions = "(func call 0)".repeat(127);
    let wasm = wat::parse_str(format!("(module (import \"a\" \"b\" (func)) {functions})")).unwrap();
    let mut options = Options::default();
    options.select.imports = true;
    let out = instrument(&wasm, &options).unwrap();
    let (original, hooked) = (parse(&wasm).unwrap(), parse(&out.wasm).unwrap());
    for func in original.defined_funcs() {
        for old in operators(&original, func) {
            let new = u64::from(out.offsets.instruction(old as u32).unwrap());
            assert_same_operator(&original, old, &hooked, new);
        }
    }
}

/// The check knows where code went, and takes no debug information that says something else.
#[test]
fn debug_information_that_was_tampered_with_is_found_out() {
    let case = testing::dwarf_kinds().into_iter().find(|case| case.name == "v5_O1").unwrap();
    let original = parse(&case.wasm).unwrap();
    let out = instrument(&case.wasm, &Options::default()).unwrap();
    let hooked = parse(&out.wasm).unwrap();
    verify::verify(&case.wasm, &out.wasm).unwrap();
    for name in [".debug_info", ".debug_line", ".debug_addr", ".debug_rnglists", ".debug_loclists"] {
        let data = &out.wasm[hooked.custom(name).unwrap().data.clone()];
        for at in (0..data.len()).step_by(data.len() / 7) {
            let e = verify::verify(&case.wasm, &with_bytes(&out.wasm, name, at, &[data[at] ^ 1])).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Verify, "{name} at {at:#x}: {e}");
        }
    }
    let e = verify::verify(&case.wasm, &with_sections_of(&original, &hooked)).unwrap_err();
    assert!(e.to_string().contains("does not follow the code"), "{e}");
}

/// An engine that reads debug information says of a trap in a hooked module what it says of it in the original: functions,
/// files, lines and columns, frames that were inlined too. The module is the one that the tool writes.
#[test]
fn the_engines_backtrace_is_the_one_of_the_original() {
    let host = testing::host::Host::with_sources();
    let backtrace = |wasm: &[u8]| host.backtrace(wasm, "trap");
    let folder = tempfile::tempdir().unwrap();
    let mut cases = testing::dwarf_kinds();
    cases.retain(|case| !case.name.ends_with("wasm64"));
    testing::for_each(cases, |case| {
        let of_original = backtrace(&case.wasm);
        assert!(
            of_original.iter().any(|frame| frame.contains("shapes.") && frame.contains(":Some(")),
            "{of_original:?}"
        );
        for hooks in HOOK_SETS {
            let (file, out) = (folder.path().join("in.wasm"), folder.path().join("out.wasm"));
            std::fs::write(&file, &case.wasm).unwrap();
            let tool = std::process::Command::new(env!("CARGO_BIN_EXE_wasmtrace"))
                .args(["instrument", "--hooks", hooks.name()])
                .arg(&file)
                .arg("-o")
                .arg(&out)
                .output()
                .unwrap();
            assert!(tool.status.success(), "{}", String::from_utf8_lossy(&tool.stderr));
            let hooked = std::fs::read(&out).unwrap();
            assert_eq!(backtrace(&hooked), of_original);
            // The control, as above.
            let stale = with_sections_of(&parse(&case.wasm).unwrap(), &parse(&hooked).unwrap());
            assert_ne!(backtrace(&stale), of_original);
        }
    });
}

/// A second opinion, where it is installed: `llvm-dwarfdump --verify` has nothing to say that it had not.
#[test]
fn llvm_finds_no_error_that_was_not_there() {
    let tools = ["llvm-dwarfdump-22", "llvm-dwarfdump"];
    let Some(tool) = tools.iter().find(|tool| std::process::Command::new(tool).arg("--version").output().is_ok())
    else {
        eprintln!("skipped: neither of {tools:?} is installed");
        return;
    };
    let verify = |wasm: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("module.wasm");
        std::fs::write(&file, wasm).unwrap();
        let out = std::process::Command::new(tool).arg("--verify").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        let text = text.replace(file.to_str().unwrap(), "");
        // Addresses and offsets differ; what is wrong does not.
        regex_lite::Regex::new("0x[0-9a-fA-F]+").unwrap().replace_all(&text, "0x").into_owned()
    };
    testing::for_each(with_dwarf(), |case| {
        for options in every_way() {
            assert_eq!(verify(&case.wasm), verify(&instrument(&case.wasm, &options).unwrap().wasm));
        }
    });
}

/// Where LLDB breaks for each line of the sources: the line asked for, the place that it says, and the address.
fn breakpoints(lldb: &str, wasm: &[u8]) -> Vec<(String, String, u64)> {
    let file = tempfile::NamedTempFile::with_suffix(".wasm").unwrap();
    std::fs::write(file.path(), wasm).unwrap();
    let mut command = std::process::Command::new(lldb);
    command.args(["--no-lldbinit", "--batch"]);
    for source in ["shapes.cpp", "shapes.rs", "other.c"] {
        for line in 1..=100 {
            command.arg("-o").arg(format!("breakpoint set -f {source} -l {line}"));
        }
    }
    let out = command.args(["-o", "breakpoint list -v"]).arg(file.path()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (mut found, mut asked, mut place) = (Vec::new(), String::new(), String::new());
    // 2: file = 'shapes.cpp', line = 20, exact_match = 0
    //   2.1:  …  location = shapes.cpp:20:33  address = tmp.wasm[0x00000600]
    for line in text.split_once("Current breakpoints").map_or("", |(_, list)| list).lines().map(str::trim) {
        if let Some((_, spec)) = line.split_once(": file = ") {
            asked = spec.to_owned();
        } else if let Some(location) = line.strip_prefix("location = ") {
            place = location.to_owned();
        } else if let Some((_, address)) = line.strip_prefix("address = ").and_then(|a| a.split_once("[0x")) {
            let address = u64::from_str_radix(address.trim_end_matches(']'), 16).unwrap();
            found.push((asked.clone(), place.clone(), address));
        }
    }
    found
}

/// A real debugger breaks where it did, for every line of the sources: at that instruction, or at the hook that stands before it.
#[test]
fn a_debugger_breaks_where_it_did() {
    let names = std::env::var("LLDB").into_iter().chain(["lldb".to_owned(), "lldb-22".to_owned()]);
    let cases = testing::dwarf_kinds();
    let reads = |lldb: &String| {
        let known = std::process::Command::new(lldb).arg("--version").output().is_ok();
        known && cases.iter().any(|case| !breakpoints(lldb, &case.wasm).is_empty())
    };
    let Some(lldb) = names.into_iter().find(reads) else {
        eprintln!("there is no LLDB that reads WebAssembly: left out");
        return;
    };
    let mut compared = 0;
    for case in &cases {
        let before = breakpoints(&lldb, &case.wasm);
        for hooks in HOOK_SETS {
            let rewrite = wasmtrace::rewrite::Options { hooks, ..Default::default() };
            let out = instrument(&case.wasm, &Options { rewrite, ..Default::default() }).unwrap();
            let after = breakpoints(&lldb, &out.wasm);
            assert_eq!(before.len(), after.len(), "{}", case.name);
            for ((asked, place, old), (asked_then, place_then, new)) in before.iter().zip(&after) {
                assert_eq!((asked, place), (asked_then, place_then), "{}", case.name);
                assert!(readers::follows(&out.offsets, *old, *new), "{}, {asked}: {old:#x} is {new:#x}", case.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}
