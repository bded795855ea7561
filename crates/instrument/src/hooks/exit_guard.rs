//! The exit guard: functions that exit all open calls before the module is left for good.
//!
//! A host of the Observe ABI keeps a trace until its outermost call exits. `proc_exit` and `unreachable` (the end of a
//! panic) exit no calls. So these functions are appended to the module, and hooks call them instead of the host's:
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
//! (func $exit_guard
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
//! The ids of open calls must be stored. The guest's memory is not suitable, because all of it belongs to the guest's
//! allocator. A second memory is not suitable either, because hosts of WebAssembly 2.0 do not accept one. A table can
//! only hold functions, so each id is represented by a function, its *thunk*.
//!
//! If the table cannot grow, further calls are not recorded and stay open. After `$exit_guard`, no call is open. So if
//! `proc_exit` of a host returns, no exit is reported twice.
//!
//! If the module opens spans itself, the guard has further functions: see [`spans`].

use wasm_encoder::{BlockType, ConstExpr, Encode, GlobalType, RefType, TableType, ValType};

mod indices;
mod spans;
mod stack;

pub(crate) use indices::{CLOSE, CLOSING, ExitGuard, LEAVE, OPENING, SETTLE, Spans};
use indices::{GLOBALS, GONE, NAMES, OWN_FUNCTIONS, SPAN_FUNCTIONS};
use stack::{Step, body};

/// The number of tables that are appended for an exit guard.
pub(crate) const TABLES: u32 = 2;
/// The number of globals that are appended for an exit guard. `spans` says whether the module opens spans.
pub(crate) const fn globals(spans: bool) -> u32 {
    1 + if spans { GLOBALS } else { 0 }
}

/// The initial number of slots of `$stack`. The table doubles when it is full. The number stays even, because a call
/// may take two slots.
const ROOM: u32 = 1024;

/// The largest difference between consecutive ids in one segment; a larger one starts a new segment. The slots between
/// such ids are never read.
const GAP: u32 = 16;

impl ExitGuard {
    /// The number of functions of a guard for `hooked` hooked functions.
    pub(crate) fn functions(hooked: usize, spans: bool) -> usize {
        (OWN_FUNCTIONS + if spans { SPAN_FUNCTIONS } else { 0 }) as usize + hooked
    }

    /// The number of functions that are not thunks.
    pub(crate) fn own(&self) -> u32 {
        ExitGuard::functions(0, self.spans.is_some()) as u32
    }

    /// The names of the functions, by index. Thunks have no names because there can be many of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u32, String)> {
        let own = ["enter", "exit", "balance"].into_iter().chain(self.spans.iter().flat_map(|_| NAMES));
        (self.first..).zip(own.map(|name| format!("wasmtrace.{name}")))
    }

    /// The bodies of all functions, each with its size field.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        let mut bodies = match &self.spans {
            None => vec![self.enter(), self.exit(), self.exit_guard()],
            Some(spans) => spans.bodies(self),
        };
        bodies.extend(self.ids.iter().map(|id| body(0, |code| _ = code.i32_const(id.0 as i32).call(self.host + 1))));
        bodies
    }

    fn enter(&self) -> Vec<u8> {
        body(0, |code| {
            self.write_enter(code);
        })
    }

    fn exit(&self) -> Vec<u8> {
        body(0, |code| {
            self.return_if_none_is_open(code);
            self.add(Step::Subtract, code);
            code.local_get(0).call(self.host + 1);
        })
    }

    fn exit_guard(&self) -> Vec<u8> {
        body(0, |code| {
            code.loop_(BlockType::Empty);
            self.return_if_none_is_open(code);
            self.add(Step::Subtract, code);
            code.global_get(self.global).table_size(self.stack()).i32_lt_u().if_(BlockType::Empty);
            self.call_what_was_popped(code);
            code.end().br(0).end();
        })
    }

    /// The types of the functions, as entries of the function section. `takes_i32` is the type `(i32) -> ()`.
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

    /// The tables, as entries of the table section.
    pub(crate) fn tables(&self) -> Vec<u8> {
        let thunks = self.thunks() + self.spans.is_some() as u32;
        let table = |minimum: u32, maximum: Option<u32>| TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: minimum.into(),
            maximum: maximum.map(u64::from),
            shared: false,
        };
        let mut tables = Vec::new();
        table(thunks, Some(thunks)).encode(&mut tables);
        table(ROOM, None).encode(&mut tables);
        tables
    }

    /// The globals, as entries of the global section.
    pub(crate) fn globals(&self) -> Vec<u8> {
        let mut global = Vec::new();
        GlobalType { val_type: ValType::I32, mutable: true, shared: false }.encode(&mut global);
        ConstExpr::i32_const(0).encode(&mut global);
        global.repeat(globals(self.spans.is_some()) as usize)
    }

    /// The segments that fill `$thunks`: their number, and their bytes as entries of the element section.
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
                funcs.push(self.first + GONE);
            }
            segments.push(0x02); // active, with a table
            self.table.encode(&mut segments);
            ConstExpr::i32_const((id.0 - self.lowest()) as i32).encode(&mut segments);
            segments.push(0x00); // functions
            funcs.as_slice().encode(&mut segments);
            count += 1;
        }
        (count, segments)
    }
}

#[cfg(test)]
mod tests {
    use wasmtrace_abi::hook::ProbeId;

    use super::*;

    #[test]
    fn each_thunk_stands_at_its_id_and_a_wide_gap_begins_another_segment() {
        let ids = [7, 8, 10, 27, 100].map(ProbeId).to_vec();
        let exit_guard = ExitGuard { first: 200, host: 4, table: 1, global: 2, plain: 0, ids, spans: None };
        let (count, bytes) = exit_guard.elements();
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
