//! Debug information stays true: oracle 9 of `docs/oracles.md`.
//!
//! Theorem: what DWARF said of an instruction of the original, it says of that instruction in the hooked module: file, line,
//! column, function and inlined frames, for every instruction; and as much of every range and location. Hooks belong to the
//! line that they stand at: the function's opening line, its closing line, or that of the instruction they are for. Line
//! tables have the rows that they had. What stood for nothing stands for nothing.
//!
//! The readers are gimli and addr2line, which the carrying does not use; the places of instructions are checked by
//! `tests/rewriting.rs`. Control: with the debug sections left alone, the same comparison fails.

mod common;

use std::collections::BTreeMap;

use common::Case;
use gimli::{EndianSlice, LittleEndian};
use wasmparser::OperatorsReader;
use wasmtrace::hook::HOOK_SETS;
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::rewrite::offsets::OffsetMap;
use wasmtrace::{ErrorKind, Options, check, instrument, label, rewrite, strip};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;

/// Every module that has DWARF.
fn with_dwarf() -> Vec<Case> {
    let mut cases = common::programs();
    cases.extend(common::dwarf_kinds());
    cases.retain(|case| !label::dwarf_versions(&parse(&case.wasm).unwrap()).is_empty());
    assert!(cases.len() > 30, "{} modules with DWARF", cases.len());
    cases
}

/// Every hook set, and one with shims, which change how many functions there are.
fn every_way() -> Vec<Options> {
    let mut ways: Vec<Options> = HOOK_SETS
        .into_iter()
        .map(|hooks| Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() })
        .collect();
    ways.push(Options::default());
    ways.last_mut().unwrap().select.imports = true;
    ways
}

fn dwarf<'a>(module: &Module<'a>) -> Dwarf<'a> {
    let load = |id: gimli::SectionId| -> Result<_, gimli::Error> {
        let data = module.custom(id.name()).map_or(&[][..], |s| &module.bytes()[s.data.clone()]);
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Dwarf::load(load).unwrap()
}

fn code_start(module: &Module<'_>) -> usize {
    module.sections().iter().find(|s| s.id == 10).unwrap().contents.start
}

/// Where the operators of a body begin, as addresses.
fn operators(module: &Module<'_>, func: FuncIdx) -> Vec<u64> {
    let mut reader = wasmparser::BinaryReader::new_features(
        &module.bytes()[module.body(func)],
        module.body(func).start,
        wasmparser::WasmFeatures::all(),
    );
    for _ in 0..reader.read_var_u32().unwrap() {
        reader.read_var_u32().unwrap();
        reader.read::<wasmparser::ValType>().unwrap();
    }
    let mut operators = OperatorsReader::new(reader);
    let mut found = Vec::new();
    while !operators.eof() {
        found.push((operators.original_position() - code_start(module)) as u64);
        operators.read().unwrap();
    }
    found
}

/// What a debugger shows for an address.
struct Reader<'a> {
    context: addr2line::Context<Slice<'a>>,
}

impl<'a> Reader<'a> {
    fn new(module: &Module<'a>) -> Self {
        Reader { context: addr2line::Context::from_dwarf(dwarf(module)).unwrap() }
    }

    fn line(&self, address: u64) -> Option<(Option<String>, Option<u32>, Option<u32>)> {
        let location = self.context.find_location(address).unwrap()?;
        Some((location.file.map(str::to_owned), location.line, location.column))
    }

    /// One line a frame, the innermost first.
    fn frames(&self, address: u64) -> Vec<String> {
        let mut frames = self.context.find_frames(address).skip_all_loads().unwrap();
        let mut found = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            let function = frame.function.map(|f| f.raw_name().unwrap().into_owned());
            let at = frame.location.map(|l| (l.file.map(str::to_owned), l.line, l.column));
            found.push(format!("{function:?} {at:?}"));
        }
        found
    }
}

/// How many instructions a reader says something else of than before, with the first.
fn differences(original: &Module<'_>, hooked: &Module<'_>, offsets: &OffsetMap) -> (usize, usize, String) {
    let (before, after) = (Reader::new(original), Reader::new(hooked));
    let (mut known, mut different, mut first) = (0, 0, String::new());
    for func in original.defined_funcs() {
        for old in operators(original, func) {
            let new = u64::from(offsets.instruction(old as u32).expect("an instruction is somewhere"));
            let (was, is) = (before.frames(old), after.frames(new));
            assert_same_operator(original, old, hooked, new);
            known += !was.is_empty() as usize;
            if was != is || before.line(old) != after.line(new) {
                different += 1;
                if first.is_empty() {
                    first = format!("of {old:#x}, now {new:#x}, was said {was:#?}, and is said {is:#?}");
                }
            }
        }
    }
    (known, different, first)
}

