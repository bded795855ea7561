//! Determining the calls that an exception has unwound, once the function that caught it continues.
//!
//! Calls of functions that catch are numbered in the same way by the guest and here (see [`wasmtrace_abi::buffer`]).
//! After a catch, all calls above the catching one are gone. Open calls are therefore tracked from the outermost
//! catching call on. Modules that catch nothing need no tracking.

use wasmtrace_abi::buffer::NOBODY;
use wasmtrace_abi::hook::ProbeId;

/// The guest's call numbers are modulo this.
const NUMBERS: u64 = 1 << 29;

/// Maximum number of tracked calls, as in [`wasmtrace_trace::span_builder`].
const MOST_OPEN: usize = 1 << 20;

/// The open calls that an exception may unwind.
#[derive(Debug, Default)]
pub(super) struct Unwinder {
    /// Open calls, from the outermost catching one on.
    open: Vec<ProbeId>,
    /// Number of open calls within those that are not tracked.
    beyond: u64,
    /// Open calls of functions that catch, outermost first.
    catching: Vec<Catching>,
    /// Number of calls of functions that catch so far.
    count: u64,
}

/// A call of a function that catches, or, for functions that are not hooked, one or more successive calls from the same
/// caller.
#[derive(Debug, Clone, Copy)]
struct Catching {
    /// The number of the first call.
    number: u64,
    /// Number of calls that stay open after it catches an exception, including itself if it is hooked.
    stay: u64,
    hooked: bool,
}

impl Unwinder {
    /// Whether calls have to be reported to this.
    #[inline]
    pub(super) fn follow(&self) -> bool {
        !self.catching.is_empty()
    }

    /// A function is entered.
    pub(super) fn entered(&mut self, id: ProbeId) {
        if self.follow() {
            self.push(id);
        }
    }

    fn push(&mut self, id: ProbeId) {
        match self.open.len() < MOST_OPEN {
            true => self.open.push(id),
            false => self.beyond += 1,
        }
    }

    /// A function that catches is entered; [`NOBODY`] if it is not hooked.
    pub(super) fn catching(&mut self, id: ProbeId) {
        self.count += 1;
        let hooked = id != NOBODY;
        if hooked {
            self.push(id);
        }
        let stay = self.depth();
        // A function that is not hooked does not report its exit. All such calls leave the same calls open, and numbers
        // are not reused.
        match self.catching.last() {
            Some(last) if !hooked && !last.hooked && last.stay == stay => {}
            _ if self.catching.len() >= MOST_OPEN => {}
            _ => self.catching.push(Catching { number: self.count, stay, hooked }),
        }
    }

