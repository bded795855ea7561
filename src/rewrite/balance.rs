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

use wasm_encoder::Encode;

use super::body::END;
use crate::hook::ProbeId;
use crate::module::FuncImport;

/// What is appended to a module for it, beside the functions.
pub(crate) const TABLES: u32 = 2;
pub(crate) const GLOBALS: u32 = 1;

/// How many functions are not thunks.
const OWN: u32 = 3;

/// How many calls there is room for at first. The table doubles.
const ROOM: u32 = 1024;

/// A gap of so many functions without a thunk is not worth another segment: what stands in it is never looked at.
const GAP: u32 = 16;

/// The indices that are used, and the calls that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Balance {
    /// `$enter`; `$exit`, `$balance` and the thunks follow.
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
}

/// Whether a function that is imported leaves the module for good.
pub(crate) fn leaves(import: &FuncImport<'_>) -> bool {
    matches!(import.module, "wasi_snapshot_preview1" | "wasi_unstable") && import.name == "proc_exit"
}

/// How many functions are appended where so many are hooked.
pub(crate) fn functions(hooked: usize) -> usize {
    OWN as usize + hooked
}

/// Operators, by the names that the specification gives them.
mod op {
    pub(super) const LOOP: u8 = 0x03;
    pub(super) const IF: u8 = 0x04;
    pub(super) const BR: u8 = 0x0c;
    pub(super) const RETURN: u8 = 0x0f;
    pub(super) const CALL: u8 = 0x10;
    pub(super) const CALL_INDIRECT: u8 = 0x11;
    pub(super) const DROP: u8 = 0x1a;
    pub(super) const LOCAL_GET: u8 = 0x20;
    pub(super) const GLOBAL_GET: u8 = 0x23;
    pub(super) const GLOBAL_SET: u8 = 0x24;
    pub(super) const TABLE_GET: u8 = 0x25;
    pub(super) const TABLE_SET: u8 = 0x26;
    pub(super) const I32_CONST: u8 = 0x41;
    pub(super) const I32_EQZ: u8 = 0x45;
    pub(super) const I32_LT_U: u8 = 0x49;
    pub(super) const I32_GE_U: u8 = 0x4f;
    pub(super) const I32_ADD: u8 = 0x6a;
    pub(super) const I32_SUB: u8 = 0x6b;
    pub(super) const REF_NULL: u8 = 0xd0;
    /// The prefix of `table.grow` and `table.size`.
    pub(super) const TABLE: u8 = 0xfc;
    pub(super) const GROW: u8 = 15;
    pub(super) const SIZE: u8 = 16;
    /// Block type: no results.
    pub(super) const EMPTY: u8 = 0x40;
    pub(super) const FUNCREF: u8 = 0x70;
}

