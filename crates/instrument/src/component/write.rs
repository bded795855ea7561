//! Writes the instrumented component.
//!
//! Sections before the insertion of a component are copied, and so are those that refer to nothing behind it. The others
//! are encoded again with indices that have moved: by the number of inserted definitions, if they were defined behind the
//! insertion. The Manifest keeps the original bytes of these sections.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    CanonicalFunctionSection, ComponentAliasSection, ComponentExportKind, ComponentExportSection,
    ComponentImportSection, ComponentInstanceSection, ComponentSection, ComponentStartSection, ComponentTypeSection,
    CoreTypeSection, Encode, InstanceSection, ModuleArg,
};
use wasmparser::{BinaryReader, ComponentInstance, Instance, SectionLimited};

use super::group::Group;
use super::plan::{ComponentPlan, Insertion};
use super::restore::Change;
use super::scan::{Nested, Scanned, Section};
use super::spaces::Spaces;
use crate::module::all_features;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{HOOKS, HookSet};

/// The sections of a component, by id (Component Model, "Binary Format").
pub(super) mod id {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const CORE_MODULE: u8 = 1;
    pub(crate) const CORE_INSTANCE: u8 = 2;
    pub(crate) const CORE_TYPE: u8 = 3;
    pub(crate) const COMPONENT: u8 = 4;
    pub(crate) const INSTANCE: u8 = 5;
    pub(crate) const ALIAS: u8 = 6;
    pub(crate) const TYPE: u8 = 7;
    pub(crate) const CANON: u8 = 8;
    pub(crate) const START: u8 = 9;
    pub(crate) const IMPORT: u8 = 10;
    pub(crate) const EXPORT: u8 = 11;
}

/// A component that was written, without its size field.
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    /// What happened to each section of the output.
    pub(super) changes: Vec<Change>,
}

/// Writes the component at position `scope`. `modules` are the hooked modules, by position; a module without hooks is
/// `None`. `outer` are the components around it, outermost first.
pub(super) fn write(
    scanned: &Scanned<'_>,
    plan: &ComponentPlan<'_>,
    hooks: HookSet,
    modules: &[Option<Vec<u8>>],
    scope: usize,
    outer: &[Frame<'_>],
) -> Result<Written> {
    let (bytes, planned) = (scanned.bytes, &plan.scopes[scope]);
    let range = scanned.scopes[scope].range.clone();
    let group = Group { hooks, first_probes: planned.sites.iter().map(|site| site.first_probe).collect() };
    let mut frames = outer.to_vec();
    frames.push(Frame { insertion: planned.insertion, group: &group });
    let mut out = bytes[range.start..range.start + 8].to_vec();
    let mut changes = Vec::new();
    for (at, section) in scanned.scopes[scope].sections.iter().enumerate() {
        if let Some(insertion) = planned.insertion.filter(|insertion| insertion.section == at) {
            out.extend(group.encode(insertion.at));
            changes.extend(std::iter::repeat_n(Change::Added, group.sections()));
        }
        let original = &bytes[section.whole.clone()];
        let size_width = section.contents.start - section.whole.start - 1;
        match section.nested {
            Some(Nested::Module(module)) => match &modules[module] {
                Some(hooked) => {
                    header(id::CORE_MODULE, hooked.len(), &mut out);
                    out.extend_from_slice(hooked);
                    changes.push(Change::Module(size_width as u8));
                }
                None => {
                    out.extend_from_slice(original);
                    changes.push(Change::Kept);
                }
            },
            Some(Nested::Component(component)) => {
                let written = write(scanned, plan, hooks, modules, component, &frames)?;
                if written.bytes == bytes[section.contents.clone()] {
                    out.extend_from_slice(original);
                    changes.push(Change::Kept);
                } else {
                    header(id::COMPONENT, written.bytes.len(), &mut out);
                    out.extend_from_slice(&written.bytes);
                    changes.push(Change::Component(size_width as u8, written.changes));
                }
            }
            None => {
                let own = Own { scanned, plan, scope };
                let mut reindexed = Reindexed { own, frames: &frames, types: 0, changed: false, next: section.before };
                let encoded = reindexed.section(section)?;
                // Most sections refer to nothing that has moved, and keep their bytes.
                match encoded.filter(|_| reindexed.changed) {
                    Some(encoded) => {
                        out.extend(encoded);
                        changes.push(Change::Replaced(original.to_vec()));
                    }
                    None => {
                        out.extend_from_slice(original);
                        changes.push(Change::Kept);
                    }
                }
            }
        }
    }
    Ok(Written { bytes: out, changes })
}

fn header(id: u8, size: usize, out: &mut Vec<u8>) {
    out.push(id);
    size.encode(out);
}

/// A component, and what is inserted into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'p> {
    insertion: Option<Insertion>,
    group: &'p Group,
}

