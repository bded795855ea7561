//! Where bytes of the code section went: the one place that knows.

use std::ops::Range;

/// Maps offsets in the original's code section to offsets in the rewritten one. Both count from the start of the
/// section's contents (its function count), as addresses in DWARF do.
///
/// Monotone, and defined for every instruction of every body, for the end of every body, and for nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetMap {
    bodies: Vec<BodyMap>,
    /// How long the code section's contents were, and are.
    lengths: (u32, u32),
}

/// What happened to one body, `old` and `new_start` without the size field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyMap {
    pub(crate) old: Range<u32>,
    pub(crate) new_start: u32,
    /// Where the first insertion stands if that is what the function is entered by: its first operator.
    pub(crate) enter: Option<u32>,
    /// By ascending place; at one place insertions come first.
    pub(crate) edits: Vec<Edit>,
}

/// One place of a body where bytes were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Offset from the start of the old body.
    pub(crate) at: u32,
    /// How many bytes more there are in the body, up to and with this place.
    pub(crate) total: u32,
    /// The bytes stand before what is at `at`; otherwise what is at `at` became longer.
    pub(crate) inserted: bool,
}

/// One place of a body, with how many bytes were added there alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    pub(crate) at: u32,
    pub(crate) by: u32,
    pub(crate) inserted: bool,
}

/// The places, with what has been added up to each.
pub(crate) fn summed(growths: Vec<Growth>) -> Vec<Edit> {
    let mut total = 0;
    let sum = growths.into_iter().map(|g| {
        total += g.by;
        Edit { at: g.at, total, inserted: g.inserted }
    });
    sum.collect()
}

impl OffsetMap {
    pub(crate) fn new(bodies: Vec<BodyMap>, lengths: (u32, u32)) -> Self {
        OffsetMap { bodies, lengths }
    }

    /// Where an address goes that stands for a place in the program, as in DWARF: to the start of what was inserted
    /// before the instruction, since that is where a breakpoint on it wants to stop.
    pub fn address(&self, old: u32) -> Option<u32> {
        self.map(old, false)
    }

    /// Where the instruction itself went, as branch hints want it.
    pub fn instruction(&self, old: u32) -> Option<u32> {
        self.map(old, true)
    }

    fn map(&self, old: u32, past_insertions: bool) -> Option<u32> {
        let next = self.bodies.partition_point(|b| b.old.start <= old);
        let body = self.bodies[..next].last().filter(|b| old <= b.old.end)?;
        Some(body.new_start + body.map(old - body.old.start, past_insertions))
    }

    /// The body at that position of the code section.
    pub(crate) fn body(&self, position: usize) -> &BodyMap {
        &self.bodies[position]
    }

    /// Every body, in order.
    pub(crate) fn bodies(&self) -> &[BodyMap] {
        &self.bodies
    }

    /// How long the code section's contents were, and are.
    pub(crate) fn lengths(&self) -> (u32, u32) {
        self.lengths
    }
}

impl BodyMap {
    /// The same as [`OffsetMap::address`] (or `instruction`) for offsets from the body's start.
    pub(crate) fn map(&self, old: u32, past_insertions: bool) -> u32 {
        let before = self.edits.partition_point(|e| e.at < old || (e.at == old && e.inserted && past_insertions));
        old + self.edits[..before].last().map_or(0, |e| e.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stops_before_what_was_inserted_and_an_instruction_after_it() {
        let body = BodyMap {
            old: 10..20,
            new_start: 30,
            enter: None,
            edits: vec![Edit { at: 1, total: 6, inserted: true }, Edit { at: 4, total: 7, inserted: false }],
        };
        let map = OffsetMap::new(vec![body], (20, 47));
        assert_eq!((map.address(11), map.instruction(11)), (Some(31), Some(37)));
        assert_eq!((map.address(14), map.instruction(14)), (Some(40), Some(40)));
        assert_eq!((map.address(15), map.instruction(15)), (Some(42), Some(42)));
        assert_eq!((map.address(9), map.address(20), map.address(21)), (None, Some(47), None));
    }
}
