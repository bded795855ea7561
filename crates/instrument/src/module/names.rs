//! Function names from the `name` section (core specification, appendix "Name Section").

use crate::warning::{Warning, WarningKind};
use wasmparser::{Name, NameSectionReader};

use crate::module::Module;

/// The names of the first `func_count` functions, up to the last that has one. If there are several `name` sections,
/// the first name of a function counts. Names before the first damaged byte of a section are used.
pub(crate) fn function_names<'a>(
    module: &Module<'a>,
    func_count: u32,
    warnings: &mut Vec<Warning>,
) -> Vec<Option<&'a str>> {
    let mut names = Vec::new();
    for section in module.customs("name") {
        if let Err(e) = read(module, section.data.clone(), func_count, &mut names) {
            warnings.push(Warning::new(
                WarningKind::Label,
                format!(
                    "the name section is damaged at offset {:#x} ({}); only names before that offset are used",
                    e.offset(),
                    e.message()
                ),
            ));
        }
    }
    names
}

/// The name of the module itself, if it has one.
pub(crate) fn module_name<'a>(module: &Module<'a>) -> Option<&'a str> {
    let section = module.custom("name")?;
    NameSectionReader::new(module.reader(section.data.clone())).map_while(|name| name.ok()).find_map(|subsection| {
        match subsection {
            Name::Module { name, .. } => Some(name),
            _ => None,
        }
    })
}

fn read<'a>(
    module: &Module<'a>,
    range: std::ops::Range<usize>,
    func_count: u32,
    names: &mut Vec<Option<&'a str>>,
) -> wasmparser::Result<()> {
    for subsection in NameSectionReader::new(module.reader(range)) {
        if let Name::Function(map) = subsection? {
            for naming in map {
                let naming = naming?;
                if naming.index < func_count {
                    let index = naming.index as usize;
                    if names.len() <= index {
                        names.resize(index + 1, None);
                    }
                    names[index].get_or_insert(naming.name);
                }
            }
        }
    }
    Ok(())
}
