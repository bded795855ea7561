//! A setting of the allocator that returns large freed blocks to the system.
//!
//! The compiler allocates few large blocks, one after the other. When the first one is freed, glibc raises its threshold and
//! keeps later blocks of that size. A module of 22 MB with debug information then needs 90 MB at peak instead of 66 MB.

/// Makes glibc return large freed blocks to the system at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's own setting, for which there is no safe call")]
pub(crate) fn give_back() {
    /// glibc's initial threshold. Setting it explicitly disables the dynamic adjustment.
    const LARGE: libc::c_int = 128 * 1024;
    // SAFETY: `mallopt` takes two numbers, locks what it changes, and is called before there is a second thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Does nothing: other allocators do not adjust such a threshold, or have no setting for it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
