//! The first stage: bytes → [`Module`], validated once, at the door.
//!
//! A `Module` is no intermediate representation. It knows where each section and each body lies, what type each
//! function has, and which functions are imported or exported; everything else stays bytes, to be copied. Past this
//! stage the input is known to be valid, so later stages say `expect("validated: …")`.

use std::ops::Range;

use wasmparser::{
    BinaryReader, CompositeInnerType, Encoding, ExternalKind, FuncToValidate, FuncType, FunctionBody, Imports, Parser,
    Payload, SubType, TypeRef, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest};

pub(crate) mod names;
pub(crate) mod order;
mod walk;

pub use walk::Size;
pub(crate) use walk::{Exceptions, NEAR, Site, Sites};
use walk::{Walked, Walker};

/// The index of a function in a module's function index space: imported functions first, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FuncIdx(pub u32);

/// Section ids of the core specification (binary format, "Modules") that this crate names.
pub(crate) mod id {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const TYPE: u8 = 1;
    pub(crate) const IMPORT: u8 = 2;
    pub(crate) const FUNCTION: u8 = 3;
    pub(crate) const TABLE: u8 = 4;
    pub(crate) const MEMORY: u8 = 5;
    pub(crate) const GLOBAL: u8 = 6;
    pub(crate) const EXPORT: u8 = 7;
    pub(crate) const START: u8 = 8;
    pub(crate) const ELEMENT: u8 = 9;
    pub(crate) const CODE: u8 = 10;
    pub(crate) const DATA: u8 = 11;
    pub(crate) const DATA_COUNT: u8 = 12;
    pub(crate) const TAG: u8 = 13;
}

/// One section as it stands in the file.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    /// The section's id; 0 for a custom section.
    pub id: u8,
    /// The name of a custom section.
    pub name: Option<&'a str>,
    /// The whole section: id, size and contents, as offsets in the file.
    pub whole: Range<usize>,
    /// What follows the size field, as offsets in the file. For a custom section this still begins with its name.
    pub contents: Range<usize>,
    /// The bytes after a custom section's name; the same as `contents` for other sections.
    pub data: Range<usize>,
}

/// An imported function.
#[derive(Debug, Clone, Copy)]
pub struct FuncImport<'a> {
    /// The module that it is imported from.
    pub module: &'a str,
    /// Its name in that module.
    pub name: &'a str,
    /// Index of its type.
    pub ty: u32,
}

/// A validated module, borrowed from its bytes. Made by [`parse`].
#[derive(Debug)]
pub struct Module<'a> {
    bytes: &'a [u8],
    sections: Vec<Section<'a>>,
    types: Vec<SubType>,
    /// For each type: how many types its recursion group holds.
    group_sizes: Vec<u32>,
    imports: Vec<FuncImport<'a>>,
    import_count: usize,
    /// Type index of every function, imported ones first.
    func_types: Vec<u32>,
    exports: Vec<(&'a str, FuncIdx)>,
    bodies: Vec<Body>,
    /// What the walk has found in all of them.
    sites: Vec<u8>,
    memories: Vec<wasmparser::MemoryType>,
    imported_memories: u32,
    tables: u32,
    globals: u32,
    elements: u32,
    imported_tags: u32,
    validated: bool,
    start: Option<FuncIdx>,
}

/// One body: where it lies, and what has been found in it.
#[derive(Debug, Clone, Copy)]
struct Body {
    start: usize,
    len: u32,
    /// Where its sites end; they begin where those of the body before end.
    sites_end: u32,
    size: Size,
    exceptions: Exceptions,
}

/// How a module is read.
#[derive(Debug, Clone, Copy)]
pub struct ParseOptions {
    /// What it may use. [`crate::features::needed`] says what a module needs.
    pub features: WasmFeatures,
    /// Whether bodies are validated. Where another tool of the pipeline has done that, they are decoded alone: then nothing is said
    /// of what becomes of a body that is not valid. Everything outside of bodies is validated in any case.
    pub validate: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions { features: all_features(), validate: true }
    }
}

/// Every feature that wasmparser knows. What a module may use is not for this compiler to decide; what leaves a frame is.
pub(crate) fn all_features() -> WasmFeatures {
    WasmFeatures::all()
}

/// Reads and validates a module, with every feature that wasmparser knows.
///
/// # Errors
/// [`ErrorKind::Malformed`] with the offset of the first byte that is wrong; [`ErrorKind::Unsupported`] for a component
/// and for a relocatable object file.
pub fn parse(bytes: &[u8]) -> Result<Module<'_>> {
    parse_with(bytes, &ParseOptions::default())
}

