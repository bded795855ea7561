//! Spans that the guest opens itself, on a host that looks at the innermost of all that is open alone.
//!
//! A function may open a span and return, and another one may close it; and a program may end while spans are open. Such a host
//! takes an exit that is not of the innermost for a mistake, and from then on everything is one. So a module that opens spans keeps
//! them where it keeps its calls, and what it tells the host is nested:
//!
//! - The exit of a call that has left spans open *waits* for them, and is told behind theirs.
//! - The exit of a span that calls stand on waits for those. But if another span is opened meanwhile, as a helper does that ends
//!   one phase and begins the next, those calls are exited first: they stay where they were as calls that are *gone*, whose own
//!   exits are told to nobody.
//! - An exit of a span where none is open is told to nobody.
//! - When the outermost call returns, what it has left open is exited: nothing tells the module of a later end. What stands below
//!   it, opened by functions that are not hooked, is theirs. An exit before a tail call is not the outermost's return.
//!
//! A slot of the table holds null for a span, as it holds a thunk for a call; and another slot follows each, which holds what is
//! not null if the exit waits. What waits is never the innermost, since it is told then. In a helper that opens a span the span
//! is so a part of the helper, which takes as long. The road not taken is to close the span early and to open it again in the
//! caller: its name may not be there any more.
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
//! (func $closing (result i32) (local $at i32)  ;; whether the host is to be told; then $settle is called
//!   (return 0 if $open = 0)  (open -= 1)
//!   ;; $at: the innermost span that does not wait
//!   (if it is the innermost of all: depth -= 2, 1)
//!   (else: table.set $stack $at + 1 (table.get $thunks 0), closed += 1, 0))
//! (func $settle  ;; tells what has waited, as long as that is the innermost
//!   loop  (return if depth = 0 or the innermost does not wait)  (depth -= 2)  call $tell  br 0  end)
//! (func $close (param $to i32)  loop  (return if depth <= $to)  (depth -= 2)  call $tell  br 0  end)
//! (func $tell (local $waited i32)  ;; the exit of what was popped
//!   …)
//! (func $gone)  ;; the thunk of a call whose exit has been told
//! ```
//!
//! Beyond what the table holds nothing is known, and each exit is taken for one of the innermost.

use super::code::{Code, op};
use super::{Balance, Role};
use crate::rewrite::body::END;

/// How many functions there are for spans.
pub(super) const OWN: u32 = NAMES.len() as u32;
/// What they are called.
pub(super) const NAMES: [&str; 7] = ["leave", "opening", "closing", "settle", "tell", "close", "gone"];

/// Where they stand, behind `$enter`.
pub(crate) const LEAVE: u32 = super::OWN;
pub(crate) const OPENING: u32 = LEAVE + 1;
pub(crate) const CLOSING: u32 = LEAVE + 2;
pub(crate) const SETTLE: u32 = LEAVE + 3;
const TELL: u32 = LEAVE + 4;
pub(crate) const CLOSE: u32 = LEAVE + 5;
pub(super) const GONE: u32 = LEAVE + 6;

/// Globals behind the depth's.
pub(super) const GLOBALS: u32 = 3;
const CALLS: u32 = 1;
const OPEN: u32 = 2;
const CLOSED: u32 = 3;

/// The indices that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// The import that closes a span.
    pub(crate) close: u32,
    /// The type `() -> i32`.
    pub(crate) answers: u32,
}

impl Spans {
    /// Which import closes spans, if the module opens any.
    pub(crate) fn closed_by(roles: &[(u32, Role)]) -> Option<u32> {
        roles.iter().find(|(_, role)| *role == Role::Closes).map(|(import, _)| *import)
    }

    /// The types of the functions; `plain` is `() -> ()`, `takes` is `(i32) -> ()`.
    pub(super) fn types(&self, plain: u32, takes: u32) -> [u32; OWN as usize] {
        [takes, plain, self.answers, plain, plain, takes, plain]
    }

    /// The body of each function that is no thunk, with its size field.
    pub(super) fn bodies(&self, balance: &Balance) -> Vec<Vec<u8>> {
        let own = [
            Spans::leave,
            Spans::opening,
            Spans::closing,
            Spans::settle,
            Spans::tell,
            Spans::close,
            |_: &Spans, _: &Balance| Code::new(0).body(),
        ];
        let mut bodies = vec![self.enter(balance), self.exit(balance), self.balance(balance)];
        bodies.extend(own.map(|body| body(self, balance)));
        bodies
    }

    fn enter(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(0);
        balance.write_enter(&mut code);
        count(balance, CALLS, op::I32_ADD, &mut code);
        code.body()
    }

