//! Writing batches to a recording.

use std::io::{self, Write};

use wasm_encoder::Encode;

use crate::batch::{Batch, MarkKind, Place, Sample, Stamp, events_of};
use crate::lines::Lines;
use wasmtrace_abi::buffer::{Kind, LEAF, is_leaf};

use super::super::{FULL, LINES, MOST_EVENTS, MOST_LINES, MOST_OPEN, SEARCH, SLOTS, State, cut, op, write_block};
use super::Writer;

impl<W: Write> Writer<W> {
    /// Adds a batch. If the header says that events are stamped, words are written without times. Otherwise the batch
    /// must not contain words.
    ///
    /// # Errors
    /// Those of writing.
    pub fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        let mut from = 0;
        for mark in &batch.marks {
            self.words(&batch.words[from..mark.at])?;
            from = mark.at;
            match &mark.kind {
                MarkKind::Event(event) => self.event(event)?,
                MarkKind::Stamp(stamp) => self.stamp(stamp),
                MarkKind::Sample(sample) => self.sample(sample),
            }
            if self.block.len() >= FULL {
                self.end_block()?;
            }
        }
        self.words(&batch.words[from..])
    }

    fn words(&mut self, words: &[u32]) -> io::Result<()> {
        let mut rest = words;
        while !rest.is_empty() {
            // At most as many as fit into the block; a word may be two events.
            if self.events + 2 > MOST_EVENTS {
                self.end_block()?;
            }
            let room = (FULL.saturating_sub(self.block.len()) / 6).clamp(1, (MOST_EVENTS - self.events) as usize / 2);
            let (some, more) = rest.split_at(room.min(rest.len()));
            rest = more;
            if self.events == 0 {
                self.began = self.last;
            }
            self.events += events_of(some) as u32;
            self.encode(some);
            if self.block.len() >= FULL - 6 || self.events >= MOST_EVENTS {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Writes entries and exits. This combines [`Writer::enter`] and [`Writer::exit`] in one loop, which produces most
    /// of a recording.
    fn encode(&mut self, words: &[u32]) {
        const NONE: u32 = u32::MAX;
        let mut leaf = self.leaf.take().unwrap_or(NONE);
        let mut exits = self.exits;
        let State { slots, open } = &mut self.state;
        let at = self.block.len();
        // Maximum length of a word: pending exits, and a function by name or the pending entry.
        self.block.resize(at + words.len() * 7 + 8, 0);
        let mut out = Out { bytes: &mut self.block, at };
        for &word in words {
            let id = (word & !LEAF) >> 2;
            // One branch for each kind: the processor predicts these better than a common one.
            if word & 3 == ENTER {
                if leaf != NONE {
                    out.called(slots, leaf, op::ENTER, op::ENTER_SLOT);
                    opened(open, leaf);
                } else {
                    out.settle(&mut exits);
                }
                leaf = id;
            } else if is_leaf(word) {
                if leaf != NONE {
                    out.called(slots, leaf, op::ENTER, op::ENTER_SLOT);
                    opened(open, leaf);
                    leaf = NONE;
                } else {
                    out.settle(&mut exits);
                }
                out.called(slots, id, op::LEAF, op::LEAF_SLOT);
            } else if leaf == id {
                leaf = NONE;
                out.called(slots, id, op::LEAF, op::LEAF_SLOT);
            } else {
                if leaf != NONE {
                    out.called(slots, leaf, op::ENTER, op::ENTER_SLOT);
                    opened(open, leaf);
                    leaf = NONE;
                }
                if open.last() == Some(&id) {
                    open.pop();
                    exits += 1;
                    if exits == op::MOST_EXITS {
                        out.settle(&mut exits);
                    }
                } else {
                    out.settle(&mut exits);
                    if let Some(up) = open.iter().rev().take(SEARCH).position(|open| *open == id) {
                        open.truncate(open.len() - 1 - up);
                    }
                    out.byte(op::EXIT);
                    out.number(id);
                }
            }
        }
        let at = out.at;
        self.block.truncate(at);
        self.leaf = Some(leaf).filter(|leaf| *leaf != NONE);
        self.exits = exits;
    }

    fn stamp(&mut self, stamp: &Stamp) {
        self.settle();
        let Stamp { over, called, returned, host, before_event } = *stamp;
        let called = called.max(self.stamped);
        let returned = returned.max(called);
        self.block.extend([op::MISUSE, op::STAMP]);
        (called - self.stamped).encode(&mut self.block);
        called.saturating_sub(over).encode(&mut self.block);
        (returned - called).encode(&mut self.block);
        host.encode(&mut self.block);
        self.block.push(u8::from(before_event));
        self.stamped = returned;
    }

    fn sample(&mut self, sample: &Sample) {
        self.settle();
        let Sample { weight, cost, place, path } = sample;
        let with_path = if path.is_some() { op::WITH_PATH } else { 0 };
        self.block.extend([op::MISUSE, op::SAMPLE]);
        weight.encode(&mut self.block);
        cost.encode(&mut self.block);
        let (kind, numbers) = match place {
            Place::Hook => (op::IN_HOOK, [None, None]),
            Place::Function { id, offset: None } => (op::IN_FUNCTION, [Some(id.0), None]),
            Place::Function { id, offset } => (op::AT_OFFSET, [Some(id.0), *offset]),
            Place::Engine => (op::IN_ENGINE, [None, None]),
            Place::Host => (op::IN_HOST, [None, None]),
            Place::Seen => (op::SEEN, [None, None]),
            Place::HookModule => (op::IN_HOOK_MODULE, [None, None]),
        };
        self.block.push(kind + with_path);
        numbers.into_iter().flatten().for_each(|number| number.encode(&mut self.block));
        if let Some(path) = path {
            path.len().encode(&mut self.block);
            path.iter().for_each(|id| id.0.encode(&mut self.block));
        }
    }

    /// Adds the source lines of sampled instructions.
    ///
    /// # Errors
    /// Those of writing.
    pub fn lines(&mut self, lines: &Lines) -> io::Result<()> {
        self.end_block()?;
        let rows: Vec<_> = lines.iter().collect();
        for rows in rows.chunks(MOST_LINES) {
            let mut files: Vec<&str> = rows.iter().map(|(_, (file, _))| *file).collect();
            files.sort_unstable();
            files.dedup();
            let mut block = Vec::new();
            files.len().encode(&mut block);
            files.iter().for_each(|file| cut(file).encode(&mut block));
            rows.len().encode(&mut block);
            for ((id, offset), (file, line)) in rows {
                let file = files.binary_search(file).expect("all of them are there");
                for number in [id.0, *offset, file as u32, *line] {
                    number.encode(&mut block);
                }
            }
            write_block(&mut self.out, LINES, &block)?;
        }
        Ok(())
    }
}

const ENTER: u32 = Kind::Enter as u32;

#[inline(always)]
fn opened(open: &mut Vec<u32>, id: u32) {
    if open.len() < MOST_OPEN {
        open.push(id);
    }
}

/// An output with reserved space.
struct Out<'o> {
    bytes: &'o mut [u8],
    at: usize,
}

impl Out<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.at] = byte;
        self.at += 1;
    }

    #[inline(always)]
    fn number(&mut self, number: u32) {
        // By value, so that the position stays in a register.
        self.at = write_number(self.bytes, self.at, number);
    }

    /// Writes a function: by its slot if it is there, otherwise by name.
    #[inline(always)]
    fn called(&mut self, slots: &mut [u32; SLOTS], id: u32, named: u8, in_slot: u8) {
        let slot = State::slot(id);
        if slots[slot] == id {
            return self.byte(in_slot + slot as u8);
        }
        slots[slot] = id;
        self.byte(named);
        self.number(id);
    }

    /// Writes pending exits.
    #[inline(always)]
    fn settle(&mut self, exits: &mut u8) {
        if *exits > 0 {
            self.byte(op::EXITS + *exits - 1);
            *exits = 0;
        }
    }
}

#[cold]
fn write_number(bytes: &mut [u8], mut at: usize, mut rest: u32) -> usize {
    while rest >= 0x80 {
        bytes[at] = rest as u8 | 0x80;
        at += 1;
        rest >>= 7;
    }
    bytes[at] = rest as u8;
    at + 1
}
