//! Where function indices go.

/// How function indices move: hooks are imported behind the module's own imports, and trampolines of imported functions stand
/// behind its own functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FuncMap {
    /// How many functions the original imports: these keep their index.
    pub(crate) imported: u32,
    /// How many hooks are imported behind them: the others move by that.
    pub(crate) hooks: u32,
    /// The imported functions that have a trampoline, ascending.
    pub(crate) trampolines: Vec<u32>,
    /// The index of the first trampoline; the others follow in order.
    pub(crate) first_trampoline: u32,
}

impl FuncMap {
    /// Where a function of the original went.
    pub(crate) fn place(&self, func: u32) -> u32 {
        if func < self.imported { func } else { func + self.hooks }
    }

    /// What a reference to a function of the original becomes: the function, or its trampoline.
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
