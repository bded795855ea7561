//! Assembles the output from sections. Unchanged sections are copied.

use wasm_encoder::Encode;

use super::code::{Code, code_count};
use super::output::Output;
use super::splice::{self, SectionEdit, Widths, write_leb};
use crate::module::order::{stands_before_created, stands_behind};
use crate::module::{Section, id};
use crate::relocate::patch::Patches;
use crate::relocate::{Relocated, Relocation, describes_original, encoded, names, producers};
use crate::restore::{Restore, SectionChange};
use crate::rewrite::layout::Layout;
use crate::warning::{Warned, Warning, WarningKind};
use wasmtrace_abi::error::Result;
use wasmtrace_abi::manifest::MANIFEST_SECTION;

/// The output without its Manifest.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) output: Output,
    /// The data that `strip` needs.
    pub(super) restore: Restore,
}

/// Assembles the output without the Manifest, and collects the data that `strip` needs.
pub(super) fn assemble(
    layout: &Layout,
    relocation: &mut Relocation<'_, '_>,
    code: &Code<'_, '_>,
    keeps_restore: bool,
) -> Result<Warned<Assembled>> {
    let module = relocation.module;
    let file = module.bytes();
    let mut out = Output::default();
    out.input(0..8);
    let trampolines = layout.func_map.trampolines.clone();
    let entries = |id: u8| layout.appended.get(&id).map_or(0, |growth| growth.entries as u32);
    let exit_guard = layout.exit_guard.as_ref();
    let exit_guard = exit_guard.map(|_| (entries(id::FUNCTION) - trampolines.len() as u32, entries(id::ELEMENT)));
    let types_appended = entries(id::TYPE);
    let bodies = code.restore.clone();
    let mut restore =
        Restore { types_appended, wrapper: layout.wrapper, trampolines, exit_guard, bodies, ..Default::default() };
    let (mut seen_names, mut seen_producers) = (false, false);
    let created = layout.created(module);
    let nothing = SectionEdit::default();
    let (mut stale, mut warnings) = (Vec::new(), Vec::new());

    for section in module.sections() {
        if !seen_names && stands_before_created(module, section, "name") {
            write_names(relocation, &mut out, &mut restore);
            seen_names = true;
        }
        if !seen_producers && stands_before_created(module, section, "producers") {
            write_producers(&mut out, &mut restore);
            seen_producers = true;
        }
        let growth = layout.appended.get(&section.id).unwrap_or(&nothing);
        let change = if let Some(name) = section.name {
            match relocation.relocate(section, seen_names, out.code_start()).tell(&mut warnings) {
                Relocated::Raw => {
                    if describes_original(name) {
                        stale.push(name);
                    }
                    copy(section, &mut out)
                }
                Relocated::Names(data) => edited(section, [encoded(name.as_bytes()), data], Vec::new(), &mut out),
                Relocated::Data(data) => {
                    edited(section, [encoded(name.as_bytes()), data], Vec::new(), &mut out);
                    SectionChange::Replaced(file[section.whole.clone()].to_vec())
                }
                Relocated::Patched(patches) => patched(file, section, patches, keeps_restore, &mut out),
                Relocated::Dropped => SectionChange::Dropped(file[section.whole.clone()].to_vec()),
            }
        } else if section.id == id::CODE {
            write_code(file, section, code, &mut out)
        } else if growth.entries != 0 || splice::holds_indices(section.id) {
            let (contents, widths) =
                splice::section(file, section, &|f| layout.func_map.reference(f), growth, Widths::Note(Vec::new()))?;
            if contents == file[section.contents.clone()] {
                copy(section, &mut out)
            } else {
                edited(section, [Vec::new(), contents], widths.into_noted(), &mut out)
            }
        } else {
            copy(section, &mut out)
        };
        restore.changes.push(change);
        seen_names |= section.name == Some("name");
        seen_producers |= section.name == Some("producers");

        for (new, contents) in &created {
            if section.id != id::CUSTOM && stands_behind(module, section, *new) {
                write_section(*new, [Vec::new(), contents.clone()], &mut out);
                restore.changes.push(SectionChange::Created);
            }
        }
    }
    for (name, url) in relocation.links.named().filter(|(name, _)| module.custom(name).is_none()) {
        write_custom(name, encoded(url.as_bytes()), &mut out);
        restore.changes.push(SectionChange::Created);
    }
    if !seen_names {
        write_names(relocation, &mut out, &mut restore);
    }
    if !seen_producers {
        write_producers(&mut out, &mut restore);
    }
    if !stale.is_empty() {
        warnings.push(Warning::new(
            WarningKind::StaleDebugInfo,
            format!(
                "debug information ({}) is copied as it is: its addresses describe the original, not the instrumented module",
                stale.join(", ")
            ),
        ));
    }
    Ok(Warned { value: Assembled { output: out, restore }, warnings })
}

