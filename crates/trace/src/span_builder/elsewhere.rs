//! Synchronizing with [`super::super::profile`], which processes plain words on its own.

use super::{Open, SpanBuilder, What};

impl SpanBuilder {
    /// Adopts the result of calls that were processed elsewhere: the lowest `low` spans stayed open, and `open` are
    /// those above them. Adds the number of entries to the calls.
    pub(crate) fn catch_up<'w>(&mut self, low: usize, open: impl Iterator<Item = &'w What>, calls: u64) {
        debug_assert!(self.open.is_none(), "exits are counted by function from the first stray one on");
        let gone = self.stack.drain(low.min(self.stack.len())..);
        self.manual -= gone.filter(|open| open.call.is_none()).count();
        for what in open {
            self.opened += 1;
            let call = match what {
                What::Call(probe) => Some(*probe),
                What::Manual(_) => None,
            };
            self.stack.push(Open { number: self.opened, call, start: self.last, inside: 0, more: None });
        }
        self.calls += calls;
    }

    /// Restarts the times of open spans at that time: no later event has one. Returns the time of each open span until
    /// then, outermost first: self time and total.
    pub(crate) fn restart(&mut self, at: u64) -> Vec<(u64, u64)> {
        self.last = self.last.max(at);
        let mut inner = 0;
        let mut taken: Vec<(u64, u64)> = Vec::with_capacity(self.stack.len());
        for open in self.stack.iter_mut().rev() {
            let duration = self.last - open.start;
            taken.push((duration.saturating_sub(open.inside + inner), duration));
            (open.start, open.inside, inner) = (self.last, 0, duration);
        }
        taken.reverse();
        taken
    }
}
