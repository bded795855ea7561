//! A module that balances itself: before it leaves for good, every call that is open is exited.
//!
//! A host of the Observe ABI keeps a trace until its outermost call has been left, and `proc_exit` and `unreachable` (where a
//! panic ends) leave none. So hooks call these functions, which are appended, in place of the host's:
//!
//! ```wat
//! (table $thunks n n funcref)  (table $stack 1024 funcref)  (global $depth (mut i32) i32.const 0)
//! (elem (table $thunks) (i32.const id - first) func $exit_id …)
//! (func $enter (param $id i32)
//!   local.get $id  call $host_enter
//!   global.get $depth  table.size $stack  i32.ge_u
//!   if  ref.null func  table.size $stack  table.grow $stack  drop  end
//!   global.get $depth  table.size $stack  i32.lt_u
//!   if  global.get $depth  local.get $id  i32.const first  i32.sub  table.get $thunks  table.set $stack  end
//!   global.get $depth  i32.const 1  i32.add  global.set $depth)
//! (func $exit (param $id i32)
//!   global.get $depth  i32.eqz  if  return  end
//!   global.get $depth  i32.const 1  i32.sub  global.set $depth
//!   local.get $id  call $host_exit)
//! (func $balance
//!   loop $again
//!     global.get $depth  i32.eqz  if  return  end
//!     global.get $depth  i32.const 1  i32.sub  global.set $depth
//!     global.get $depth  table.size $stack  i32.lt_u
//!     if  global.get $depth  call_indirect $stack  end
//!     br $again
//!   end)
//! (func $exit_id  i32.const id  call $host_exit)
//! ```
//!
//! The ids of the open calls have to be kept somewhere, and not in the guest's memory: all of it, up to its size, belongs to the
//! guest's allocator, and a second memory is more than hosts of WebAssembly 2.0 take. A table holds functions; so each id is one.
//! Where the table cannot grow, calls beyond are left open. After `$balance` nothing is open, so a host whose `proc_exit` returns
//! hears of no exit twice.
//!
//! Where the module opens spans itself there is more: see [`spans`].

use wasm_encoder::Encode;

use super::body::END;
use crate::module::{FuncIdx, FuncImport, Module};
use wasmtrace_abi::hook::{OBSERVE_API, OBSERVE_OLD, ProbeId};

mod code;
pub(crate) mod spans;

use code::{Code, op};
use spans::Spans;

/// What is appended to a module for it, beside the functions.
pub(crate) const TABLES: u32 = 2;
pub(crate) const fn globals(spans: bool) -> u32 {
    1 + if spans { spans::GLOBALS } else { 0 }
}

/// How many functions are neither thunks nor for spans.
const OWN: u32 = 3;

/// How many slots there are at first. The table doubles; and they stay even, since a call may take two.
const ROOM: u32 = 1024;

/// A gap of so many functions without a thunk is not worth another segment: what stands in it is never looked at.
const GAP: u32 = 16;

/// The indices that are used, and the calls that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Balance {
    /// `$enter`; `$exit`, `$balance`, those for spans and the thunks follow.
    pub(crate) first: u32,
    /// The host's `enter`; its `exit` follows.
    pub(crate) host: u32,
    /// `$thunks`; `$stack` follows.
    pub(crate) table: u32,
    pub(crate) global: u32,
    /// The type `() -> ()`.
    pub(crate) plain: u32,
    /// The functions that have a thunk, ascending.
    pub(crate) ids: Vec<ProbeId>,
    /// If the module opens spans itself.
    pub(crate) spans: Option<Spans>,
}

/// What an imported function does to what is open; it has a shim for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It leaves the module for good.
    Leaves,
    /// It opens a span.
    Opens,
    /// It closes the span that was opened last.
    Closes,
}

/// The imported functions that have a role, ascending. (What a shared function calls has to be shared, and a shim is not.)
pub(crate) fn roles(module: &Module<'_>) -> Vec<(u32, Role)> {
    let mut roles = all_roles(module);
    // Spans that nothing can close are not for us to close.
    if !(has(&roles, Role::Opens) && has(&roles, Role::Closes)) {
        roles.retain(|(_, role)| *role == Role::Leaves);
    }
    roles
}

/// Whether the module opens spans, and imports nothing that closes them.
pub(crate) fn never_closes(module: &Module<'_>) -> bool {
    let roles = all_roles(module);
    has(&roles, Role::Opens) && !has(&roles, Role::Closes)
}

