//! The recorder of a component that records itself. The instrumented component and the recorder are wrapped in a new root
//! component, which has the imports and exports of the instrumented one:
//!
//! ```wat
//! (component
//!   …                                                       ;; the imports of the instrumented component
//!   (import "wasi:io/error@0.2.N" …) …                      ;; the imports of the recorder
//!   (component $recorder …)                                 ;; recorder/recorder.wat
//!   (component $hooked …)
//!   (instance $r (instantiate $recorder (with "error" …) …))
//!   (instance $h (instantiate $hooked (with "wasmtrace:recorder/buffer@0.1.0" (instance $r)) …))
//!   (alias export $h …) …  (export …) …
//!   (@custom "wasmtrace.self-recording"))
//! ```
//!
//! The recorder cannot be within the instrumented component: not all engines allow calls between a component and one that
//! it contains. Nothing in the wrapper can be chosen: it is written again to check it.
//!
//! A component must not import the same name twice. So *N* is the lowest number with which the component imports none of
//! these interfaces. Hosts provide an interface for all versions that are compatible, which those of 0.2 are.

use std::ops::Range;

use wasm_encoder::{
    Alias, ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentOuterAliasKind, ComponentSection, ComponentTypeRef, ComponentTypeSection,
    ComponentValType, CustomSection, InstanceType, PrimitiveValType, RawSection, TypeBounds,
};
use wasmparser::{BinaryReader, ComponentExportSectionReader, ComponentImportSectionReader};

use super::named::parse_module;
use super::scan::{Scanned, Section, is_component, scan};
use super::spaces::{Spaces, kind_of};
use super::write::id;
use crate::hash::sha256;
use crate::injected::is_hooked;
use crate::module::all_features;
use wasmtrace_abi::component::RECORDER_INTERFACE;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HookSet;

/// The recorder: `recorder/recorder.wat` in binary form.
const RECORDER: &[u8] = include_bytes!("recorder/recorder.wasm");

/// The characters of [`RECORDER`] that are replaced by the build of the component.
const PLACE_OF_BUILD: &[u8; 16] = b"build of 16 char";

/// The custom section at the end of a wrapper.
const MARK: &str = "wasmtrace.self-recording";

/// The interfaces that the recorder uses, without their version, and the names of its imports.
const INTERFACES: [(&str, &str); 5] = [
    ("wasi:io/error", "error"),
    ("wasi:clocks/monotonic-clock", "monotonic-clock"),
    ("wasi:clocks/wall-clock", "wall-clock"),
    ("wasi:io/streams", "streams"),
    ("wasi:cli/stderr", "stderr"),
];

/// Identifies the hooked modules of a component, so that a recording is not read with the names of another one: the first
/// bytes of the SHA-256 of all their bytes, in the order of the file.
///
/// # Errors
/// Those of parsing a module.
pub(super) fn build(hooked: &Scanned<'_>) -> Result<u64> {
    let mut hashes = Vec::new();
    for at in 0..hooked.modules.len() {
        let module = parse_module(hooked, at, false)?;
        if module.manifest().is_some() && is_hooked(&module) {
            hashes.extend(sha256(hooked.module_bytes(at)));
        }
    }
    let hash = sha256(&hashes);
    Ok(u64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes")))
}

/// An import or export: its name, kind and index.
type Item<'a> = (&'a str, ComponentExportKind, u32);

