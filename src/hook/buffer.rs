//! The buffer that the guest records into: where what stands in its memory, and the operators that write there.
//!
//! The buffer is a memory of its own, added behind the module's, which no instruction of the original can name. It begins
//! with a few words that the guest and the host share; blocks of events follow. All words are little-endian `u32`s.
//!
//! ```text
//! 0            CURSOR     where the next event goes; written by the guest
//! 4            LIMIT      at or past it the guest calls `flush` before it writes; written by the host
//! 8            ACTIVATION how many calls of functions that catch there were; written by the guest
//! 64           CLOCK      the time, in ticks of 100 ns modulo 2^32; written by the host      (`threshold` alone)
//! 68           THRESHOLD  in ticks: calls that are shorter and made no other are counted only  (`threshold` alone)
//! 128          a counter for each function, at 128 + 4 * id                                    (`threshold` alone)
//! blocks       blocks of 8 KiB; `blocks` stands in the Manifest, the last block ends where the memory does
//! ```
//!
//! A new memory is all zeros, so the first event calls `flush`, and the host sets things up then: no instance needs to be
//! prepared. `flush` takes and gives nothing; when it returns there is room for an event at CURSOR.
//!
//! An event is a word, `id << 2 | kind`; in the set `threshold` CLOCK's value follows it. Entering `id`:
//!
//! ```wat
//! i32.const 0  i32.load $b CURSOR  local.tee $s
//! i32.const 0  i32.load $b LIMIT   i32.ge_u
//! if  call $flush  i32.const 0  i32.load $b CURSOR  local.set $s  end
//! local.get $s  i32.const (id << 2 | kind)   i32.store $b
//! local.get $s  i32.const 0  i32.load $b CLOCK  i32.store $b offset=4     ;; `threshold` alone
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
//! Without a clock the host knows when a block of events was handed over, and when the guest called the host in between.
//! Which function the time went to is measured by sampling the guest's thread.
//!
//! A function that catches exceptions must say when it goes on as itself: the calls that it made, and those that they made, are
//! gone, and were never left. Its ENTER is of the kind `catching`, and numbers the call, in a local of its own:
//!
//! ```wat
//! i32.const 0  i32.const 0  i32.load $b ACTIVATION  i32.const 1  i32.add  local.tee $a  i32.store $b ACTIVATION
//! ```
//!
//! Wherever an exception may have brought it, it writes an event of the kind `landed` with that number (modulo 2^29) in place of
//! a function's: all calls above it are crossed. Ordinary branches reach some of these places too; then there are none. Who
//! reads the events counts those of the kind `catching` likewise. A function that catches and is not hooked writes `catching`
//! with [`NOBODY`] for a function: that call is numbered, and not a call. Other functions pay nothing for exceptions. (The road
//! not taken, a handler around each function that tells and throws on, costs every one of them a quarter.)
//!
//! The cursor lies in the memory and not in a global (measured: no difference), so that the host can look how far a guest
//! has come that never calls it again. Comparing before the event is written, not after, saves 15 % on calls that do
//! nothing, and an event that comes after a long silence gets the time that `flush` has just set.
//!
//! In the set `threshold`, `$s` keeps the place of the call's own ENTER. If that is still the last event when the call ends,
//! and it was short, the cursor goes back to it: the call is as if it had not been, but for its counter. What it had called
//! has gone the same way, so a chain of short calls vanishes from the inside out. The host takes care that the cursor does
//! not stand right behind an event that it has taken.

use wasm_encoder::Encode;

use super::{Frame, HookSet, ProbeId};