fn all_roles(module: &Module<'_>) -> Vec<(u32, Role)> {
    let roles = module.imported_funcs().iter().zip(0..).filter(|(_, func)| !module.is_shared(FuncIdx(*func)));
    roles.filter_map(|(import, func)| Some((func, role(module, import, func)?))).collect()
}

fn has(roles: &[(u32, Role)], wanted: Role) -> bool {
    roles.iter().any(|(_, role)| *role == wanted)
}

/// The role of an imported function, if it has one, out of all of them.
pub(crate) fn role_of(roles: &[(u32, Role)], import: FuncIdx) -> Option<Role> {
    roles.binary_search_by_key(&import.0, |(func, _)| *func).ok().map(|found| roles[found].1)
}

fn role(module: &Module<'_>, import: &FuncImport<'_>, func: u32) -> Option<Role> {
    use wasmparser::ValType::{I32, I64};
    match (import.module, import.name) {
        ("wasi_snapshot_preview1" | "wasi_unstable", "proc_exit") => return Some(Role::Leaves),
        (OBSERVE_API, "span-enter" | "span-exit") | (OBSERVE_OLD, "span_enter" | "span_exit") => {}
        _ => return None,
    }
    // Of another type it is not the API's.
    let ty = module.func_type(FuncIdx(func));
    match (ty.params(), ty.results(), import.name.ends_with("enter")) {
        ([I32 | I64, I32 | I64], [], true) => Some(Role::Opens),
        ([], [], false) => Some(Role::Closes),
        _ => None,
    }
}

impl Balance {
    /// How many functions are appended where so many are hooked.
    pub(crate) fn functions(hooked: usize, spans: bool) -> usize {
        (OWN + if spans { spans::OWN } else { 0 }) as usize + hooked
    }

    /// How many of them are no thunks.
    pub(crate) fn own(&self) -> u32 {
        Balance::functions(0, self.spans.is_some()) as u32
    }

