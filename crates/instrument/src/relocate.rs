//! Custom sections that speak of functions or of places in the code, relocated across the rewriting, by section name.

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
    /// What a custom section becomes. `seen_names` says whether an earlier `name` section was relocated; `code_start`, where the
    /// contents of the code section begin in the output, if that section comes before this one.
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
                    format!("a second name section, at offset {at:#x}, is left out: hosts accept only one"),
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
                            format!("the section {name} cannot be relocated and is left out: {why}"),
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
        // Readers take the first.
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
                    // How long it becomes would depend on where the code stands behind it, and the other way round.
                    _ => dropped(
                        WarningKind::Link,
                        format!("the source map stands before the code, and {LINK_LEFT_OUT}"),
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
