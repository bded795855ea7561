//! Parses and validates a module.

use wasmparser::{
    Encoding, ExternalKind, FuncToValidate, FunctionBody, Imports, Parser, Payload, TypeRef, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use super::walk::{Walked, Walker};
use super::{Body, FuncIdx, FuncImport, Module, Section, all_features};
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// Options of [`parse_with`].
#[derive(Debug, Clone, Copy)]
pub struct ParseOptions {
    /// The features that the module may use. [`crate::features::needed`] returns those that it needs.
    pub features: WasmFeatures,
    /// Whether to validate bodies. If not, they are only decoded, and the results for an invalid body are unspecified.
    /// Everything outside of bodies is always validated.
    pub validate: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions { features: all_features(), validate: true }
    }
}

/// Parses and validates a module with all features that wasmparser supports.
///
/// # Errors
/// [`ErrorKind::Malformed`] with the offset of the first invalid byte; [`ErrorKind::Unsupported`] for a component and
/// for a relocatable object file.
pub fn parse(bytes: &[u8]) -> Result<Module<'_>> {
    parse_with(bytes, &ParseOptions::default())
}

/// Like [`parse`], but accepts only `features`. Use it when you know what the target engine supports;
/// [`crate::features::needed`] returns what a module needs.
///
/// # Errors
/// Those of [`parse`]. A module that needs another feature is malformed at the byte that needs it.
pub fn parse_under(bytes: &[u8], features: WasmFeatures) -> Result<Module<'_>> {
    parse_with(bytes, &ParseOptions { features, ..Default::default() })
}

/// Parses a module with the given options.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_with<'a>(bytes: &'a [u8], options: &ParseOptions) -> Result<Module<'a>> {
    let features = options.features;
    if bytes.is_empty() {
        return Err(Error::at(ErrorKind::Malformed, 0, "the input is empty"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::at(ErrorKind::Malformed, 0, "not a WebAssembly binary: it does not begin with `\\0asm`"));
    }
    let mut module = Module {
        bytes,
        sections: Vec::new(),
        types: Vec::new(),
        group_sizes: Vec::new(),
        imports: Vec::new(),
        import_count: 0,
        func_types: Vec::new(),
        exports: Vec::new(),
        bodies: Vec::new(),
        sites: Vec::new(),
        usage: options.validate.then(Default::default),
        memories: Vec::new(),
        imported_memories: 0,
        tables: 0,
        globals: 0,
        elements: 0,
        imported_tags: 0,
        start: None,
    };
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut first_body = None;
    let mut section_start = 8; // after magic and version

    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(Error::at(ErrorKind::Unsupported, 4, "this is a component, and a module is expected"));
        }
        if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
            let (start, len) = (body.range().start, body.range().len() as u32);
            let (size, exceptions) = Default::default();
            module.bodies.push(Body { start, len, sites_end: 0, size, exceptions });
            first_body.get_or_insert(func);
        }
        if let Some((id, contents)) = payload.as_section() {
            let mut section =
                Section { id, name: None, whole: section_start..contents.end, data: contents.clone(), contents };
            section_start = section.whole.end;
            if let Payload::CustomSection(custom) = &payload {
                section.name = Some(custom.name());
                section.data = custom.data_offset()..section.contents.end;
                if custom.name() == "linking" || custom.name().starts_with("reloc.") {
                    return Err(Error::at(
                        ErrorKind::Unsupported,
                        section.whole.start,
                        format!(
                            "this is a relocatable object file (it has a `{}` section): link it first",
                            wasmtrace_abi::text::printable(custom.name())
                        ),
                    ));
                }
            }
            module.sections.push(section);
        }
        module.note(payload)?;
    }
    if let Some(first) = first_body {
        module.walk_bodies(&first, options)?;
    }
    Ok(module)
}

impl<'a> Module<'a> {
    /// Walks over all bodies, in parallel if the feature `parallel` is on. `first` is the validator for the first body.
    /// Reports the error with the lowest offset, so that the message does not depend on the number of threads.
    fn walk_bodies(&mut self, first: &FuncToValidate<ValidatorResources>, options: &ParseOptions) -> Result<()> {
        let runs = crate::parallel::runs(self.bodies.iter().map(|body| body.len as usize));
        let walked = crate::parallel::map(runs, |run| -> Result<Walked> {
            let mut walker = Walker::default();
            for position in run {
                walker.walked.usage.body = position as u32;
                let func = FuncIdx(first.index + position as u32);
                let body = FunctionBody::new(self.reader_under(self.body(func), options.features));
                match options.validate {
                    true => {
                        let (resources, features) = (first.resources.clone(), first.features);
                        let func = FuncToValidate { resources, index: func.0, ty: self.type_index(func), features };
                        walker.validated(func, &body)?;
                    }
                    false => walker.decoded(&body, self.func_count(), options.features)?,
                }
            }
            Ok(walker.walked)
        });
        let mut bodies = self.bodies.iter_mut();
        for walked in walked {
            let Walked { sites, bodies: found, usage } = walked?;
            if let Some(all) = &mut self.usage {
                all.merge(usage);
            }
            let before = self.sites.len() as u32;
            self.sites.extend_from_slice(&sites);
            for (found, body) in found.into_iter().zip(bodies.by_ref()) {
                body.sites_end = before + found.sites_end;
                (body.size, body.exceptions) = (found.size, found.exceptions);
            }
        }
        Ok(())
    }

    /// Collects the index spaces from a payload that was validated.
    fn note(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    let group = group?;
                    let size = group.types().len() as u32;
                    for ty in group.into_types() {
                        self.types.push(ty);
                        self.group_sizes.push(size);
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for group in imports {
                    match group? {
                        Imports::Single(_, import) => self.note_import(import.module, import.name, import.ty),
                        Imports::Compact1 { module, items } => {
                            for item in items {
                                let item = item?;
                                self.note_import(module, item.name, item.ty);
                            }
                        }
                        Imports::Compact2 { module, ty, names } => {
                            for name in names {
                                self.note_import(module, name?, ty);
                            }
                        }
                    }
                }
            }
            Payload::FunctionSection(types) => {
                for ty in types {
                    self.func_types.push(ty?);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memories.push(memory?);
                }
            }
            Payload::TableSection(tables) => self.tables += tables.count(),
            Payload::GlobalSection(globals) => self.globals += globals.count(),
            Payload::ElementSection(elements) => self.elements += elements.count(),
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                        self.exports.push((export.name, FuncIdx(export.index)));
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(FuncIdx(func)),
            _ => {}
        }
        Ok(())
    }

    fn note_import(&mut self, module: &'a str, name: &'a str, ty: TypeRef) {
        self.import_count += 1;
        match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.imports.push(FuncImport { module, name, ty });
                self.func_types.push(ty);
            }
            TypeRef::Memory(memory) => {
                self.memories.push(memory);
                self.imported_memories += 1;
            }
            TypeRef::Table(_) => self.tables += 1,
            TypeRef::Global(_) => self.globals += 1,
            TypeRef::Tag(_) => self.imported_tags += 1,
        }
    }
}
