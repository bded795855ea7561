//! The clock of a run, and the threads that write it to the guest's buffer.
//!
//! The guest cannot read a clock, only a word of its buffer. The guest's own thread writes that word at each `flush`.
//! If that is not enough, a separate thread writes it too.
//!
//! *Coarse*: flushes are frequent enough to keep the word up to date, about every 5 µs in call-heavy code (the producer
//! ensures this, and `time_model` estimates times in between). The separate thread only lowers the limit if there was
//! no flush for 100 µs, so that the next event is timestamped by a flush. It does not write the time and so never takes
//! a core from the guest. With a threshold there are no flushes during a call, so the thread also writes the time every
//! 100 µs.
//!
//! *Spin*: the separate thread writes the time every 1 µs and needs a core of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::buffer::{ActiveBuffer, Buffer};
use wasmtrace_abi::buffer::{CLOCK, LIMIT, THRESHOLD, TICK};

/// The clock that timestamps events of a module with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockMode {
    /// Updated at each flush, about every 5 to 20 µs in call-heavy code, otherwise every 200 µs. Little overhead.
    #[default]
    Coarse,
    /// Updated every 1 µs by a thread in a busy loop, which needs a CPU core of its own.
    Spin,
}

impl ClockMode {
    /// The name on the command line and in recordings.
    pub fn name(self) -> &'static str {
        match self {
            ClockMode::Coarse => "coarse",
            ClockMode::Spin => "spin",
        }
    }

    /// Nanoseconds by which an event's time may lag, if the machine is not overloaded. A sleep of 100 µs takes up to
    /// 200 µs, including the kernel's overhead.
    pub fn resolution(self) -> u64 {
        match self {
            ClockMode::Coarse => 200_000,
            ClockMode::Spin => 1_000,
        }
    }
}

/// The time since the start of the run in nanoseconds, without the time for which the guest waited for the consumer.
#[derive(Debug)]
pub(super) struct Clock {
    quanta: quanta::Clock,
    begin: u64,
    waited: AtomicU64,
    /// Nanoseconds that reading the clock takes at least.
    reading: u64,
}

impl Clock {
    /// Creates a clock that starts now.
    pub(super) fn new() -> Self {
        let quanta = quanta::Clock::new();
        let begin = quanta.raw();
        let mut clock = Clock { quanta, begin, waited: AtomicU64::new(0), reading: 0 };
        let readings = (0..32).map(|_| (clock.now(), clock.now()));
        clock.reading = readings.map(|(first, second)| second.saturating_sub(first)).min().unwrap_or(0);
        clock
    }

    /// Nanoseconds that reading the clock takes at least.
    pub(super) fn reading(&self) -> u64 {
        self.reading
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.real().saturating_sub(self.waited.load(Ordering::Relaxed))
    }

    /// The time including waits, in nanoseconds.
    pub(super) fn real(&self) -> u64 {
        self.quanta.delta_as_nanos(self.begin, self.quanta.raw())
    }

    /// Begins a wait, which ends when the returned guard is dropped.
    pub(super) fn wait(&self) -> impl Drop + use<'_> {
        struct Wait<'c>(&'c Clock, u64);
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                self.0.waited.fetch_add(self.0.real() - self.1, Ordering::Relaxed);
            }
        }
        Wait(self, self.real())
    }

    /// Nanoseconds for which the guest has waited.
    pub(super) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }
}

/// The value of the buffer's clock word at time `now`.
pub(super) fn ticks(now: u64) -> u32 {
    (now / TICK) as u32
}

/// Interval at which the thread of a coarse clock checks the guest.
const PERIOD: Duration = Duration::from_micros(100);

/// Interval while the guest is silent. The first event after that is timestamped by a flush.
const SLOW_PERIOD: Duration = Duration::from_millis(1);

/// Interval while times of events are not needed.
const RESTING_PERIOD: Duration = Duration::from_millis(50);

/// Nanoseconds without events after which the guest counts as silent.
const QUIET: u64 = 10_000_000;

/// Maximum nanoseconds between two handovers of events, which limits what a killed process loses.
pub(super) const HANDOVER: u64 = 250_000_000;

/// Nanoseconds without events after which no open call counts as short. The clock word wraps after four times that, and
/// a long call would then look short.
const LONG_SILENCE: u64 = 100_000_000_000;

/// State shared by the guest's thread and the clock's thread.
#[derive(Debug)]
pub(super) struct Ticker {
    pub(super) clock: Arc<Clock>,
    pub(super) buffer: Arc<ActiveBuffer>,
    pub(super) mode: ClockMode,
    /// Whether calls below a threshold are only counted.
    pub(super) threshold: bool,
    pub(super) interrupt: Arc<AtomicI32>,
    /// Time of the guest's last flush.
    pub(super) last_flush: AtomicU64,
    /// Time at which the limit was last lowered.
    lowered: AtomicU64,
    /// Whether times of events are not needed.
    rests: AtomicBool,
    stop: AtomicBool,
}