/// The same under fewer features: a module that needs another is refused at the byte that needs it. For who knows what
/// the engine that it is for can run; [`crate::features::needed`] says what a module needs.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_under(bytes: &[u8], features: WasmFeatures) -> Result<Module<'_>> {
    parse_with(bytes, &ParseOptions { features, ..Default::default() })
}

/// Reads a module as the options say.
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
        memories: Vec::new(),
        imported_memories: 0,
        tables: 0,
        globals: 0,
        elements: 0,
        imported_tags: 0,
        validated: options.validate,
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
            return Err(Error::at(
                ErrorKind::Unsupported,
                4,
                "components are not supported: instrument the core module before it becomes a component",
            ));
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

/// The sections of a module that is not validated, by id and contents, up to where it is damaged.
pub(crate) fn sections_of(wasm: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = BinaryReader::new(wasm.get(8..).unwrap_or_default(), 8);
    std::iter::from_fn(move || {
        let (id, size) = (reader.read_u8().ok()?, reader.read_var_u32().ok()?);
        Some((id, reader.read_bytes(size as usize).ok()?))
    })
}

/// The contents of the code section.
pub(crate) fn code_of(wasm: &[u8]) -> Option<&[u8]> {
    sections_of(wasm).find(|(id, _)| *id == id::CODE).map(|(_, contents)| contents)
}

