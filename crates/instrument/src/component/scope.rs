//! What is known of one component: its sections, the origins of its items, and the references to them.

use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ExternalKind,
    Instance,
};

use super::spaces::Spaces;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HOOKS;

/// One component.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    /// The component as offsets in the file.
    pub(super) range: Range<usize>,
    pub(super) sections: Vec<Section>,
    /// For each module index, the module's position in [`Scanned::modules`] if it is defined in this file.
    pub(super) modules: Vec<Option<usize>>,
    /// For each component index, the component's position in [`Scanned::scopes`] if it is defined in this file.
    pub(super) components: Vec<Option<usize>>,
    pub(super) core_instances: Vec<CoreInstance<'a>>,
    pub(super) core_funcs: Vec<CoreFunc<'a>>,
    /// The core functions that are called while the instance must not be left: `realloc` and `post-return`.
    pub(super) quiet: Vec<u32>,
    /// The core functions by which others call the instance: those that are lifted, and destructors.
    pub(super) lifted: Vec<u32>,
    /// The instances of components: their index, and the index of the component.
    pub(super) instantiated: Vec<(u32, u32)>,
    /// Definitions that leave the component, so that their types are fixed.
    pub(super) exported: Vec<Nested>,
    /// Definitions that are passed to a component.
    pub(super) passed: Vec<Nested>,
    /// References to core items and functions, with their section.
    pub(super) uses: Vec<(usize, Use)>,
    /// The imports: their section and name.
    pub(super) imports: Vec<(usize, &'a str)>,
    /// How the component uses the recorder.
    pub(super) recorder: RecorderUse,
    pub(super) spaces: Spaces,
}

/// A reference to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// As an argument; `hooks` if its name is that of the hooks.
    CoreInstance {
        index: u32,
        hooks: bool,
    },
    CoreFunc(u32),
    CoreMemory(u32),
    Func(u32),
}

/// How a component uses instances that it imports from the package of the recorder.
#[derive(Debug, Default)]
pub(super) struct RecorderUse {
    /// The indices of these instances, and the section of the first.
    pub(super) instances: Vec<u32>,
    pub(super) section: usize,
    /// Number of functions that are taken from them.
    pub(super) aliases: usize,
    /// Whether one is exported, or passed to a component under another name, or imported under another name.
    pub(super) escapes: bool,
}

/// A section of a component.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) id: u8,
    /// The section with its header, as offsets in the file.
    pub(super) whole: Range<usize>,
    pub(super) contents: Range<usize>,
    /// The core module or component that the section consists of.
    pub(super) nested: Option<Nested>,
    /// The index spaces before the section.
    pub(super) before: Spaces,
}

/// A nested definition: its position in [`Scanned::modules`] or [`Scanned::scopes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nested {
    Module(usize),
    Component(usize),
}

/// A core module within a component.
#[derive(Debug)]
pub(super) struct CoreModule<'a> {
    /// The module as offsets in the file.
    pub(super) range: Range<usize>,
    /// The name in the `component-name` section of the component that contains it.
    pub(super) name: Option<&'a str>,
}