/// The map leads to the instruction: its first byte stands there, but that a `return` became a branch.
fn assert_same_operator(original: &Module<'_>, old: u64, hooked: &Module<'_>, new: u64) {
    let was = original.bytes()[code_start(original) + old as usize];
    let is = hooked.bytes()[code_start(hooked) + new as usize];
    assert!(was == is || (was, is) == (0x0f, 0x0c), "{was:#x} at {old:#x} became {is:#x} at {new:#x}");
}

/// Runs a test on every module in every way.
fn for_each_output(test: impl Fn(&Module<'_>, &Module<'_>, &Rewritten)) {
    common::for_each(with_dwarf(), |case| {
        let original = parse(&case.wasm).unwrap();
        for options in every_way() {
            let out = instrument(&case.wasm, &options).unwrap();
            test(&original, &parse(&out.wasm).unwrap(), &out);
        }
    });
}

#[test]
fn every_instruction_has_the_lines_and_the_frames_that_it_had() {
    for_each_output(|original, hooked, out| {
        let (known, different, first) = differences(original, hooked, &out.offsets);
        assert!(known > 100, "{known} instructions are known");
        assert_eq!(different, 0, "{first}");
        assert!(
            out.warnings.iter().all(|w| !w.contains("debug") || w.contains("links to it are cut")),
            "{:?}",
            out.warnings
        );
    });
}

/// The control: the comparison tells stale debug information from true.
#[test]
fn left_alone_it_would_be_wrong() {
    common::for_each(with_dwarf(), |case| {
        let original = parse(&case.wasm).unwrap();
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let stale = with_sections_of(&original, &parse(&out.wasm).unwrap());
        let (known, different, _) = differences(&original, &parse(&stale).unwrap(), &out.offsets);
        assert!(different > known / 2, "{different} of {known}");
    });
}

/// The hooked module with the debug sections of the original.
fn with_sections_of(original: &Module<'_>, hooked: &Module<'_>) -> Vec<u8> {
    let mut out = hooked.bytes()[..8].to_vec();
    for section in hooked.sections() {
        let stale = section.name.filter(|n| n.starts_with(".debug_")).and_then(|name| original.custom(name));
        match stale {
            Some(stale) => out.extend_from_slice(&original.bytes()[stale.whole.clone()]),
            None => out.extend_from_slice(&hooked.bytes()[section.whole.clone()]),
        }
    }
    out
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

/// The rows of all line tables, by where their program begins in order: address and all the rest.
fn rows(dwarf: &Dwarf<'_>) -> Vec<(u64, bool, String)> {
    let mut rows = Vec::new();
    let mut seen = BTreeMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let Some(program) = unit.line_program.clone() else { continue };
        if seen.insert(program.header().offset().0, ()).is_some() {
            continue;
        }
        let mut program = program.rows();
        while let Some((_, row)) = program.next_row().unwrap() {
            let flags = (row.is_stmt(), row.basic_block(), row.prologue_end(), row.epilogue_begin());
            let what = (row.file_index(), row.line(), row.column(), row.isa(), row.discriminator());
            rows.push((row.address(), row.end_sequence(), format!("{what:?} {flags:?}")));
        }
    }
    rows
}

#[test]
fn line_tables_have_the_rows_that_they_had() {
    for_each_output(|original, hooked, out| {
        let (before, after) = (rows(&dwarf(original)), rows(&dwarf(hooked)));
        assert!(before.len() > 10);
        assert_eq!(before.len(), after.len());
        for ((old, old_ends, was), (new, new_ends, is)) in before.iter().zip(&after) {
            assert_eq!((old_ends, was), (new_ends, is), "{old:#x} and {new:#x}");
            assert!(follows(&out.offsets, *old, *new), "a row at {old:#x} is now at {new:#x}");
        }
    });
}

fn is_tombstone(address: u64) -> bool {
    address == 0 || address >= 0xffff_fffe
}

