//! The `producers` section, which lists the tools that made a module (tool-conventions, "Producers Section"): wasmtrace
//! is added.

use wasm_encoder::{Encode, ProducersField, ProducersSection};
use wasmparser::{ProducersFieldValue, ProducersSectionReader};

use crate::module::{Module, Section};

const US: &str = "wasmtrace";
const PROCESSED_BY: &str = "processed-by";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of wasmtrace in a section.
pub(crate) fn version_in<'a>(module: &Module<'a>, section: &Section<'_>) -> Option<&'a str> {
    let fields = ProducersSectionReader::new(module.reader(section.data.clone())).ok()?;
    let field = fields.into_iter().map_while(Result::ok).find(|field| field.name == PROCESSED_BY)?;
    let us = field.values.into_iter().map_while(Result::ok).find(|value| value.name == US)?;
    Some(us.version)
}

/// The data of a section that lists only wasmtrace with that version.
pub(crate) fn only_us(version: &str) -> Vec<u8> {
    let mut field = ProducersField::new();
    field.value(US, version);
    let mut section = ProducersSection::new();
    section.field(PROCESSED_BY, &field);
    data_of(&section)
}

/// The data of the section with wasmtrace added to the processing tools; `None` if it is damaged.
pub(crate) fn with_us(module: &Module<'_>, section: &Section<'_>, version: &str) -> Option<Vec<u8>> {
    let fields: Vec<(&str, Vec<ProducersFieldValue<'_>>)> =
        ProducersSectionReader::new(module.reader(section.data.clone()))
            .ok()?
            .into_iter()
            .map(|field| {
                let field = field.ok()?;
                Some((field.name, field.values.into_iter().collect::<Result<_, _>>().ok()?))
            })
            .collect::<Option<_>>()?;
    let mut out = ProducersSection::new();
    let mut named = false;
    for (name, values) in fields {
        let mut field = ProducersField::new();
        let here = name == PROCESSED_BY;
        for value in values.iter().filter(|v| !(here && v.name == US)) {
            field.value(value.name, value.version);
        }
        if here {
            field.value(US, version);
            named = true;
        }
        out.field(name, &field);
    }
    if !named {
        let mut field = ProducersField::new();
        field.value(US, version);
        out.field(PROCESSED_BY, &field);
    }
    Some(data_of(&out))
}

/// The encoder writes size and name too; only the data is needed.
fn data_of(section: &ProducersSection) -> Vec<u8> {
    let mut whole = Vec::new();
    section.encode(&mut whole);
    let mut reader = wasmparser::BinaryReader::new(&whole, 0);
    let header = reader.read_var_u32().and_then(|_| reader.read_string()).map(|_| reader.current_position());
    whole.split_off(header.expect("just encoded"))
}
