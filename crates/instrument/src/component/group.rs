//! The definitions that are inserted into a component whose core modules are hooked: the import of the recorder, a memory,
//! and the hook module.
//!
//! ```wat
//! (type $t (instance …))  (import "wasmtrace:recorder/buffer@0.1.0" (instance $r (type $t)))
//! (alias export $r "attach" (func $attach))  (alias export $r "flush" (func $flush))
//! (core module $buffer …)  (core module $hooks …)
//! (core instance $b (instantiate $buffer))
//! (alias core export $b "buffer" (core memory $m))
//! (core func $a (canon lower (func $attach) (memory $m)))  (core func $f (canon lower (func $flush) (memory $m)))
//! (core instance $host (export "attach" (func $a)) (export "flush" (func $f)))
//! (core instance $h (instantiate $hooks (with "buffer" (instance $b)) (with "host" (instance $host))))
//! (alias core export $h "0:enter" (core func …))  …
//! (core instance (export "enter" …) (export "exit" …) (export "quiet-enter" …) (export "quiet-exit" …))  …
//! ```
//!
//! The last line is repeated for each instance of a hooked module; that module gets it as the argument `wasmtrace:hooks`.
//! In the set `observe` there is no buffer. A component that only passes the recorder on gets the first line.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, ComponentAliasSection, ComponentExportKind,
    ComponentImportSection, ComponentSection, ComponentTypeRef, ComponentTypeSection, ComponentValType, ExportKind,
    InstanceSection, InstanceType, ModuleArg, PrimitiveValType, RawSection,
};
use wasmtrace_abi::buffer::FUNCTIONS as FUNCTIONS_OF_EVENTS;
use wasmtrace_abi::component::{HookedInstance, OBSERVE_INTERFACE, RECORDER_INTERFACE};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HookSet;

use super::hook_module::{BUFFER, FUNCTIONS, HOST, MODULES, buffer_module, export_name, hook_module, host_functions};
use super::scan::{Nested, Scanned, Scope, Use};
use super::spaces::Spaces;

/// The group of new definitions of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// One of the hook sets for components.
    pub(super) hooks: HookSet,
    /// The numbers that are added to the ids of the hooked instances of this component, in order.
    pub(super) first_probes: Vec<u32>,
}

impl Group {
    fn has_buffer(&self) -> bool {
        self.hooks != HookSet::Observe
    }

    /// The interface that is imported.
    pub(super) fn interface(&self) -> &'static str {
        if self.has_buffer() { RECORDER_INTERFACE } else { OBSERVE_INTERFACE }
    }

    /// The number of sections.
    pub(super) fn sections(&self) -> usize {
        match (self.first_probes.is_empty(), self.has_buffer()) {
            (true, _) => 2,
            (false, true) => 11,
            (false, false) => 8,
        }
    }

    /// The number of new definitions in each index space.
    pub(super) fn added(&self) -> Spaces {
        let (instances, buffers) = (self.first_probes.len() as u32, u32::from(self.has_buffer()));
        let recorder = Spaces { types: 1, instances: 1, ..Default::default() };
        if instances == 0 {
            return recorder;
        }
        let own = FUNCTIONS.len() as u32;
        Spaces {
            funcs: 2,
            modules: 1 + buffers,
            core_instances: 2 + buffers + instances,
            core_funcs: 2 + own * instances,
            core_memories: buffers,
            ..recorder
        }
    }

    /// The core instance that the hooked instance at this position gets as its argument. `at` are the index spaces before
    /// the group.
    pub(super) fn hooks_of(&self, position: usize, at: Spaces) -> u32 {
        at.core_instances + 2 + u32::from(self.has_buffer()) + position as u32
    }

    /// The sections of the group. `at` are the index spaces before it.
    pub(super) fn encode(&self, at: Spaces) -> Vec<u8> {
        let mut out = Vec::new();
        let mut add = |section: &dyn ComponentSection| section.append_to_component(&mut out);
        let mut types = ComponentTypeSection::new();
        types.ty().instance(&self.interface_type());
        add(&types);
        let mut imports = ComponentImportSection::new();
        imports.import(self.interface(), ComponentTypeRef::Instance(at.types));
        add(&imports);
        if self.first_probes.is_empty() {
            return out;
        }
        let host = host_functions(self.hooks);
        let mut aliases = ComponentAliasSection::new();
        for name in host {
            aliases.alias(Alias::InstanceExport { instance: at.instances, kind: ComponentExportKind::Func, name });
        }
        add(&aliases);
        if self.has_buffer() {
            add(&RawSection { id: 1, data: &buffer_module(self.hooks) });
        }
        add(&RawSection { id: 1, data: &hook_module(self.hooks, &self.first_probes) });
        let mut options = Vec::new();
        let mut instance = at.core_instances;
        let (mut hook_module, mut args) = (at.modules, Vec::new());
        if self.has_buffer() {
            let mut instances = InstanceSection::new();
            instances.instantiate(hook_module, std::iter::empty::<(&str, ModuleArg)>());
            add(&instances);
            let mut aliases = ComponentAliasSection::new();
            aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Memory, name: BUFFER });
            add(&aliases);
            options.push(CanonicalOption::Memory(at.core_memories));
            args.push((BUFFER, ModuleArg::Instance(instance)));
            hook_module += 1;
            instance += 1;
        }
        let mut lowered = CanonicalFunctionSection::new();
        for func in 0..2 {
            lowered.lower(at.funcs + func, options.iter().copied());
        }
        add(&lowered);
        let mut instances = InstanceSection::new();
        let [first, second] = host;
        let first_host = at.core_funcs;
        instances.export_items([(first, ExportKind::Func, first_host), (second, ExportKind::Func, first_host + 1)]);
        args.push((HOST, ModuleArg::Instance(instance)));
        instances.instantiate(hook_module, args);
        add(&instances);
        let mut aliases = ComponentAliasSection::new();
        for position in 0..self.first_probes.len() {
            for name in FUNCTIONS {
                let name = export_name(position, name);
                aliases.alias(Alias::CoreInstanceExport {
                    instance: instance + 1,
                    kind: ExportKind::Func,
                    name: &name,
                });
            }
        }
        add(&aliases);
        let mut instances = InstanceSection::new();
        for first in (at.core_funcs + 2..).step_by(FUNCTIONS.len()).take(self.first_probes.len()) {
            let funcs = (0..).zip(FUNCTIONS).map(|(func, name)| (name, ExportKind::Func, first + func));
            instances.export_items(funcs.collect::<Vec<_>>());
        }
        add(&instances);
        out
    }

    /// The type of the interface that is imported: see [`wasmtrace_abi::component`].
    fn interface_type(&self) -> InstanceType {
        let mut ty = InstanceType::new();
        let (first, param) = match self.has_buffer() {
            true => {
                ty.ty().defined_type().list(PrimitiveValType::U8);
                (1, ComponentValType::Type(0))
            }
            false => (0, ComponentValType::Primitive(PrimitiveValType::U32)),
        };
        let cause = ("cause", ComponentValType::Primitive(PrimitiveValType::U32));
        let params = match self.has_buffer() {
            true => [vec![("buffer", param)], vec![("events", param), cause]],
            false => [vec![("id", param)], vec![("id", param)]],
        };
        for ((func, name), params) in (first..).zip(host_functions(self.hooks)).zip(params) {
            ty.ty().function().params(params).result(None);
            ty.export(name, ComponentTypeRef::Func(func));
        }
        ty
    }
}