/// Whether an address went where it should: before what was inserted there or, for the first operator, behind the hook of the
/// entry; in an empty body that is the last one too, which the exit stands before.
fn follows(offsets: &OffsetMap, old: u64, new: u64) -> bool {
    if is_tombstone(old) {
        return new == old;
    }
    let (before, behind) = (offsets.address(old as u32), offsets.instruction(old as u32));
    before.is_some_and(|before| u64::from(before) <= new) && behind.is_some_and(|behind| new <= u64::from(behind))
}

/// Every attribute of every entry says what it said: addresses moved, lists of ranges and locations too, and nothing else
/// changed.
#[test]
fn every_entry_says_what_it_said() {
    for_each_output(|original, hooked, out| {
        let (before, after) = (dwarf(original), dwarf(hooked));
        let (mut old_units, mut new_units) = (before.units(), after.units());
        let mut compared = BTreeMap::<&str, usize>::new();
        while let Some(header) = old_units.next().unwrap() {
            let old = before.unit(header).unwrap();
            let new = after.unit(new_units.next().unwrap().expect("as many units")).unwrap();
            let (mut old_entries, mut new_entries) = (old.entries(), new.entries());
            while let Some(was) = old_entries.next_dfs().unwrap() {
                let is = new_entries.next_dfs().unwrap().expect("as many entries");
                assert_eq!((was.offset(), was.tag(), was.attrs().len()), (is.offset(), is.tag(), is.attrs().len()));
                for (a, b) in was.attrs().iter().zip(is.attrs()) {
                    assert_eq!((a.name(), a.form()), (b.name(), b.form()));
                    let kind = attribute(&before, &old, &after, &new, a, b, &out.offsets);
                    *compared.entry(kind).or_default() += 1;
                }
                let old_ranges = ranges(&before, &old, was);
                let new_ranges = ranges(&after, &new, is);
                assert_eq!(old_ranges.len(), new_ranges.len());
                for (was, is) in old_ranges.iter().zip(&new_ranges) {
                    assert!(follow(&out.offsets, *was, *is), "{was:x?} is now {is:x?}, of {:?}", old.name);
                    *compared.entry("ranges").or_default() += 1;
                }
            }
        }
        assert!(compared["ranges"] > 10 && compared["address"] > 1 && compared["same"] > 5, "{compared:?}");
    });
}

fn follow(offsets: &OffsetMap, was: (u64, u64), is: (u64, u64)) -> bool {
    if is_tombstone(was.0) {
        return was == is;
    }
    follows(offsets, was.0, is.0) && follows(offsets, was.1, is.1)
}

fn ranges<'a>(
    dwarf: &Dwarf<'a>,
    unit: &gimli::Unit<Slice<'a>>,
    entry: &gimli::DebuggingInformationEntry<Slice<'a>>,
) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut ranges = dwarf.die_ranges(unit, entry).unwrap();
    while let Some(range) = ranges.next().unwrap() {
        found.push((range.begin, range.end));
    }
    found
}

fn attribute<'a>(
    before: &Dwarf<'a>,
    old: &gimli::Unit<Slice<'a>>,
    after: &Dwarf<'a>,
    new: &gimli::Unit<Slice<'a>>,
    a: &gimli::Attribute<Slice<'a>>,
    b: &gimli::Attribute<Slice<'a>>,
    offsets: &OffsetMap,
) -> &'static str {
    use gimli::constants as dw;
    let (x, y) = (a.value(), b.value());
    if let (Some(x), Some(y)) = (before.attr_address(old, x).unwrap(), after.attr_address(new, y).unwrap()) {
        assert!(follows(offsets, x, y), "{:?}: {x:#x} is now {y:#x}", a.name());
        return "address";
    }
    if let (Some(mut x), Some(mut y)) = (before.attr_locations(old, x).unwrap(), after.attr_locations(new, y).unwrap())
    {
        while let Some(was) = x.next().unwrap() {
            let is = y.next().unwrap().expect("as many locations");
            assert_eq!(was.data, is.data);
            let (was, is) = ((was.range.begin, was.range.end), (is.range.begin, is.range.end));
            assert!(follow(offsets, was, is), "{:?}: {was:x?} is now {is:x?}", a.name());
        }
        assert!(y.next().unwrap().is_none());
        return "locations";
    }
    match a.name() {
        // As ranges, above; and offsets into sections that may have moved, which lead to what has been compared.
        dw::DW_AT_high_pc | dw::DW_AT_ranges => "range",
        dw::DW_AT_stmt_list | dw::DW_AT_rnglists_base | dw::DW_AT_loclists_base => "offset",
        _ if x == y => "same",
        // A pointer to a function.
        dw::DW_AT_location => {
            let (x, y) = (pointer(before, old, &x).unwrap(), pointer(after, new, &y).unwrap());
            assert!(follows(offsets, x, y), "a pointer to {x:#x} is now one to {y:#x}");
            "pointer"
        }
        // Of a skeleton.
        dw::DW_AT_GNU_dwo_id => "link",
        name => panic!("{name:?} was {x:?} and is {y:?}"),
    }
}

