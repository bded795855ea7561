//! Maps code offsets of the original to those of the instrumented module. No other part of the crate computes them.

use std::ops::Range;

/// Maps offsets in the original's code section to offsets in the rewritten one, in bytes.
///
/// Both offsets count from the start of the section contents (the function count), like addresses in DWARF. The
/// mapping is monotone. It is defined for every instruction of every body and for the end of every body, and for
/// nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetMap {
    bodies: Vec<BodyMap>,
    /// The edits of all bodies.
    edits: Vec<Edit>,
    /// The length of the code section contents before and after, in bytes.
    lengths: (u32, u32),
}

/// The mapping of one body. `old` and `new_start` do not include the size field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyMap {
    pub(crate) old: Range<u32>,
    pub(crate) new_start: u32,
    /// The offset of the first operator, from the start of the old body, if the entry hook is inserted there.
    pub(crate) enter: Option<u32>,
    /// The range of edits that belong to this body.
    edits: Range<u32>,
}

/// The old and new position of a body.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) old: Range<u32>,
    pub(crate) new_start: u32,
    pub(crate) enter: Option<u32>,
}

/// One place of a body where bytes were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The offset from the start of the old body.
    pub(crate) at: u32,
    /// The number of bytes added to the body up to this place, including this place.
    pub(crate) total: u32,
    /// `true` if the bytes precede the item at `at`. `false` if the item at `at` became longer.
    pub(crate) inserted: bool,
}

/// One place of a body, with the number of bytes added at that place alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insertion {
    pub(crate) at: u32,
    pub(crate) by: u32,
    pub(crate) inserted: bool,
}

impl OffsetMap {
    /// Encodes the map, for a cache of instrumented modules.
    #[doc(hidden)]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut numbers = vec![self.lengths.0, self.lengths.1, self.bodies.len() as u32, self.edits.len() as u32];
        for BodyMap { old, new_start, enter, edits } in &self.bodies {
            numbers.extend([old.start, old.end, *new_start, enter.unwrap_or(u32::MAX), edits.end]);
        }
        for Edit { at, total, inserted } in &self.edits {
            numbers.extend([*at, *total << 1 | u32::from(*inserted)]);
        }
        numbers.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Decodes a map; `None` if the bytes are no map.
    #[doc(hidden)]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks();
        let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
        let mut next = || numbers.next();
        let lengths = (next()?, next()?);
        let (bodies, edits) = (next()? as usize, next()? as usize);
        if !rest.is_empty() || bytes.len() / 4 != 4 + 5 * bodies + 2 * edits {
            return None;
        }
        let mut map = OffsetMap::new(lengths);
        let mut begin = 0;
        for _ in 0..bodies {
            let (old, new_start, enter, end) = (next()?..next()?, next()?, next()?, next()?);
            if end < begin || end as usize > edits {
                return None;
            }
            map.bodies.push(BodyMap {
                old,
                new_start,
                enter: Some(enter).filter(|at| *at != u32::MAX),
                edits: begin..end,
            });
            begin = end;
        }
        for _ in 0..edits {
            let (at, total) = (next()?, next()?);
            map.edits.push(Edit { at, total: total >> 1, inserted: total & 1 == 1 });
        }
        Some(map)
    }

    /// A map without bodies. `lengths` is the length of the code section contents before and after, in bytes.
    pub(crate) fn new(lengths: (u32, u32)) -> Self {
        OffsetMap { lengths, ..Default::default() }
    }

    /// Adds the next body. `growths` is sorted by place; at the same place, insertions come first.
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

    /// The edits of a body, sorted by place; at the same place, insertions come first.
    pub(crate) fn edits(&self, body: &BodyMap) -> &[Edit] {
        &self.edits[body.edits.start as usize..body.edits.end as usize]
    }

    /// The new offset of an address that denotes a location in the program, as in DWARF.
    ///
    /// If hooks were inserted before the instruction, this is the start of the hooks. A breakpoint on the instruction
    /// must stop there. Returns `None` if the mapping is not defined for `old`.
    pub fn address(&self, old: u32) -> Option<u32> {
        self.map(old, false)
    }

    /// The new offset of the instruction itself, as for branch hints. Returns `None` if the mapping is not defined for
    /// `old`.
    pub fn instruction(&self, old: u32) -> Option<u32> {
        self.map(old, true)
    }

    /// The old offset of an instruction at the new offset `new`. For an inserted instruction, this is the offset of
    /// the next instruction of the original. Returns `None` outside of the mapped bodies.
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

    /// Maps an offset from the start of `body`, like [`OffsetMap::instruction`] if `past_insertions`, else like
    /// [`OffsetMap::address`].
    pub(crate) fn within(&self, body: &BodyMap, old: u32, past_insertions: bool) -> u32 {
        let edits = self.edits(body);
        let before = edits.partition_point(|e| e.at < old || (e.at == old && e.inserted && past_insertions));
        old + edits[..before].last().map_or(0, |e| e.total)
    }

    /// The body at `position` in the code section.
    pub(crate) fn body(&self, position: usize) -> &BodyMap {
        &self.bodies[position]
    }

    /// All bodies, in order.
    pub(crate) fn bodies(&self) -> &[BodyMap] {
        &self.bodies
    }

    /// The length of the code section contents before and after, in bytes.
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
        // The inverse: from the instruction itself, and from the middle of an insertion before it.
        for old in 10..20 {
            assert_eq!(map.instruction(old).and_then(|new| map.original(new)), Some(old));
        }
        assert_eq!((map.original(33), map.original(29), map.original(48)), (Some(11), None, None));
    }
}
