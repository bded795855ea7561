//! Writing recordings.

use std::io::{self, Write};

use wasm_encoder::Encode;

use super::{END, EVENTS, FULL, Footer, HEADER, Header, MAGIC, MOST_EVENTS, State, VERSION, cut, op, write_block};
use crate::context::Context;
use crate::event::{Event, EventKind, Manual, RunOutcome, Trap};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::Manifest;

mod batches;

/// Writes a recording.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    state: State,
    /// The block under construction, and its number of events.
    block: Vec<u8>,
    events: u32,
    /// Begin of the block, and the last time written.
    began: u64,
    last: u64,
    /// The unit of times in nanoseconds.
    unit: u64,
    /// The call that was entered last, if it may turn out to be a leaf call.
    leaf: Option<u32>,
    /// Number of pending exits of the innermost call.
    exits: u8,
    /// Time at which the last stamp ended.
    stamped: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording and writes its header. Blocks are written as they fill: give a file without a buffer.
    ///
    /// # Errors
    /// Those of writing.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let mut block = Vec::new();
        VERSION.encode(&mut block);
        cut(&header.program).encode(&mut block);
        header.began.encode(&mut block);
        header.clock.as_str().encode(&mut block);
        header.resolution.encode(&mut block);
        header.min_duration.encode(&mut block);
        header.max_depth.map_or(0, |depth| u64::from(depth) + 1).encode(&mut block);
        // Recordings do not contain the data for restoring the module.
        Manifest { restore: None, ..header.manifest.clone() }.encode().as_slice().encode(&mut block);
        let none = Context { trace: 0, run: 0, parent: None, flags: 0, state: String::new() };
        let Context { trace, run, parent, flags, state } = header.context.as_ref().unwrap_or(&none);
        block.extend(trace.to_be_bytes());
        block.extend(run.to_be_bytes());
        block.extend(parent.unwrap_or(0).to_be_bytes());
        block.push(*flags);
        cut(state).encode(&mut block);
        header.resource.len().encode(&mut block);
        for (key, value) in &header.resource {
            cut(key).encode(&mut block);
            cut(value).encode(&mut block);
        }
        block.push(u8::from(header.stamped));
        cut(header.not_sampled.as_deref().unwrap_or_default()).encode(&mut block);
        block.push(header.resumption.map_or(0, |resumption| resumption as u8));
        for probe in &header.manifest.probes {
            probe.label.index.map_or(0, |index| u64::from(index) + 1).encode(&mut block);
        }
        out.write_all(&MAGIC)?;
        write_block(&mut out, HEADER, &block)?;
        out.flush()?;
        // The times of a buffer are whole ticks.
        let unit = if header.clock == "hook" { 1 } else { wasmtrace_abi::buffer::TICK };
        let block = Vec::with_capacity(FULL + 1024);
        let state = State::new();
        Ok(Writer { out, state, block, events: 0, began: 0, last: 0, unit, leaf: None, exits: 0, stamped: 0 })
    }

    /// Adds an event. Its time must not be earlier than that of the previous event.
    ///
    /// # Errors
    /// Those of writing.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        if event.at != self.last || self.events == 0 {
            self.time(event.at);
        }
        self.events += 1;
        match &event.kind {
            EventKind::Enter(probe) => self.enter(probe.0),
            EventKind::Exit(probe) => self.exit(probe.0),
            other => {
                self.settle();
                self.rare(other);
            }
        }
        if self.block.len() >= FULL || self.events >= MOST_EVENTS {
            self.end_block()?;
        }
        Ok(())
    }

    #[inline]
    fn enter(&mut self, id: u32) {
        self.settle();
        self.leaf = Some(id);
    }

    #[inline]
    fn exit(&mut self, id: u32) {
        match self.leaf {
            Some(leaf) if leaf == id => {
                self.leaf = None;
                self.called(leaf, op::LEAF, op::LEAF_SLOT);
            }
            _ => {
                self.settle_leaf();
                if self.state.open.last() == Some(&id) {
                    self.state.open.pop();
                    self.exits += 1;
                    if self.exits == op::MOST_EXITS {
                        self.settle_exits();
                    }
                } else {
                    self.settle_exits();
                    self.state.left(id);
                    self.number(op::EXIT, id.into());
                }
            }
        }
    }

    /// Ends and writes the current block, so that all events so far survive the end of the process.
    ///
    /// # Errors
    /// Those of writing.
    pub fn flush(&mut self) -> io::Result<()> {
        self.end_block()?;
        self.out.flush()
    }

    /// Writes the footer and returns the output.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self, end: &Footer) -> io::Result<W> {
        self.end_block()?;
        let mut block = Vec::new();
        end.duration.encode(&mut block);
        match &end.ending {
            RunOutcome::Returned => block.push(0),
            RunOutcome::Exited(code) => {
                block.push(1);
                (*code as u32).encode(&mut block);
            }
            RunOutcome::Trapped(Trap { code, message, frames }) => {
                block.push(2);
                cut(code).encode(&mut block);
                cut(message).encode(&mut block);
                frames.len().encode(&mut block);
                frames.iter().for_each(|frame| frame.encode(&mut block));
            }
            RunOutcome::Interrupted(signal) => {
                block.push(3);
                (*signal as u32).encode(&mut block);
            }
            RunOutcome::Unknown => block.push(4),
        }
        write_block(&mut self.out, END, &block)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes pending exits, which were held back to combine them.
    #[inline]
    fn settle(&mut self) {
        self.settle_leaf();
        self.settle_exits();
    }

    #[inline]
    fn settle_leaf(&mut self) {
        if let Some(id) = self.leaf.take() {
            self.called(id, op::ENTER, op::ENTER_SLOT);
            self.state.entered(id);
        }
    }

    #[inline]
    fn settle_exits(&mut self) {
        if self.exits > 0 {
            self.block.push(op::EXITS + self.exits - 1);
            self.exits = 0;
        }
    }

    #[inline]
    fn called(&mut self, id: u32, named: u8, in_slot: u8) {
        self.settle_exits();
        let slot = State::slot(id);
        if self.state.slots[slot] == id {
            self.block.push(in_slot + slot as u8);
        } else {
            self.state.slots[slot] = id;
            self.number(named, id.into());
        }
    }

    /// Writes the difference between the last time and this one.
    #[inline]
    fn time(&mut self, at: u64) {
        self.settle();
        let at = at.max(self.last);
        if self.events == 0 {
            self.began = at;
            self.last = at;
            return;
        }
        let passed = at - self.last;
        self.last = at;
        match passed / self.unit {
            0 if passed == 0 => {}
            _ if !passed.is_multiple_of(self.unit) => self.number(op::TIME_NANOS, passed),
            units @ 1..=op::MOST_TIME => self.block.push(op::TIMES + (units - 1) as u8),
            units @ 33..=op::MOST_LONG_TIME => self.block.push(op::LONG_TIMES + (units - 33) as u8),
            units => self.number(op::TIME, units),
        }
    }

    fn number(&mut self, op: u8, number: u64) {
        self.block.push(op);
        number.encode(&mut self.block);
    }

    fn text(&mut self, op: u8, text: &str) {
        self.block.push(op);
        cut(text).encode(&mut self.block);
    }

    #[cold]
    fn rare(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Enter(_) | EventKind::Exit(_) => unreachable!("these are not rare"),
            EventKind::ExitInnermost => {
                self.state.open.pop();
                self.block.push(op::EXIT_INNERMOST);
            }
            EventKind::Unwound(ProbeId(id)) => {
                self.state.left(*id);
                self.number(op::UNWOUND, (*id).into());
            }
            EventKind::MemoryGrow(pages) => self.number(op::MEMORY_GROW, (*pages).into()),
            EventKind::Elided(ProbeId(id), calls) => {
                self.number(op::ELIDED, (*id).into());
                calls.encode(&mut self.block);
            }
            EventKind::ClockGap(nanos) => self.number(op::CLOCK_GAP, *nanos),
            EventKind::Manual(manual) => match &**manual {
                Manual::SpanEnter(name) => self.text(op::SPAN_ENTER, name),
                Manual::SpanExit => self.block.push(op::SPAN_EXIT),
                Manual::Tags(tags) => self.text(op::TAGS, tags),
                Manual::Metric(line) => self.text(op::METRIC, line),
                Manual::Log(level, message) => {
                    self.block.extend([op::LOG, *level as u8]);
                    cut(message).encode(&mut self.block);
                }
                Manual::Misuse(misuse) => self.block.extend([op::MISUSE, *misuse as u8]),
            },
        }
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.settle();
        if self.block.is_empty() {
            return Ok(());
        }
        if self.events == 0 {
            self.began = self.last;
        }
        let mut head = Vec::with_capacity(32);
        self.began.encode(&mut head);
        self.unit.encode(&mut head);
        self.events.encode(&mut head);
        // A single write, so that a killed process leaves complete blocks, except for the last.
        let ops = std::mem::take(&mut self.block);
        head.extend_from_slice(&ops);
        self.block = ops;
        self.block.clear();
        self.events = 0;
        write_block(&mut self.out, EVENTS, &head)
    }
}
