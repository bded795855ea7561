//! Reads an instrumented body: one walk separates the operators of the original from the hooks between them.
//!
//! ```wat
//! i32.const 7  call $enter  block (result i32)    Hook(Open)
//!   local.get 0                                   Operator
//!   i32.const 7  call $exit                       Hook(Leave)
//!   return_call $f                                Operator, with the index that $f has in the instrumented module
//! end  i32.const 7  call $exit                    Hook(Close)
//! end                                             Operator
//! ```
//!
//! The walk recognizes hooks by their bytes ([`HookCode`]). The original cannot contain these bytes: its code cannot
//! call the imports of the hooks or name the memory of a buffer.
//!
//! This module does not decide which hooks a body must have. `verify` compares the operators with the original, and
//! `strip` writes them.

use std::ops::Range;

use wasm_encoder::BlockType;
use wasmparser::{Operator, OperatorsReader};

use crate::hooks::HookCode;
use crate::hooks::frame::Frame;
use crate::hooks::wrapper::Wrapper;
use crate::module::{FuncIdx, Module};
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// How a body with entry and exit hooks is instrumented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hooked {
    pub(crate) frame: Frame,
    pub(crate) wrapper: Wrapper,
    /// The results of the function, as a block type.
    pub(crate) results: BlockType,
}

/// One step of the walk over a body.
#[derive(Debug)]
pub(crate) enum Piece<'m> {
    /// Bytes that instrumentation inserted.
    Hook(Hook, Range<usize>),
    /// An operator of the original and its bytes. Function indices and branch depths are those of the instrumented
    /// module.
    Operator(Operator<'m>, Range<usize>),
}

/// A kind of hook. The order of the variants is the order of several hooks before one operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    /// The entry hook and the start of the wrapper.
    Open,
    /// The report that the function may have caught an exception.
    Caught,
    /// The exit hook before a tail call.
    Leave,
    /// The hook before `unreachable`.
    Unreachable,
    /// The hook before `memory.grow`.
    Grow,
    /// The end of the wrapper and the exit hook. `true` if a catch report precedes the exit hook.
    Close(bool),
}

/// A walk over one body.
pub(crate) struct Erasure<'m> {
    file: &'m [u8],
    operators: OperatorsReader<'m>,
    end: usize,
    hooked: Option<Hooked>,
    /// Hooks that may precede an operator, with their bytes. Hooks without bytes are left out.
    before: Vec<(Hook, Vec<u8>)>,
    caught: Vec<u8>,
    exit: Vec<u8>,
    opening: Vec<u8>,
    /// The number of open labels of the original.
    depth: u32,
    is_closed: bool,
}

impl<'m> Erasure<'m> {
    /// Starts a walk over the body of `func`.
    ///
    /// `hooked` says how the function is instrumented; `None` if it has no entry and exit hooks. `scratch` is the
    /// index of the local that the hook of `memory.grow` uses.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the locals of the function cannot be read.
    pub(crate) fn new(
        module: &Module<'m>,
        func: FuncIdx,
        code: &HookCode,
        hooked: Option<Hooked>,
        scratch: u32,
    ) -> Result<Self> {
        let frame = hooked.map(|hooked| hooked.frame);
        let of = |bytes: fn(&HookCode, Frame) -> Vec<u8>| frame.map_or_else(Vec::new, |frame| bytes(code, frame));
        let caught = match frame {
            Some(frame) if frame.catches => code.caught(frame),
            _ => Vec::new(),
        };
        let mut before = vec![
            (Hook::Caught, caught.clone()),
            (Hook::Leave, of(HookCode::leave)),
            (Hook::Unreachable, code.unreachable()),
            (Hook::Grow, code.memory_grow(scratch)),
        ];
        before.retain(|(_, bytes)| !bytes.is_empty());
        let mut opening = Vec::new();
        if let Some(Hooked { frame, wrapper, results }) = hooked {
            opening = code.enter(frame);
            wrapper.open(results, &mut opening);
        }
        Ok(Erasure {
            file: module.bytes(),
            operators: module.body_reader(func).get_operators_reader()?,
            end: module.body(func).end,
            hooked,
            before,
            caught,
            exit: of(HookCode::exit),
            opening,
            depth: 0,
            is_closed: false,
        })
    }

