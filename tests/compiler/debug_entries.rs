//! Debug information stays true, entry by entry: oracle 9 of `docs/oracles.md`, from within.
//!
//! Theorem: line tables have the rows that they had; every attribute of every entry says what it said, addresses moved, lists
//! of ranges and locations too; tables beside the entries follow them. What has no room for what it should say is left out.
//! What a debugger makes of it is `tests/compiler/debug.rs`.
//!
//! The reference is gimli, which reads the sections of both modules; the relocation uses no library. Both trees are walked
//! side by side, and an address is compared by way of the offset map of the output:
//!
//! ```text
//! original's .debug_*  ── gimli ──→  unit    entry          attribute   address  a
//!                                     │ as many │ same tag     │ same form    │
//!                                     │         │ same offset  │ same value   │ OffsetMap: a follows the code
//!                                     │         │              │ or address   ▼
//! output's   .debug_*  ── gimli ──→  unit    entry          attribute   address  a′
//!                                                              │
//!                             ranges, locations: both ends of each follow the code; tombstones stay
//! ```

use testing::readers;

use std::collections::BTreeMap;

use readers::{Dwarf, Slice, code_start, dwarf, follows, for_each_output, is_tombstone};
use testing::instrument;
use wasmtrace::mapping::OffsetMap;
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::{Options, strip};

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
    testing::for_each(testing::dwarf_kinds(), |case| {
        let original = parse(&case.wasm).unwrap();
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let (before, after) = (pointers(&original), pointers(&parse(&out.wasm).unwrap()));
        assert_eq!(before.get("P"), after.get("P"));
        for (old, new) in before.get("F").iter().zip(&after.get("F")).flat_map(|(a, b)| a.iter().zip(*b)) {
            assert_ne!(old, new);
            assert_eq!(out.offsets.address(*old as u32), Some(*new as u32));
        }
    });
    for case in testing::dwarf_kinds() {
        tried += pointers(&parse(&case.wasm).unwrap()).contains_key("F") as usize;
    }
    assert!(tried > 15, "{tried} modules have such a pointer");
}

