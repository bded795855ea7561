//! The map of function indices.

/// The map of function indices. Hooks are imported after the module's own imports, and trampolines of imported
/// functions come after its defined functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FuncMap {
    /// Number of functions that the original imports. Their indices do not change.
    pub(crate) imported: u32,
    /// Number of imported hooks, by which all other indices increase.
    pub(crate) hooks: u32,
    /// The imported functions with trampolines, by ascending index.
    pub(crate) trampolines: Vec<u32>,
    /// The index of the first trampoline; the others follow in order.
    pub(crate) first_trampoline: u32,
}

impl FuncMap {
    /// The new index of a function of the original.
    pub(crate) fn place(&self, func: u32) -> u32 {
        if func < self.imported { func } else { func + self.hooks }
    }

    /// The new index for a reference to a function of the original: the function or its trampoline.
    pub(crate) fn reference(&self, func: u32) -> u32 {
        match self.trampolines.binary_search(&func) {
            Ok(trampoline) => self.first_trampoline + trampoline as u32,
            Err(_) => self.place(func),
        }
    }

    /// The inverse of [`FuncMap::place`] and of [`FuncMap::reference`].
    pub(crate) fn back(&self, func: u32) -> u32 {
        match func.checked_sub(self.first_trampoline).and_then(|trampoline| self.trampolines.get(trampoline as usize)) {
            Some(import) => *import,
            None if func < self.imported => func,
            None => func.saturating_sub(self.hooks),
        }
    }
}
