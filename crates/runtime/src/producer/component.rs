//! The buffers of a component: which of them the guest writes to, and events that were written while the host could not be
//! called (see [`wasmtrace_abi::component`]).
//!
//! Each component of a composition has a buffer of its own. Only one is *active*; the others have LIMIT 0. So the first
//! event after a call from one component to another calls `flush`: the events of the active buffer are handed over, and
//! the other buffer becomes active. Thus events are in order. The exception are events of a `realloc` or `post-return`,
//! which must not call the host: they are handed over with the next event of their buffer.

use std::sync::atomic::Ordering;

use super::super::buffer::Buffer;
use super::super::progress::MOVING;
use super::super::ring::{Item, Written};
use super::Producer;
use super::blocks::Area;
use wasmtrace_abi::buffer::{BLOCK, CURSOR, LIMIT};
use wasmtrace_abi::component::{DISCARDED, END, FIRST_BLOCK, LOST, SIZE, SPILL, SPILLED};
use wasmtrace_trace::event::{EventKind, Manual, Misuse};

/// Size of an event in bytes.
const EVENT: u32 = 4;

impl Producer {
    /// Makes room for at least one event in a buffer of a component, like [`Producer::flush`]. The buffer becomes the
    /// active one.
    pub(crate) fn flush_component(&mut self, buffer: Buffer) -> wasmtime::Result<()> {
        let is_active = self.buffer().is_some_and(|active| active.is_same(&buffer));
        if !is_active {
            self.activate(buffer)?;
        }
        self.read_spilled();
        self.flush()
    }

    /// Hands over the events in all buffers, at the end of a recording. The buffers of components begin anew afterwards.
    pub(crate) fn drain_all(&mut self) {
        self.read_spilled();
        self.drain();
        let parked: Vec<Buffer> =
            self.blocks.iter().flat_map(|blocks| &blocks.parked).map(|area| area.buffer).collect();
        for buffer in parked {
            // Activation of a known buffer starts no thread, so it cannot fail.
            if self.activate(buffer).is_ok() {
                self.read_spilled();
                self.drain();
            }
        }
        let Some(blocks) = &self.blocks else { return };
        let areas = [&blocks.area].into_iter().chain(&blocks.parked);
        areas.filter(|area| area.is_of_component).for_each(|area| begin_anew(&area.buffer));
    }

    /// Hands over the events of the active buffer, and makes this buffer the active one.
    fn activate(&mut self, buffer: Buffer) -> std::io::Result<()> {
        if self.blocks.is_none() {
            let area = new_area(buffer);
            self.begin(area, 0, false)?;
            return Ok(());
        }
        self.read_spilled();
        self.drain();
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let known = blocks.parked.iter().position(|area| area.buffer.is_same(&buffer));
        let area = known.map_or_else(|| new_area(buffer), |at| blocks.parked.swap_remove(at));
        // The consumer must not read the buffer until all of this has changed.
        self.shared.from.store(MOVING, Ordering::Release);
        let (from, end) = (area.from, area.end());
        blocks.parked.push(std::mem::replace(&mut blocks.area, area));
        blocks.flushed = from;
        self.shared.buffer.set(buffer);
        self.shared.end.store(end, Ordering::Relaxed);
        self.shared.from.store(from, Ordering::Release);
        Ok(())
    }

    /// Hands over events in the spill area, after those in the blocks.
    fn read_spilled(&mut self) {
        let Some(blocks) = &mut self.blocks else { return };
        let buffer = blocks.area.buffer;
        let spilled = if blocks.area.is_of_component { buffer.load(SPILLED) } else { 0 };
        if spilled == 0 {
            return;
        }
        // The guest is not trusted to leave these words as the hook module writes them.
        let last = SIZE - EVENT;
        let to = (buffer.load(CURSOR) & !(EVENT - 1)).clamp(SPILL, last);
        buffer.store(CURSOR, (spilled & !(EVENT - 1)).clamp(blocks.area.from, blocks.area.end()));
        buffer.store(SPILLED, 0);
        buffer.store(END, blocks.area.end());
        let mut words = Vec::new();
        buffer.load_words(SPILL, to, &mut words);
        let blocks_read = blocks.area.blocks_read.clone();
        self.drain();
        let now = self.clock.now();
        self.shared.from.store(MOVING, Ordering::Release);
        let before = self.shared.handed_over.load(Ordering::Relaxed);
        let count = words.len() as u64;
        let (from, over) = (SPILL, now);
        let written = Written { buffer, blocks_read, from, to, last: false, over, before_event: false, words: before };
        self.send(now, Item::Copied(words.into(), written));
        self.shared.handed_over.store(before + count, Ordering::Relaxed);
        if let Some(blocks) = &self.blocks {
            self.shared.from.store(blocks.area.from, Ordering::Release);
        }
        if buffer.load(LOST) > 0 {
            buffer.store(LOST, 0);
            self.send(now, Item::Event(EventKind::Manual(Box::new(Manual::Misuse(Misuse::LostEvents)))));
        }
    }
}

/// The blocks of a buffer that the guest has not called for during this recording. Events that were written while the host
/// could not be called are in the first block and in the spill area. If the guest has run outside of a recording, they may be
/// from then, and are left out.
fn new_area(buffer: Buffer) -> Area {
    if buffer.load(DISCARDED) != 0 {
        buffer.store(DISCARDED, 0);
        begin_anew(&buffer);
    }
    Area::new(buffer, (FIRST_BLOCK, SPILL), true)
}

/// Makes room for one event outside of a recording. Its place is before the first block, so it is never read.
pub(crate) fn discard_next(buffer: &Buffer) {
    begin_anew(buffer);
    buffer.store(CURSOR, FIRST_BLOCK - EVENT);
    buffer.store(DISCARDED, 1);
}

/// Puts a buffer into the state before its first event.
fn begin_anew(buffer: &Buffer) {
    buffer.store(CURSOR, FIRST_BLOCK);
    buffer.store(END, FIRST_BLOCK + BLOCK);
    buffer.store(SPILLED, 0);
    buffer.store(LIMIT, 0);
}
