//! Checks the sections that link a module to other files: its source map, its debug file and its build id.

use super::pair::Pair;
use crate::links::{BUILD_ID, DEBUG_FILE, SOURCE_MAP, build_id, named_by};
use crate::mapping::OffsetMap;
use crate::module::{Section, id};
use crate::relocate::sourcemap::{SourceMap, url};
use crate::verify::failure::fail;
use wasmtrace_abi::error::Result;

/// Whether the section is a link, which may be added, left out or changed.
pub(super) fn is_link(section: &Section<'_>) -> bool {
    matches!(section.name, Some(SOURCE_MAP | DEBUG_FILE))
}

impl Pair<'_, '_> {
    /// Checks that each link section holds one URL and occurs once. A source map inside of the module must describe
    /// the moved code as it described the original code. Separate files are not read.
    pub(super) fn links(&self, offsets: &OffsetMap) -> Result<()> {
        for name in [SOURCE_MAP, DEBUG_FILE] {
            let Some(section) = self.new.custom(name) else { continue };
            let at = section.whole.start;
            let Some(url) = named_by(self.new, name).filter(|_| self.new.customs(name).count() == 1) else {
                return Err(fail(at, format!("the section {name} does not hold exactly one URL")));
            };
            if !url::is_data(url) {
                continue;
            }
            let start = |m: &crate::module::Module<'_>| m.section(id::CODE).map_or(0, |code| code.contents.start);
            let relocated = named_by(self.old, name).filter(|_| name == SOURCE_MAP).and_then(|old| {
                let map = SourceMap::read_data(old, self.old.bytes().len()).ok()?;
                Some(map.relocate_data(old, offsets, (start(self.old), start(self.new))))
            });
            if relocated.as_deref() != Some(url) {
                return Err(fail(at, "the source map in the module does not follow the code"));
            }
        }
        Ok(())
    }

    /// Checks that the build id of the output follows from the build id of the input and from the code.
    pub(super) fn build_id(&self, a: &Section<'_>, b: &Section<'_>) -> Result<()> {
        let data = &self.new.bytes()[b.data.clone()];
        let same = match (build_id(self.old), self.new.section(id::CODE)) {
            (Some(old), Some(code)) => {
                let mut reader = self.new.reader(code.contents.clone());
                reader.read_var_u32()?;
                let bodies = &self.new.bytes()[reader.original_position()..code.contents.end];
                data == crate::relocate::encoded(&crate::relocate::build_id(old, |see| see(bodies)))
            }
            _ => data == &self.old.bytes()[a.data.clone()],
        };
        if same { Ok(()) } else { Err(fail(b.whole.start, format!("the {BUILD_ID} does not belong to this output"))) }
    }
}
