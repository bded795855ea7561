//! Debug information as third-party readers see it: gimli and addr2line, which relocation does not use.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

use gimli::{EndianSlice, LittleEndian};
use wasmparser::OperatorsReader;
use wasmtrace::hook::HOOK_SETS;
use wasmtrace::mapping::OffsetMap;
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::{Options, label, rewrite};

use crate::instrument;

use crate::Case;

pub type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;

/// Every module that has DWARF.
pub fn with_dwarf() -> Vec<Case> {
    let mut cases = crate::programs();
    cases.extend(crate::dwarf_kinds());
    cases.retain(|case| !label::dwarf_versions(&parse(&case.wasm).unwrap()).is_empty());
    assert!(cases.len() > 30, "{} modules with DWARF", cases.len());
    cases
}

/// Options for every hook set, and for one with trampolines, which change the number of functions.
pub fn every_way() -> Vec<Options> {
    let mut ways: Vec<Options> = HOOK_SETS
        .into_iter()
        .map(|hooks| Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() })
        .collect();
    ways.push(Options::default());
    ways.last_mut().unwrap().select.imports = true;
    ways
}

pub fn dwarf<'a>(module: &Module<'a>) -> Dwarf<'a> {
    let load = |id: gimli::SectionId| -> Result<_, gimli::Error> {
        let data = module.custom(id.name()).map_or(&[][..], |s| &module.bytes()[s.data.clone()]);
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Dwarf::load(load).unwrap()
}

pub fn code_start(module: &Module<'_>) -> usize {
    module.sections().iter().find(|s| s.id == 10).unwrap().contents.start
}

/// The addresses of the operators of a body.
pub fn operators(module: &Module<'_>, func: FuncIdx) -> Vec<u64> {
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

/// Reads what a debugger would show for an address.
pub struct Reader<'a> {
    context: addr2line::Context<Slice<'a>>,
}

impl<'a> Reader<'a> {
    pub fn new(module: &Module<'a>) -> Self {
        Reader { context: addr2line::Context::from_dwarf(dwarf(module)).unwrap() }
    }

    pub fn line(&self, address: u64) -> Option<(Option<String>, Option<u32>, Option<u32>)> {
        let location = self.context.find_location(address).unwrap()?;
        Some((location.file.map(str::to_owned), location.line, location.column))
    }

    /// The frames at an address, one line each, innermost first.
    pub fn frames(&self, address: u64) -> Vec<String> {
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

/// Number of instructions that a reader describes differently than before, and the first of them.
pub fn differences(original: &Module<'_>, hooked: &Module<'_>, offsets: &OffsetMap) -> (usize, usize, String) {
    let (before, after) = (Reader::new(original), Reader::new(hooked));
    let dead = end_of_the_dead(original);
    let (mut known, mut different, mut first) = (0, 0, String::new());
    for func in original.defined_funcs() {
        for old in operators(original, func) {
            let new = u64::from(offsets.instruction(old as u32).expect("an instruction is somewhere"));
            let (was, is) = (before.frames(old), after.frames(new));
            assert_same_operator(original, old, hooked, new);
            known += !was.is_empty() as usize;
            // Of what is dead no line is known.
            if old < dead && is.is_empty() && was.iter().all(|frame| frame.ends_with(" None")) {
                continue;
            }
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

/// Where the last function ends that a linker threw away and left at address 0: a reader who does not know that says of the
/// first instructions in the code that they are of such a function. It stays at 0, and the instructions move away.
fn end_of_the_dead(module: &Module<'_>) -> u64 {
    let dwarf = dwarf(module);
    let (mut units, mut last) = (dwarf.units(), 0);
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            let mut ranges = dwarf.die_ranges(&unit, entry).unwrap();
            while let Some(range) = ranges.next().unwrap() {
                let is_dead = entry.tag() == gimli::DW_TAG_subprogram && range.begin == 0;
                last = last.max(if is_dead { range.end } else { 0 });
            }
        }
    }
    last
}

/// Asserts that `new` is the offset of the instruction at `old`: the first byte is the same, unless a `return` became a
/// branch.
pub fn assert_same_operator(original: &Module<'_>, old: u64, hooked: &Module<'_>, new: u64) {
    let was = original.bytes()[code_start(original) + old as usize];
    let is = hooked.bytes()[code_start(hooked) + new as usize];
    assert!(was == is || (was, is) == (0x0f, 0x0c), "{was:#x} at {old:#x} became {is:#x} at {new:#x}");
}

/// Runs a test on every module in every way.
pub fn for_each_output(test: impl Fn(&Module<'_>, &Module<'_>, &Rewritten)) {
    crate::for_each(with_dwarf(), |case| {
        let original = parse(&case.wasm).unwrap();
        for options in every_way() {
            let out = instrument(&case.wasm, &options).unwrap();
            test(&original, &parse(&out.wasm).unwrap(), &out);
        }
    });
}

/// The instrumented module with the debug sections of the original.
pub fn with_sections_of(original: &Module<'_>, hooked: &Module<'_>) -> Vec<u8> {
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

pub fn is_tombstone(address: u64) -> bool {
    address == 0 || address >= 0xffff_fffe
}

/// Whether an address was relocated correctly: neither before nor behind the code that was inserted at its place.
pub fn follows(offsets: &OffsetMap, old: u64, new: u64) -> bool {
    if is_tombstone(old) {
        return new == old;
    }
    let (before, behind) = (offsets.address(old as u32), offsets.instruction(old as u32));
    before.is_some_and(|before| u64::from(before) <= new) && behind.is_some_and(|behind| new <= u64::from(behind))
}

/// The module with `bytes` at an offset of a custom section's data.
pub fn with_bytes(wasm: &[u8], section: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let start = parse(wasm).unwrap().custom(section).unwrap().data.start + at;
    let mut wasm = wasm.to_vec();
    wasm[start..start + bytes.len()].copy_from_slice(bytes);
    wasm
}