    fn exit(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(1);
        let calls = balance.global + CALLS;
        code.with(op::GLOBAL_GET, calls).constant(1).plain(&[op::I32_EQ, op::I32_EQZ, op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 0).with(op::CALL, balance.first + LEAVE).plain(&[op::RETURN, END]);
        // Where there is no call in the table, all of it is others'.
        code.plain(&[op::LOOP, op::EMPTY]);
        code.with(op::LOCAL_GET, 1).with(op::GLOBAL_GET, balance.global).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 1).table(op::SIZE, balance.stack()).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 1).with(op::TABLE_GET, balance.stack()).plain(&[op::REF_IS_NULL, op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 1).constant(2).plain(&[op::I32_ADD]).with(op::LOCAL_SET, 1);
        code.with(op::BR, 3).plain(&[END, END, END, END]);
        code.constant(0).with(op::GLOBAL_SET, calls);
        code.with(op::LOCAL_GET, 1).with(op::CALL, balance.first + CLOSE).with(op::CALL, balance.first + SETTLE);
        code.body()
    }

    fn leave(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(1);
        return_if_none(balance, CALLS, &mut code);
        count(balance, CALLS, op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, balance.stack());
        code.plain(&[op::I32_GT_U, op::IF, op::EMPTY]);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::CALL, balance.host + 1).plain(&[op::ELSE]);
        find(balance, 1, Wanted::Call, &mut code);
        wait(balance, 1, &mut code);
        code.plain(&[END]).with(op::CALL, balance.first + SETTLE);
        code.body()
    }

    fn opening(&self, balance: &Balance) -> Vec<u8> {
        let stack = balance.stack();
        let mut code = Code::new(1);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, stack).plain(&[op::I32_LE_U, op::IF, op::EMPTY]);
        code.plain(&[op::LOOP, op::EMPTY]).with(op::GLOBAL_GET, balance.global + CLOSED).plain(&[op::IF, op::EMPTY]);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, balance.global).with(op::TABLE_GET, stack).plain(&[op::REF_IS_NULL, op::I32_EQZ]);
        code.plain(&[op::IF, op::EMPTY]).with(op::LOCAL_GET, 0);
        waits(balance, &mut code);
        code.plain(&[op::I32_EQZ, op::I32_ADD]).with(op::LOCAL_SET, 0).plain(&[END]);
        code.with(op::CALL, balance.first + TELL).with(op::BR, 1).plain(&[END, END]);
        code.with(op::CALL, balance.first + SETTLE);
        code.plain(&[op::LOOP, op::EMPTY]).with(op::LOCAL_GET, 0).plain(&[op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 0).constant(1).plain(&[op::I32_SUB]).with(op::LOCAL_SET, 0);
        balance.push(&mut code, |code| _ = code.constant(balance.thunks()).with(op::TABLE_GET, balance.table));
        code.with(op::BR, 1).plain(&[END, END, END]);
        balance.push(&mut code, |code| _ = code.plain(&[op::REF_NULL, op::FUNCREF]));
        count(balance, OPEN, op::I32_ADD, &mut code);
        code.body()
    }

    fn closing(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(1);
        code.with(op::GLOBAL_GET, balance.global + OPEN).plain(&[op::I32_EQZ, op::IF, op::EMPTY]);
        code.constant(0).plain(&[op::RETURN, END]);
        count(balance, OPEN, op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, balance.stack());
        code.plain(&[op::I32_GT_U, op::IF, op::EMPTY]);
        balance.add(op::I32_SUB, &mut code);
        code.constant(1).plain(&[op::RETURN, END]);
        find(balance, 0, Wanted::Span, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::GLOBAL_GET, balance.global).constant(2).plain(&[op::I32_SUB, op::I32_EQ]);
        code.plain(&[op::IF, op::EMPTY]).with(op::LOCAL_GET, 0).with(op::GLOBAL_SET, balance.global);
        code.constant(1).plain(&[op::RETURN, END]);
        wait(balance, 0, &mut code);
        count(balance, CLOSED, op::I32_ADD, &mut code);
        code.constant(0);
        code.body()
    }

    fn settle(&self, balance: &Balance) -> Vec<u8> {
        let stack = balance.stack();
        let mut code = Code::new(0);
        code.plain(&[op::LOOP, op::EMPTY]);
        balance.return_if_none_is_open(&mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, stack);
        code.plain(&[op::I32_GT_U, op::IF, op::EMPTY, op::RETURN, END]);
        code.with(op::GLOBAL_GET, balance.global).constant(1).plain(&[op::I32_SUB]).with(op::TABLE_GET, stack);
        code.plain(&[op::REF_IS_NULL, op::IF, op::EMPTY, op::RETURN, END]);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::CALL, balance.first + TELL).with(op::BR, 0).plain(&[END]);
        code.body()
    }

    fn balance(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(0);
        code.constant(0).with(op::GLOBAL_SET, balance.global + CALLS);
        code.constant(0).with(op::CALL, balance.first + CLOSE);
        code.constant(0).with(op::GLOBAL_SET, balance.global + OPEN);
        code.body()
    }

    fn close(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(0);
        code.plain(&[op::LOOP, op::EMPTY]).with(op::GLOBAL_GET, balance.global).with(op::LOCAL_GET, 0);
        code.plain(&[op::I32_LE_U, op::IF, op::EMPTY, op::RETURN, END]);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, balance.stack());
        code.plain(&[op::I32_LT_U, op::IF, op::EMPTY]).with(op::CALL, balance.first + TELL).plain(&[END]);
        code.with(op::BR, 0).plain(&[END]);
        code.body()
    }

    fn tell(&self, balance: &Balance) -> Vec<u8> {
        let stack = balance.stack();
        let mut code = Code::new(1);
        waits(balance, &mut code);
        code.with(op::LOCAL_SET, 0);
        code.with(op::GLOBAL_GET, balance.global).constant(1).plain(&[op::I32_ADD, op::REF_NULL, op::FUNCREF]);
        code.with(op::TABLE_SET, stack);
        code.with(op::GLOBAL_GET, balance.global).with(op::TABLE_GET, stack);
        code.plain(&[op::REF_IS_NULL, op::IF, op::EMPTY]);
        code.with(op::LOCAL_GET, 0).plain(&[op::IF, op::EMPTY]);
        count(balance, CLOSED, op::I32_SUB, &mut code);
        code.plain(&[op::ELSE]);
        count(balance, OPEN, op::I32_SUB, &mut code);
        code.plain(&[END]).with(op::CALL, self.close).plain(&[op::ELSE]);
        balance.call_what_was_popped(&mut code);
        code.plain(&[END]);
        code.body()
    }
}

