//! Sections → the module: what does not change is copied, in place.

use wasm_encoder::Encode;

use super::splice::{self, Growth, Widths, write_leb};
use super::{Code, Layout, Options};
use crate::debug::patch::Patches;
use crate::debug::{Carried, Carrying, describes_original, encoded, names, producers};
use crate::error::Result;
use crate::hook::{Fate, MANIFEST_SECTION, Manifest, Restore};
use crate::module::{Module, Section, id};

/// Writes everything but the Manifest, and notes what taking the hooks out again will need.
pub(super) fn assemble(
    layout: &Layout,
    carrying: &mut Carrying<'_, '_>,
    code: Code,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<(Vec<u8>, Option<Restore>)> {
    let module = carrying.module;
    let file = module.bytes();
    let bodies: usize = code.bodies.iter().map(|body| body.bytes.len()).sum();
    let more_code = bodies.saturating_sub(module.section(id::CODE).map_or(0, |code| code.contents.len()));
    let mut out = Vec::with_capacity(file.len() + more_code + file.len() / 8 + 4096);
    out.extend_from_slice(&file[..8]);
    let shims = layout.shift.shims.clone();
    let entries = |id: u8| layout.appended.get(&id).map_or(0, |growth| growth.entries as u32);
    let balance = layout.balance.as_ref();
    let balance = balance.map(|_| (entries(id::FUNCTION) - shims.len() as u32, entries(id::ELEMENT)));
    let types_appended = entries(id::TYPE);
    let mut restore = Restore { types_appended, wrapper: layout.wrapper, shims, balance, ..Default::default() };
    let mut code = Some(code);
    let (mut seen_names, mut seen_producers) = (false, false);
    let created = layout.created(module);
    let nothing = Growth::default();
    let mut stale = Vec::new();

    for section in module.sections() {
        let growth = layout.appended.get(&section.id).unwrap_or(&nothing);
        let fate = if let Some(name) = section.name {
            match carrying.carry(section, seen_names, warnings) {
                Carried::Raw => {
                    if describes_original(name) {
                        stale.push(name);
                    }
                    copy(file, section, &mut out)
                }
                Carried::Names(data) => edited(section, custom_contents(name, &data), Vec::new(), &mut out),
                Carried::Data(data) => {
                    edited(section, custom_contents(name, &data), Vec::new(), &mut out);
                    Fate::Replaced(file[section.whole.clone()].to_vec())
                }
                Carried::Patched(patches) => patched(file, section, &patches, options.restore, &mut out),
                Carried::Dropped => Fate::Dropped(file[section.whole.clone()].to_vec()),
            }
        } else if section.id == id::CODE {
            let code = code.take().expect("a module has one code section");
            let size = out.len();
            let fate = write_code(file, section, code, &mut restore, &mut out);
            carrying.code_start = contents_start(&out[size..]).map(|start| size + start);
            fate
        } else if growth.entries != 0 || splice::holds_indices(section.id) {
            let (contents, widths) =
                splice::section(file, section, &|f| layout.shift.reference(f), growth, Widths::Note(Vec::new()))?;
            if contents == file[section.contents.clone()] {
                copy(file, section, &mut out)
            } else {
                edited(section, contents, widths.into_noted(), &mut out)
            }
        } else {
            copy(file, section, &mut out)
        };
        restore.fates.push(fate);
        seen_names |= section.name == Some("name");
        seen_producers |= section.name == Some("producers");

        for (new, contents) in &created {
            if section.id != id::CUSTOM && stands_behind(module, section, *new) {
                write_section(*new, contents, &mut out);
                restore.fates.push(Fate::Created);
            }
        }
    }
    for (name, url) in carrying.links.named().filter(|(name, _)| module.custom(name).is_none()) {
        write_section(id::CUSTOM, &custom_contents(name, &encoded(url.as_bytes())), &mut out);
        restore.fates.push(Fate::Created);
    }
    if !seen_names {
        write_section(id::CUSTOM, &custom_contents("name", &names::carry(carrying, None)), &mut out);
        restore.fates.push(Fate::Created);
    }
    if !seen_producers {
        write_section(id::CUSTOM, &custom_contents("producers", &producers::only_us()), &mut out);
        restore.fates.push(Fate::Created);
    }
    if !stale.is_empty() {
        warnings.push(format!(
            "debug information ({}) is copied as it is: its addresses describe the original, not the hooked module",
            stale.join(", ")
        ));
    }
    Ok((out, options.restore.then_some(restore)))
}

/// How many bytes of a section are its id and its size.
fn contents_start(section: &[u8]) -> Option<usize> {
    Some(1 + section.get(1..)?.iter().position(|byte| byte & 0x80 == 0)? + 1)
}

/// The finished module: the Manifest stands at the end.
pub(super) fn with_manifest(mut wasm: Vec<u8>, manifest: &Manifest) -> Vec<u8> {
    write_section(id::CUSTOM, &custom_contents(MANIFEST_SECTION, &manifest.encode()), &mut wasm);
    wasm
}

/// Whether a new section of that id comes right behind this one: the last of those that come before it in a module.
fn stands_behind(module: &Module<'_>, section: &Section<'_>, new: u8) -> bool {
    const ORDER: [u8; 13] = [
        id::TYPE,
        id::IMPORT,
        id::FUNCTION,
        id::TABLE,
        id::MEMORY,
        id::TAG,
        id::GLOBAL,
        id::EXPORT,
        id::START,
        id::ELEMENT,
        id::DATA_COUNT,
        id::CODE,
        id::DATA,
    ];
    let place = |id: u8| ORDER.iter().position(|o| *o == id);
    let before = module.sections().iter().rfind(|s| s.id != id::CUSTOM && place(s.id) < place(new));
    before.is_some_and(|before| before.whole == section.whole)
}

fn copy(file: &[u8], section: &Section<'_>, out: &mut Vec<u8>) -> Fate {
    out.extend_from_slice(&file[section.whole.clone()]);
    Fate::Kept
}

/// Writes a changed section; its size field follows the rule for numbers, with ordinal 0.
fn edited(section: &Section<'_>, contents: Vec<u8>, noted: Vec<(u32, u8)>, out: &mut Vec<u8>) -> Fate {
    let mut widths = Widths::Note(noted);
    write_header(section, contents.len(), &mut widths, out);
    out.extend_from_slice(&contents);
    let mut noted = widths.into_noted();
    noted.sort_unstable();
    Fate::Edited(noted)
}

/// Writes a section whose data is patched, behind its name as it stands.
fn patched(file: &[u8], section: &Section<'_>, patches: &Patches, restore: bool, out: &mut Vec<u8>) -> Fate {
    let data = &file[section.data.clone()];
    let name = &file[section.contents.start..section.data.start];
    let mut widths = Widths::Note(Vec::new());
    write_header(section, name.len() + patches.new_length(data.len()), &mut widths, out);
    out.extend_from_slice(name);
    patches.apply_to(data, out);
    Fate::Patched(widths.into_noted(), if restore { patches.script(data) } else { Vec::new() })
}

fn write_header(section: &Section<'_>, size: usize, widths: &mut Widths<'_>, out: &mut Vec<u8>) {
    let width = (section.contents.start - section.whole.start - 1) as u8;
    let width = widths.of(0, section.contents.len() as u32, width, size as u32);
    out.push(section.id);
    write_leb(out, size as u32, width);
}

/// The code section: its size is the number of ordinal 0, its count that of ordinal 1.
fn write_code(file: &[u8], section: &Section<'_>, code: Code, restore: &mut Restore, out: &mut Vec<u8>) -> Fate {
    let mut reader = wasmparser::BinaryReader::new(&file[section.contents.clone()], section.contents.start);
    let count = reader.read_var_u32().expect("validated: the code section has a count");
    let width = (reader.original_position() - section.contents.start) as u8;
    let mut widths = Widths::Note(Vec::new());
    let (new_count, new_width) = code_count(count as usize, width, code.shims.len(), &mut widths);
    let bodies = code.bodies.iter().map(|b| b.bytes.len()).chain(code.shims.iter().map(Vec::len));
    let size = new_width as usize + bodies.sum::<usize>();
    write_header(section, size, &mut widths, out);
    write_leb(out, new_count, new_width);
    for (position, body) in code.bodies.into_iter().enumerate() {
        out.extend_from_slice(&body.bytes);
        if !body.restore.is_empty() {
            restore.bodies.push((position as u32, body.restore));
        }
    }
    code.shims.iter().for_each(|shim| out.extend_from_slice(shim));
    let mut noted = widths.into_noted();
    noted.sort_unstable();
    Fate::Edited(noted)
}

/// The code section's count with the shims in it, and its width: the number of ordinal 1, if there are any.
pub(super) fn code_count(count: usize, width: u8, shims: usize, widths: &mut Widths<'_>) -> (u32, u8) {
    let new = (count + shims) as u32;
    (new, if shims == 0 { width } else { widths.of(1, count as u32, width, new) })
}

/// A custom section's contents: its name, then its data.
fn custom_contents(name: &str, data: &[u8]) -> Vec<u8> {
    let mut contents = Vec::with_capacity(name.len() + data.len() + 2);
    name.encode(&mut contents);
    contents.extend_from_slice(data);
    contents
}

fn write_section(id: u8, contents: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    contents.encode(out);
}
