//! Operators on the way to being a body.

use wasm_encoder::Encode;

use crate::rewrite::body::END;

/// Operators, by the names that the specification gives them.
pub(super) mod op {
    pub(crate) const LOOP: u8 = 0x03;
    pub(crate) const IF: u8 = 0x04;
    pub(crate) const ELSE: u8 = 0x05;
    pub(crate) const BR: u8 = 0x0c;
    pub(crate) const BR_IF: u8 = 0x0d;
    pub(crate) const RETURN: u8 = 0x0f;
    pub(crate) const CALL: u8 = 0x10;
    pub(crate) const CALL_INDIRECT: u8 = 0x11;
    pub(crate) const DROP: u8 = 0x1a;
    pub(crate) const LOCAL_GET: u8 = 0x20;
    pub(crate) const LOCAL_SET: u8 = 0x21;
    pub(crate) const GLOBAL_GET: u8 = 0x23;
    pub(crate) const GLOBAL_SET: u8 = 0x24;
    pub(crate) const TABLE_GET: u8 = 0x25;
    pub(crate) const TABLE_SET: u8 = 0x26;
    pub(crate) const I32_CONST: u8 = 0x41;
    pub(crate) const I32_EQZ: u8 = 0x45;
    pub(crate) const I32_EQ: u8 = 0x46;
    pub(crate) const I32_LT_U: u8 = 0x49;
    pub(crate) const I32_GT_U: u8 = 0x4b;
    pub(crate) const I32_LE_U: u8 = 0x4d;
    pub(crate) const I32_GE_U: u8 = 0x4f;
    pub(crate) const I32_ADD: u8 = 0x6a;
    pub(crate) const I32_SUB: u8 = 0x6b;
    pub(crate) const REF_NULL: u8 = 0xd0;
    pub(crate) const REF_IS_NULL: u8 = 0xd1;
    /// The prefix of `table.grow` and `table.size`.
    pub(crate) const TABLE: u8 = 0xfc;
    pub(crate) const GROW: u8 = 15;
    pub(crate) const SIZE: u8 = 16;
    /// Block type: no results.
    pub(crate) const EMPTY: u8 = 0x40;
    pub(crate) const FUNCREF: u8 = 0x70;
    pub(crate) const I32: u8 = 0x7f;
}

/// A body that is being written.
pub(super) struct Code(Vec<u8>);

impl Code {
    /// With so many locals of type `i32`.
    pub(super) fn new(locals: u8) -> Self {
        Code(if locals == 0 { vec![0] } else { vec![1, locals, op::I32] })
    }

    pub(super) fn plain(&mut self, operators: &[u8]) -> &mut Self {
        self.0.extend_from_slice(operators);
        self
    }

    pub(super) fn with(&mut self, operator: u8, index: u32) -> &mut Self {
        self.0.push(operator);
        self.number(index)
    }

    pub(super) fn number(&mut self, index: u32) -> &mut Self {
        index.encode(&mut self.0);
        self
    }

    pub(super) fn constant(&mut self, value: u32) -> &mut Self {
        self.0.push(op::I32_CONST);
        (value as i32).encode(&mut self.0);
        self
    }

    pub(super) fn table(&mut self, operator: u8, table: u32) -> &mut Self {
        self.0.extend([op::TABLE, operator]);
        self.number(table)
    }

    /// The body, with its size field.
    pub(super) fn body(mut self) -> Vec<u8> {
        self.0.push(END);
        let mut body = Vec::with_capacity(self.0.len() + 2);
        self.0.as_slice().encode(&mut body);
        body
    }
}