/// What a location points to that is the value of a pointer.
fn pointer<'a>(
    dwarf: &Dwarf<'a>,
    unit: &gimli::Unit<Slice<'a>>,
    value: &gimli::AttributeValue<Slice<'a>>,
) -> Option<u64> {
    let gimli::AttributeValue::Exprloc(expression) = value else { return None };
    let mut operations = expression.operations(unit.encoding());
    let address = match operations.next().unwrap()? {
        gimli::Operation::Address { address } => address,
        gimli::Operation::AddressIndex { index } => dwarf.address(unit, index).unwrap(),
        _ => return None,
    };
    matches!(operations.next().unwrap()?, gimli::Operation::StackValue).then_some(address)
}

/// The value of a template's parameter is an address, and only its type says of what: that of a function moves with it, that
/// of a thing in memory stays, even in the pool that they share.
#[test]
fn pointers_to_functions_move_and_pointers_to_data_stay() {
    use gimli::constants as dw;
    let pointers = |module: &Module<'_>| {
        let dwarf = dwarf(module);
        let mut found = BTreeMap::<String, Vec<u64>>::new();
        let mut units = dwarf.units();
        while let Some(header) = units.next().unwrap() {
            let unit = dwarf.unit(header).unwrap();
            let mut entries = unit.entries();
            while let Some(entry) = entries.next_dfs().unwrap() {
                let location = entry.attr_value(dw::DW_AT_location);
                let points = location.and_then(|location| pointer(&dwarf, &unit, &location));
                if let Some(points) = points.filter(|_| entry.tag() == dw::DW_TAG_template_value_parameter) {
                    let name = dwarf.attr_string(&unit, entry.attr_value(dw::DW_AT_name).unwrap()).unwrap();
                    found.entry(name.to_string_lossy().into_owned()).or_default().push(points);
                }
            }
        }
        found
    };
    let mut tried = 0;
    common::for_each(common::dwarf_kinds(), |case| {
        let original = parse(&case.wasm).unwrap();
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let (before, after) = (pointers(&original), pointers(&parse(&out.wasm).unwrap()));
        assert_eq!(before.get("P"), after.get("P"));
        for (old, new) in before.get("F").iter().zip(&after.get("F")).flat_map(|(a, b)| a.iter().zip(*b)) {
            assert_ne!(old, new);
            assert_eq!(out.offsets.address(*old as u32), Some(*new as u32));
        }
    });
    for case in common::dwarf_kinds() {
        tried += pointers(&parse(&case.wasm).unwrap()).contains_key("F") as usize;
    }
    assert!(tried > 15, "{tried} modules have such a pointer");
}

