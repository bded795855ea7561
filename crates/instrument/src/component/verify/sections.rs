//! Compares the sections of both files, item by item.

use std::mem::Discriminant;

use wasmparser::{
    BinaryReader, ComponentExternalKind, ComponentInstance, ComponentInstantiationArg, ComponentName,
    ComponentNameSectionReader, ComponentStartFunction, FromReader, Instance, InstantiationArg, InstantiationArgKind,
    NameMap, Naming, SectionLimited,
};

use super::groups::Added;
use super::moved::Moved;
use super::pairs::Pairs;
use crate::component::scan::{Scanned, Section};
use crate::component::spaces::Spaces;
use crate::component::write::id;
use crate::module::all_features;
use crate::verify::failure::fail;
use wasmtrace_abi::error::{Error, Result};
use wasmtrace_abi::hook::HOOKS;

/// A section of the original and its counterpart.
struct Pair<'s, 'a> {
    old: BinaryReader<'a>,
    new: BinaryReader<'a>,
    section: &'s Section,
}

/// Compares all sections but those of core modules and nested components: their contents are compared on their own.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) at the first item that is different.
pub(super) fn compare(pairs: &Pairs<'_, '_>, groups: &[Option<Added>]) -> Result<()> {
    for scope in 0..pairs.scopes.len() {
        let moved = Moved { scopes: &pairs.scopes, scope, types: 0 };
        for (old, new) in pairs.scopes[scope].sections() {
            if old.before.core_types != new.before.core_types {
                return Err(fail(new.whole.start, "core types were added before this section"));
            }
            let pair = Pair { old: reader(pairs.old, old), new: reader(pairs.new, new), section: old };
            section(pair, moved, pairs, groups)?;
        }
    }
    Ok(())
}

fn reader<'a>(file: &Scanned<'a>, section: &Section) -> BinaryReader<'a> {
    let range = section.contents.clone();
    BinaryReader::new_features(&file.bytes[range.clone()], range.start, all_features())
}

fn section(pair: Pair<'_, '_>, moved: Moved<'_, '_>, pairs: &Pairs<'_, '_>, groups: &[Option<Added>]) -> Result<()> {
    let scope = pairs.scopes[moved.scope].old;
    let group = groups[moved.scope].as_ref();
    match pair.section.id {
        id::CORE_MODULE | id::COMPONENT => Ok(()),
        id::CORE_TYPE => pair.items("core type", |ty| moved.core_type_definition(ty)),
        id::TYPE => pair.items("type", |ty| moved.type_definition(ty)),
        id::ALIAS => pair.items("alias", |alias| moved.alias(alias)),
        id::CANON => pair.items("canonical function", |function| moved.canonical(function)),
        id::IMPORT => pair.items("import", |import| moved.import(import)),
        id::EXPORT => pair.items("export", |export| moved.export(export)),
        id::CORE_INSTANCE => {
            let mut next = pair.section.before.core_instances;
            pair.items("core instance", |instance| {
                moved.core_instance(instance);
                let hooks = group.and_then(|group| group.hooks.iter().find(|(hooked, _)| *hooked == next));
                next += 1;
                if let (Instance::Instantiate { args, module_index: _ }, Some((_, hooks))) = (instance, hooks) {
                    let hooks = InstantiationArg { name: HOOKS, kind: InstantiationArgKind::Instance, index: *hooks };
                    append(args, hooks);
                }
            })
        }
        id::INSTANCE => pair.items("instance", |instance| {
            let gets_recorder = match instance {
                ComponentInstance::Instantiate { component_index, args: _ } => scope.components
                    [*component_index as usize]
                    .is_some_and(|component| pairs.scopes[component].has_group()),
                ComponentInstance::FromExports(_) => false,
            };
            moved.instance(instance);
            let group = group.filter(|_| gets_recorder);
            if let (ComponentInstance::Instantiate { args, component_index: _ }, Some(group)) = (instance, group) {
                let (name, index) = group.recorder;
                let kind = ComponentExternalKind::Instance;
                append(args, ComponentInstantiationArg { name, kind, index });
            }
        }),
        id::START => {
            let Pair { mut old, mut new, .. } = pair;
            let at = new.original_position();
            let (mut old, new): (ComponentStartFunction, ComponentStartFunction) = (old.read()?, new.read()?);
            moved.start(&mut old);
            let parts = |start: ComponentStartFunction| (start.func_index, start.arguments, start.results);
            if parts(old) == parts(new) { Ok(()) } else { Err(different(at, "start function")) }
        }
        id::CUSTOM => pair.custom(moved),
        _ => Err(fail(pair.new.original_position(), "this kind of section is unknown")),
    }
}

