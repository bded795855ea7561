//! The first stage of the compiler: parses bytes into a [`Module`] and validates them once.
//!
//! A `Module` is not an intermediate representation. It knows the offsets of sections and bodies, the types of
//! functions, and which functions are imported or exported; everything else stays bytes to be copied. Later stages rely
//! on a valid input and use `expect("validated: …")`.

use std::ops::Range;

use wasmparser::{BinaryReader, CompositeInnerType, FuncType, FunctionBody, SubType, WasmFeatures};

pub(crate) mod names;
pub(crate) mod order;
mod parse;
mod usage;
mod walk;

pub use parse::{ParseOptions, parse, parse_under, parse_with};
pub use walk::Size;
pub(crate) use walk::{Exceptions, NEAR, Site, Sites};

/// An index in a module's function index space. Imported functions come first, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FuncIdx(pub u32);

/// Section ids used in this crate (core specification, binary format, "Modules").
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

/// A section of a module.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    /// The section's id; 0 for a custom section.
    pub id: u8,
    /// The name of a custom section.
    pub name: Option<&'a str>,
    /// The whole section as offsets in the file: id, size and contents.
    pub whole: Range<usize>,
    /// The contents after the size field, as offsets in the file. For a custom section they begin with its name.
    pub contents: Range<usize>,
    /// The contents after a custom section's name; for other sections the same as `contents`.
    pub data: Range<usize>,
}

/// An imported function.
#[derive(Debug, Clone, Copy)]
pub struct FuncImport<'a> {
    /// The module name of the import.
    pub module: &'a str,
    /// The field name of the import.
    pub name: &'a str,
    /// The index of the function's type.
    pub ty: u32,
}

/// A parsed and validated module, borrowed from its bytes. Created by [`parse`].
#[derive(Debug)]
pub struct Module<'a> {
    bytes: &'a [u8],
    sections: Vec<Section<'a>>,
    types: Vec<SubType>,
    /// For each type, the number of types in its recursion group.
    group_sizes: Vec<u32>,
    imports: Vec<FuncImport<'a>>,
    import_count: usize,
    /// The type index of every function, imported functions first.
    func_types: Vec<u32>,
    exports: Vec<(&'a str, FuncIdx)>,
    bodies: Vec<Body>,
    /// The encoded sites of all bodies.
    sites: Vec<u8>,
    /// What features may forbid in bodies; `None` if they were not validated.
    usage: Option<usage::Usage>,
    memories: Vec<wasmparser::MemoryType>,
    imported_memories: u32,
    tables: u32,
    globals: u32,
    elements: u32,
    imported_tags: u32,
    start: Option<FuncIdx>,
}

/// A function body: its position and the results of the walk.
#[derive(Debug, Clone, Copy)]
struct Body {
    start: usize,
    len: u32,
    /// End of its sites; they begin at the end of the previous body's.
    sites_end: u32,
    size: Size,
    exceptions: Exceptions,
}

/// All features that wasmparser supports. This compiler does not restrict features.
pub(crate) fn all_features() -> WasmFeatures {
    WasmFeatures::all()
}

/// The sections of a module that was not validated, as ids and contents, up to the first damage.
pub(crate) fn sections_of(wasm: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = BinaryReader::new(wasm.get(8..).unwrap_or_default(), 8);
    std::iter::from_fn(move || {
        let (id, size) = (reader.read_u8().ok()?, reader.read_var_u32().ok()?);
        Some((id, reader.read_bytes(size as usize).ok()?))
    })
}

/// The contents of the code section, of a module that was not validated.
pub(crate) fn code_of(wasm: &[u8]) -> Option<&[u8]> {
    sections_of(wasm).find(|(id, _)| *id == id::CODE).map(|(_, contents)| contents)
}

