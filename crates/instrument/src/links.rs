//! Custom sections that link a module to its sidecar files, and the section that identifies a build.

use wasmparser::BinaryReader;
use wasmtrace_abi::manifest::MANIFEST_SECTION;

use crate::module::{Module, id, sections_of};

/// Name of the custom section with the URL of a source map.
pub const SOURCE_MAP: &str = "sourceMappingURL";
/// Name of the custom section with the URL of a module that contains the debug information.
pub const DEBUG_FILE: &str = "external_debug_info";
/// Name of the custom section that identifies a build.
pub const BUILD_ID: &str = "build_id";

/// End of the warnings about a removed link.
pub(crate) const LINK_LEFT_OUT: &str = "the link to it is removed";

/// How a section that links to a sidecar file is written.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// It is removed.
    Gone,
    /// It links to this URL.
    Named(String),
    /// It contains the file itself in a `data:` URL.
    Within,
}

/// How both links are written.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) source_map: Link,
    pub(crate) debug_file: Link,
}

impl Links {
    /// The link sections of the output, with their URLs.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let links = [(SOURCE_MAP, &self.source_map), (DEBUG_FILE, &self.debug_file)];
        links.into_iter().filter_map(|(section, link)| match link {
            Link::Named(url) => Some((section, url.as_str())),
            Link::Gone | Link::Within => None,
        })
    }
}

/// The URL in the first section with that name.
pub fn named_by<'a>(module: &Module<'a>, section: &str) -> Option<&'a str> {
    let mut reader = module.reader(module.custom(section)?.data.clone());
    let url = reader.read_unlimited_string().ok()?;
    reader.eof().then_some(url)
}

/// The URL in the first section with that name, of a module that was not parsed and may be damaged.
pub fn named_in<'a>(wasm: &'a [u8], section: &str) -> Option<&'a str> {
    let mut reader = BinaryReader::new(custom_of(wasm, section)?, 0);
    let url = reader.read_unlimited_string().ok()?;
    reader.eof().then_some(url)
}

/// Whether a module that was not parsed contains a Manifest.
pub fn is_hooked_by_us(wasm: &[u8]) -> bool {
    custom_of(wasm, MANIFEST_SECTION).is_some()
}

/// The data of the first custom section with that name.
fn custom_of<'a>(wasm: &'a [u8], name: &str) -> Option<&'a [u8]> {
    sections_of(wasm).filter(|(id, _)| *id == id::CUSTOM).find_map(|(_, contents)| {
        let mut reader = BinaryReader::new(contents, 0);
        (reader.read_string().ok()? == name).then(|| &contents[reader.original_position()..])
    })
}

/// The `build_id` of a module (tool-conventions, "Build ID").
pub fn build_id<'a>(module: &Module<'a>) -> Option<&'a [u8]> {
    let mut reader = module.reader(module.custom(BUILD_ID)?.data.clone());
    let length = reader.read_var_u32().ok()?;
    let id = reader.read_bytes(length as usize).ok()?;
    reader.eof().then_some(id)
}
