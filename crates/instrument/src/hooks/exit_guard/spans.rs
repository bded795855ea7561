//! Spans that the guest opens itself, for hosts that only accept the exit of the innermost open call or span.
//!
//! A function can open a span and return, and another function can close the span. A program can also end while spans
//! are open. Such a host treats an exit that is not the innermost as an error, and then rejects every later exit. So a
//! module that opens spans keeps them on the same stack as its calls. It reports to the host in nested order:
//!
//! - If a call leaves spans open, its exit *waits* for them. It is reported after their exits.
//! - If calls are open on top of a span, the exit of the span waits for them. But a helper may end one phase and begin
//!   the next, so that another span is opened before these calls return. Then these calls are exited before that span.
//!   They stay on the stack as calls that are *gone*, and their later exits are not reported.
//! - If no span is open, the exit of a span is not reported.
//! - When the outermost call returns, everything that it left open is exited, because the module cannot see a later
//!   end. Spans below that call were opened by functions that are not hooked, and stay open. An exit before a tail
//!   call is not the return of the outermost call.
//!
//! Each entry of the stack takes two slots of the table. The first slot holds null for a span, or the thunk of a call.
//! The second slot is not null if the exit waits. A waiting entry is never the innermost, because it would then be
//! reported.
//!
//! If a helper opens a span, the span becomes a part of the helper's call, which lasts as long as the span. The
//! alternative is to close the span early and to open it again in the caller. But the name of the span may no longer
//! be in memory then.
//!
//! ```wat
//! (global $calls (mut i32) …)   ;; that run, and do not wait
//! (global $open (mut i32) …)    ;; spans that do not wait
//! (global $closed (mut i32) …)  ;; spans that do
//! (func $exit (param $id i32) (local $at i32)
//!   (if ($calls != 1)  local.get $id  call $leave  return)
//!   ($at: the outermost call of all)  (calls = 0)  local.get $at  call $close  call $settle)
//! (func $leave (param $id i32) (local $at i32)  ;; before a tail call, and for all calls that are not the outermost
//!   (return if $calls = 0)  (calls -= 1)
//!   ($at: the innermost call that does not wait, which is this one)
//!   (table.set $stack $at + 1 (table.get $thunks 0))  call $settle)
//! (func $opening (local $gone i32)  ;; before the import's call
//!   loop  (if $closed  (depth -= 2)  ($gone += 1 of a call that does not wait)  call $tell  br 1)  end
//!   call $settle  ($gone times: table.set $stack depth $gone, depth += 2)
//!   (table.set $stack depth null)  (depth += 2)  (open += 1))
//! (func $closing (result i32) (local $at i32)  ;; 1: report the exit to the host; then $settle is called
//!   (return 0 if $open = 0)  (open -= 1)
//!   ;; $at: the innermost span that does not wait
//!   (if it is the innermost of all: depth -= 2, 1)
//!   (else: table.set $stack $at + 1 (table.get $thunks 0), closed += 1, 0))
//! (func $settle  ;; reports waiting exits, as long as they are the innermost
//!   loop  (return if depth = 0 or the innermost does not wait)  (depth -= 2)  call $tell  br 0  end)
//! (func $close (param $to i32)  loop  (return if depth <= $to)  (depth -= 2)  call $tell  br 0  end)
//! (func $tell (local $waited i32)  ;; reports the exit of the entry that was popped
//!   …)
//! (func $gone)  ;; the thunk of a call whose exit was reported
//! ```
//!
//! Entries beyond the size of the table are not recorded. The exit of such an entry is treated as the exit of the
//! innermost.

use super::indices::{CALLS, CLOSE, CLOSED, ExitGuard, LEAVE, OPEN, SETTLE, SPAN_FUNCTIONS, Spans, TELL};
use super::stack::{Step, body};
use wasm_encoder::{BlockType, HeapType, InstructionSink};

impl Spans {
    /// The types of the functions for spans. `plain` is `() -> ()`, `takes` is `(i32) -> ()`.
    pub(super) fn types(&self, plain: u32, takes: u32) -> [u32; SPAN_FUNCTIONS as usize] {
        [takes, plain, self.answers, plain, plain, takes, plain]
    }