/// One more or one less of what that global counts.
fn count(balance: &Balance, global: u32, operator: u8, code: &mut Code) {
    let global = balance.global + global;
    code.with(op::GLOBAL_GET, global).constant(1).plain(&[operator]).with(op::GLOBAL_SET, global);
}

fn return_if_none(balance: &Balance, global: u32, code: &mut Code) {
    code.with(op::GLOBAL_GET, balance.global + global).plain(&[op::I32_EQZ, op::IF, op::EMPTY, op::RETURN, END]);
}

/// Whether the exit of what was popped has waited.
fn waits(balance: &Balance, code: &mut Code) {
    code.with(op::GLOBAL_GET, balance.global).constant(1).plain(&[op::I32_ADD]).with(op::TABLE_GET, balance.stack());
    code.plain(&[op::REF_IS_NULL, op::I32_EQZ]);
}

/// What is looked for among all that is open.
#[derive(PartialEq)]
enum Wanted {
    Call,
    Span,
}

/// Makes the local the slot of the innermost that does not wait. If there is none, the function returns, of a span with 0.
fn find(balance: &Balance, local: u32, what: Wanted, code: &mut Code) {
    let stack = balance.stack();
    code.with(op::GLOBAL_GET, balance.global).with(op::LOCAL_SET, local).plain(&[op::LOOP, op::EMPTY]);
    code.with(op::LOCAL_GET, local).plain(&[op::I32_EQZ, op::IF, op::EMPTY]);
    if what == Wanted::Span {
        code.constant(0);
    }
    code.plain(&[op::RETURN, END]);
    code.with(op::LOCAL_GET, local).constant(2).plain(&[op::I32_SUB]).with(op::LOCAL_SET, local);
    code.with(op::LOCAL_GET, local).with(op::TABLE_GET, stack).plain(&[op::REF_IS_NULL]);
    if what == Wanted::Span {
        code.plain(&[op::I32_EQZ]);
    }
    code.with(op::BR_IF, 0);
    code.with(op::LOCAL_GET, local).constant(1).plain(&[op::I32_ADD]).with(op::TABLE_GET, stack);
    code.plain(&[op::REF_IS_NULL, op::I32_EQZ]).with(op::BR_IF, 0).plain(&[END]);
}

/// Writes down that the exit of the slot in the local waits.
fn wait(balance: &Balance, local: u32, code: &mut Code) {
    code.with(op::LOCAL_GET, local).constant(1).plain(&[op::I32_ADD]);
    code.constant(0).with(op::TABLE_GET, balance.table).with(op::TABLE_SET, balance.stack());
}