/// `.debug_aranges` lists code and data, and `.debug_macro` leads to line tables: the code moved, and the tables did.
#[test]
fn tables_beside_the_entries_follow_them() {
    use gimli::constants as dw;
    let (mut code, mut data, mut macros) = (0, 0, 0);
    for case in common::dwarf_kinds() {
        let original = parse(&case.wasm).unwrap();
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let hooked = parse(&out.wasm).unwrap();
        let starts: Vec<u64> =
            original.defined_funcs().map(|func| (original.body(func).start - code_start(&original)) as u64).collect();
        let sets = |module: &Module<'_>| {
            let mut found = Vec::new();
            let dwarf = dwarf(module);
            let mut headers = dwarf.debug_aranges.headers();
            while let Some(header) = headers.next().unwrap() {
                let mut entries = header.entries();
                while let Some(entry) = entries.next().unwrap() {
                    found.push((entry.address(), entry.address() + entry.length()));
                }
            }
            found
        };
        let (before, after) = (sets(&original), sets(&hooked));
        assert_eq!(before.len(), after.len(), "{}", case.name);
        for (was, is) in before.iter().zip(&after) {
            if starts.contains(&was.0) {
                code += 1;
                assert!(follow(&out.offsets, *was, *is), "{was:x?} is now {is:x?}");
            } else {
                data += 1;
                assert_eq!(was, is);
            }
        }

        let dwarf = dwarf(&hooked);
        let bytes = hooked.custom(".debug_macro").map(|section| &hooked.bytes()[section.data.clone()]);
        let mut units = dwarf.units();
        while let (Some(bytes), Some(header)) = (bytes, units.next().unwrap()) {
            let unit = dwarf.unit(header).unwrap();
            let mut entries = unit.entries();
            let root = entries.next_dfs().unwrap().unwrap();
            let offset = |name| match root.attr_value(name) {
                Some(gimli::AttributeValue::DebugMacroRef(offset)) => offset.0,
                Some(gimli::AttributeValue::DebugLineRef(offset)) => offset.0,
                other => panic!("{other:?}"),
            };
            let at = offset(dw::DW_AT_macros);
            assert_eq!(bytes[at + 2], 2, "32 bits, and a line table");
            let table = u32::from_le_bytes(bytes[at + 3..at + 7].try_into().unwrap());
            assert_eq!(table as usize, offset(dw::DW_AT_stmt_list));
            macros += 1;
        }
    }
    assert!(code > 20 && data > 4 && macros == 2, "{code}, {data}, {macros}");
}

/// The module with `bytes` at an offset of a custom section's data.
fn with_bytes(wasm: &[u8], section: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let start = parse(wasm).unwrap().custom(section).unwrap().data.start + at;
    let mut wasm = wasm.to_vec();
    wasm[start..start + bytes.len()].copy_from_slice(bytes);
    wasm
}

