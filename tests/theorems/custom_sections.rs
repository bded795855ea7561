//! Theorem: what is optional in a module (names, debug information, producers, notes on instructions) cannot do harm.
//! However damaged or ill-meant it is, the module is hooked, the hooks can be proved and taken out again, every hooked
//! function has a name that a strict reader finds, and at most a warning says what was not read.

use std::time::{Duration, Instant};

use arbtest::arbitrary::{self, Unstructured};
use testing::keep;
use wasmtrace::hook::MANIFEST_SECTION;
use wasmtrace::{ErrorKind, Options, Warning, instrument, label, module, strip, verify};

use super::damaged::damage;

/// Far more than anything here takes, in a build without optimisation on a busy machine.
pub const LONG: Duration = Duration::from_secs(20);

/// Custom sections that somebody reads, here or elsewhere.
pub const READ: [&str; 14] = [
    "name",
    "producers",
    "target_features",
    "metadata.code.branch_hint",
    "metadata.code.call_targets",
    "sourceMappingURL",
    "external_debug_info",
    "build_id",
    "dylink.0",
    ".debug_info",
    ".debug_abbrev",
    ".debug_line",
    ".debug_str",
    ".debug_ranges",
];

/// Where the data of a custom section lies.
pub fn data_of(wasm: &[u8], name: &str) -> std::ops::Range<usize> {
    module::parse(wasm).unwrap().custom(name).unwrap_or_else(|| panic!("no section {name}")).data.clone()
}

/// The module with other data in a custom section; at the end, if it has none of that name.
pub fn with_data(wasm: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let module = module::parse(wasm).unwrap();
    let place = module.custom(name).map_or(wasm.len()..wasm.len(), |section| section.whole.clone());
    [&wasm[..place.start], &custom(name, data), &wasm[place.end..]].concat()
}

pub fn custom(name: &str, data: &[u8]) -> Vec<u8> {
    let (mut contents, mut out) = (Vec::new(), vec![0]);
    wasm_encoder::Encode::encode(name, &mut contents);
    contents.extend_from_slice(data);
    wasm_encoder::Encode::encode(&contents[..], &mut out);
    out
}

/// One of `modules`, none of which is hooked or has a function that cannot be, with something else in its custom sections.
pub fn damaged_custom_sections_do_no_harm(u: &mut Unstructured<'_>, modules: &[Vec<u8>]) -> arbitrary::Result<usize> {
    let mut wasm = modules[u.choose_index(modules.len())?].clone();
    for _ in 0..u.int_in_range(1..=3)? {
        let parsed = module::parse(&wasm).unwrap();
        let mut there: Vec<&str> = parsed.sections().iter().filter_map(|section| section.name).collect();
        there.extend(READ);
        // Hosts look every probe up there.
        there.extend(["name"; 8]);
        let name = there[u.choose_index(there.len())?].to_owned();
        let mut data = parsed.custom(&name).map(|s| wasm[s.data.clone()].to_vec()).unwrap_or_default();
        if data.is_empty() || u.ratio(1, 16)? {
            let len = u.int_in_range(0..=200)?.min(u.len());
            data = u.bytes(len)?.to_vec();
        } else {
            for _ in 0..u.int_in_range(1..=4)? {
                damage(u, &mut data)?;
            }
        }
        if name == "name" && u.ratio(1, 2)? {
            // Noise seldom is a subsection that ends where it says and is damaged inside; one that is copied would hide the
            // functions' names behind it.
            let len = u.int_in_range(0..=6)?.min(u.len());
            let inside = u.bytes(len)?;
            data.splice(0..0, [u.int_in_range(0..=12)?, len as u8].into_iter().chain(inside.iter().copied()));
        }
        wasm = with_data(&wasm, &name, &data);
    }
    Ok(assert_harmless(&wasm).len())
}

/// The theorem, of this module; gives the warnings.
pub fn assert_harmless(wasm: &[u8]) -> Vec<Warning> {
    keep::if_it_fails(wasm, || is_harmless(wasm))
}

fn is_harmless(wasm: &[u8]) -> Vec<Warning> {
    let began = Instant::now();
    let out = instrument(wasm, &Options::default()).expect("what is damaged is optional");
    let checked = verify::verify(wasm, &out.wasm).expect("the output is the input plus hooks");
    assert_eq!(checked.hooked, checked.functions);
    assert!(strip(&out.wasm).expect("the hooks can be taken out") == wasm, "strip gives something else");
    // The old hosts look each probe up in the name section, and read it strictly.
    let module = module::parse(&out.wasm).unwrap();
    let named = names_read_strictly(&out.wasm);
    for probe in &out.manifest.as_ref().unwrap().probes {
        assert!(named.binary_search(&probe.id.0).is_ok(), "function {} has no name for a strict reader", probe.id.0);
    }
    let labels = label::label(&module);
    let _ = label::probes(&module);
    let _ = label::dwarf_versions(&module);
    assert_eq!(instrument(&out.wasm, &Options::default()).unwrap_err().kind(), ErrorKind::AlreadyHooked);
    assert!(module.custom(MANIFEST_SECTION).is_some() && labels.iter().len() == module.func_count() as usize);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    out.warnings
}

/// The functions that the `name` section names, for a reader that gives up at the first error; ascending.
fn names_read_strictly(wasm: &[u8]) -> Vec<u32> {
    let range = data_of(wasm, "name");
    let reader = wasmparser::BinaryReader::new(&wasm[range.clone()], range.start);
    let mut named = Vec::new();
    for subsection in wasmparser::NameSectionReader::new(reader) {
        let Ok(subsection) = subsection else { break };
        if let wasmparser::Name::Function(names) = subsection {
            named.extend(names.into_iter().map_while(Result::ok).map(|n| n.index));
        }
    }
    named.sort_unstable();
    named
}