    /// What they are called, but for the thunks, which are many.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u32, String)> {
        let own = ["enter", "exit", "balance"].into_iter().chain(self.spans.iter().flat_map(|_| spans::NAMES));
        (self.first..).zip(own.map(|name| format!("wasmtrace.{name}")))
    }

    /// The body of each function, with its size field.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        let mut bodies = match &self.spans {
            None => vec![self.enter(), self.exit(), self.balance()],
            Some(spans) => spans.bodies(self),
        };
        bodies.extend(self.ids.iter().map(|id| {
            let mut code = Code::new(0);
            code.constant(id.0).with(op::CALL, self.host + 1);
            code.body()
        }));
        bodies
    }

    fn stack(&self) -> u32 {
        self.table + 1
    }

    /// How many slots a call takes.
    fn step(&self) -> u32 {
        1 + self.spans.is_some() as u32
    }

    fn enter(&self) -> Vec<u8> {
        let mut code = Code::new(0);
        self.write_enter(&mut code);
        code.body()
    }

    fn write_enter(&self, code: &mut Code) {
        code.with(op::LOCAL_GET, 0).with(op::CALL, self.host);
        self.push(code, |code| {
            code.with(op::LOCAL_GET, 0).constant(self.lowest()).plain(&[op::I32_SUB]).with(op::TABLE_GET, self.table);
        });
    }

    /// Keeps one more, which `what` leaves on the operand stack, if there is room.
    fn push(&self, code: &mut Code, what: impl FnOnce(&mut Code)) {
        let stack = self.stack();
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, stack).plain(&[op::I32_GE_U, op::IF, op::EMPTY]);
        code.plain(&[op::REF_NULL, op::FUNCREF]).table(op::SIZE, stack).table(op::GROW, stack);
        code.plain(&[op::DROP, END]);
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, stack).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        code.with(op::GLOBAL_GET, self.global);
        what(code);
        code.with(op::TABLE_SET, stack).plain(&[END]);
        self.add(op::I32_ADD, code);
    }

    fn exit(&self) -> Vec<u8> {
        let mut code = Code::new(0);
        self.return_if_none_is_open(&mut code);
        self.add(op::I32_SUB, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::CALL, self.host + 1);
        code.body()
    }

    fn balance(&self) -> Vec<u8> {
        let mut code = Code::new(0);
        code.plain(&[op::LOOP, op::EMPTY]);
        self.return_if_none_is_open(&mut code);
        self.add(op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, self.stack()).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        self.call_what_was_popped(&mut code);
        code.plain(&[END, op::BR, 0, END]);
        code.body()
    }

    fn call_what_was_popped(&self, code: &mut Code) {
        code.with(op::GLOBAL_GET, self.global).with(op::CALL_INDIRECT, self.plain).number(self.stack());
    }

    fn return_if_none_is_open(&self, code: &mut Code) {
        code.with(op::GLOBAL_GET, self.global).plain(&[op::I32_EQZ, op::IF, op::EMPTY, op::RETURN, END]);
    }

    fn add(&self, operator: u8, code: &mut Code) {
        code.with(op::GLOBAL_GET, self.global).constant(self.step()).plain(&[operator]);
        code.with(op::GLOBAL_SET, self.global);
    }

    fn lowest(&self) -> u32 {
        self.ids.first().map_or(0, |id| id.0)
    }

    /// How many slots `$thunks` has for ids. Behind them stands what calls become that are gone, if the module opens spans.
    fn thunks(&self) -> u32 {
        self.ids.last().map_or(0, |last| last.0 - self.lowest() + 1)
    }

    /// The types of the functions, for their section; `takes_i32` is `(i32) -> ()`.
    pub(crate) fn types(&self, takes_i32: u32) -> Vec<u8> {
        let mut types = Vec::new();
        takes_i32.encode(&mut types);
        takes_i32.encode(&mut types);
        self.plain.encode(&mut types);
        if let Some(spans) = &self.spans {
            spans.types(self.plain, takes_i32).iter().for_each(|ty| ty.encode(&mut types));
        }
        self.ids.iter().for_each(|_| self.plain.encode(&mut types));
        types
    }

    /// The tables, as entries of their section.
    pub(crate) fn tables(&self) -> Vec<u8> {
        let thunks = self.thunks() + self.spans.is_some() as u32;
        let mut tables = vec![op::FUNCREF, 0x01];
        thunks.encode(&mut tables);
        thunks.encode(&mut tables);
        tables.extend([op::FUNCREF, 0x00]);
        ROOM.encode(&mut tables);
        tables
    }

    /// The globals, as entries of their section.
    pub(crate) fn globals(&self) -> Vec<u8> {
        [0x7f, 0x01, op::I32_CONST, 0, END].repeat(globals(self.spans.is_some()) as usize)
    }

    /// The segments that fill `$thunks`: how many, and as entries of their section.
    pub(crate) fn elements(&self) -> (u32, Vec<u8>) {
        let (mut count, mut segments) = (0, Vec::new());
        let mut thunks = (self.first + self.own()..).zip(&self.ids).peekable();
        while let Some((thunk, id)) = thunks.next() {
            let mut funcs = vec![thunk];
            let mut last = id.0;
            while let Some((thunk, id)) = thunks.next_if(|(_, next)| next.0 - last <= GAP) {
                funcs.extend((last + 1..id.0).map(|_| self.first + 2));
                funcs.push(thunk);
                last = id.0;
            }
            if thunks.peek().is_none() && self.spans.is_some() {
                funcs.push(self.first + spans::GONE);
            }
            segments.push(0x02); // active, with a table
            self.table.encode(&mut segments);
            segments.push(op::I32_CONST);
            ((id.0 - self.lowest()) as i32).encode(&mut segments);
            segments.extend([END, 0x00]); // functions
            funcs.as_slice().encode(&mut segments);
            count += 1;
        }
        (count, segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thunk_stands_at_its_id_and_a_wide_gap_begins_another_segment() {
        let ids = [7, 8, 10, 27, 100].map(ProbeId).to_vec();
        let balance = Balance { first: 200, host: 4, table: 1, global: 2, plain: 0, ids, spans: None };
        let (count, bytes) = balance.elements();
        let section = [vec![count as u8], bytes].concat();
        let reader = wasmparser::BinaryReader::new(&section, 0);
        let mut found = std::collections::BTreeMap::new();
        for segment in wasmparser::ElementSectionReader::new(reader).unwrap() {
            let segment = segment.unwrap();
            let wasmparser::ElementKind::Active { table_index: Some(1), offset_expr } = segment.kind else {
                panic!("it is active, in that table")
            };
            let wasmparser::Operator::I32Const { value } = offset_expr.get_operators_reader().read().unwrap() else {
                panic!("an offset is a constant")
            };
            let wasmparser::ElementItems::Functions(funcs) = segment.items else { panic!("functions") };
            found.extend((value as u32 + 7..).zip(funcs.into_iter().map(Result::unwrap)));
        }
        assert_eq!(count, 3, "7 to 10, 27, 100");
        let thunks: Vec<(u32, u32)> = found.into_iter().filter(|(_, func)| *func != 202).collect();
        assert_eq!(thunks, [(7, 203), (8, 204), (10, 205), (27, 206), (100, 207)]);
    }
}