/// A unit that cannot be carried is left out, by name; the others are as they were, and so is what `strip` gives back.
#[test]
fn a_unit_that_cannot_be_carried_is_left_out_alone() {
    for name in ["v2_O0", "v3_O1", "v4_O1", "v5_O1", "v4_types"] {
        let case = common::dwarf_kinds().into_iter().find(|case| case.name == name).unwrap();
        let original = parse(&case.wasm).unwrap();
        // The second unit's line table is nowhere.
        let bytes = &case.wasm[original.custom(".debug_line").unwrap().data.clone()];
        let second = 4 + u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let info = original.custom(".debug_info").unwrap().data.clone();
        let field = second.to_le_bytes();
        let at = case.wasm[info].windows(4).rposition(|w| w == field).unwrap();
        let broken = with_bytes(&case.wasm, ".debug_info", at, &(second + 1).to_le_bytes());

        let out = instrument(&broken, &Options::default()).unwrap();
        let said: Vec<&String> = out.warnings.iter().filter(|w| w.contains("debug information that")).collect();
        assert_eq!(said.len(), 1, "{:?}", out.warnings);
        assert!(said[0].contains("the unit other.c (at 0x") && !said[0].contains("shapes.cpp"), "{said:?}");
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
        let case = common::dwarf_kinds().into_iter().find(|case| case.name == name).unwrap();
        let module = parse(&case.wasm).unwrap();
        for section in module.sections() {
            let Some(name) = section.name.filter(|name| name.starts_with(".debug_")) else { continue };
            let data = &case.wasm[section.data.clone()];
            for at in (0..data.len()).step_by(data.len().div_ceil(29)) {
                for value in [data[at] ^ 1, 0xff, data[at].wrapping_add(0x40)] {
                    let damaged = with_bytes(&case.wasm, name, at, &[value]);
                    let out = instrument(&damaged, &Options::default()).expect("what is damaged is optional");
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

/// A module with one function of that many `nop`s, and DWARF 4 that gives its length in that form.
fn with_length_in(form: u8, nops: usize, length: &[u8]) -> Vec<u8> {
    use wasm_encoder::{CodeSection, CustomSection, Function, FunctionSection, Module, TypeSection};
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut funcs, mut code, mut body) = (FunctionSection::new(), CodeSection::new(), Function::new([]));
    funcs.function(0);
    for _ in 0..nops {
        body.instructions().nop();
    }
    body.instructions().end();
    code.function(&body);
    let size_width = if nops + 2 < 128 { 1 } else { 2 };
    // A unit with a name and one function with an address and a length.
    let abbrev = [1, 0x11, 1, 0x03, 0x08, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, form, 0, 0, 0];
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4, 1];
    unit.extend(b"hand.made\0\x02f\0");
    unit.extend([1 + size_width, 0, 0, 0]);
    unit.extend(length);
    unit.push(0);
    let mut info = (unit.len() as u32).to_le_bytes().to_vec();
    info.extend(unit);
    let section = |name: &'static str, data: &[u8]| CustomSection { name: name.into(), data: data.to_vec().into() };
    module.section(&types).section(&funcs).section(&code);
    module.section(&section(".debug_abbrev", &abbrev)).section(&section(".debug_info", &info));
    module.finish()
}

/// The length of the function, if the debug information still has one.
fn length(wasm: &[u8]) -> Option<u64> {
    let module = parse(wasm).unwrap();
    let dwarf = dwarf(&module);
    let unit = dwarf.unit(dwarf.units().next().unwrap()?).unwrap();
    let mut entries = unit.entries();
    entries.next_dfs().unwrap();
    entries.next_dfs().unwrap()?.attr_value(gimli::DW_AT_high_pc)?.udata_value()
}

#[test]
fn lengths_grow_within_their_form_or_the_unit_is_left_out() {
    // data1, data2, data4, data8, udata of one byte, of two, and of one that is padded to two
    let (one, two) = (|n: u8| vec![n], |n: u8| vec![n | 0x80, 0]);
    for (form, nops, length_before, fits) in [
        (0x0b, 100, one(102), true),
        (0x0b, 250, one(252), false),
        (0x05, 250, vec![252, 0], true),
        (0x06, 250, vec![252, 0, 0, 0], true),
        (0x07, 250, vec![252, 0, 0, 0, 0, 0, 0, 0], true),
        (0x0f, 100, one(102), true),
        (0x0f, 120, one(122), false),
        (0x0f, 120, two(122), true),
    ] {
        let wasm = with_length_in(form, nops, &length_before);
        assert_eq!(length(&wasm), Some(nops as u64 + 2));
        let out = instrument(&wasm, &Options::default()).unwrap();
        let module = parse(&out.wasm).unwrap();
        let body = module.body(FuncIdx(3)).len() as u64;
        assert_eq!(length(&out.wasm), fits.then_some(body), "form {form:#x}, {nops} nops");
        let said = out.warnings.iter().any(|w| w.contains("the unit hand.made") && w.contains("no room to grow"));
        assert_eq!(said, !fits, "{:?}", out.warnings);
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
}

/// A shim may be the function whose count needs another byte, in front of all code.
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
    let case = common::dwarf_kinds().into_iter().find(|case| case.name == "v5_O1").unwrap();
    let original = parse(&case.wasm).unwrap();
    let out = instrument(&case.wasm, &Options::default()).unwrap();
    let hooked = parse(&out.wasm).unwrap();
    check::check(&case.wasm, &out.wasm).unwrap();
    for name in [".debug_info", ".debug_line", ".debug_addr", ".debug_rnglists", ".debug_loclists"] {
        let data = &out.wasm[hooked.custom(name).unwrap().data.clone()];
        for at in (0..data.len()).step_by(data.len() / 7) {
            let e = check::check(&case.wasm, &with_bytes(&out.wasm, name, at, &[data[at] ^ 1])).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Check, "{name} at {at:#x}: {e}");
        }
    }
    let e = check::check(&case.wasm, &with_sections_of(&original, &hooked)).unwrap_err();
    assert!(e.to_string().contains("does not follow the code"), "{e}");
}

/// An engine that reads debug information says of a trap in a hooked module what it says of it in the original: functions,
/// files, lines and columns, frames that were inlined too. The module is the one that the tool writes.
#[test]
fn the_engines_backtrace_is_the_one_of_the_original() {
    let host = common::host::Host::with_sources();
    let backtrace = |wasm: &[u8]| {
        let compiled = host.compile(wasm).unwrap();
        let mut session = host.open(&compiled).unwrap();
        session.call("trap").unwrap();
        session.sources().to_vec()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut cases = common::dwarf_kinds();
    cases.retain(|case| !case.name.ends_with("wasm64"));
    common::for_each(cases, |case| {
        let of_original = backtrace(&case.wasm);
        assert!(
            of_original.iter().any(|frame| frame.contains("shapes.cpp") && frame.contains(":Some(")),
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
    common::for_each(with_dwarf(), |case| {
        for options in every_way() {
            assert_eq!(verify(&case.wasm), verify(&instrument(&case.wasm, &options).unwrap().wasm));
        }
    });
}
