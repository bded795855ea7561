//! Components as trees of sections and items, which can be changed and written again. The reader is not that of the
//! compiler: it copies bytes, and knows no index.

use wasmparser::{
    BinaryReader, CanonicalFunction, ComponentAlias, ComponentExport, ComponentImport, ComponentInstance,
    ComponentType, CoreType, FromReader, Instance, SectionLimited, WasmFeatures,
};

/// The ids of sections (Component Model, "Binary Format").
pub(super) mod id {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const MODULE: u8 = 1;
    pub(crate) const CORE_INSTANCE: u8 = 2;
    pub(crate) const COMPONENT: u8 = 4;
    pub(crate) const INSTANCE: u8 = 5;
    pub(crate) const EXPORT: u8 = 11;
}

/// A component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    header: Vec<u8>,
    pub(super) sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// A list of items.
    Items {
        id: u8,
        items: Vec<Vec<u8>>,
    },
    Module(Vec<u8>),
    Component(Tree),
    /// A custom section, or `start`.
    Other {
        id: u8,
        contents: Vec<u8>,
    },
}

impl Tree {
    /// A component without sections.
    pub(super) fn new(sections: Vec<Section>) -> Tree {
        Tree { header: b"\0asm\x0d\0\x01\0".to_vec(), sections }
    }

    /// Reads a component; `None` if it is damaged.
    pub(super) fn parse(wasm: &[u8]) -> Option<Tree> {
        let mut reader = reader(wasm);
        let header = reader.read_bytes(8).ok()?.to_vec();
        let mut sections = Vec::new();
        while !reader.eof() {
            let (id, size) = (reader.read_u8().ok()?, reader.read_var_u32().ok()?);
            sections.push(Section::parse(id, reader.read_bytes(size as usize).ok()?)?);
        }
        Some(Tree { header, sections })
    }

    /// The bytes of the component. `width` is the least number of bytes of a section's size.
    pub(super) fn encode(&self, width: usize) -> Vec<u8> {
        let mut out = self.header.clone();
        for section in &self.sections {
            let (id, contents) = match section {
                Section::Items { id, items } => (*id, list(items)),
                Section::Module(bytes) => (id::MODULE, bytes.clone()),
                Section::Component(tree) => (id::COMPONENT, tree.encode(width)),
                Section::Other { id, contents } => (*id, contents.clone()),
            };
            out.push(id);
            number(contents.len(), width, &mut out);
            out.extend(contents);
        }
        out
    }

    /// Roughly the size in bytes.
    pub(super) fn size(&self) -> usize {
        let size = |section: &Section| match section {
            Section::Items { items, .. } => items.iter().map(Vec::len).sum(),
            Section::Module(bytes) => bytes.len(),
            Section::Component(tree) => tree.size(),
            Section::Other { contents, .. } => contents.len(),
        };
        self.sections.iter().map(size).sum()
    }

    /// The number of components in the tree, with the root.
    pub(super) fn components(&self) -> usize {
        let nested = |section: &Section| if let Section::Component(tree) = section { tree.components() } else { 0 };
        1 + self.sections.iter().map(nested).sum::<usize>()
    }

    /// The component at that position, of those that [`Tree::components`] counts.
    pub(super) fn component(&mut self, at: usize) -> &mut Tree {
        let Some(mut left) = at.checked_sub(1) else { return self };
        for section in &mut self.sections {
            if let Section::Component(tree) = section {
                let within = tree.components();
                if left < within {
                    return tree.component(left);
                }
                left -= within;
            }
        }
        panic!("there are not so many components")
    }

    /// The number of sections with core modules or components, but not in nested components.
    pub(super) fn definitions(&self, of_modules: bool) -> usize {
        let is_one = |section: &&Section| match section {
            Section::Module(_) => of_modules,
            Section::Component(_) => !of_modules,
            _ => false,
        };
        self.sections.iter().filter(is_one).count()
    }
}

impl Section {
    fn parse(id: u8, contents: &[u8]) -> Option<Section> {
        let items = match id {
            id::MODULE => return Some(Section::Module(contents.to_vec())),
            id::COMPONENT => return Tree::parse(contents).map(Section::Component),
            id::CORE_INSTANCE => items::<Instance<'_>>(contents)?,
            3 => items::<CoreType<'_>>(contents)?,
            id::INSTANCE => items::<ComponentInstance<'_>>(contents)?,
            6 => items::<ComponentAlias<'_>>(contents)?,
            7 => items::<ComponentType<'_>>(contents)?,
            8 => items::<CanonicalFunction>(contents)?,
            10 => items::<ComponentImport<'_>>(contents)?,
            id::EXPORT => items::<ComponentExport<'_>>(contents)?,
            _ => return Some(Section::Other { id, contents: contents.to_vec() }),
        };
        Some(Section::Items { id, items })
    }
}

fn reader(bytes: &[u8]) -> BinaryReader<'_> {
    BinaryReader::new_features(bytes, 0, WasmFeatures::all())
}

fn items<'a, T: FromReader<'a>>(contents: &'a [u8]) -> Option<Vec<Vec<u8>>> {
    let section = SectionLimited::<T>::new(reader(contents)).ok()?;
    let starts = section.into_iter_with_offsets().map(|item| item.ok().map(|(offset, _)| offset));
    let mut bounds: Vec<usize> = starts.collect::<Option<_>>()?;
    bounds.push(contents.len());
    Some(bounds.windows(2).map(|bounds| contents[bounds[0]..bounds[1]].to_vec()).collect())
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    number(items.len(), 1, &mut out);
    out.extend(items.concat());
    out
}

/// Writes an unsigned LEB128 of at least that width.
pub(super) fn number(mut value: usize, width: usize, out: &mut Vec<u8>) {
    for at in 1.. {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 && at >= width.min(5) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