impl<'a> Module<'a> {
    /// The bytes of the module.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The sections in file order.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The first custom section with that name.
    pub fn custom(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == Some(name))
    }

    /// All custom sections with that name, in order.
    pub(crate) fn customs<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Section<'a>> + 's {
        self.sections.iter().filter(move |s| s.name == Some(name))
    }

    /// The section with that id, which must not be 0.
    pub(crate) fn section(&self, id: u8) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.id == id)
    }

    /// The imported functions, in order: function index `i` is `imported_funcs()[i]`.
    pub fn imported_funcs(&self) -> &[FuncImport<'a>] {
        &self.imports
    }

    /// Whether the module throws or catches exceptions.
    #[doc(hidden)]
    pub fn uses_exceptions(&self) -> bool {
        self.with_exceptions().next().is_some()
    }

    /// Number of tables, including imported ones.
    pub(crate) fn table_count(&self) -> u32 {
        self.tables
    }

    /// Number of globals, including imported ones.
    pub(crate) fn global_count(&self) -> u32 {
        self.globals
    }

    /// Number of element segments.
    pub(crate) fn element_count(&self) -> u32 {
        self.elements
    }

    /// Number of imports of all kinds.
    pub(crate) fn import_count(&self) -> usize {
        self.import_count
    }

    /// Number of imported memories.
    #[doc(hidden)]
    pub fn imported_memories(&self) -> u32 {
        self.imported_memories
    }

    /// Number of imported tags.
    pub(crate) fn imported_tags(&self) -> u32 {
        self.imported_tags
    }

    /// Offset of the code section's contents, from which DWARF addresses count. `None` without a code section.
    pub fn code_start(&self) -> Option<usize> {
        Some(self.section(id::CODE)?.contents.start)
    }

    /// Number of functions, including imported ones.
    pub fn func_count(&self) -> u32 {
        self.func_types.len() as u32
    }

    /// The functions with a body in this module.
    pub fn defined_funcs(&self) -> impl ExactSizeIterator<Item = FuncIdx> + use<> {
        (self.imports.len() as u32..self.func_count()).map(FuncIdx)
    }

    /// Whether the function has a body in this module.
    pub fn is_defined(&self, func: FuncIdx) -> bool {
        (self.imports.len() as u32..self.func_count()).contains(&func.0)
    }

    /// The body of a defined function as offsets in the file: from its locals to its last `end`, without the size
    /// field.
    pub fn body(&self, func: FuncIdx) -> Range<usize> {
        let body = self.bodies[self.position(func)];
        body.start..body.start + body.len as usize
    }

    /// The position of a defined function in the code section.
    fn position(&self, func: FuncIdx) -> usize {
        func.0 as usize - self.imports.len()
    }

    /// The sites in the body of a defined function: places where the rewriting may insert or change code.
    pub(crate) fn sites(&self, func: FuncIdx) -> Sites<'_> {
        let position = self.position(func);
        let begin = position.checked_sub(1).map_or(0, |before| self.bodies[before].sites_end);
        let body = self.bodies[position];
        Sites::new(&self.sites[begin as usize..body.sites_end as usize], body.start)
    }

    /// Functions whose bodies are valid under some features only if all bodies are. `None` if bodies were not validated.
    pub(crate) fn bodies_for_features(&self) -> Option<Vec<FuncIdx>> {
        let first = self.imports.len() as u32;
        Some(self.usage.as_ref()?.bodies().into_iter().map(|position| FuncIdx(first + position)).collect())
    }

    /// Whether a body contains `ref.func`.
    pub(crate) fn refers_to_functions(&self) -> bool {
        self.usage.as_ref().is_none_or(usage::Usage::refers_to_functions)
    }

    /// The size of a defined function.
    pub fn size(&self, func: FuncIdx) -> Size {
        self.bodies[self.position(func)].size
    }

    /// A reader for the body of a defined function.
    #[doc(hidden)]
    pub fn body_reader(&self, func: FuncIdx) -> FunctionBody<'a> {
        let range = self.body(func);
        FunctionBody::new(self.reader(range))
    }

    /// A reader for a range of the file, with all features enabled.
    pub(crate) fn reader(&self, range: Range<usize>) -> BinaryReader<'a> {
        self.reader_under(range, all_features())
    }

    /// A reader for a range of the file, with these features.
    pub(crate) fn reader_under(&self, range: Range<usize>, features: WasmFeatures) -> BinaryReader<'a> {
        BinaryReader::new_features(&self.bytes[range.clone()], range.start, features)
    }

    /// The exported functions with their names, in the order of the export section.
    pub fn exports(&self) -> &[(&'a str, FuncIdx)] {
        &self.exports
    }

    /// The start function, if the module has one.
    pub fn start(&self) -> Option<FuncIdx> {
        self.start
    }

    /// The type index of a function.
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

    /// All exports. [`Module::exports`] returns the functions among them.
    #[doc(hidden)]
    pub fn all_exports(&self) -> Vec<wasmparser::Export<'a>> {
        let Some(section) = self.section(id::EXPORT) else { return Vec::new() };
        let reader = wasmparser::ExportSectionReader::new(self.reader(section.contents.clone()));
        reader.expect("validated: there is a count").into_iter().map(|e| e.expect("validated: an export")).collect()
    }

    /// All imports.
    #[doc(hidden)]
    pub fn all_imports(&self) -> Vec<wasmparser::Import<'a>> {
        let Some(section) = self.section(id::IMPORT) else { return Vec::new() };
        let reader = wasmparser::ImportSectionReader::new(self.reader(section.contents.clone()));
        let imports = reader.expect("validated: there is a count").into_imports();
        imports.map(|import| import.expect("validated: an import")).collect()
    }

    /// All types, each with the size of its recursion group.
    pub(crate) fn types(&self) -> impl ExactSizeIterator<Item = (&SubType, u32)> {
        self.types.iter().zip(self.group_sizes.iter().copied())
    }

    /// The functions that throw or catch exceptions.
    pub(crate) fn with_exceptions(&self) -> impl Iterator<Item = (FuncIdx, Exceptions)> {
        let all = self.defined_funcs().zip(&self.bodies).map(|(func, body)| (func, body.exceptions));
        all.filter(|(_, exceptions)| exceptions.any)
    }

    /// How a defined function uses exceptions.
    pub(crate) fn exceptions(&self, func: FuncIdx) -> Exceptions {
        self.bodies[self.position(func)].exceptions
    }

    /// The memories, imported ones first.
    pub(crate) fn memories(&self) -> &[wasmparser::MemoryType] {
        &self.memories
    }
}
