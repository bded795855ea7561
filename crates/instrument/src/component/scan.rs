//! Parses and validates a component: its nested components and core modules, their sections, and what is known of the
//! origin of each module, component, core instance and core function.
//!
//! The scan is a loop over the sections of the file, not a recursion over nested components.

use std::ops::Range;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentType,
    ComponentTypeDeclaration, Encoding, ExternalKind, Instance, InstanceTypeDeclaration, Parser, Payload, Validator,
};

pub(super) use super::scope::{CoreFunc, CoreInstance, CoreModule, Nested, Scope, Section, Use};
use super::spaces::kind_of;
use crate::module::all_features;
use wasmtrace_abi::component::{
    ComponentManifest, MANIFEST_SECTION, OBSERVE_INTERFACE, RECORDER_INTERFACE, RECORDER_PACKAGE,
};
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// Maximum nesting depth of components. Those of composition tools have a depth of about 3.
pub(super) const MAX_DEPTH: usize = 100;

/// Maximum nesting depth of types. The validator has the same limit for types that it names, but not for others.
const MAX_TYPE_DEPTH: usize = 100;

/// Size in bytes of the stack that reading needs for each level of nested types, in an unoptimized build.
const STACK_OF_A_TYPE: usize = 32 << 10;

/// Number of nested types that the stack of any thread has room for.
const FEW_TYPES: usize = 64;

/// Maximum number of types in one section that might be nested in each other.
const MANY_TYPES: usize = 20_000;

/// A component, with all components and core modules within it.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    pub(super) bytes: &'a [u8],
    /// The root component, then the others in the order of the file.
    pub(super) scopes: Vec<Scope<'a>>,
    /// All core modules, in the order of the file.
    pub(super) modules: Vec<CoreModule<'a>>,
    /// The contents of the root component's Manifest, if it has one.
    pub(super) manifest: Option<Range<usize>>,
    /// The place of an import with a name that is reserved for the recorder.
    pub(super) reserved: Option<usize>,
}

/// Whether the bytes begin like a component.
pub(super) fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && matches!(bytes.get(4..8), Some([_, _, 1, 0]))
}

/// Parses and validates a component. The bodies of core modules are not validated.
///
/// # Errors
/// [`ErrorKind::Malformed`] with the offset of the first invalid byte. [`ErrorKind::Limit`] if components are nested too
/// deep. [`ErrorKind::Unsupported`] for asynchronous functions.
pub(super) fn scan(bytes: &[u8]) -> Result<Scanned<'_>> {
    // The validator reads nested types by recursion, before it checks their depth.
    let types = types_that_may_nest(bytes)?;
    if types <= FEW_TYPES {
        return scan_here(bytes);
    }
    std::thread::scope(|scope| {
        let stack = (4 << 20) + types * STACK_OF_A_TYPE;
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, || scan_here(bytes));
        let thread = thread
            .map_err(|e| Error::new(ErrorKind::Limit, "no memory for the types of this component").caused_by(e))?;
        thread.join().map_err(|_| Error::new(ErrorKind::Malformed, "the types of this component cannot be read"))?
    })
}

/// An upper bound for the nesting depth of types, in the section with most of them. A nested type is a declaration of a type
/// (0x01) whose first byte is that of a component or an instance (0x41 or 0x42).
fn types_that_may_nest(bytes: &[u8]) -> Result<usize> {
    let mut most = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        is_whole(&payload, bytes)?;
        if let Payload::ComponentTypeSection(types) = payload {
            let range = types.range();
            let is_nested = |pair: &&[u8]| matches!(pair, [0x01, 0x41 | 0x42]);
            let nested = bytes[range.clone()].windows(2).filter(is_nested).count();
            if nested > MANY_TYPES {
                return Err(Error::at(ErrorKind::Limit, range.start, "this section has too many nested types"));
            }
            most = most.max(nested);
        }
    }
    Ok(most)
}

/// Checks that a nested module or component ends within the file, which the parser leaves to its user.
fn is_whole(payload: &Payload<'_>, bytes: &[u8]) -> Result<()> {
    match payload {
        Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. }
            if unchecked_range.end > bytes.len() =>
        {
            Err(Error::at(ErrorKind::Malformed, bytes.len(), "unexpected end-of-file"))
        }
        _ => Ok(()),
    }
}