/// How the name begins that the memory is exported by; where the module has that name, more `+`s follow.
pub const EXPORT: &str = "wasmtrace:buffer";
/// Offset of the cursor.
pub const CURSOR: u32 = 0;
/// Offset of the limit.
pub const LIMIT: u32 = 4;
/// Offset of the number of calls of functions that catch.
pub const ACTIVATION: u32 = 8;
/// Offset of the clock; on a cache line of its own, since another thread writes it.
pub const CLOCK: u32 = 64;
/// Offset of the threshold.
pub const THRESHOLD: u32 = 68;
/// Offset of the counters.
pub const COUNTERS: u32 = 128;
/// Bytes of a block.
pub const BLOCK: u32 = 8 << 10;
/// How many blocks there are.
pub const BLOCKS: u32 = 128;
/// Nanoseconds of a tick. 2^32 of them are 429 seconds; the host hands events over at least once a second.
pub const TICK: u64 = 100;

/// Bytes of a page of memory.
const PAGE: u32 = 64 << 10;

/// What an event says of its function: the low two bits of its first word, and of [`Kind::Leaf`] the highest one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// It is entered.
    Enter = 0,
    /// It returns, or calls another in its place.
    Exit = 1,
    /// An exception has been caught. Not a function's, but the number of the call that goes on.
    Landed = 2,
    /// It is entered, and catches exceptions: the call has a number.
    Catching = 3,
    /// A leaf function was entered and left. Only in the set `buffer`.
    Leaf = LEAF | 2,
}

/// Tells [`Kind::Leaf`] from [`Kind::Landed`].
pub const LEAF: u32 = 1 << 31;

/// Upper bound of function numbers in words. Engines accept at most 1,000,000 functions.
pub const FUNCTIONS: u32 = 1 << 29;

/// Stands for the function in [`Kind::Catching`] if that is not hooked.
pub const NOBODY: ProbeId = ProbeId(u32::MAX >> 2);

/// The first word of an event.
pub fn word(id: ProbeId, kind: Kind) -> u32 {
    id.0 << 2 | kind as u32
}

/// What the first word of an event says.
pub fn meaning(word: u32) -> (ProbeId, Kind) {
    let kind = match word & 3 {
        0 => Kind::Enter,
        1 => Kind::Exit,
        2 if is_leaf(word) => return (ProbeId((word & !LEAF) >> 2), Kind::Leaf),
        2 => Kind::Landed,
        _ => Kind::Catching,
    };
    (ProbeId(word >> 2), kind)
}

/// Whether a word says [`Kind::Leaf`].
#[inline(always)]
pub fn is_leaf(word: u32) -> bool {
    word & (LEAF | 3) == Kind::Leaf as u32
}

/// Whether a word says something else than [`Kind::Enter`], [`Kind::Exit`] or [`Kind::Leaf`] of a function.
#[inline(always)]
pub fn is_unusual(word: u32) -> bool {
    word & (LEAF | 2) != 0 && !is_leaf(word)
}

/// Bytes of an event: one word, and in the set `threshold` a second one, the time.
pub fn event_size(set: HookSet) -> u32 {
    if set == HookSet::Threshold { 8 } else { 4 }
}

/// In the set `buffer`, a LIMIT half an event past an event makes the exit of that leaf call flush. A LIMIT a whole event past it does
/// not; then the next event flushes.
pub const HALF_EVENT: u32 = 2;

/// Where the first block begins in a module of that many functions.
pub fn first_block(set: HookSet, functions: u32) -> u32 {
    let counters = if set == HookSet::Threshold { 4 * functions } else { 0 };
    (COUNTERS + counters).next_multiple_of(BLOCK)
}

/// The size of the memory in pages: both its least and its greatest.
pub(crate) fn pages(first_block: u32) -> u32 {
    (first_block + BLOCKS * BLOCK).div_ceil(PAGE)
}

/// What writes into a buffer, in one module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    /// The index of its memory.
    pub(crate) memory: u32,
    /// The import that makes room.
    pub(crate) flush: u32,
    /// Whether short calls are counted only.
    pub(crate) threshold: bool,
}

