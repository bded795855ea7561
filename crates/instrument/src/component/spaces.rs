//! The index spaces of a component, and how many definitions an item adds to them.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef, ExternalKind,
};

/// The number of definitions in each index space of one component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spaces {
    pub(super) types: u32,
    pub(super) instances: u32,
    pub(super) funcs: u32,
    pub(super) values: u32,
    pub(super) components: u32,
    pub(super) modules: u32,
    pub(super) core_types: u32,
    pub(super) core_instances: u32,
    pub(super) core_funcs: u32,
    pub(super) core_memories: u32,
    pub(super) core_tables: u32,
    pub(super) core_globals: u32,
    pub(super) core_tags: u32,
}

impl Spaces {
    /// The index space of items of that kind.
    pub(super) fn of(&mut self, kind: ComponentExternalKind) -> &mut u32 {
        match kind {
            ComponentExternalKind::Module => &mut self.modules,
            ComponentExternalKind::Func => &mut self.funcs,
            ComponentExternalKind::Value => &mut self.values,
            ComponentExternalKind::Type => &mut self.types,
            ComponentExternalKind::Instance => &mut self.instances,
            ComponentExternalKind::Component => &mut self.components,
        }
    }

    /// The index space of core items of that kind.
    pub(super) fn of_core(&mut self, kind: ExternalKind) -> &mut u32 {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => &mut self.core_funcs,
            ExternalKind::Table => &mut self.core_tables,
            ExternalKind::Memory => &mut self.core_memories,
            ExternalKind::Global => &mut self.core_globals,
            ExternalKind::Tag => &mut self.core_tags,
        }
    }

    /// The index space to which an alias adds one definition.
    pub(super) fn of_alias(&mut self, alias: &ComponentAlias<'_>) -> &mut u32 {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => self.of(*kind),
            ComponentAlias::CoreInstanceExport { kind, .. } => self.of_core(*kind),
            ComponentAlias::Outer { kind, .. } => match kind {
                ComponentOuterAliasKind::CoreModule => &mut self.modules,
                ComponentOuterAliasKind::CoreType => &mut self.core_types,
                ComponentOuterAliasKind::Type => &mut self.types,
                ComponentOuterAliasKind::Component => &mut self.components,
            },
        }
    }

    /// The index space to which a canonical function adds one definition.
    pub(super) fn of_canonical(&mut self, function: &CanonicalFunction) -> &mut u32 {
        match function {
            CanonicalFunction::Lift { .. } => &mut self.funcs,
            _ => &mut self.core_funcs,
        }
    }
}

/// The kind of an imported item.
pub(super) fn kind_of(ty: ComponentTypeRef) -> ComponentExternalKind {
    match ty {
        ComponentTypeRef::Module(_) => ComponentExternalKind::Module,
        ComponentTypeRef::Func(_) => ComponentExternalKind::Func,
        ComponentTypeRef::Value(_) => ComponentExternalKind::Value,
        ComponentTypeRef::Type(_) => ComponentExternalKind::Type,
        ComponentTypeRef::Instance(_) => ComponentExternalKind::Instance,
        ComponentTypeRef::Component(_) => ComponentExternalKind::Component,
    }
}
