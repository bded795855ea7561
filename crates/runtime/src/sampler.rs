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
            random: AtomicU32::new(thread::now() as u32 | 1),
            due: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            period: AtomicU64::new(0),
            exponential,
        })
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
        self.due.store(thread::now() + interval, Ordering::Relaxed);
        thread::set(self.timer.load(Ordering::Relaxed), interval);
    }

    /// Called by the handler: records where the guest is.
    fn interrupted(&self, registers: &thread::Registers) {
        if self.in_host.load(Ordering::Relaxed) {
            self.armed.store(false, Ordering::Relaxed);
            return;
        }
        let late = thread::now().saturating_sub(self.due.load(Ordering::Relaxed)).min(MOST_LATENCY);
        let before = self.latency.load(Ordering::Relaxed);
        let latency = if before == 0 { late } else { (before * 31 + late) / 32 };
        self.latency.store(latency, Ordering::Relaxed);
        self.note(registers, self.period.load(Ordering::Relaxed) + latency);
        self.arm();
    }

    fn note(&self, registers: &thread::Registers, weight: u64) {
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
            top = [0, 8].map(|above| thread::word_of_stack(&stack, registers.stack_pointer + above).unwrap_or(0));
            let (mut frame, mut below) = (registers.frame_pointer, registers.stack_pointer);
            while frames < FRAMES && frame >= below {
                let Some(back) = thread::word_of_stack(&stack, frame + 8).filter(|back| is_code(*back)) else { break };
                store(HEAD + frames, back as u64);
                frames += 1;
                below = frame + 16;
                let Some(outer) = thread::word_of_stack(&stack, frame) else { break };
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

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) mod image;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) mod signal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod thread;

// Elsewhere, nothing is sampled.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod thread {
    use std::ops::Range;

    pub(super) struct Registers {
        pub(super) pc: usize,
        pub(super) stack_pointer: usize,
        pub(super) frame_pointer: usize,
    }

    pub(super) fn word_of_stack(_: &Range<usize>, _: usize) -> Option<usize> {
        None
    }

    pub(super) fn now() -> u64 {
        0
    }

    pub(super) fn set(_: usize, _: u64) {}
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) mod signal {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::Samples;

    pub(crate) struct Sampling {}

    pub(crate) fn start(samples: &Arc<Samples>) -> Result<Sampling, String> {
        samples.failed.store(true, Ordering::Relaxed);
        Err("sampling needs Linux on x86-64".to_owned())
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) mod image {
    pub(crate) fn address_map(_: &super::super::compiled::Compiled) -> Option<&[u8]> {
        None
    }
}
