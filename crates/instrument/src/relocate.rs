//! Custom sections that speak of functions or of places in the code, relocated across the rewriting, by section name.

use sha2::Digest;
use wasm_encoder::Encode;

use self::dwarf::{Change, Dwarf};
use self::names::Naming;
use self::sourcemap::SourceMap;
use crate::links::{BUILD_ID, DEBUG_FILE, LINK_LEFT_OUT, Link, Links, SOURCE_MAP, named_by};
use crate::mapping::OffsetMap;
use crate::module::{Module, Section, id};
use crate::warning::{Warning, WarningKind};
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

/// What is known of the rewriting when custom sections are relocated.
#[derive(Debug)]
pub(crate) struct Relocation<'c, 'a> {
    pub(crate) module: &'c Module<'a>,
    pub(crate) naming: Naming<'c>,
    pub(crate) offsets: &'c OffsetMap,
    /// What becomes of the debug information.
    pub(crate) dwarf: Dwarf,
    /// What becomes of the sections that name files sidecars the module.
    pub(crate) links: Links,
    /// The source map that the module itself holds.
    pub(crate) source_map: Option<&'c SourceMap<'c>>,
    /// Where the contents of the code section begin in the output, once they are written.
    pub(crate) code_start: Option<usize>,
    /// The `build_id` of the output, if the input has one.
    pub(crate) build_id: Option<Vec<u8>>,
    /// What hooks use of WebAssembly beyond its first version, as `target_features` calls it.
    pub(crate) features: &'c [&'static str],
}

/// What becomes of a custom section.
#[derive(Debug)]
pub(crate) enum Relocated {
    /// It stays as it is.
    Raw,
    /// Its data (what follows its name) changes, in a way that [`names::restore`] inverts.
    Names(Vec<u8>),
    /// Its data changes, and the original bytes are kept for `strip`.
    Data(Vec<u8>),
    /// Its data changes, and the script of [`patch::restore`] takes that back.
    Patched(patch::Patches),
    /// It is left out.
    Dropped,
}

impl Relocation<'_, '_> {
    /// Decides what becomes of a custom section. `seen_names` says whether an earlier `name` section was relocated.
    pub(crate) fn relocate(
        &mut self,
        section: &Section<'_>,
        seen_names: bool,
        warnings: &mut Vec<Warning>,
    ) -> Relocated {
        let name = section.name.expect("only custom sections are relocated");
        match self.dwarf.take(section.whole.start) {
            Some(Change::Patched(patches)) => return Relocated::Patched(patches),
            Some(Change::Dropped) => return Relocated::Dropped,
            None => {}
        }
        match name {
            "name" if seen_names => {
                warnings.push(Warning::new(
                    WarningKind::Section,
                    format!(
                        "a second name section at offset {:#x} is dropped: hosts accept only one",
                        section.whole.start
                    ),
                ));
                Relocated::Dropped
            }
            "name" => {
                let data = names::relocate(self.module, &self.naming, Some(section));
                let minimal_name = section.data.start - section.contents.start == 1 + name.len();
                let inverts = minimal_name
                    && names::restore(&data, self.naming.func_map, self.naming.outer_labels, self.naming.probes)
                        .is_ok_and(|original| original == self.module.bytes()[section.data.clone()]);
                if inverts { Relocated::Names(data) } else { Relocated::Data(data) }
            }
            "producers" => match producers::with_us(self.module, section, producers::VERSION) {
                Some(data) => Relocated::Data(data),
                None => Relocated::Raw,
            },
            target_features::NAME => {
                match target_features::with(&self.module.bytes()[section.data.clone()], self.features) {
                    Some(data) => Relocated::Data(data),
                    None => Relocated::Raw,
                }
            }
            MANIFEST_SECTION => Relocated::Dropped,
            SOURCE_MAP | DEBUG_FILE => self.link(section, name, warnings),
            BUILD_ID => match &self.build_id {
                Some(id) => Relocated::Data(encoded(id)),
                None => Relocated::Raw,
            },
            _ if name.starts_with("metadata.code.") => {
                match hints::relocate(self.module, section, self.naming.func_map, self.offsets) {
                    Ok(data) => Relocated::Data(data),
                    Err(e) => {
                        warnings.push(Warning::new(
                            WarningKind::Section,
                            format!(
                                "the section {} cannot be relocated and is dropped: {}",
                                printable(name),
                                e.message()
                            ),
                        ));
                        Relocated::Dropped
                    }
                }
            }
            _ => Relocated::Raw,
        }
    }

    fn link(&self, section: &Section<'_>, name: &str, warnings: &mut Vec<Warning>) -> Relocated {
        // Readers take the first.
        let is_first = self.module.custom(name).is_some_and(|first| first.whole == section.whole);
        let link = if name == SOURCE_MAP { &self.links.source_map } else { &self.links.debug_file };
        match link {
            Link::Named(url) if is_first => Relocated::Data(encoded(url.as_bytes())),
            Link::Within if is_first => {
                let (old, new) = (self.module.section(id::CODE), self.code_start);
                let url = named_by(self.module, name);
                match (self.source_map, url, old, new) {
                    (Some(map), Some(url), Some(old), Some(new)) => {
                        let url = map.relocate_data(url, self.offsets, (old.contents.start, new));
                        Relocated::Data(encoded(url.as_bytes()))
                    }
                    // How long it becomes would depend on where the code stands behind it, and the other way round.
                    _ => {
                        warnings.push(Warning::new(
                            WarningKind::Link,
                            format!("the embedded source map precedes the code section, so it cannot be relocated; {LINK_LEFT_OUT}"),
                        ));
                        Relocated::Dropped
                    }
                }
            }
            _ => Relocated::Dropped,
        }
    }
}

/// `vec(byte)`, as strings are too.
pub(crate) fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    bytes.encode(&mut out);
    out
}

/// The `build_id` of an output: as long as that of the input, and made of it and of the code, which the plan and the hooks are
/// in. So it is the same for the module and for its debug file. `bodies` shows all of them, one after the other.
pub(crate) fn build_id(input: &[u8], bodies: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
    let mut hash = sha2::Sha256::new();
    hash.update(b"wasmtrace build_id");
    hash.update(input);
    bodies(&mut |body| hash.update(body));
    hash.finalize().into_iter().cycle().take(input.len()).collect()
}

/// Whether a custom section of that name points into the code in a way that is not known here: it is copied, and describes
/// the original.
pub fn describes_original(name: &str) -> bool {
    name.starts_with(".debug_") && !dwarf::is_known(name)
}