    /// The bodies of all functions except the thunks, each with its size field.
    pub(super) fn bodies(&self, exit_guard: &ExitGuard) -> Vec<Vec<u8>> {
        let own = [
            Spans::leave,
            Spans::opening,
            Spans::closing,
            Spans::settle,
            Spans::tell,
            Spans::close,
            |_: &Spans, _: &ExitGuard| body(0, |_| ()),
        ];
        let mut bodies = vec![self.enter(exit_guard), self.exit(exit_guard), self.exit_guard(exit_guard)];
        bodies.extend(own.map(|body| body(self, exit_guard)));
        bodies
    }

    fn enter(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(0, |code| {
            exit_guard.write_enter(code);
            count(exit_guard, CALLS, Step::Add, code);
        })
    }

    fn exit(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(1, |code| {
            let calls = exit_guard.global + CALLS;
            code.global_get(calls).i32_const(1).i32_eq().i32_eqz().if_(BlockType::Empty);
            code.local_get(0).call(exit_guard.first + LEAVE).return_().end();
            // If the table holds no call, all its entries belong to functions that are not hooked.
            code.loop_(BlockType::Empty);
            code.local_get(1).global_get(exit_guard.global).i32_lt_u().if_(BlockType::Empty);
            code.local_get(1).table_size(exit_guard.stack()).i32_lt_u().if_(BlockType::Empty);
            code.local_get(1).table_get(exit_guard.stack()).ref_is_null().if_(BlockType::Empty);
            code.local_get(1).i32_const(2).i32_add().local_set(1);
            code.br(3).end().end().end().end();
            code.i32_const(0).global_set(calls);
            code.local_get(1).call(exit_guard.first + CLOSE).call(exit_guard.first + SETTLE);
        })
    }

    fn leave(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(1, |code| {
            return_if_none(exit_guard, CALLS, code);
            count(exit_guard, CALLS, Step::Subtract, code);
            code.global_get(exit_guard.global).table_size(exit_guard.stack());
            code.i32_gt_u().if_(BlockType::Empty);
            exit_guard.add(Step::Subtract, code);
            code.local_get(0).call(exit_guard.host + 1).else_();
            find(exit_guard, 1, Wanted::Call, code);
            wait(exit_guard, 1, code);
            code.end().call(exit_guard.first + SETTLE);
        })
    }

    fn opening(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        let stack = exit_guard.stack();
        body(1, |code| {
            code.global_get(exit_guard.global).table_size(stack).i32_le_u().if_(BlockType::Empty);
            code.loop_(BlockType::Empty).global_get(exit_guard.global + CLOSED).if_(BlockType::Empty);
            exit_guard.add(Step::Subtract, code);
            code.global_get(exit_guard.global).table_get(stack).ref_is_null().i32_eqz();
            code.if_(BlockType::Empty).local_get(0);
            waits(exit_guard, code);
            code.i32_eqz().i32_add().local_set(0).end();
            code.call(exit_guard.first + TELL).br(1).end().end();
            code.call(exit_guard.first + SETTLE);
            code.loop_(BlockType::Empty).local_get(0).if_(BlockType::Empty);
            code.local_get(0).i32_const(1).i32_sub().local_set(0);
            exit_guard.push(code, |code| _ = code.i32_const(exit_guard.thunks() as i32).table_get(exit_guard.table));
            code.br(1).end().end().end();
            exit_guard.push(code, |code| _ = code.ref_null(HeapType::FUNC));
            count(exit_guard, OPEN, Step::Add, code);
        })
    }

    fn closing(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(1, |code| {
            code.global_get(exit_guard.global + OPEN).i32_eqz().if_(BlockType::Empty);
            code.i32_const(0).return_().end();
            count(exit_guard, OPEN, Step::Subtract, code);
            code.global_get(exit_guard.global).table_size(exit_guard.stack());
            code.i32_gt_u().if_(BlockType::Empty);
            exit_guard.add(Step::Subtract, code);
            code.i32_const(1).return_().end();
            find(exit_guard, 0, Wanted::Span, code);
            code.local_get(0).global_get(exit_guard.global).i32_const(2).i32_sub().i32_eq();
            code.if_(BlockType::Empty).local_get(0).global_set(exit_guard.global);
            code.i32_const(1).return_().end();
            wait(exit_guard, 0, code);
            count(exit_guard, CLOSED, Step::Add, code);
            code.i32_const(0);
        })
    }