/// Operators, by the names that the specification gives them.
mod op {
    pub(super) const IF: u8 = 0x04;
    pub(super) const ELSE: u8 = 0x05;
    pub(super) const END: u8 = 0x0b;
    pub(super) const CALL: u8 = 0x10;
    pub(super) const LOCAL_GET: u8 = 0x20;
    pub(super) const LOCAL_SET: u8 = 0x21;
    pub(super) const LOCAL_TEE: u8 = 0x22;
    pub(super) const I32_LOAD: u8 = 0x28;
    pub(super) const I32_STORE: u8 = 0x36;
    pub(super) const I32_CONST: u8 = 0x41;
    pub(super) const I32_EQ: u8 = 0x46;
    pub(super) const I32_LT_U: u8 = 0x49;
    pub(super) const I32_GE_U: u8 = 0x4f;
    pub(super) const I32_ADD: u8 = 0x6a;
    pub(super) const I32_SUB: u8 = 0x6b;
    pub(super) const I32_AND: u8 = 0x71;
    pub(super) const I32_OR: u8 = 0x72;
    pub(super) const I32_SHL: u8 = 0x74;
    pub(super) const I32_SHR_U: u8 = 0x76;
    /// Block type: no results.
    pub(super) const EMPTY: u8 = 0x40;
}

impl Buffer {
    fn event_size(&self) -> u32 {
        event_size(if self.threshold { HookSet::Threshold } else { HookSet::Buffer })
    }

    /// What a call writes when it begins. The frame's first local is for the event's place, the second, if it catches, for its
    /// number.
    pub(super) fn enter(&self, frame: Frame) -> Vec<u8> {
        let mut code = self.code();
        self.event(frame, |code| _ = code.constant(opening(frame)), &mut code);
        if frame.catches {
            code.constant(0).shared(ACTIVATION).constant(1).plain(op::I32_ADD).local(op::LOCAL_TEE, frame.local + 1);
            code.memory(op::I32_STORE, ACTIVATION);
        }
        code.bytes
    }

    /// What it writes when it ends, or takes back.
    pub(super) fn exit(&self, frame: Frame) -> Vec<u8> {
        let mut code = self.code();
        let Some(id) = frame.id else { return code.bytes };
        let exit = |code: &mut Code| _ = code.constant(word(id, Kind::Exit));
        let s = frame.local;
        if !self.threshold {
            if !frame.is_leaf {
                self.event(frame, exit, &mut code);
                return code.bytes;
            }
            code.local(op::LOCAL_GET, s).constant(HALF_EVENT).plain(op::I32_ADD);
            code.shared(LIMIT).plain(op::I32_GE_U).plain(op::IF).plain(op::EMPTY);
            self.flush(&mut code);
            code.shared(CURSOR).local(op::LOCAL_TEE, s);
            self.write(frame, exit, &mut code);
            code.plain(op::ELSE).local(op::LOCAL_GET, s).constant(word(id, Kind::Leaf)).memory(op::I32_STORE, 0);
            code.plain(op::END);
            return code.bytes;
        }
        // The cursor is right behind the ENTER of this call: nothing was written since …
        code.shared(CURSOR).local(op::LOCAL_GET, s).constant(self.event_size()).plain(op::I32_ADD).plain(op::I32_EQ);
        // … and it is its ENTER: the block may have been handed over and used again.
        code.local(op::LOCAL_GET, s).memory(op::I32_LOAD, 0).constant(opening(frame));
        code.plain(op::I32_EQ).plain(op::I32_AND);
        // It was short.
        code.shared(CLOCK).local(op::LOCAL_GET, s).memory(op::I32_LOAD, 4).plain(op::I32_SUB);
        code.shared(THRESHOLD).plain(op::I32_LT_U).plain(op::I32_AND);
        code.plain(op::IF).plain(op::EMPTY);
        code.constant(0).local(op::LOCAL_GET, s).memory(op::I32_STORE, CURSOR);
        if frame.catches {
            // Its number is the last that was given away: those that were given after it have been taken back.
            code.constant(0).local(op::LOCAL_GET, s + 1).constant(1).plain(op::I32_SUB);
            code.memory(op::I32_STORE, ACTIVATION);
        }
        let counter = COUNTERS + 4 * id.0;
        code.constant(0).shared(counter).constant(1).plain(op::I32_ADD).memory(op::I32_STORE, counter);
        code.plain(op::ELSE);
        self.event(frame, exit, &mut code);
        code.plain(op::END);
        code.bytes
    }

