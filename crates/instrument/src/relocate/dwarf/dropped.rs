//! Dropping a unit that cannot be relocated, without moving anything: its space stays, and contains one empty entry
//! with an additional abbreviation.

use super::abbrev::{Abbrevs, Encoding, Step, dw};
use super::cursor::Cursor;
use super::headers::Header;
use super::sections::{Name, Sections};
use crate::relocate::patch::Patches;
use wasmtrace_abi::text::printable;

/// The abbreviations of dropped units: an entry for a unit and one for a type unit, without attributes or children.
pub(super) const ABBREVS: [u8; 11] = [1, dw::TAG_COMPILE_UNIT as u8, 0, 0, 0, 2, dw::TAG_TYPE_UNIT as u8, 0, 0, 0, 0];

/// Replaces a unit by an empty one of version 4; `None` if it is too short for that.
pub(super) fn empty(sections: &Sections<'_>, header: &Header, abbrevs: u64, patches: &mut Patches) -> Option<()> {
    let at = header.start + if header.offset_size == 8 { 12 } else { 4 };
    let room = header.end - at;
    let offset = |value: u64| value.to_le_bytes()[..usize::from(header.offset_size)].to_vec();
    let mut unit = vec![4, 0];
    unit.extend(offset(abbrevs));
    unit.push(header.rest.as_ref().map_or(4, |rest| rest.encoding.address_size));
    if header.section == Name::Types {
        let signature = at + unit.len();
        unit.extend_from_slice(sections.get(Name::Types).get(signature..signature + 8)?);
        let entries = at - header.start + unit.len() + usize::from(header.offset_size);
        unit.extend(offset(entries as u64));
        unit.push(2);
    } else {
        unit.push(1);
    }
    if unit.len() > room {
        return None;
    }
    // Zeros end lists of children, of which there may be more than needed.
    unit.resize(room, 0);
    patches.replace(at, room, unit);
    Some(())
}

/// The name of a unit for a warning: name and producer from its first entry, if that can be read, and its position.
pub(super) fn name(sections: &Sections<'_>, header: &Header) -> String {
    let place = format!("at {:#x} of {}", header.start, header.section.as_str());
    let Described { name, producer } = described(sections, header).unwrap_or_default();
    let by = producer.map_or_else(String::new, |producer| format!(", by {}", printable(&producer)));
    match name {
        Some(name) => format!("{} ({place}{by})", printable(&name)),
        None => format!("{place}{by}"),
    }
}

/// What the first entry of a unit says about it.
#[derive(Default)]
struct Described {
    name: Option<String>,
    producer: Option<String>,
}

fn described(sections: &Sections<'_>, header: &Header) -> Option<Described> {
    let rest = header.rest.as_ref().ok()?;
    let abbrevs =
        Abbrevs::read(sections.get(Name::Abbrev), usize::try_from(rest.abbrevs).ok()?, rest.encoding).0.ok()?;
    let data = &sections.get(header.section)[..header.end];
    let mut cursor = Cursor::new(data, rest.entries);
    let abbrev = abbrevs.get(cursor.uleb().ok()?)?;
    let (mut name, mut producer) = (None, None);
    let mut str_offsets = None;
    for step in &abbrev.steps {
        let step = step.resolved(abbrev.tag, &mut cursor).ok()?;
        match step {
            Step::Look { attribute: dw::AT_NAME, form } => name = Some((form, cursor.at)),
            Step::Look { attribute: dw::AT_PRODUCER, form } => producer = Some((form, cursor.at)),
            Step::Look { attribute: dw::AT_STR_OFFSETS_BASE, .. } => {
                str_offsets = Some(cursor.clone().number(header.offset_size).ok()?);
            }
            _ => {}
        }
        step.skip(&mut cursor, rest.encoding).ok()?;
    }
    let read = |(form, at)| {
        let text = text(sections, &mut Cursor::new(data, at), form, rest.encoding, str_offsets)?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    Some(Described { name: name.and_then(read), producer: producer.and_then(read) })
}

fn text<'a>(
    sections: &Sections<'a>,
    cursor: &mut Cursor<'a>,
    form: u64,
    encoding: Encoding,
    str_offsets: Option<u64>,
) -> Option<&'a [u8]> {
    let in_section = |name, at: u64| Cursor::new(sections.get(name), usize::try_from(at).ok()?).text().ok();
    match form {
        dw::FORM_STRING => cursor.text().ok(),
        dw::FORM_STRP => in_section(Name::Str, cursor.number(encoding.offset_size).ok()?),
        dw::FORM_LINE_STRP => in_section(Name::LineStr, cursor.number(encoding.offset_size).ok()?),
        dw::FORM_STRX | dw::FORM_STRX1..=dw::FORM_STRX4 => {
            let index = match form {
                dw::FORM_STRX => cursor.uleb().ok()?,
                _ => cursor.number((form - dw::FORM_STRX1 + 1) as u8).ok()?,
            };
            let at = str_offsets?.checked_add(index.checked_mul(u64::from(encoding.offset_size))?)?;
            let mut offsets = Cursor::new(sections.get(Name::StrOffsets), usize::try_from(at).ok()?);
            in_section(Name::Str, offsets.number(encoding.offset_size).ok()?)
        }
        _ => None,
    }
}