/// The clock's thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct ClockThread {
    pub(super) ticker: Arc<Ticker>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ClockThread {
    pub(super) fn start(
        clock: Arc<Clock>,
        buffer: Arc<ActiveBuffer>,
        mode: ClockMode,
        threshold: bool,
        interrupt: Arc<AtomicI32>,
    ) -> std::io::Result<Self> {
        let last_flush = AtomicU64::new(clock.now());
        let ticker = Ticker {
            clock,
            buffer,
            mode,
            threshold,
            interrupt,
            last_flush,
            lowered: AtomicU64::new(0),
            rests: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        };
        let ticker = Arc::new(ticker);
        let of_thread = ticker.clone();
        let thread = std::thread::Builder::new().name("clock".into()).spawn(move || of_thread.run())?;
        Ok(ClockThread { ticker, thread: Some(thread) })
    }
}

impl Drop for ClockThread {
    fn drop(&mut self) {
        self.ticker.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Ticker {
    /// The buffer that the guest writes to.
    fn buffer(&self) -> Buffer {
        self.buffer.get().expect("a clock starts with a buffer")
    }

    /// Writes the current time to the buffer. The guest's thread does the same at each flush. If both write, the word
    /// may decrease slightly; the consumer corrects that.
    pub(super) fn write(&self) -> u64 {
        let now = self.clock.now();
        self.buffer().store(CLOCK, ticks(now));
        now
    }

    /// The time since which no event can have happened, if the guest now calls, its last flush was at `flushed`, and
    /// the limit was lowered since: then each event calls.
    pub(super) fn idle_since(&self, flushed: u64) -> Option<u64> {
        let lowered = self.lowered.load(Ordering::Relaxed);
        (lowered > flushed && self.buffer().load(LIMIT) == 0).then_some(lowered)
    }

    /// Reduces the rate of flushes to what is needed to hand events over in time.
    pub(super) fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
    }

    /// The time since which each event would have called the host, if none has.
    pub(super) fn silent_since(&self) -> Option<u64> {
        let lowered = self.lowered.load(Ordering::Relaxed);
        (self.buffer().load(LIMIT) == 0).then_some(lowered)
    }

    /// Nanoseconds by which times of events since the flush at `flushed` may lag.
    pub(super) fn lag(&self, flushed: u64, now: u64) -> u64 {
        if self.threshold || self.mode == ClockMode::Spin {
            // The other thread may have written a later time than `now`.
            let lag = ticks(now).wrapping_sub(self.buffer().load(CLOCK));
            if lag > u32::MAX / 2 { 0 } else { u64::from(lag) * TICK }
        } else if self.buffer().load(LIMIT) == 0 {
            // Each event since that time would have called.
            self.lowered.load(Ordering::Relaxed).saturating_sub(flushed)
        } else {
            now.saturating_sub(flushed)
        }
    }

    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            let now = match self.mode == ClockMode::Spin || self.threshold {
                true => self.write(),
                false => self.clock.now(),
            };
            let silent = now.saturating_sub(self.last_flush.load(Ordering::Relaxed));
            if self.threshold && silent > LONG_SILENCE && self.buffer().load(THRESHOLD) != 0 {
                self.buffer().store(THRESHOLD, 0); // until the next flush
            }
            match self.mode {
                ClockMode::Coarse if self.rests.load(Ordering::Relaxed) => {
                    self.lower_limit(silent > HANDOVER);
                    std::thread::park_timeout(RESTING_PERIOD);
                }
                ClockMode::Coarse => {
                    self.lower_limit(silent > PERIOD.as_nanos() as u64);
                    let slowly = silent > QUIET && !self.threshold;
                    std::thread::park_timeout(if slowly { SLOW_PERIOD } else { PERIOD });
                }
                ClockMode::Spin => {
                    self.lower_limit(silent > HANDOVER);
                    let written = Instant::now();
                    while written.elapsed() < Duration::from_micros(1) {
                        std::hint::spin_loop();
                    }
                }
            }
        }
    }

    /// Makes the guest call the host at its next event, if it has been silent or must end.
    fn lower_limit(&self, silent: bool) {
        let wanted = silent || self.interrupt.load(Ordering::Relaxed) != 0;
        // A store takes the cache line from the guest, so it is done only once.
        if wanted && self.buffer().load(LIMIT) != 0 {
            self.lowered.store(self.clock.now(), Ordering::Relaxed);
            self.buffer().store(LIMIT, 0);
        }
    }
}
