//! The position of sections that are added to a module.

use super::{Module, Section, id};

/// Whether a new section with that id comes directly after this one, which is the last of its predecessors in the
/// module.
pub(crate) fn stands_behind(module: &Module<'_>, section: &Section<'_>, new: u8) -> bool {
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

/// Whether a new custom section has to come before this one. LLVM's readers require the order `name`, `producers`,
/// `target_features` (`WasmObjectFile.cpp`, "section order"), and other readers require `name` after the data section.
pub(crate) fn stands_before_created(module: &Module<'_>, section: &Section<'_>, new: &str) -> bool {
    const ORDER: [&str; 3] = ["name", "producers", "target_features"];
    let place = |name: Option<&str>| ORDER.iter().position(|known| Some(*known) == name);
    place(section.name) > place(Some(new))
        && module.custom(new).is_none()
        && !module.sections().iter().any(|s| s.id != id::CUSTOM && s.whole.start > section.whole.start)
}
