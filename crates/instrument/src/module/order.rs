//! Where sections stand that a module lacks.

use super::{Module, Section, id};

/// Whether a new section of that id comes right behind this one: the last of those that come before it in a module.
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

/// Whether a custom section that the module lacks has to come before this one: LLVM's readers want `name`, `producers` and
/// `target_features` in that order (`WasmObjectFile.cpp`, "section order"), and everybody wants `name` behind the data.
pub(crate) fn stands_before_created(module: &Module<'_>, section: &Section<'_>, new: &str) -> bool {
    const ORDER: [&str; 3] = ["name", "producers", "target_features"];
    let place = |name: Option<&str>| ORDER.iter().position(|known| Some(*known) == name);
    place(section.name) > place(Some(new))
        && module.custom(new).is_none()
        && !module.sections().iter().any(|s| s.id != id::CUSTOM && s.whole.start > section.whole.start)
}
