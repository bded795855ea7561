//! Where function indices go.

/// How function indices move: hooks are imported behind the module's own imports, and shims of imported functions stand
/// behind its own functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FuncMap {
    /// How many functions the original imports: these keep their index.
    pub(crate) imported: u32,
    /// How many hooks are imported behind them: the others move by that.
    pub(crate) hooks: u32,
    /// The imported functions that have a shim, ascending.
    pub(crate) shims: Vec<u32>,
    /// The index of the first shim; the others follow in order.
    pub(crate) first_shim: u32,
}

impl FuncMap {
    /// Where a function of the original went.
    pub(crate) fn place(&self, func: u32) -> u32 {
        if func < self.imported { func } else { func + self.hooks }
    }

    /// What a reference to a function of the original becomes: the function, or its shim.
    pub(crate) fn reference(&self, func: u32) -> u32 {
        match self.shims.binary_search(&func) {
            Ok(shim) => self.first_shim + shim as u32,
            Err(_) => self.place(func),
        }
    }

    /// The inverse of [`FuncMap::place`] and of [`FuncMap::reference`].
    pub(crate) fn back(&self, func: u32) -> u32 {
        match func.checked_sub(self.first_shim).and_then(|shim| self.shims.get(shim as usize)) {
            Some(import) => *import,
            None if func < self.imported => func,
            None => func.saturating_sub(self.hooks),
        }
    }
}
