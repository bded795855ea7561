//! Where bytes of the code section went: the one place that knows.

use std::ops::Range;

/// Maps offsets in the original's code section to offsets in the rewritten one. Both count from the start of the
/// section's contents (its function count), as addresses in DWARF do.
///
/// Monotone, and defined for every instruction of every body, for the end of every body, and for nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetMap {
    bodies: Vec<BodyMap>,
    /// Those of all bodies.
    edits: Vec<Edit>,
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
    /// Which of the edits are its own.
    edits: Range<u32>,
}

/// Where a body was, and is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) old: Range<u32>,
    pub(crate) new_start: u32,
    pub(crate) enter: Option<u32>,
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
pub(crate) struct Insertion {
    pub(crate) at: u32,
    pub(crate) by: u32,
    pub(crate) inserted: bool,
}

impl OffsetMap {
    /// One without bodies yet. `lengths`: how long the code section's contents were, and are.
    pub(crate) fn new(lengths: (u32, u32)) -> Self {
        OffsetMap { lengths, ..Default::default() }
    }

    /// Adds the next body. `growths` come by ascending place; at one place insertions come first.
    pub(crate) fn push(&mut self, place: Place, growths: &[Insertion]) {
        let first = self.edits.len() as u32;
        let mut total = 0;
        self.edits.extend(growths.iter().map(|growth| {
            total += growth.by;
            Edit { at: growth.at, total, inserted: growth.inserted }
        }));
        let edits = first..self.edits.len() as u32;
        self.bodies.push(BodyMap { old: place.old, new_start: place.new_start, enter: place.enter, edits });
    }

    /// Where bytes were added in a body, by ascending place; at one place insertions come first.
    pub(crate) fn edits(&self, body: &BodyMap) -> &[Edit] {
        &self.edits[body.edits.start as usize..body.edits.end as usize]
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

    /// Where an instruction of the rewritten code was: one that was inserted, where the original's next is.
    pub fn original(&self, new: u32) -> Option<u32> {
        let next = self.bodies.partition_point(|b| b.new_start <= new);
        let body = self.bodies[..next].last()?;
        let (edits, new) = (self.edits(body), new - body.new_start);
        let before = edits.partition_point(|edit| edit.at + edit.total <= new);
        let old = new - edits[..before].last().map_or(0, |edit| edit.total);
        let old = body.old.start + edits.get(before).map_or(old, |edit| old.min(edit.at));
        (old <= body.old.end).then_some(old)
    }

    fn map(&self, old: u32, past_insertions: bool) -> Option<u32> {
        let next = self.bodies.partition_point(|b| b.old.start <= old);
        let body = self.bodies[..next].last().filter(|b| old <= b.old.end)?;
        Some(body.new_start + self.within(body, old - body.old.start, past_insertions))
    }

    /// The same as [`OffsetMap::address`] (or `instruction`) for offsets from a body's start.
    pub(crate) fn within(&self, body: &BodyMap, old: u32, past_insertions: bool) -> u32 {
        let edits = self.edits(body);
        let before = edits.partition_point(|e| e.at < old || (e.at == old && e.inserted && past_insertions));
        old + edits[..before].last().map_or(0, |e| e.total)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stops_before_what_was_inserted_and_an_instruction_after_it() {
        let growths = [Insertion { at: 1, by: 6, inserted: true }, Insertion { at: 4, by: 1, inserted: false }];
        let mut map = OffsetMap::new((20, 47));
        map.push(Place { old: 10..20, new_start: 30, enter: None }, &growths);
        assert_eq!((map.address(11), map.instruction(11)), (Some(31), Some(37)));
        assert_eq!((map.address(14), map.instruction(14)), (Some(40), Some(40)));
        assert_eq!((map.address(15), map.instruction(15)), (Some(42), Some(42)));
        assert_eq!((map.address(9), map.address(20), map.address(21)), (None, Some(47), None));
        // The way back: from the instruction itself, and from within what was inserted before it.
        for old in 10..20 {
            assert_eq!(map.instruction(old).and_then(|new| map.original(new)), Some(old));
        }
        assert_eq!((map.original(33), map.original(29), map.original(48)), (Some(11), None, None));
    }
}