/// The component whose sections are encoded.
struct Own<'p, 'a> {
    scanned: &'p Scanned<'a>,
    plan: &'p ComponentPlan<'a>,
    scope: usize,
}

/// Encodes sections with indices that have moved.
struct Reindexed<'p, 'a> {
    own: Own<'p, 'a>,
    /// The components around the section, outermost first.
    frames: &'p [Frame<'p>],
    /// The number of types around the current place. They have index spaces of their own.
    types: u32,
    /// Whether anything is different from the original.
    changed: bool,
    /// The index spaces before the next instance.
    next: Spaces,
}

impl Reindexed<'_, '_> {
    /// The section with new indices; `None` for a section that has none.
    fn section(&mut self, section: &Section) -> Result<Option<Vec<u8>>> {
        self.encode(section).map_err(|e| {
            let message = format!("this section cannot be rewritten: {e}");
            Error::at(ErrorKind::Unsupported, section.whole.start, message)
        })
    }

    fn encode(&mut self, section: &Section) -> Reencoded<Option<Vec<u8>>> {
        let range = section.contents.clone();
        let reader = BinaryReader::new_features(&self.own.scanned.bytes[range.clone()], range.start, all_features());
        let mut out = Vec::new();
        macro_rules! section {
            ($section:ty, $parse:ident) => {{
                let mut new = <$section>::new();
                component_utils::$parse(self, &mut new, SectionLimited::new(reader)?)?;
                new.append_to_component(&mut out);
            }};
        }
        match section.id {
            id::CORE_INSTANCE => section!(InstanceSection, parse_instance_section),
            id::CORE_TYPE => section!(CoreTypeSection, parse_core_type_section),
            id::INSTANCE => section!(ComponentInstanceSection, parse_component_instance_section),
            id::ALIAS => section!(ComponentAliasSection, parse_component_alias_section),
            id::TYPE => section!(ComponentTypeSection, parse_component_type_section),
            id::CANON => section!(CanonicalFunctionSection, parse_component_canonical_section),
            id::IMPORT => section!(ComponentImportSection, parse_component_import_section),
            id::EXPORT => section!(ComponentExportSection, parse_component_export_section),
            id::START => {
                let mut reader = reader;
                let start: wasmparser::ComponentStartFunction = reader.read()?;
                let args: Vec<u32> = start.arguments.iter().map(|arg| self.component_value_index(*arg)).collect();
                let function_index = self.component_func_index(start.func_index);
                ComponentStartSection { function_index, args, results: start.results }.append_to_component(&mut out);
            }
            id::CUSTOM => {
                let mut reader = reader;
                if reader.read_string()? != "component-name" {
                    return Ok(None);
                }
                let data = reader.original_position();
                let names = wasmparser::ComponentNameSectionReader::new(BinaryReader::new(
                    &self.own.scanned.bytes[data..range.end],
                    data,
                ));
                // Damaged names are kept as they are.
                let Ok(names) = self.custom_component_name_section(names) else { return Ok(None) };
                names.append_to_component(&mut out);
            }
            _ => return Ok(None),
        }
        Ok(Some(out))
    }

    /// Moves an index of the component that is `count` scopes further out.
    fn moved(&mut self, count: u32, index: u32, space: fn(&Spaces) -> u32) -> u32 {
        // The scopes of types have index spaces of their own, to which nothing is added.
        let Some(outer) = count.checked_sub(self.types) else { return index };
        let Some(frame) = self.frames.len().checked_sub(1 + outer as usize).map(|at| self.frames[at]) else {
            return index;
        };
        match frame.insertion.filter(|insertion| index >= space(&insertion.at)) {
            Some(_) => {
                let by = space(&frame.group.added());
                self.changed |= by > 0;
                index.saturating_add(by)
            }
            None => index,
        }
    }

