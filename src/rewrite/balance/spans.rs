//! Spans that the guest opens itself, on a host that looks at the innermost of all that is open alone.
//!
//! A function may open a span and return, and another one may close it; and a program may end while spans are open. Such a host
//! takes an exit that is not of the innermost for a mistake, and from then on everything is one. So a module that opens spans keeps
//! them where it keeps its calls, and what it tells the host is nested:
//!
//! - The exit of a call that has left spans open *waits* for them, and is told behind theirs.
//! - The exit of a span that calls stand on waits for those.
//! - An exit of a span where none is open is told to nobody.
//!
//! A slot of the table holds null for a span, as it holds a thunk for a call; and another slot follows each, which holds what is
//! not null if the exit waits. What waits is never the innermost, since it is told then. In a helper that opens a span the span
//! is so a part of the helper, which takes as long. The road not taken is to close the span early and to open it again in the
//! caller: its name may not be there any more.
//!
//! ```wat
//! (func $exit (param $id i32) (local $at i32)
//!   global.get $depth  i32.eqz  if  return  end
//!   (table.get $stack depth - 2 is null)  if
//!     ;; of the last function of all, `_start`: nobody will close what is open
//!     local.get $id  i32.const start  i32.eq  if  call $balance  return  end
//!     ;; $at: the innermost call that does not wait, which is this one
//!     (table.set $stack $at + 1 (table.get $thunks 0))  return
//!   end
//!   (depth -= 2)  local.get $id  call $host_exit  call $settle)
//! (func $opened  ;; behind the import's call
//!   (table.set $stack depth null)  (depth += 2))
//! (func $closing (result i32) (local $at i32)  ;; whether the host is to be told; then $settle is called
//!   ;; $at: the innermost span that does not wait; 0 if there is none
//!   (if it is the innermost of all: depth -= 2, 1)
//!   (else: table.set $stack $at + 1 (table.get $thunks 0), 0))
//! (func $settle  ;; tells what has waited, as long as that is the innermost
//!   loop  (return if depth = 0 or the innermost does not wait)  (depth -= 2)  (tell its exit)  br 0  end)
//! ```
//!
//! Beyond what the table holds nothing is known, and each exit is taken for one of the innermost.

use super::code::{Code, op};
use super::{Balance, Role};
use crate::hook::ProbeId;
use crate::module::{FuncIdx, Module};
use crate::rewrite::body::END;

/// How many functions there are for spans.
pub(super) const OWN: u32 = 3;
/// What they are called.
pub(super) const NAMES: [&str; 3] = ["opened", "closing", "settle"];

/// The indices that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// The import that closes a span.
    pub(crate) close: u32,
    /// The type `() -> i32`.
    pub(crate) answers: u32,
    /// The function behind which nothing comes, if it is hooked.
    pub(crate) last: Option<ProbeId>,
}

impl Spans {
    /// Which import closes spans, if the module opens any.
    pub(crate) fn closed_by(roles: &[(u32, Role)]) -> Option<u32> {
        roles.iter().find(|(_, role)| *role == Role::Closes).map(|(import, _)| *import)
    }

    /// The function that a command is: when it returns, nothing of the module runs any more.
    pub(crate) fn last(module: &Module<'_>) -> Option<FuncIdx> {
        let start = module.exports().iter().find(|(name, func)| *name == "_start" && module.is_defined(*func));
        start.map(|(_, func)| *func)
    }

    /// The types of the functions; `plain` is `() -> ()`.
    pub(super) fn types(&self, plain: u32) -> [u32; OWN as usize] {
        [plain, self.answers, plain]
    }

    /// The body of each function that is no thunk, with its size field.
    pub(super) fn bodies(&self, balance: &Balance) -> Vec<Vec<u8>> {
        let exit = self.exit(balance);
        let [opened, closing, settle] = [self.opened(balance), self.closing(balance), self.settle(balance)];
        vec![balance.enter(), exit, self.balance(balance), opened, closing, settle]
    }

    fn exit(&self, balance: &Balance) -> Vec<u8> {
        let stack = balance.stack();
        let mut code = Code::new(1);
        balance.return_if_none_is_open(&mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, stack).plain(&[op::I32_LE_U, op::IF, op::EMPTY]);
        code.with(op::GLOBAL_GET, balance.global).constant(2).plain(&[op::I32_SUB]).with(op::TABLE_GET, stack);
        code.plain(&[op::REF_IS_NULL, op::IF, op::EMPTY]);
        if let Some(last) = self.last {
            code.with(op::LOCAL_GET, 0).constant(last.0).plain(&[op::I32_EQ, op::IF, op::EMPTY]);
            code.with(op::CALL, balance.first + 2).plain(&[op::RETURN, END]);
        }
        find(balance, 1, Wanted::Call, &mut code);
        wait(balance, 1, &mut code);
        code.plain(&[op::RETURN, END, END]);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::CALL, balance.host + 1).with(op::CALL, balance.first + super::OWN + 2);
        code.body()
    }

    fn opened(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(0);
        balance.push(&mut code, |code| _ = code.plain(&[op::REF_NULL, op::FUNCREF]));
        code.body()
    }

    fn closing(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(1);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, balance.stack());
        code.plain(&[op::I32_GT_U, op::IF, op::EMPTY]);
        balance.add(op::I32_SUB, &mut code);
        code.constant(1).plain(&[op::RETURN, END]);
        find(balance, 0, Wanted::Span, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::GLOBAL_GET, balance.global).constant(2).plain(&[op::I32_SUB, op::I32_EQ]);
        code.plain(&[op::IF, op::EMPTY]).with(op::LOCAL_GET, 0).with(op::GLOBAL_SET, balance.global);
        code.constant(1).plain(&[op::RETURN, END]);
        wait(balance, 0, &mut code);
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
        self.tell(balance, &mut code);
        code.plain(&[op::BR, 0, END]);
        code.body()
    }

    fn balance(&self, balance: &Balance) -> Vec<u8> {
        let mut code = Code::new(0);
        code.plain(&[op::LOOP, op::EMPTY]);
        balance.return_if_none_is_open(&mut code);
        balance.add(op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, balance.global).table(op::SIZE, balance.stack());
        code.plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        self.tell(balance, &mut code);
        code.plain(&[END, op::BR, 0, END]);
        code.body()
    }

    /// Tells the exit of what was popped, which does not wait any more.
    fn tell(&self, balance: &Balance, code: &mut Code) {
        let stack = balance.stack();
        code.with(op::GLOBAL_GET, balance.global).constant(1).plain(&[op::I32_ADD, op::REF_NULL, op::FUNCREF]);
        code.with(op::TABLE_SET, stack);
        code.with(op::GLOBAL_GET, balance.global).with(op::TABLE_GET, stack).plain(&[
            op::REF_IS_NULL,
            op::IF,
            op::EMPTY,
        ]);
        code.with(op::CALL, self.close).plain(&[op::ELSE]);
        balance.call_what_was_popped(code);
        code.plain(&[END]);
    }
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