    /// The file offset of the next piece.
    pub(crate) fn at(&self) -> usize {
        self.operators.original_position()
    }

    /// The number of labels of the original that are open at [`Erasure::at`].
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// The next piece of the body; `None` after the last `end`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if an operator cannot be read. [`ErrorKind::Verify`] if the entry hook or the wrapper
    /// is not where it belongs.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'m>>> {
        if self.operators.eof() {
            return Ok(None);
        }
        let at = self.at();
        if !self.opening.is_empty() {
            let opening = std::mem::take(&mut self.opening);
            if !self.file[at..self.end].starts_with(&opening) {
                return Err(damaged(at, "a hook is missing"));
            }
            return self.hook(Hook::Open, at + opening.len());
        }
        if let Some((close, end)) = self.close(at)? {
            self.is_closed = true;
            return self.hook(close, end);
        }
        let first = self.file[at];
        let begins = |(_, bytes): &&(Hook, Vec<u8>)| bytes[0] == first && self.file[at..self.end].starts_with(bytes);
        if !self.is_closed
            && let Some((hook, bytes)) = self.before.iter().find(begins)
        {
            return self.hook(*hook, at + bytes.len());
        }
        let operator = self.operators.read()?;
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => self.depth += 1,
            Operator::End | Operator::Delegate { .. } => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(Some(Piece::Operator(operator, at..self.at())))
    }

    /// The end of the wrapper, if it starts at `at`: the hook and the offset where it ends.
    fn close(&self, at: usize) -> Result<Option<(Hook, usize)>> {
        const END: u8 = 0x0b;
        const CATCH_ALL: u8 = 0x19;
        let Some(Hooked { wrapper, .. }) = self.hooked.filter(|_| self.depth == 0 && !self.is_closed) else {
            return Ok(None);
        };
        if !matches!(self.file[at], END | CATCH_ALL) {
            return Ok(None);
        }
        let last = self.end - 1;
        for caught in [false, true] {
            let mut close = Vec::new();
            wrapper.close([if caught { &self.caught } else { &[] }, &self.exit], &mut close);
            if self.file[at..last] == close {
                return Ok(Some((Hook::Close(caught && !self.caught.is_empty()), last)));
            }
        }
        Err(damaged(at, "the body does not end with its exit hook"))
    }

    fn hook(&mut self, hook: Hook, end: usize) -> Result<Option<Piece<'m>>> {
        let at = self.at();
        while self.at() < end {
            self.operators.read()?;
        }
        if self.at() != end {
            return Err(damaged(end, "a hook does not end where an operator ends"));
        }
        Ok(Some(Piece::Hook(hook, at..end)))
    }
}

/// The type of the block that starts at the file offset `at` in the body of `func`; `None` if no block starts there.
pub(crate) fn block_type(module: &Module<'_>, func: FuncIdx, at: usize) -> Option<BlockType> {
    let end = module.body(func).end;
    let mut operators = OperatorsReader::new(module.reader(at.min(end)..end));
    match operators.read().ok()? {
        Operator::Block { blockty } | Operator::Try { blockty } => Some(match blockty {
            wasmparser::BlockType::Empty => BlockType::Empty,
            wasmparser::BlockType::Type(ty) => BlockType::Result(wasm_encoder::ValType::try_from(ty).ok()?),
            wasmparser::BlockType::FuncType(index) => BlockType::FunctionType(index),
        }),
        _ => None,
    }
}

fn damaged(at: usize, what: &str) -> Error {
    Error::at(ErrorKind::Verify, at, what)
}
