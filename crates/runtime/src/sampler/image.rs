//! The compiled image of a module or a component.

#![expect(unsafe_code, reason = "reads the image")]

use super::super::compiled::Compiled;

/// The map from machine code to offsets in the file that was compiled, in the format that
/// `wasmtime_environ::lookup_file_pos` reads.
pub(crate) fn address_map(compiled: &Compiled) -> Option<&[u8]> {
    let image = compiled.image_range();
    let length = image.end.addr() - image.start.addr();
    // SAFETY: the image stays mapped while the module or component, which is borrowed, exists, and is never written.
    let image = unsafe { std::slice::from_raw_parts(image.start, length) };
    section(image)
}

/// The section of a compiled image that maps addresses.
fn section(image: &[u8]) -> Option<&[u8]> {
    use wasmtime_environ::object::{Object, ObjectSection};
    let elf = wasmtime_environ::object::File::parse(image).ok()?;
    elf.section_by_name(wasmtime_environ::obj::ELF_WASMTIME_ADDRMAP)?.data().ok()
}
