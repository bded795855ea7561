//! How the allocator treats memory that is given back.
//!
//! The compiler holds few large things, one after the other. glibc takes the first of them that is given back for a sign that
//! there will be more like it, and from then on keeps such memory: a module of 22 MB with its debug information then takes 90 MB
//! at most, and not 66.

/// Has large blocks given back to the system at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's own setting, for which there is no safe call")]
pub(crate) fn give_back() {
    /// The size at which glibc begins. Setting it is what keeps it from moving.
    const LARGE: libc::c_int = 128 * 1024;
    // SAFETY: `mallopt` takes two numbers, locks what it changes, and is called before there is a second thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other allocators have no such habit, or no such setting.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