/// Wraps an instrumented component together with a recorder.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if something is imported behind an instance, or if the imports and exports cannot be those of
/// a component around it.
pub(super) fn wrap(hooked: &[u8]) -> Result<Vec<u8>> {
    let scanned = scan(hooked)?;
    let build = build(&scanned)?;
    let Imports { sections: own, imports, at } = imports(&scanned)?;
    let names: Vec<&str> = imports.iter().map(|(name, ..)| *name).collect();
    let is_free = |patch: &u32| INTERFACES.iter().all(|(name, _)| !names.contains(&&*versioned(name, *patch)));
    let patch = (0..).find(is_free).expect("a component has finitely many imports");

    let mut out = hooked[..8].to_vec();
    own.iter().for_each(|section| out.extend_from_slice(&hooked[section.whole.clone()]));
    import_interfaces(at, patch, &mut out);
    let mut add = |section: &dyn ComponentSection| section.append_to_component(&mut out);
    add(&RawSection { id: id::COMPONENT, data: &recorder_of(build) });
    add(&RawSection { id: id::COMPONENT, data: hooked });
    let mut instances = ComponentInstanceSection::new();
    let args = INTERFACES.iter().zip(at.instances..);
    let args = args.map(|((_, name), instance)| (*name, ComponentExportKind::Instance, instance));
    instances.instantiate(at.components, args.collect::<Vec<_>>());
    let recorder = at.instances + INTERFACES.len() as u32;
    let given = [(RECORDER_INTERFACE, ComponentExportKind::Instance, recorder)];
    instances.instantiate(at.components + 1, imports.iter().copied().chain(given).collect::<Vec<_>>());
    add(&instances);
    let at = Spaces { types: at.types + TYPES, instances: recorder + 2, components: at.components + 2, ..at };
    let (aliases, exports) = exports(&scanned, at, recorder + 1)?;
    add(&aliases);
    add(&exports);
    add(&CustomSection { name: MARK.into(), data: (&[]).into() });
    match wasmparser::Validator::new_with_features(all_features()).validate_all(&out) {
        Ok(_) => Ok(out),
        Err(e) => {
            let message = format!(
                "a component with these imports and exports cannot record itself (see docs/components.md): {}",
                e.message()
            );
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}
/// The component with hooks within a wrapper; `None` for any other component.
///
/// # Errors
/// [`ErrorKind::Restore`] if something in the wrapper was changed.
pub(super) fn unwrapped(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let mut mark = Vec::new();
    CustomSection { name: MARK.into(), data: (&[]).into() }.append_to_component(&mut mark);
    if !is_component(bytes) || !bytes.ends_with(&mark) {
        return Ok(None);
    }
    let changed = |at: usize| {
        let message = "this component records itself, but is not as wasmtrace wrote it (it was changed, or converted to text): instrument \
             the original again";
        Error::at(ErrorKind::Restore, at, message)
    };
    let hooked = second_component(bytes).ok_or_else(|| changed(bytes.len() - mark.len()))?;
    let start = hooked.start;
    let hooked = &bytes[hooked];
    let records_itself = scan(hooked)?.manifest()?.is_some_and(|manifest| manifest.hooks == HookSet::Wasi);
    match records_itself && wrap(hooked)? == bytes {
        true => Ok(Some(hooked)),
        false => Err(changed(start)),
    }
}

/// The contents of the second component section of the root component.
fn second_component(bytes: &[u8]) -> Option<Range<usize>> {
    let mut reader = BinaryReader::new(&bytes[8..], 8);
    let mut components = 0;
    while !reader.eof() {
        let (id, size) = (reader.read_u8().ok()?, reader.read_var_u32().ok()?);
        let start = reader.original_position();
        reader.read_bytes(size as usize).ok()?;
        components += u32::from(id == id::COMPONENT);
        if id == id::COMPONENT && components == 2 {
            return Some(start..start + size as usize);
        }
    }
    None
}

fn reader<'a>(scanned: &Scanned<'a>, section: &Section) -> BinaryReader<'a> {
    let range = section.contents.clone();
    BinaryReader::new_features(&scanned.bytes[range.clone()], range.start, all_features())
}

/// What a component imports, without the recorder.
struct Imports<'s, 'a> {
    /// The sections that define it.
    sections: Vec<&'s Section>,
    imports: Vec<Item<'a>>,
    /// The index spaces behind these sections.
    at: Spaces,
}

