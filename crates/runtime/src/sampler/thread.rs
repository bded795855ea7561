//! What the signal handler needs of its thread: the stack, the clock, the timer.

#![expect(unsafe_code, reason = "reads a stack, sets a timer")]

use std::ops::Range;
use std::ptr::null_mut;

/// Registers of an interrupted thread.
pub(super) struct Registers {
    pub(super) pc: usize,
    pub(super) stack_pointer: usize,
    pub(super) frame_pointer: usize,
}

/// The end address of this thread's stack.
pub(super) fn stack_top() -> Result<usize, String> {
    // SAFETY: the first call initializes the attributes, and they are destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return Err("the bounds of the stack are unknown".to_owned());
        }
        let (mut base, mut size) = (null_mut(), 0);
        let found = libc::pthread_attr_getstack(&attributes, &mut base, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        if found == 0 { Ok(base.addr() + size) } else { Err("the bounds of the stack are unknown".to_owned()) }
    }
}

/// A word of the interrupted thread's stack, whose used range is given.
pub(super) fn word_of_stack(stack: &Range<usize>, at: usize) -> Option<usize> {
    let inside = at >= stack.start && at.checked_add(8)? <= stack.end && at.is_multiple_of(8);
    // SAFETY: between the stack pointer and the end of the stack of this thread, which is interrupted.
    inside.then(|| unsafe { std::ptr::with_exposed_provenance::<usize>(at).read_volatile() })
}

/// Current time of the timer's clock in nanoseconds.
pub(super) fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sets a timer.
pub(super) fn set(timer: usize, nanos: u64) {
    let value =
        libc::timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000).max(1) as i64 };
    let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    // SAFETY: the timer exists as long as `Sampling` does. Setting a deleted timer would only be an error.
    unsafe { libc::timer_settime(std::ptr::with_exposed_provenance_mut(timer), 0, &once, null_mut()) };
}