/// `.debug_aranges` lists code and data, and `.debug_macro` leads to line tables: the code moved, and the tables did.
#[test]
fn tables_beside_the_entries_follow_them() {
    use gimli::constants as dw;
    let (mut code, mut data, mut macros) = (0, 0, 0);
    for case in testing::dwarf_kinds() {
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

/// A module with one function of that many `nop`s, and DWARF 4 that gives its length in that form.
fn with_length_in(form: u8, nops: usize, length: &[u8]) -> Vec<u8> {
    let size_width = if nops + 2 < 128 { 1 } else { 2 };
    // A unit with a name and one function with an address and a length.
    let abbrev = [1, 0x11, 1, 0x03, 0x08, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, form, 0, 0, 0];
    let mut unit = b"\x01hand.made\0\x02f\0".to_vec();
    unit.extend([1 + size_width, 0, 0, 0]);
    unit.extend(length);
    unit.push(0);
    with_debug(nops, &[(".debug_abbrev", &abbrev), (".debug_info", &unit_of(&unit))])
}

/// A unit of DWARF 4 with these entries, whose abbreviations are the first.
fn unit_of(entries: &[u8]) -> Vec<u8> {
    let mut unit = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    unit.extend([4, 0, 0, 0, 0, 0, 4]);
    unit.extend(entries);
    unit
}

/// A module with one function of that many `nop`s, and these sections.
fn with_debug(nops: usize, sections: &[(&'static str, &[u8])]) -> Vec<u8> {
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
    module.section(&types).section(&funcs).section(&code);
    for (name, data) in sections {
        module.section(&CustomSection { name: (*name).into(), data: (*data).into() });
    }
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
    // data1, data2, data4, data8, udata of one byte, and of one that is padded to two; sdata, which has a bit less; and forms
    // that stand with the entry
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
        (0x0d, 40, one(42), true),
        (0x0d, 60, one(62), false),
        (0x0d, 60, two(62), true),
        (0x16, 100, vec![0x0b, 102], true),
        (0x16, 250, vec![0x0b, 252], false),
        (0x16, 60, vec![0x0d, 62 | 0x80, 0], true),
    ] {
        let wasm = with_length_in(form, nops, &length_before);
        assert_eq!(length(&wasm), Some(nops as u64 + 2));
        let out = instrument(&wasm, &Options::default()).unwrap();
        let module = parse(&out.wasm).unwrap();
        let body = module.body(FuncIdx(3)).len() as u64;
        assert_eq!(length(&out.wasm), Some(if fits { body } else { 0 }), "form {form:#x}, {nops} nops");
        let said = out
            .warnings
            .iter()
            .any(|w| w.message.contains("the unit hand.made") && w.message.contains("no room to grow"));
        assert_eq!(said, !fits, "{:?}", out.warnings);
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
}

/// Data may have the numbers that code has, where a stack comes before it and there is much code: their ranges stand still. That the
/// code's move is `tables_beside_the_entries_follow_them`.
#[test]
fn ranges_of_data_stand_still_wherever_they_are() {
    let abbrev = [1, 0x11, 1, 0x03, 0x08, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
    let unit = unit_of(b"\x01hand.made\0\x02f\0\x03\0\0\0\xfc\0\0\0\0");
    // The function, and data inside of it, from its beginning, to its end.
    let ranges = [(3u32, 252u32), (16, 4), (3, 16), (239, 16)];
    let mut table = vec![2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0];
    table.extend(
        ranges.iter().chain(&[(0, 0)]).flat_map(|(at, length)| [at.to_le_bytes(), length.to_le_bytes()]).flatten(),
    );
    let mut aranges = (table.len() as u32).to_le_bytes().to_vec();
    aranges.extend(table);
    let wasm = with_debug(250, &[(".debug_abbrev", &abbrev), (".debug_info", &unit), (".debug_aranges", &aranges)]);
    let out = instrument(&wasm, &Options::default()).unwrap();
    assert!(out.warnings.is_empty(), "{:?}", out.warnings);
    let module = parse(&out.wasm).unwrap();
    let body = module.body(FuncIdx(3));
    let of_code = ((body.start - code_start(&module)) as u64, body.len() as u64);
    let dwarf = dwarf(&module);
    let mut entries = dwarf.debug_aranges.headers().next().unwrap().unwrap().entries();
    let moved = std::iter::from_fn(|| entries.next().unwrap().map(|entry| (entry.address(), entry.length())));
    assert_eq!(moved.collect::<Vec<_>>(), [of_code, (16, 4), (3, 16), (239, 16)]);
}

/// What costs far more to read than it has bytes is left out, not read: attributes that take none in entries of one byte, and units
/// of nothing but a length.
#[test]
fn what_nobody_would_make_is_left_out() {
    let unit = |entries: usize| unit_of(&[vec![2; entries], vec![0]].concat());
    let mut abbrev = vec![1, 0x11, 1, 0x03, 0x08, 0, 0, 2, 0x34, 0]; // a unit; DW_TAG_variable
    (0..10_000).for_each(|_| abbrev.extend([0x02, 0x21, 0])); // DW_AT_location, DW_FORM_implicit_const, 0
    abbrev.extend([0, 0, 0]);
    let wasm = with_debug(1, &[(".debug_abbrev", &abbrev), (".debug_info", &unit(100_000))]);
    let out = instrument(&wasm, &Options::default()).unwrap();
    assert!(out.warnings.iter().any(|w| w.message.contains("far more attributes than bytes")), "{:?}", out.warnings);
    assert!(strip(&out.wasm).unwrap() == wasm);

    for section in [".debug_info", ".debug_line"] {
        let wasm = with_debug(1, &[(section, &[0; 100_000])]);
        let out = instrument(&wasm, &Options::default()).unwrap();
        assert!(out.warnings.iter().any(|w| w.message.contains("there are too many units")), "{:?}", out.warnings);
        assert!(parse(&out.wasm).unwrap().custom(section).is_none());
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
}

/// An index of entries goes with the units that it would lead to.
#[test]
fn no_index_leads_to_what_is_left_out() {
    // A flag is no length.
    for (form, stays) in [(0x0b, true), (0x0c, false)] {
        let whole = with_length_in(form, 100, &[102]);
        let wasm = [".debug_names", ".debug_pubnames"].iter().fold(whole, |wasm, name| {
            let mut out = wasm;
            let section = [&[name.len() as u8], name.as_bytes(), b"index"].concat();
            out.extend([0, section.len() as u8]);
            out.extend(section);
            out
        });
        let out = instrument(&wasm, &Options::default()).unwrap();
        let module = parse(&out.wasm).unwrap();
        assert_eq!([".debug_names", ".debug_pubnames"].map(|name| module.custom(name).is_some()), [stays; 2]);
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
}
