//! Compares the group of definitions that was added to a component, and finds what it is for.

use super::modules::{ComparedModule, hooked_instances};
use super::pairs::Pairs;
use crate::component::group::Group;
use crate::component::scan::{Nested, Scope};
use crate::verify::failure::fail;
use wasmtrace_abi::buffer::FUNCTIONS;
use wasmtrace_abi::component::ComponentManifest;
use wasmtrace_abi::error::Result;

/// The definitions of a group that instantiations get as an argument.
pub(super) struct Added {
    /// The name of the recorder, and its instance.
    pub(super) recorder: (&'static str, u32),
    /// The core instances of hooked modules in the original, and the core instances with their hooks.
    pub(super) hooks: Vec<(u32, u32)>,
}

/// Compares the group of each component with the one that its instances need; `None` for a component that needs none.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) if a group is missing, is not needed or has other
/// bytes, or if the Manifest lists other instances.
pub(super) fn compare(
    pairs: &Pairs<'_, '_>,
    modules: &[ComparedModule<'_>],
    manifest: &ComponentManifest,
) -> Result<Vec<Option<Added>>> {
    let in_manifest = |what: &str| Err(fail(pairs.new.manifest.clone().unwrap_or_default().start, what));
    let mut listed = manifest.instances.iter();
    // All lower ids are taken.
    let mut free = 0;
    let mut groups = Vec::with_capacity(pairs.scopes.len());
    for pair in &pairs.scopes {
        let (mut first_probes, mut hooked) = (Vec::new(), Vec::new());
        for (instance, change) in hooked_instances(pair.old, modules) {
            let Some(listed) = listed.next().filter(|listed| listed.module == change.position) else {
                return in_manifest("the Manifest lists other instances than those of the hooked modules");
            };
            if listed.first_probe < free {
                return in_manifest("the ids of two instances overlap");
            }
            let Some(next) = listed.first_probe.checked_add(change.functions).filter(|next| *next <= FUNCTIONS) else {
                return in_manifest("the ids of an instance are too large for events");
            };
            free = next;
            first_probes.push(listed.first_probe);
            hooked.push(instance);
        }
        let start = pair.new.range.start;
        let mut instantiated = components(pair.old);
        if !pair.has_group() {
            if !hooked.is_empty() || instantiated.any(|at| pairs.scopes[at].has_group()) {
                return Err(fail(start, "this component has no hooks for the modules and components in it"));
            }
            groups.push(None);
            continue;
        }
        if hooked.is_empty() && !instantiated.any(|at| pairs.scopes[at].has_group()) {
            return Err(fail(start, "this component imports the recorder, but nothing in it is hooked"));
        }
        let sections = &pair.new.sections;
        let Some(behind) = sections.get(pair.added.end) else {
            return Err(fail(start, "the hooks of this component are behind everything else"));
        };
        let (first, count) = (&sections[pair.added.start], hooked.len() as u32);
        let range = first.whole.start..behind.whole.start;
        let group = Group { hooks: manifest.hooks, first_probes };
        let (expected, found) = (group.encode(first.before), &pairs.new.bytes[range.clone()]);
        if expected != found {
            let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
            return Err(fail(range.start + same, "the definitions that were added are not those of the hooks"));
        }
        // The recorder is the only instance of a group. The instances with hooks are its last core instances.
        let (recorder, first) = (behind.before.instances - 1, behind.before.core_instances - count);
        groups.push(Some(Added {
            recorder: (group.interface(), recorder),
            hooks: hooked.into_iter().zip(first..).collect(),
        }));
    }
    match listed.next() {
        None => Ok(groups),
        Some(_) => in_manifest("the Manifest lists an instance that does not exist"),
    }
}

/// Checks that no module or component with hooks leaves a component that can run: its imports would be different. See
/// the module documentation of `verify` for arguments.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) otherwise.
pub(super) fn exports(pairs: &Pairs<'_, '_>, modules: &[ComparedModule<'_>]) -> Result<()> {
    let mut reachable = vec![false; pairs.scopes.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut reachable[at], true) {
            continue;
        }
        let pair = &pairs.scopes[at];
        todo.extend(components(pair.old));
        for nested in pair.old.exported.iter().chain(&pair.old.passed) {
            let is_changed = match *nested {
                Nested::Module(module) => modules[module].change.is_some(),
                Nested::Component(component) => {
                    todo.push(component);
                    pairs.scopes[component].has_group()
                }
            };
            if is_changed {
                let message = "a module or component of this component is exported or passed on, and has hooks";
                return Err(fail(pair.new.range.start, message));
            }
        }
    }
    Ok(())
}

/// The components that a component instantiates.
fn components(scope: &Scope<'_>) -> impl Iterator<Item = usize> {
    scope.instantiated.iter().filter_map(|(_, component)| scope.components[*component as usize])
}