    /// A function is left.
    pub(super) fn exited(&mut self, id: ProbeId) {
        if !self.follow() {
            return;
        }
        if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            // Calls above it will not be left: a host caught their exception, or they trapped. If it is none of the
            // tracked calls, it is below all of them.
            match self.open.iter().rposition(|open| *open == id) {
                Some(at) => self.open.truncate(at),
                None => {
                    self.open.clear();
                    self.catching.clear();
                }
            }
        }
        self.forget_those_that_are_gone();
    }

    /// Number of open calls.
    fn depth(&self) -> u64 {
        self.open.len() as u64 + self.beyond
    }

    fn forget_those_that_are_gone(&mut self) {
        let depth = self.depth();
        while self.catching.last().is_some_and(|last| last.stay > depth) {
            self.catching.pop();
        }
    }

    /// The call with that number continues after a catch. Reports the calls that are gone, innermost first. Returns
    /// false if there is no such call.
    pub(super) fn caught(&mut self, number: u32, mut crossed: impl FnMut(ProbeId)) -> bool {
        // Beyond the limit, some calls are not tracked.
        let Some(stay) = self.stay_with(number) else { return self.catching.len() >= MOST_OPEN };
        let gone = self.depth().saturating_sub(stay);
        let (unfollowed, followed) = (gone.min(self.beyond), gone.saturating_sub(self.beyond));
        self.beyond -= unfollowed;
        for _ in 0..followed {
            crossed(self.open.pop().expect("so many are open"));
        }
        self.forget_those_that_are_gone();
        true
    }

    /// Number of calls that stay open when the call with that number continues.
    fn stay_with(&self, number: u32) -> Option<u64> {
        let latest = self.count.checked_sub(self.count.wrapping_sub(u64::from(number)) % NUMBERS)?;
        // Numbers wrap after 2^29 calls. They ascend, so a binary search finds each.
        let last_not_after = |number: u64| {
            let behind = self.catching.partition_point(|one| one.number <= number);
            self.catching[..behind].last()
        };
        let rounds = || std::iter::successors(Some(latest), |number| number.checked_sub(NUMBERS));
        let exact = |number: u64| last_not_after(number).filter(|one| one.hooked && one.number == number);
        let among = |number: u64| last_not_after(number).filter(|one| !one.hooked);
        // An exact match takes precedence.
        rounds().find_map(exact).or_else(|| rounds().find_map(among)).map(|one| one.stay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossed(unwinder: &mut Unwinder, number: u32) -> Vec<u32> {
        let mut crossed = Vec::new();
        assert!(unwinder.caught(number, |id| crossed.push(id.0)));
        crossed
    }

    #[test]
    fn the_call_that_goes_on_is_known_by_its_number_and_not_by_its_function() {
        let mut a = Unwinder::default();
        a.entered(ProbeId(1));
        for _ in 0..3 {
            a.catching(ProbeId(2)); // numbers 1 to 3
            a.entered(ProbeId(3));
        }
        assert_eq!(crossed(&mut a, 2), [3, 2, 3]);
        assert_eq!(crossed(&mut a, 2), [0; 0], "it has told before");
        a.exited(ProbeId(2));
        assert_eq!(crossed(&mut a, 1), [3]);
        a.exited(ProbeId(2));
        assert!(!a.follow());
    }

    #[test]
    fn one_that_is_not_hooked_leaves_open_what_was_when_it_was_called() {
        let mut a = Unwinder::default();
        a.catching(ProbeId(1)); // 1
        for _ in 0..1000 {
            a.catching(NOBODY); // 2 to 1001, each of which returns
        }
        assert_eq!(a.catching.len(), 2, "memory does not grow with calls");
        a.entered(ProbeId(2));
        a.catching(NOBODY); // 1002
        a.entered(ProbeId(3));
        a.entered(ProbeId(4));
        assert_eq!(crossed(&mut a, 1002), [4, 3]);
        a.entered(ProbeId(5));
        assert_eq!(crossed(&mut a, 1001), [5, 2]);
        assert_eq!(crossed(&mut a, 1), [0; 0]);
        a.exited(ProbeId(1));
        assert!(!a.follow());
    }

    #[test]
    fn a_tail_call_stands_in_the_place_of_its_caller() {
        let mut a = Unwinder::default();
        a.catching(ProbeId(1)); // 1
        a.catching(ProbeId(2)); // 2
        a.exited(ProbeId(2));
        a.entered(ProbeId(3));
        assert_eq!(crossed(&mut a, 1), [3]);
    }

    #[test]
    fn numbers_come_round() {
        let mut a = Unwinder::default();
        a.catching(ProbeId(1)); // 1
        a.count = NUMBERS + 7;
        a.catching(ProbeId(2)); // 8, the second time
        a.entered(ProbeId(3));
        assert_eq!(crossed(&mut a, 8), [3]);
        assert_eq!(crossed(&mut a, 1), [2]);
    }

    #[test]
    fn calls_that_are_too_deep_to_be_followed_are_counted() {
        let mut a = Unwinder::default();
        a.catching(ProbeId(1)); // 1
        for _ in 0..MOST_OPEN {
            a.entered(ProbeId(2));
        }
        a.catching(ProbeId(3)); // 2
        a.entered(ProbeId(4));
        assert_eq!((a.open.len(), a.beyond), (MOST_OPEN, 3));
        assert_eq!(crossed(&mut a, 2), [0; 0], "of those inside nobody was told that they began");
        assert_eq!(a.beyond, 2);
        a.exited(ProbeId(3));
        a.exited(ProbeId(2));
        assert_eq!((a.open.len(), a.beyond), (MOST_OPEN, 0));
        assert_eq!(crossed(&mut a, 1).len(), MOST_OPEN - 1);
    }

    #[test]
    fn landing_costs_the_same_however_deep_the_calls_are() {
        let mut a = Unwinder::default();
        for id in 0..500_000 {
            a.catching(ProbeId(id % 2));
            a.catching(NOBODY);
        }
        // Looking at each of them would be 2 * 10^11 looks, which nobody would wait for.
        for number in 1..=500_000 {
            let _ = a.stay_with(number * 2);
        }
        assert_eq!(a.stay_with(1_000_000), Some(500_000));
    }

    #[test]
    fn what_no_hook_tells_does_no_harm() {
        let mut a = Unwinder::default();
        assert!(!a.caught(5, |_| {}));
        a.exited(ProbeId(1));
        a.catching(ProbeId(1));
        assert!(!a.caught(5, |_| {}));
        a.entered(ProbeId(2));
        a.exited(ProbeId(9));
        assert!(!a.follow() && a.open.is_empty());
    }
}
