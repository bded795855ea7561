//! Encodes the hooks that record into a buffer. [`wasmtrace_abi::buffer`] describes the buffer's layout.

use wasm_encoder::{BlockType, InstructionSink, MemArg};
use wasmtrace_abi::buffer::{
    ACTIVATION, CLOCK, COUNTERS, CURSOR, HALF_EVENT, Kind, LIMIT, NOBODY, THRESHOLD, event_size, word,
};
use wasmtrace_abi::hook::{HookSet, ProbeId};

use super::frame::Frame;

/// The hooks of one module that record into its buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    /// The index of the buffer's memory.
    pub(crate) memory: u32,
    /// The import that makes room in the buffer.
    pub(crate) flush: u32,
    /// Whether short calls are only counted.
    pub(crate) threshold: bool,
}

impl Buffer {
    fn event_size(&self) -> i32 {
        event_size(if self.threshold { HookSet::Threshold } else { HookSet::Buffer }) as i32
    }

    /// The entry hook: writes the first event of a call. The frame's first local holds the place of the event. If the
    /// function catches exceptions, the second local holds the activation number.
    pub(super) fn enter(&self, frame: Frame) -> Vec<u8> {
        written(|code| {
            self.event(frame, |code| constant(code, opening(frame)), code);
            if frame.catches {
                code.i32_const(0);
                self.shared(ACTIVATION, code);
                code.i32_const(1).i32_add().local_tee(frame.local + 1);
                code.i32_store(self.at(ACTIVATION));
            }
        })
    }

    /// The exit hook: writes the last event of a call, or removes the first one if the call was short.
    pub(super) fn exit(&self, frame: Frame) -> Vec<u8> {
        let Some(id) = frame.id else { return Vec::new() };
        let exit = |code: &mut InstructionSink<'_>| constant(code, word(id, Kind::Exit));
        written(|code| match (self.threshold, frame.is_leaf) {
            (false, false) => self.event(frame, exit, code),
            (false, true) => self.exit_of_leaf(frame, id, exit, code),
            (true, _) => self.exit_or_take_back(frame, id, exit, code),
        })
    }

    fn exit_of_leaf(
        &self,
        frame: Frame,
        id: ProbeId,
        exit: impl Fn(&mut InstructionSink<'_>),
        code: &mut InstructionSink<'_>,
    ) {
        let s = frame.local;
        code.local_get(s).i32_const(HALF_EVENT as i32).i32_add();
        self.shared(LIMIT, code);
        code.i32_ge_u().if_(BlockType::Empty).call(self.flush);
        self.shared(CURSOR, code);
        code.local_tee(s);
        self.write(frame, exit, code);
        code.else_().local_get(s);
        constant(code, word(id, Kind::Leaf));
        code.i32_store(self.at(0)).end();
    }

    fn exit_or_take_back(
        &self,
        frame: Frame,
        id: ProbeId,
        exit: impl Fn(&mut InstructionSink<'_>),
        code: &mut InstructionSink<'_>,
    ) {
        let s = frame.local;
        // True if the cursor directly follows the ENTER of this call, because nothing was written since …
        self.shared(CURSOR, code);
        code.local_get(s).i32_const(self.event_size()).i32_add().i32_eq();
        // … and if the place still holds that ENTER: the block may have been delivered and reused.
        code.local_get(s).i32_load(self.at(0));
        constant(code, opening(frame));
        code.i32_eq().i32_and();
        // True if the call was short.
        self.shared(CLOCK, code);
        code.local_get(s).i32_load(self.at(4)).i32_sub();
        self.shared(THRESHOLD, code);
        code.i32_lt_u().i32_and();
        code.if_(BlockType::Empty);
        code.i32_const(0).local_get(s).i32_store(self.at(CURSOR));
        if frame.catches {
            // This number is the last one in use: calls with later numbers have removed their events. So the number is
            // free again.
            code.i32_const(0).local_get(s + 1).i32_const(1).i32_sub().i32_store(self.at(ACTIVATION));
        }
        let counter = COUNTERS + 4 * id.0;
        code.i32_const(0);
        self.shared(counter, code);
        code.i32_const(1).i32_add().i32_store(self.at(counter));
        code.else_();
        self.event(frame, exit, code);
        code.end();
    }

    /// The catch report: writes an event with the activation number.
    pub(super) fn caught(&self, frame: Frame) -> Vec<u8> {
        // The low 29 bits of the number. The top bit is `LEAF`.
        let number = |code: &mut InstructionSink<'_>| {
            code.local_get(frame.local + 1).i32_const(3).i32_shl().i32_const(1).i32_shr_u();
            code.i32_const(Kind::Caught as i32).i32_or();
        };
        written(|code| self.event(frame, number, code))
    }

    /// Makes room in the buffer, then writes an event.
    fn event(&self, frame: Frame, word: impl Fn(&mut InstructionSink<'_>), code: &mut InstructionSink<'_>) {
        let s = frame.local;
        self.shared(CURSOR, code);
        code.local_tee(s);
        self.shared(LIMIT, code);
        code.i32_ge_u().if_(BlockType::Empty).call(self.flush);
        self.shared(CURSOR, code);
        code.local_set(s).end().local_get(s);
        self.write(frame, word, code);
    }

    /// Writes an event at the place in the frame's local, which is also on the operand stack. Moves the cursor past
    /// the event.
    fn write(&self, frame: Frame, word: impl Fn(&mut InstructionSink<'_>), code: &mut InstructionSink<'_>) {
        let s = frame.local;
        word(code);
        code.i32_store(self.at(0));
        if self.threshold {
            code.local_get(s);
            self.shared(CLOCK, code);
            code.i32_store(self.at(4));
        }
        code.i32_const(0).local_get(s).i32_const(self.event_size()).i32_add().i32_store(self.at(CURSOR));
    }

    /// Loads a word of the buffer's header.
    fn shared(&self, offset: u32, code: &mut InstructionSink<'_>) {
        code.i32_const(0).i32_load(self.at(offset));
    }

    /// The memory argument of an aligned 32-bit access to the buffer.
    fn at(&self, offset: u32) -> MemArg {
        MemArg { offset: offset.into(), align: 2, memory_index: self.memory }
    }
}

/// The first word of the first event of a call.
fn opening(frame: Frame) -> u32 {
    word(frame.id.unwrap_or(NOBODY), if frame.catches { Kind::Catching } else { Kind::Enter })
}

fn constant(code: &mut InstructionSink<'_>, value: u32) {
    code.i32_const(value as i32);
}

fn written(write: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    write(&mut InstructionSink::new(&mut bytes));
    bytes
}
