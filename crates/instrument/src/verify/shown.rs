//! Facts about bodies that the checks of other sections need.

use std::collections::{BTreeSet, HashMap};

use super::failure::fail;
use crate::hooks::frame::HookPair;
use crate::hooks::wrapper::Wrapper;
use crate::mapping::{Insertion, Place};
use crate::module::FuncIdx;
use wasmtrace_abi::error::Result;

/// The facts about one pair of matching bodies.
pub(super) struct Body {
    pub(super) hooked: bool,
    /// The pair of hooks.
    pub(super) pair: HookPair,
    pub(super) memory_grows: usize,
    /// For each original operator: its offset from the start of the body, before and after.
    pub(super) places: Vec<(u32, u32)>,
    /// The old and new position of the body, and the places where bytes were added.
    pub(super) place: Place,
    pub(super) growths: Vec<Insertion>,
    /// The wrapper of the body, and the index of the wrapper's block type if it has one.
    pub(super) wrapper: Option<Wrapper>,
    pub(super) block_type: Option<u32>,
    /// The labels that hooks open inside of the body. Each entry is the number of original labels that precede it.
    pub(super) labels: Vec<u32>,
    /// Whether the body may lack hooks because it would be too large for engines with them.
    pub(super) may_lack: bool,
}

/// The facts about all bodies that the checks of other sections need.
#[derive(Default)]
pub(super) struct Shown {
    /// The operator offsets of each body.
    pub(super) places: Vec<Vec<(u32, u32)>>,
    /// The wrapper of all bodies that have hooks; it is the same for all of them.
    pub(super) wrapper: Option<Wrapper>,
    /// The block types of wrappers, in bodies and in trampolines.
    pub(super) block_types: BTreeSet<u32>,
    /// The labels that hooks open inside of bodies, by function.
    pub(super) labels: HashMap<u32, Vec<u32>>,
    /// The functions that may lack hooks because they would be too large for engines with them.
    pub(super) may_lack: Vec<FuncIdx>,
}

impl Shown {
    pub(super) fn add(&mut self, func: FuncIdx, body: Body) -> Result<()> {
        self.around(func, body.wrapper)?;
        self.block_types.extend(body.block_type);
        self.places.push(body.places);
        if !body.labels.is_empty() {
            self.labels.insert(func.0, body.labels);
        }
        if body.may_lack {
            self.may_lack.push(func);
        }
        Ok(())
    }

    pub(super) fn around(&mut self, func: FuncIdx, wrapper: Option<Wrapper>) -> Result<()> {
        if wrapper.is_some() && self.wrapper.is_some() && wrapper != self.wrapper {
            return Err(fail(8, format!("function {} is wrapped differently from the other hooked functions", func.0)));
        }
        self.wrapper = self.wrapper.or(wrapper);
        Ok(())
    }
}
