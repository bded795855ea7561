//! The `producers` section says which tools made a module (tool-conventions, "Producers Section"): we add ourselves.

use wasm_encoder::{Encode, ProducersField, ProducersSection};
use wasmparser::{ProducersFieldValue, ProducersSectionReader};

use crate::module::{Module, Section};

const US: &str = "wasmtrace";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The data of a section that names us alone.
pub(crate) fn only_us() -> Vec<u8> {
    let mut field = ProducersField::new();
    field.value(US, VERSION);
    let mut section = ProducersSection::new();
    section.field("processed-by", &field);
    data_of(&section)
}

/// The data of the section with us among those that processed the module; `None` where it is damaged.
pub(crate) fn with_us(module: &Module<'_>, section: &Section<'_>) -> Option<Vec<u8>> {
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
        let here = name == "processed-by";
        for value in values.iter().filter(|v| !(here && v.name == US)) {
            field.value(value.name, value.version);
        }
        if here {
            field.value(US, VERSION);
            named = true;
        }
        out.field(name, &field);
    }
    if !named {
        let mut field = ProducersField::new();
        field.value(US, VERSION);
        out.field("processed-by", &field);
    }
    Some(data_of(&out))
}

/// The encoder writes the section with its size and name; only the data is wanted.
fn data_of(section: &ProducersSection) -> Vec<u8> {
    let mut whole = Vec::new();
    section.encode(&mut whole);
    let mut reader = wasmparser::BinaryReader::new(&whole, 0);
    let header = reader.read_var_u32().and_then(|_| reader.read_string()).map(|_| reader.current_position());
    whole.split_off(header.expect("just encoded"))
}
