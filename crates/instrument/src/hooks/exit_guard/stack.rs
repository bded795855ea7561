//! Operators of the stack of open calls and spans, of which the guard's functions are built.

use wasm_encoder::{BlockType, Encode, HeapType, InstructionSink};

use super::indices::ExitGuard;

impl ExitGuard {
    pub(super) fn stack(&self) -> u32 {
        self.table + 1
    }

    /// The number of slots per entry.
    pub(super) fn step(&self) -> u32 {
        1 + self.spans.is_some() as u32
    }

    pub(super) fn write_enter(&self, code: &mut InstructionSink<'_>) {
        code.local_get(0).call(self.host);
        self.push(code, |code| {
            code.local_get(0).i32_const(self.lowest() as i32).i32_sub().table_get(self.table);
        });
    }

    /// Pushes an entry if there is room. `what` leaves the entry on the operand stack.
    pub(super) fn push(&self, code: &mut InstructionSink<'_>, what: impl FnOnce(&mut InstructionSink<'_>)) {
        let stack = self.stack();
        code.global_get(self.global).table_size(stack).i32_ge_u().if_(BlockType::Empty);
        code.ref_null(HeapType::FUNC).table_size(stack).table_grow(stack);
        code.drop().end();
        code.global_get(self.global).table_size(stack).i32_lt_u().if_(BlockType::Empty);
        code.global_get(self.global);
        what(code);
        code.table_set(stack).end();
        self.add(Step::Add, code);
    }

    pub(super) fn call_what_was_popped(&self, code: &mut InstructionSink<'_>) {
        code.global_get(self.global).call_indirect(self.stack(), self.plain);
    }

    pub(super) fn return_if_none_is_open(&self, code: &mut InstructionSink<'_>) {
        code.global_get(self.global).i32_eqz().if_(BlockType::Empty).return_().end();
    }

    pub(super) fn add(&self, by: Step, code: &mut InstructionSink<'_>) {
        code.global_get(self.global).i32_const(self.step() as i32);
        by.write(code).global_set(self.global);
    }

    pub(super) fn lowest(&self) -> u32 {
        self.ids.first().map_or(0, |id| id.0)
    }

    /// The number of slots of `$thunks` for ids. If the module opens spans, one more slot follows, for the thunk of
    /// calls that are gone.
    pub(super) fn thunks(&self) -> u32 {
        self.ids.last().map_or(0, |last| last.0 - self.lowest() + 1)
    }
}

/// The direction in which a global changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Add,
    Subtract,
}

impl Step {
    pub(super) fn write<'s, 'b>(self, code: &'s mut InstructionSink<'b>) -> &'s mut InstructionSink<'b> {
        match self {
            Step::Add => code.i32_add(),
            Step::Subtract => code.i32_sub(),
        }
    }
}

/// A body with `locals` locals of type `i32`, with its size field.
pub(super) fn body(locals: u8, write: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    let mut code = if locals == 0 { vec![0] } else { vec![1, locals, 0x7f] };
    let mut sink = InstructionSink::new(&mut code);
    write(&mut sink);
    sink.end();
    let mut body = Vec::with_capacity(code.len() + 2);
    code.as_slice().encode(&mut body);
    body
}
