//! The sampler: interrupts the guest's thread at random moments and records where it is.
//!
//! A one-shot kernel timer sends `SIGPROF` to the guest's thread (`timer_create(2)`, `SIGEV_THREAD_ID`). The handler records
//! the program counter and the number of events so far, and sets the timer again to an exponentially distributed interval.
//! The samples are then a Poisson process, which is not biased towards any part of the program.
//!
//! Host calls are measured and not sampled. A signal during a host call does not set the timer again; the return to the guest
//! does. A guest that waits for minutes is therefore interrupted once, and a system call of the host at most once
//! (`SA_RESTART` restarts most of them).
//!
//! The alternative is a second thread that sends the signals. They arrive late if the guest is in the kernel for a page
//! fault: one store instruction then had 28 % of a program's time instead of 5 %.
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
//! - The engine's image is memory that a [`wasmtime::Module`] keeps mapped and never writes.

#![cfg_attr(all(target_os = "linux", target_arch = "x86_64"), expect(unsafe_code, reason = "signals, timers, stacks"))]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::progress::{Position, Shared};
use super::random;

/// Size of the ring in words: 2 MiB, for 40,000 samples, or for 127 with the longest paths.
const RING: usize = 1 << 18;

/// Maximum number of recorded calls of a path, innermost first.
pub(super) const FRAMES: usize = 2048;

/// Number of words of a sample before its frames.
const HEAD: usize = 6;

/// A bit in the word with weight (low half) and number of frames: [`RawSample::entered`].
const ENTERED: u64 = 1 << 32;

/// Sampling periods in nanoseconds, each with the number of samples taken at that period. Short runs need frequent
/// samples; long runs get enough of them. A sample costs the guest 5 to 30 µs, depending on the machine.
const PERIODS: [(u64, u64); 4] = [(120_000, 400), (300_000, 2_000), (600_000, 10_000), (1_000_000, u64::MAX)];

/// Sampling periods for a guest without hooks, where samples are the only overhead.
const PERIODS_UNHOOKED: [(u64, u64); 3] = [(100_000, 400), (500_000, 1_000), (1_000_000, u64::MAX)];

/// Latency in nanoseconds above which a signal was delayed by something other than its delivery.
const MOST_LATENCY: u64 = 100_000;

/// State shared by the guest's thread, its signal handler and the consumer.
#[derive(Debug)]
pub(super) struct Samples {
    shared: Arc<Shared>,
    ring: Box<[AtomicU64]>,
    /// Total number of words written and read.
    head: AtomicU64,
    tail: AtomicU64,
    lost: AtomicU64,
    taken: AtomicU64,
    /// The address ranges of machine code.
    texts: Vec<Range<usize>>,
    stack_top: AtomicUsize,
    timer: AtomicUsize,
    /// Whether the timer is set, or will be by a pending signal.
    armed: AtomicBool,
    /// Whether the host is working.
    in_host: AtomicBool,
    /// Whether sampling could not be set up.
    failed: AtomicBool,
    /// Whether samples are no longer consumed.
    stopped: AtomicBool,
    /// Whether call paths are recorded.
    walks: bool,
    random: AtomicU32,
    /// Time at which the signal was due, and the average latency of signals in nanoseconds.
    due: AtomicU64,
    latency: AtomicU64,
    /// The period for which the timer was set.
    period: AtomicU64,
    exponential: [f32; 256],
}

/// A sample before it is resolved.
#[derive(Debug, Clone, Default)]
pub(super) struct RawSample {
    /// Observed by another thread from the guest's progress, without an interrupt: nothing else is known.
    pub(super) seen: bool,
    /// The program counter.
    pub(super) pc: usize,
    /// Number of preceding words in the buffer, and of other preceding events.
    pub(super) words: u64,
    pub(super) events: u64,
    /// Whether the last of these words was an entry. A leaf function may have replaced it since.
    pub(super) entered: bool,
    /// Nanoseconds that the sample represents.
    pub(super) weight: u64,
    /// Nanoseconds that the sample cost the guest.
    pub(super) cost: u64,
    /// The two topmost words of the stack. One is the return address of the innermost call if that has no frame.
    pub(super) top: [usize; 2],
    /// The return addresses of the calls, innermost first.
    pub(super) frames: Vec<usize>,
}

