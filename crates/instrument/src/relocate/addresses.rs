//! The map of DWARF addresses.
//!
//! An address denotes the place of an instruction in the program. Code inserted before the instruction therefore
//! comes after the address: a breakpoint stops before the hook, and a range that ends there excludes the hook. The exit
//! hook is then after the last line of the function, and a hook of `memory.grow` or of a tail call is on the line of
//! its instruction.
//!
//! The entry hook is the exception. It precedes the first operator and belongs to the opening line of the function:
//! that of a row before the first operator (compilers use the address of a function's locals). If there is such a row,
//! the first operator's address comes after the hook. Otherwise the hook is better on the first operator's line than on
//! none.
//!
//! The map is total and increasing: addresses outside of all bodies stay outside.

use crate::mapping::{BodyMap, OffsetMap};

/// Whether an address is a tombstone: 0 or one of the two highest addresses, which linkers write for removed code
/// (tool-conventions, "DWARF for WebAssembly"; LLVM writes -1, and -2 in the lists of DWARF 4).
pub(super) fn is_tombstone(address: u64, size: u8) -> bool {
    address == 0 || address >= highest(size) - 1
}

/// The highest address of that size in bytes.
pub(super) fn highest(size: u8) -> u64 {
    if size == 8 { u64::MAX } else { u64::from(u32::MAX) }
}

/// The map of DWARF addresses.
#[derive(Debug)]
pub(super) struct Addresses<'o> {
    offsets: &'o OffsetMap,
    /// For each body, whether the first operator's address comes after the entry hook.
    opened: Vec<bool>,
}

/// The body of the previous address, where the search for the next one starts.
pub(super) type Near = usize;

impl<'o> Addresses<'o> {
    pub(super) fn new(offsets: &'o OffsetMap) -> Self {
        Addresses { offsets, opened: vec![false; offsets.bodies().len()] }
    }

    /// The body whose opening (size field and locals) contains the address of this row, if it has an entry hook.
    pub(super) fn opening(&self, row: u64, near: &mut Near) -> Option<usize> {
        let bodies = self.offsets.bodies();
        let here = self.find(row, near);
        // The end of a body is the start of the next body's size field.
        let next = here.map_or(0, |here| here + (row >= u64::from(bodies[here].old.end)) as usize);
        let body = bodies.get(next)?;
        (row < u64::from(body.old.start + body.enter?)).then_some(next)
    }

    /// Notes that the body has a row before its first operator.
    pub(super) fn open(&mut self, body: usize) {
        self.opened[body] = true;
    }

    /// Whether a body begins at that address.
    pub(super) fn begins_a_body(&self, address: u64) -> bool {
        self.offsets.bodies().binary_search_by_key(&address, |body| u64::from(body.old.start)).is_ok()
    }

    /// Maps an address that is not a tombstone.
    pub(super) fn map(&self, address: u64, near: &mut Near) -> u64 {
        let bodies = self.offsets.bodies();
        let (old_length, new_length) = self.offsets.lengths();
        let before = |body: &BodyMap| u64::from(body.new_start) - (u64::from(body.old.start) - address);
        let Some(here) = self.find(address, near) else {
            return bodies.first().map_or(address, before);
        };
        let body = &bodies[here];
        if address <= u64::from(body.old.end) {
            let offset = address as u32 - body.old.start;
            let behind_enter = self.opened[here] && body.enter == Some(offset);
            let all = self.offsets.edits(body);
            let mut edits = all.partition_point(|e| e.at < offset);
            // At the same place, insertions come first, and the entry hook before all others.
            edits += behind_enter as usize;
            let more = all[..edits].last().map_or(0, |e| e.total);
            return u64::from(body.new_start + offset + more);
        }
        match bodies.get(here + 1) {
            Some(next) => before(next),
            None => address.saturating_add(u64::from(new_length - old_length)),
        }
    }

    /// The last body that begins at or before the address.
    fn find(&self, address: u64, near: &mut Near) -> Option<usize> {
        let bodies = self.offsets.bodies();
        let starts = |at: usize| bodies.get(at).map(|body| u64::from(body.old.start));
        let holds =
            |at: usize| starts(at).is_some_and(|s| s <= address) && starts(at + 1).is_none_or(|next| address < next);
        if holds(*near) {
            return Some(*near);
        }
        let found = bodies.partition_point(|body| u64::from(body.old.start) <= address).checked_sub(1)?;
        *near = found;
        Some(found)
    }
}
