//! Pairs the components, sections and core modules of both files.

use std::ops::Range;

use wasmparser::{BinaryReader, ComponentImportSectionReader};

use crate::component::group::Group;
use crate::component::scan::{Nested, Scanned, Scope, Section};
use crate::component::spaces::Spaces;
use crate::component::write::id;
use crate::module::all_features;
use crate::verify::failure::fail;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::HookSet;

/// Two components whose sections correspond to each other.
pub(super) struct Pairs<'p, 'a> {
    pub(super) old: &'p Scanned<'a>,
    pub(super) new: &'p Scanned<'a>,
    /// One for each component of the original.
    pub(super) scopes: Vec<ScopePair<'p, 'a>>,
    /// For each core module of the original, the position of its counterpart.
    pub(super) modules: Vec<usize>,
}

/// A component of the original and its counterpart.
pub(super) struct ScopePair<'p, 'a> {
    pub(super) old: &'p Scope<'a>,
    pub(super) new: &'p Scope<'a>,
    /// The component around it.
    pub(super) parent: Option<usize>,
    /// The sections of the counterpart that the original does not have, without the Manifest.
    pub(super) added: Range<usize>,
    /// The index spaces before each section of the original.
    places: Vec<Place>,
}

/// The index spaces before a section of the original, and before its counterpart.
struct Place {
    old: Spaces,
    new: Spaces,
}

impl ScopePair<'_, '_> {
    pub(super) fn has_group(&self) -> bool {
        !self.added.is_empty()
    }

    /// The sections of the original, each with its counterpart.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&Section, &Section)> {
        let before = &self.new.sections[..self.added.start];
        self.old.sections.iter().zip(before.iter().chain(&self.new.sections[self.added.end..]))
    }

    /// The index of a definition of the original in the counterpart. Paired sections define equally many items in each
    /// index space, so a definition has the same position in its section.
    pub(super) fn moved(&self, index: u32, space: impl Fn(Spaces) -> u32) -> u32 {
        let behind = self.places.partition_point(|place| space(place.old) <= index);
        match behind.checked_sub(1).map(|at| &self.places[at]) {
            // A name can be that of an index without a definition, of any size.
            Some(place) => (index - space(place.old)).saturating_add(space(place.new)),
            None => index,
        }
    }
}

/// Pairs the sections of both components, and of the components in them.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) if a section was removed, if one was added that is
/// in no group, or if the kinds of sections differ.
pub(super) fn pair<'p, 'a>(old: &'p Scanned<'a>, new: &'p Scanned<'a>, hooks: HookSet) -> Result<Pairs<'p, 'a>> {
    let mut scopes: Vec<ScopePair<'p, 'a>> = Vec::with_capacity(old.scopes.len());
    let mut modules = vec![0; old.modules.len()];
    // A component is in the list behind the one around it, so its counterpart is known when it is reached.
    let mut counterparts = vec![(0, None); old.scopes.len()];
    for (at, scope) in old.scopes.iter().enumerate() {
        let (counterpart, parent) = counterparts[at];
        let counterpart = &new.scopes[counterpart];
        let header = |file: &Scanned<'_>, scope: &Scope<'_>| file.bytes[scope.range.start..][..8].to_vec();
        if header(old, scope) != header(new, counterpart) {
            return Err(fail(counterpart.range.start, "the version of the component is different"));
        }
        let added = added(scope, new, counterpart, usize::from(at == 0), hooks)?;
        let mut pair = ScopePair { old: scope, new: counterpart, parent, added, places: Vec::new() };
        let place = |(old, new): (&Section, &Section)| Place { old: old.before, new: new.before };
        pair.places = pair.sections().map(place).collect();
        for (old, new) in pair.sections() {
            match (old.nested, new.nested) {
                (Some(Nested::Module(old)), Some(Nested::Module(new))) => modules[old] = new,
                (Some(Nested::Component(old)), Some(Nested::Component(new))) => counterparts[old] = (new, Some(at)),
                _ if old.id == new.id => {}
                _ => return Err(fail(new.whole.start, "the original has another kind of section here")),
            }
        }
        scopes.push(pair);
    }
    Ok(Pairs { old, new, scopes, modules })
}

/// The sections that were added to a component: none, or as many as there are more than in the original, from the one
/// before the recorder's import on. Their bytes are compared later.
fn added(
    old: &Scope<'_>,
    file: &Scanned<'_>,
    new: &Scope<'_>,
    manifests: usize,
    hooks: HookSet,
) -> Result<Range<usize>> {
    let sections = new.sections.len() - manifests;
    let Some(more) = sections.checked_sub(old.sections.len()) else {
        return Err(fail(new.range.start, "a section of the original is missing in this component"));
    };
    if more == 0 {
        return Ok(0..0);
    }
    let interface = Group { hooks, first_probes: Vec::new() }.interface();
    for (at, section) in new.sections.iter().enumerate().filter(|(_, section)| section.id == id::IMPORT) {
        let contents = section.contents.clone();
        let reader = BinaryReader::new_features(&file.bytes[contents.clone()], contents.start, all_features());
        for import in ComponentImportSectionReader::new(reader)? {
            let start = at.checked_sub(1).filter(|start| start + more <= sections);
            if let Some(start) = start.filter(|_| import.as_ref().is_ok_and(|import| import.name.name == interface)) {
                return Ok(start..start + more);
            }
        }
    }
    Err(fail(new.range.start, "this component has sections that are neither those of the original nor hooks"))
}
