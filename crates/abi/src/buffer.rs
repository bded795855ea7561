//! The buffer that the guest records into: the layout of its memory, and the instructions that write to it.
//!
//! The buffer is a separate memory, added after those of the module. No instruction of the original can refer to it. It
//! begins with a few words shared by the guest and the host; blocks of events follow. All words are little-endian `u32`.
//!
//! ```text
//! 0            CURSOR     offset of the next event; written by the guest
//! 4            LIMIT      if CURSOR is here or later, the guest calls `flush` before an event; written by the host
//! 8            ACTIVATION number of calls of functions that catch exceptions; written by the guest
//! 64           CLOCK      the time in ticks of 100 ns modulo 2^32; written by the host       (only `threshold`)
//! 68           THRESHOLD  in ticks: shorter calls without a longer callee are only counted   (only `threshold`)
//! 128          a counter for each function, at 128 + 4 * id                                  (only `threshold`)
//! blocks       blocks of 8 KiB; the offset `blocks` is in the Manifest, the last block ends with the memory
//! ```
//!
//! A new memory contains zeros, so the first event calls `flush`, which initializes the buffer. Instances need no other
//! preparation. `flush` has no parameters and no results; when it returns, there is room for an event at CURSOR.
//!
//! An event is a word, `id << 2 | kind`. In the set `threshold`, the value of CLOCK follows. The entry of `id`:
//!
//! ```wat
//! i32.const 0  i32.load $b CURSOR  local.tee $s
//! i32.const 0  i32.load $b LIMIT   i32.ge_u
//! if  call $flush  i32.const 0  i32.load $b CURSOR  local.set $s  end
//! local.get $s  i32.const (id << 2 | kind)   i32.store $b
//! local.get $s  i32.const 0  i32.load $b CLOCK  i32.store $b offset=4     ;; only `threshold`
//! i32.const 0  local.get $s  i32.const 4  i32.add  i32.store $b CURSOR    ;; 8 in `threshold`
//! ```
//!
//! A *leaf* function has no calls, no `memory.grow`, no exception handlers and no loops. (In a loop an engine may run an epoch
//! callback, which may call the guest.) So its ENTER is still the last event when it ends. In the set `buffer`, its exit replaces
//! that word by one of kind `leaf`, and the cursor stays. This takes half the space, and a single store. The exit calls `flush` and
//! writes an EXIT instead if LIMIT is at most half an event past the ENTER: the host wants to know when the call ended.
//!
//! ```wat
//! local.get $s  i32.const 2  i32.add  i32.const 0  i32.load $b LIMIT  i32.ge_u
//! if    call $flush  …                                         ;; EXIT, as above
//! else  local.get $s  i32.const (id << 2 | leaf)  i32.store $b
//! end
//! ```
//!
//! Without a clock, the host knows the times at which events were handed over, and at which the guest called the host. The
//! distribution of time over functions is measured by sampling the guest's thread.
//!
//! A function that catches an exception must report that it continues: the calls that it made have ended without an exit. Its
//! entry has the kind `catching` and numbers the call, in a separate local:
//!
//! ```wat
//! i32.const 0  i32.const 0  i32.load $b ACTIVATION  i32.const 1  i32.add  local.tee $a  i32.store $b ACTIVATION
//! ```
//!
//! At each place that an exception may lead to, the function writes an event of the kind `caught` with that number (modulo
//! 2^29) instead of a function's: all calls above it were unwound. Ordinary branches reach some of these places too; then
//! there are no such calls. The consumer counts events of the kind `catching` in the same way. A function that catches
//! but is not hooked writes `catching` with [`NOBODY`] as the function: it only takes a number. Other functions have no
//! overhead for exceptions. (The alternative, a handler around each function that reports and rethrows, costs all
//! functions 25 %.)
//!
//! The cursor is in the memory and not in a global (measured: no difference), so that the host can read the progress of a
//! guest that does not call it again. Comparing before the event is written, not after, saves 15 % on empty calls. An event
//! after a long silence also gets the time that `flush` has just set.
//!
//! In the set `threshold`, `$s` holds the position of the call's own entry. If that is still the last event when the call
//! ends, and the call was short, the cursor moves back to it, and only the counter increases. Its callees were dropped in the
//! same way, so a chain of short calls is dropped from the inside out. The host ensures that the cursor is never directly
//! after an event that was handed over.

use crate::hook::{HookSet, ProbeId};

