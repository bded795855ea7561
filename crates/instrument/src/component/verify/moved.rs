//! Moves the indices of an item of the original to those of the instrumented component.
//!
//! The items are those that `wasmparser` reads. After its indices have moved, an item of the original must be equal
//! to its counterpart: so all that is no index is compared without being listed here. The matches name each variant
//! and each field. If `wasmparser` adds one, this file does not compile until its indices are known.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentDefinedType, ComponentExport, ComponentExternalKind,
    ComponentFuncType, ComponentImport, ComponentInstance, ComponentInstantiationArg, ComponentOuterAliasKind,
    ComponentStartFunction, ComponentType, ComponentTypeDeclaration, ComponentTypeRef, ComponentValType, CoreType,
    Export, ExternalKind, Instance, InstanceTypeDeclaration, InstantiationArg, InstantiationArgKind, TypeBounds,
    VariantCase,
};

use super::pairs::ScopePair;
use crate::component::spaces::Spaces;

/// The place of an item of the original.
#[derive(Clone, Copy)]
pub(super) struct Moved<'p, 'a> {
    /// All components of the original.
    pub(super) scopes: &'p [ScopePair<'p, 'a>],
    /// The component that contains the item.
    pub(super) scope: usize,
    /// The number of types around the item within that component. They have index spaces of their own.
    pub(super) types: u32,
}

fn of(kind: ComponentExternalKind) -> impl Fn(Spaces) -> u32 {
    move |mut spaces| *spaces.of(kind)
}

fn of_core(kind: ExternalKind) -> impl Fn(Spaces) -> u32 {
    move |mut spaces| *spaces.of_core(kind)
}

impl Moved<'_, '_> {
    /// Moves an index of the component or type around the item.
    pub(super) fn index(self, index: &mut u32, space: impl Fn(Spaces) -> u32) {
        self.outer(0, index, space);
    }

    /// Moves an index of the component or type that is `count` further out. The index spaces of types do not change:
    /// nothing is added to a type.
    fn outer(self, count: u32, index: &mut u32, space: impl Fn(Spaces) -> u32) {
        let Some(outward) = count.checked_sub(self.types) else { return };
        let scope = (0..outward).try_fold(self.scope, |scope, _| self.scopes[scope].parent);
        if let Some(scope) = scope {
            *index = self.scopes[scope].moved(*index, space);
        }
    }

    /// The place within a type.
    fn within(self) -> Self {
        Moved { types: self.types + 1, ..self }
    }

    fn ty(self, index: &mut u32) {
        self.index(index, |spaces| spaces.types);
    }

    fn core_func(self, index: &mut u32) {
        self.index(index, |spaces| spaces.core_funcs);
    }

    fn memory(self, index: &mut u32) {
        self.index(index, |spaces| spaces.core_memories);
    }

    fn core_type(self, index: &mut u32) {
        self.index(index, |spaces| spaces.core_types);
    }

    fn table(self, index: &mut u32) {
        self.index(index, |spaces| spaces.core_tables);
    }

    /// Core types refer to core types only, and these do not move: `sections::compare` checks that.
    pub(super) fn core_type_definition(self, ty: &mut CoreType<'_>) {
        match ty {
            CoreType::Rec(_) | CoreType::Module(_) => {}
        }
    }

    pub(super) fn type_definition(self, ty: &mut ComponentType<'_>) {
        match ty {
            ComponentType::Defined(ty) => self.defined_type(ty),
            ComponentType::Func(ComponentFuncType { async_: _, params, result }) => {
                params.iter_mut().for_each(|(_, ty)| self.value_type(ty));
                result.iter_mut().for_each(|ty| self.value_type(ty));
            }
            ComponentType::Component(declarations) => {
                declarations.iter_mut().for_each(|declaration| self.within().component_declaration(declaration));
            }
            ComponentType::Instance(declarations) => {
                declarations.iter_mut().for_each(|declaration| self.within().instance_declaration(declaration));
            }
            ComponentType::Resource { rep: _, dtor } => dtor.iter_mut().for_each(|func| self.core_func(func)),
        }
    }

    fn component_declaration(self, declaration: &mut ComponentTypeDeclaration<'_>) {
        match declaration {
            ComponentTypeDeclaration::CoreType(ty) => self.core_type_definition(ty),
            ComponentTypeDeclaration::Type(ty) => self.type_definition(ty),
            ComponentTypeDeclaration::Alias(alias) => self.alias(alias),
            ComponentTypeDeclaration::Export { name: _, ty } => self.type_ref(ty),
            ComponentTypeDeclaration::Import(import) => self.import(import),
        }
    }