impl Balance {
    /// The body of each function, with its size field.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        let thunks = self.ids.iter().map(|id| {
            let mut code = Code::new();
            code.constant(id.0).with(op::CALL, self.host + 1);
            code.body()
        });
        [self.enter(), self.exit(), self.balance()].into_iter().chain(thunks).collect()
    }

    fn enter(&self) -> Vec<u8> {
        let (thunks, stack) = (self.table, self.table + 1);
        let mut code = Code::new();
        code.with(op::LOCAL_GET, 0).with(op::CALL, self.host);
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, stack).plain(&[op::I32_GE_U, op::IF, op::EMPTY]);
        code.plain(&[op::REF_NULL, op::FUNCREF]).table(op::SIZE, stack).table(op::GROW, stack);
        code.plain(&[op::DROP, END]);
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, stack).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        code.with(op::GLOBAL_GET, self.global).with(op::LOCAL_GET, 0).constant(self.lowest()).plain(&[op::I32_SUB]);
        code.with(op::TABLE_GET, thunks).with(op::TABLE_SET, stack).plain(&[END]);
        self.add(op::I32_ADD, &mut code);
        code.body()
    }

    fn exit(&self) -> Vec<u8> {
        let mut code = Code::new();
        self.return_if_none_is_open(&mut code);
        self.add(op::I32_SUB, &mut code);
        code.with(op::LOCAL_GET, 0).with(op::CALL, self.host + 1);
        code.body()
    }

    fn balance(&self) -> Vec<u8> {
        let stack = self.table + 1;
        let mut code = Code::new();
        code.plain(&[op::LOOP, op::EMPTY]);
        self.return_if_none_is_open(&mut code);
        self.add(op::I32_SUB, &mut code);
        code.with(op::GLOBAL_GET, self.global).table(op::SIZE, stack).plain(&[op::I32_LT_U, op::IF, op::EMPTY]);
        code.with(op::GLOBAL_GET, self.global).with(op::CALL_INDIRECT, self.plain);
        stack.encode(&mut code.0);
        code.plain(&[END, op::BR, 0, END]);
        code.body()
    }

    fn return_if_none_is_open(&self, code: &mut Code) {
        code.with(op::GLOBAL_GET, self.global).plain(&[op::I32_EQZ, op::IF, op::EMPTY, op::RETURN, END]);
    }

    fn add(&self, operator: u8, code: &mut Code) {
        code.with(op::GLOBAL_GET, self.global).constant(1).plain(&[operator]).with(op::GLOBAL_SET, self.global);
    }

    fn lowest(&self) -> u32 {
        self.ids.first().map_or(0, |id| id.0)
    }

    /// The types of the functions, for their section; `takes_i32` is `(i32) -> ()`.
    pub(crate) fn types(&self, takes_i32: u32) -> Vec<u8> {
        let mut types = Vec::new();
        takes_i32.encode(&mut types);
        takes_i32.encode(&mut types);
        (OWN as usize - 2..OWN as usize + self.ids.len() - 1).for_each(|_| self.plain.encode(&mut types));
        types
    }

    /// The tables, as entries of their section.
    pub(crate) fn tables(&self) -> Vec<u8> {
        let thunks = self.ids.last().map_or(0, |last| last.0 - self.lowest() + 1);
        let mut tables = vec![op::FUNCREF, 0x01];
        thunks.encode(&mut tables);
        thunks.encode(&mut tables);
        tables.extend([op::FUNCREF, 0x00]);
        ROOM.encode(&mut tables);
        tables
    }

    /// The global, as an entry of its section.
    pub(crate) fn globals(&self) -> Vec<u8> {
        vec![0x7f, 0x01, op::I32_CONST, 0, END]
    }

    /// The segments that fill `$thunks`: how many, and as entries of their section.
    pub(crate) fn elements(&self) -> (u32, Vec<u8>) {
        let (mut count, mut segments) = (0, Vec::new());
        let mut thunks = (self.first + OWN..).zip(&self.ids).peekable();
        while let Some((thunk, id)) = thunks.next() {
            let mut funcs = vec![thunk];
            let mut last = id.0;
            while let Some((thunk, id)) = thunks.next_if(|(_, next)| next.0 - last <= GAP) {
                funcs.extend((last + 1..id.0).map(|_| self.first + 2));
                funcs.push(thunk);
                last = id.0;
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

/// Operators on the way to being a body.
struct Code(Vec<u8>);

impl Code {
    fn new() -> Self {
        Code(vec![0]) // no locals
    }

    fn plain(&mut self, operators: &[u8]) -> &mut Self {
        self.0.extend_from_slice(operators);
        self
    }

    fn with(&mut self, operator: u8, index: u32) -> &mut Self {
        self.0.push(operator);
        index.encode(&mut self.0);
        self
    }

    fn constant(&mut self, value: u32) -> &mut Self {
        self.0.push(op::I32_CONST);
        (value as i32).encode(&mut self.0);
        self
    }

    fn table(&mut self, operator: u8, table: u32) -> &mut Self {
        self.0.extend([op::TABLE, operator]);
        table.encode(&mut self.0);
        self
    }

    fn body(mut self) -> Vec<u8> {
        self.0.push(END);
        let mut body = Vec::with_capacity(self.0.len() + 2);
        self.0.as_slice().encode(&mut body);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thunk_stands_at_its_id_and_a_wide_gap_begins_another_segment() {
        let ids = [7, 8, 10, 27, 100].map(ProbeId).to_vec();
        let balance = Balance { first: 200, host: 4, table: 1, global: 2, plain: 0, ids };
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
