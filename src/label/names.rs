//! Function names out of the `name` section (core specification, appendix "Name Section").

use std::collections::BTreeMap;

use wasmparser::{Name, NameSectionReader};

use crate::module::Module;

/// Names of the first `func_count` functions, by function index. Where there are several `name` sections the first name of a function counts. What
/// stands before the first damaged byte of a section is used.
pub(crate) fn function_names<'a>(
    module: &Module<'a>,
    func_count: u32,
    warnings: &mut Vec<String>,
) -> BTreeMap<u32, &'a str> {
    let mut names = BTreeMap::new();
    for section in module.customs("name") {
        if let Err(e) = read(module, section.data.clone(), &mut names) {
            warnings.push(format!(
                "the name section is damaged at offset {:#x} ({}); the names before that are used",
                e.offset(),
                e.message()
            ));
        }
    }
    names.retain(|func, _| *func < func_count);
    names
}

fn read<'a>(
    module: &Module<'a>,
    range: std::ops::Range<usize>,
    names: &mut BTreeMap<u32, &'a str>,
) -> wasmparser::Result<()> {
    for subsection in NameSectionReader::new(module.reader(range)) {
        if let Name::Function(map) = subsection? {
            for naming in map {
                let naming = naming?;
                names.entry(naming.index).or_insert(naming.name);
            }
        }
    }
    Ok(())
}