/// The origin of a core instance.
#[derive(Debug)]
pub(super) enum CoreInstance<'a> {
    /// An instance of the module with this index. Each argument is a name and a core instance.
    Of { module: u32, args: Vec<(&'a str, u32)> },
    /// A list of items: their names, kinds and indices.
    Exports(Vec<(&'a str, ExternalKind, u32)>),
}

/// The origin of a core function.
#[derive(Debug)]
pub(super) enum CoreFunc<'a> {
    /// An export of a core instance.
    Export { instance: u32, name: &'a str },
    /// A lowered function, or one of the component model; whether a call of it may leave the instance.
    Canonical { leaves: bool },
}

impl<'a> Scope<'a> {
    pub(super) fn module(&mut self, module: Option<usize>) {
        self.modules.push(module);
        self.spaces.modules += 1;
    }

    pub(super) fn component(&mut self, component: Option<usize>) {
        self.components.push(component);
        self.spaces.components += 1;
    }

    /// The definition in this file that an index refers to.
    pub(super) fn nested(&self, kind: ComponentExternalKind, index: u32) -> Option<Nested> {
        let index = index as usize;
        match kind {
            ComponentExternalKind::Module => self.modules[index].map(Nested::Module),
            ComponentExternalKind::Component => self.components[index].map(Nested::Component),
            _ => None,
        }
    }

    /// Whether an item is an instance from the package of the recorder.
    pub(super) fn is_recorder(&self, kind: ComponentExternalKind, index: u32) -> bool {
        kind == ComponentExternalKind::Instance && self.recorder.instances.contains(&index)
    }

    pub(super) fn uses(&mut self, item: Use) {
        self.uses.push((self.sections.len() - 1, item));
    }

    pub(super) fn note_func(&mut self, kind: ComponentExternalKind, index: u32) {
        if kind == ComponentExternalKind::Func {
            self.uses(Use::Func(index));
        }
    }

    pub(super) fn note_uses(&mut self, instance: &Instance<'_>) {
        match instance {
            Instance::Instantiate { args, .. } => args.iter().for_each(|arg| {
                self.uses(Use::CoreInstance { index: arg.index, hooks: arg.name == HOOKS });
            }),
            Instance::FromExports(exports) => exports.iter().for_each(|export| match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => self.uses(Use::CoreFunc(export.index)),
                ExternalKind::Memory => self.uses(Use::CoreMemory(export.index)),
                ExternalKind::Table | ExternalKind::Global | ExternalKind::Tag => {}
            }),
        }
    }

    /// Adds a definition of that kind.
    pub(super) fn add(&mut self, kind: ComponentExternalKind, nested: Option<Nested>) {
        match (kind, nested) {
            (ComponentExternalKind::Module, Some(Nested::Module(module))) => self.module(Some(module)),
            (ComponentExternalKind::Module, _) => self.module(None),
            (ComponentExternalKind::Component, Some(Nested::Component(component))) => self.component(Some(component)),
            (ComponentExternalKind::Component, _) => self.component(None),
            _ => *self.spaces.of(kind) += 1,
        }
    }

    pub(super) fn alias(&mut self, alias: &ComponentAlias<'a>, nested: Option<Nested>) {
        match alias {
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => {
                self.add(ComponentExternalKind::Module, nested);
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, .. } => {
                self.add(ComponentExternalKind::Component, nested);
            }
            ComponentAlias::InstanceExport { kind, .. } => self.add(*kind, None),
            _ => *self.spaces.of_alias(alias) += 1,
        }
        if let ComponentAlias::InstanceExport { instance_index, .. } = alias {
            self.recorder.aliases += self.recorder.instances.contains(instance_index) as usize;
        }
        if let ComponentAlias::CoreInstanceExport { instance_index, .. } = alias {
            self.uses(Use::CoreInstance { index: *instance_index, hooks: false });
        }
        if let ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, instance_index, name } = alias {
            self.core_funcs.push(CoreFunc::Export { instance: *instance_index, name });
        }
    }

    pub(super) fn canonical(&mut self, offset: usize, function: &CanonicalFunction) -> Result<()> {
        *self.spaces.of_canonical(function) += 1;
        if !matches!(function, CanonicalFunction::Lift { .. }) {
            use CanonicalFunction::{ContextGet, ContextSet, ResourceNew, ResourceRep};
            let stays =
                matches!(function, ResourceNew { .. } | ResourceRep { .. } | ContextGet { .. } | ContextSet { .. });
            self.core_funcs.push(CoreFunc::Canonical { leaves: !stays });
        }
        let (CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. }) = function else {
            return match function {
                CanonicalFunction::ResourceNew { .. }
                | CanonicalFunction::ResourceDrop { .. }
                | CanonicalFunction::ResourceRep { .. }
                | CanonicalFunction::ContextGet { .. }
                | CanonicalFunction::ContextSet { .. } => Ok(()),
                _ => Err(asynchronous(offset)),
            };
        };
        match function {
            CanonicalFunction::Lift { core_func_index, .. } => {
                self.lifted.push(*core_func_index);
                self.uses(Use::CoreFunc(*core_func_index));
            }
            CanonicalFunction::Lower { func_index, .. } => self.uses(Use::Func(*func_index)),
            _ => {}
        }
        for option in options {
            match option {
                CanonicalOption::Memory(memory) => self.uses(Use::CoreMemory(*memory)),
                CanonicalOption::Realloc(func) | CanonicalOption::PostReturn(func) => self.quiet.push(*func),
                CanonicalOption::Async | CanonicalOption::Callback(_) => return Err(asynchronous(offset)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn asynchronous(offset: usize) -> Error {
    let message =
        "asynchronous functions (WASI 0.3) are not supported yet: several tasks would write into one call stack";
    Error::at(ErrorKind::Unsupported, offset, message)
}