    /// What a call writes where an exception may have brought it.
    pub(super) fn landed(&self, frame: Frame) -> Vec<u8> {
        let mut code = self.code();
        let number = |code: &mut Code| {
            // The low 29 bits of the number: the top bit is `LEAF`.
            code.local(op::LOCAL_GET, frame.local + 1).constant(3).plain(op::I32_SHL).constant(1).plain(op::I32_SHR_U);
            code.constant(Kind::Landed as u32).plain(op::I32_OR);
        };
        self.event(frame, number, &mut code);
        code.bytes
    }

    fn code(&self) -> Code {
        Code { memory: self.memory, bytes: Vec::with_capacity(160) }
    }

    fn event(&self, frame: Frame, word: impl Fn(&mut Code), code: &mut Code) {
        let s = frame.local;
        code.shared(CURSOR).local(op::LOCAL_TEE, s).shared(LIMIT).plain(op::I32_GE_U);
        code.plain(op::IF).plain(op::EMPTY);
        self.flush(code);
        code.shared(CURSOR).local(op::LOCAL_SET, s).plain(op::END);
        code.local(op::LOCAL_GET, s);
        self.write(frame, word, code);
    }

    fn flush(&self, code: &mut Code) {
        code.plain(op::CALL);
        self.flush.encode(&mut code.bytes);
    }

    /// Writes an event to where the frame's local says, which is on the operand stack too, and moves the cursor behind it.
    fn write(&self, frame: Frame, word: impl Fn(&mut Code), code: &mut Code) {
        let s = frame.local;
        word(code);
        code.memory(op::I32_STORE, 0);
        if self.threshold {
            code.local(op::LOCAL_GET, s).shared(CLOCK).memory(op::I32_STORE, 4);
        }
        code.constant(0)
            .local(op::LOCAL_GET, s)
            .constant(self.event_size())
            .plain(op::I32_ADD)
            .memory(op::I32_STORE, CURSOR);
    }
}

/// The first word of the event that a call begins with.
fn opening(frame: Frame) -> u32 {
    word(frame.id.unwrap_or(NOBODY), if frame.catches { Kind::Catching } else { Kind::Enter })
}

/// Operators on the way to being bytes.
struct Code {
    memory: u32,
    bytes: Vec<u8>,
}

impl Code {
    fn plain(&mut self, operator: u8) -> &mut Self {
        self.bytes.push(operator);
        self
    }

    fn local(&mut self, operator: u8, local: u32) -> &mut Self {
        self.bytes.push(operator);
        local.encode(&mut self.bytes);
        self
    }

    fn constant(&mut self, value: u32) -> &mut Self {
        self.bytes.push(op::I32_CONST);
        (value as i32).encode(&mut self.bytes);
        self
    }

    /// A load or a store of 32 bits, aligned. The index of the memory is written only where it is not 0, so that a module
    /// without a memory does not come to need several.
    fn memory(&mut self, operator: u8, offset: u32) -> &mut Self {
        self.bytes.push(operator);
        match self.memory {
            0 => self.bytes.push(2),
            memory => {
                self.bytes.push(2 | 0x40);
                memory.encode(&mut self.bytes);
            }
        }
        offset.encode(&mut self.bytes);
        self
    }

    /// Loads a shared word.
    fn shared(&mut self, offset: u32) -> &mut Self {
        self.constant(0).memory(op::I32_LOAD, offset)
    }
}
