//! The wrapper around a hooked body. Its label replaces the label of the function.
//!
//! The wrapper is usually a block. But if the module catches exceptions, a function must also exit when an exception
//! crosses it. Some hook sets have an event for caught exceptions (see [`crate::hooks::catch_sites`]). For the others,
//! the wrapper catches every exception, exits, and rethrows. It uses the kind of exception handling that the module
//! itself uses:
//!
//! ```wat
//! block (result R)                       try (result R)
//!   block (result exnref)                  …
//!     try_table (result R)               catch_all
//!         (catch_all_ref 0)                EXIT id
//!       …                                  rethrow 0
//!     end                                end
//!     br 1                               EXIT id
//!   end
//!   EXIT id
//!   throw_ref
//! end
//! EXIT id
//! ```
//!
//! A tail call has left the frame before its callee can throw, so it exits only once. If a module does not use
//! exception handling, its wrapper does not either, unless [`Options::foreign_exceptions`](crate::rewrite::Options) is
//! set.

use wasm_encoder::{BlockType, Catch, InstructionSink, ValType};

use crate::module::Module;

/// The wrapper of the hooked bodies of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Wrapper {
    /// `block`
    #[default]
    Block = 0,
    /// `try_table`
    TryTable = 1,
    /// `try` of the legacy proposal
    LegacyTry = 2,
}

pub(crate) const ALL: [Wrapper; 3] = [Wrapper::Block, Wrapper::TryTable, Wrapper::LegacyTry];

impl Wrapper {
    /// The wrapper for a module, chosen by the exception handling in its own code.
    pub(crate) fn of(module: &Module<'_>) -> Wrapper {
        let flavours = module
            .with_exceptions()
            .fold((false, false), |(new, legacy), (_, exceptions)| (new | exceptions.new, legacy | exceptions.legacy));
        match flavours {
            // The module catches nothing. An exception leaves it, and the host ends the calls that the exception
            // unwound.
            (false, false) => Wrapper::Block,
            (false, true) => Wrapper::LegacyTry,
            (true, _) => Wrapper::TryTable,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Wrapper> {
        ALL.into_iter().find(|w| *w as u8 == byte)
    }

    /// The number of labels that the wrapper opens around the body.
    pub(crate) fn labels(self) -> u32 {
        match self {
            Wrapper::Block | Wrapper::LegacyTry => 1,
            Wrapper::TryTable => 3,
        }
    }

    /// Appends the operators between ENTER and the body.
    pub(crate) fn open(self, results: BlockType, out: &mut Vec<u8>) {
        let mut code = InstructionSink::new(out);
        match self {
            Wrapper::Block => _ = code.block(results),
            Wrapper::LegacyTry => _ = code.try_(results),
            Wrapper::TryTable => {
                code.block(results).block(BlockType::Result(ValType::EXNREF));
                code.try_table(results, [Catch::AllRef { label: 0 }]);
            }
        }
    }

    /// Appends the operators between the body and the last `end` of the function. Both `exits` are written, in order,
    /// at each exit.
    pub(crate) fn close(self, exits: [&[u8]; 2], out: &mut Vec<u8>) {
        let exit = |out: &mut Vec<u8>| exits.iter().for_each(|exit| out.extend_from_slice(exit));
        match self {
            Wrapper::Block => _ = InstructionSink::new(out).end(),
            Wrapper::TryTable => {
                InstructionSink::new(out).end().br(1).end();
                exit(out);
                InstructionSink::new(out).throw_ref().end();
            }
            Wrapper::LegacyTry => {
                InstructionSink::new(out).catch_all();
                exit(out);
                InstructionSink::new(out).rethrow(0).end();
            }
        }
        exit(out);
    }
}