/// The positions of the modules in the group of a component, each with its name. A component that only passes the recorder
/// on may have other modules there: they have other names.
pub(super) fn modules(scope: &Scope<'_>) -> impl Iterator<Item = (usize, &'static str)> {
    let is_interface = |name: &str| [RECORDER_INTERFACE, OBSERVE_INTERFACE].contains(&name);
    let import = scope.imports.iter().find(|(_, name)| is_interface(name));
    let names = match import {
        Some((_, OBSERVE_INTERFACE)) => &MODULES[1..],
        _ => &MODULES,
    };
    // Behind the import are the aliases of its functions.
    let first = import.map_or(scope.sections.len(), |(section, _)| section + 2);
    let modules = scope.sections.iter().skip(first).map_while(|section| match section.nested {
        Some(Nested::Module(module)) => Some(module),
        _ => None,
    });
    modules.zip(names.iter().copied())
}

/// Checks that a component calls the recorder only from the hook module of a group, if it imports the recorder at all.
/// `first_probes` are those of this component and of all that follow; those of this component are removed.
///
/// # Errors
/// [`ErrorKind::Restore`] at the import of the recorder.
pub(super) fn check(scanned: &Scanned<'_>, scope: &Scope<'_>, first_probes: &mut &[HookedInstance]) -> Result<()> {
    let recorder = &scope.recorder;
    if recorder.instances.is_empty() {
        return Ok(());
    }
    let import = &scope.sections[recorder.section];
    let other = || {
        let message =
            "the hooks of this component were changed, or are of another version: instrument the original again";
        Error::at(ErrorKind::Restore, import.whole.start, message)
    };
    if recorder.escapes || recorder.instances.len() > 1 {
        return Err(other());
    }
    if recorder.aliases == 0 {
        return Ok(());
    }
    let all = Group { hooks: HookSet::Buffer, first_probes: vec![0] };
    let start = recorder.section.checked_sub(1).ok_or_else(other)?;
    let sections = scope.sections.get(start..start + all.sections()).ok_or_else(other)?;
    let (first, last) = (&sections[0], &sections[sections.len() - 1]);
    // The last section has one core instance for each hooked instance.
    let hooked =
        wasmparser::BinaryReader::new(&scanned.bytes[last.contents.clone()], last.contents.start).read_var_u32()?;
    let own = first_probes.split_off(..hooked as usize).ok_or_else(other)?;
    if own.iter().any(|instance| instance.first_probe >= FUNCTIONS_OF_EVENTS) {
        return Err(other());
    }
    let group =
        Group { hooks: HookSet::Buffer, first_probes: own.iter().map(|instance| instance.first_probe).collect() };
    let bytes = &scanned.bytes[first.whole.start..last.whole.end];
    let (at, added) = (first.before, group.added());
    let is_new = |index: u32, space: fn(&Spaces) -> u32| (space(&at)..space(&at) + space(&added)).contains(&index);
    // Only hooked modules get something of the group: the instances that are made for them.
    let given = group.hooks_of(0, at)..group.hooks_of(group.first_probes.len(), at);
    let own_sections = start..start + group.sections();
    let mut others = scope.uses.iter().filter(|(section, _)| !own_sections.contains(section));
    let is_misused = others.any(|(_, item)| match *item {
        Use::CoreInstance { index, hooks } => {
            is_new(index, |spaces| spaces.core_instances) && !(hooks && given.contains(&index))
        }
        Use::CoreFunc(index) => is_new(index, |spaces| spaces.core_funcs),
        Use::CoreMemory(index) => is_new(index, |spaces| spaces.core_memories),
        Use::Func(index) => is_new(index, |spaces| spaces.funcs),
    });
    match !is_misused && recorder.aliases == 2 && hooked > 0 && group.encode(first.before) == bytes {
        true => Ok(()),
        false => Err(other()),
    }
}
