//! Which calls an exception has crossed, once the function that caught it says that it goes on.
//!
//! Functions that catch are numbered as they are called, by the guest and here alike (see [`wasmtrace_abi::buffer`]). When one of
//! them has caught, all calls above it are gone. So from the first of them on the open calls are followed; in a module that
//! catches nothing, and below the outermost call that does, there is nothing to follow.

use wasmtrace_abi::buffer::NOBODY;
use wasmtrace_abi::hook::ProbeId;

/// The guest's numbers are known modulo this.
const NUMBERS: u64 = 1 << 29;

/// Calls inside of so many are not followed, here as in [`wasmtrace_trace::span_builder`].
const MOST_OPEN: usize = 1 << 20;

/// The open calls, as far as an exception may cross them.
#[derive(Debug, Default)]
pub(super) struct Unwinder {
    /// Calls, from the outermost that matters on.
    open: Vec<ProbeId>,
    /// How many calls are open inside of those.
    beyond: u64,
    /// Calls of functions that catch, outermost first.
    catching: Vec<Catching>,
    /// How many of those there were.
    count: u64,
}

/// A call of a function that catches; or, if the function is not hooked, one or more after each other out of the same call.
#[derive(Debug, Clone, Copy)]
struct Catching {
    /// The number of the first.
    number: u64,
    /// How many calls stay open when it has caught an exception: with itself, if it is hooked.
    stay: u64,
    hooked: bool,
}

impl Unwinder {
    /// Whether calls have to be told.
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

    /// A function that catches is entered; [`NOBODY`] is one that is not hooked.
    pub(super) fn catching(&mut self, id: ProbeId) {
        self.count += 1;
        let hooked = id != NOBODY;
        if hooked {
            self.push(id);
        }
        let stay = self.depth();
        // One that is not hooked does not say when it is left. All of them leave the same calls open, and the numbers of those
        // that are gone do not come again.
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
            // Calls above it were not left, and will not be: a host has caught what they threw, or they trapped. If it is none of
            // these, it is one below all of them.
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

    /// How many calls are open.
    fn depth(&self) -> u64 {
        self.open.len() as u64 + self.beyond
    }

    fn forget_those_that_are_gone(&mut self) {
        let depth = self.depth();
        while self.catching.last().is_some_and(|last| last.stay > depth) {
            self.catching.pop();
        }
    }

    /// The call of that number goes on. Tells the calls that are gone, innermost first. False if there is no such call.
    pub(super) fn caught(&mut self, number: u32, mut crossed: impl FnMut(ProbeId)) -> bool {
        // Of so many there may be some that were not noted.
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

    /// How many calls stay open when the call of that number goes on.
    fn stay_with(&self, number: u32) -> Option<u64> {
        let latest = self.count.checked_sub(self.count.wrapping_sub(u64::from(number)) % NUMBERS)?;
        // The same number comes round again after five hundred million calls. Numbers ascend, so each is found by halves.
        let last_not_after = |number: u64| {
            let behind = self.catching.partition_point(|one| one.number <= number);
            self.catching[..behind].last()
        };
        let rounds = || std::iter::successors(Some(latest), |number| number.checked_sub(NUMBERS));
        let exact = |number: u64| last_not_after(number).filter(|one| one.hooked && one.number == number);
        let among = |number: u64| last_not_after(number).filter(|one| !one.hooked);
        // A call that says exactly that comes before others.
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