/// Writes a `name` section for a module that has none.
fn write_names(relocation: &Relocation<'_, '_>, out: &mut Output, restore: &mut Restore) {
    write_custom("name", names::relocate(relocation.module, &relocation.naming, None), out);
    restore.changes.push(SectionChange::Created);
}

/// Writes a `producers` section for a module that has none.
fn write_producers(out: &mut Output, restore: &mut Restore) {
    write_custom("producers", producers::only_us(producers::VERSION), out);
    restore.changes.push(SectionChange::Created);
}

/// Appends the Manifest, which is the last section.
pub(super) fn add_manifest(manifest: Vec<u8>, out: &mut Output) {
    write_custom(MANIFEST_SECTION, manifest, out);
}

fn copy(section: &Section<'_>, out: &mut Output) -> SectionChange {
    out.input(section.whole.clone());
    SectionChange::Kept
}

/// Writes a changed section. The width of its size field follows the rule for numbers, with ordinal 0.
fn edited(section: &Section<'_>, contents: [Vec<u8>; 2], noted: Vec<(u32, u8)>, out: &mut Output) -> SectionChange {
    let mut widths = Widths::Note(noted);
    out.bytes(header(section, contents.iter().map(Vec::len).sum(), &mut widths));
    contents.into_iter().for_each(|part| out.bytes(part));
    let mut noted = widths.into_noted();
    noted.sort_unstable();
    SectionChange::Edited(noted)
}

/// Writes a section with patched data. The name of the section is copied.
fn patched(file: &[u8], section: &Section<'_>, patches: Patches, restore: bool, out: &mut Output) -> SectionChange {
    let data = &file[section.data.clone()];
    let name = section.contents.start..section.data.start;
    let mut widths = Widths::Note(Vec::new());
    let length = patches.new_length(data.len());
    out.bytes(header(section, name.len() + length, &mut widths));
    out.input(name);
    let script = if restore { patches.script(data) } else { Vec::new() };
    out.patched(section.data.clone(), patches, length);
    SectionChange::Patched(widths.into_noted(), script)
}

/// The id and size of a section.
fn header(section: &Section<'_>, size: usize, widths: &mut Widths<'_>) -> Vec<u8> {
    let width = (section.contents.start - section.whole.start - 1) as u8;
    let width = widths.of(0, section.contents.len() as u32, width, size as u32);
    let mut header = vec![section.id];
    write_leb(&mut header, size as u32, width);
    header
}

/// Writes the code section. Its size has ordinal 0, and its count has ordinal 1.
fn write_code(file: &[u8], section: &Section<'_>, code: &Code<'_, '_>, out: &mut Output) -> SectionChange {
    let mut reader = wasmparser::BinaryReader::new(&file[section.contents.clone()], section.contents.start);
    let count = reader.read_var_u32().expect("validated: the code section has a count");
    let width = (reader.original_position() - section.contents.start) as u8;
    let mut widths = Widths::Note(Vec::new());
    let (new_count, new_width) = code_count(count as usize, width, code.appended.len(), &mut widths);
    let length = code.len();
    let header = header(section, new_width as usize + length, &mut widths);
    let mut count = Vec::new();
    write_leb(&mut count, new_count, new_width);
    out.code(header, count, length);
    let mut noted = widths.into_noted();
    noted.sort_unstable();
    SectionChange::Edited(noted)
}

fn write_custom(name: &str, data: Vec<u8>, out: &mut Output) {
    write_section(id::CUSTOM, [encoded(name.as_bytes()), data], out);
}

fn write_section(id: u8, contents: [Vec<u8>; 2], out: &mut Output) {
    let mut header = vec![id];
    contents.iter().map(Vec::len).sum::<usize>().encode(&mut header);
    out.bytes(header);
    contents.into_iter().for_each(|part| out.bytes(part));
}
