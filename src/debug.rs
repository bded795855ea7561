//! Custom sections that speak of functions or of places in the code, carried across the rewriting, by section name.

use std::collections::HashMap;

use self::dwarf::{Change, Dwarf};
use crate::hook::{MANIFEST_SECTION, Probe};
use crate::label::printable;
use crate::module::{Module, Section};
use crate::rewrite::offsets::OffsetMap;
use crate::rewrite::splice::Shift;

pub(crate) mod dwarf;
pub(crate) mod hints;
pub(crate) mod names;
pub(crate) mod patch;
pub(crate) mod producers;

/// What is known of the rewriting when custom sections are carried.
#[derive(Debug)]
pub(crate) struct Carrying<'c, 'a> {
    pub(crate) module: &'c Module<'a>,
    pub(crate) shift: &'c Shift,
    /// How many labels stand around the body of a hooked function.
    pub(crate) outer_labels: u32,
    /// Labels that hooks open further inside, by function: each by how many of the original's come before it.
    pub(crate) inner_labels: HashMap<u32, Vec<u32>>,
    pub(crate) offsets: &'c OffsetMap,
    /// What becomes of the debug information.
    pub(crate) dwarf: Dwarf,
    /// The hooked functions, by ascending id.
    pub(crate) probes: &'c [Probe],
    /// Names of the functions that are there for the hooks.
    pub(crate) hook_names: &'c [(u32, String)],
}

/// What becomes of a custom section.
#[derive(Debug)]
pub(crate) enum Carried {
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

impl Carrying<'_, '_> {
    /// Decides what becomes of a custom section. `seen_names` says whether an earlier `name` section was carried.
    pub(crate) fn carry(&mut self, section: &Section<'_>, seen_names: bool, warnings: &mut Vec<String>) -> Carried {
        let name = section.name.expect("only custom sections are carried");
        match self.dwarf.take(section.whole.start) {
            Some(Change::Patched(patches)) => return Carried::Patched(patches),
            Some(Change::Dropped) => return Carried::Dropped,
            None => {}
        }
        match name {
            "name" if seen_names => {
                warnings.push(format!(
                    "a second name section, at offset {:#x}, is left out: hosts accept only one",
                    section.whole.start
                ));
                Carried::Dropped
            }
            "name" => {
                let data = names::carry(self, Some(section));
                let minimal_name = section.data.start - section.contents.start == 1 + name.len();
                let inverts = minimal_name
                    && names::restore(&data, self.shift, self.outer_labels, self.probes)
                        .is_ok_and(|original| original == self.module.bytes()[section.data.clone()]);
                if inverts { Carried::Names(data) } else { Carried::Data(data) }
            }
            "producers" => match producers::with_us(self.module, section) {
                Some(data) => Carried::Data(data),
                None => Carried::Raw,
            },
            MANIFEST_SECTION => Carried::Dropped,
            _ if name.starts_with("metadata.code.") => match hints::carry(self, section) {
                Ok(data) => Carried::Data(data),
                Err(e) => {
                    warnings.push(format!(
                        "the section {} cannot be carried and is left out: {}",
                        printable(name),
                        e.message()
                    ));
                    Carried::Dropped
                }
            },
            _ => Carried::Raw,
        }
    }
}

/// Whether a section's data points into the code section in a way that is not carried yet.
pub(crate) fn describes_original(name: &str) -> bool {
    name.starts_with(".debug_") && !dwarf::is_known(name) || name == "sourceMappingURL"
}
