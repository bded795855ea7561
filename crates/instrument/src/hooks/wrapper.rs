//! What stands around a hooked body. Its label takes the place of the function's label.
//!
//! A block; but in a module that catches exceptions a function must also be left when one crosses it. Where the hook set has
//! no event for a function that has caught one (see [`crate::hooks::catch_sites`]), what stands there catches everything, exits, and
//! throws on, in the flavour that the module itself uses:
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
//! A tail call has left the frame before its callee can throw, so it is exited once. A module with no exception feature
//! never gains one.

use wasm_encoder::{BlockType, Catch, InstructionSink, ValType};

use crate::module::Module;

/// Which wrapper the hooked bodies of a module have.
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
    /// The wrapper for a module: by the exceptions that its own code uses.
    pub(crate) fn of(module: &Module<'_>) -> Wrapper {
        let flavours = module
            .with_exceptions()
            .fold((false, false), |(new, legacy), (_, exceptions)| (new | exceptions.new, legacy | exceptions.legacy));
        match flavours {
            // Nothing is caught here: what is thrown leaves the module, and the host closes what it crosses.
            (false, false) => Wrapper::Block,
            (false, true) => Wrapper::LegacyTry,
            (true, _) => Wrapper::TryTable,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Wrapper> {
        ALL.into_iter().find(|w| *w as u8 == byte)
    }

    /// How many labels it opens around the body.
    pub(crate) fn labels(self) -> u32 {
        match self {
            Wrapper::Block | Wrapper::LegacyTry => 1,
            Wrapper::TryTable => 3,
        }
    }

    /// Appends what stands between ENTER and the body.
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

    /// Appends what stands between the body and the function's last `end`, where `exits`, one behind the other, stand on its
    /// last way out.
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