fn imports<'s, 'a>(scanned: &'s Scanned<'a>) -> Result<Imports<'s, 'a>> {
    let sections = &scanned.scopes[0].sections;
    let (mut last, mut imports) = (0, Vec::new());
    let (mut modules, mut components) = (0, 0);
    for (position, section) in sections.iter().enumerate().filter(|(_, section)| section.id == id::IMPORT) {
        let mut next = section.before;
        for import in ComponentImportSectionReader::new(reader(scanned, section))? {
            let import = import?;
            if import.name.name == RECORDER_INTERFACE {
                continue;
            }
            let kind = kind_of(import.ty);
            // Definitions of modules and components are not copied.
            let index = match kind {
                wasmparser::ComponentExternalKind::Module => &mut modules,
                wasmparser::ComponentExternalKind::Component => &mut components,
                kind => next.of(kind),
            };
            imports.push((import.name.name, kind.into(), *index));
            *index += 1;
            last = position + 1;
        }
    }
    let defines = |section: &&Section| matches!(section.id, id::TYPE | id::CORE_TYPE | id::IMPORT | id::ALIAS);
    let leaves =
        |section: &&Section| !matches!(section.id, id::CORE_MODULE | id::COMPONENT | id::CUSTOM) && !defines(section);
    if let Some(other) = sections[..last].iter().find(leaves) {
        let message = "a component that imports something behind an instance or a function cannot record itself";
        return Err(Error::at(ErrorKind::Unsupported, other.whole.start, message));
    }
    let before = sections.get(last).map_or_else(Spaces::default, |section| section.before);
    let at = Spaces { modules, components, ..before };
    Ok(Imports { sections: sections[..last].iter().filter(defines).collect(), imports, at })
}

/// Aliases of all exports of the instance behind the recorder's, and exports of these.
fn exports(
    scanned: &Scanned<'_>,
    mut next: Spaces,
    instance: u32,
) -> Result<(ComponentAliasSection, ComponentExportSection)> {
    let (mut aliases, mut exports) = (ComponentAliasSection::new(), ComponentExportSection::new());
    for section in scanned.scopes[0].sections.iter().filter(|section| section.id == id::EXPORT) {
        for export in ComponentExportSectionReader::new(reader(scanned, section))? {
            let export = export?;
            let (name, kind) = (export.name.name, export.kind.into());
            aliases.alias(Alias::InstanceExport { instance, kind, name });
            exports.export(name, kind, *next.of(export.kind), None);
            *next.of(export.kind) += 1;
        }
    }
    Ok((aliases, exports))
}

/// Imports the interfaces of the recorder. `at` are the index spaces before.
fn import_interfaces(at: Spaces, patch: u32, out: &mut Vec<u8>) {
    let mut add = |section: &dyn ComponentSection| section.append_to_component(out);
    let mut imported = 0;
    let mut imports = |types: &[u32]| {
        let mut section = ComponentImportSection::new();
        for ty in types {
            let name = versioned(INTERFACES[imported].0, patch);
            section.import(name.as_str(), ComponentTypeRef::Instance(*ty));
            imported += 1;
        }
        section
    };
    let alias = |instance: u32, name: &str| {
        let mut section = ComponentAliasSection::new();
        let instance = at.instances + instance;
        section.alias(Alias::InstanceExport { instance, kind: ComponentExportKind::Type, name });
        section
    };
    let types = |all: &[InstanceType]| {
        let mut section = ComponentTypeSection::new();
        all.iter().for_each(|ty| section.ty().instance(ty));
        section
    };
    let first = at.types;
    add(&types(&[error(), monotonic_clock(), wall_clock()]));
    add(&imports(&[first, first + 1, first + 2]));
    add(&alias(0, "error"));
    add(&types(&[streams(first + 3)]));
    add(&imports(&[first + 4]));
    add(&alias(3, "output-stream"));
    add(&types(&[stderr(first + 5)]));
    add(&imports(&[first + 6]));
}

/// Number of types that [`import_interfaces`] defines.
const TYPES: u32 = 7;