    fn instance_declaration(self, declaration: &mut InstanceTypeDeclaration<'_>) {
        match declaration {
            InstanceTypeDeclaration::CoreType(ty) => self.core_type_definition(ty),
            InstanceTypeDeclaration::Type(ty) => self.type_definition(ty),
            InstanceTypeDeclaration::Alias(alias) => self.alias(alias),
            InstanceTypeDeclaration::Export { name: _, ty } => self.type_ref(ty),
        }
    }

    fn defined_type(self, ty: &mut ComponentDefinedType<'_>) {
        match ty {
            ComponentDefinedType::Primitive(_) | ComponentDefinedType::Flags(_) | ComponentDefinedType::Enum(_) => {}
            ComponentDefinedType::Record(fields) => fields.iter_mut().for_each(|(_, ty)| self.value_type(ty)),
            ComponentDefinedType::Variant(cases) => {
                cases.iter_mut().flat_map(|VariantCase { name: _, ty }| ty).for_each(|ty| self.value_type(ty));
            }
            ComponentDefinedType::List(ty)
            | ComponentDefinedType::FixedLengthList(ty, _)
            | ComponentDefinedType::Option(ty) => self.value_type(ty),
            ComponentDefinedType::Map(key, value) => {
                self.value_type(key);
                self.value_type(value);
            }
            ComponentDefinedType::Tuple(types) => types.iter_mut().for_each(|ty| self.value_type(ty)),
            ComponentDefinedType::Result { ok, err } => {
                ok.iter_mut().chain(err).for_each(|ty| self.value_type(ty));
            }
            ComponentDefinedType::Own(resource) | ComponentDefinedType::Borrow(resource) => self.ty(resource),
            ComponentDefinedType::Future(ty) | ComponentDefinedType::Stream(ty) => {
                ty.iter_mut().for_each(|ty| self.value_type(ty));
            }
        }
    }

    fn value_type(self, ty: &mut ComponentValType) {
        match ty {
            ComponentValType::Primitive(_) => {}
            ComponentValType::Type(index) => self.ty(index),
        }
    }

    fn type_ref(self, ty: &mut ComponentTypeRef) {
        match ty {
            ComponentTypeRef::Module(index) => self.core_type(index),
            ComponentTypeRef::Func(index) | ComponentTypeRef::Instance(index) | ComponentTypeRef::Component(index) => {
                self.ty(index);
            }
            ComponentTypeRef::Value(ty) => self.value_type(ty),
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => self.ty(index),
            ComponentTypeRef::Type(TypeBounds::SubResource) => {}
        }
    }

    pub(super) fn import(self, import: &mut ComponentImport<'_>) {
        let ComponentImport { name: _, ty } = import;
        self.type_ref(ty);
    }

    pub(super) fn export(self, export: &mut ComponentExport<'_>) {
        let ComponentExport { name: _, kind, index, ty } = export;
        self.index(index, of(*kind));
        ty.iter_mut().for_each(|ty| self.type_ref(ty));
    }