/// Prefix of the export name of the buffer's memory. If the module already exports this name, `+` characters are
/// appended.
pub const EXPORT: &str = "wasmtrace:buffer";
/// Offset of the cursor in the buffer's memory, in bytes.
pub const CURSOR: u32 = 0;
/// Offset of the limit in the buffer's memory, in bytes.
pub const LIMIT: u32 = 4;
/// Offset of the activation counter in the buffer's memory, in bytes: the number of calls of functions that catch
/// exceptions.
pub const ACTIVATION: u32 = 8;
/// Offset of the clock in the buffer's memory, in bytes. It has a cache line of its own, since another thread writes
/// it.
pub const CLOCK: u32 = 64;
/// Offset of the threshold in the buffer's memory, in bytes.
pub const THRESHOLD: u32 = 68;
/// Offset of the call counters in the buffer's memory, in bytes.
pub const COUNTERS: u32 = 128;
/// Size of a block in bytes.
pub const BLOCK: u32 = 8 << 10;
/// Number of blocks in the buffer.
pub const BLOCKS: u32 = 128;
/// Length of a tick in nanoseconds. The clock wraps after 2^32 ticks, which are 429 s; the host consumes events at
/// least once a second.
pub const TICK: u64 = 100;

/// The kind of an event: the low two bits of its first word. [`Kind::Leaf`] also sets the highest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The function is entered.
    Enter = 0,
    /// The function returns or makes a tail call.
    Exit = 1,
    /// An exception was caught. Instead of a function, the event holds the number of the call that caught it.
    Caught = 2,
    /// A function that catches exceptions is entered; its call gets a number.
    Catching = 3,
    /// A leaf function was entered and left. Only used in the set `buffer`.
    Leaf = LEAF | 2,
}

/// The bit that distinguishes [`Kind::Leaf`] from [`Kind::Caught`].
pub const LEAF: u32 = 1 << 31;

/// Upper bound for function ids in event words. Engines accept at most 1,000,000 functions.
pub const FUNCTIONS: u32 = 1 << 29;

/// The function in a [`Kind::Catching`] event if that function is not hooked, and the id that a function reports by the
/// `quiet` or `lifted` pair if it is not hooked.
pub const NOBODY: ProbeId = ProbeId(u32::MAX >> 2);

/// Encodes the first word of an event from the function's id and the event's kind.
pub fn word(id: ProbeId, kind: Kind) -> u32 {
    id.0 << 2 | kind as u32
}

/// Decodes the first word of an event into the function's id and the event's kind.
pub fn meaning(word: u32) -> (ProbeId, Kind) {
    let kind = match word & 3 {
        0 => Kind::Enter,
        1 => Kind::Exit,
        2 if is_leaf(word) => return (ProbeId((word & !LEAF) >> 2), Kind::Leaf),
        2 => Kind::Caught,
        _ => Kind::Catching,
    };
    (ProbeId(word >> 2), kind)
}

/// Whether a word is a [`Kind::Leaf`] event.
#[inline(always)]
pub fn is_leaf(word: u32) -> bool {
    word & (LEAF | 3) == Kind::Leaf as u32
}

/// Whether a word is neither a [`Kind::Enter`], nor a [`Kind::Exit`], nor a [`Kind::Leaf`] event.
#[inline(always)]
pub fn is_unusual(word: u32) -> bool {
    word & (LEAF | 2) != 0 && !is_leaf(word)
}

/// Size of an event in bytes: one word of 4 bytes, and in the set `threshold` a second word for the time.
pub fn event_size(set: HookSet) -> u32 {
    if set == HookSet::Threshold { 8 } else { 4 }
}

/// Half the size of an event in the set `buffer`, in bytes. If LIMIT is this far past an event, the exit of that leaf
/// call flushes. If LIMIT is a whole event past it, the next event flushes instead.
pub const HALF_EVENT: u32 = 2;

/// Offset of the first block, in bytes, for a module with that number of functions.
pub fn first_block(set: HookSet, functions: u32) -> u32 {
    let counters = if set == HookSet::Threshold { 4 * functions } else { 0 };
    (COUNTERS + counters).next_multiple_of(BLOCK)
}

/// Size of the buffer's memory in pages of 64 KiB. The memory's minimum and maximum size are the same.
pub fn pages(first_block: u32) -> u32 {
    const PAGE: u32 = 64 << 10;
    (first_block + BLOCKS * BLOCK).div_ceil(PAGE)
}
