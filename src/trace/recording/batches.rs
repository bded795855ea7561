//! Writing of batches: words, and the marks among them.

use std::io::{self, Write};

use wasm_encoder::Encode;

use super::super::batch::{Batch, MarkKind, Place, Sample, Stamp};
use super::super::lines::Lines;
use super::{FULL, LINES, MOST_EVENTS, MOST_LINES, MOST_OPEN, SEARCH, State, Writer, cut, op, write_block};

impl<W: Write> Writer<W> {
    /// Adds a batch. If the header says that events are stamped, its words are written without times; else it has none.
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
            // So many that the block is full behind them at the most.
            let room = (FULL.saturating_sub(self.block.len()) / 6).clamp(1, (MOST_EVENTS - self.events) as usize);
            let (some, more) = rest.split_at(room.min(rest.len()));
            rest = more;
            if self.events == 0 {
                self.began = self.last;
            }
            self.events += some.len() as u32;
            self.encode(some);
            if self.block.len() >= FULL - 6 || self.events >= MOST_EVENTS {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Writes entries and exits: [`Writer::enter`] and [`Writer::exit`] in one loop, since most of a recording is made here.
    fn encode(&mut self, words: &[u32]) {
        const NONE: u32 = u32::MAX;
        let mut leaf = self.leaf.take().unwrap_or(NONE);
        let mut exits = self.exits;
        let State { slots, open } = &mut self.state;
        let mut at = self.block.len();
        // No word takes more: exits that were held back, and a function by its name.
        self.block.resize(at + words.len() * 7 + 8, 0);
        let out = &mut self.block[..];
        let settle = |exits: &mut u8, out: &mut [u8], at: &mut usize| {
            if *exits > 0 {
                out[*at] = op::EXITS + *exits - 1;
                *at += 1;
                *exits = 0;
            }
        };
        let mut called = |id: u32, named: u8, in_slot: u8, out: &mut [u8], at: &mut usize| {
            let slot = State::slot(id);
            if slots[slot] == id {
                out[*at] = in_slot + slot as u8;
                *at += 1;
                return;
            }
            slots[slot] = id;
            out[*at] = named;
            *at += 1;
            let mut rest = id;
            loop {
                let byte = (rest & 0x7f) as u8;
                rest >>= 7;
                out[*at] = if rest > 0 { byte | 0x80 } else { byte };
                *at += 1;
                if rest == 0 {
                    return;
                }
            }
        };
        for &word in words {
            let id = word >> 2;
            if word & 3 == 0 {
                settle(&mut exits, out, &mut at);
                if leaf != NONE {
                    called(leaf, op::ENTER, op::ENTER_SLOT, out, &mut at);
                    if open.len() < MOST_OPEN {
                        open.push(leaf);
                    }
                }
                leaf = id;
            } else if leaf == id {
                settle(&mut exits, out, &mut at);
                called(id, op::LEAF, op::LEAF_SLOT, out, &mut at);
                leaf = NONE;
            } else {
                if leaf != NONE {
                    settle(&mut exits, out, &mut at);
                    called(leaf, op::ENTER, op::ENTER_SLOT, out, &mut at);
                    if open.len() < MOST_OPEN {
                        open.push(leaf);
                    }
                    leaf = NONE;
                }
                if open.last() == Some(&id) {
                    open.pop();
                    exits += 1;
                    if exits == op::MOST_EXITS {
                        settle(&mut exits, out, &mut at);
                    }
                } else {
                    settle(&mut exits, out, &mut at);
                    if let Some(up) = open.iter().rev().take(SEARCH).position(|open| *open == id) {
                        open.truncate(open.len() - 1 - up);
                    }
                    out[at] = op::EXIT;
                    at += 1;
                    let mut number = Vec::new();
                    id.encode(&mut number);
                    out[at..at + number.len()].copy_from_slice(&number);
                    at += number.len();
                }
            }
        }
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
        };
        self.block.push(kind + with_path);
        numbers.into_iter().flatten().for_each(|number| number.encode(&mut self.block));
        if let Some(path) = path {
            path.len().encode(&mut self.block);
            path.iter().for_each(|id| id.0.encode(&mut self.block));
        }
    }

    /// Adds the source lines of places where samples were taken.
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
