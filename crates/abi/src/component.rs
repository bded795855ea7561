//! What compiler and hosts agree on for components: the interfaces that an instrumented component imports, the layout of
//! the buffer of its hook module, and the [`ComponentManifest`].
//!
//! The hooks of the core modules of a component call a *hook module*, which the compiler adds to each component that
//! instantiates hooked modules. In the set `buffer`, the hook module writes event words (see [`buffer`](crate::buffer))
//! to a memory of its own and calls the host when a block is full. In the set `observe`, it calls the host for each
//! event. The interfaces are, in WIT:
//!
//! ```wit
//! package wasmtrace:recorder@0.1.0;
//! interface buffer {
//!     /// The whole buffer, once, before the first `flush`. The host may keep the address and set OWNED.
//!     attach: func(buffer: list<u8>);
//!     /// Event words, oldest first, and the cause of the call. From a buffer with OWNED: its first word, as its address.
//!     flush: func(events: list<u8>, cause: u32);
//! }
//! ```
//! ```wit
//! package dylibso:observe;
//! interface instrument {
//!     enter: func(id: u32);
//!     exit: func(id: u32);
//! }
//! ```
//!
//! The buffer begins like that of a module. After ACTIVATION, these words follow:
//!
//! ```text
//! 12  QUIET     number of open calls during which the instance must not be left; the hook module does not call then
//! 16  OWNED     not 0 if the host reads the buffer by itself and moves CURSOR, LIMIT and END; written by the host
//! 20  END       end of the part of the buffer that CURSOR is in
//! 24  SPILLED   0, or the end of the events in the blocks, if CURSOR is in the spill area
//! 28  LOST      number of events that found no room while QUIET was not 0
//! 32  ATTACHED  not 0 after `attach`
//! 36  DISCARDED not 0 if events were discarded since the last recording; written by the host
//! ```
//!
//! While QUIET is not 0 and the block is full, events go to the *spill area* behind the last block. A host that does not
//! set OWNED gets the events from the first block to SPILLED, then those of the spill area. If events were lost, it then
//! gets a word of the kind [`Caught`](crate::buffer::Kind::Caught) with their number.
//!
//! # When the hook module calls `flush`
//!
//! If the host does not set OWNED, the hook module calls `flush` with each [`cause`], possibly without events: when blocks
//! are full, before and after each call that leaves the instance, when a lifted function is called and when it returns, and
//! before the instance ends. So the host can read a clock in `flush`, and has all events at the end of each call.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::buffer::{BLOCK, BLOCKS};
use crate::error::{Error, ErrorKind, Result};
use crate::hook::{COMPONENT_HOOK_SETS, HookSet};
use crate::manifest::RestoreData;
use crate::vectors::read_vec;

/// The interface that a component imports in the set `buffer`.
pub const RECORDER_INTERFACE: &str = "wasmtrace:recorder/buffer@0.1.0";
/// The package of [`RECORDER_INTERFACE`]. A component that is to be instrumented must not use its name.
pub const RECORDER_PACKAGE: &str = "wasmtrace:recorder";
/// The interface that a component imports in the set `observe`.
pub const OBSERVE_INTERFACE: &str = "dylibso:observe/instrument";
/// Offset of QUIET, in bytes.
pub const QUIET: u32 = 12;
/// Offset of OWNED, in bytes.
pub const OWNED: u32 = 16;
/// Offset of END, in bytes.
pub const END: u32 = 20;
/// Offset of SPILLED, in bytes.
pub const SPILLED: u32 = 24;
/// Offset of LOST, in bytes.
pub const LOST: u32 = 28;
/// Offset of ATTACHED, in bytes.
pub const ATTACHED: u32 = 32;
/// Offset of DISCARDED, in bytes.
pub const DISCARDED: u32 = 36;
/// Offset of the first block, in bytes.
pub const FIRST_BLOCK: u32 = BLOCK;
/// Offset of the spill area, in bytes. The last block ends there.
pub const SPILL: u32 = FIRST_BLOCK + BLOCKS * BLOCK;
/// Size of the buffer's memory in pages of 64 KiB. It cannot grow.
pub const PAGES: u32 = 33;
/// Size of the buffer's memory in bytes.
pub const SIZE: u32 = PAGES << 16;