    /// The core instance that the next core instance gets as an argument, if it is of a hooked module.
    fn hooks(&self) -> Option<u32> {
        let frame = self.frames.last()?;
        let sites = &self.own.plan.scopes[self.own.scope].sites;
        let position = sites.iter().position(|site| site.instance == self.next.core_instances)?;
        Some(frame.group.hooks_of(position, frame.insertion?.at))
    }

    /// The instance of the recorder, if that component needs it.
    fn recorder(&self, component: u32) -> Option<u32> {
        let component = self.own.scanned.scopes[self.own.scope].components[component as usize]?;
        self.own.plan.scopes[component].insertion?;
        Some(self.frames.last()?.insertion?.at.instances)
    }
}

type Reencoded<T> = Result<T, reencode::Error<Infallible>>;

impl Reencode for Reindexed<'_, '_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Reencoded<u32> {
        Ok(self.moved(0, index, |spaces| spaces.core_funcs))
    }

    fn memory_index(&mut self, index: u32) -> Reencoded<u32> {
        Ok(self.moved(0, index, |spaces| spaces.core_memories))
    }
}

impl ReencodeComponent for Reindexed<'_, '_> {
    fn component_type_index(&mut self, index: u32) -> u32 {
        self.moved(0, index, |spaces| spaces.types)
    }

    fn component_instance_index(&mut self, index: u32) -> u32 {
        self.moved(0, index, |spaces| spaces.instances)
    }

    fn component_func_index(&mut self, index: u32) -> u32 {
        self.moved(0, index, |spaces| spaces.funcs)
    }

    fn module_index(&mut self, index: u32) -> u32 {
        self.moved(0, index, |spaces| spaces.modules)
    }

    fn instance_index(&mut self, index: u32) -> u32 {
        self.moved(0, index, |spaces| spaces.core_instances)
    }

    fn outer_component_type_index(&mut self, count: u32, index: u32) -> u32 {
        self.moved(count, index, |spaces| spaces.types)
    }

    fn outer_module_index(&mut self, count: u32, index: u32) -> u32 {
        self.moved(count, index, |spaces| spaces.modules)
    }

    fn push_depth(&mut self) {
        self.types += 1;
    }

    fn pop_depth(&mut self) {
        self.types -= 1;
    }

    fn parse_instance(&mut self, out: &mut InstanceSection, instance: Instance<'_>) -> Reencoded<()> {
        let hooks = self.hooks();
        self.next.core_instances += 1;
        let (Some(hooks), Instance::Instantiate { module_index, args }) = (hooks, &instance) else {
            return component_utils::parse_instance(self, out, instance);
        };
        self.changed = true;
        let own = args.iter().map(|arg| (arg.name, ModuleArg::Instance(self.instance_index(arg.index))));
        let mut args: Vec<(&str, ModuleArg)> = own.collect();
        args.push((HOOKS, ModuleArg::Instance(hooks)));
        out.instantiate(self.module_index(*module_index), args);
        Ok(())
    }

    fn parse_component_instance(
        &mut self,
        out: &mut ComponentInstanceSection,
        instance: ComponentInstance<'_>,
    ) -> Reencoded<()> {
        let ComponentInstance::Instantiate { component_index, args } = &instance else {
            return component_utils::parse_component_instance(self, out, instance);
        };
        let Some(recorder) = self.recorder(*component_index) else {
            return component_utils::parse_component_instance(self, out, instance);
        };
        self.changed = true;
        let interface = self.frames.last().map_or("", |frame| frame.group.interface());
        let own =
            args.iter().map(|arg| (arg.name, arg.kind.into(), self.component_external_index(arg.kind, arg.index)));
        let mut args: Vec<(&str, ComponentExportKind, u32)> = own.collect();
        args.push((interface, ComponentExportKind::Instance, recorder));
        out.instantiate(self.component_index(*component_index), args);
        Ok(())
    }
}