fn scan_here(bytes: &[u8]) -> Result<Scanned<'_>> {
    let mut scanned = Scanned { bytes, scopes: Vec::new(), modules: Vec::new(), manifest: None, reserved: None };
    let mut parser = Parser::new(0);
    parser.set_features(all_features());
    let mut validator = Validator::new_with_features(all_features());
    // The components and modules that contain the current place, and where the next section begins.
    let mut open: Vec<(Nested, usize)> = Vec::new();
    let mut next = None;
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        if let Payload::ComponentTypeSection(types) = &payload {
            for ty in types.clone().into_iter_with_offsets() {
                let (offset, ty) = ty?;
                if is_deeper(&ty, MAX_TYPE_DEPTH) {
                    let message = format!("types are nested deeper than {MAX_TYPE_DEPTH}");
                    return Err(Error::at(ErrorKind::Limit, offset, message));
                }
            }
        }
        validator.payload(&payload)?;
        match (&payload, open.last_mut()) {
            (Payload::Version { encoding, range, .. }, _) => {
                let nested = match encoding {
                    Encoding::Component => Nested::Component(scanned.scopes.len()),
                    Encoding::Module => Nested::Module(scanned.modules.len()),
                };
                if open.is_empty() && *encoding == Encoding::Module {
                    return Err(Error::at(ErrorKind::Malformed, 4, "this is a module and not a component"));
                }
                let whole = next.take().unwrap_or(0..bytes.len());
                match nested {
                    Nested::Component(_) => {
                        scanned.scopes.push(Scope { range: whole, ..Default::default() });
                    }
                    Nested::Module(_) => scanned.modules.push(CoreModule { range: whole, name: None }),
                }
                open.push((nested, range.end));
                if open.len() > MAX_DEPTH {
                    let message = format!("components are nested deeper than {MAX_DEPTH}");
                    return Err(Error::at(ErrorKind::Limit, range.start, message));
                }
            }
            (Payload::End(_), Some(_)) => {
                let (closed, _) = open.pop().expect("there is one");
                if let Some((Nested::Component(parent), _)) = open.last() {
                    let scope = &mut scanned.scopes[*parent];
                    match closed {
                        Nested::Module(module) => scope.module(Some(module)),
                        Nested::Component(component) => scope.component(Some(component)),
                    }
                }
            }
            (_, Some((Nested::Component(at), start))) => {
                let at = *at;
                if let Some((id, contents)) = payload.as_section() {
                    let nested = match payload {
                        Payload::ModuleSection { .. } => Some(Nested::Module(scanned.modules.len())),
                        Payload::ComponentSection { .. } => Some(Nested::Component(scanned.scopes.len())),
                        _ => None,
                    };
                    if nested.is_some() {
                        next = Some(contents.clone());
                    }
                    let whole = *start..contents.end;
                    *start = whole.end;
                    let before = scanned.scopes[at].spaces;
                    scanned.scopes[at].sections.push(Section { id, whole, contents, nested, before });
                }
                let outer: Vec<usize> =
                    open.iter().map(|(Nested::Component(at) | Nested::Module(at), _)| *at).collect();
                scanned.note(&outer, payload)?;
            }
            _ => {}
        }
    }
    Ok(scanned)
}

/// Whether types are nested more than `depth` levels deep in a type. This recursion has the stack of [`scan`].
fn is_deeper(ty: &ComponentType<'_>, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    match ty {
        ComponentType::Component(declarations) => declarations.iter().any(|declaration| match declaration {
            ComponentTypeDeclaration::Type(ty) => is_deeper(ty, depth),
            _ => false,
        }),
        ComponentType::Instance(declarations) => declarations.iter().any(|declaration| match declaration {
            InstanceTypeDeclaration::Type(ty) => is_deeper(ty, depth),
            _ => false,
        }),
        ComponentType::Defined(_) | ComponentType::Func(_) | ComponentType::Resource { .. } => false,
    }
}

impl<'a> Scanned<'a> {
    /// The Manifest of the root component, if it has one.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] if the Manifest is damaged or has an unknown version.
    pub(super) fn manifest(&self) -> Result<Option<ComponentManifest>> {
        let Some(range) = self.manifest.clone() else { return Ok(None) };
        ComponentManifest::decode(&self.bytes[range.clone()], range.start).map(Some)
    }

