//! Relocating custom sections that refer to functions or code, by section name.

use sha2::Digest;
use wasm_encoder::Encode;

use self::dwarf::{Change, Dwarf};
use self::names::Naming;
use self::sourcemap::SourceMap;
use crate::links::{BUILD_ID, DEBUG_FILE, LINK_LEFT_OUT, Link, Links, SOURCE_MAP, named_by};
use crate::mapping::OffsetMap;
use crate::module::{Module, Section, id};
use crate::warning::{Warned, Warning, WarningKind};
use wasmtrace_abi::manifest::MANIFEST_SECTION;
use wasmtrace_abi::text::printable;

pub(crate) mod addresses;
pub(crate) mod dwarf;
pub(crate) mod hints;
pub(crate) mod names;
pub(crate) mod patch;
pub(crate) mod producers;
pub(crate) mod sourcemap;
pub(crate) mod target_features;

/// The information about the rewriting that custom sections are relocated with.
#[derive(Debug)]
pub(crate) struct Relocation<'c, 'a> {
    pub(crate) module: &'c Module<'a>,
    pub(crate) naming: Naming<'c>,
    pub(crate) offsets: &'c OffsetMap,
    /// The changes of the debug information.
    pub(crate) dwarf: Dwarf,
    /// The changes of the links to sidecar files.
    pub(crate) links: Links,
    /// The source map that is embedded in the module.
    pub(crate) source_map: Option<&'c SourceMap<'c>>,
    /// The `build_id` of the output, if the input has one.
    pub(crate) build_id: Option<Vec<u8>>,
    /// The features that hooks use, with the names of `target_features`.
    pub(crate) features: &'c [&'static str],
}

/// How a custom section is written.
#[derive(Debug)]
pub(crate) enum Relocated {
    /// Unchanged.
    Raw,
    /// With new data (after its name), of which [`names::restore`] is the inverse.
    Names(Vec<u8>),
    /// With new data; the original bytes are kept for `strip`.
    Data(Vec<u8>),
    /// With patched data; the script of [`patch::restore`] reverts it.
    Patched(patch::Patches),
    /// Not at all.
    Dropped,
}

impl Relocation<'_, '_> {
    /// Relocates a custom section. `seen_names` says whether an earlier `name` section was relocated. `code_start` is the offset
    /// of the code section's contents in the output, if the code section comes before this section.
    pub(crate) fn relocate(
        &mut self,
        section: &Section<'_>,
        seen_names: bool,
        code_start: Option<usize>,
    ) -> Warned<Relocated> {
        let name = section.name.expect("only custom sections are relocated");
        match self.dwarf.take(section.whole.start) {
            Some(Change::Patched(patches)) => return Relocated::Patched(patches).into(),
            Some(Change::Dropped) => return Relocated::Dropped.into(),
            None => {}
        }
        let data = |data: Option<Vec<u8>>| data.map_or(Relocated::Raw, Relocated::Data).into();
        match name {
            "name" if seen_names => {
                let at = section.whole.start;
                dropped(
                    WarningKind::Section,
                    format!("a second name section at offset {at:#x} is dropped: hosts accept only one"),
                )
            }
            "name" => self.names(section).into(),
            "producers" => data(producers::with_us(self.module, section, producers::VERSION)),
            target_features::NAME => {
                data(target_features::with(&self.module.bytes()[section.data.clone()], self.features))
            }
            MANIFEST_SECTION => Relocated::Dropped.into(),
            SOURCE_MAP | DEBUG_FILE => self.link(section, name, code_start),
            BUILD_ID => data(self.build_id.as_deref().map(encoded)),
            _ if name.starts_with("metadata.code.") => {
                match hints::relocate(self.module, section, self.naming.func_map, self.offsets) {
                    Ok(data) => Relocated::Data(data).into(),
                    Err(e) => {
                        let (name, why) = (printable(name), e.message());
                        dropped(
                            WarningKind::Section,
                            format!("the section {name} cannot be relocated and is dropped: {why}"),
                        )
                    }
                }
            }
            _ => Relocated::Raw.into(),
        }
    }

    fn names(&self, section: &Section<'_>) -> Relocated {
        let data = names::relocate(self.module, &self.naming, Some(section));
        let has_minimal_name = section.data.start - section.contents.start == 1 + "name".len();
        let inverts = has_minimal_name
            && names::restore(&data, self.naming.func_map, self.naming.outer_labels, self.naming.probes)
                .is_ok_and(|original| original == self.module.bytes()[section.data.clone()]);
        if inverts { Relocated::Names(data) } else { Relocated::Data(data) }
    }

    fn link(&self, section: &Section<'_>, name: &str, code_start: Option<usize>) -> Warned<Relocated> {
        // Readers use the first one.
        let is_first = self.module.custom(name).is_some_and(|first| first.whole == section.whole);
        let link = if name == SOURCE_MAP { &self.links.source_map } else { &self.links.debug_file };
        match link {
            Link::Named(url) if is_first => Relocated::Data(encoded(url.as_bytes())).into(),
            Link::Within if is_first => {
                let (old, url) = (self.module.section(id::CODE), named_by(self.module, name));
                match (self.source_map, url, old, code_start) {
                    (Some(map), Some(url), Some(old), Some(new)) => {
                        let url = map.relocate_data(url, self.offsets, (old.contents.start, new));
                        Relocated::Data(encoded(url.as_bytes())).into()
                    }
                    // Its length would depend on the position of the code after it, and vice versa.
                    _ => dropped(
                        WarningKind::Link,
                        format!(
                            "the embedded source map precedes the code section, so it cannot be relocated; {LINK_LEFT_OUT}"
                        ),
                    ),
                }
            }
            _ => Relocated::Dropped.into(),
        }
    }
}

fn dropped(kind: WarningKind, message: String) -> Warned<Relocated> {
    Warned { value: Relocated::Dropped, warnings: vec![Warning::new(kind, message)] }
}

/// Encodes `vec(byte)`, which is the encoding of strings too.
pub(crate) fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    bytes.encode(&mut out);
    out
}

/// Computes the `build_id` of an output: of the same length as the input's, from that and from the code, which reflects
/// plan and hooks. The module and its debug file get the same id. `bodies` visits all bodies in order.
pub(crate) fn build_id(input: &[u8], bodies: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
    let mut hash = sha2::Sha256::new();
    hash.update(b"wasmtrace build_id");
    hash.update(input);
    bodies(&mut |body| hash.update(body));
    hash.finalize().into_iter().cycle().take(input.len()).collect()
}

/// Whether a custom section with that name refers to code in an unknown way. It is copied, and its addresses still
/// describe the original.
pub fn describes_original(name: &str) -> bool {
    name.starts_with(".debug_") && !dwarf::is_known(name)
}