impl Samples {
    /// Creates the state for a guest with machine code at `texts`. `walks` if call paths are needed because there are
    /// no hooks.
    pub(super) fn new(shared: Arc<Shared>, texts: Vec<Range<usize>>, walks: bool) -> Arc<Self> {
        let exponential = std::array::from_fn(|i| -((i as f32 + 0.5) / 256.0).ln());
        Arc::new(Samples {
            shared,
            ring: (0..RING).map(|_| AtomicU64::new(0)).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            texts,
            stack_top: AtomicUsize::new(0),
            timer: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            in_host: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            walks,
            // Any number but 0.
            random: AtomicU32::new(system::now() as u32 | 1),
            due: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            period: AtomicU64::new(0),
            exponential,
        })
    }

    /// Starts sampling the current thread, which runs the guest.
    ///
    /// # Errors
    /// The reason why it cannot be sampled.
    pub(super) fn start(self: &Arc<Self>) -> Result<Sampling, String> {
        let started = system::start(self);
        self.failed.store(started.is_err(), Ordering::Relaxed);
        started
    }

    /// Whether sampling could not be set up.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Stops consuming samples: a guest that continues is not interrupted.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Number of samples dropped because the ring was full.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The guest calls the host.
    #[inline]
    pub(super) fn enter_host(&self) {
        self.in_host.store(true, Ordering::Relaxed);
    }

    /// The guest continues. Same thread as the handler, so a compiler fence orders these accesses.
    #[inline]
    pub(super) fn leave_host(&self) {
        self.in_host.store(false, Ordering::Relaxed);
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        if !self.armed.load(Ordering::Relaxed) {
            self.arm();
        }
    }

    /// The next sample, if there is one.
    pub(super) fn take(&self) -> Option<RawSample> {
        let tail = self.tail.load(Ordering::Relaxed);
        if tail == self.head.load(Ordering::Acquire) {
            return None;
        }
        let word = |i: usize| self.ring[(tail as usize + i) % RING].load(Ordering::Relaxed);
        let [pc, words, events, timing, first, second] = std::array::from_fn(word);
        let frames = (timing >> 48) as usize;
        let sample = RawSample {
            seen: false,
            pc: pc as usize,
            words,
            events,
            entered: timing & ENTERED != 0,
            weight: timing & 0xffff_ffff,
            cost: self.latency.load(Ordering::Relaxed),
            top: [first as usize, second as usize],
            frames: (HEAD..HEAD + frames).map(|i| word(i) as usize).collect(),
        };
        self.tail.store(tail + (HEAD + frames) as u64, Ordering::Release);
        Some(sample)
    }

    /// Sets the timer to a random interval, whose mean depends on the number of samples so far.
    fn arm(&self) {
        if self.stopped.load(Ordering::Relaxed) {
            self.armed.store(false, Ordering::Relaxed);
            return;
        }
        let mut before = self.taken.load(Ordering::Relaxed);
        let periods = if self.walks { &PERIODS_UNHOOKED[..] } else { &PERIODS[..] };
        let among = periods.iter().find(|(_, samples)| {
            let is_this = before < *samples;
            before = before.saturating_sub(*samples);
            is_this
        });
        let period = among.map_or(1_000_000, |(period, _)| *period);
        let random = random::after(self.random.load(Ordering::Relaxed));
        self.random.store(random, Ordering::Relaxed);
        let interval = (period as f32 * self.exponential[(random >> 24) as usize]) as u64;
        self.period.store(period, Ordering::Relaxed);
        self.armed.store(true, Ordering::Relaxed);
        self.due.store(system::now() + interval, Ordering::Relaxed);
        system::set(self.timer.load(Ordering::Relaxed), interval);
    }

    /// Called by the handler: records where the guest is.
    fn interrupted(&self, registers: &system::Registers) {
        if self.in_host.load(Ordering::Relaxed) {
            self.armed.store(false, Ordering::Relaxed);
            return;
        }
        let late = system::now().saturating_sub(self.due.load(Ordering::Relaxed)).min(MOST_LATENCY);
        let before = self.latency.load(Ordering::Relaxed);
        let latency = if before == 0 { late } else { (before * 31 + late) / 32 };
        self.latency.store(latency, Ordering::Relaxed);
        self.note(registers, self.period.load(Ordering::Relaxed) + latency);
        self.arm();
    }