    fn settle(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        let stack = exit_guard.stack();
        body(0, |code| {
            code.loop_(BlockType::Empty);
            exit_guard.return_if_none_is_open(code);
            code.global_get(exit_guard.global).table_size(stack);
            code.i32_gt_u().if_(BlockType::Empty).return_().end();
            code.global_get(exit_guard.global).i32_const(1).i32_sub().table_get(stack);
            code.ref_is_null().if_(BlockType::Empty).return_().end();
            exit_guard.add(Step::Subtract, code);
            code.call(exit_guard.first + TELL).br(0).end();
        })
    }

    fn exit_guard(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(0, |code| {
            code.i32_const(0).global_set(exit_guard.global + CALLS);
            code.i32_const(0).call(exit_guard.first + CLOSE);
            code.i32_const(0).global_set(exit_guard.global + OPEN);
        })
    }

    fn close(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        body(0, |code| {
            code.loop_(BlockType::Empty).global_get(exit_guard.global).local_get(0);
            code.i32_le_u().if_(BlockType::Empty).return_().end();
            exit_guard.add(Step::Subtract, code);
            code.global_get(exit_guard.global).table_size(exit_guard.stack());
            code.i32_lt_u().if_(BlockType::Empty).call(exit_guard.first + TELL).end();
            code.br(0).end();
        })
    }

    fn tell(&self, exit_guard: &ExitGuard) -> Vec<u8> {
        let stack = exit_guard.stack();
        body(1, |code| {
            waits(exit_guard, code);
            code.local_set(0);
            code.global_get(exit_guard.global).i32_const(1).i32_add().ref_null(HeapType::FUNC);
            code.table_set(stack);
            code.global_get(exit_guard.global).table_get(stack);
            code.ref_is_null().if_(BlockType::Empty);
            code.local_get(0).if_(BlockType::Empty);
            count(exit_guard, CLOSED, Step::Subtract, code);
            code.else_();
            count(exit_guard, OPEN, Step::Subtract, code);
            code.end().call(self.close).else_();
            exit_guard.call_what_was_popped(code);
            code.end();
        })
    }
}

/// Adds one to a counter, or subtracts one. `global` is the counter's offset from the global of the depth.
fn count(exit_guard: &ExitGuard, global: u32, by: Step, code: &mut InstructionSink<'_>) {
    let global = exit_guard.global + global;
    code.global_get(global).i32_const(1);
    by.write(code).global_set(global);
}

fn return_if_none(exit_guard: &ExitGuard, global: u32, code: &mut InstructionSink<'_>) {
    code.global_get(exit_guard.global + global).i32_eqz().if_(BlockType::Empty).return_().end();
}

/// Whether the exit of the popped entry has waited.
fn waits(exit_guard: &ExitGuard, code: &mut InstructionSink<'_>) {
    code.global_get(exit_guard.global).i32_const(1).i32_add().table_get(exit_guard.stack());
    code.ref_is_null().i32_eqz();
}

/// The kind of entry to find on the stack.
#[derive(PartialEq)]
enum Wanted {
    Call,
    Span,
}

/// Sets the local to the slot of the innermost entry of this kind that does not wait. If there is none, the function
/// returns; when looking for a span, it returns 0.
fn find(exit_guard: &ExitGuard, local: u32, what: Wanted, code: &mut InstructionSink<'_>) {
    let stack = exit_guard.stack();
    code.global_get(exit_guard.global).local_set(local).loop_(BlockType::Empty);
    code.local_get(local).i32_eqz().if_(BlockType::Empty);
    if what == Wanted::Span {
        code.i32_const(0);
    }
    code.return_().end();
    code.local_get(local).i32_const(2).i32_sub().local_set(local);
    code.local_get(local).table_get(stack).ref_is_null();
    if what == Wanted::Span {
        code.i32_eqz();
    }
    code.br_if(0);
    code.local_get(local).i32_const(1).i32_add().table_get(stack);
    code.ref_is_null().i32_eqz().br_if(0).end();
}

/// Marks the entry in the local as waiting.
fn wait(exit_guard: &ExitGuard, local: u32, code: &mut InstructionSink<'_>) {
    code.local_get(local).i32_const(1).i32_add();
    code.i32_const(0).table_get(exit_guard.table).table_set(exit_guard.stack());
}
