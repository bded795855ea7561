//! What stands around a hooked body. Its label takes the place of the function's label.
//!
//! A block; but in a module that catches exceptions a function must also be left when one crosses it. Where the hook set has
//! no event for a function that has caught one (see [`super::landings`]), what stands there catches everything, exits, and
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

use super::body::END;
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
    pub(super) fn of(module: &Module<'_>) -> Wrapper {
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

    /// Appends what stands between ENTER and the body. `block_type` is that of the function's results, encoded.
    pub(super) fn open(self, block_type: &[u8], out: &mut Vec<u8>) {
        out.push(if self == Wrapper::LegacyTry { 0x06 } else { 0x02 });
        out.extend_from_slice(block_type);
        if self == Wrapper::TryTable {
            // block (result exnref), try_table with one clause: catch_all_ref 0
            out.extend_from_slice(&[0x02, 0x69, 0x1f]);
            out.extend_from_slice(block_type);
            out.extend_from_slice(&[1, 0x03, 0]);
        }
    }

    /// Appends what stands between the body and the function's last `end`, where `exits`, one behind the other, stand on its
    /// last way out.
    pub(super) fn close(self, exits: [&[u8]; 2], out: &mut Vec<u8>) {
        let exit = |out: &mut Vec<u8>| exits.iter().for_each(|exit| out.extend_from_slice(exit));
        match self {
            Wrapper::Block => out.push(END),
            Wrapper::TryTable => {
                out.extend_from_slice(&[END, 0x0c, 1, END]); // end, br 1, end
                exit(out);
                out.extend_from_slice(&[0x0a, END]); // throw_ref, end
            }
            Wrapper::LegacyTry => {
                out.push(0x19); // catch_all
                exit(out);
                out.extend_from_slice(&[0x09, 0, END]); // rethrow 0, end
            }
        }
        exit(out);
    }
}