/// Why the hook module calls `flush`.
pub mod cause {
    /// There is no room for the next event.
    pub const FULL: i32 = 0;
    /// The guest is about to call a function outside of its instance.
    pub const CALL: i32 = 1;
    /// That function has returned.
    pub const BACK: i32 = 2;
    /// A function by which others call the instance has returned.
    pub const RETURN: i32 = 3;
    /// The guest is about to exit. The exit code is in the bits from [`CODE`] on.
    pub const EXIT: i32 = 4;
    /// The guest is about to trap at an `unreachable`.
    pub const UNREACHABLE: i32 = 5;
    /// A function by which others call the instance was called, and has no event yet.
    pub const ENTER: i32 = 6;
    /// The first bit of the exit code.
    pub const CODE: i32 = 3;
}

/// The name of the custom section of the root component that contains the [`ComponentManifest`]. It is the name of the
/// section in modules.
pub use crate::manifest::MANIFEST_SECTION;

/// Version of the encoding.
const VERSION: u32 = 1;

/// Maximum number of hooked instances. A component has at most 1,000 core modules and 1,000 components, each with at most
/// 1,000 instances; in practice there are a few dozen.
const MOST_INSTANCES: usize = 100_000;

/// The description that an instrumented component contains of itself, in a custom section of the root component.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentManifest {
    /// The hook set of the component, one of [`COMPONENT_HOOK_SETS`].
    pub hooks: HookSet,
    /// SHA-256 of the component before instrumentation.
    pub input_sha256: [u8; 32],
    /// The instances of hooked modules, by ascending `first_probe`.
    pub instances: Vec<HookedInstance>,
    /// The data that `strip` needs to restore the original; `None` if it was omitted.
    pub restore: Option<RestoreData>,
}

/// An instance of a hooked module. A component that is instantiated several times has it several times, with the same
/// ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookedInstance {
    /// The module: its position among the core modules that have a Manifest, in the order of the file.
    pub module: u32,
    /// The number that the hook module adds to the ids of the module's hooks.
    pub first_probe: u32,
    /// The name of the instance. It precedes the names of its functions, if there are several instances.
    pub name: String,
}

impl ComponentManifest {
    /// Encodes the contents of the custom section, without its name.
    ///
    /// ```text
    /// version=1  hooks:string  sha256:32 bytes  instances:vec(module, first_probe, name:string)
    /// restore: 0 | 1 and the data that `strip` needs, to the end; only the compiler knows its format
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        VERSION.encode(&mut out);
        self.hooks.name().encode(&mut out);
        out.extend_from_slice(&self.input_sha256);
        self.instances.len().encode(&mut out);
        for HookedInstance { module, first_probe, name } in &self.instances {
            module.encode(&mut out);
            first_probe.encode(&mut out);
            name.encode(&mut out);
        }
        out.push(self.restore.is_some().into());
        out.extend(self.restore.iter().flat_map(|restore| &restore.bytes));
        out
    }

    /// Decodes a Manifest. `offset` is the position of `data` in the file, for error messages.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] if the data is damaged or has an unknown version.
    pub fn decode(data: &[u8], offset: usize) -> Result<ComponentManifest> {
        let mut r = BinaryReader::new(data, offset);
        read(&mut r).map_err(|e| {
            let message = format!("the component's Manifest is damaged: {}", e.message());
            Error::at(ErrorKind::Restore, e.offset().unwrap_or(offset), message)
        })
    }
}

fn read(r: &mut BinaryReader<'_>) -> Result<ComponentManifest> {
    let damaged = |r: &BinaryReader<'_>, what: &str| Error::at(ErrorKind::Restore, r.original_position(), what);
    let version = r.read_var_u32()?;
    if version != VERSION {
        return Err(damaged(r, &format!("unknown version {version}")));
    }
    let hooks = HookSet::from_name(r.read_string()?).filter(|set| COMPONENT_HOOK_SETS.contains(set));
    let hooks = hooks.ok_or_else(|| damaged(r, "unknown hook set"))?;
    let input_sha256 = r.read_bytes(32)?.try_into().expect("read 32 bytes");
    let mut count = 0;
    let instances = read_vec(r, |r| {
        count += 1;
        if count > MOST_INSTANCES {
            return Err(damaged(r, "too many instances"));
        }
        let (module, first_probe) = (r.read_var_u32()?, r.read_var_u32()?);
        Ok(HookedInstance { module, first_probe, name: r.read_unlimited_string()?.to_owned() })
    })?;
    let restore = match r.read_u8()? {
        0 => None,
        1 => Some(RestoreData::new(r.read_bytes(r.bytes_remaining())?.to_vec())),
        _ => return Err(damaged(r, "invalid value of the restore flag")),
    };
    match r.eof() {
        true => Ok(ComponentManifest { hooks, input_sha256, instances, restore }),
        false => Err(damaged(r, "trailing bytes")),
    }
}