/// The recorder for a component of this build.
fn recorder_of(build: u64) -> Vec<u8> {
    let place = RECORDER.windows(PLACE_OF_BUILD.len()).position(|bytes| bytes == PLACE_OF_BUILD);
    let place = place.expect("the recorder has this place");
    let mut component = RECORDER.to_vec();
    component[place..place + PLACE_OF_BUILD.len()].copy_from_slice(format!("{build:016x}").as_bytes());
    component
}

fn versioned(interface: &str, patch: u32) -> String {
    format!("{interface}@0.2.{patch}")
}

fn error() -> InstanceType {
    let mut ty = InstanceType::new();
    ty.export("error", ComponentTypeRef::Type(TypeBounds::SubResource));
    ty
}

fn monotonic_clock() -> InstanceType {
    let mut ty = InstanceType::new();
    ty.ty().function().params::<[(&str, ComponentValType); 0], _>([]).result(Some(PrimitiveValType::U64.into()));
    ty.export("now", ComponentTypeRef::Func(0));
    ty
}

fn wall_clock() -> InstanceType {
    let mut ty = InstanceType::new();
    let fields = [("seconds", PrimitiveValType::U64), ("nanoseconds", PrimitiveValType::U32)];
    ty.ty().defined_type().record(fields);
    ty.export("datetime", ComponentTypeRef::Type(TypeBounds::Eq(0)));
    ty.ty().function().params::<[(&str, ComponentValType); 0], _>([]).result(Some(ComponentValType::Type(1)));
    ty.export("now", ComponentTypeRef::Func(2));
    ty
}

/// `error` is the type of that name around the instance.
fn streams(error: u32) -> InstanceType {
    let mut ty = InstanceType::new();
    ty.export("output-stream", ComponentTypeRef::Type(TypeBounds::SubResource)); // 0
    ty.alias(Alias::Outer { kind: ComponentOuterAliasKind::Type, count: 1, index: error }); // 1
    ty.export("error", ComponentTypeRef::Type(TypeBounds::Eq(1))); // 2
    ty.ty().defined_type().own(2); // 3
    let failed = Some(ComponentValType::Type(3));
    ty.ty().defined_type().variant([("last-operation-failed", failed), ("closed", None)]); // 4
    ty.export("stream-error", ComponentTypeRef::Type(TypeBounds::Eq(4))); // 5
    ty.ty().defined_type().borrow(0); // 6
    ty.ty().defined_type().list(PrimitiveValType::U8); // 7
    ty.ty().defined_type().result(None, Some(ComponentValType::Type(5))); // 8
    let params = [("self", ComponentValType::Type(6)), ("contents", ComponentValType::Type(7))];
    ty.ty().function().params(params).result(Some(ComponentValType::Type(8))); // 9
    ty.export("[method]output-stream.blocking-write-and-flush", ComponentTypeRef::Func(9));
    ty
}

/// `output_stream` is the type of that name around the instance.
fn stderr(output_stream: u32) -> InstanceType {
    let mut ty = InstanceType::new();
    ty.alias(Alias::Outer { kind: ComponentOuterAliasKind::Type, count: 1, index: output_stream }); // 0
    ty.export("output-stream", ComponentTypeRef::Type(TypeBounds::Eq(0))); // 1
    ty.ty().defined_type().own(1); // 2
    ty.ty().function().params::<[(&str, ComponentValType); 0], _>([]).result(Some(ComponentValType::Type(2))); // 3
    ty.export("get-stderr", ComponentTypeRef::Func(3));
    ty
}

#[cfg(test)]
mod tests {
    use super::RECORDER;

    /// `recorder.wasm` is `recorder.wat`. `BLESS=1` writes it.
    #[test]
    fn the_binary_recorder_is_that_of_its_text() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/component/recorder/recorder");
        let text = wat::parse_file(format!("{file}.wat")).expect("the text is valid");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(format!("{file}.wasm"), &text).expect("can be written");
        } else {
            assert!(text == RECORDER, "BLESS=1 cargo test -p wasmtrace-instrument recorder");
        }
    }
}