    fn note(&self, registers: &system::Registers, weight: u64) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let head = self.head.load(Ordering::Relaxed);
        let room = RING as u64 - (head - self.tail.load(Ordering::Acquire));
        if room < (HEAD + FRAMES) as u64 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let store = |i: usize, word: u64| self.ring[(head as usize + i) % RING].store(word, Ordering::Relaxed);
        let Position { words, events, entered } = self.shared.position();
        let is_code = |pc: usize| self.texts.iter().any(|text| text.contains(&pc));
        let (mut frames, mut top) = (0, [0; 2]);
        if self.walks && is_code(registers.pc) {
            let stack = registers.stack_pointer..self.stack_top.load(Ordering::Relaxed);
            top = [0, 8].map(|above| system::word_of_stack(&stack, registers.stack_pointer + above).unwrap_or(0));
            let (mut frame, mut below) = (registers.frame_pointer, registers.stack_pointer);
            while frames < FRAMES && frame >= below {
                let Some(back) = system::word_of_stack(&stack, frame + 8).filter(|back| is_code(*back)) else { break };
                store(HEAD + frames, back as u64);
                frames += 1;
                below = frame + 16;
                let Some(outer) = system::word_of_stack(&stack, frame) else { break };
                frame = outer;
            }
        }
        let entered = if entered { ENTERED } else { 0 };
        let timing = (frames as u64) << 48 | entered | weight.min(u64::from(u32::MAX));
        let head_words = [registers.pc as u64, words, events, timing, top[0] as u64, top[1] as u64];
        head_words.into_iter().enumerate().for_each(|(i, word)| store(i, word));
        self.head.store(head + (HEAD + frames) as u64, Ordering::Release);
    }
}

pub(super) use system::{Sampling, address_map};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod system {
    use std::cell::Cell;
    use std::ops::Range;
    use std::ptr::null_mut;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, Mutex};

    use super::Samples;

    /// Registers of an interrupted thread.
    pub(super) struct Registers {
        pub(super) pc: usize,
        pub(super) stack_pointer: usize,
        pub(super) frame_pointer: usize,
    }

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

    /// Starts sampling this thread.
    ///
    /// # Errors
    /// The reason why it cannot be sampled.
    pub(crate) fn start(samples: &Arc<Samples>) -> Result<Sampling, String> {
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

    /// The end address of this thread's stack.
    fn stack_top() -> Result<usize, String> {
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

    /// The map from machine code to offsets in the module, in the format that `wasmtime_environ::lookup_file_pos`
    /// reads.
    pub(crate) fn address_map(module: &wasmtime::Module) -> Option<&[u8]> {
        let image = module.image_range();
        let length = image.end.addr() - image.start.addr();
        // SAFETY: the image stays mapped while the module, which is borrowed, exists, and is never written.
        let image = unsafe { std::slice::from_raw_parts(image.start, length) };
        super::section(image)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod system {
    use std::ops::Range;
    use std::sync::Arc;

    use super::Samples;

    pub(super) struct Registers {
        pub(super) pc: usize,
        pub(super) stack_pointer: usize,
        pub(super) frame_pointer: usize,
    }

    pub(crate) struct Sampling {}

    pub(crate) fn start(_: &Arc<Samples>) -> Result<Sampling, String> {
        Err("sampling needs Linux on x86-64".to_owned())
    }

    pub(super) fn word_of_stack(_: &Range<usize>, _: usize) -> Option<usize> {
        None
    }

    pub(super) fn now() -> u64 {
        0
    }

    pub(super) fn set(_: usize, _: u64) {}

    pub(crate) fn address_map(_: &wasmtime::Module) -> Option<&[u8]> {
        None
    }
}

/// The section of a compiled image that maps addresses.
#[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), expect(dead_code, reason = "nobody samples"))]
fn section(image: &[u8]) -> Option<&[u8]> {
    use wasmtime_environ::object::{Object, ObjectSection};
    let elf = wasmtime_environ::object::File::parse(image).ok()?;
    elf.section_by_name(wasmtime_environ::obj::ELF_WASMTIME_ADDRMAP)?.data().ok()
}
