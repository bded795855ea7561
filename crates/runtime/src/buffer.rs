//! Access to the guest's buffer from the host. Most of the unsafe code of the crate is here.
//!
//! The buffer is a memory of a WebAssembly instance. The guest writes to it as if it were alone. The clock's thread
//! writes two of its words, and the consumer's thread reads events from it. wasmtime gives such access only to the
//! owner of the store, so these threads use the address.

#![expect(unsafe_code, reason = "several threads look at a memory that wasmtime lends to one")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The words of a guest's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    base: NonNull<u8>,
    bytes: u32,
}

// SAFETY: every access is an atomic access to a word within the memory. `Buffer::new` says how long the memory exists.
unsafe impl Send for Buffer {}
// SAFETY: as for `Send`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer at address `base` with `bytes` bytes.
    ///
    /// # Safety
    /// `base` must be aligned to 4. The `bytes` bytes from there must be readable and writable as long as any copy of
    /// this value is used. The memory never moves, since its minimum and maximum size are equal. Its store must outlive
    /// the threads that use a copy, and stay borrowed until they have ended (`super::embed` ensures this).
    pub(super) unsafe fn new(base: NonNull<u8>, bytes: u32) -> Self {
        Buffer { base, bytes }
    }

    /// Whether the buffer is at address `base`.
    pub(super) fn is_at(&self, base: *const u8) -> bool {
        std::ptr::eq(self.base.as_ptr(), base)
    }

    /// Whether both are the same memory.
    pub(super) fn is_same(&self, other: &Buffer) -> bool {
        self.base == other.base
    }

    /// The size of the buffer in bytes.
    pub(super) fn len(&self) -> u32 {
        self.bytes
    }

    /// Reads the word at that offset. The guest writes an event before it advances the cursor. Machines may show this
    /// to other threads in another order, so only events that were handed over or are long past are read.
    #[inline]
    pub(super) fn load(&self, offset: u32) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Appends the words between two offsets to `words`.
    pub(super) fn load_words(&self, from: u32, to: u32, words: &mut Vec<u32>) {
        assert!(from.is_multiple_of(4) && to.is_multiple_of(4) && to <= self.bytes && from <= to);
        let first = self.base.as_ptr();
        // SAFETY: within the memory, aligned, and alive, as in `word`.
        let at = |offset: u32| unsafe { AtomicU32::from_ptr(first.add(offset as usize).cast()) };
        words.extend((from..to).step_by(4).map(|offset| at(offset).load(Ordering::Relaxed)));
        std::sync::atomic::fence(Ordering::Acquire);
    }

    /// Writes the word at that offset.
    #[inline]
    pub(super) fn store(&self, offset: u32, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    #[inline]
    fn word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.bytes));
        // SAFETY: the offset is within the memory and aligned, and the memory is alive (see `Buffer::new`). A
        // concurrent plain access of the guest to the same word is a machine instruction, which is atomic too.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset as usize).cast()) }
    }
}

/// The buffer that the guest writes to. A component may have several, but only one is active at a time: the others have
/// LIMIT 0, so the guest calls the host before it writes to them.
#[derive(Debug, Default)]
pub(super) struct ActiveBuffer {
    base: AtomicPtr<u8>,
    bytes: AtomicU32,
}

impl ActiveBuffer {
    /// The active buffer, if the guest has one.
    pub(super) fn get(&self) -> Option<Buffer> {
        let base = NonNull::new(self.base.load(Ordering::Acquire))?;
        // Buffers of one run have the same size, so it does not matter if another buffer becomes active here.
        let bytes = self.bytes.load(Ordering::Acquire);
        // SAFETY: `set` got both from a buffer, and the buffers of a run exist until its end.
        Some(unsafe { Buffer::new(base, bytes) })
    }

    /// Makes another buffer the active one.
    pub(super) fn set(&self, buffer: Buffer) {
        self.bytes.store(buffer.bytes, Ordering::Release);
        self.base.store(buffer.base.as_ptr(), Ordering::Release);
    }
}