    /// The bytes of a core module.
    pub(super) fn module_bytes(&self, module: usize) -> &'a [u8] {
        &self.bytes[self.modules[module].range.clone()]
    }

    /// Notes what a section defines. `outer` are the positions of the component and of those around it, outermost first.
    fn note(&mut self, outer: &[usize], payload: Payload<'a>) -> Result<()> {
        let at = *outer.last().expect("the section is in a component");
        let scope = &mut self.scopes[at];
        match payload {
            Payload::ComponentTypeSection(types) => {
                scope.spaces.types += types.count();
                for ty in types {
                    if let ComponentType::Resource { dtor: Some(dtor), .. } = ty? {
                        scope.lifted.push(dtor);
                        scope.uses(Use::CoreFunc(dtor));
                    }
                }
            }
            Payload::CoreTypeSection(types) => scope.spaces.core_types += types.count(),
            Payload::ComponentImportSection(imports) => {
                for import in imports.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    let name = import.name.name;
                    scope.imports.push((scope.sections.len() - 1, name));
                    if name.starts_with(RECORDER_PACKAGE) || name == OBSERVE_INTERFACE {
                        self.reserved.get_or_insert(offset);
                    }
                    if name.starts_with(RECORDER_PACKAGE) {
                        scope.recorder.section = scope.sections.len() - 1;
                        scope.recorder.escapes |= name != RECORDER_INTERFACE || !scope.recorder.instances.is_empty();
                        scope.recorder.instances.push(scope.spaces.instances);
                    }
                    scope.add(kind_of(import.ty), None);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let nested = scope.nested(export.kind, export.index);
                    scope.exported.extend(nested);
                    scope.recorder.escapes |= scope.is_recorder(export.kind, export.index);
                    scope.note_func(export.kind, export.index);
                    scope.add(export.kind, nested);
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    if let Instance::FromExports(exports) = &instance
                        && exports.iter().any(|export| export.kind == ExternalKind::FuncExact)
                    {
                        return Err(exact(offset));
                    }
                    scope.note_uses(&instance);
                    let instance = match instance {
                        Instance::Instantiate { module_index, args } => CoreInstance::Of {
                            module: module_index,
                            args: args.iter().map(|arg| (arg.name, arg.index)).collect(),
                        },
                        Instance::FromExports(exports) => {
                            CoreInstance::Exports(exports.iter().map(|e| (e.name, e.kind, e.index)).collect())
                        }
                    };
                    scope.core_instances.push(instance);
                    scope.spaces.core_instances += 1;
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    match instance? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            scope.instantiated.push((scope.spaces.instances, component_index));
                            let passed = args.iter().filter_map(|arg| scope.nested(arg.kind, arg.index));
                            scope.passed.extend(passed.collect::<Vec<_>>());
                            let escapes = |arg: &wasmparser::ComponentInstantiationArg<'_>| {
                                scope.is_recorder(arg.kind, arg.index) && arg.name != RECORDER_INTERFACE
                            };
                            scope.recorder.escapes |= args.iter().any(escapes);
                            args.iter().for_each(|arg| scope.note_func(arg.kind, arg.index));
                        }
                        ComponentInstance::FromExports(exports) => {
                            let passed = exports.iter().filter_map(|export| scope.nested(export.kind, export.index));
                            scope.passed.extend(passed.collect::<Vec<_>>());
                            let escapes = exports.iter().any(|export| scope.is_recorder(export.kind, export.index));
                            scope.recorder.escapes |= escapes;
                            exports.iter().for_each(|export| scope.note_func(export.kind, export.index));
                        }
                    }
                    scope.spaces.instances += 1;
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.into_iter_with_offsets() {
                    let (offset, alias) = alias?;
                    if let ComponentAlias::CoreInstanceExport { kind: ExternalKind::FuncExact, .. } = alias {
                        return Err(exact(offset));
                    }
                    let mut nested = None;
                    if let ComponentAlias::Outer { kind, count, index } = alias {
                        let defined_in = outer[outer.len() - 1 - count as usize];
                        nested = match kind {
                            ComponentOuterAliasKind::CoreModule => {
                                self.scopes[defined_in].nested(ComponentExternalKind::Module, index)
                            }
                            ComponentOuterAliasKind::Component => {
                                self.scopes[defined_in].nested(ComponentExternalKind::Component, index)
                            }
                            _ => None,
                        };
                    }
                    self.scopes[at].alias(&alias, nested);
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.into_iter_with_offsets() {
                    let (offset, function) = function?;
                    scope.canonical(offset, &function)?;
                }
            }
            Payload::ComponentStartSection { start, .. } => {
                scope.uses(Use::Func(start.func_index));
                scope.spaces.values += start.results;
            }
            Payload::CustomSection(custom) if custom.name() == "component-name" => {
                self.name_modules(at, custom.data(), custom.data_offset());
            }
            Payload::CustomSection(custom) if at == 0 && custom.name() == MANIFEST_SECTION => {
                self.manifest = Some(custom.data_offset()..custom.range().end);
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the names of core modules. Damaged names are ignored: they are for people only.
    fn name_modules(&mut self, at: usize, data: &'a [u8], offset: usize) {
        let names = wasmparser::ComponentNameSectionReader::new(wasmparser::BinaryReader::new(data, offset));
        for names in names.into_iter().map_while(|names| names.ok()) {
            let wasmparser::ComponentName::CoreModules(names) = names else { continue };
            for naming in names.into_iter().map_while(|naming| naming.ok()) {
                if let Some(Some(module)) = self.scopes[at].modules.get(naming.index as usize) {
                    self.modules[*module].name = Some(naming.name);
                }
            }
        }
    }
}

/// The encoder would write an exact function (proposal "custom descriptors") as an ordinary one.
fn exact(offset: usize) -> Error {
    Error::at(ErrorKind::Unsupported, offset, "exact functions of core instances are not supported")
}
