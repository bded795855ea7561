//! The guest's buffer as the host sees it: other threads read the guest's memory, which takes unsafe code.
//!
//! The buffer is a memory of a WebAssembly instance. The guest writes it without knowing of other threads; the clock's
//! thread writes two words of it, and the consumer's thread reads events out of it. wasmtime gives such access to its owner
//! alone, so this goes by the address.

#![expect(unsafe_code, reason = "several threads look at a memory that wasmtime lends to one")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The words of a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    base: NonNull<u8>,
    bytes: u32,
}

// SAFETY: every access is an atomic one, of a word inside of the memory; see `Buffer::new` for how long that is there.
unsafe impl Send for Buffer {}
// SAFETY: the same.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The buffer at `base`.
    ///
    /// # Safety
    /// `base` is aligned to 4, and `bytes` from there on are readable and writable for as long as any copy of this is used:
    /// the memory is never moved (it cannot grow: least and greatest size are the same), and its store outlives the threads
    /// that were given one, and is borrowed by whoever waits for them (`super::tracing` sees to that).
    pub(super) unsafe fn new(base: NonNull<u8>, bytes: u32) -> Self {
        Buffer { base, bytes }
    }

    /// Whether it is the one at `base`.
    pub(super) fn is_at(&self, base: *const u8) -> bool {
        std::ptr::eq(self.base.as_ptr(), base)
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> u32 {
        self.bytes
    }

    /// The word at that offset. The guest writes an event before it moves the cursor behind it; on machines that let other
    /// threads see this in another order, only what was handed over or is long past is read.
    #[inline]
    pub(super) fn load(&self, offset: u32) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Appends the words from one offset to another.
    pub(super) fn load_words(&self, from: u32, to: u32, words: &mut Vec<u32>) {
        assert!(from.is_multiple_of(4) && to.is_multiple_of(4) && to <= self.bytes && from <= to);
        let first = self.base.as_ptr();
        // SAFETY: inside, aligned, and there, as in `word`.
        let at = |offset: u32| unsafe { AtomicU32::from_ptr(first.add(offset as usize).cast()) };
        words.extend((from..to).step_by(4).map(|offset| at(offset).load(Ordering::Relaxed)));
        std::sync::atomic::fence(Ordering::Acquire);
    }

    /// Writes a word.
    #[inline]
    pub(super) fn store(&self, offset: u32, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    #[inline]
    fn word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.bytes));
        // SAFETY: the offset is inside and aligned, and the memory is there (see `Buffer::new`). A plain access of the
        // guest's to the same word at the same time is one of machine code, where it is atomic too.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset as usize).cast()) }
    }
}