    pub(super) fn alias(self, alias: &mut ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: _, instance_index, name: _ } => {
                self.index(instance_index, |spaces| spaces.instances);
            }
            ComponentAlias::CoreInstanceExport { kind: _, instance_index, name: _ } => {
                self.index(instance_index, |spaces| spaces.core_instances);
            }
            ComponentAlias::Outer { kind, count, index } => match kind {
                ComponentOuterAliasKind::CoreModule => self.outer(*count, index, |spaces| spaces.modules),
                ComponentOuterAliasKind::CoreType => self.outer(*count, index, |spaces| spaces.core_types),
                ComponentOuterAliasKind::Type => self.outer(*count, index, |spaces| spaces.types),
                ComponentOuterAliasKind::Component => self.outer(*count, index, |spaces| spaces.components),
            },
        }
    }

    pub(super) fn core_instance(self, instance: &mut Instance<'_>) {
        match instance {
            Instance::Instantiate { module_index, args } => {
                self.index(module_index, |spaces| spaces.modules);
                for InstantiationArg { name: _, kind, index } in args {
                    match kind {
                        InstantiationArgKind::Instance => self.index(index, |spaces| spaces.core_instances),
                    }
                }
            }
            Instance::FromExports(exports) => {
                for Export { name: _, kind, index } in exports {
                    self.index(index, of_core(*kind));
                }
            }
        }
    }

    pub(super) fn instance(self, instance: &mut ComponentInstance<'_>) {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                self.index(component_index, |spaces| spaces.components);
                for ComponentInstantiationArg { name: _, kind, index } in args {
                    self.index(index, of(*kind));
                }
            }
            ComponentInstance::FromExports(exports) => exports.iter_mut().for_each(|export| self.export(export)),
        }
    }

    pub(super) fn start(self, start: &mut ComponentStartFunction) {
        let ComponentStartFunction { func_index, arguments, results: _ } = start;
        self.index(func_index, |spaces| spaces.funcs);
        arguments.iter_mut().for_each(|value| self.index(value, |spaces| spaces.values));
    }

    /// Moves the indices of a canonical function. The scan accepts only some of them, but that may change.
    pub(super) fn canonical(self, function: &mut CanonicalFunction) {
        match function {
            CanonicalFunction::Lift { core_func_index, type_index, options } => {
                self.core_func(core_func_index);
                self.ty(type_index);
                self.options(options);
            }
            CanonicalFunction::Lower { func_index, options } => {
                self.index(func_index, |spaces| spaces.funcs);
                self.options(options);
            }
            CanonicalFunction::ResourceNew { resource }
            | CanonicalFunction::ResourceDrop { resource }
            | CanonicalFunction::ResourceRep { resource } => self.ty(resource),
            CanonicalFunction::ThreadSpawnRef { func_ty_index } => self.core_type(func_ty_index),
            CanonicalFunction::ThreadSpawnIndirect { func_ty_index, table_index }
            | CanonicalFunction::ThreadNewIndirect { func_ty_index, table_index } => {
                self.core_type(func_ty_index);
                self.table(table_index);
            }
            CanonicalFunction::TaskReturn { result, options } => {
                result.iter_mut().for_each(|ty| self.value_type(ty));
                self.options(options);
            }
            CanonicalFunction::StreamNew { ty }
            | CanonicalFunction::StreamCancelRead { ty, async_: _ }
            | CanonicalFunction::StreamCancelWrite { ty, async_: _ }
            | CanonicalFunction::StreamDropReadable { ty }
            | CanonicalFunction::StreamDropWritable { ty }
            | CanonicalFunction::FutureNew { ty }
            | CanonicalFunction::FutureCancelRead { ty, async_: _ }
            | CanonicalFunction::FutureCancelWrite { ty, async_: _ }
            | CanonicalFunction::FutureDropReadable { ty }
            | CanonicalFunction::FutureDropWritable { ty } => self.ty(ty),
            CanonicalFunction::StreamRead { ty, options }
            | CanonicalFunction::StreamWrite { ty, options }
            | CanonicalFunction::FutureRead { ty, options }
            | CanonicalFunction::FutureWrite { ty, options } => {
                self.ty(ty);
                self.options(options);
            }
            CanonicalFunction::ErrorContextNew { options }
            | CanonicalFunction::ErrorContextDebugMessage { options } => self.options(options),
            CanonicalFunction::WaitableSetWait { cancellable: _, memory }
            | CanonicalFunction::WaitableSetPoll { cancellable: _, memory } => self.memory(memory),
            // A value type can refer to a core type, but these do not move.
            CanonicalFunction::ContextGet { ty: _, slot: _ }
            | CanonicalFunction::ContextSet { ty: _, slot: _ }
            | CanonicalFunction::ThreadAvailableParallelism
            | CanonicalFunction::BackpressureInc
            | CanonicalFunction::BackpressureDec
            | CanonicalFunction::TaskCancel
            | CanonicalFunction::ThreadYield { cancellable: _ }
            | CanonicalFunction::SubtaskDrop
            | CanonicalFunction::SubtaskCancel { async_: _ }
            | CanonicalFunction::ErrorContextDrop
            | CanonicalFunction::WaitableSetNew
            | CanonicalFunction::WaitableSetDrop
            | CanonicalFunction::WaitableJoin
            | CanonicalFunction::ThreadIndex
            | CanonicalFunction::ThreadResumeLater
            | CanonicalFunction::ThreadSuspend { cancellable: _ }
            | CanonicalFunction::ThreadSuspendThenResume { cancellable: _ }
            | CanonicalFunction::ThreadYieldThenResume { cancellable: _ }
            | CanonicalFunction::ThreadSuspendThenPromote { cancellable: _ }
            | CanonicalFunction::ThreadYieldThenPromote { cancellable: _ } => {}
        }
    }

    fn options(self, options: &mut [CanonicalOption]) {
        for option in options {
            match option {
                CanonicalOption::UTF8
                | CanonicalOption::UTF16
                | CanonicalOption::CompactUTF16
                | CanonicalOption::Async
                | CanonicalOption::Gc => {}
                CanonicalOption::Memory(index) => self.memory(index),
                CanonicalOption::Realloc(index)
                | CanonicalOption::PostReturn(index)
                | CanonicalOption::Callback(index) => self.core_func(index),
                CanonicalOption::CoreType(index) => self.core_type(index),
            }
        }
    }
}