impl<'a> Module<'a> {
    /// Walks over all bodies, on every core where the feature `parallel` is on. `first` is the validator's for the first of
    /// them. Reports the error with the lowest offset, so that the message does not depend on the number of threads.
    fn walk_bodies(&mut self, first: &FuncToValidate<ValidatorResources>, options: &ParseOptions) -> Result<()> {
        let runs = crate::parallel::runs(self.bodies.iter().map(|body| body.len as usize));
        let walked = crate::parallel::map(runs, |run| -> Result<Walked> {
            let mut walker = Walker::default();
            for position in run {
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
            let Walked { sites, bodies: found } = walked?;
            let before = self.sites.len() as u32;
            self.sites.extend_from_slice(&sites);
            for (found, body) in found.into_iter().zip(bodies.by_ref()) {
                body.sites_end = before + found.sites_end;
                (body.size, body.exceptions) = (found.size, found.exceptions);
            }
        }
        Ok(())
    }

    /// Keeps what a payload says of the index spaces. The payload has been validated.
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

    /// The module's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The sections, in the order of the file.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The first custom section of that name.
    pub fn custom(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == Some(name))
    }

    /// What the module says of its hooks; `None` without a Manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] where the Manifest is damaged or of a version that is not known.
    pub fn manifest(&self) -> Option<Result<Manifest>> {
        let section = self.custom(MANIFEST_SECTION)?;
        Some(Manifest::decode(&self.bytes[section.data.clone()], section.data.start))
    }

    /// Every custom section of that name, in order.
    pub(crate) fn customs<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Section<'a>> + 's {
        self.sections.iter().filter(move |s| s.name == Some(name))
    }

    /// The section of that id, which is not 0.
    pub(crate) fn section(&self, id: u8) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.id == id)
    }

    /// The imported functions, in order: function index `i` is `imported_funcs()[i]`.
    pub fn imported_funcs(&self) -> &[FuncImport<'a>] {
        &self.imports
    }

    /// Whether it throws or catches exceptions of its own.
    pub fn uses_exceptions(&self) -> bool {
        self.with_exceptions().next().is_some()
    }

    /// How many tables there are, imported ones included.
    pub(crate) fn table_count(&self) -> u32 {
        self.tables
    }

    /// How many globals there are, imported ones included.
    pub(crate) fn global_count(&self) -> u32 {
        self.globals
    }

    /// How many element segments there are.
    pub(crate) fn element_count(&self) -> u32 {
        self.elements
    }

    /// How many imports of every kind there are.
    pub(crate) fn import_count(&self) -> usize {
        self.import_count
    }

    /// Whether bodies have been validated, and not decoded alone.
    pub fn is_validated(&self) -> bool {
        self.validated
    }

    /// How many of the memories are imported.
    #[doc(hidden)]
    pub fn imported_memories(&self) -> u32 {
        self.imported_memories
    }

    /// How many tags are imported.
    pub(crate) fn imported_tags(&self) -> u32 {
        self.imported_tags
    }

    /// Where the contents of the code section begin, if there is one: DWARF's addresses count from there.
    pub fn code_start(&self) -> Option<usize> {
        Some(self.section(id::CODE)?.contents.start)
    }

    /// How many functions there are, imported ones included.
    pub fn func_count(&self) -> u32 {
        self.func_types.len() as u32
    }

    /// The functions that have a body here.
    pub fn defined_funcs(&self) -> impl ExactSizeIterator<Item = FuncIdx> + use<> {
        (self.imports.len() as u32..self.func_count()).map(FuncIdx)
    }

    /// Whether the function has a body here.
    pub fn is_defined(&self, func: FuncIdx) -> bool {
        (self.imports.len() as u32..self.func_count()).contains(&func.0)
    }

    /// Where the body of a defined function lies: from its locals to its last `end`, without the size field.
    pub fn body(&self, func: FuncIdx) -> Range<usize> {
        let body = self.bodies[self.position(func)];
        body.start..body.start + body.len as usize
    }

    /// Where a defined function stands in the code section.
    fn position(&self, func: FuncIdx) -> usize {
        func.0 as usize - self.imports.len()
    }

    /// The places in the body of a defined function where a rewriting may have something to do.
    pub(crate) fn sites(&self, func: FuncIdx) -> Sites<'_> {
        let position = self.position(func);
        let begin = position.checked_sub(1).map_or(0, |before| self.bodies[before].sites_end);
        let body = self.bodies[position];
        Sites::new(&self.sites[begin as usize..body.sites_end as usize], body.start)
    }

    /// How large a defined function is.
    pub fn size(&self, func: FuncIdx) -> Size {
        self.bodies[self.position(func)].size
    }

    /// A reader over the body of a defined function.
    pub fn body_reader(&self, func: FuncIdx) -> FunctionBody<'a> {
        let range = self.body(func);
        FunctionBody::new(self.reader(range))
    }

    /// A reader over a range of the file, with every feature on.
    pub(crate) fn reader(&self, range: Range<usize>) -> BinaryReader<'a> {
        self.reader_under(range, all_features())
    }

    fn reader_under(&self, range: Range<usize>, features: WasmFeatures) -> BinaryReader<'a> {
        BinaryReader::new_features(&self.bytes[range.clone()], range.start, features)
    }

    /// The exported functions, in the order of the export section.
    pub fn exports(&self) -> &[(&'a str, FuncIdx)] {
        &self.exports
    }

    /// The start function.
    pub fn start(&self) -> Option<FuncIdx> {
        self.start
    }

    /// The index of the function's type.
    pub(crate) fn type_index(&self, func: FuncIdx) -> u32 {
        self.func_types[func.0 as usize]
    }

    /// The type of a function.
    pub fn func_type(&self, func: FuncIdx) -> &FuncType {
        match &self.types[self.type_index(func) as usize].composite_type.inner {
            CompositeInnerType::Func(ty) => ty,
            _ => unreachable!("validated: a function has a function type"),
        }
    }

    /// Whether the function's type is `shared` (proposal "shared-everything threads").
    pub(crate) fn is_shared(&self, func: FuncIdx) -> bool {
        self.types[self.type_index(func) as usize].composite_type.shared
    }

    /// Every export; [`Module::exports`] holds the functions among them.
    pub fn all_exports(&self) -> Vec<wasmparser::Export<'a>> {
        let Some(section) = self.section(id::EXPORT) else { return Vec::new() };
        let reader = wasmparser::ExportSectionReader::new(self.reader(section.contents.clone()));
        reader.expect("validated: there is a count").into_iter().map(|e| e.expect("validated: an export")).collect()
    }

    /// Every type with the size of its recursion group.
    pub(crate) fn types(&self) -> impl ExactSizeIterator<Item = (&SubType, u32)> {
        self.types.iter().zip(self.group_sizes.iter().copied())
    }

    /// The functions that throw or catch exceptions, with how they do.
    pub(crate) fn with_exceptions(&self) -> impl Iterator<Item = (FuncIdx, Exceptions)> {
        let all = self.defined_funcs().zip(&self.bodies).map(|(func, body)| (func, body.exceptions));
        all.filter(|(_, exceptions)| exceptions.any)
    }

    /// What a defined function has to do with exceptions.
    pub(crate) fn exceptions(&self, func: FuncIdx) -> Exceptions {
        self.bodies[self.position(func)].exceptions
    }

    /// The memories, imported ones first.
    pub(crate) fn memories(&self) -> &[wasmparser::MemoryType] {
        &self.memories
    }
}