fn append<T: Clone>(args: &mut Box<[T]>, arg: T) {
    *args = args.iter().cloned().chain([arg]).collect();
}

fn different(at: usize, what: &str) -> Error {
    fail(at, format!("this {what} is not that of the original with its hooks"))
}

impl<'a> Pair<'_, 'a> {
    /// Compares each item with its counterpart, after `moved` has changed the item of the original.
    fn items<T>(self, what: &str, mut moved: impl FnMut(&mut T)) -> Result<()>
    where
        T: FromReader<'a> + PartialEq,
    {
        let at = self.new.original_position();
        let (old, new) = (SectionLimited::<T>::new(self.old)?, SectionLimited::<T>::new(self.new)?);
        if old.count() != new.count() {
            return Err(fail(
                at,
                format!("this section has another number of items than that of the original ({what})"),
            ));
        }
        for (old, new) in old.into_iter().zip(new.into_iter_with_offsets()) {
            let (mut old, (at, new)) = (old?, new?);
            moved(&mut old);
            if old != new {
                return Err(different(at, what));
            }
        }
        Ok(())
    }

    /// Compares custom sections. Indices are only in `component-name`. If that cannot be read, it keeps its bytes.
    fn custom(self, moved: Moved<'_, '_>) -> Result<()> {
        let Pair { mut old, mut new, .. } = self;
        let at = new.original_position();
        let (name, new_name) = (old.read_string()?, new.read_string()?);
        let is_same = match names(old.clone(), Some(moved)).filter(|_| name == "component-name") {
            None => old.read_bytes(old.bytes_remaining())? == new.read_bytes(new.bytes_remaining())?,
            Some(old) => names(new, None).is_some_and(|new| new == old),
        };
        if is_same && name == new_name { Ok(()) } else { Err(different(at, "custom section")) }
    }
}

/// A part of a `component-name` section: its kind, and indices with names.
type Names<'a> = (Discriminant<ComponentName<'a>>, Vec<(u32, &'a [u8])>);

/// Reads the contents of a `component-name` section, and moves the indices if they are those of the original; `None`
/// if it is damaged.
fn names<'a>(contents: BinaryReader<'a>, moved: Option<Moved<'_, '_>>) -> Option<Vec<Names<'a>>> {
    let of = |names: NameMap<'a>, space: fn(Spaces) -> u32| -> wasmparser::Result<Vec<(u32, &'a [u8])>> {
        let names = names.into_iter().map(|naming| {
            let Naming { mut index, name } = naming?;
            moved.iter().for_each(|moved| moved.index(&mut index, space));
            Ok((index, name.as_bytes()))
        });
        names.collect()
    };
    let parts = ComponentNameSectionReader::new(contents).map(|part| {
        let part = part?;
        let names = match part.clone() {
            ComponentName::Component { name, name_range: _ } => Ok(vec![(0, name.as_bytes())]),
            ComponentName::Unknown { ty, data, range: _ } => Ok(vec![(ty.into(), data)]),
            ComponentName::CoreFuncs(names) => of(names, |spaces| spaces.core_funcs),
            ComponentName::CoreGlobals(names) => of(names, |spaces| spaces.core_globals),
            ComponentName::CoreMemories(names) => of(names, |spaces| spaces.core_memories),
            ComponentName::CoreTables(names) => of(names, |spaces| spaces.core_tables),
            ComponentName::CoreTags(names) => of(names, |spaces| spaces.core_tags),
            ComponentName::CoreModules(names) => of(names, |spaces| spaces.modules),
            ComponentName::CoreInstances(names) => of(names, |spaces| spaces.core_instances),
            ComponentName::CoreTypes(names) => of(names, |spaces| spaces.core_types),
            ComponentName::Types(names) => of(names, |spaces| spaces.types),
            ComponentName::Instances(names) => of(names, |spaces| spaces.instances),
            ComponentName::Components(names) => of(names, |spaces| spaces.components),
            ComponentName::Funcs(names) => of(names, |spaces| spaces.funcs),
            ComponentName::Values(names) => of(names, |spaces| spaces.values),
        };
        Ok((std::mem::discriminant(&part), names?))
    });
    parts.collect::<wasmparser::Result<_>>().ok()
}
