//! Maps function indices of the original to those of the instrumented module.

/// How function indices move. The imports of the hooks follow the original's imported functions. The trampolines
/// follow the original's defined functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FuncMap {
    /// The number of functions that the original imports. These functions keep their indices.
    pub(crate) imported: u32,
    /// The number of imported hooks. The indices of all defined functions increase by this number.
    pub(crate) hooks: u32,
    /// The imported functions that have a trampoline, ascending.
    pub(crate) trampolines: Vec<u32>,
    /// The index of the first trampoline. The others follow, in the order of `trampolines`.
    pub(crate) first_trampoline: u32,
}

impl FuncMap {
    /// The new index of a function of the original.
    pub(crate) fn place(&self, func: u32) -> u32 {
        if func < self.imported { func } else { func + self.hooks }
    }

    /// The new target of a reference to a function: its trampoline if it has one, otherwise the function itself.
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
