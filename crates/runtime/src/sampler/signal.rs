//! The timer and the signal that interrupt a thread.
//!
//! # Why the unsafe code is sound
//! - The handler is only installed if the process has no other one for `SIGPROF`, and removed with the last sampled run. It
//!   finds its run through a thread-local variable, which is set while a [`Sampling`] is on that thread's stack and keeps the
//!   run's [`Samples`] alive. After `timer_delete` has returned, no signal is pending: a pending signal was delivered on the
//!   return of that call, since this thread does not block it.
//! - Apart from arithmetic and atomic accesses, the handler only calls `clock_gettime` and `timer_settime`, which are safe in
//!   a handler. It restores `errno`.
//! - It runs on the alternate stack that Rust and wasmtime set up for their own handlers, so it does not use the guest's stack.
//! - It only reads the stack if the program counter is in code of the engine. There, frame pointers are linked (Cranelift's
//!   `preserve_frame_pointers`, which wasmtime needs for its own backtraces). Each frame is only read if it is above the
//!   previous one and within this thread's stack.
//! - The engine's image is memory that a [`wasmtime::Module`] or `Component` keeps mapped and never writes.

#![expect(unsafe_code, reason = "signals and timers")]

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::Samples;
use super::thread::{Registers, stack_top};

thread_local! {
    static SAMPLES: Cell<*const Samples> = const { Cell::new(std::ptr::null()) };
}

/// Number of sampled runs, and the previous action of the signal.
static INSTALLED: Mutex<(usize, Option<libc::sigaction>)> = Mutex::new((0, None));

const SIGNAL: libc::c_int = libc::SIGPROF;

/// Samples the guest of this thread until it is dropped.
pub(crate) struct Sampling {
    samples: Arc<Samples>,
    timer: libc::timer_t,
    /// Whether the thread had blocked the signal before.
    was_blocked: bool,
}

extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes these to a handler with SA_SIGINFO. The pointer is null or points to a `Sampling`
    // on this thread.
    unsafe {
        let errno = *libc::__errno_location();
        // Ignores signals that were not sent by the timer.
        if info.as_ref().is_some_and(|info| info.si_code == libc::SI_TIMER)
            && let Some(samples) = SAMPLES.get().as_ref()
            && let Some(context) = context.cast::<libc::ucontext_t>().as_ref()
        {
            let register = |number: libc::c_int| context.uc_mcontext.gregs[number as usize] as usize;
            samples.interrupted(&Registers {
                pc: register(libc::REG_RIP),
                stack_pointer: register(libc::REG_RSP),
                frame_pointer: register(libc::REG_RBP),
            });
        }
        *libc::__errno_location() = errno;
    }
}

/// Starts sampling this thread, which runs the guest.
///
/// # Errors
/// The reason why it cannot be sampled.
pub(crate) fn start(samples: &Arc<Samples>) -> Result<Sampling, String> {
    let started = try_to_start(samples);
    samples.failed.store(started.is_err(), Ordering::Relaxed);
    started
}

fn try_to_start(samples: &Arc<Samples>) -> Result<Sampling, String> {
    if !SAMPLES.get().is_null() {
        return Err("this thread already runs a sampled program".to_owned());
    }
    samples.stack_top.store(stack_top()?, Ordering::Relaxed);
    install()?;
    // SAFETY: the signal goes to this thread, whose id this is. The timer is deleted before the thread ends.
    let timer = unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = null_mut();
        match libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) {
            0 => timer,
            _ => {
                let e = std::io::Error::last_os_error();
                uninstall();
                return Err(format!("the system provides no timer ({e})"));
            }
        }
    };
    let was_blocked = block(libc::SIG_UNBLOCK);
    samples.timer.store(timer.expose_provenance(), Ordering::Relaxed);
    SAMPLES.set(Arc::as_ptr(samples));
    Ok(Sampling { samples: samples.clone(), timer, was_blocked })
}

impl Drop for Sampling {
    fn drop(&mut self) {
        // From now on, no signal sets the timer again.
        self.samples.enter_host();
        // SAFETY: `start` created the timer, and only this deletes it.
        unsafe { libc::timer_delete(self.timer) };
        if self.was_blocked {
            block(libc::SIG_BLOCK);
        }
        SAMPLES.set(std::ptr::null());
        uninstall();
    }
}

/// Blocks or unblocks the signal on this thread. Returns whether it was blocked before.
fn block(how: libc::c_int) -> bool {
    // SAFETY: the sets are initialized.
    unsafe {
        let (mut set, mut old): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, SIGNAL);
        libc::pthread_sigmask(how, &set, &mut old);
        libc::sigismember(&old, SIGNAL) == 1
    }
}

fn install() -> Result<(), String> {
    let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if installed.0 == 0 {
        // SAFETY: the handler has the signature for SA_SIGINFO and only uses async-signal-safe operations.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(SIGNAL, null_mut(), &mut old);
            if !matches!(old.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
                return Err("this process already has a handler for SIGPROF".to_owned());
            }
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = handler as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigemptyset(&mut new.sa_mask);
            if libc::sigaction(SIGNAL, &new, null_mut()) != 0 {
                return Err(format!("cannot install a handler for SIGPROF ({})", std::io::Error::last_os_error()));
            }
            installed.1 = Some(old);
        }
    }
    installed.0 += 1;
    Ok(())
}

fn uninstall() {
    let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    installed.0 -= 1;
    if installed.0 == 0
        && let Some(old) = installed.1.take()
    {
        // SAFETY: restores the previous action; no timer sends the signal any more.
        unsafe { libc::sigaction(SIGNAL, &old, null_mut()) };
    }
}
